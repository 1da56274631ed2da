use proptest::prelude::*;

use super::*;
use crate::record::{Attempt, MOST_ATTEMPTS};
use crate::text::Text;

fn begin() -> Begin<'static> {
    let mut begin = Begin::new(Uuid::now_v7(), 1_800_000_000_000);
    begin.tenant = Some("研发部".into());
    begin.model = Some("qwen-max".into());
    begin
}

fn frames() -> (Vec<u8>, Vec<Vec<u8>>) {
    let mut whole = Vec::new();
    let mut each = Vec::new();
    let mut buffer = Vec::new();
    for outcome in ["completed", "client_left", "refused"] {
        let begin = begin();
        assert!(encode_begin(&mut buffer, &begin));
        each.push(buffer.clone());
        assert!(encode_settle(
            &mut buffer,
            begin.id,
            &Settlement::new(outcome)
        ));
        each.push(buffer.clone());
    }
    whole.extend(each.iter().flatten());
    (whole, each)
}

fn read_all(mut bytes: &[u8]) -> (Vec<Vec<u8>>, usize) {
    let mut found = Vec::new();
    loop {
        match find(bytes) {
            Found::Frame { payload, taken } => {
                found.push(payload.to_vec());
                bytes = &bytes[taken..];
            }
            Found::Damage { taken } => bytes = &bytes[taken..],
            Found::Partial => match find_next_whole(bytes) {
                Some(at) => bytes = &bytes[at..],
                None => return (found, bytes.len()),
            },
        }
    }
}

#[test]
fn a_frame_says_what_was_written() {
    let begin = begin();
    let mut buffer = Vec::new();
    assert!(encode_begin(&mut buffer, &begin));
    let Found::Frame { payload, taken } = find(&buffer) else {
        panic!("no frame");
    };
    assert_eq!(taken, buffer.len());
    assert_eq!(decode(payload).unwrap(), Entry::Begin(begin));
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_and_never_misread() {
    let (whole, each) = frames();
    for end in 0..=whole.len() {
        let (found, left) = read_all(&whole[..end]);
        let mut length = 0;
        let complete = each
            .iter()
            .take_while(|frame| {
                length += frame.len();
                length <= end
            })
            .count();
        let expected: Vec<_> = each[..complete]
            .iter()
            .map(|frame| frame[HEAD..].to_vec())
            .collect();
        assert_eq!(found, expected, "cut at {end}");
        let whole_frames: usize = each[..complete].iter().map(Vec::len).sum();
        assert_eq!(left, end - whole_frames);
    }
}

#[test]
fn any_one_spoilt_byte_costs_one_frame_only() {
    let (whole, each) = frames();
    let total = each.len();
    for at in 0..whole.len() {
        let mut spoilt = whole.clone();
        spoilt[at] ^= 0x55;
        let (found, _) = read_all(&spoilt);
        assert_eq!(found.len(), total - 1, "spoilt at {at}");
    }
}

#[test]
fn the_largest_record_fits_into_a_frame() {
    let worst = "\u{1}".repeat(Text::MOST_BYTES);
    let text = || Some(Text::from(worst.clone()));
    let mut end = Settlement::new(worst.clone());
    for field in [
        &mut end.account,
        &mut end.region,
        &mut end.upstream_model,
        &mut end.price_version,
        &mut end.unpriced,
        &mut end.error_code,
        &mut end.upstream_request_id,
    ] {
        *field = text();
    }
    let attempt = Attempt::new(worst.clone(), worst.clone(), worst.clone(), Some(429));
    end.attempt_list = vec![attempt; 50];
    let mut buffer = Vec::new();
    assert!(encode_settle(&mut buffer, Uuid::now_v7(), &end));
    let Found::Frame { payload, .. } = find(&buffer) else {
        panic!("no frame");
    };
    let Entry::Settle(_, read) = decode(payload).unwrap() else {
        panic!("no settlement");
    };
    assert_eq!(read.attempt_list.len(), MOST_ATTEMPTS);
}

#[test]
fn what_another_version_added_is_passed_over_and_what_it_left_out_is_nothing() {
    #[derive(minicbor::Encode)]
    #[cbor(map)]
    struct Later {
        #[cbor(n(0), with = "crate::cbor::id")]
        id: Uuid,
        #[n(7)]
        model: &'static str,
        #[n(99)]
        added: Vec<&'static str>,
    }
    let later = Later {
        id: Uuid::now_v7(),
        model: "qwen-max",
        added: vec!["x", "通义"],
    };
    let mut buffer = Vec::new();
    assert!(encode(&mut buffer, BEGIN, None, &later));
    let Found::Frame { payload, .. } = find(&buffer) else {
        panic!("no frame");
    };
    let mut expected = Begin::new(later.id, 0);
    expected.model = Some("qwen-max".into());
    assert_eq!(decode(payload).unwrap(), Entry::Begin(expected));
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_read_to_their_end(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = read_all(&bytes);
    }
}
