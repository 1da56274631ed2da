//! Running a program while reading what it prints.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::Context as _;

/// Runs a program to its end, shows its standard output as it comes and hands each line to
/// `observe`. Standard error goes through untouched.
pub(crate) fn run_observed(
    command: &mut Command,
    mut observe: impl FnMut(&str),
) -> anyhow::Result<ExitStatus> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    let stdout = child
        .stdout
        .take()
        .context("standard output was not captured")?;
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line.context("cannot read the program's output")?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        observe(&line);
    }
    child.wait().context("cannot wait for the program")
}

/// Runs a program to its end silently; its output becomes part of the error when it fails.
pub(crate) fn run_quiet(command: &mut Command) -> anyhow::Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        anyhow::bail!(
            "{command:?} failed with {}\n{stdout}{stderr}",
            output.status
        );
    }
    Ok(stdout.into_owned())
}
