//! Gateways that share an account's limits, and kept answers, over a real Redis server.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may stop at what it did not expect"
)]

#[path = "redis/budgets.rs"]
mod budgets;
#[path = "../../quota/tests/redis/server.rs"]
mod redis_server;
mod support;

use std::time::{Duration, Instant};

use bailian_gateway::Config;
use bailian_sim::{RunningSimulator, SimConfig, Simulator, Verdict};
use futures_util::future::join_all;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use redis_server::Server;
use support::{KEY, OPENAI, Running, get, post, read, read_json, send, start};

/// One test after the other: limits of half a second leave no room for what runs beside.
static ALONE: Mutex<()> = Mutex::const_new(());

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
    let _alone = ALONE.lock().await;
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

/// A gateway that keeps answers in Redis.
fn caching(simulator: &RunningSimulator, redis: &str) -> Running {
    let text = format!(
        r#"
        listen = "127.0.0.1:0"
        threads = 1
        [redis]
        url = "{redis}"
        [cache]
        store = "redis"
        ttl = "10m"
        [[routes]]
        model = "*"
        targets = [{{}}]
        cache = true
        [[accounts]]
        api_keys = ["sk-upstream-0001"]
        base_url = "{}"
        quota_api = false
        [[keys]]
        name = "test"
        tenant = "a-tenants-name"
        key = "{KEY}"
        "#,
        simulator.base_url()
    );
    start(Config::parse(&text, "test", &|_: &str| None).unwrap())
}

/// Asks; what came of the cache, and the answer.
async fn ask_kept(gateway: &Running, number: usize, stream: bool) -> (String, String) {
    let body = json!({ "model": "qwen-plus", "stream": stream,
        "messages": [{ "role": "user", "content": format!("秘密的问题{number}") }] });
    let request = post(OPENAI, body.to_string());
    let (status, headers, text) = read(send(gateway.address, request).await).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    let result = headers["x-bailian-cache"].to_str().unwrap();
    (result.to_owned(), text)
}

/// Asks until the answer is kept: what was made is written beside the requests.
async fn ask_until_kept(gateway: &Running, number: usize, stream: bool) -> String {
    let began = Instant::now();
    loop {
        let (result, text) = ask_kept(gateway, number, stream).await;
        if result == "hit" {
            return text;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "never kept");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn replicas_find_each_others_answers_by_names_that_tell_nothing() {
    let _alone = ALONE.lock().await;
    let simulator = Simulator::new(SimConfig::default()).spawn().await.unwrap();
    let server = Server::start();
    let (one, other) = (
        caching(&simulator, &server.url()),
        caching(&simulator, &server.url()),
    );
    for stream in [false, true] {
        let kept = ask_until_kept(&one, 1, stream).await;
        let asked = simulator.journal().len();
        let (result, text) = ask_kept(&other, 1, stream).await;
        assert_eq!((&*result, text), ("hit", kept));
        assert_eq!(simulator.journal().len(), asked);
    }
    let client = redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_connection().unwrap();
    let names: Vec<String> = redis::cmd("KEYS")
        .arg("bailian:cache:*")
        .query(&mut connection)
        .unwrap();
    assert_eq!(names.len(), 2);
    for name in names {
        let digest = name.strip_prefix("bailian:cache:").unwrap();
        assert!(
            digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{name}"
        );
        let left: i64 = redis::cmd("PTTL")
            .arg(&name)
            .query(&mut connection)
            .unwrap();
        assert!((1..=600_000).contains(&left), "{left}");
        let value: Vec<u8> = redis::cmd("GET").arg(&name).query(&mut connection).unwrap();
        for secret in [KEY, "sk-upstream", "a-tenants-name", "秘密的问题"] {
            let found = value
                .windows(secret.len())
                .any(|part| part == secret.as_bytes());
            assert!(!found, "{secret}");
        }
        // What is spoilt is one that is not kept.
        redis::cmd("SET")
            .arg(&name)
            .arg("spoilt")
            .exec(&mut connection)
            .unwrap();
    }
    assert_eq!(ask_kept(&other, 1, false).await.0, "miss");
}

#[tokio::test]
async fn while_redis_is_away_every_answer_is_one_that_is_not_kept() {
    let _alone = ALONE.lock().await;
    let simulator = Simulator::new(SimConfig::default()).spawn().await.unwrap();
    let server = Server::start();
    let port = server.port();
    let gateway = caching(&simulator, &server.url());
    ask_until_kept(&gateway, 1, false).await;
    drop(server);
    for number in 0..20 {
        assert_eq!(ask_kept(&gateway, number, number % 2 == 0).await.0, "miss");
    }
    let _server = (0..50)
        .find_map(|_| Server::start_at(port))
        .expect("the port is free again");
    ask_until_kept(&gateway, 1, false).await;
}

#[tokio::test]
async fn a_redis_that_does_not_answer_holds_nobody_up() {
    let _alone = ALONE.lock().await;
    let simulator = Simulator::new(SimConfig::default()).spawn().await.unwrap();
    // The system accepts for it; nobody reads.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", silent.local_addr().unwrap());
    let gateway = caching(&simulator, &url);
    let began = Instant::now();
    for _ in 0..20 {
        assert_eq!(ask_kept(&gateway, 1, false).await.0, "miss");
    }
    // Not even the first connection's time-out for each.
    assert!(began.elapsed() < Duration::from_secs(15));
}
