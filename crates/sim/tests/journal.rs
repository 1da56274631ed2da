//! The journal is the truth about what was served.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at what it did not expect"
)]

mod support;

use std::time::{Duration, Instant};

use bailian_sim::{SimConfig, Simulator, Verdict};
use http::Method;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use support::{
    COMPAT, NATIVE, answer, compat, journal_until, native, post, request, send, simulator, text,
};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

#[tokio::test]
async fn every_request_is_there_with_the_bytes_of_its_answer() {
    let simulator = simulator().await;
    let bad_key = ["authorization: Bearer nonsense"];
    let bad = native("qwen-plus", json!({ "temperature": 9 }));
    let requests = [
        (
            post(COMPAT, &compat("qwen-plus", json!({})), &[]),
            "ok",
            200,
        ),
        (
            post(COMPAT, &compat("qwen-plus", json!({ "stream": true })), &[]),
            "ok",
            200,
        ),
        (
            post(COMPAT, &compat("qwen-plus", json!({})), &bad_key),
            "rejected",
            401,
        ),
        (post(NATIVE, &bad, &[]), "rejected", 400),
        (
            post(NATIVE, &bad, &["x-dashscope-sse: enable"]),
            "rejected",
            400,
        ),
        (
            post(
                COMPAT,
                &compat("qwen-plus", json!({})),
                &["x-sim-fault: status=500"],
            ),
            "fault",
            500,
        ),
        (
            request(Method::GET, "/compatible-mode/v1/models", "", &[]),
            "ok",
            200,
        ),
        (
            request(Method::GET, "/api/v1/models?page_no=x", "", &[]),
            "rejected",
            400,
        ),
        (
            request(Method::GET, "/compatible-mode/v1/models/none", "", &[]),
            "rejected",
            404,
        ),
        (post("/api/v1/nowhere", &json!({}), &[]), "rejected", 404),
        (request(Method::GET, NATIVE, "", &[]), "rejected", 405),
        (
            request(Method::POST, COMPAT, "no json", &[]),
            "rejected",
            400,
        ),
    ];
    let mut lengths = Vec::new();
    let mut wanted = Vec::new();
    for (request, verdict, status) in requests {
        wanted.push((request.uri().path().to_owned(), verdict, status));
        let (_, head, body) = text(&simulator, request).await;
        lengths.push((
            head["x-request-id"].to_str().unwrap().to_owned(),
            body.len() as u64,
        ));
    }
    journal_until(&simulator, |entry| entry.finished_ms.is_some()).await;
    let journal = simulator.journal();
    let told: Vec<(String, String, u16)> = journal
        .iter()
        .map(|entry| {
            let verdict = serde_json::to_value(entry.verdict).unwrap();
            (
                entry.path.clone(),
                verdict.as_str().unwrap().to_owned(),
                entry.status,
            )
        })
        .collect();
    for (told, (path, verdict, status)) in told.iter().zip(&wanted) {
        assert_eq!(
            (&told.0, told.1.as_str(), told.2),
            (path, *verdict, *status)
        );
    }
    assert_eq!(told.len(), wanted.len());
    let bytes: Vec<(String, u64)> = journal
        .iter()
        .map(|entry| (entry.request_id.clone(), entry.bytes_sent))
        .collect();
    assert_eq!(bytes, lengths);
    assert!(
        journal
            .windows(2)
            .all(|pair| pair[0].arrival_ms <= pair[1].arrival_ms)
    );
    // Keys are recognisable and useless.
    assert!(
        !serde_json::to_string(&journal)
            .unwrap()
            .contains("nonsense")
    );
}

#[tokio::test]
async fn tokens_and_frames_are_those_of_the_answer() {
    let simulator = simulator().await;
    let body = native(
        "qwen-plus",
        json!({ "incremental_output": true, "enable_thinking": true, "result_format": "message" }),
    );
    let (_, _, stream) = text(
        &simulator,
        post(NATIVE, &body, &["accept: text/event-stream"]),
    )
    .await;
    let frames = support::frames(&stream);
    let usage = &frames.last().unwrap()["usage"];
    let entry = journal_until(&simulator, |entry| entry.verdict == Verdict::Ok).await;
    assert_eq!(usage["input_tokens"], entry.input_tokens);
    assert_eq!(usage["output_tokens"], entry.output_tokens);
    assert_eq!(frames.len() as u64, entry.frames);
    assert!(entry.stream && entry.first_byte_ms <= entry.finished_ms);
}

