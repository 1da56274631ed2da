//! The admin API: the life of a key over HTTP, who may not come near it, what it refuses and what
//! it tells.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a step that fails ends the test"
)]

mod access;
mod document;
mod keys;
mod place;
mod refused;
mod reports;
#[path = "../support/mod.rs"]
mod support;
