//! Tests of the client through its public API.

mod configuration;
mod endpoints;
mod fake;
mod retries;
mod server;
mod streams;
mod timeouts;
mod vectors;
mod wire;
