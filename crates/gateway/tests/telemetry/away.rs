//! Collectors that do not answer, or are not there.

use std::time::{Duration, Instant};

use bailian_sim::{SimConfig, Simulator};
use http_body_util::BodyExt as _;

use crate::support::{OPENAI, Running, get, openai_body, post, read, send, start};
use crate::{config, from_a_stranger};

/// The figure behind a line's name and labels.
async fn figure(gateway: &Running, line: &str) -> u64 {
    let (_, _, metrics) = read(send(gateway.address, get("/metrics")).await).await;
    let found = metrics.lines().find_map(|it| it.strip_prefix(line));
    found
        .unwrap_or_else(|| panic!("no {line}: {metrics}"))
        .trim()
        .parse()
        .unwrap()
}

/// What waits to be sent, at most, and what is being sent (docs/gateway.md).
const MOST_WAITING: u64 = 4_096 + 512;

#[tokio::test]
async fn a_collector_that_never_answers_is_felt_by_no_request_and_fills_no_memory() {
    let simulator = Simulator::new(SimConfig::default()).spawn().await.unwrap();
    let collector = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = collector.local_addr().unwrap();
    let holding = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = collector.accept().await {
            held.push(stream);
        }
    });
    let telemetry = format!("[telemetry]\notlp = \"http://{address}\"");
    let gateway = start(config(&simulator.base_url(), &telemetry));
    let stream = tokio::net::TcpStream::connect(gateway.address)
        .await
        .unwrap();
    let stream = hyper_util::rt::TokioIo::new(stream);
    let (mut caller, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut sent = 0;
    let dropped = "bailian_telemetry_requests_total{result=\"dropped\"}";
    while figure(&gateway, dropped).await == 0 {
        // Refusals leave as much behind as answers do, and are quick.
        for _ in 0..500 {
            let answer = caller.send_request(from_a_stranger()).await.unwrap();
            assert_eq!(answer.status(), 401);
            answer.into_body().collect().await.unwrap();
            sent += 1;
        }
        assert!(sent < 100_000, "what waits has no bound");
        let answer = send(gateway.address, post(OPENAI, openai_body(true))).await;
        assert_eq!(read(answer).await.0, 200);
        sent += 1;
    }
    let failed = "bailian_telemetry_requests_total{result=\"failed\"}";
    let gone = figure(&gateway, failed).await + figure(&gateway, dropped).await;
    assert!(sent - gone <= MOST_WAITING, "{sent} sent, {gone} gone");
    let exported = "bailian_telemetry_requests_total{result=\"exported\"}";
    assert_eq!(figure(&gateway, exported).await, 0);
    drop(caller);
    let begun = Instant::now();
    gateway.end().await;
    assert!(begun.elapsed() < Duration::from_secs(15));
    holding.abort();
}

#[tokio::test]
async fn a_collector_that_is_away_is_felt_by_no_request() {
    let simulator = Simulator::new(SimConfig::default()).spawn().await.unwrap();
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let away = gone.local_addr().unwrap();
    drop(gone);
    let telemetry = format!("[telemetry]\notlp = \"http://{away}\"");
    let gateway = start(config(&simulator.base_url(), &telemetry));
    for _ in 0..20 {
        let answer = send(gateway.address, post(OPENAI, openai_body(false))).await;
        assert_eq!(read(answer).await.0, 200);
    }
    let begun = Instant::now();
    gateway.end().await;
    assert!(begun.elapsed() < Duration::from_secs(10));
}
