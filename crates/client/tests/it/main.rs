//! Tests of the client through its public API.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::format_push_string,
    reason = "helpers of tests end the test that uses them"
)]

mod configuration;
mod endpoints;
mod errors;
mod fake;
mod pacing;
mod retries;
mod server;
mod simulator;
mod streams;
mod timeouts;
mod vectors;
mod wire;
