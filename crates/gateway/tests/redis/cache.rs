//! Gateways that keep answers in Redis.

use std::time::{Duration, Instant};

use bailian_sim::RunningSimulator;
use http::StatusCode;
use serde_json::json;

use crate::replica::{PATIENCE, replica};
use crate::shared::Shared;
use crate::support::{KEY, OPENAI, Running, post, read, send};

/// A gateway that keeps answers in Redis.
fn caching(simulator: &RunningSimulator, redis: &str) -> Running {
    let more = format!(
        r#"
        [redis]
        url = "{redis}"
        [cache]
        store = "redis"
        ttl = "10m"
        [[routes]]
        model = "*"
        targets = [{{}}]
        cache = true
        [[keys]]
        name = "test"
        tenant = "a-tenants-name"
        key = "{KEY}"
        "#
    );
    replica(simulator, 1, &more)
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
        assert!(began.elapsed() < PATIENCE, "never kept");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn replicas_find_each_others_answers_by_names_that_tell_nothing() {
    let shared = Shared::new().await;
    let [one, other] = [(); 2].map(|()| caching(&shared.simulator, &shared.url()));
    for stream in [false, true] {
        let kept = ask_until_kept(&one, 1, stream).await;
        let asked = shared.simulator.journal().len();
        let (result, text) = ask_kept(&other, 1, stream).await;
        assert_eq!((&*result, text), ("hit", kept));
        assert_eq!(shared.simulator.journal().len(), asked);
    }
    let client = redis::Client::open(shared.url()).unwrap();
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
    let mut shared = Shared::new().await;
    let gateway = caching(&shared.simulator, &shared.url());
    ask_until_kept(&gateway, 1, false).await;
    shared.lose_redis();
    for number in 0..20 {
        assert_eq!(ask_kept(&gateway, number, number % 2 == 0).await.0, "miss");
    }
    shared.restart_redis();
    ask_until_kept(&gateway, 1, false).await;
}

#[tokio::test]
async fn a_redis_that_does_not_answer_holds_nobody_up() {
    let shared = Shared::new().await;
    // The system accepts for it; nobody reads.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", silent.local_addr().unwrap());
    let gateway = caching(&shared.simulator, &url);
    let began = Instant::now();
    for _ in 0..20 {
        assert_eq!(ask_kept(&gateway, 1, false).await.0, "miss");
    }
    // Not even the first connection's time-out for each.
    assert!(began.elapsed() < Duration::from_secs(15));
}
