//! Every dialect in, every dialect out: relayed where both are the same, translated else.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "a test may stop at what it did not expect; JSON reads best where it is passed"
)]

mod passed_on;
mod question;
mod relayed;
mod responses;
#[path = "../support/mod.rs"]
mod support;
mod translated;
