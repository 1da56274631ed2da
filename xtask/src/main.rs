//! Developer commands: `cargo xtask test`, `cargo xtask bench`, `cargo xtask sim-pacing`.
//!
//! Everything that a contributor or the continuous integration runs starts here, so that both run
//! the same thing.

#![expect(
    clippy::print_stdout,
    reason = "a command-line tool talks to the person who runs it"
)]

mod bench;
mod lines;
mod packages;
mod test;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};

/// Developer commands of the bailian workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Sets up what the tests need, runs all of them and prints the counts.
    Test(test::Arguments),
    /// Builds the benchmarks with the release profile and runs them.
    Bench(bench::Arguments),
    /// Simulates pacing on a virtual clock: many replicas, many tenants, a day.
    SimPacing(bench::Arguments),
}

fn main() -> anyhow::Result<ExitCode> {
    let root = workspace_root()?;
    match Arguments::parse().command {
        Command::Test(arguments) => Ok(test::run(&root, &arguments)),
        Command::Bench(arguments) => {
            bench::install_peers(&root, &arguments)?;
            bench::run(&root, "bailian-bench", &arguments)
        }
        Command::SimPacing(arguments) => bench::run(&root, "bailian-pacing-sim", &arguments),
    }
}

/// The folder of the workspace. Cargo says at run time where this package is; what it said when
/// this was compiled may be another clone that shares the target folder.
fn workspace_root() -> anyhow::Result<PathBuf> {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    let root = manifest
        .parent()
        .context("xtask lies in a folder of the workspace")?;
    Ok(root.to_owned())
}

/// The cargo that runs this command, so that a chosen toolchain stays chosen.
fn cargo() -> std::process::Command {
    std::process::Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}
