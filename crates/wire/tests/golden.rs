//! Each row of the translation tables (compat.md §8) has a file in `golden/`: what comes in, by
//! dialect, and what it becomes in each other dialect.
//!
//! `BLESS=1 cargo test -p bailian-wire --test golden` writes the second part anew; read the
//! difference before it is committed.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at what it did not expect"
)]

use std::fs;
use std::path::PathBuf;

use bailian_wire::error::{ErrorView, encode_error, parse_error_body};
use bailian_wire::stream::{StreamDecoder, StreamEncoder, StreamError, StreamSurface};
use bailian_wire::translate::{Identity, Losses};
use bailian_wire::{Dialect, anthropic, native, openai, responses};
use bytes::BytesMut;
use serde_json::{Map, Value, json};

fn identity() -> Identity {
    Identity::new("0199-aa", "qwen-plus", 1_700_000_000)
}

/// What came out, with what was lost: `!` before a member that matters.
fn outcome(body: &Value, losses: &Losses) -> Value {
    let losses: Vec<String> = losses
        .iter()
        .map(|loss| format!("{}{}", if loss.matters { "!" } else { "" }, loss.member))
        .collect();
    if losses.is_empty() {
        return json!({ "body": body });
    }
    json!({ "lost": losses, "body": body })
}

fn request(from: Dialect, body: &Value, to: Dialect) -> Value {
    let (request, mut losses) = match from {
        Dialect::OpenAi => openai::decode_request(body)
            .map(|d| (d.request, d.losses))
            .unwrap(),
        Dialect::Anthropic => anthropic::decode_request(body)
            .map(|d| (d.request, d.losses))
            .unwrap(),
        Dialect::Native => (native::decode_request(body).unwrap(), Losses::new()),
    };
    let stream = body["stream"] == true || body["parameters"]["incremental_output"] == true;
    let written = match to {
        Dialect::OpenAi => openai::encode_request(&request, stream),
        Dialect::Native => native::encode_request(&request, stream, request.has_media()),
        Dialect::Anthropic => {
            let (written, more) = anthropic::encode_request(&request, stream);
            losses.extend(more);
            written
        }
    };
    outcome(&written, &losses)
}

fn response(from: Dialect, body: &Value, to: Dialect) -> Value {
    let response = match from {
        Dialect::OpenAi => openai::decode_response(body.clone()),
        Dialect::Native => native::decode_response(body.clone()),
        Dialect::Anthropic => anthropic::decode_response(body.clone()),
    };
    let (written, losses) = match to {
        Dialect::OpenAi => openai::encode_response(&response, &identity()),
        Dialect::Native => native::encode_response(&response, &identity(), false),
        Dialect::Anthropic => anthropic::encode_response(&response, &identity()),
    };
    outcome(&written, &losses)
}

fn surface(dialect: Dialect) -> StreamSurface {
    match dialect {
        Dialect::OpenAi => StreamSurface::OpenAiChat,
        Dialect::Native => StreamSurface::Native,
        Dialect::Anthropic => StreamSurface::Anthropic,
    }
}

/// The frames that a stream becomes, a list of them to be read by people.
fn stream(from: Dialect, text: &str, to: StreamSurface) -> Value {
    let mut decoder = StreamDecoder::new(surface(from));
    let mut encoder = StreamEncoder::new(to, identity()).include_usage(true);
    let mut out = BytesMut::new();
    decoder.feed(text.as_bytes());
    decoder.finish();
    let mut failed = false;
    while let Some(event) = decoder.next_event() {
        match event {
            Ok(event) => encoder.push(&event, &mut out),
            Err(StreamError::Api(error)) => {
                let code = error.native_code().or(error.code()).unwrap_or("unknown");
                let mut view = ErrorView::new(error.class().status(), code, error.message());
                view.request_id = error.request_id();
                encoder.fail(&view, &mut out);
                failed = true;
            }
            Err(error) => panic!("{error}"),
        }
    }
    if !failed {
        encoder.finish(&mut out);
    }
    let text = String::from_utf8(out.to_vec()).unwrap();
    let frames: Vec<&str> = text.trim_end().split("\n\n").collect();
    outcome(&json!(frames), encoder.losses())
}

fn error(sent: &Value, to: Dialect) -> Value {
    let status = u16::try_from(sent["status"].as_u64().unwrap()).unwrap();
    let error = parse_error_body(status, sent["body"].to_string().as_bytes());
    let code = error
        .native_code()
        .or(error.code())
        .unwrap_or(error.class().as_str());
    let mut view = ErrorView::new(status, code, error.message());
    view.request_id = error.request_id();
    let (status, body) = encode_error(to, &view);
    json!({ "status": status, "class": error.class().as_str(), "body": body })
}

/// What one file's input becomes, by direction.
fn becomes(kind: &str, from: &Map<String, Value>) -> Value {
    let mut all = Map::new();
    for (name, sent) in from {
        let source = Dialect::ALL
            .into_iter()
            .find(|d| d.to_string() == *name)
            .unwrap();
        for to in Dialect::ALL.into_iter().filter(|to| *to != source) {
            let result = match kind {
                "requests" => request(source, sent, to),
                "responses" => response(source, sent, to),
                "streams" => stream(source, sent.as_str().unwrap(), surface(to)),
                _ => error(sent, to),
            };
            all.insert(format!("{source} to {to}"), result);
        }
        match kind {
            "streams" if source == Dialect::OpenAi => {
                let result = stream(source, sent.as_str().unwrap(), StreamSurface::Responses);
                all.insert(format!("{source} to responses"), result);
            }
            "responses" if source == Dialect::OpenAi => {
                let answer = openai::decode_response(sent.clone());
                let (written, losses) = responses::encode_response(&answer, &identity());
                all.insert(format!("{source} to responses"), outcome(&written, &losses));
            }
            _ => {}
        }
    }
    all.into()
}

fn check(kind: &str, at_least: usize) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(kind);
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(
        files.len() >= at_least,
        "{} files in {}",
        files.len(),
        folder.display()
    );
    let mut stale = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let mut golden: Value = serde_json::from_str(&text).unwrap();
        let becomes = becomes(kind, golden["from"].as_object().unwrap());
        if golden["becomes"] == becomes {
            continue;
        }
        if std::env::var_os("BLESS").is_some() {
            golden["becomes"] = becomes;
            fs::write(&file, serde_json::to_string_pretty(&golden).unwrap() + "\n").unwrap();
        } else {
            let name = file.file_name().unwrap().to_string_lossy().into_owned();
            stale.push(format!("{name}: {becomes:#}"));
        }
    }
    assert!(
        stale.is_empty(),
        "{} files: {}",
        stale.len(),
        stale.join("\n")
    );
}

#[test]
fn requests_become_what_the_tables_say() {
    check("requests", 60);
}

#[test]
fn answers_become_what_the_tables_say() {
    check("responses", 15);
}

#[test]
fn streams_become_what_the_tables_say() {
    check("streams", 10);
}

#[test]
fn errors_become_what_the_tables_say() {
    check("errors", 10);
}
