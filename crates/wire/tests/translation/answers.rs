//! Whole answers and streams from each dialect to each other.

use bailian_wire::chat::{
    ChatEvent, ChatResponse, Choice, Content, ContentPart, FinishReason, Media, MediaKind, Message,
};
use bailian_wire::stream::{Accumulator, StreamDecoder, StreamEncoder, StreamSurface};
use bailian_wire::{anthropic, native, openai};
use bytes::BytesMut;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::generated::{response, usage};
use crate::{identity, tried};

/// What an answer says, without who says it and how it was spelled.
type Said = (
    String,
    String,
    Vec<(String, String, Value)>,
    Option<FinishReason>,
    (u64, u64, u64),
);

fn said(response: &ChatResponse) -> Said {
    let usage = response.usage.as_ref().unwrap();
    let calls = response.tool_calls().iter().map(|call| {
        let function = &call.function;
        (
            call.id.clone(),
            function.name.clone(),
            call.arguments().unwrap_or(json!({})),
        )
    });
    (
        response.text(),
        response.reasoning().to_owned(),
        calls.collect(),
        response.finish_reason().cloned(),
        (
            usage.input_tokens,
            usage.output_tokens,
            usage.cached_tokens.unwrap_or(0),
        ),
    )
}

/// The events of an answer, its texts in pieces of so many characters.
fn events_of(response: &ChatResponse, length: usize) -> Vec<ChatEvent> {
    let pieces = |text: &str| -> Vec<String> {
        let characters: Vec<char> = text.chars().collect();
        let pieces = characters.chunks(length);
        pieces.map(|piece| piece.iter().collect()).collect()
    };
    let mut events = vec![ChatEvent::Started {
        id: None,
        request_id: Some("r".to_owned()),
        model: None,
        created: None,
    }];
    events.extend(
        pieces(response.reasoning())
            .into_iter()
            .map(|text| ChatEvent::ReasoningDelta { choice: 0, text }),
    );
    events.extend(
        pieces(&response.text())
            .into_iter()
            .map(|text| ChatEvent::TextDelta { choice: 0, text }),
    );
    for call in response.tool_calls() {
        let mut first = Some((call.id.clone(), call.function.name.clone()));
        for arguments in pieces(&call.function.arguments) {
            let (id, name) = first.take().unzip();
            let index = call.index.unwrap();
            events.push(ChatEvent::ToolCallDelta {
                choice: 0,
                index,
                id,
                name,
                arguments,
            });
        }
    }
    let reason = response.finish_reason().unwrap().clone();
    events.push(ChatEvent::Finished { choice: 0, reason });
    events.extend(response.usage.clone().map(ChatEvent::Usage));
    events
}

/// A kind of stream: its surface, and whether each frame repeats all of the text so far.
type Kind = (StreamSurface, bool);

const KINDS: [Kind; 5] = [
    (StreamSurface::OpenAiChat, false),
    (StreamSurface::Native, false),
    (StreamSurface::Native, true),
    (StreamSurface::Anthropic, false),
    // Responses are written over chat, chat never over responses.
    (StreamSurface::Responses, false),
];

fn written(kind: Kind, events: impl IntoIterator<Item = ChatEvent>) -> Vec<u8> {
    let (surface, cumulative) = kind;
    let mut out = BytesMut::new();
    let mut encoder = StreamEncoder::new(surface, identity())
        .include_usage(true)
        .cumulative(cumulative);
    for event in events {
        encoder.push(&event, &mut out);
    }
    encoder.finish(&mut out);
    assert!(encoder.losses().is_empty(), "{}", encoder.losses());
    out.to_vec()
}

/// The events of a stream that arrives in pieces of so many bytes.
fn events_in(kind: Kind, bytes: &[u8], length: usize) -> impl Iterator<Item = ChatEvent> {
    let (surface, cumulative) = kind;
    let mut decoder = StreamDecoder::new(surface).cumulative(cumulative);
    for piece in bytes.chunks(length) {
        decoder.feed(piece);
    }
    decoder.finish();
    std::iter::from_fn(move || decoder.next_event()).map(Result::unwrap)
}

fn read(kind: Kind, bytes: &[u8], length: usize) -> ChatResponse {
    let mut answer = Accumulator::new();
    for event in events_in(kind, bytes, length) {
        answer.push(event);
    }
    answer.finish()
}

