//! `cargo xtask bench`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Passed on to the benchmark program; `--help` lists what it takes.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    passed_on: Vec<String>,
}

pub(crate) fn run(root: &Path, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let status = crate::cargo()
        .current_dir(root)
        .args(["run", "--release", "--package", "bailian-bench", "--"])
        .args(&arguments.passed_on)
        .status()
        .context("cannot start cargo")?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
