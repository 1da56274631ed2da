//! The gateway between a plain client and the simulator.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at what it did not expect"
)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bailian_sim::Verdict;
use http_body_util::BodyExt as _;
use support::{
    KEY, NATIVE, OPENAI, Pair, UPSTREAM_KEY, get, native_body, openai_body, post, read, read_json,
    send, with,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

#[tokio::test]
async fn a_plain_answer_passes_byte_for_byte_on_every_path() {
    let pair = Pair::new().await;
    for (path, body) in [
        (OPENAI, openai_body(false)),
        ("/compatible-mode/v1/chat/completions", openai_body(false)),
        (NATIVE, native_body()),
    ] {
        let (status, headers, text) = read(pair.send(post(path, body.clone())).await).await;
        assert_eq!(status, 200, "{text}");
        assert_eq!(headers["content-type"], "application/json");
        let entry = pair
            .journal_until(|entry| entry.verdict == Verdict::Ok)
            .await;
        assert_eq!(entry.bytes_sent, text.len() as u64);
        assert_eq!(
            headers["x-bailian-upstream-request-id"],
            entry.request_id.as_str()
        );
        assert_ne!(headers["x-request-id"], entry.request_id.as_str());
    }
}

#[tokio::test]
async fn a_stream_passes_frame_by_frame_and_its_usage_is_counted() {
    let pair = Pair::new().await;
    let native = with(post(NATIVE, native_body()), "x-dashscope-sse", "enable");
    let (status, headers, text) = read(pair.send(native).await).await;
    assert_eq!(
        (status.as_u16(), &headers["content-type"]),
        (200, &"text/event-stream;charset=UTF-8".parse().unwrap())
    );
    assert!(
        text.starts_with("id:1\nevent:result\n:HTTP_STATUS/200\ndata:{"),
        "{text}"
    );
    let entry = pair
        .journal_until(|entry| entry.verdict == Verdict::Ok)
        .await;
    assert_eq!(entry.bytes_sent, text.len() as u64);

    let (_, _, metrics) = read(pair.send(get("/metrics")).await).await;
    let counted = format!(
        "bailian_tokens_total{{dialect=\"native\",kind=\"output\"}} {}",
        entry.output_tokens
    );
    assert!(metrics.contains(&counted), "{metrics}");
    assert!(metrics.contains("bailian_requests_total{dialect=\"native\",outcome=\"completed\"} 1"));
}

#[tokio::test]
async fn the_first_frame_arrives_before_the_last_is_made() {
    let pair = Pair::new().await;
    let mut request = post(OPENAI, openai_body(true));
    request
        .headers_mut()
        .insert("x-sim-fault", "stall=3".parse().unwrap());
    let mut body = pair.send(request).await.into_body();
    let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(frame.starts_with(b"data: {"));
}

#[tokio::test]
async fn a_client_that_leaves_is_seen_upstream_at_once_in_every_phase() {
    for (name, fault, stream) in [
        ("before the first byte", "delay-ms=60000", true),
        ("in a plain wait", "delay-ms=60000", false),
        ("in mid-stream", "stall=3", true),
    ] {
        let pair = Pair::new().await;
        let request = with(post(OPENAI, openai_body(stream)), "x-sim-fault", fault);
        let address = pair.gateway.address;
        let client = tokio::spawn(async move {
            let mut body = send(address, request).await.into_body();
            while let Some(frame) = body.frame().await {
                drop(frame);
            }
        });
        if fault.starts_with("stall") {
            pair.journal_until(|entry| entry.frames == 2).await;
        } else {
            pair.journal_until(|entry| entry.verdict == Verdict::Open)
                .await;
        }
        // The client's connection lives in its own task too; a runtime that ends cuts both.
        client.abort();
        let _cancelled = client.await;
        let entry = pair
            .journal_until(|entry| entry.verdict == Verdict::ClientLeft)
            .await;
        assert!(entry.client_left_ms.is_some(), "{name}: {entry:?}");
    }
}

#[tokio::test]
async fn errors_of_upstream_keep_status_code_and_request_id() {
    let pair = Pair::with_upstream_key("sk-limited-1").await;
    let (status, headers, body) =
        read_json(pair.send(post(OPENAI, openai_body(false))).await).await;
    assert_eq!(
        (status.as_u16(), &body["error"]["code"]),
        (429, &"limit_requests".into())
    );
    let entry = pair.journal_until(|_| true).await;
    assert_eq!(body["request_id"], entry.request_id.as_str());
    assert_eq!(headers["x-bailian-error-source"], "upstream");
    let (status, _, body) = read_json(pair.send(post(NATIVE, native_body())).await).await;
    assert_eq!(
        (status.as_u16(), &body["code"]),
        (429, &"Throttling.RateQuota".into())
    );
}

#[tokio::test]
async fn an_upstream_that_is_not_there_is_a_502_that_says_nothing_was_sent() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let gateway = support::start(support::config(&format!("http://{address}"), UPSTREAM_KEY));
    let response = send(gateway.address, post(OPENAI, openai_body(false))).await;
    let (status, headers, body) = read_json(response).await;
    assert_eq!(status, 502);
    assert_eq!(headers["x-bailian-error-source"], "gateway");
    assert!(
        body["error"]["message"]
            .as_str()
            .unwrap()
            .contains("Nothing was sent"),
        "{body}"
    );
}

