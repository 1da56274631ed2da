//! `cargo xtask bench` and `cargo xtask sim-pacing`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;

use crate::packages;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Passed on to the program; `--help` lists what it takes.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    passed_on: Vec<String>,
}

/// Installs the gateways of others that are to be measured beside ours.
pub(crate) fn install_peers(root: &Path, arguments: &Arguments) -> anyhow::Result<()> {
    let peers = root.join("bench/peers");
    let is_wanted = |name| arguments.passed_on.iter().any(|word| word.contains(name));
    if is_wanted("litellm") {
        let folder = peers.join("litellm");
        packages::python_environment(&folder.join(".venv"), &folder.join("requirements.txt"))
            .context("cannot install LiteLLM")?;
    }
    if is_wanted("portkey") {
        packages::node_modules(&peers.join("portkey")).context("cannot install Portkey")?;
    }
    Ok(())
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