#[tokio::test]
async fn old_entries_make_room_and_are_counted() {
    let config = SimConfig::default()
        .patched(&json!({ "journal_capacity": 3 }))
        .unwrap();
    let simulator = Simulator::new(config).spawn().await.unwrap();
    for _ in 0..5 {
        answer(
            &simulator,
            post(COMPAT, &compat("qwen-plus", json!({})), &[]),
        )
        .await;
    }
    let numbers: Vec<u64> = simulator
        .journal()
        .iter()
        .map(|entry| entry.number)
        .collect();
    assert_eq!(numbers, [3, 4, 5]);
    let (_, sums) = answer(&simulator, request(Method::GET, "/__sim/stats", "", &[])).await;
    assert_eq!(sums["dropped"], 2);
    let (found, body) = answer(&simulator, request(Method::GET, "/__sim/nothing", "", &[])).await;
    assert!(found == 404 && body["error"].as_str().unwrap().contains("journal"));
    let (refused, _) = answer(
        &simulator,
        request(Method::DELETE, "/__sim/config", "", &[]),
    )
    .await;
    assert_eq!(
        (refused, simulator.journal().len()),
        (405, 3),
        "its own paths are not journalled"
    );
}

#[tokio::test]
async fn a_client_that_breaks_off_its_upload_has_left() {
    let simulator = simulator().await;
    let mut stream = TcpStream::connect(simulator.address()).await.unwrap();
    let head = format!(
        "POST {COMPAT} HTTP/1.1\r\nhost: sim.test\r\nauthorization: Bearer sk-1\r\n\
         content-length: 1000\r\n\r\n{{\"model\""
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    journal_until(&simulator, |entry| entry.verdict == Verdict::Open).await;
    drop(stream);
    let entry = journal_until(&simulator, |entry| entry.verdict == Verdict::ClientLeft).await;
    assert!(entry.client_left_ms.is_some() && entry.bytes_sent == 0);
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed_at_once_in_every_phase() {
    let simulator = simulator().await;
    for (stream, headers, frames) in [
        (false, vec!["x-sim-ttft-ms: 60000"], 0),
        (true, vec!["x-sim-ttft-ms: 60000"], 0),
        (true, vec!["x-sim-tps: 200", "x-sim-tokens: 100000"], 4),
        (true, vec!["x-sim-tokens: 1000000"], 4),
    ] {
        let body = compat("qwen-plus", json!({ "stream": stream }));
        let exchange = send(&simulator, post(COMPAT, &body, &headers));
        let mut exchange = Box::pin(exchange);
        if frames == 0 && !stream {
            let waits = tokio::time::timeout(Duration::from_millis(30), &mut exchange).await;
            assert!(waits.is_err());
            journal_until(&simulator, |entry| entry.verdict == Verdict::Open).await;
            leaves(&simulator, exchange).await;
        } else {
            let mut body = exchange.await.unwrap().into_body();
            for _ in 0..frames {
                body.frame().await.unwrap().unwrap();
            }
            leaves(&simulator, body).await;
        }
    }
}

/// It takes less than 50 ms where the machine has the time; those that run tests may be busy.
const NOTICED_WITHIN: Duration = Duration::from_millis(500);

/// Drops the client's side and waits until the journal says so.
async fn leaves<T>(simulator: &bailian_sim::RunningSimulator, client: T) {
    drop(client);
    let left = Instant::now();
    let entry = journal_until(simulator, |entry| entry.verdict == Verdict::ClientLeft).await;
    assert!(
        left.elapsed() < NOTICED_WITHIN,
        "{:?}: {entry:?}",
        left.elapsed()
    );
    simulator.reset();
}

#[tokio::test]
async fn a_request_that_is_still_open_is_there_too() {
    let simulator = simulator().await;
    let body = compat("qwen-plus", json!({ "stream": true }));
    let open = send(&simulator, post(COMPAT, &body, &["x-sim-fault: stall=2"]))
        .await
        .unwrap();
    journal_until(&simulator, |entry| entry.frames == 1).await;
    let (_, journal) = answer(&simulator, request(Method::GET, "/__sim/journal", "", &[])).await;
    assert_eq!(journal[0]["verdict"], "open");
    assert_eq!(journal[0]["finished_ms"], Value::Null);
    drop(open);
}

#[tokio::test]
async fn shutting_down_lets_open_answers_end_and_dropping_does_not() {
    let first = simulator().await;
    let body = compat("qwen-plus", json!({ "stream": true }));
    let slow = post(COMPAT, &body, &["x-sim-tps: 100", "x-sim-tokens: 10"]);
    let response = send(&first, slow).await.unwrap();
    let (stopped, collected) = tokio::join!(first.shut_down(), response.into_body().collect());
    let () = stopped;
    assert!(collected.unwrap().to_bytes().ends_with(b"data: [DONE]\n\n"));
    let second = simulator().await;
    let slow = post(COMPAT, &body, &["x-sim-ttft-ms: 60000"]);
    let response = send(&second, slow).await.unwrap();
    drop(second);
    assert!(response.into_body().collect().await.is_err());
}
