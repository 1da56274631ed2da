//! `cargo xtask bench` and `cargo xtask sim-pacing`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Passed on to the program; `--help` lists what it takes.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    passed_on: Vec<String>,
}

/// Builds a program of the workspace with the release profile and runs it.
pub(crate) fn run(root: &Path, package: &str, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let status = crate::cargo()
        .current_dir(root)
        .args(["run", "--release", "--package", package, "--"])
        .args(&arguments.passed_on)
        .status()
        .context("cannot start cargo")?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
