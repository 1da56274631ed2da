//! The workspace's own tests.

use std::path::Path;

use super::counts::{self, Counts};
use crate::lines;

/// Runs unit, integration and documentation tests of all crates.
pub(super) fn run(root: &Path) -> anyhow::Result<Counts> {
    let mut counts = Counts::default();
    let status = lines::run_observed(
        crate::cargo().current_dir(root).args([
            "test",
            "--workspace",
            "--locked",
            "--no-fail-fast",
        ]),
        |line| counts += counts::of_libtest(line),
    )?;
    counts.checked(status)
}
