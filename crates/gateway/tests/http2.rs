//! HTTP/2 on the client's side, without encryption.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at what it did not expect"
)]

mod support;

use std::time::Duration;

use bailian_sim::Verdict;
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use support::{
    NATIVE, OPENAI, Pair, Running, UPSTREAM_KEY, get, native_body, openai_body, over_http2, post,
    read, with,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

async fn connect(gateway: &Running) -> SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(gateway.address).await.unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    sender
}

fn slow_stream(tokens: &'static str) -> Request<Full<Bytes>> {
    let request = with(post(OPENAI, openai_body(true)), "x-sim-tokens", tokens);
    over_http2(with(request, "x-sim-tps", "100"))
}

#[tokio::test]
async fn a_stream_comes_over_http2() {
    let pair = Pair::new().await;
    let mut client = connect(&pair.gateway).await;
    let request = over_http2(post(OPENAI, openai_body(true)));
    let (status, headers, text) = read(client.send_request(request).await.unwrap()).await;
    assert_eq!(status, 200);
    assert!(
        headers["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/event-stream")
    );
    for name in ["connection", "transfer-encoding", "keep-alive"] {
        assert!(!headers.contains_key(name), "{headers:?}");
    }
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
}

#[tokio::test]
async fn every_kind_of_path_works_over_http2() {
    let pair = Pair::new().await;
    let mut client = connect(&pair.gateway).await;
    let messages = json!([{ "role": "user", "content": "你好" }]);
    let anthropic = json!({ "model": "qwen-plus", "max_tokens": 50, "messages": messages });
    let embeddings = json!({ "model": "text-embedding-v4", "input": "你好" });
    for request in [
        get("/healthz"),
        get("/readyz"),
        get("/metrics"),
        get("/v1/models?limit=1"),
        post(OPENAI, openai_body(false)),
        post(NATIVE, native_body()),
        post("/anthropic/v1/messages", anthropic.to_string()),
        post("/anthropic/v1/messages/count_tokens", anthropic.to_string()),
        post("/v1/embeddings", embeddings.to_string()),
    ] {
        let path = request.uri().path().to_owned();
        let answer = client.send_request(over_http2(request)).await.unwrap();
        let (status, headers, text) = read(answer).await;
        assert_eq!(status, 200, "{path}: {text}");
        assert!(headers.contains_key("x-request-id"), "{path}");
    }
    let (status, _, text) = read(
        client
            .send_request(over_http2(get("/v1/nowhere")))
            .await
            .unwrap(),
    )
    .await;
    assert_eq!(status, 404, "{text}");
    let large = post(OPENAI, vec![b' '; 3_000_000]);
    let answer = client.send_request(over_http2(large)).await.unwrap();
    assert_eq!(answer.status(), 413);
    let mut junk = post(OPENAI, openai_body(false));
    junk.headers_mut()
        .insert("x-junk", "j".repeat(40_000).parse().unwrap());
    let answer = client.send_request(over_http2(junk)).await.unwrap();
    assert_eq!(answer.status(), 431);
}

#[tokio::test]
async fn a_hundred_streams_share_one_connection() {
    let pair = Pair::new().await;
    let client = connect(&pair.gateway).await;
    let streams: Vec<_> = (0..100)
        .map(|_| {
            let mut client = client.clone();
            tokio::spawn(async move {
                let answer = client.send_request(slow_stream("20")).await.unwrap();
                read(answer).await.2
            })
        })
        .collect();
    for stream in streams {
        let text = stream.await.unwrap();
        assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    }
    let (_, _, metrics) = read(pair.send(get("/metrics")).await).await;
    assert!(
        metrics.contains("\nbailian_client_connections 2\n"),
        "{metrics}"
    );
    assert_eq!(pair.simulator.journal().len(), 100);
}

#[tokio::test]
async fn one_cancelled_stream_ends_upstream_at_once_and_leaves_the_others_alone() {
    let pair = Pair::new().await;
    let mut client = connect(&pair.gateway).await;
    let other = client.send_request(slow_stream("60")).await.unwrap();
    for (number, fault) in [(2, "stall=3"), (3, "delay-ms=60000")] {
        let request = with(post(OPENAI, openai_body(true)), "x-sim-fault", fault);
        let mut client = client.clone();
        let cancelled = tokio::spawn(async move {
            let answer = client.send_request(over_http2(request)).await.unwrap();
            read(answer).await
        });
        pair.journal_until(|entry| {
            let has_begun = entry.frames == 2 || fault != "stall=3";
            entry.number == number && entry.verdict == Verdict::Open && has_begun
        })
        .await;
        cancelled.abort();
        pair.journal_until(|entry| entry.verdict == Verdict::ClientLeft)
            .await;
    }
    let (status, _, text) = read(other).await;
    assert_eq!(status, 200);
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
}

#[tokio::test]
async fn a_client_that_takes_nothing_loses_its_stream_and_no_other() {
    let pair = Pair::new().await;
    let mut config = support::config(&pair.simulator.base_url(), UPSTREAM_KEY);
    config.timeouts.client_write = Duration::from_millis(150);
    let gateway = support::start(config);
    let stream = TcpStream::connect(gateway.address).await.unwrap();
    let (mut client, connection) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(512)
        .handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let untaken = client.send_request(slow_stream("1000")).await.unwrap();
    pair.journal_until(|entry| entry.verdict == Verdict::ClientLeft)
        .await;
    drop(untaken);
    let (status, _, text) = read(client.send_request(slow_stream("40")).await.unwrap()).await;
    assert_eq!(status, 200);
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
}

