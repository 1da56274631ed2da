//! Tests that need a Redis server.

use super::servers::{Server, runs};

pub(super) const REDIS: Server = Server {
    feature: "redis-tests",
    test: "redis",
    packages: &["bailian-quota", "bailian-tenants", "bailian-gateway"],
    debian: "redis-server",
    advice: "redis-server is needed: install the package redis-server, or Valkey under that name",
    is_installed: || runs("redis-server"),
};
