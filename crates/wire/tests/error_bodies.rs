//! Error bodies and error events as the service sends them, on every surface.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot prepare itself fails"
)]

use bailian_wire::error::{
    ApiError, ErrorClass, error_in_success, parse_error_body, parse_error_event,
};
use bailian_wire::stream::{StreamDecoder, StreamError, StreamSurface};
use proptest::prelude::*;
use serde_json::{Value, json};

/// A body or a stream that was served, and what it says.
struct Served(Value);

fn served() -> Vec<Served> {
    let lines = include_str!("fixtures/error_bodies.jsonl").lines();
    lines
        .map(|line| Served(serde_json::from_str(line).unwrap()))
        .collect()
}

impl Served {
    fn name(&self) -> String {
        format!("{} {}", self.0["situation"], self.0["surface"])
    }

    fn read(&self) -> ApiError {
        let name = self.name();
        if let Some(stream) = self.0["stream"].as_str() {
            return self.last_error(stream);
        }
        let body = self.0["body"].as_str().unwrap();
        match self.0["status"].as_u64().unwrap() {
            200 => {
                let answer = serde_json::from_str(body).unwrap();
                error_in_success(&answer).unwrap_or_else(|| panic!("{name}: the error was missed"))
            }
            status => parse_error_body(u16::try_from(status).unwrap(), body.as_bytes()),
        }
    }

    fn last_error(&self, stream: &str) -> ApiError {
        let surface = match self.0["surface"].as_str() {
            Some("openai") => StreamSurface::OpenAiChat,
            Some("anthropic") => StreamSurface::Anthropic,
            _ => StreamSurface::Native,
        };
        let mut decoder = StreamDecoder::new(surface);
        decoder.feed(stream.as_bytes());
        decoder.finish();
        let mut last = None;
        while let Some(event) = decoder.next_event() {
            last = Some(event);
        }
        match last {
            Some(Err(StreamError::Api(error))) => error,
            other => panic!("{}: ended with {other:?}", self.name()),
        }
    }
}

