//! A running simulator and a plain HTTP client.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its part of this module"
)]
#![allow(
    clippy::needless_pass_by_value,
    reason = "callers write the value in place"
)]

use std::time::{Duration, Instant};

use bailian_sim::{JournalEntry, RunningSimulator, SimConfig, Simulator};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

pub const COMPAT: &str = "/compatible-mode/v1/chat/completions";
pub const NATIVE: &str = "/api/v1/services/aigc/text-generation/generation";
pub const MULTIMODAL: &str = "/api/v1/services/aigc/multimodal-generation/generation";

pub async fn simulator() -> RunningSimulator {
    Simulator::new(SimConfig::default()).spawn().await.unwrap()
}

/// A request; headers follow as `name: value`.
pub fn post(path: &str, body: &Value, headers: &[&str]) -> Request<Full<Bytes>> {
    request(Method::POST, path, body.to_string(), headers)
}

pub fn request(
    method: Method,
    path: &str,
    body: impl Into<Bytes>,
    headers: &[&str],
) -> Request<Full<Bytes>> {
    let mut builder = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "sim.test");
    let keyed = headers
        .iter()
        .any(|line| line.starts_with("authorization:"));
    if !keyed {
        builder = builder.header("authorization", "Bearer sk-test");
    }
    for line in headers {
        let (name, value) = line.split_once(": ").unwrap();
        builder = builder.header(name, value);
    }
    builder.body(Full::new(body.into())).unwrap()
}

pub async fn send(
    simulator: &RunningSimulator,
    request: Request<Full<Bytes>>,
) -> Result<http::Response<Incoming>, hyper::Error> {
    let stream = TcpStream::connect(simulator.address()).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    sender.send_request(request).await
}

pub async fn text(
    simulator: &RunningSimulator,
    request: Request<Full<Bytes>>,
) -> (StatusCode, HeaderMap, String) {
    let (head, body) = send(simulator, request).await.unwrap().into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    (
        head.status,
        head.headers,
        String::from_utf8(bytes.to_vec()).unwrap(),
    )
}

pub async fn answer(simulator: &RunningSimulator, request: Request<Full<Bytes>>) -> (u16, Value) {
    let (status, _, text) = text(simulator, request).await;
    (
        status.as_u16(),
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("not JSON: {text}")),
    )
}

/// A native body with the given parameters.
pub fn native(model: &str, parameters: Value) -> Value {
    json!({
        "model": model,
        "input": { "messages": [{ "role": "user", "content": "Who are you? Answer in JSON." }] },
        "parameters": parameters,
    })
}

/// An OpenAI-compatible body with further members.
pub fn compat(model: &str, members: Value) -> Value {
    let mut body = json!({
        "model": model,
        "messages": [{ "role": "user", "content": "Who are you? Answer in JSON." }],
    });
    if let (Some(body), Value::Object(members)) = (body.as_object_mut(), members) {
        body.extend(members);
    }
    body
}

/// Waits until the last journal entry fulfils `condition`.
pub async fn journal_until(
    simulator: &RunningSimulator,
    condition: impl Fn(&JournalEntry) -> bool,
) -> JournalEntry {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        if let Some(entry) = simulator.journal().pop()
            && condition(&entry)
        {
            return entry;
        }
        assert!(
            Instant::now() < deadline,
            "journal: {:?}",
            simulator.journal()
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The JSON of a stream's data lines.
pub fn frames(stream: &str) -> Vec<Value> {
    stream
        .lines()
        .filter_map(|line| line.strip_prefix("data:"))
        .filter(|data| data.trim() != "[DONE]")
        .map(|data| serde_json::from_str(data).unwrap())
        .collect()
}
