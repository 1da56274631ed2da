//! The binary, started as a user would start it.

#![expect(clippy::unwrap_used, reason = "a step that fails ends the test")]

mod book;
mod chat;
mod config;
mod demo;
mod deploy;
mod http;
mod import;
mod killed;
mod offline;
mod process;
mod reload;
mod serve;
mod usage;
