//! Which account answers: routes, fallbacks, breakers, affinity.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at what it did not expect"
)]

mod support;

use std::fmt::Write as _;

use bailian_gateway::Config;
use bailian_sim::{SimConfig, Simulator};
use serde_json::json;
use support::{KEY, OPENAI, UPSTREAM_KEY, post, read, send, start, two_accounts, with};
use tokio::net::TcpListener;

/// Two equal accounts without a route between them.
async fn equal_accounts(limits: &str) -> (Vec<bailian_sim::RunningSimulator>, support::Running) {
    let mut text = "listen = \"127.0.0.1:0\"\nthreads = 1\n".to_owned();
    let mut simulators = Vec::new();
    for name in ["a", "b"] {
        let simulator = Simulator::new(SimConfig::default()).spawn().await.unwrap();
        let _infallible = write!(
            text,
            "[[accounts]]\nname = \"{name}\"\napi_keys = [\"{UPSTREAM_KEY}\"]\nbase_url = \"{}\"\nforward_headers = [\"x-sim-*\"]\n{limits}\n",
            simulator.base_url()
        );
        simulators.push(simulator);
    }
    let _infallible = write!(text, "[[keys]]\nname = \"t\"\nkey = \"{KEY}\"\n");
    let config = Config::parse(&text, "test", &|_: &str| None).unwrap();
    (simulators, start(config))
}

#[tokio::test]
async fn errors_of_a_caller_never_lead_to_another_target_and_others_do() {
    for (fault, status, falls_back) in [
        ("code=InvalidParameter", 400, false),
        ("code=DataInspectionFailed", 400, false),
        ("status=500", 500, true),
        ("status=503", 503, true),
        ("code=Throttling.RateQuota", 429, true),
        ("code=Arrearage", 400, true),
        ("code=InvalidApiKey", 401, true),
        ("reset", 502, true),
    ] {
        let first = Simulator::new(SimConfig::default()).spawn().await.unwrap();
        let mut config = SimConfig::default();
        config.faults = serde_json::from_value(json!([{ "faults": [fault] }])).unwrap();
        first.set_config(config);
        let (second, gateway) = two_accounts(&first.base_url()).await;
        let body =
            json!({ "model": "qwen-plus", "messages": [{ "role": "user", "content": "hi" }] });
        let response = send(gateway.address, post(OPENAI, body.to_string())).await;
        let attempts = response.headers().get("x-bailian-attempts").cloned();
        let (got, _, text) = read(response).await;
        assert_eq!(
            got.as_u16(),
            if falls_back { 200 } else { status },
            "{fault}: {text}"
        );
        assert_eq!(second.journal().len(), usize::from(falls_back), "{fault}");
        assert_eq!(attempts.is_some(), falls_back, "{fault}");
    }
}

#[tokio::test]
async fn a_target_that_fails_again_and_again_is_left_alone_and_health_says_so() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let (_second, gateway) = two_accounts(&format!("http://{address}")).await;
    let ask = || async {
        let body =
            json!({ "model": "qwen-plus", "messages": [{ "role": "user", "content": "hi" }] });
        let response = send(gateway.address, post(OPENAI, body.to_string())).await;
        let attempts = response.headers().get("x-bailian-attempts").cloned();
        assert_eq!(response.status(), 200);
        attempts
    };
    for _ in 0..5 {
        assert_eq!(ask().await.unwrap(), "2");
    }
    assert_eq!(
        ask().await,
        None,
        "the broken one is not asked first any more"
    );
    let ready = send(gateway.address, support::get("/readyz")).await;
    let (_, _, text) = read(ready).await;
    assert!(
        text.contains("\"targets_left_alone\":[\"a/qwen-plus\"]"),
        "{text}"
    );
}

#[tokio::test]
async fn what_an_account_keeps_is_found_there_whichever_it_is() {
    let (simulators, gateway) = equal_accounts("").await;
    let body = json!({ "model": "qwen-plus", "input": "你好" }).to_string();
    let mut made_at = [false, false];
    while made_at.contains(&false) {
        let response = send(gateway.address, post("/v1/responses", body.clone())).await;
        let (_, _, made) = support::read_json(response).await;
        let id = made["id"].as_str().unwrap();
        for (simulator, made_here) in simulators.iter().zip(&mut made_at) {
            let direct = with(
                support::get(&format!("/compatible-mode/v1/responses/{id}")),
                "authorization",
                "Bearer sk-canary-upstream-0001",
            );
            let found = send(simulator.address(), direct).await.status();
            *made_here |= found == 200;
        }
        // The other account does not know it, and nobody asks a second time.
        let path = format!("/v1/responses/{id}");
        let next = json!({ "model": "qwen-plus", "input": "然后呢？", "previous_response_id": id });
        for request in [
            support::get(&path),
            post("/v1/responses", next.to_string()),
            support::get(&format!("{path}/input_items")),
        ] {
            let response = send(gateway.address, request).await;
            assert_eq!(response.headers().get("x-bailian-attempts"), None);
            let (status, _, text) = read(response).await;
            assert_eq!(status, 200, "{text}");
        }
    }
    assert_eq!(
        send(gateway.address, support::get("/v1/responses/none"))
            .await
            .status(),
        404
    );
}

#[tokio::test]
async fn requests_with_the_same_long_beginning_go_to_the_same_account() {
    let (simulators, gateway) = equal_accounts("").await;
    for number in 0..8 {
        let beginning = format!("{number}{}", "长".repeat(2_000));
        let served = || {
            simulators
                .iter()
                .map(|simulator| simulator.journal().len())
                .collect::<Vec<_>>()
        };
        let before = served();
        for turn in 0..4 {
            let body = json!({ "model": "qwen-plus", "messages": [{ "role": "system", "content": beginning },
                { "role": "user", "content": format!("{turn}?") }] });
            let response = send(gateway.address, post(OPENAI, body.to_string())).await;
            assert_eq!(read(response).await.0, 200);
        }
        let added: Vec<usize> = served()
            .iter()
            .zip(&before)
            .map(|(now, then)| now - then)
            .collect();
        assert!(added.contains(&4), "{number}: {added:?}");
    }
    assert!(
        simulators
            .iter()
            .all(|simulator| !simulator.journal().is_empty())
    );
}

#[tokio::test]
async fn a_request_whose_account_is_busy_goes_to_its_neighbour() {
    for _ in 0..8 {
        let limits = "[[accounts.limits]]\nmodel = \"*\"\nrunning = 1\nramp = false";
        let (simulators, gateway) = equal_accounts(limits).await;
        let mut open = Vec::new();
        for _ in 0..2 {
            let body = json!({ "model": "qwen-plus", "stream": true, "messages": [{ "role": "user", "content": "hi" }] });
            let request = with(post(OPENAI, body.to_string()), "x-sim-fault", "stall=3");
            let response = send(gateway.address, request).await;
            assert_eq!(response.headers()["x-bailian-queue-ms"], "0");
            open.push(response);
        }
        let served: Vec<usize> = simulators
            .iter()
            .map(|simulator| simulator.journal().len())
            .collect();
        assert_eq!(served, [1, 1]);
    }
}
