//! The binary, started as a user would start it.

mod chat;
mod demo;
mod http;
mod offline;
mod process;
mod serve;
