//! `bailian`: gateway, simulator and chat for Alibaba Cloud Model Studio (DashScope, Qwen).
//!
//! Every command is a small file that calls a library of the workspace.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool talks to the person who runs it"
)]

mod admin;
mod audit;
mod chat;
mod completions;
mod config;
mod data;
mod demo;
mod doctor;
mod failure;
mod import;
mod keys;
mod listen;
mod logging;
mod models;
mod moments;
mod nodes;
mod open_files;
mod projects;
mod records;
mod serve;
#[cfg(unix)]
mod service_manager;
mod settings;
mod shutdown;
mod sim;
mod table;
mod tenants;
mod usage;
mod whose;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::failure::Failure;
use crate::logging::LogFormat;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Gateway, simulator and chat for Alibaba Cloud Model Studio (DashScope, Qwen).
///
/// Exit status: 0 when all went well, 1 when a call or a server failed, 2 when the command line or
/// the configuration is wrong.
#[derive(Debug, Parser)]
#[command(name = "bailian", version, propagate_version = true)]
struct Arguments {
    /// The form of log lines on standard error; RUST_LOG says what is logged.
    #[arg(long, global = true, value_enum, default_value_t)]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Starts gateway and simulator together: no key, no account, nothing leaves this machine.
    Demo(demo::Arguments),
    /// Runs the gateway.
    Serve(serve::Arguments),
    /// Runs the simulator, an offline Model Studio.
    Sim(sim::Arguments),
    /// Asks a model, once or in a conversation.
    Chat(chat::Arguments),
    /// Lists the models that this version knows.
    Models(models::Arguments),
    /// Looks at the gateway's configuration file.
    Config(config::Arguments),
    /// Checks configuration, network and key, and says what to fix.
    Doctor(doctor::Arguments),
    /// Makes the gateway's configuration from that of another gateway.
    Import(import::Arguments),
    /// Shows what was used and what it cost, by a gateway's ledger.
    Usage(usage::Arguments),
    /// Shows single requests by a gateway's ledger.
    Records(records::Arguments),
    /// Makes, shows, changes, rotates and revokes a gateway's virtual keys.
    Keys(keys::Arguments),
    /// Makes, shows and changes the projects of a gateway's tenants.
    Projects(projects::Arguments),
    /// Makes, shows and changes a gateway's tenants.
    Tenants(tenants::Arguments),
    /// Shows who changed which tenants, projects and keys.
    Audit(audit::Arguments),
    /// Prints a completion script for a shell.
    Completions(completions::Arguments),
}

fn main() -> ExitCode {
    let Arguments {
        log_format,
        command,
    } = Arguments::parse();
    let serves = matches!(
        command,
        Command::Demo(_) | Command::Serve(_) | Command::Sim(_)
    );
    logging::start(log_format, if serves { "info" } else { "warn" });
    if serves {
        open_files::raise_limit();
    }
    match run(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report();
            failure.exit_code()
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Sim(arguments) => sim::run(&arguments),
        Command::Chat(arguments) => chat::run(&arguments),
        Command::Models(arguments) => models::run(&arguments),
        Command::Config(arguments) => config::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Import(arguments) => import::run(&arguments),
        Command::Usage(arguments) => usage::run(&arguments),
        Command::Records(arguments) => records::run(&arguments),
        Command::Keys(arguments) => keys::run(&arguments),
        Command::Projects(arguments) => projects::run(&arguments),
        Command::Tenants(arguments) => tenants::run(&arguments),
        Command::Audit(arguments) => audit::run(&arguments),
        Command::Completions(arguments) => completions::run(&arguments),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Arguments::command().debug_assert();
    }
}
