//! Tests that need PostgreSQL: each starts a server of its own, so only the programs have to be there.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context as _;

use super::counts::{self, Counts};
use super::debian;
use crate::lines;

/// Packages with such tests, behind their feature `postgres-tests`.
const PACKAGES: [&str; 3] = ["bailian-ledger", "bailian-tenants", "bailian-gateway"];

/// Installs the server if it is missing, and runs the tests.
pub(super) fn run(root: &Path) -> anyhow::Result<Counts> {
    set_up()?;
    let mut counts = Counts::default();
    for package in PACKAGES {
        let mut of_package = Counts::default();
        let status = lines::run_observed(
            crate::cargo().current_dir(root).args([
                "test",
                "--locked",
                "--no-fail-fast",
                "--package",
                package,
                "--features",
                "postgres-tests",
                "--test",
                "postgres",
            ]),
            |line| of_package += counts::of_libtest(line),
        )?;
        counts += of_package.checked(status)?;
    }
    Ok(counts)
}

fn set_up() -> anyhow::Result<()> {
    if is_installed() {
        return Ok(());
    }
    debian::install("postgresql")
        .context("PostgreSQL is needed: install the package postgresql, or put initdb into PATH")?;
    anyhow::ensure!(
        is_installed(),
        "postgresql was installed, but its program initdb is not found"
    );
    Ok(())
}

/// In `PATH`, or where Debian keeps the server's programs: outside of it, by version.
fn is_installed() -> bool {
    let in_path = Command::new("initdb")
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    in_path
        || std::fs::read_dir("/usr/lib/postgresql").is_ok_and(|mut versions| {
            versions.any(|version| {
                version.is_ok_and(|version| version.path().join("bin/initdb").is_file())
            })
        })
}