proptest! {
    #![proptest_config(tried(256))]

    #[test]
    fn an_answer_survives_the_way_through_every_dialect(response in response()) {
        let (body, losses) = openai::encode_response(&response, &identity());
        prop_assert!(losses.is_empty());
        prop_assert_eq!(said(&openai::decode_response(body)), said(&response));
        let (body, losses) = native::encode_response(&response, &identity(), false);
        prop_assert!(losses.is_empty());
        prop_assert_eq!(said(&native::decode_response(body)), said(&response));
        let (body, losses) = native::encode_response(&response, &identity(), true);
        prop_assert!(losses.is_empty());
        prop_assert_eq!(said(&native::decode_response(body)), said(&response));
        let (body, losses) = anthropic::encode_response(&response, &identity());
        prop_assert!(losses.is_empty());
        prop_assert_eq!(said(&anthropic::decode_response(body)), said(&response));
    }
}

proptest! {
    // Each tries one of twenty ways.
    #![proptest_config(tried(2_048))]

    #[test]
    fn a_stream_survives_the_way_from_each_dialect_to_each_other(
        response in response(),
        (from, to) in (0..KINDS.len() - 1, 0..KINDS.len()),
        (characters, bytes) in (1..9usize, 1..48usize),
    ) {
        let (from, to) = (KINDS[from], KINDS[to]);
        let stream = written(from, events_of(&response, characters));
        prop_assert_eq!(said(&read(from, &stream, bytes)), said(&response), "{:?}", from);
        let translated = written(to, events_in(from, &stream, bytes));
        let read = read(to, &translated, bytes);
        prop_assert_eq!(said(&read), said(&response), "{:?} to {:?}", from, to);
    }
}

#[test]
fn usage_without_output_survives_every_kind_of_stream() {
    let mut response = ChatResponse::default();
    let mut choice = Choice::default();
    choice.message = Message::assistant("0");
    choice.finish_reason = Some(FinishReason::Stop);
    response.choices = vec![choice];
    response.usage = Some(usage(1, 0, 0));
    for kind in KINDS {
        let stream = written(kind, events_of(&response, 1));
        assert_eq!(said(&read(kind, &stream, 7)), said(&response), "{kind:?}");
    }
}

#[test]
fn a_call_that_goes_on_after_another_began_is_kept_to_the_end() {
    let piece = |index: u64, name: Option<&str>, arguments: &str| ChatEvent::ToolCallDelta {
        choice: 0,
        index,
        id: name.map(|name| format!("id-{name}")),
        name: name.map(str::to_owned),
        arguments: arguments.to_owned(),
    };
    let events = [
        piece(0, Some("a"), "{\"x\":"),
        piece(1, Some("b"), "{}"),
        piece(0, None, "1}"),
        ChatEvent::Finished {
            choice: 0,
            reason: FinishReason::ToolCalls,
        },
    ];
    let mut out = BytesMut::new();
    let mut encoder = StreamEncoder::new(StreamSurface::Anthropic, identity());
    for event in &events {
        encoder.push(event, &mut out);
    }
    encoder.finish(&mut out);
    let text = String::from_utf8(out.to_vec()).unwrap();
    assert!(text.contains(r#""partial_json":"1}""#), "{text}");
    assert_eq!(
        text.matches("event: content_block_start").count(),
        text.matches("event: content_block_stop").count()
    );
}

#[test]
fn frames_of_media_parts_keep_their_text() {
    let media = Media::new(MediaKind::Image, ["https://e/1.png".to_owned()]);
    let events = [
        ChatEvent::TextDelta {
            choice: 0,
            text: "图".to_owned(),
        },
        ChatEvent::Part {
            choice: 0,
            part: ContentPart::Media(media.clone()),
        },
        ChatEvent::Finished {
            choice: 0,
            reason: FinishReason::Stop,
        },
    ];
    let mut out = BytesMut::new();
    let mut encoder = StreamEncoder::new(StreamSurface::Native, identity()).parts(true);
    for event in &events {
        encoder.push(event, &mut out);
    }
    encoder.finish(&mut out);
    let answer = read((StreamSurface::Native, false), &out, 7);
    let content = answer.message().unwrap().content.clone();
    assert_eq!(
        content,
        Some(Content::Parts(vec![
            ContentPart::new_text("图"),
            ContentPart::Media(media)
        ]))
    );
}
