//! Wire parity: for each recorded call of an official client, ours sends the same request and gets
//! the same result. Every intended difference is listed in [`differences::INTENDED`].

mod call;
mod differences;
mod outcome;

use std::collections::{BTreeMap, BTreeSet};

use bailian::{Client, Dialect, ErrorKind, RetryPolicy};
use serde_json::Value;

use crate::server::{Recorded, Reply, Server};
use call::Call;
use outcome::Outcome;

const FILES: [&str; 5] = [
    include_str!("../vectors/ds1_generation.jsonl"),
    include_str!("../vectors/ds2_chat_native.jsonl"),
    include_str!("../vectors/ds2_chat_openai.jsonl"),
    include_str!("../vectors/openai_chat.jsonl"),
    include_str!("../vectors/openai_chat_1x.jsonl"),
];

const FAKE_KEY: &str = "sk-fake0000000000000000000000000000";

fn vectors() -> impl Iterator<Item = Value> {
    FILES
        .iter()
        .flat_map(|file| file.lines())
        .map(|line| serde_json::from_str(line).unwrap())
}

/// Vectors that are called; the others are listed with the reason why they are not.
fn served() -> impl Iterator<Item = Value> {
    vectors().filter(|vector| {
        let id = vector["id"].as_str().unwrap();
        !differences::NOT_SERVED
            .iter()
            .any(|(_, ids)| ids.contains(&id))
    })
}

fn client(base_url: &str, vector: &Value, call: &Call) -> Client {
    let path = vector["request"]["path"].as_str().unwrap();
    let native = path.starts_with("/api/v1");
    let mut builder = Client::builder()
        .environment(())
        .home_files(false)
        .api_key(FAKE_KEY)
        .base_url(base_url)
        .protocol(if native {
            Dialect::Native
        } else {
            Dialect::OpenAi
        })
        .retry(RetryPolicy::never());
    if let Some(workspace) = &call.client_workspace {
        builder = builder.workspace(workspace);
    }
    builder.build().unwrap()
}

fn reply(vector: &Value) -> Reply {
    let served = &vector["response_served"];
    let headers: Vec<(&str, &str)> = served["headers"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str().unwrap()))
        .collect();
    if let Some(events) = served["sse"].as_str() {
        return Reply::events(&headers, &[events], true);
    }
    let status = u16::try_from(served["status"].as_u64().unwrap()).unwrap();
    Reply::new(status, &headers, &served["body"].to_string())
}

/// Makes the call against a server of its own, and returns what was sent and what came of it.
async fn run(vector: &Value) -> (Recorded, Result<Outcome, bailian::Error>) {
    let call = Call::of(vector);
    let server = Server::start([reply(vector)]).await;
    let client = client(&server.base_url, vector, &call);
    let answer = if call.stream {
        match client
            .chat()
            .stream_with(&call.request, &call.options)
            .await
        {
            Ok(stream) => stream.collect().await,
            Err(error) => Err(error),
        }
    } else {
        client
            .chat()
            .create_with(&call.request, &call.options)
            .await
    };
    let mut recorded = server.recorded();
    (
        recorded.remove(0),
        answer.map(|answer| Outcome::ours(&answer, vector)),
    )
}

/// The places in which a request or result differs, by name.
fn compare(vector: &Value, sent: &Recorded, result: &Outcome) -> BTreeSet<String> {
    let expected = &vector["request"];
    let mut places = BTreeSet::new();
    if expected["method"] != sent.method.as_str() {
        places.insert("method".to_owned());
    }
    let (path, query) = sent.target.split_once('?').unwrap_or((&sent.target, ""));
    if expected["path"] != path {
        places.insert("path".to_owned());
    }
    let query: BTreeMap<&str, &str> = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .collect();
    if expected["query"] != serde_json::to_value(query).unwrap() {
        places.insert("query".to_owned());
    }
    compare_headers(expected, sent, &mut places);
    let body: Value = serde_json::from_slice(&sent.body).unwrap();
    compare_json("body", &expected["body"], &body, &mut places);
    if expected["body_non_ascii"] == "raw-utf8" && sent.body.is_ascii() {
        places.insert("body encoding".to_owned());
    }
    Outcome::expected(vector).compare(result, &mut places);
    places
}

