//! Sharing limits over a real Redis server, which each test starts for itself.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a helper that fails is a test that fails"
)]

mod outages;
mod same_rules;
mod server;
