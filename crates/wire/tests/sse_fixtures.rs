//! Every stream under `fixtures/sse` gives the answer and the end that its `.expected.json` says,
//! however its bytes are cut.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot prepare itself fails"
)]

use std::path::{Path, PathBuf};

use bailian_wire::chat::{ChatResponse, FinishReason};
use bailian_wire::stream::{Accumulator, StreamDecoder, StreamError, StreamSurface};
use serde_json::{Value, json};

/// A stream and what is expected of it.
struct Fixture {
    name: String,
    bytes: Vec<u8>,
    expected: Value,
}

/// What a decoder made of a stream.
#[derive(Debug, PartialEq)]
struct Outcome {
    answer: ChatResponse,
    error: Option<StreamError>,
}

fn fixtures() -> Vec<Fixture> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sse");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sse"))
        .collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let expected = std::fs::read(path.with_extension("expected.json")).unwrap();
            Fixture {
                name: path.file_stem().unwrap().to_string_lossy().into_owned(),
                bytes: std::fs::read(&path).unwrap(),
                expected: serde_json::from_slice(&expected).unwrap(),
            }
        })
        .collect()
}

impl Fixture {
    fn decoder(&self) -> StreamDecoder {
        let surface = match self.expected["kind"].as_str().unwrap() {
            "native" | "native_multimodal" | "native_audio" | "app" => StreamSurface::Native,
            "compat" => StreamSurface::OpenAiChat,
            "anthropic" => StreamSurface::Anthropic,
            "responses" => StreamSurface::Responses,
            other => panic!("{}: unknown kind {other}", self.name),
        };
        let cumulative = self.expected["options"]["incremental_output"] == false;
        StreamDecoder::new(surface).cumulative(cumulative)
    }

    fn play<'a>(&self, pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
        let mut decoder = self.decoder();
        let mut answer = Accumulator::new();
        let mut error = None;
        let mut take = |decoder: &mut StreamDecoder| {
            while let Some(event) = decoder.next_event() {
                assert!(error.is_none(), "{}: an event after the error", self.name);
                match event {
                    Ok(event) => answer.push(event),
                    Err(problem) => error = Some(problem),
                }
            }
        };
        for piece in pieces {
            decoder.feed(piece);
            take(&mut decoder);
        }
        decoder.finish();
        take(&mut decoder);
        Outcome {
            answer: answer.finish(),
            error,
        }
    }

    fn whole(&self) -> Outcome {
        self.play([self.bytes.as_slice()])
    }
}

#[test]
fn every_stream_gives_the_expected_answer_and_end() {
    let fixtures = fixtures();
    assert_eq!(fixtures.len(), 66);
    for fixture in &fixtures {
        let outcome = fixture.whole();
        check_answer(fixture, &outcome.answer);
        check_end(fixture, outcome.error.as_ref());
    }
}

#[test]
fn single_bytes_give_the_same_as_the_whole() {
    for fixture in fixtures() {
        let outcome = fixture.play(fixture.bytes.chunks(1));
        assert!(outcome == fixture.whole(), "{}", fixture.name);
    }
}

#[test]
fn random_cuts_give_the_same_as_the_whole() {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    for fixture in fixtures() {
        let whole = fixture.whole();
        for _ in 0..8 {
            let mut pieces = Vec::new();
            let mut rest = fixture.bytes.as_slice();
            while !rest.is_empty() {
                let largest = if random.below(2) == 0 { 7 } else { 700 };
                let (piece, after) = rest.split_at(random.below(largest + 1).min(rest.len()));
                pieces.push(piece);
                rest = after;
            }
            assert!(fixture.play(pieces) == whole, "{}", fixture.name);
        }
    }
}

#[test]
fn a_cut_at_any_offset_of_a_short_stream_gives_the_same_as_the_whole() {
    for fixture in fixtures() {
        if fixture.bytes.len() > 700 && !fixture.name.contains("utf8") {
            continue;
        }
        let whole = fixture.whole();
        for offset in 0..=fixture.bytes.len() {
            let (before, after) = fixture.bytes.split_at(offset);
            let outcome = fixture.play([before, after]);
            assert!(outcome == whole, "{} cut at {offset}", fixture.name);
        }
    }
}

