//! Tests that need a Redis server.

use std::process::{Command, Stdio};

use super::servers::Server;

pub(super) const REDIS: Server = Server {
    feature: "redis-tests",
    test: "redis",
    packages: &["bailian-quota", "bailian-tenants", "bailian-gateway"],
    debian: "redis-server",
    advice: "redis-server is needed: install the package redis-server, or Valkey under that name",
    is_installed,
};

fn is_installed() -> bool {
    Command::new("redis-server")
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
