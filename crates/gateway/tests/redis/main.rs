//! Gateways that share limits, budgets and kept answers over a Redis server that the tests start.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may stop at what it did not expect"
)]

mod budgets;
mod cache;
mod limits;
#[path = "../support/replica.rs"]
mod replica;
#[path = "../../../quota/tests/redis/server.rs"]
mod server;
mod shared;
#[path = "../support/mod.rs"]
mod support;
