//! Requests wait for their turn: judged by what the simulator saw.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at what it did not expect"
)]

mod support;

use bailian_gateway::Config;
use bailian_sim::{RunningSimulator, SimConfig, Simulator, Verdict};
use futures_util::future::join_all;
use http::StatusCode;
use serde_json::json;

use support::{KEY, OPENAI, Running, post, read_json, send, start};

/// A gateway that was told `limits`, in front of a simulator with 6,000 requests per minute.
async fn pair(limits: &str) -> (RunningSimulator, Running) {
    let simulated: SimConfig =
        serde_json::from_value(json!({ "limits": [{ "requests_per_minute": 6_000 }] })).unwrap();
    let simulator = Simulator::new(simulated).spawn().await.unwrap();
    let text = format!(
        r#"
        listen = "127.0.0.1:0"
        threads = 1
        [[accounts]]
        api_keys = ["sk-upstream-0001"]
        base_url = "{}"
        {limits}
        [[keys]]
        name = "test"
        key = "{KEY}"
        priority = "high"
        weight = 3
        "#,
        simulator.base_url()
    );
    let config = Config::parse(&text, "test", &|_: &str| None).unwrap();
    let gateway = start(config);
    (simulator, gateway)
}

fn question(number: usize) -> String {
    json!({ "model": "qwen-plus", "messages": [{ "role": "user", "content": format!("问题{number}") }] })
        .to_string()
}

const EXACT: &str = "[[accounts.limits]]
        model = \"*\"
        requests = [\"100/1s\"]
        exact = true
        ramp = false";

#[tokio::test]
async fn more_than_upstream_allows_at_once_is_answered_in_turn_and_nothing_is_throttled() {
    let (simulator, gateway) = pair(EXACT).await;
    let asked = (0..150).map(|n| send(gateway.address, post(OPENAI, question(n))));
    let answers = join_all(asked).await;
    assert!(
        answers
            .iter()
            .all(|answer| answer.status() == StatusCode::OK)
    );
    let waited = answers.iter().filter(|answer| {
        let queued = answer.headers()["x-bailian-queue-ms"].to_str().unwrap();
        queued.parse::<u64>().unwrap() > 0
    });
    assert!(waited.count() > 100);
    let journal = simulator.journal();
    assert_eq!(journal.len(), 150);
    assert!(
        journal
            .iter()
            .all(|entry| entry.verdict != Verdict::Rejected)
    );
}

#[tokio::test]
async fn without_any_figure_the_first_refusals_teach_the_pace_and_no_client_sees_them() {
    let (simulator, gateway) = pair("").await;
    let asked = (0..250).map(|n| send(gateway.address, post(OPENAI, question(n))));
    let answers = join_all(asked).await;
    assert!(
        answers
            .iter()
            .all(|answer| answer.status() == StatusCode::OK)
    );
    let journal = simulator.journal();
    let throttled = journal.iter().filter(|e| e.verdict == Verdict::Rejected);
    assert!(throttled.count() <= 50);
}

#[tokio::test]
async fn a_wait_that_the_caller_would_not_bear_is_refused_at_once_with_the_time() {
    let (_simulator, gateway) = pair(EXACT).await;
    let flood = (0..140).map(|n| send(gateway.address, post(OPENAI, question(n))));
    let hurried = async {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        let mut request = post(OPENAI, question(999));
        request
            .headers_mut()
            .insert("x-bailian-max-wait", "10ms".parse().unwrap());
        request
            .headers_mut()
            .insert("x-bailian-priority", "low".parse().unwrap());
        send(gateway.address, request).await
    };
    let (_, refused) = tokio::join!(join_all(flood), hurried);
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    let millis = refused.headers()["retry-after-ms"].to_str().unwrap();
    assert!(millis.parse::<u64>().unwrap() > 10);
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(refused.headers()["x-bailian-error-source"], "gateway");
    let (_, _, body) = read_json(refused).await;
    assert_eq!(body["error"]["code"], "limit_requests");
}

#[tokio::test]
async fn errors_of_upstream_use_up_no_tokens() {
    let limits = "[[accounts.limits]]
        model = \"*\"
        tokens = [\"2000/60s\"]
        exact = true
        ramp = false";
    let (_simulator, gateway) = pair(limits).await;
    let long = "长".repeat(3_000);
    let wrong = json!({
        "model": "qwen-plus",
        "temperature": 9,
        "messages": [{ "role": "user", "content": long }],
    });
    for _ in 0..3 {
        let answer = send(gateway.address, post(OPENAI, wrong.to_string())).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    }
    let answer = send(gateway.address, post(OPENAI, question(1))).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["x-bailian-queue-ms"], "0");
}

#[tokio::test]
async fn more_than_may_run_at_once_waits_for_one_to_end() {
    let limits = "[[accounts.limits]]
        model = \"*\"
        running = 2
        ramp = false";
    let (simulator, gateway) = pair(limits).await;
    let asked = (0..12).map(|n| send(gateway.address, post(OPENAI, question(n))));
    let answers = join_all(asked).await;
    assert!(
        answers
            .iter()
            .all(|answer| answer.status() == StatusCode::OK)
    );
    assert_eq!(simulator.journal().len(), 12);
}
