//! `bailian config`: what a configuration file says.

mod explain;

use std::io::{self, Write};
use std::path::PathBuf;

use bailian_gateway::{Config, ConfigError};

use crate::failure::{Failure, written};
use crate::settings::Settings;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Checks a configuration file as `serve` does, and sums up what it says. Prints every problem
    /// with its line and ends with status 2 when it cannot be used.
    Check {
        /// The file, in TOML.
        file: PathBuf,
    },
    /// Says of every setting what holds and why: the default, a line of the file, or an environment
    /// variable. Secrets are not shown.
    Explain(explain::Arguments),
    /// Prints the JSON Schema of the configuration file.
    Schema,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let file = match &arguments.command {
        Command::Check { file } => file,
        Command::Explain(arguments) => return explain::run(arguments),
        Command::Schema => {
            let schema = bailian_gateway::config::schema();
            return written(writeln!(io::stdout().lock(), "{schema:#}"));
        }
    };
    let settings = Settings::read()?;
    match Config::load(file, &settings) {
        Ok(config) => written(sum_up(&config)),
        Err(error) => Err(refused(file, &error)),
    }
}

/// `FILE:LINE: place: problem`, as compilers say it, one a line.
fn refused(file: &std::path::Path, error: &ConfigError) -> Failure {
    let file = file.display().to_string();
    let problems = error.problems();
    let lines: Vec<String> = problems
        .iter()
        .map(|problem| {
            if problem.of_variable {
                return format!("\n{problem}");
            }
            // A problem of the whole file, or of its syntax, names the file itself.
            let place = problem.place.strip_prefix(&file);
            let place = place.unwrap_or(&problem.place).trim_start_matches(": ");
            let line = problem
                .line
                .map_or(String::new(), |line| format!(":{line}"));
            let colon = if place.is_empty() { "" } else { ": " };
            format!("\n{file}{line}: {place}{colon}{}", problem.problem)
        })
        .collect();
    Failure::Usage(anyhow::anyhow!(
        "{} in the configuration{}",
        counted(problems.len(), "problem"),
        lines.concat()
    ))
}

fn sum_up(config: &Config) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let encrypted = if config.tls.is_empty() { "" } else { ", TLS" };
    let threads = counted(config.threads, "thread");
    writeln!(out, "listens on {}, {threads}{encrypted}", config.listen)?;
    resolved(&mut out, config)?;
    writeln!(
        out,
        "{} in the file",
        counted(config.keys.len(), "virtual key")
    )?;
    for key in &config.keys {
        writeln!(out, "  {} of tenant {}", key.owner.name, key.owner.tenant)?;
    }
    let limits = &config.limits;
    writeln!(
        out,
        "limits: body {} bytes, header {} bytes, {} connections, {} per address",
        limits.max_body_bytes,
        limits.max_header_bytes,
        limits.max_connections,
        limits.max_connections_per_address
    )?;
    match &config.data {
        Some(data) => writeln!(out, "data: {}", data.folder.display()),
        None => writeln!(out, "data: nothing is kept"),
    }
}

/// Accounts and routes as the gateway uses them.
fn resolved(out: &mut impl Write, config: &Config) -> io::Result<()> {
    writeln!(out, "{}", counted(config.accounts.len(), "account"))?;
    for account in &config.accounts {
        let keys = counted(account.api_keys.len(), "API key");
        writeln!(out, "  {}: {keys}, {}", account.name, account.openai_root)?;
        for rule in &account.limits {
            let limits: Vec<String> = rule.lane.limits.iter().map(ToString::to_string).collect();
            writeln!(
                out,
                "    {}: {}",
                rule.models.join(" + "),
                limits.join(", ")
            )?;
        }
    }
    writeln!(out, "{}", counted(config.routes.len(), "route"))?;
    for route in &config.routes {
        let targets = route.targets.iter().chain(&route.fallbacks);
        let targets: Vec<String> = targets
            .map(|target| match &target.model {
                Some(model) => format!("{}/{model}", target.account),
                None => target.account.clone(),
            })
            .collect();
        writeln!(out, "  {}: {}", route.model, targets.join(", "))?;
    }
    Ok(())
}

fn counted(count: usize, thing: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {thing}{plural}")
}
