//! `cargo xtask sim-pacing`.

#![expect(clippy::print_stdout, reason = "the report is what the program is for")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bailian_pacing_sim::{Incident, Load, Scenario, draw, run};
use bailian_quota::{Limit, Measure};
use bailian_sim::throttle::{self, BurstRule, Rule, WindowRule};
use clap::Parser;

/// Simulates a day of pacing on a virtual clock.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask sim-pacing")]
struct Arguments {
    /// Gateways that share the account.
    #[arg(long, default_value_t = 20)]
    replicas: usize,
    /// Tenants, of very different size.
    #[arg(long, default_value_t = 10_000)]
    tenants: usize,
    /// Virtual hours.
    #[arg(long, default_value_t = 24.0)]
    hours: f64,
    /// Requests per minute that the account may send.
    #[arg(long, default_value_t = 3_000)]
    requests_per_minute: u64,
    /// The load as a part of that, as a mean over the day; peaks are 1.7 times as high.
    #[arg(long, default_value_t = 1.15)]
    load: f64,
    /// Everything random comes from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where plots are written.
    #[arg(long, default_value = "docs/pacing")]
    out: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let duration = Duration::from_secs_f64(arguments.hours * 3600.0);
    let per_second = arguments.requests_per_minute / 60;
    let (second, minute) = (Duration::from_secs(1), Duration::from_mins(1));
    let mut truth = Rule::default();
    for (amount, period) in [
        (per_second * 3 / 2, second),
        (arguments.requests_per_minute, minute),
    ] {
        let window = WindowRule::new(throttle::Measure::Requests, amount, period);
        truth.windows.push(window);
    }
    truth.burst = Some(BurstRule::default());
    let told = [
        format!("{}/1s", per_second * 3 / 2),
        format!("{}/60s", arguments.requests_per_minute),
    ];
    let told: Result<Vec<Limit>, _> = told
        .iter()
        .map(|text| Limit::parse(Measure::Requests, text))
        .collect();
    let mut load = Load::default();
    load.tenants = arguments.tenants;
    load.rate = per_second as f64 * arguments.load;
    load.diurnal = true;
    load.bursty = true;
    let mut scenario = Scenario::default();
    scenario.replicas = arguments.replicas;
    scenario.duration = duration;
    scenario.told = told?.into_iter().map(Limit::exactly).collect();
    scenario.truth = truth;
    scenario.load = load;
    scenario.seed = arguments.seed;
    scenario.incidents = incidents(duration, &arguments);
    let began = Instant::now();
    let outcome = run(&scenario);
    println!(
        "{} replicas, {} tenants, {} h in {:.0} s",
        arguments.replicas,
        arguments.tenants,
        arguments.hours,
        began.elapsed().as_secs_f64()
    );
    outcome.print(Duration::ZERO, duration);
    let busy: Vec<u64> = outcome
        .minutes
        .iter()
        .filter(|minute| minute.refused > 0)
        .map(|minute| minute.admitted)
        .collect();
    let used = busy.iter().sum::<u64>() as f64;
    let allowed = (busy.len() as u64 * arguments.requests_per_minute).max(1) as f64;
    println!(
        "  in the {} minutes in which somebody was refused: {:.1} % of the limit used; overshoot {}",
        busy.len(),
        100.0 * used / allowed,
        outcome.overshoot()
    );
    std::fs::create_dir_all(&arguments.out).context("cannot make the folder of the plots")?;
    draw(&outcome, &arguments.out, "day")
}

/// A replica dies at ten and comes back, the ledger is away at noon for 20 seconds, and another
/// program takes half of the account from two to half past two.
fn incidents(duration: Duration, arguments: &Arguments) -> Vec<(Duration, Incident)> {
    let half = arguments.requests_per_minute as f64 / 120.0;
    let last = arguments.replicas - 1;
    let part = |of: f64| duration.mul_f64(of);
    let mut incidents = vec![
        (part(14.0 / 24.0), Incident::OtherProgram(half)),
        (part(14.5 / 24.0), Incident::OtherProgram(0.0)),
    ];
    if arguments.replicas > 1 {
        let away = part(12.0 / 24.0);
        incidents.extend([
            (part(10.0 / 24.0), Incident::Kill(last)),
            (part(10.2 / 24.0), Incident::Start(last)),
            (away, Incident::LedgerAway),
            (away + Duration::from_secs(20), Incident::LedgerBack),
        ]);
    }
    incidents
}