fn compare_headers(expected: &Value, sent: &Recorded, places: &mut BTreeSet<String>) {
    let matters = |name: &str| {
        let name = name.to_ascii_lowercase();
        !(name == "user-agent"
            || name == "accept"
            || name == "x-accel-buffering"
            || name == "x-dashscope-sdk-client"
            || name == "x-dashscope-sdk-session-id"
            || name.starts_with("x-stainless-"))
    };
    let media_type = |value: &str| value.split(';').next().unwrap_or_default().to_owned();
    let headers = expected["headers"].as_object().unwrap();
    for (name, value) in headers.iter().filter(|(name, _)| matters(name)) {
        let (theirs, ours) = (value.as_str().unwrap(), sent.header(name));
        let same = if name.eq_ignore_ascii_case("content-type") {
            ours.map(media_type) == Some(media_type(theirs))
        } else if theirs.starts_with('{') {
            let json = |text: &str| serde_json::from_str::<Value>(text).ok();
            ours.and_then(json) == json(theirs)
        } else {
            ours == Some(theirs)
        };
        if !same {
            places.insert(format!("header {}", name.to_ascii_lowercase()));
        }
    }
    for (name, _) in &sent.headers {
        let name = name.to_ascii_lowercase();
        let known = headers
            .keys()
            .any(|theirs| theirs.eq_ignore_ascii_case(&name));
        if name.starts_with("x-") && matters(&name) && !known {
            places.insert(format!("header {name}"));
        }
    }
    let accept = headers.get("Accept").and_then(Value::as_str);
    if accept == Some("text/event-stream") && sent.header("accept") != accept {
        places.insert("header accept".to_owned());
    }
}

fn compare_json(place: &str, theirs: &Value, ours: &Value, places: &mut BTreeSet<String>) {
    match (theirs, ours) {
        (Value::Object(left), Value::Object(right)) => {
            for name in left.keys().chain(right.keys()).collect::<BTreeSet<_>>() {
                let inner = format!("{place}/{name}");
                match (left.get(name), right.get(name)) {
                    (Some(left), Some(right)) => compare_json(&inner, left, right, places),
                    _ => {
                        places.insert(inner);
                    }
                }
            }
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            for (index, (left, right)) in left.iter().zip(right).enumerate() {
                compare_json(&format!("{place}/{index}"), left, right, places);
            }
        }
        (Value::Number(left), Value::Number(right)) if left.as_f64() == right.as_f64() => {}
        (left, right) if left == right => {}
        _ => {
            places.insert(place.to_owned());
        }
    }
}

#[tokio::test]
async fn requests_and_results_are_those_of_the_official_clients_but_for_the_intended_differences() {
    let mut found: BTreeSet<(String, String)> = BTreeSet::new();
    let mut count = 0;
    for vector in served() {
        let id = vector["id"].as_str().unwrap().to_owned();
        let (sent, result) = run(&vector).await;
        let result = result.unwrap_or_else(|error| panic!("{id}: {error}"));
        found.extend(
            compare(&vector, &sent, &result)
                .into_iter()
                .map(|place| (place, id.clone())),
        );
        count += 1;
    }
    assert!(count > 150, "only {count} vectors were called");
    let listed: BTreeSet<(String, String)> = differences::INTENDED
        .iter()
        .flat_map(|difference| {
            difference
                .vectors
                .iter()
                .map(|id| (difference.place.to_owned(), (*id).to_owned()))
        })
        .collect();
    let unexpected: Vec<_> = found.difference(&listed).collect();
    assert!(
        unexpected.is_empty(),
        "differences that are not listed: {unexpected:#?}"
    );
    let gone: Vec<_> = listed.difference(&found).collect();
    assert!(
        gone.is_empty(),
        "listed differences that do not occur any more: {gone:#?}"
    );
}

#[tokio::test]
async fn the_catalogue_refuses_none_of_the_official_calls_but_these() {
    let mut refused = BTreeSet::new();
    for vector in served() {
        let mut call = Call::of(&vector);
        call.options = call.options.validate(true);
        let client = client("http://127.0.0.1:1", &vector, &call);
        if let Err(error) = client
            .chat()
            .build(&call.request, call.stream, &call.options)
        {
            assert_eq!(error.kind(), ErrorKind::Validation, "{error}");
            refused.insert(vector["id"].as_str().unwrap().to_owned());
        }
    }
    let listed = differences::REFUSED.iter().flat_map(|(_, ids)| ids.iter());
    assert_eq!(
        refused,
        listed.map(|id| (*id).to_owned()).collect::<BTreeSet<_>>()
    );
}

#[test]
fn every_listed_vector_exists_and_every_reason_is_given() {
    let known: BTreeSet<String> = vectors()
        .map(|vector| vector["id"].as_str().unwrap().to_owned())
        .collect();
    let lists = differences::NOT_SERVED.iter().chain(differences::REFUSED);
    for (reason, ids) in lists {
        assert!(reason.len() > 20);
        for id in *ids {
            assert!(known.contains(*id), "{id}");
        }
    }
    assert!(
        differences::INTENDED
            .iter()
            .all(|difference| difference.reason.len() > 20)
    );
}
