//! The binary, started as a user would start it.

#![expect(clippy::unwrap_used, reason = "a step that fails ends the test")]

mod book;
mod chat;
mod config;
mod demo;
mod deploy;
#[cfg(target_os = "linux")]
mod disk;
mod http;
mod import;
mod killed;
mod offline;
mod operator;
mod place;
mod process;
mod reload;
mod serve;
mod usage;
