//! Packages of Python and Node, installed where they are used.
//!
//! Where packages come from is the machine's own configuration of pip and npm.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::lines;

/// Makes a Python environment unless it already holds exactly these requirements; its interpreter.
pub(crate) fn python_environment(
    environment: &Path,
    requirements: &Path,
) -> anyhow::Result<PathBuf> {
    let wanted = fs::read_to_string(requirements)
        .with_context(|| format!("cannot read {}", requirements.display()))?;
    let interpreter = environment.join("bin/python");
    let stamp = environment.join("installed.txt");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(interpreter);
    }
    lines::run_quiet(
        Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(environment),
    )
    .context("Python 3.9 or newer with its venv module is needed")?;
    lines::run_quiet(
        Command::new(&interpreter)
            .args([
                "-m",
                "pip",
                "install",
                "--disable-pip-version-check",
                "--quiet",
                "-r",
            ])
            .arg(requirements),
    )?;
    fs::write(&stamp, wanted).context("cannot note what was installed")?;
    Ok(interpreter)
}

/// Installs what the committed lock file names unless that is already there.
pub(crate) fn node_modules(folder: &Path) -> anyhow::Result<()> {
    let lock = folder.join("package-lock.json");
    let wanted =
        fs::read_to_string(&lock).with_context(|| format!("cannot read {}", lock.display()))?;
    let stamp = folder.join("node_modules/.installed-lock.json");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    lines::run_quiet(Command::new("npm").current_dir(folder).args([
        "ci",
        "--no-audit",
        "--no-fund",
        "--loglevel=error",
    ]))
    .context("Node 20 or newer with npm is needed")?;
    fs::write(&stamp, wanted).context("cannot note what was installed")
}
