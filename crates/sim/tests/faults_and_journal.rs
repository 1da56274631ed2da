//! What goes wrong on purpose, and what the journal says of it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at what it did not expect"
)]

mod support;

use bailian_sim::Verdict;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use support::{
    COMPAT, NATIVE, answer, compat, journal_until, native, post, request, send, simulator, text,
};

fn stream() -> Value {
    compat("qwen-plus", json!({ "stream": true }))
}

#[tokio::test]
async fn statuses_and_codes_come_as_documented() {
    let simulator = simulator().await;
    let (status, body) = answer(
        &simulator,
        post(COMPAT, &stream(), &["x-sim-fault: status=503"]),
    )
    .await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (503, &"ModelServingError".into())
    );
    let burst = "x-sim-fault: code=Throttling.BurstRate";
    let (status, body) = answer(
        &simulator,
        post(NATIVE, &native("qwen-plus", json!({})), &[burst]),
    )
    .await;
    assert_eq!(status, 429);
    assert!(
        body["message"]
            .as_str()
            .unwrap()
            .starts_with("Request rate increased too quickly.")
    );
    let entry = journal_until(&simulator, |entry| entry.verdict == Verdict::Fault).await;
    assert_eq!(
        (entry.status, entry.code.as_deref()),
        (429, Some("Throttling.BurstRate"))
    );
}

#[tokio::test]
async fn a_reset_and_a_cut_are_seen_as_broken_connections() {
    let simulator = simulator().await;
    assert!(
        send(&simulator, post(COMPAT, &stream(), &["x-sim-fault: reset"]))
            .await
            .is_err()
    );
    let response = send(
        &simulator,
        post(COMPAT, &stream(), &["x-sim-fault: cut-after-bytes=100"]),
    )
    .await
    .unwrap();
    let mut body = response.into_body();
    let mut received = 0;
    let broken = loop {
        match body.frame().await {
            Some(Ok(frame)) => received += frame.data_ref().map_or(0, bytes::Bytes::len),
            Some(Err(_)) => break true,
            None => break false,
        }
    };
    assert_eq!((broken, received), (true, 100));
    assert_eq!(
        journal_until(&simulator, |entry| entry.verdict == Verdict::Fault)
            .await
            .bytes_sent,
        100
    );
}

#[tokio::test]
async fn streams_can_be_malformed_truncated_and_ended_with_an_error() {
    let simulator = simulator().await;
    let (_, _, malformed) = text(
        &simulator,
        post(COMPAT, &stream(), &["x-sim-fault: malformed=2"]),
    )
    .await;
    assert_eq!(
        malformed.split("\n\n").nth(1),
        Some("data: {\"choices\":[{")
    );
    let (_, _, truncated) = text(
        &simulator,
        post(COMPAT, &stream(), &["x-sim-fault: truncate=3"]),
    )
    .await;
    assert_eq!(truncated.matches("data: ").count(), 2);
    let headers = ["x-sim-fault: error-frame=3", "x-dashscope-sse: enable"];
    let (_, _, late) = text(
        &simulator,
        post(NATIVE, &native("qwen-plus", json!({})), &headers),
    )
    .await;
    assert!(
        late.contains("id:3\nevent:error\n:HTTP_STATUS/500\ndata:{\"code\":\"InternalError\""),
        "{late}"
    );
    let headers = ["x-sim-fault: no-blank-lines", "x-dashscope-sse: enable"];
    let (_, _, close) = text(
        &simulator,
        post(NATIVE, &native("qwen-plus", json!({})), &headers),
    )
    .await;
    assert!(!close.contains("\n\n") && close.contains("}\nid:2\n"));
    let (_, _, whole) = text(&simulator, post(COMPAT, &stream(), &["x-sim-answer: 你好"])).await;
    let (_, _, split) = text(
        &simulator,
        post(
            COMPAT,
            &stream(),
            &["x-sim-answer: 你好", "x-sim-fault: split=1"],
        ),
    )
    .await;
    assert_eq!(whole.len(), split.len());
}

#[tokio::test]
async fn rules_of_the_configuration_strike_by_count_and_model() {
    let simulator = simulator().await;
    let put = json!({ "faults": [{ "faults": ["status=500"], "model": "qwen-plus", "first": 2 }] });
    let (status, effective) = answer(
        &simulator,
        request(http::Method::PUT, "/__sim/config", put.to_string(), &[]),
    )
    .await;
    assert_eq!((status, &effective["faults"][0]["first"]), (200, &2.into()));
    let mut statuses = Vec::new();
    for model in ["qwen-max", "qwen-plus", "qwen-plus", "qwen-plus"] {
        statuses.push(
            answer(&simulator, post(COMPAT, &compat(model, json!({})), &[]))
                .await
                .0,
        );
    }
    assert_eq!(statuses, [200, 500, 500, 200]);
    let bad = request(
        http::Method::PUT,
        "/__sim/config",
        r#"{"faults":[{"faults":["explode"]}]}"#,
        &[],
    );
    let (status, body) = answer(&simulator, bad).await;
    assert_eq!(status, 400);
    assert!(
        body["error"].as_str().unwrap().contains("explode"),
        "{body}"
    );
}

