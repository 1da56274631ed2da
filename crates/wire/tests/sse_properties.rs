//! What holds for every stream of events, whatever it carries and however it is cut.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot prepare itself fails"
)]

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bailian_wire::sse::{SseDecoder, SseError, SseEvent, write_data_frame, write_native_frame};
use bailian_wire::stream::{Accumulator, StreamDecoder, StreamSurface};
use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use proptest::collection::vec;
use proptest::prelude::*;
use sse_stream::{Sse, SseStream};

/// One event as it is written: lines of fields and comments.
#[derive(Clone, Debug)]
struct Written {
    lines: Vec<String>,
}

fn line_end() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("\n"), Just("\r\n"), Just("\r")]
}

/// Values without line ends, with characters of all widths.
fn value() -> impl Strategy<Value = String> {
    "[ -~é你😀:]{0,12}"
}

fn space() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just(""), Just(" ")]
}

/// A line that every decoder of the standard understands alike: `id` comes first in an event, or
/// the decoder for the service takes it as the start of the next one.
fn standard_event() -> impl Strategy<Value = Written> {
    let field = prop_oneof![
        4 => (space(), value()).prop_map(|(space, value)| format!("data:{space}{value}")),
        1 => (space(), value()).prop_map(|(space, value)| format!("event:{space}{value}")),
        1 => value().prop_map(|value| format!(":{value}")),
        1 => value().prop_map(|value| format!("unknown:{value}")),
        1 => Just("data".to_owned()),
    ];
    let id = proptest::option::of((space(), value()));
    (id, vec(field, 0..6)).prop_map(|(id, fields)| {
        let id = id.map(|(space, value)| format!("id:{space}{value}"));
        Written {
            lines: id.into_iter().chain(fields).collect(),
        }
    })
}

fn write(events: &[Written], ends: &[&str]) -> Vec<u8> {
    let mut ends = ends.iter().cycle();
    let mut text = String::new();
    for event in events {
        for line in &event.lines {
            text.push_str(line);
            text.push_str(ends.next().unwrap());
        }
        text.push_str(ends.next().unwrap());
    }
    text.into_bytes()
}

/// Cuts `bytes` into pieces of the given sizes, used in turn.
fn cut<'a>(bytes: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
    let mut sizes = sizes.iter().cycle();
    let mut rest = bytes;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let (piece, after) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

fn decode(pieces: &[&[u8]]) -> (Vec<SseEvent>, Result<bool, SseError>) {
    let mut decoder = SseDecoder::new();
    let mut events = Vec::new();
    for piece in pieces {
        let fed = decoder.feed(piece);
        events.extend(std::iter::from_fn(|| decoder.next_event()));
        if let Err(error) = fed {
            return (events, Err(error));
        }
    }
    let end = decoder.finish();
    events.extend(std::iter::from_fn(|| decoder.next_event()));
    (events, end)
}

/// A body in pieces, always ready.
struct Pieces(Vec<Bytes>);

impl Stream for Pieces {
    type Item = Result<Bytes, std::convert::Infallible>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.pop().map(Ok))
    }
}

