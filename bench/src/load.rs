//! The load generator: closed-loop requests, paced requests, streams, and streams held open.
//!
//! Each run is a process of its own that prints one JSON line, so that none of its work is counted
//! for the proxy and every target is met by the same fresh client.

mod connection;
mod crowd;
mod hold;
mod requests;
mod streams;

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use tokio::task::LocalSet;

pub(crate) use self::crowd::CrowdOutcome;
pub(crate) use self::hold::HoldOutcome;
pub(crate) use self::requests::RequestsOutcome;
pub(crate) use self::streams::StreamsOutcome;
use crate::scenario::{self, Approach, StreamPlan};

#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    run: Run,
}

#[derive(Debug, Subcommand)]
enum Run {
    /// Requests without stream on keep-alive connections.
    Requests(requests::Options),
    /// Streams, read to their end.
    Streams(streams::Options),
    /// Very many slow streams at once.
    Crowd(crowd::Options),
    /// Streams that stay open until standard input is closed.
    Hold(hold::Options),
}

/// Where the load goes.
#[derive(Clone, Debug, Args)]
struct Destination {
    /// Address of the target.
    #[arg(long)]
    to: SocketAddr,
    #[command(flatten)]
    approach: Approach,
}

impl Destination {
    /// The request that every connection sends.
    fn request(&self, plan: Option<StreamPlan>) -> Rc<[u8]> {
        scenario::request_bytes(&self.to.to_string(), &self.approach, plan).into()
    }
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let runtime = crate::single_threaded()?;
    let local = LocalSet::new();
    match &options.run {
        Run::Requests(options) => print(&local.block_on(&runtime, requests::run(options))?),
        Run::Streams(options) => print(&local.block_on(&runtime, streams::run(options))?),
        Run::Crowd(options) => print(&local.block_on(&runtime, crowd::run(options))?),
        Run::Hold(options) => local.block_on(&runtime, hold::run(options)),
    }
}

fn print(outcome: &impl Serialize) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(outcome)?);
    Ok(())
}

/// Percentiles of a set of durations, in microseconds.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Percentiles {
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

impl Percentiles {
    pub(crate) fn of(mut durations: Vec<Duration>) -> Self {
        durations.sort_unstable();
        let at = |percent: usize| {
            let rank = (durations.len() * percent).div_ceil(100).max(1) - 1;
            durations
                .get(rank)
                .map_or(0.0, |duration| duration.as_secs_f64() * 1e6)
        };
        Self {
            p50: at(50),
            p90: at(90),
            p99: at(99),
            max: at(100),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_taken_by_nearest_rank() {
        let percentiles = Percentiles::of((1..=200).rev().map(Duration::from_micros).collect());
        let taken = [
            percentiles.p50,
            percentiles.p90,
            percentiles.p99,
            percentiles.max,
        ];
        let expected = [100.0, 180.0, 198.0, 200.0];
        for (taken, expected) in taken.iter().zip(expected) {
            assert!((taken - expected).abs() < 1e-6, "{taken} is not {expected}");
        }
        assert!(Percentiles::of(Vec::new()).p50.abs() < f64::EPSILON);
    }
}
