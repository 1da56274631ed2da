//! One run: every measurement on every target in turn, several rounds of it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::Args;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::harness::{Bench, Cores, Running};
use crate::load::{CrowdOutcome, HoldOutcome, RequestsOutcome, StreamsOutcome};
use crate::procfs::{Memory, machine_busy, most_open_files};
use crate::report::{self, Figures};
use crate::scenario::{self, Approach};
use crate::target::{Selection, Target};

/// How long a proxy is left alone before its memory is read, so that buffers can be given back.
const SETTLE: Duration = Duration::from_secs(2);

/// How long the machine is watched, while nothing is measured, for what else runs on it.
const WATCH: Duration = Duration::from_millis(300);

/// Share of the machine in others' use above which figures are not to be trusted.
const TOO_BUSY: f64 = 0.1;

/// Frames that a held stream gets before it falls silent.
const HELD_FRAMES: usize = 3;

/// Files that a proxy opens besides those of its streams.
const FILES_BESIDE: usize = 200;

/// The most that is shown of why a stream was lost, in characters.
const MOST_WHY: usize = 200;

#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    cores: Cores,
    #[command(flatten)]
    amounts: Amounts,
    /// Rounds; the report has their medians.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Where to write all figures; a bare name goes to bench/results/.
    #[arg(long, default_value = "latest.json")]
    json: PathBuf,
}

/// How much of everything, the same for every target.
#[derive(Clone, Copy, Debug, Args, Serialize)]
struct Amounts {
    /// Requests for the CPU time per request, on 32 connections.
    #[arg(long, default_value_t = 50_000)]
    requests: usize,
    /// Streams one after the other on each of 50 connections, for the CPU time per frame.
    #[arg(long, default_value_t = 8)]
    stream_repeats: usize,
    /// Frames of each of these streams.
    #[arg(long, default_value_t = 100)]
    frames: usize,
    /// Milliseconds between two frames of a stream.
    #[arg(long, default_value_t = 4)]
    gap_ms: u64,
    /// Streams held open for the memory per stream; 0 leaves this out.
    #[arg(long, default_value_t = 1000)]
    held_streams: usize,
    /// Slow streams that are open at the same time, in the first round; 0 leaves this out.
    #[arg(long, default_value_t = 10_000)]
    crowd: usize,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    options.cores.check()?;
    if cfg!(debug_assertions) {
        eprintln!("built without optimisation: the load and the relay are slow; use --release");
    }
    let targets = options.selection.targets()?;
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let bench = Bench::start(options.cores, folder.path())?;
    let (mut rounds, mut busy_before) = (Vec::new(), Vec::new());
    for round in 0..options.rounds {
        eprintln!("round {} of {}", round + 1, options.rounds);
        busy_before.push(machine_busy(WATCH)?);
        rounds.push(measure_all(&bench, &targets, options.amounts, round)?);
    }
    let settings = serde_json::json!({ "cores": options.cores, "amounts": options.amounts });
    let report = report::Report::new(&targets, settings, &rounds, &busy_before);
    print!("{report}");
    if busy_before.iter().any(|busy| *busy > TOO_BUSY) {
        println!(
            "\nOther programs were using up to {:.0} % of this machine: repeat the run when it is \
             idle before you trust these figures, above all the latencies.",
            busy_before
                .iter()
                .fold(0.0, |most: f64, busy| most.max(*busy))
                * 100.0
        );
    }
    let path = report.write(&options.json)?;
    println!("\nall figures: {}", path.display());
    Ok(())
}

type Measurement = fn(&Bench<'_>, &Running<'_>, Amounts, &mut Figures) -> anyhow::Result<()>;

/// One round: all targets up at once, each measurement on each of them before the next one,
/// so that what is compared was measured within seconds.
fn measure_all(
    bench: &Bench<'_>,
    targets: &[Target],
    amounts: Amounts,
    round: usize,
) -> anyhow::Result<Vec<Figures>> {
    let mut running = targets
        .iter()
        .map(|target| bench.start_target(target))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let mut figures: Vec<Figures> = targets.iter().map(|_| Figures::default()).collect();
    // Nobody is always the first one after a pause.
    let order: Vec<usize> = (0..targets.len())
        .map(|index| (index + round) % targets.len())
        .collect();
    let measurements: [Measurement; 5] = [
        request_cost,
        frame_cost,
        latency_alone,
        latency_among_others,
        first_frame,
    ];
    for measurement in measurements {
        for &index in &order {
            measurement(bench, &running[index], amounts, &mut figures[index])
                .with_context(|| format!("measuring {}", targets[index].name))?;
        }
    }
    running.clear();
    for &index in &order {
        cold_start(bench, &targets[index], &mut figures[index])
            .with_context(|| format!("starting {}", targets[index].name))?;
    }
    if round == 0 && amounts.crowd > 0 {
        for &index in &order {
            crowd(bench, &targets[index], amounts, &mut figures[index])
                .with_context(|| format!("many streams at {}", targets[index].name))?;
        }
    }
    if amounts.held_streams > 0 {
        for &index in &order {
            memory(bench, &targets[index], amounts, &mut figures[index])
                .with_context(|| format!("holding streams at {}", targets[index].name))?;
        }
    }
    Ok(figures)
}

fn request_cost(
    bench: &Bench<'_>,
    running: &Running<'_>,
    amounts: Amounts,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let earlier = running.cpu_time()?;
    let arguments = format!("requests --count {}", amounts.requests);
    let outcome: RequestsOutcome = bench.load(running, &arguments)?;
    if let Some(spent) = running.cpu_since(earlier)? {
        figures.cpu_us_per_request = Some(micros(spent) / outcome.requests as f64);
        figures.busy_at_saturation = Some(spent.as_secs_f64() / outcome.seconds);
    }
    figures.requests_per_second = outcome.requests as f64 / outcome.seconds;
    Ok(())
}