/// What another decoder of the standard makes of the same bytes.
fn decode_by_oracle(pieces: &[&[u8]]) -> Vec<Sse> {
    let pieces = pieces.iter().rev();
    let pieces = Pieces(pieces.map(|piece| Bytes::copy_from_slice(piece)).collect());
    let mut stream = pin!(SseStream::from_bytes_stream(pieces));
    let mut events = Vec::new();
    let mut context = Context::from_waker(Waker::noop());
    while let Poll::Ready(Some(event)) = stream.as_mut().poll_next(&mut context) {
        events.push(event.unwrap());
    }
    events
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn cuts_do_not_change_the_events(
        events in vec(standard_event(), 0..6),
        ends in vec(line_end(), 1..5),
        sizes in vec(1usize..9, 1..6),
    ) {
        let bytes = write(&events, &ends);
        let whole = decode(&[&bytes]);
        prop_assert_eq!(decode(&cut(&bytes, &sizes)), whole.clone());
        prop_assert_eq!(decode(&cut(&bytes, &[1])), whole);
    }

    #[test]
    fn a_standard_stream_is_read_as_the_standard_says(
        events in vec(standard_event(), 0..6),
        end in line_end(),
        sizes in vec(1usize..9, 1..6),
    ) {
        let bytes = write(&events, &[end]);
        let pieces = cut(&bytes, &sizes);
        // The standard dispatches events with data only.
        let expected: Vec<_> = decode_by_oracle(&pieces)
            .into_iter()
            .filter(|event| event.data.is_some())
            .map(|event| (event.id, event.event, event.data.unwrap()))
            .collect();
        let (events, end) = decode(&pieces);
        let got: Vec<_> = events
            .into_iter()
            .map(|event| (event.id, event.event, event.data))
            .collect();
        prop_assert_eq!(got, expected);
        prop_assert_eq!(end, Ok(false));
    }

    #[test]
    fn any_bytes_give_the_same_however_they_are_cut(
        bytes in vec(any::<u8>(), 0..200),
        sizes in vec(1usize..9, 1..6),
    ) {
        let whole = decode(&[&bytes]);
        prop_assert_eq!(decode(&cut(&bytes, &sizes)), whole);
    }

    #[test]
    fn bytes_near_the_format_never_panic_a_stream(
        words in vec(near_format(), 0..40),
        sizes in vec(1usize..30, 1..6),
        cumulative in any::<bool>(),
    ) {
        let bytes: Vec<u8> = words.concat();
        for surface in [
            StreamSurface::Native,
            StreamSurface::OpenAiChat,
            StreamSurface::Anthropic,
            StreamSurface::Responses,
        ] {
            let mut decoder = StreamDecoder::new(surface).cumulative(cumulative);
            let mut answer = Accumulator::new();
            for piece in cut(&bytes, &sizes) {
                decoder.feed(piece);
            }
            decoder.finish();
            let mut failed = false;
            while let Some(event) = decoder.next_event() {
                prop_assert!(!failed, "an event after the error");
                match event {
                    Ok(event) => answer.push(event),
                    Err(_) => failed = true,
                }
            }
            prop_assert!(failed || decoder.is_complete() && decoder.is_closed());
            answer.finish();
        }
    }

    #[test]
    fn native_frames_are_read_back(
        frames in vec((any::<bool>(), 100u16..600, json_text()), 0..5),
        sizes in vec(1usize..9, 1..6),
    ) {
        let mut out = BytesMut::new();
        for ((is_error, status, data), id) in frames.iter().zip(1..) {
            let event = if *is_error { "error" } else { "result" };
            write_native_frame(&mut out, id, event, *status, data.as_bytes());
        }
        let (events, end) = decode(&cut(&out, &sizes));
        prop_assert_eq!(end, Ok(false));
        prop_assert_eq!(events.len(), frames.len());
        for ((event, (is_error, status, data)), id) in events.iter().zip(&frames).zip(1..) {
            let id: u64 = id;
            prop_assert_eq!(event.id.clone(), Some(id.to_string()));
            prop_assert_eq!(event.name(), if *is_error { "error" } else { "result" });
            prop_assert_eq!(event.status, Some(*status));
            prop_assert_eq!(&event.data, data);
        }
    }

    #[test]
    fn data_frames_are_read_back(
        frames in vec(json_text(), 0..5),
        sizes in vec(1usize..9, 1..6),
    ) {
        let mut out = BytesMut::new();
        for data in &frames {
            write_data_frame(&mut out, data.as_bytes());
        }
        let (events, _) = decode(&cut(&out, &sizes));
        let read: Vec<String> = events.into_iter().map(|event| event.data).collect();
        prop_assert_eq!(read, frames);
    }
}

fn json_text() -> impl Strategy<Value = String> {
    any::<String>().prop_map(|text| serde_json::json!({ "text": text }).to_string())
}

/// Pieces that bring a decoder into all its corners.
fn near_format() -> impl Strategy<Value = Vec<u8>> {
    let fixed = prop::sample::select(vec![
        "\n",
        "\n\n",
        "\r",
        "\r\n",
        "data:",
        "data: ",
        "id:1",
        "event:error",
        ":HTTP_STATUS/429",
        "status:400",
        "[DONE]",
        "{}",
        "null",
        "[]",
        "{\"output\":",
        "{\"choices\":[",
        "{\"index\":0,\"delta\":{\"content\":\"a\"}}",
        "{\"message\":{\"content\":[{\"text\":\"b\"}]}}",
        "{\"finish_reason\":\"stop\"}",
        "\"finish_reason\":\"null\"",
        "]}",
        "}",
        ",",
        "\u{feff}",
        "data:{\"output\":{\"text\":\"x\",\"finish_reason\":\"stop\"}}\n\n",
        "data:{\"code\":\"Throttling\",\"message\":\"m\"}\n\n",
        "data:{\"type\":\"response.output_item.done\",\"item\":{\"type\":\"function_call\"}}\n\n",
        "data:{\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":3,\"id\":null}]}}]}\n\n",
        "data:{\"output\":{\"audio\":{\"data\":\"AA==\"}}}\n\n",
        "data:{\"output\":{\"audio\":{\"data\":\"你\"}}}\n\n",
        "data:{\"type\":\"content_block_delta\",\"delta\":7}\n\n",
        "data:{\"type\":\"response.completed\",\"response\":{\"status\":\"completed\"}}\n\n",
    ])
    .prop_map(|text| text.as_bytes().to_vec());
    prop_oneof![8 => fixed, 1 => vec(any::<u8>(), 0..4)]
}