#[test]
fn every_served_error_says_class_code_message_and_request_id() {
    let mut problems = Vec::new();
    let served = served();
    assert!(served.len() > 60);
    for served in served {
        let error = served.read();
        let expected = &served.0["expected"];
        let got = json!({
            "class": error.class().as_str(),
            "retried": error.retry().is_some(),
            "code": error.code(),
            "message": error.message(),
            "request_id": error.request_id(),
            "status": error.status(),
        });
        for (member, expected) in expected.as_object().unwrap() {
            let is_open = expected.is_null() && matches!(member.as_str(), "message" | "status");
            if !is_open && got[member] != *expected {
                let name = served.name();
                problems.push(format!(
                    "{name}: {member} {} is not {expected}",
                    got[member]
                ));
            }
        }
    }
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn bodies_without_json_become_a_short_message_with_the_status() {
    for (status, body, message) in [
        (
            503,
            "<html><body>503 Service Temporarily Unavailable</body></html>",
            "503 Service Temporarily Unavailable",
        ),
        (502, "", "HTTP 502 without a message"),
        (
            413,
            "<!DOCTYPE html>\n<html>\n<head><style>p { color: red }</style><title>413 Request Entity Too Large</title></head>\n<body></body></html>",
            "413 Request Entity Too Large",
        ),
        (504, "stream timeout\n", "stream timeout"),
        (502, "limit: 3 < 4 and 5 > 2", "limit: 3 < 4 and 5 > 2"),
        (500, "<script>if (a<b) {}</script>down", "down"),
    ] {
        let error = parse_error_body(status, body.as_bytes());
        assert_eq!((error.status(), error.message()), (status, message));
        assert_eq!(error.code(), None);
    }
}

#[test]
fn json_of_an_unknown_shape_keeps_its_request_id() {
    let error = parse_error_body(500, br#"{"detail":"boom","request_id":"r-1"}"#);
    assert_eq!(error.request_id(), Some("r-1"));
    assert!(error.message().contains("boom"));
}

#[test]
fn answers_that_are_no_errors_are_left_alone() {
    for answer in [
        json!({ "output": { "text": "hi" }, "code": "", "message": "", "request_id": "r" }),
        json!({ "data": [], "code": "200", "message": "success" }),
        json!({ "data": [], "code": 200, "msg": "ok" }),
        json!({ "data": [], "code": null, "error": null }),
        json!({ "id": "chatcmpl-1", "choices": [] }),
        json!({ "data": [], "code": "Success", "success": true }),
        json!({ "error": "" }),
        json!([]),
        json!("code"),
    ] {
        assert_eq!(error_in_success(&answer), None, "{answer}");
    }
}

#[test]
fn the_status_of_the_head_counts_when_the_event_inside_says_200() {
    let body = b":HTTP_STATUS/200\ndata:{\"code\":\"Brand.New\",\"message\":\"m\"}\n\n";
    assert_eq!(parse_error_body(403, body).status(), 403);
}

#[test]
fn an_answer_with_a_status_below_400_keeps_that_status() {
    let error = parse_error_body(302, b"<html>moved</html>");
    assert_eq!(error.status(), 302);
    assert_eq!(error.retry(), None);
}

#[test]
fn a_message_that_never_ends_is_cut_and_control_characters_are_not_shown() {
    let body = json!({ "code": "InvalidParameter", "message": "好".repeat(100_000) });
    let error = parse_error_body(400, body.to_string().as_bytes());
    assert!(error.message().len() <= 4096);
    assert!(error.to_string().len() < 5000);
    let body = json!({ "code": "Bad\u{1b}[31m", "message": "a\u{1b}[2Jb\r\nc\u{7}" });
    let shown = parse_error_body(400, body.to_string().as_bytes()).to_string();
    assert!(!shown.contains(char::is_control), "{shown:?}");
}

/// JSON that is close to an error, with a wrong type here and there.
fn near_error() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,30}".prop_map(Value::from),
        prop::sample::select(vec![
            "insufficient_quota",
            "InvalidParameter",
            "Throttling.RateQuota",
            "InternalError.Algo.InvalidParameter",
            "<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, ",
            "invalid_request_error",
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 8, |inner| {
        let name = prop::sample::select(vec![
            "error",
            "code",
            "message",
            "msg",
            "type",
            "param",
            "request_id",
            "id",
            "header",
            "error_code",
            "error_message",
            "output",
        ]);
        prop_oneof![
            prop::collection::vec((name, inner.clone()), 0..8).prop_map(|members| {
                Value::Object(
                    members
                        .into_iter()
                        .map(|(n, v)| (n.to_owned(), v))
                        .collect(),
                )
            }),
            prop::collection::vec(inner, 0..4).prop_map(Value::from),
        ]
    })
}

fn check_sense(error: &ApiError, status: u16) -> Result<(), TestCaseError> {
    prop_assert_eq!(error.status(), status);
    prop_assert!(!error.message().is_empty());
    prop_assert!(error.message().len() <= 4096);
    prop_assert!(error.body().len() <= 8192);
    prop_assert!(!error.to_string().contains(char::is_control));
    if error.class() == ErrorClass::QuotaExhausted {
        prop_assert!(error.retry().is_none());
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_bytes_give_some_error(status in 400u16..600, body in prop::collection::vec(any::<u8>(), 0..600)) {
        check_sense(&parse_error_body(status, &body), status)?;
    }

    #[test]
    fn any_text_gives_some_error(status in 400u16..600, body in "(data:|:HTTP_STATUS/|<|\\{|\"|\\PC|\n){0,80}") {
        // The event inside an error body may name a status of its own.
        let named = body.contains("STATUS");
        let error = parse_error_body(status, body.as_bytes());
        check_sense(&error, if named { error.status() } else { status })?;
    }

    #[test]
    fn json_that_is_nearly_an_error_gives_some_error(status in 400u16..600, body in near_error()) {
        let text = body.to_string();
        check_sense(&parse_error_body(status, text.as_bytes()), status)?;
        if let Some(error) = error_in_success(&body) {
            check_sense(&error, error.status())?;
            prop_assert!(error.status() >= 400);
        }
        let _ = parse_error_event(Some(status), &text);
    }
}