#[tokio::test]
async fn a_stream_that_upstream_breaks_between_frames_ends_with_an_error_event() {
    let pair = Pair::new().await;
    let mut config = support::config(&pair.simulator.base_url(), UPSTREAM_KEY);
    config.repairs.resume = false;
    let gateway = support::start(config);
    for (path, body, marker) in [
        (OPENAI, openai_body(true), "data: {\"error\":"),
        (
            NATIVE,
            native_body(),
            "event:error\n:HTTP_STATUS/502\ndata:{\"code\":",
        ),
    ] {
        // As many bytes as the first two frames have.
        let plain = with(post(path, body.clone()), "x-dashscope-sse", "enable");
        let (_, _, whole) = read(pair.send(with(plain, "x-sim-answer", "a b c d")).await).await;
        let cut = whole.match_indices("\n\n").nth(1).unwrap().0 + 2;
        let mut request = with(post(path, body), "x-dashscope-sse", "enable");
        request
            .headers_mut()
            .insert("x-sim-answer", "a b c d".parse().unwrap());
        request.headers_mut().insert(
            "x-sim-fault",
            format!("cut-after-bytes={cut}").parse().unwrap(),
        );
        let (status, _, text) = read(send(gateway.address, request).await).await;
        assert_eq!(status, 200);
        let last = text.trim_end().rsplit("\n\n").next().unwrap();
        assert!(last.contains(marker), "{text}");
    }
}

#[tokio::test]
async fn a_stream_that_is_cut_inside_a_frame_ends_with_whole_frames_and_an_error() {
    let pair = Pair::new().await;
    let request = with(
        post(OPENAI, openai_body(true)),
        "x-sim-fault",
        "cut-after-bytes=50",
    );
    let (status, _, text) = read(pair.send(request).await).await;
    assert_eq!(status, 200);
    let frames: Vec<&str> = text.split_terminator("\n\n").collect();
    let (last, before) = frames.split_last().unwrap();
    assert!(last.starts_with("data: {\"error\":"), "{text}");
    // Each try was cut, so there is nothing but the signs of the tries.
    assert!(before.iter().all(|frame| frame.starts_with(": ")), "{text}");
}

#[tokio::test]
async fn open_streams_end_before_the_gateway_stops() {
    let mut pair = Pair::new().await;
    let mut request = post(OPENAI, openai_body(true));
    request
        .headers_mut()
        .insert("x-sim-tokens", "40".parse().unwrap());
    request
        .headers_mut()
        .insert("x-sim-tps", "200".parse().unwrap());
    let response = pair.send(request).await;
    pair.gateway.stop.take().unwrap().send(()).unwrap();
    let (status, _, text) = read(response).await;
    assert_eq!(status, 200);
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    pair.gateway.task.await.unwrap();
    assert!(
        tokio::net::TcpStream::connect(pair.gateway.address)
            .await
            .is_err()
    );
}

/// An upstream that counts its connections and closes each one after `answers` answers, without
/// saying so before.
async fn counting_upstream(answers: usize) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&accepted);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            count.fetch_add(1, Ordering::SeqCst);
            for _ in 0..answers {
                let mut request = Vec::new();
                while !request.ends_with(b"}") {
                    if stream.read_buf(&mut request).await.unwrap() == 0 {
                        break;
                    }
                }
                let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
                              content-length: 2\r\n\r\n{}";
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    });
    (base_url, accepted)
}

