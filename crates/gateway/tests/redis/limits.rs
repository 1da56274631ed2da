//! Gateways that share an account's limits.

use bailian_sim::{SimConfig, Verdict};
use futures_util::future::join_all;
use http::StatusCode;
use serde_json::{Value, json};

use crate::replica::replica;
use crate::shared::Shared;
use crate::support::{KEY, OPENAI, Running, get, post, read, send};

/// A gateway that may send 40 requests in any half second, together with the others.
fn gateway(shared: &Shared) -> Running {
    let more = format!(
        r#"
        [[accounts.limits]]
        model = "*"
        requests = ["40/500ms"]
        exact = true
        ramp = false
        [redis]
        url = "{}"
        [[keys]]
        name = "test"
        key = "{KEY}"
        "#,
        shared.url()
    );
    replica(&shared.simulator, 1, &more)
}

async fn until(gateways: &[Running], what: &str, holds: impl Fn(&Value) -> bool) {
    for gateway in gateways {
        gateway.until(what, |ready| holds(&ready["redis"])).await;
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
    let mut shared = Shared::with(simulated).await;
    let gateways: Vec<Running> = (0..3).map(|_| gateway(&shared)).collect();
    // Lanes begin with their first request.
    ask(&gateways, [1, 1, 1]).await;
    until(&gateways, "all see each other", |redis| {
        redis["replicas"] == 3
    })
    .await;
    ask(&gateways, [150, 30, 5]).await;

    shared.lose_redis();
    until(&gateways, "the outage is noticed", |redis| {
        redis["connected"] == false
    })
    .await;
    ask(&gateways, [10, 3, 2]).await;

    shared.restart_redis();
    until(&gateways, "all are back", |redis| {
        redis["connected"] == true
    })
    .await;
    ask(&gateways, [30, 60, 5]).await;
    let (_, _, metrics) = read(send(gateways[0].address, get("/metrics")).await).await;
    assert!(metrics.contains("bailian_redis_connected 1.0"), "{metrics}");

    let journal = shared.simulator.journal();
    let throttled = journal
        .iter()
        .filter(|entry| entry.verdict == Verdict::Rejected);
    // One lease may be exceeded while Redis is away; what is throttled goes back in line.
    assert!(throttled.count() <= 3);
}
