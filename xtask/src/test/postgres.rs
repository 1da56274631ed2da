//! Tests that need a PostgreSQL server: they start one of their own, so only its programs have to be
//! there.

use std::path::Path;

use anyhow::Context as _;

use super::counts::{self, Counts};
use super::packages::install;
use crate::lines;

/// Installs the server if it is missing, and runs the tests.
pub(super) fn run(root: &Path) -> anyhow::Result<Counts> {
    if !is_installed() {
        install("postgresql").context("PostgreSQL is needed: install the package postgresql")?;
        anyhow::ensure!(is_installed(), "PostgreSQL was installed but is not found");
    }
    let mut counts = Counts::default();
    let status = lines::run_observed(
        crate::cargo().current_dir(root).args([
            "test",
            "--locked",
            "--no-fail-fast",
            "--package",
            "bailian-tenants",
            "--features",
            "postgres-tests",
            "--test",
            "postgres",
        ]),
        |line| counts += counts::of_libtest(line),
    )?;
    counts.checked(status)
}

/// Whether the program that makes databases is on the path, or where Debian keeps it.
fn is_installed() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    let versions = versions.filter_map(Result::ok);
    let beside = versions.map(|version| version.path().join("bin"));
    let mut folders = std::env::split_paths(&path).chain(beside);
    folders.any(|folder| folder.join("initdb").exists())
}
