//! Translation between dialects, through the canonical types and back.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at what it did not expect"
)]

mod answers;
mod generated;
mod losses;
mod requests;

use bailian_wire::translate::Identity;
use proptest::prelude::ProptestConfig;

/// How often a property is tried: so often by default; `cargo xtask test` asks for the whole number.
fn tried(by_default: u32) -> ProptestConfig {
    let wanted = std::env::var("BAILIAN_GENERATED").ok();
    let wanted = wanted.and_then(|number| number.parse().ok());
    ProptestConfig {
        cases: wanted.unwrap_or(by_default),
        // A case that failed is shown whole; it becomes a test of its own.
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

fn identity() -> Identity {
    Identity::new("0199-aa", "qwen-plus", 1_700_000_000)
}
