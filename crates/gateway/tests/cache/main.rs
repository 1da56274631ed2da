//! The response cache: in front of the simulator, and in front of an upstream that a test plays.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at what it did not expect"
)]

mod bounds;
mod flights;
mod hits;
mod played;
#[path = "../support/mod.rs"]
mod support;

/// What came of the cache, as an answer says it.
fn result(headers: &http::HeaderMap) -> Option<&str> {
    Some(headers.get("x-bailian-cache")?.to_str().unwrap())
}
