//! Instructions per request and per frame, counted by valgrind.
//!
//! Clocks on a shared machine wander by several percent; instruction counts hardly move, so a small
//! loss on the hot path shows here first. Two runs that differ only in their amount are subtracted,
//! which leaves out start-up, warm-up and shutdown. The kernel's work is not counted.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};
use clap::Args;

use crate::harness::{Bench, Cores};
use crate::load::{RequestsOutcome, StreamsOutcome};
use crate::process::{Program, Server, find_program, free_address};
use crate::target::{Selection, Target};

/// Streams of a frame run, one after the other: the same in both runs, so they cancel out.
const STREAMS: usize = 2;

#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    cores: Cores,
    /// Requests that the second run has more than the first.
    #[arg(long, default_value_t = 2000)]
    requests: usize,
    /// Frames that the second run has more than the first.
    #[arg(long, default_value_t = 4000)]
    frames: usize,
    /// Keeps the profiles of the longer runs, for callgrind_annotate, in this existing folder.
    #[arg(long)]
    keep: Option<std::path::PathBuf>,
}

/// What one run under valgrind is given.
#[derive(Clone, Copy)]
struct Amount {
    requests: usize,
    frames: usize,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    options.cores.check()?;
    ensure!(
        find_program("valgrind").is_some(),
        "valgrind is not installed; on Debian or Ubuntu: apt-get install valgrind"
    );
    let targets = options.selection.targets()?;
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let bench = Bench::start(options.cores, folder.path())?;
    println!(
        "{:12}{:>26}{:>26}",
        "", "instructions per request", "per frame"
    );
    for target in targets.iter().filter(|target| target.is_proxy()) {
        let base = Amount {
            requests: 200,
            frames: 100,
        };
        let more_requests = Amount {
            requests: base.requests + options.requests,
            ..base
        };
        let more_frames = Amount {
            frames: base.frames + options.frames / STREAMS,
            ..base
        };
        let count = |amount, label: &str| {
            let profile = folder
                .path()
                .join(format!("{}-{label}.callgrind", target.name));
            let count = instructions(&bench, options.cores, target, amount, &profile)
                .with_context(|| format!("counting {}", target.name))?;
            if let Some(keep) = &options.keep
                && label != "base"
            {
                fs::copy(&profile, keep.join(profile.file_name().unwrap_or_default()))?;
            }
            anyhow::Ok(count)
        };
        let start = count(base, "base")?;
        let per_request = (count(more_requests, "requests")? - start) / options.requests as f64;
        let extra_frames = (more_frames.frames - base.frames) * STREAMS;
        let per_frame = (count(more_frames, "frames")? - start) / extra_frames as f64;
        println!("{:12}{per_request:>26.0}{per_frame:>26.0}", target.name);
    }
    Ok(())
}

/// Instructions of a whole life of the proxy.
fn instructions(
    bench: &Bench<'_>,
    cores: Cores,
    target: &Target,
    amount: Amount,
    profile: &Path,
) -> anyhow::Result<f64> {
    let place = bench.place();
    let address = free_address()?;
    // Without a master process there is one process to count.
    let program = target
        .program(place, address, false)?
        .context("direct calls have no program to count")?;
    let mut file = std::ffi::OsString::from("--callgrind-out-file=");
    file.push(profile);
    let mut arguments = vec!["valgrind".into(), "--tool=callgrind".into(), file];
    arguments.extend(program.arguments);
    let program = Program {
        arguments,
        environment: program.environment,
    };
    let mut server = Server::start(
        &target.name,
        &program,
        cores.proxy_core,
        place.folder,
        address,
    )?;
    let approach = target.approach(place);
    // One at a time: what is done together would depend on time.
    let requests = format!("requests --connections 1 --count {}", amount.requests);
    let _: RequestsOutcome = bench.load_at(address, &approach, &requests)?;
    let streams = format!(
        "streams --connections 1 --repeat {STREAMS} --frames {} --gap-ms 2",
        amount.frames
    );
    let _: StreamsOutcome = bench.load_at(address, &approach, &streams)?;
    server.stop()?;
    let text = fs::read_to_string(profile)
        .with_context(|| format!("valgrind left no profile:\n{}", server.last_output()))?;
    total(&text).context("the profile has no total")
}

fn total(profile: &str) -> Option<f64> {
    profile
        .lines()
        .find_map(|line| line.strip_prefix("totals: "))?
        .split(' ')
        .next()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_of_a_profile_is_read() {
        let profile = "# callgrind format\nevents: Ir\nfn=(1) main\n1 5\n\ntotals: 123456\n";
        assert_eq!(total(profile), Some(123_456.0));
        assert_eq!(total("events: Ir\n"), None);
    }
}
