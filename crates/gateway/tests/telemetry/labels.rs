//! The gateway's own metrics: what they count, and what becomes a label.

use bailian_sim::{SimConfig, Simulator};
use serde_json::json;

use crate::propagated::noting_upstream;
use crate::support::{OPENAI, get, openai_body, post, read, send, start};
use crate::{config, from_a_stranger};

#[tokio::test]
async fn metrics_show_own_time_kinds_of_tokens_and_reasons_of_refusals() {
    let simulator = Simulator::new(SimConfig::default()).spawn().await.unwrap();
    let gateway = start(config(&simulator.base_url(), ""));
    read(send(gateway.address, post(OPENAI, openai_body(true))).await).await;
    read(send(gateway.address, from_a_stranger()).await).await;
    let (_, _, metrics) = read(send(gateway.address, get("/metrics")).await).await;
    for line in [
        "bailian_overhead_seconds_count{dialect=\"openai\"} 2",
        "bailian_refusals_total{kind=\"authentication\"} 1",
        "bailian_model_tokens_total{model=\"qwen-plus\",kind=\"reasoning\"} 0",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    let sum = |name: &str| -> f64 {
        let line = metrics.lines().find(|line| line.starts_with(name)).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    let overhead = sum("bailian_overhead_seconds_sum{dialect=\"openai\"}");
    let total = sum("bailian_request_duration_seconds_sum{dialect=\"openai\"}");
    assert!(overhead > 0.0 && overhead < total, "{overhead} of {total}");
}

#[tokio::test]
async fn names_that_callers_make_up_become_no_labels() {
    let (_, upstream) = noting_upstream().await;
    let gateway = start(config(&upstream, ""));
    for model in ["a\"b", "a\nb", "a\r\nbailian_evil 1", "a\\", "模型"] {
        let body = json!({ "model": model, "messages": [] }).to_string();
        read(send(gateway.address, post(OPENAI, body)).await).await;
    }
    let (_, _, metrics) = read(send(gateway.address, get("/metrics")).await).await;
    let tokens: Vec<_> = metrics
        .lines()
        .filter(|line| line.starts_with("bailian_model_tokens_total"))
        .collect();
    assert_eq!(tokens.len(), 4, "{metrics}");
    assert!(tokens.iter().all(|line| line.contains("model=\"other\"")));
    // Lanes have their models' names, each within its quotation marks.
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        assert!(line.starts_with("bailian_"), "{metrics}");
        assert!(!line.starts_with("bailian_evil"), "{metrics}");
        assert!(!line.contains('\r'), "{metrics}");
    }
}