#[tokio::test]
async fn scripted_answers_are_found_by_text_and_model() {
    let simulator = simulator().await;
    let put = json!({ "answers": [{ "contains": "Who are you", "text": "答案" }] });
    answer(
        &simulator,
        request(http::Method::PUT, "/__sim/config", put.to_string(), &[]),
    )
    .await;
    let (_, body) = answer(
        &simulator,
        post(COMPAT, &compat("qwen-plus", json!({})), &[]),
    )
    .await;
    assert_eq!(body["choices"][0]["message"]["content"], "答案");
    let percent = ["x-sim-answer: %E4%BD%A0%E5%A5%BD 100%"];
    let (_, body) = answer(
        &simulator,
        post(COMPAT, &compat("qwen-plus", json!({})), &percent),
    )
    .await;
    assert_eq!(body["choices"][0]["message"]["content"], "你好 100%");
}

#[tokio::test]
async fn the_journal_tells_what_was_served_and_forgets_on_reset() {
    let simulator = simulator().await;
    let (_, _, stream_text) = text(&simulator, post(COMPAT, &stream(), &[])).await;
    journal_until(&simulator, |entry| entry.verdict == Verdict::Ok).await;
    let (_, journal) = answer(
        &simulator,
        request(http::Method::GET, "/__sim/journal", "", &[]),
    )
    .await;
    let entry = &journal[0];
    assert_eq!(entry["bytes_sent"], stream_text.len());
    assert_eq!(
        (&entry["path"], &entry["model"], &entry["stream"]),
        (&COMPAT.into(), &"qwen-plus".into(), &true.into())
    );
    assert_eq!(
        (&entry["verdict"], &entry["account"]),
        (&"ok".into(), &"default".into())
    );
    assert_eq!(entry["frames"], stream_text.matches("data: ").count());
    assert!(!journal.to_string().contains("Bearer"));
    let (_, _, lines) = text(
        &simulator,
        request(http::Method::GET, "/__sim/journal?format=ndjson", "", &[]),
    )
    .await;
    assert_eq!(lines.lines().count(), 1);
    let (_, stats) = answer(
        &simulator,
        request(http::Method::GET, "/__sim/stats", "", &[]),
    )
    .await;
    assert_eq!(stats["accounts"]["default"]["qwen-plus"]["ok"], 1);
    answer(
        &simulator,
        request(http::Method::POST, "/__sim/reset", "", &[]),
    )
    .await;
    assert!(simulator.journal().is_empty());
}

#[tokio::test]
async fn a_client_that_leaves_is_journalled_in_every_phase() {
    for (headers, frames) in [
        (vec!["x-sim-fault: delay-ms=60000"], 0),
        (vec!["x-sim-ttft-ms: 60000"], 0),
        (vec!["x-sim-fault: stall=3"], 2),
    ] {
        let simulator = simulator().await;
        for stream_wanted in [true, false] {
            if frames > 0 && !stream_wanted {
                continue;
            }
            let body = compat("qwen-plus", json!({ "stream": stream_wanted }));
            let request = post(COMPAT, &body, &headers);
            let address = simulator.address();
            let client = tokio::spawn(async move {
                let stream = tokio::net::TcpStream::connect(address).await.unwrap();
                let io = hyper_util::rt::TokioIo::new(stream);
                let (mut sender, connection) =
                    hyper::client::conn::http1::handshake(io).await.unwrap();
                let exchange = async {
                    let mut body = sender.send_request(request).await.unwrap().into_body();
                    while let Some(frame) = body.frame().await {
                        drop(frame);
                    }
                };
                tokio::select! {
                    () = exchange => {}
                    _ = connection => {}
                }
            });
            journal_until(&simulator, |entry| {
                entry.verdict == Verdict::Open && entry.frames == frames
            })
            .await;
            client.abort();
            let entry =
                journal_until(&simulator, |entry| entry.verdict == Verdict::ClientLeft).await;
            assert!(entry.client_left_ms.is_some() && entry.finished_ms.is_none());
        }
    }
}

#[tokio::test]
async fn answers_come_as_fast_as_they_are_told_to() {
    let simulator = simulator().await;
    let headers = ["x-sim-ttft-ms: 60", "x-sim-tps: 100", "x-sim-tokens: 10"];
    text(&simulator, post(COMPAT, &stream(), &headers)).await;
    let entry = journal_until(&simulator, |entry| entry.verdict == Verdict::Ok).await;
    assert!(entry.first_byte_ms.unwrap() >= 60.0, "{entry:?}");
    assert!(entry.finished_ms.unwrap() >= 150.0, "{entry:?}");
}
