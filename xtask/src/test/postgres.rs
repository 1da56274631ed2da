//! Tests that need PostgreSQL.

use super::servers::{Server, runs};

pub(super) const POSTGRES: Server = Server {
    feature: "postgres-tests",
    test: "postgres",
    packages: &["bailian-ledger", "bailian-tenants", "bailian-gateway"],
    debian: "postgresql",
    advice: "PostgreSQL is needed: install the package postgresql, or put initdb into PATH",
    is_installed,
};

/// In `PATH`, or where Debian keeps the server's programs: outside of it, by version.
fn is_installed() -> bool {
    runs("initdb")
        || std::fs::read_dir("/usr/lib/postgresql").is_ok_and(|mut versions| {
            versions.any(|version| {
                version.is_ok_and(|version| version.path().join("bin/initdb").is_file())
            })
        })
}
