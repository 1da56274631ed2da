//! `cargo xtask test`: prepares, runs and counts every suite.

mod clients;
mod conformance;
mod counts;
mod debian;
mod postgres;
mod processes;
mod redis;
mod rust;
mod servers;

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use clap::ValueEnum;

use self::clients::Clients;
use self::counts::{Counts, Report};
use self::postgres::POSTGRES;
use self::redis::REDIS;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Runs one part only.
    #[arg(long, value_enum)]
    only: Option<Part>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The workspace's own tests and documentation examples.
    Rust,
    /// Tests with a PostgreSQL server, which is installed where it is missing.
    Postgres,
    /// Tests with a Redis server, which is installed where it is missing.
    Redis,
    /// Real clients in Python and Node against gateway and simulator.
    Conformance,
    /// Real clients against the real service; needs `DASHSCOPE_API_KEY`.
    Live,
}

/// Runs the chosen parts and ends with their counts. A part that cannot be set up counts as failed.
pub(crate) fn run(root: &Path, arguments: &Arguments) -> ExitCode {
    let chosen = |part| arguments.only.is_none_or(|only| only == part);
    let live_key = std::env::var("DASHSCOPE_API_KEY")
        .ok()
        .filter(|key| !key.is_empty());
    let live = chosen(Part::Live) && live_key.is_some();
    let mut report = Report::default();

    std::thread::scope(|scope| {
        // Downloading the clients waits for the network while the compiler uses the processor.
        let clients = (chosen(Part::Conformance) || live)
            .then(|| scope.spawn(|| Clients::set_up(&root.join("conformance"))));
        if chosen(Part::Rust) {
            record(&mut report, "rust", || rust::run(root));
        }
        if chosen(Part::Postgres) {
            record(&mut report, "postgres", || POSTGRES.run(root));
        }
        if chosen(Part::Redis) {
            record(&mut report, "redis", || REDIS.run(root));
        }
        let Some(clients) = clients else { return };
        let clients = match clients.join() {
            Ok(Ok(clients)) => clients,
            Ok(Err(error)) => {
                report.failed_to_run("clients", &error);
                return;
            }
            Err(_) => {
                report.failed_to_run("clients", &anyhow::anyhow!("setting them up panicked"));
                return;
            }
        };
        if chosen(Part::Conformance)
            && let Err(error) = conformance::against_simulator(root, &clients, &mut report)
        {
            report.failed_to_run("conformance", &error);
        }
        if live && let Err(error) = conformance::against_service(&clients, &mut report) {
            report.failed_to_run("live", &error);
        }
    });

    if chosen(Part::Live) && !live {
        report.note("live: not run: no key");
    }
    report.print();
    if report.total().failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs one suite and enters its counts and duration.
fn record(report: &mut Report, name: &str, suite: impl FnOnce() -> anyhow::Result<Counts>) {
    println!("\n== {name}");
    let started = Instant::now();
    match suite() {
        Ok(counts) => report.add(name, counts, started.elapsed()),
        Err(error) => report.failed_to_run(name, &error),
    }
}
