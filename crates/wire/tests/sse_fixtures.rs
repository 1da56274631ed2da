//! Every recorded stream comes out as its expectation says, however its bytes are cut.

use std::path::PathBuf;

use bailian_wire::chat::{ChatResponse, FinishReason};
use bailian_wire::stream::{Accumulator, StreamDecoder, StreamError, StreamSurface};
use serde_json::{Value, json};

struct Fixture {
    name: String,
    bytes: Vec<u8>,
    expected: Value,
}

fn fixtures() -> Vec<Fixture> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sse");
    let mut fixtures = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let Some(name) = path.to_str().and_then(|path| path.strip_suffix(".sse")) else {
            continue;
        };
        let expected = std::fs::read_to_string(format!("{name}.expected.json")).unwrap();
        fixtures.push(Fixture {
            name: path.file_name().unwrap().to_string_lossy().into_owned(),
            bytes: std::fs::read(&path).unwrap(),
            expected: serde_json::from_str(&expected).unwrap(),
        });
    }
    assert_eq!(fixtures.len(), 66);
    fixtures.sort_by(|a, b| a.name.cmp(&b.name));
    fixtures
}

fn decoder(expected: &Value) -> StreamDecoder {
    let surface = match expected["kind"].as_str().unwrap() {
        "native" | "native_multimodal" | "native_audio" | "app" => StreamSurface::Native,
        "compat" => StreamSurface::OpenAiChat,
        "anthropic" => StreamSurface::Anthropic,
        "responses" => StreamSurface::Responses,
        other => panic!("unknown kind {other}"),
    };
    let cumulative = expected["options"]["incremental_output"] == false;
    StreamDecoder::new(surface).cumulative(cumulative)
}

/// Feeds the pieces and joins what comes out.
fn run<'a>(
    expected: &Value,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> (ChatResponse, Option<StreamError>) {
    let mut decoder = decoder(expected);
    let mut answer = Accumulator::new();
    let mut failure = None;
    let mut drain = |decoder: &mut StreamDecoder| {
        while let Some(event) = decoder.next_event() {
            match event {
                Ok(event) => answer.push(event),
                Err(error) => failure = Some(error),
            }
        }
    };
    for piece in pieces {
        decoder.feed(piece);
        drain(&mut decoder);
    }
    decoder.finish();
    drain(&mut decoder);
    (answer.finish(), failure)
}

fn check(fixture: &Fixture, how: &str, (answer, failure): (ChatResponse, Option<StreamError>)) {
    let name = format!("{} ({how})", fixture.name);
    let expected = &fixture.expected;
    let assembled = &expected["assembled"];
    let text = match &assembled["text"] {
        Value::String(text) => text.clone(),
        Value::Object(repeated) => repeated["repeat"]
            .as_str()
            .unwrap()
            .repeat(usize::try_from(repeated["times"].as_u64().unwrap()).unwrap()),
        _ => String::new(),
    };
    assert_eq!(answer.text(), text, "{name}: text");
    assert_eq!(
        answer.reasoning(),
        assembled["reasoning"].as_str().unwrap_or_default(),
        "{name}: reasoning"
    );
    let calls: Vec<Value> = answer
        .tool_calls()
        .iter()
        .map(|call| json!({ "id": call.id, "name": call.function.name, "arguments": call.function.arguments }))
        .collect();
    let expected_calls = assembled["tool_calls"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    assert_eq!(calls, expected_calls, "{name}: tool calls");
    check_members(&name, assembled, &answer);
    if let Some(choices) = expected["choices"].as_array() {
        for (choice, expected) in answer.choices.iter().zip(choices) {
            assert_eq!(Some(choice.index), expected["index"].as_u64(), "{name}");
            assert_eq!(
                Some(choice.message.text().as_str()),
                expected["text"].as_str(),
                "{name}"
            );
        }
        assert_eq!(answer.choices.len(), choices.len(), "{name}: choices");
    }
    check_end(&name, expected, failure);
}

fn check_members(name: &str, assembled: &Value, answer: &ChatResponse) {
    let finish = answer.finish_reason().map(FinishReason::as_str);
    let expected_finish = match (&assembled["finish_reason"], &assembled["stop_reason"]) {
        (Value::String(reason), _) => Some(reason.as_str()),
        (_, Value::String(reason)) => Some(match reason.as_str() {
            "end_turn" => "stop",
            "tool_use" => "tool_calls",
            other => other,
        }),
        _ if assembled["status"] == "completed" => Some("stop"),
        _ => None,
    };
    assert_eq!(finish, expected_finish, "{name}: finish reason");
    let usage = answer
        .usage
        .as_ref()
        .map_or(Value::Null, |usage| usage.raw.clone());
    assert_eq!(usage, assembled["usage"], "{name}: usage");
    for (member, found) in [
        ("request_id", &answer.request_id),
        ("id", &answer.id),
        ("model", &answer.model),
        ("audio_base64", &answer.audio),
        ("audio_url", &answer.audio_url),
    ] {
        if let Some(expected) = assembled[member].as_str() {
            assert_eq!(found.as_deref(), Some(expected), "{name}: {member}");
        }
    }
    if !assembled["search_info"].is_null() {
        assert_eq!(
            answer.search_info.as_ref(),
            Some(&assembled["search_info"]),
            "{name}"
        );
    }
}

fn check_end(name: &str, expected: &Value, failure: Option<StreamError>) {
    let complete = expected["complete"] == true;
    match (&expected["error"], failure) {
        (Value::Null, None) => assert!(complete, "{name}: an incomplete stream went unnoticed"),
        (Value::Null, Some(StreamError::Truncated)) => assert!(!complete, "{name}: was complete"),
        (Value::Object(error), Some(StreamError::Api(api))) => {
            let code = api.code().or(api.error_type());
            assert_eq!(code, error["code"].as_str(), "{name}: code");
            assert_eq!(
                Some(api.message()),
                error["message"].as_str(),
                "{name}: message"
            );
            if let Some(status) = error["status"].as_u64() {
                assert_eq!(u64::from(api.status()), status, "{name}: status");
            }
            assert_eq!(
                api.request_id(),
                error["request_id"].as_str(),
                "{name}: request id"
            );
        }
        (Value::Object(error), Some(StreamError::Malformed { .. })) => {
            assert_eq!(error["message"], "malformed event", "{name}");
        }
        (expected, found) => panic!("{name}: expected {expected}, found {found:?}"),
    }
}

#[test]
fn streams_fed_whole_come_out_as_expected() {
    for fixture in fixtures() {
        check(
            &fixture,
            "whole",
            run(&fixture.expected, [fixture.bytes.as_slice()].into_iter()),
        );
    }
}

#[test]
fn streams_fed_byte_by_byte_come_out_as_expected() {
    for fixture in fixtures() {
        check(
            &fixture,
            "bytes",
            run(&fixture.expected, fixture.bytes.chunks(1)),
        );
    }
}

#[test]
fn streams_cut_at_random_places_come_out_as_expected() {
    for fixture in fixtures() {
        for seed in 1..=16u64 {
            let pieces = random_pieces(&fixture.bytes, seed);
            check(
                &fixture,
                &format!("seed {seed}"),
                run(&fixture.expected, pieces.into_iter()),
            );
        }
    }
}

/// Cuts at places that depend on the seed only: mostly small pieces, some large.
fn random_pieces(bytes: &[u8], seed: u64) -> Vec<&[u8]> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut pieces = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let longest = if state.is_multiple_of(5) { 4096 } else { 23 };
        let size = usize::try_from(state % longest).unwrap() + 1;
        let (piece, after) = rest.split_at(size.min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces
}
