use super::*;

fn decode(bytes: &[u8]) -> (Vec<SseEvent>, Result<bool, SseError>) {
    let mut decoder = SseDecoder::new();
    let fed = decoder.feed(bytes);
    let end = fed.and_then(|()| decoder.finish());
    (std::iter::from_fn(|| decoder.next_event()).collect(), end)
}

fn data(bytes: &[u8]) -> Vec<String> {
    let (events, _) = decode(bytes);
    events.into_iter().map(|event| event.data).collect()
}

#[test]
fn frames_without_a_blank_line_are_separated_by_their_ids() {
    let (events, end) = decode(b"id:1\nevent:result\ndata:a\nid:2\nevent:error\ndata:b\n");
    let read: Vec<_> = events
        .iter()
        .map(|event| (event.id.as_deref(), event.name(), event.data.as_str()))
        .collect();
    assert_eq!(
        read,
        [(Some("1"), "result", "a"), (Some("2"), "error", "b")]
    );
    assert_eq!(end, Ok(false));
}

#[test]
fn the_status_stands_in_a_comment_or_a_line_and_belongs_to_its_event_only() {
    let bytes = b":HTTP_STATUS/400\ndata:a\n\n: HTTP_STATUS/401\ndata:b\n\nstatus:429\ndata:c\n\n\
        :HTTP_STATUS/what\ndata:d\n\n";
    let (events, _) = decode(bytes);
    let statuses: Vec<_> = events.iter().map(|event| event.status).collect();
    assert_eq!(statuses, [Some(400), Some(401), Some(429), None]);
}

#[test]
fn comments_are_kept_but_heartbeats_do_not_pile_up() {
    let mut bytes = Vec::new();
    for beat in 0..100 {
        bytes.extend(format!(":beat {beat}\n\n").into_bytes());
    }
    bytes.extend(b":last\ndata:x\n\n");
    let (events, _) = decode(&bytes);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].comments.len(), KEPT_COMMENTS);
    assert_eq!(events[0].comments.last().map(String::as_str), Some("last"));
}

#[test]
fn a_silence_of_heartbeats_never_counts_as_a_large_event() {
    let mut decoder = SseDecoder::with_max_event_bytes(64);
    for _ in 0..100 {
        decoder.feed(b": keep-alive\n").unwrap();
    }
    decoder.feed(b"data:{}\n\n").unwrap();
    assert_eq!(decoder.next_event().unwrap().data, "{}");
}

#[test]
fn an_event_above_the_limit_is_refused_and_those_before_it_stay() {
    for large in [
        // One line, not even complete; and many short ones.
        [b"data:".as_slice(), &[b'x'; 64]].concat(),
        b"data:x\n".repeat(64),
    ] {
        let mut decoder = SseDecoder::with_max_event_bytes(64);
        decoder.feed(b"data:small\n\n").unwrap();
        let refused = decoder.feed(&large);
        assert_eq!(refused, Err(SseError::TooLarge { limit: 64 }));
        assert_eq!(decoder.next_event().unwrap().data, "small");
        assert_eq!(decoder.next_event(), None);
    }
}

#[test]
fn the_last_event_needs_neither_blank_line_nor_line_end_when_its_json_is_complete() {
    assert_eq!(data(b"data:{\"a\":1}\n"), ["{\"a\":1}"]);
    assert_eq!(data(b"data:{\"a\":1}"), ["{\"a\":1}"]);
    assert_eq!(data(b"data: [DONE]"), ["[DONE]"]);
    assert_eq!(data(b"data:{\"a\":\ndata:1}"), ["{\"a\":\n1}"]);
    assert_eq!(decode(b"data:{\"a\":1"), (Vec::new(), Ok(true)));
    assert_eq!(
        decode(b"data:{\"a\":\ndata:{\"b\":1}"),
        (Vec::new(), Ok(true))
    );
}

#[test]
fn complete_data_survives_a_cut_in_a_later_line() {
    let (events, cut) = decode(b"data:{\"a\":1}\nevent:resu");
    assert_eq!((events.len(), cut), (1, Ok(true)));
}

#[test]
fn a_character_that_is_cut_is_a_cut_and_a_wrong_byte_is_an_error() {
    assert_eq!(decode("data:你".as_bytes()), (vec![], Ok(true)));
    assert_eq!(decode(&"data:你".as_bytes()[..7]), (vec![], Ok(true)));
    let error = SseError::NotUtf8 { event: 2 };
    let (events, end) = decode(b"data:a\n\ndata:\xFF\n\n");
    assert_eq!((events.len(), end), (1, Err(error.clone())));
    let (events, end) = decode(b"data:a\n\ndata:\xFFx");
    assert_eq!((events.len(), end), (1, Err(error)));
}

#[test]
fn a_byte_order_mark_is_skipped_at_the_start_only() {
    let mut decoder = SseDecoder::new();
    for byte in "\u{feff}data:\u{feff}a\n\n".as_bytes() {
        decoder.feed(&[*byte]).unwrap();
    }
    assert_eq!(decoder.next_event().unwrap().data, "\u{feff}a");
}

#[test]
fn unknown_fields_and_events_without_data_are_skipped() {
    assert_eq!(data(b"retry:100\nevent:ping\n\nfoo\ndata\n\n"), [""]);
}
