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

use support::{KEY, OPENAI, Running, get, post, read, read_json, send, start};

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
    // What the pace is depends on how fast this machine is just now; nobody shall lose patience.
    let (simulator, gateway) = pair("[pacing]\nmax_wait = \"5m\"").await;
    let asked = (0..250).map(|n| send(gateway.address, post(OPENAI, question(n))));
    let answers = join_all(asked).await;
    let refused = answers
        .iter()
        .filter(|answer| answer.status() != StatusCode::OK);
    assert_eq!(refused.count(), 0);
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

/// One request per second, and streams that hear of their wait every 50 ms.
const SLOW: &str = "[[accounts.limits]]
        model = \"*\"
        requests = [\"1/1s\"]
        exact = true
        ramp = false
        [pacing]
        keep_alive = \"50ms\"
        [admin]
        token = \"operator-token-1\"";

fn streamed(number: usize) -> String {
    json!({ "model": "qwen-plus", "stream": true,
        "messages": [{ "role": "user", "content": format!("问题{number}") }] })
    .to_string()
}

#[tokio::test]
async fn a_stream_in_line_is_kept_alive_by_comments_and_then_answered() {
    let (simulator, gateway) = pair(SLOW).await;
    let first = send(gateway.address, post(OPENAI, streamed(1))).await;
    assert!(read(first).await.2.contains("[DONE]"));
    let (status, headers, text) =
        read(send(gateway.address, post(OPENAI, streamed(2))).await).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(headers["content-type"], "text/event-stream");
    assert!(headers.contains_key("x-request-id"));
    let (before, after) = text.split_once(": x-bailian-queue-ms ").unwrap();
    assert!(before.matches(": in line\n\n").count() > 3, "{before:?}");
    assert!(before.replace(": in line\n\n", "").is_empty());
    let queued: u64 = after.split_once('\n').unwrap().0.parse().unwrap();
    assert!((500..1_500).contains(&queued), "{queued}");
    assert!(after.contains("data: {") && after.trim_end().ends_with("data: [DONE]"));
    assert_eq!(simulator.journal().len(), 2);
}

#[tokio::test]
async fn what_a_stream_in_line_is_refused_it_hears_as_an_event_of_its_dialect() {
    let (simulator, gateway) = pair(SLOW).await;
    // The lane of an unknown model is as slow as any other.
    let body = streamed(2).replace("qwen-plus", "no-such-model");
    drop(read(send(gateway.address, post(OPENAI, body.clone())).await).await);
    let (status, _, text) = read(send(gateway.address, post(OPENAI, body)).await).await;
    assert_eq!(status, StatusCode::OK);
    let event = text.rsplit_once("data: ").unwrap().1;
    let error: serde_json::Value = serde_json::from_str(event.trim()).unwrap();
    assert!(error["error"]["message"].is_string(), "{error}");
    assert_eq!(simulator.journal().len(), 2);
}

#[tokio::test]
async fn a_client_that_leaves_the_line_frees_its_place() {
    let (simulator, gateway) = pair(SLOW).await;
    drop(read(send(gateway.address, post(OPENAI, question(1))).await).await);
    let waiting = || async {
        let mut request = get("/admin/v1/lanes");
        let token = "Bearer operator-token-1";
        request
            .headers_mut()
            .insert("authorization", token.parse().unwrap());
        let (_, _, lanes) = read_json(send(gateway.address, request).await).await;
        lanes["data"][0]["waiting"]["high"].as_u64().unwrap()
    };
    let leaver = tokio::spawn(send(gateway.address, post(OPENAI, streamed(2))));
    let stream = leaver.await.unwrap();
    assert_eq!(waiting().await, 1);
    drop(stream);
    while waiting().await > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(simulator.journal().len(), 1);
}

#[tokio::test]
async fn the_operator_sees_every_lane_and_nobody_else_does() {
    let (_simulator, gateway) = pair(SLOW).await;
    drop(read(send(gateway.address, post(OPENAI, question(1))).await).await);
    let ask = |authorization: Option<&'static str>| {
        let mut request = get("/admin/v1/lanes");
        request.headers_mut().remove("authorization");
        if let Some(value) = authorization {
            let value = http::HeaderValue::from_static(value);
            request.headers_mut().insert("authorization", value);
        }
        send(gateway.address, request)
    };
    for wrong in [
        None,
        Some("Bearer operator-token-2"),
        Some("Bearer sk-bl-test-key-0001"),
    ] {
        let (status, _, body) = read_json(ask(wrong).await).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        assert!(body["error"]["message"].as_str().unwrap().contains("admin"));
    }
    let (status, _, lanes) = read_json(ask(Some("Bearer operator-token-1")).await).await;
    assert_eq!(status, StatusCode::OK);
    let lane = &lanes["data"][0];
    assert_eq!(lane["lane"], "qwen-plus");
    let limit = &lane["limits"][0];
    assert_eq!(limit["amount"], 1);
    assert_eq!(limit["source"], "config");
    assert_eq!(limit["used"], 1);
    assert_eq!(lane["granted"]["high"], 1);
    let (_, _, metrics) = read(send(gateway.address, get("/metrics")).await).await;
    for line in [
        "bailian_lane_granted_total{lane=\"qwen-plus\",class=\"high\"} 1",
        "bailian_lane_limit{lane=\"qwen-plus\",measure=\"requests\",seconds=\"1\",layer=\"model\",source=\"config\"} 1.0",
        "bailian_lanes 1.0",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    assert!(metrics.ends_with("# EOF\n"));
}

#[tokio::test]
async fn a_gateway_that_was_told_nothing_asks_the_service_and_never_meets_the_limit() {
    let simulated: SimConfig = serde_json::from_value(json!({ "limits": [
        { "model": "qwen-plus", "requests": ["40/1s"] },
        { "workspace": "default", "requests": ["35/1s"] },
    ]}))
    .unwrap();
    let simulator = Simulator::new(simulated).spawn().await.unwrap();
    let mut config = support::config(&simulator.base_url(), support::UPSTREAM_KEY);
    config.admin_token = Some("operator-token-1".into());
    let gateway = start(config);
    let limits = || async {
        let mut request = get("/admin/v1/lanes");
        let token = "Bearer operator-token-1".parse().unwrap();
        request.headers_mut().insert("authorization", token);
        let (_, _, lanes) = read_json(send(gateway.address, request).await).await;
        lanes["data"][0]["limits"].clone()
    };
    // The lane begins with its first request.
    drop(read(send(gateway.address, post(OPENAI, question(0))).await).await);
    while limits().await[0]["source"] != "quota_api" {
        tokio::task::yield_now().await;
    }
    let told = limits().await;
    assert_eq!(
        (&told[0]["amount"], &told[0]["exact"]),
        (&json!(40), &json!(true))
    );
    assert_eq!(
        (&told[1]["amount"], &told[1]["layer"]),
        (&json!(35), &json!("workspace"))
    );
    let asked = (1..60).map(|n| send(gateway.address, post(OPENAI, question(n))));
    for answer in join_all(asked).await {
        assert_eq!(answer.status(), StatusCode::OK);
    }
    let journal = simulator.journal();
    assert_eq!(journal.len(), 60, "no request had to be sent twice");
}
