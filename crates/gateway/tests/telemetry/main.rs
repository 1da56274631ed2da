//! Traces and metrics as a collector receives them, and what callers feel of it: nothing.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::unused_async,
    reason = "a test may stop at what it did not expect; axum's handlers are async"
)]

mod away;
mod collector;
mod labels;
mod propagated;
mod spans;
#[path = "../support/mod.rs"]
mod support;

use bailian_gateway::Config;
use bytes::Bytes;

use support::{KEY, OPENAI, UPSTREAM_KEY, openai_body, post, with};

const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn config(upstream: &str, telemetry: &str) -> Config {
    let text = format!(
        r#"
        listen = "127.0.0.1:0"
        threads = 1
        [timeouts]
        connect = "2s"
        [[accounts]]
        name = "main"
        api_keys = ["{UPSTREAM_KEY}"]
        base_url = "{upstream}"
        [[keys]]
        name = "test"
        tenant = "团队"
        key = "{KEY}"
        {telemetry}
        "#
    );
    Config::parse(&text, "test", &|_: &str| None).unwrap()
}

fn from_a_stranger() -> http::Request<http_body_util::Full<Bytes>> {
    let request = post(OPENAI, openai_body(false));
    with(request, "authorization", "Bearer sk-bl-nobody-0001")
}
