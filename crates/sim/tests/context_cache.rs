//! The context cache, in the words of each surface.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at what it did not expect"
)]

mod support;

use bailian_sim::{SimConfig, Simulator};
use serde_json::{Value, json};
use support::{COMPAT, NATIVE, answer, post, simulator};

const MESSAGES: &str = "/apps/anthropic/v1/messages";

fn long() -> String {
    "a long text about nothing. ".repeat(300)
}

fn marked() -> Value {
    json!({ "type": "text", "text": long(), "cache_control": { "type": "ephemeral" } })
}

fn messages(system: &Value, question: &str) -> Value {
    json!([{ "role": "system", "content": system }, { "role": "user", "content": question }])
}

#[tokio::test]
async fn a_marked_beginning_is_created_once_and_found_on_every_surface() {
    let simulator = simulator().await;
    let body = json!({ "model": "qwen-plus", "messages": messages(&json!([marked()]), "一") });
    let (_, said) = answer(&simulator, post(COMPAT, &body, &[])).await;
    let details = &said["usage"]["prompt_tokens_details"];
    let created = details["cache_creation_input_tokens"].as_u64().unwrap();
    assert!(created >= 1024, "{said}");
    assert_eq!(
        *details,
        json!({ "cached_tokens": 0, "cache_creation_input_tokens": created, "cache_type": "ephemeral",
            "cache_creation": { "ephemeral_5m_input_tokens": created } })
    );
    let body = json!({ "model": "qwen-plus", "parameters": { "result_format": "message" },
        "input": { "messages": messages(&json!([marked()]), "二") } });
    let (_, said) = answer(&simulator, post(NATIVE, &body, &[])).await;
    let details = &said["usage"]["prompt_tokens_details"];
    assert_eq!(
        (
            &details["cached_tokens"],
            &details["cache_creation_input_tokens"]
        ),
        (&created.into(), &0.into()),
        "{said}"
    );
    let entry = simulator.journal().pop().unwrap();
    assert_eq!(
        (entry.cached_tokens, entry.cache_creation_tokens),
        (created, 0)
    );
    let body = json!({ "model": "qwen-plus", "max_tokens": 100, "system": [marked()],
        "messages": [{ "role": "user", "content": "三" }] });
    let (_, said) = answer(&simulator, post(MESSAGES, &body, &[])).await;
    let usage = &said["usage"];
    assert_eq!(
        (
            &usage["cache_read_input_tokens"],
            &usage["cache_creation_input_tokens"]
        ),
        (&created.into(), &0.into()),
        "{said}"
    );
    // What was cached is counted apart here, and all of it stands in the journal.
    let apart = usage["input_tokens"].as_u64().unwrap();
    assert!(apart < 100);
    let entry = simulator.journal().pop().unwrap();
    assert_eq!(entry.input_tokens, apart + created);
}

#[tokio::test]
async fn whether_cached_input_is_counted_apart_can_be_switched() {
    let switch = json!({ "quirks": { "anthropic_input_has_cached": true } });
    let config = SimConfig::default().patched(&switch).unwrap();
    let simulator = Simulator::new(config).spawn().await.unwrap();
    let body = json!({ "model": "qwen-plus", "max_tokens": 100, "system": [marked()],
        "messages": [{ "role": "user", "content": "三" }] });
    let (_, said) = answer(&simulator, post(MESSAGES, &body, &[])).await;
    let usage = &said["usage"];
    assert!(usage["input_tokens"].as_u64() > usage["cache_creation_input_tokens"].as_u64());
}

#[tokio::test]
async fn a_repeated_beginning_is_cached_unless_it_is_switched_off() {
    let simulator = simulator().await;
    let ask = |question: &str| json!({ "model": "qwen-plus", "messages": messages(&long().into(), question) });
    let (_, first) = answer(&simulator, post(COMPAT, &ask("一"), &[])).await;
    assert_eq!(
        first["usage"]["prompt_tokens_details"],
        json!({ "cached_tokens": 0 })
    );
    let (_, second) = answer(&simulator, post(COMPAT, &ask("二"), &[])).await;
    let details = &second["usage"]["prompt_tokens_details"];
    assert!(
        details["cached_tokens"].as_u64().unwrap() >= 1024,
        "{second}"
    );
    assert_eq!(details["cache_type"], "implicit");
    simulator.reset();
    let (_, again) = answer(&simulator, post(COMPAT, &ask("二"), &[])).await;
    assert_eq!(again["usage"]["prompt_tokens_details"]["cached_tokens"], 0);
    let off = json!({ "quirks": { "implicit_cache": false } });
    simulator.set_config(SimConfig::default().patched(&off).unwrap());
    let (_, off) = answer(&simulator, post(COMPAT, &ask("二"), &[])).await;
    assert_eq!(off["usage"]["prompt_tokens_details"]["cached_tokens"], 0);
}