#[tokio::test]
async fn connections_to_upstream_are_used_again() {
    let (base_url, accepted) = counting_upstream(usize::MAX).await;
    let gateway = support::start(support::config(&base_url, UPSTREAM_KEY));
    for _ in 0..20 {
        let response = send(gateway.address, post(OPENAI, openai_body(false))).await;
        assert_eq!(read(response).await.0, 200);
    }
    assert_eq!(accepted.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn connections_that_upstream_has_closed_are_replaced() {
    let (base_url, accepted) = counting_upstream(2).await;
    let gateway = support::start(support::config(&base_url, UPSTREAM_KEY));
    for _ in 0..20 {
        let response = send(gateway.address, post(OPENAI, openai_body(false))).await;
        assert_eq!(read(response).await.0, 200);
    }
    assert_eq!(accepted.load(Ordering::SeqCst), 10);
}

#[tokio::test]
async fn an_address_that_is_taken_is_refused_even_by_another_gateway() {
    let pair = Pair::new().await;
    for threads in [1, 2] {
        let mut config = support::config(&pair.simulator.base_url(), UPSTREAM_KEY);
        config.listen = pair.gateway.address;
        config.threads = threads;
        assert!(bailian_gateway::Server::bind(config).is_err());
    }
}

#[tokio::test]
async fn several_threads_serve_one_address() {
    let pair = Pair::new().await;
    let mut config = support::config(&pair.simulator.base_url(), UPSTREAM_KEY);
    config.threads = 3;
    let gateway = support::start(config);
    for _ in 0..12 {
        assert_eq!(
            send(gateway.address, post(OPENAI, openai_body(false)))
                .await
                .status(),
            200
        );
    }
}

#[tokio::test]
async fn every_answer_has_a_request_id_of_the_gateway() {
    let pair = Pair::new().await;
    for request in [
        get("/healthz"),
        get("/readyz"),
        get("/metrics"),
        get("/v1/models"),
        get("/nowhere"),
        get(OPENAI),
    ] {
        let path = request.uri().path().to_owned();
        let id = pair.send(request).await.headers()["x-request-id"]
            .to_str()
            .unwrap()
            .to_owned();
        assert_eq!(id.len(), 36, "{path}");
    }
}

#[tokio::test]
async fn models_are_listed_in_openai_form() {
    let pair = Pair::new().await;
    let (status, _, body) = read_json(pair.send(get("/v1/models")).await).await;
    assert_eq!((status.as_u16(), &body["object"]), (200, &"list".into()));
    let ids: Vec<&str> = body["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["id"].as_str().unwrap())
        .collect();
    assert!(ids.contains(&"qwen-plus") && !ids.contains(&"text-embedding-v4"));
    let (status, _, body) =
        read_json(pair.send(get("/compatible-mode/v1/models/qwen-plus")).await).await;
    assert_eq!((status.as_u16(), &body["id"]), (200, &"qwen-plus".into()));
    let (status, _, body) = read_json(pair.send(get("/v1/models/none")).await).await;
    assert_eq!(
        (status.as_u16(), &body["error"]["code"]),
        (404, &"model_not_found".into())
    );
}

#[tokio::test]
async fn secrets_reach_neither_client_nor_metrics_nor_upstream() {
    let pair = Pair::new().await;
    let mut seen = String::new();
    for request in [
        post(OPENAI, openai_body(false)),
        post(OPENAI, "no json"),
        get("/metrics"),
        get("/readyz"),
        get("/nowhere"),
    ] {
        let (_, headers, text) = read(pair.send(request).await).await;
        seen = format!("{seen}{headers:?}{text}");
    }
    assert!(!seen.contains(UPSTREAM_KEY) && !seen.contains(KEY));
    let upstream = pair.journal_until(|_| true).await;
    assert!(
        upstream.key.starts_with("sk-canary-u"),
        "the account's key, not the caller's: {upstream:?}"
    );
}

#[tokio::test]
async fn a_plain_answer_that_breaks_off_is_a_clear_error() {
    let pair = Pair::new().await;
    for (path, body) in [(OPENAI, openai_body(false)), (NATIVE, native_body())] {
        let request = with(post(path, body), "x-sim-fault", "cut-after-bytes=20");
        let (status, _, json) = read_json(pair.send(request).await).await;
        assert_eq!(status, 502, "{json}");
        assert!(json.to_string().contains("may have been billed"), "{json}");
    }
}

#[tokio::test]
async fn events_before_a_cut_reach_the_client() {
    let pair = Pair::new().await;
    let request = with(post(OPENAI, openai_body(true)), "x-sim-answer", "a b c d");
    let (_, _, whole) = read(pair.send(request).await).await;
    let two = whole.match_indices("\n\n").nth(1).unwrap().0 + 2;
    let mut request = with(post(OPENAI, openai_body(true)), "x-sim-answer", "a b c d");
    let fault = format!("cut-after-bytes={}", two + 7);
    request
        .headers_mut()
        .insert("x-sim-fault", fault.parse().unwrap());
    let (_, _, text) = read(pair.send(request).await).await;
    let contents = |text: &str| text.matches("\"content\":\"").count();
    assert!(contents(&text) >= contents(&whole[..two]), "{text}");
    assert!(text.trim_end().ends_with('}'), "{text}");
}
