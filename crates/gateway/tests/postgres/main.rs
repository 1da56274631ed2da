//! Gateways whose keys and ledger are in PostgreSQL, on a server that the tests start, and what
//! they do while it is away.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may stop at what it did not expect"
)]

mod outages;
mod proxy;
#[path = "../support/replica.rs"]
mod replica;
#[path = "../../../ledger/tests/postgres/server.rs"]
mod server;
#[path = "../support/mod.rs"]
mod support;