#[test]
fn a_stream_that_ends_early_never_passes_for_complete() {
    for fixture in fixtures() {
        if fixture.bytes.len() > 1400 || fixture.expected["complete"] == false {
            continue;
        }
        for end in 0..fixture.finish_offset() {
            let outcome = fixture.play([&fixture.bytes[..end]]);
            assert!(
                outcome.error.is_some(),
                "{} cut at {end} of {} passed for complete",
                fixture.name,
                fixture.bytes.len(),
            );
        }
    }
}

impl Fixture {
    /// Where the JSON of the event with the finish reason ends.
    fn finish_offset(&self) -> usize {
        let mut decoder = self.decoder();
        for (byte, at) in self.bytes.iter().zip(0..) {
            decoder.feed(&[*byte]);
            while decoder.next_event().is_some() {}
            if decoder.is_complete() {
                let close = self.bytes[..at].iter().rposition(|byte| *byte == b'}');
                return close.map_or(0, |close| close + 1);
            }
        }
        // Without the last blank line the event is complete at the end only.
        self.bytes.trim_ascii_end().len()
    }
}

fn check_answer(fixture: &Fixture, answer: &ChatResponse) {
    let name = &fixture.name;
    let assembled = fixture.expected["assembled"].as_object().unwrap();
    for (member, expected) in assembled {
        let got = match member.as_str() {
            "text" => json!(answer.text()),
            "reasoning" => json!(answer.reasoning()),
            "tool_calls" => tool_calls(answer),
            "finish_reason" => json!(answer.finish_reason()),
            "stop_reason" => json!(answer.finish_reason().map(stop_reason)),
            "usage" => answer
                .usage
                .as_ref()
                .map_or(Value::Null, |usage| usage.raw.clone()),
            "request_id" => json!(answer.request_id),
            "id" => json!(answer.id),
            "model" => json!(answer.model),
            "search_info" => json!(answer.search_info),
            "audio_base64" => json!(answer.audio),
            "audio_url" => json!(answer.audio_url),
            "tool_info" | "session_id" | "signature" | "status" => answer.extra[member].clone(),
            other => panic!("{name}: nothing compares {other}"),
        };
        assert_eq!(got, spelled_out(expected), "{name}: {member}");
    }
    if let Some(choices) = fixture.expected["choices"].as_array() {
        let got: Vec<Value> = answer
            .choices
            .iter()
            .map(|choice| {
                json!({
                    "index": choice.index,
                    "text": choice.message.text(),
                    "finish_reason": choice.finish_reason,
                })
            })
            .collect();
        assert_eq!(&got, choices, "{name}: choices");
    }
}

fn check_end(fixture: &Fixture, error: Option<&StreamError>) {
    let name = &fixture.name;
    let expected = &fixture.expected["error"];
    match error {
        None => {
            assert!(expected.is_null(), "{name}: the error was missed");
            assert_eq!(fixture.expected["complete"], true, "{name}");
        }
        Some(StreamError::Truncated) => {
            assert!(expected.is_null(), "{name}: the error was missed");
            assert_eq!(fixture.expected["complete"], false, "{name}");
        }
        Some(StreamError::Malformed { event, .. }) => {
            assert_eq!(expected["message"], "malformed event", "{name}");
            assert_eq!(*event, 3, "{name}");
        }
        Some(StreamError::Api(error)) => {
            let code = error.code().or(error.error_type());
            assert_eq!(json!(code), expected["code"], "{name}");
            assert_eq!(json!(error.message()), expected["message"], "{name}");
            assert_eq!(json!(error.request_id()), expected["request_id"], "{name}");
            if !expected["status"].is_null() {
                assert_eq!(json!(error.status()), expected["status"], "{name}");
            }
        }
        Some(other) => panic!("{name}: {other}"),
    }
}

fn tool_calls(answer: &ChatResponse) -> Value {
    answer
        .tool_calls()
        .iter()
        .map(|call| {
            json!({
                "id": call.id,
                "name": call.function.name,
                "arguments": call.function.arguments,
            })
        })
        .collect()
}

fn stop_reason(reason: &FinishReason) -> &str {
    match reason {
        FinishReason::Stop => "end_turn",
        FinishReason::Length => "max_tokens",
        FinishReason::ToolCalls => "tool_use",
        other => other.as_str(),
    }
}

/// Long texts are written as `{repeat, times}`.
fn spelled_out(expected: &Value) -> Value {
    match (expected["repeat"].as_str(), expected["times"].as_u64()) {
        (Some(text), Some(times)) => json!(text.repeat(usize::try_from(times).unwrap())),
        _ => expected.clone(),
    }
}

/// A small generator: the same cuts in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % limit
    }
}
