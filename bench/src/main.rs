//! Benchmarks of the gateway against direct calls and a plain reverse proxy.
//!
//! One binary plays every part: it orchestrates (`all`, `callgrind`), and it is the stub upstream
//! (`upstream`), the load (`load`) and the bare relay (`relay`), each in a process of its own so
//! that CPU time can be told apart. README.md says what is measured and how to read it.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool talks to the person who runs it"
)]

mod callgrind;
mod harness;
mod http1;
mod ledger;
mod load;
mod process;
mod procfs;
mod relay;
mod report;
mod rounds;
mod scenario;
mod target;
mod upstream;

use std::net::SocketAddr;

use clap::{Parser, Subcommand};

// The bare relay stands for what the product could cost at best, so it gets the same allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Benchmarks of the bailian gateway.
#[derive(Debug, Parser)]
#[command(name = "bailian-bench")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measures CPU time, added latency and memory of every target, interleaved, in one run.
    All(rounds::Options),
    /// Counts instructions per request and per streamed frame under valgrind.
    Callgrind(callgrind::Options),
    /// Times what the ledger takes of each request.
    Ledger(ledger::Options),
    /// The stub upstream: answers chat completions without any model.
    Upstream {
        /// Where to listen.
        #[arg(long)]
        listen: SocketAddr,
    },
    /// The load generator: prints what it saw as one JSON line.
    Load(load::Options),
    /// A reverse proxy of hyper alone: the floor for anything built on hyper.
    Relay {
        /// Where to listen.
        #[arg(long)]
        listen: SocketAddr,
        /// Where to send everything.
        #[arg(long)]
        upstream: SocketAddr,
    },
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::All(options) => rounds::run(&options),
        Command::Callgrind(options) => callgrind::run(&options),
        Command::Ledger(options) => ledger::run(&options),
        Command::Upstream { listen } => single_threaded()?.block_on(upstream::serve(listen)),
        Command::Load(options) => load::run(&options),
        Command::Relay { listen, upstream } => {
            single_threaded()?.block_on(relay::serve(listen, upstream))
        }
    }
}

fn single_threaded() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}