#[tokio::test]
async fn open_streams_end_before_the_gateway_stops() {
    let mut pair = Pair::new().await;
    let mut client = connect(&pair.gateway).await;
    let answer = client.send_request(slow_stream("30")).await.unwrap();
    pair.gateway.stop.take().unwrap().send(()).unwrap();
    let (_, _, text) = read(answer).await;
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    drop(client);
    pair.gateway.task.await.unwrap();
}

#[tokio::test]
async fn an_unused_connection_is_closed() {
    let pair = Pair::new().await;
    let mut config = support::config(&pair.simulator.base_url(), UPSTREAM_KEY);
    config.timeouts.client_header = Duration::from_millis(50);
    let gateway = support::start(config);
    let stream = TcpStream::connect(gateway.address).await.unwrap();
    let (mut client, connection) =
        http2::handshake::<_, _, Full<Bytes>>(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    let connection = tokio::spawn(connection);
    let answer = client.send_request(slow_stream("30")).await.unwrap();
    let (_, _, text) = read(answer).await;
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    tokio::time::timeout(Duration::from_secs(5), connection)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}

/// A frame of HTTP/2 (RFC 9113, 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Sends `frames` after the preface and reads until the gateway closes; whether it said GOAWAY with
/// ENHANCE_YOUR_CALM.
async fn is_told_to_calm_down(gateway: &Running, frames: Vec<u8>) -> bool {
    let stream = TcpStream::connect(gateway.address).await.unwrap();
    let (mut reading, mut writing) = stream.into_split();
    let writer = tokio::spawn(async move {
        let mut begin = PREFACE.to_vec();
        begin.extend(frame(4, 0, 0, &[]));
        writing.write_all(&begin).await.unwrap();
        // The gateway may close before it has read everything.
        drop(writing.write_all(&frames).await);
        writing
    });
    let mut seen = Vec::new();
    let read = reading.read_to_end(&mut seen);
    drop(
        tokio::time::timeout(Duration::from_secs(10), read)
            .await
            .unwrap(),
    );
    drop(writer.await.unwrap());
    let mut rest = &seen[..];
    while let Some((head, after)) = rest.split_at_checked(9) {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let Some((payload, after)) = after.split_at_checked(length) else {
            break;
        };
        if head[3] == 7 && payload[4..8] == 11_u32.to_be_bytes() {
            return true;
        }
        rest = after;
    }
    false
}

#[tokio::test]
async fn a_client_that_opens_and_resets_streams_again_and_again_is_cut_off() {
    let pair = Pair::new().await;
    let mut frames = Vec::new();
    for number in 0..2000 {
        let stream = 2 * number + 1;
        // POST http / without a body: :method, :scheme and :path of the static table.
        frames.extend(frame(1, 0x5, stream, &[0x83, 0x86, 0x84]));
        frames.extend(frame(3, 0, stream, &8_u32.to_be_bytes()));
    }
    assert!(is_told_to_calm_down(&pair.gateway, frames).await);
    assert!(pair.simulator.journal().is_empty());
    assert_eq!(pair.send(get("/healthz")).await.status(), 200);
}

#[tokio::test]
async fn header_lines_that_go_on_for_ever_end_the_connection() {
    let pair = Pair::new().await;
    // A header block that is never ended: HEADERS, then CONTINUATION again and again, each with a
    // literal line of 8,000 bytes.
    let mut line = vec![0x00, 0x01, b'x', 0x7f, 0xc1, 0x3d];
    line.extend(vec![b'y'; 8000]);
    let mut frames = frame(1, 0, 1, &[0x83, 0x86, 0x84]);
    for _ in 0..2000 {
        frames.extend(frame(9, 0, 1, &line));
    }
    let stream = TcpStream::connect(pair.gateway.address).await.unwrap();
    let (mut reading, mut writing) = stream.into_split();
    let writer = tokio::spawn(async move {
        let mut begin = PREFACE.to_vec();
        begin.extend(frame(4, 0, 0, &[]));
        writing.write_all(&begin).await.unwrap();
        drop(writing.write_all(&frames).await);
        writing
    });
    let mut seen = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(10), reading.read_to_end(&mut seen));
    // Closed or reset, and not kept.
    drop(closed.await.unwrap());
    drop(writer.await.unwrap());
    assert_eq!(pair.send(get("/healthz")).await.status(), 200);
}

#[tokio::test]
async fn a_client_that_pings_without_end_and_reads_no_answer_gets_no_more_of_them() {
    let pair = Pair::new().await;
    let mut config = support::config(&pair.simulator.base_url(), UPSTREAM_KEY);
    config.timeouts.client_write = Duration::from_millis(200);
    let gateway = support::start(config);
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let mut begin = PREFACE.to_vec();
    begin.extend(frame(4, 0, 0, &[]));
    stream.write_all(&begin).await.unwrap();
    let pings = frame(6, 0, 0, &[7; 8]).repeat(1000);
    // Never reading: when the answers fill the way back, the gateway takes no more either, and
    // then it gives the client up.
    let flood = async { while stream.write_all(&pings).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(30), flood)
        .await
        .unwrap();
    assert_eq!(
        support::send(gateway.address, get("/healthz"))
            .await
            .status(),
        200
    );
}
