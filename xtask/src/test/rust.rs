//! The workspace's own tests.

use std::path::Path;

use super::counts::{self, Counts};
use crate::lines;

/// What the quick `cargo test` does a part of: breaking streams at every byte, and so on.
const WHOLE: [(&str, &str); 4] = [
    ("BAILIAN_BREAK_STEP", "1"),
    ("BAILIAN_RANDOM_BREAKS", "10000"),
    ("BAILIAN_GENERATED", "100000"),
    ("BAILIAN_MIXED", "20000"),
];

/// Runs unit, integration and documentation tests of all crates.
pub(super) fn run(root: &Path) -> anyhow::Result<Counts> {
    let mut counts = Counts::default();
    let status = lines::run_observed(
        crate::cargo().current_dir(root).envs(WHOLE).args([
            "test",
            "--workspace",
            "--locked",
            "--no-fail-fast",
        ]),
        |line| counts += counts::of_libtest(line),
    )?;
    counts.checked(status)
}