fn frame_cost(
    bench: &Bench<'_>,
    running: &Running<'_>,
    amounts: Amounts,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let earlier = running.cpu_time()?;
    let arguments = format!(
        "streams --repeat {} --frames {} --gap-ms {}",
        amounts.stream_repeats, amounts.frames, amounts.gap_ms
    );
    let outcome: StreamsOutcome = bench.load(running, &arguments)?;
    if let Some(spent) = running.cpu_since(earlier)? {
        figures.cpu_us_per_frame = Some(micros(spent) / outcome.frames as f64);
    }
    figures.frames_received = outcome.frames;
    figures.frames_per_read = outcome.frames as f64 / outcome.reads as f64;
    figures.first_frame_among_50_us = outcome.first_frame_us;
    Ok(())
}

fn latency_alone(
    bench: &Bench<'_>,
    running: &Running<'_>,
    _: Amounts,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let outcome: RequestsOutcome = bench.load(running, "requests --connections 1 --count 4000")?;
    figures.latency_alone_us = outcome.latency_us;
    Ok(())
}

fn latency_among_others(
    bench: &Bench<'_>,
    running: &Running<'_>,
    _: Amounts,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let outcome: RequestsOutcome = bench.load(running, "requests --count 6000 --rate 3000")?;
    figures.latency_among_32_us = outcome.latency_us;
    Ok(())
}

fn first_frame(
    bench: &Bench<'_>,
    running: &Running<'_>,
    _: Amounts,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let outcome: StreamsOutcome = bench.load(
        running,
        "streams --connections 1 --repeat 400 --frames 3 --gap-ms 1",
    )?;
    figures.first_frame_us = outcome.first_frame_us;
    Ok(())
}

/// From the start of a process to its first answer, and what it then takes.
fn cold_start(bench: &Bench<'_>, target: &Target, figures: &mut Figures) -> anyhow::Result<()> {
    let start = Instant::now();
    let place = bench.place();
    let Some(server) = target.start(place)? else {
        return Ok(());
    };
    ask_once(server.address, &target.approach(place))?;
    figures.cold_start_ms = Some(start.elapsed().as_secs_f64() * 1e3);
    std::thread::sleep(SETTLE);
    figures.fresh_kib = Some(Memory::of_tree(server.id())?.resident as f64);
    Ok(())
}

/// One request from this process: another one would have to be started first.
fn ask_once(address: SocketAddr, approach: &Approach) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(&scenario::request_bytes(
        &address.to_string(),
        approach,
        None,
    ))?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    ensure!(
        head.ends_with(b" 200"),
        "the first answer began with {:?}",
        String::from_utf8_lossy(&head)
    );
    Ok(())
}

/// Slow streams, very many of them at once.
fn crowd(
    bench: &Bench<'_>,
    target: &Target,
    amounts: Amounts,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let running = bench.start_target(target)?;
    // A proxy needs two open files for each.
    let room = most_open_files()?.saturating_sub(FILES_BESIDE) / 2;
    let streams = amounts.crowd.min(room);
    let arguments = format!("crowd --streams {streams}");
    let outcome: CrowdOutcome = bench.load(&running, &arguments)?;
    let lost = streams - outcome.whole;
    if let Some(why) = &outcome.first_loss {
        let why: String = why.chars().take(MOST_WHY).collect();
        eprintln!(
            "{}: {lost} of {streams} streams were lost, the first so: {why}",
            target.name
        );
    }
    if streams < amounts.crowd {
        eprintln!("this system allows a process files for {streams} streams only");
    }
    figures.crowd_lost = Some(lost as f64);
    Ok(())
}

/// Memory per open stream, of a proxy that has done nothing but its warm-up.
fn memory(
    bench: &Bench<'_>,
    target: &Target,
    amounts: Amounts,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    if !target.is_proxy() {
        return Ok(());
    }
    let running = bench.start_target(target)?;
    let Some(server) = &running.server else {
        return Ok(());
    };
    std::thread::sleep(SETTLE);
    let idle = Memory::of_tree(server.id())?;
    let streams = amounts.held_streams;
    let arguments = format!("hold --streams {streams} --frames {HELD_FRAMES}");
    let mut held = bench.load_process(&running, &arguments)?;
    let mut output = std::io::BufReader::new(held.stdout.take().context("no output")?);
    let opened: HoldOutcome = read_line(&mut output)?;
    std::thread::sleep(SETTLE);
    let open = Memory::of_tree(server.id())?;
    drop(held.stdin.take());
    let still_open: HoldOutcome = read_line(&mut output)?;
    held.wait()?;
    ensure!(
        (opened.open, still_open.open) == (streams, streams),
        "{streams} streams were asked for, {} opened, {} were still open",
        opened.open,
        still_open.open
    );
    let per_stream = |open: u64, idle: u64| (open as f64 - idle as f64) / streams as f64;
    figures.kib_per_stream = Some(per_stream(open.resident, idle.resident));
    figures.proportional_kib_per_stream = Some(per_stream(open.proportional, idle.proportional));
    figures.idle_kib = Some(idle.resident as f64);
    Ok(())
}

fn read_line<T: DeserializeOwned>(output: &mut impl std::io::BufRead) -> anyhow::Result<T> {
    let mut line = String::new();
    output.read_line(&mut line)?;
    serde_json::from_str(&line).context("the load failed")
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
