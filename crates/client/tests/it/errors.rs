//! Error parity: what the official clients make of error responses, and how often they try.

use std::collections::BTreeSet;
use std::time::Duration;

use bailian::{ChatRequest, Dialect, Error, ErrorKind, Message};
use serde_json::Value;

use crate::fake::{Fake, Piece, Script};

const VECTORS: &str = include_str!("../vectors/errors.jsonl");

/// Where this client answers otherwise on purpose: the place, the reason, the vectors.
const INTENDED: &[(&str, &str, &[&str])] = &[
    (
        "an error in place of an answer",
        "a stream that ends without a finish reason is cut off, not complete",
        &[
            "err.stream_clean_eof_without_finish.ds2nat.stream",
            "err.stream_clean_eof_without_finish.ds2oai.stream",
            "err.stream_clean_eof_without_finish.oai.stream",
        ],
    ),
    (
        "an error in place of an answer",
        "a native error frame inside a compatible stream is an error; openai reads it as an empty chunk",
        &[
            "err.stream_first_event_is_error.oai.stream",
            "err.stream_throttled_midway.oai.stream",
        ],
    ),
    (
        "status",
        "the status is the one that the event names or the code stands for, not that of the response",
        &[
            "err.200_business_error_body.ds2nat",
            "err.stream_error_event_midway.ds2nat.stream",
            "err.stream_error_event_midway.ds2oai.stream",
            "err.stream_error_event_midway.oai.stream",
            "err.stream_error_status_line_variant.ds2nat.stream",
            "err.stream_first_event_is_error.ds2nat.stream",
            "err.stream_first_event_is_error.ds2oai.stream",
            "err.stream_throttled_midway.ds2nat.stream",
            "err.stream_throttled_midway.ds2oai.stream",
        ],
    ),
    (
        "attempts",
        "a failure of the service is repeated, also when it comes with a good status",
        &["err.200_business_error_body.ds2nat"],
    ),
    (
        "attempts",
        "streams are repeated until their first event, as openai does",
        &[
            "err.429_Throttling.RateQuota.ds2nat.stream",
            "err.429_Throttling.RateQuota.ds2oai.stream",
            "err.stream_first_event_is_error.ds2oai.stream",
        ],
    ),
    (
        "attempts",
        "the catalogue grants this text one repetition: it also stands for a file that was not fetched",
        &["err.stream_first_event_is_error.ds2nat.stream"],
    ),
];

fn script(served: &Value) -> Script {
    let headers = served["headers"].as_object().unwrap();
    let names = [
        "content-type",
        "x-request-id",
        "retry-after",
        "retry-after-ms",
        "x-should-retry",
    ];
    let known = |name: &'static str| Some((name, headers.get(name)?.as_str()?.to_owned()));
    let text = match (
        &served["body"],
        served["sse"].as_str(),
        served["body_text"].as_str(),
    ) {
        (_, Some(text), _) | (_, _, Some(text)) => text.to_owned(),
        (body, None, None) => body.to_string(),
    };
    Script::Answer {
        after: Duration::ZERO,
        status: u16::try_from(served["status"].as_u64().unwrap()).unwrap(),
        headers: names.into_iter().filter_map(known).collect(),
        body: vec![Piece::Text(text)],
    }
}

async fn run(vector: &Value) -> Result<usize, Error> {
    let first = script(&vector["response_served"]);
    let later = vector
        .get("last_response_served")
        .map_or_else(|| first.clone(), script);
    let fake = Fake::new([first, later.clone(), later]);
    let native = vector["request"]["path"]
        .as_str()
        .unwrap()
        .starts_with("/api/v1");
    let protocol = if native {
        Dialect::Native
    } else {
        Dialect::OpenAi
    };
    let client = fake.builder().protocol(protocol).build().unwrap();
    let request = ChatRequest::new("qwen-plus", [Message::user("hi")]);
    let answer = if vector["call"]["stream"] == true {
        client.chat().stream(&request).await?.collect().await
    } else {
        client.chat().create(&request).await
    };
    answer.map(|answer| answer.attempts().len())
}

/// The places in which our outcome differs.
fn compare(vector: &Value, ours: &Result<usize, Error>) -> Vec<&'static str> {
    let surfaced = &vector["surfaced"];
    let raised = surfaced
        .get("raised")
        .or_else(|| surfaced.get("ended_with"));
    let raised = raised.filter(|raised| raised.is_object());
    let attempts = vector["attempts"].as_u64().unwrap();
    let mut places = Vec::new();
    let mut note = |same: bool, place| {
        if !same {
            places.push(place);
        }
    };
    match (raised, ours) {
        (None, Ok(count)) => note(*count as u64 == attempts, "attempts"),
        (Some(raised), Err(error)) => {
            note(error.attempts().len() as u64 == attempts, "attempts");
            let status = error.status().map(|status| u64::from(status.as_u16()));
            note(status == raised["status_code"].as_u64(), "status");
            note(error.code() == raised["code"].as_str(), "code");
            let theirs = raised["request_id"].as_str();
            let served = vector["response_served"].to_string();
            let known = theirs.is_some_and(|id| served.contains(id));
            note(!known || error.request_id() == theirs, "request id");
        }
        (None, Err(_)) => note(false, "an error in place of an answer"),
        (Some(_), Ok(_)) => note(false, "an answer in place of an error"),
    }
    places
}

#[tokio::test(start_paused = true)]
async fn errors_are_those_of_the_official_clients_but_for_the_intended_differences() {
    let mut found = BTreeSet::new();
    for line in VECTORS.lines() {
        let vector: Value = serde_json::from_str(line).unwrap();
        let id = vector["id"].as_str().unwrap().to_owned();
        let ours = run(&vector).await;
        found.extend(
            compare(&vector, &ours)
                .into_iter()
                .map(|place| (place, id.clone())),
        );
        if let Err(error) = &ours {
            assert_ne!(error.kind(), ErrorKind::Config, "{id}: {error}");
        }
    }
    let listed: BTreeSet<_> = INTENDED
        .iter()
        .flat_map(|(place, _, ids)| ids.iter().map(|id| (*place, (*id).to_owned())))
        .collect();
    assert_eq!(found, listed);
}
