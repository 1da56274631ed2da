//! Tests that need a Redis server: each starts one of its own, so only the program has to be there.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context as _;

use super::counts::{self, Counts};
use super::debian;
use crate::lines;

/// Packages with such tests, behind their feature `redis-tests`.
const PACKAGES: [&str; 3] = ["bailian-quota", "bailian-tenants", "bailian-gateway"];

/// Installs the server if it is missing, and runs the tests.
pub(super) fn run(root: &Path) -> anyhow::Result<Counts> {
    set_up()?;
    let mut counts = Counts::default();
    for package in PACKAGES {
        let mut own = Counts::default();
        let status = lines::run_observed(
            crate::cargo().current_dir(root).args([
                "test",
                "--locked",
                "--no-fail-fast",
                "--package",
                package,
                "--features",
                "redis-tests",
                "--test",
                "redis",
            ]),
            |line| own += counts::of_libtest(line),
        )?;
        counts += own.checked(status)?;
    }
    Ok(counts)
}

fn set_up() -> anyhow::Result<()> {
    if is_installed() {
        return Ok(());
    }
    debian::install("redis-server").context(
        "redis-server is needed: install the package redis-server, or Valkey under that name",
    )?;
    anyhow::ensure!(
        is_installed(),
        "redis-server was installed but does not run"
    );
    Ok(())
}

fn is_installed() -> bool {
    Command::new("redis-server")
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
