//! Three gateways that share an account's limits over a real Redis server.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may stop at what it did not expect"
)]

#[path = "../../quota/tests/redis/server.rs"]
mod redis_server;
mod support;

use std::time::{Duration, Instant};

use bailian_gateway::Config;
use bailian_sim::{RunningSimulator, SimConfig, Simulator, Verdict};
use futures_util::future::join_all;
use http::StatusCode;
use serde_json::{Value, json};

use redis_server::Server;
use support::{KEY, OPENAI, Running, get, post, read, read_json, send, start};

/// A gateway that may send 40 requests in any half second, together with the others.
fn gateway(simulator: &RunningSimulator, redis: &str) -> Running {
    let text = format!(
        r#"
        listen = "127.0.0.1:0"
        threads = 1
        [redis]
        url = "{redis}"
        [[accounts]]
        api_keys = ["sk-upstream-0001"]
        base_url = "{}"
        quota_api = false
        [[accounts.limits]]
        model = "*"
        requests = ["40/500ms"]
        exact = true
        ramp = false
        [[keys]]
        name = "test"
        key = "{KEY}"
        "#,
        simulator.base_url()
    );
    start(Config::parse(&text, "test", &|_: &str| None).unwrap())
}

async fn readiness(gateway: &Running) -> Value {
    let (status, _, ready) = read_json(send(gateway.address, get("/readyz")).await).await;
    assert_eq!(status, StatusCode::OK, "a replica works without Redis, too");
    ready["redis"].clone()
}

async fn until(gateways: &[Running], what: &str, holds: impl Fn(&Value) -> bool) {
    let began = Instant::now();
    for gateway in gateways {
        while !holds(&readiness(gateway).await) {
            assert!(began.elapsed() < Duration::from_secs(30), "never: {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// So many requests at each gateway at once; all have to be answered.
async fn ask(gateways: &[Running], counts: [usize; 3]) {
    let requests = gateways.iter().zip(counts).flat_map(|(gateway, count)| {
        (0..count).map(move |number| {
            let question = format!("问题{number}");
            let body = json!({ "model": "qwen-plus", "messages": [{ "role": "user", "content": question }] });
            send(gateway.address, post(OPENAI, body.to_string()))
        })
    });
    for answer in join_all(requests).await {
        assert_eq!(answer.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn gateways_share_a_limit_and_go_on_while_redis_is_away() {
    let simulated: SimConfig = serde_json::from_value(json!({
        "limits": [{ "requests": ["40/500ms"], "window": "sliding" }],
    }))
    .unwrap();
    let simulator = Simulator::new(simulated).spawn().await.unwrap();
    let server = Server::start();
    let port = server.port();
    let gateways: Vec<Running> = (0..3).map(|_| gateway(&simulator, &server.url())).collect();
    // Lanes begin with their first request.
    ask(&gateways, [1, 1, 1]).await;
    until(&gateways, "all see each other", |redis| {
        redis["replicas"] == 3
    })
    .await;
    ask(&gateways, [150, 30, 5]).await;

    drop(server);
    until(&gateways, "the outage is noticed", |redis| {
        redis["connected"] == false
    })
    .await;
    ask(&gateways, [10, 3, 2]).await;

    let _server = (0..50)
        .find_map(|_| Server::start_at(port))
        .expect("the port is free again");
    until(&gateways, "all are back", |redis| {
        redis["connected"] == true
    })
    .await;
    ask(&gateways, [30, 60, 5]).await;
    let (_, _, metrics) = read(send(gateways[0].address, get("/metrics")).await).await;
    assert!(metrics.contains("bailian_redis_connected 1.0"), "{metrics}");

    let journal = simulator.journal();
    let throttled = journal
        .iter()
        .filter(|entry| entry.verdict == Verdict::Rejected);
    // One lease may be exceeded while Redis is away; what is throttled goes back in line.
    assert!(throttled.count() <= 3);
}
