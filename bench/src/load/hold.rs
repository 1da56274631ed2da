//! Streams that stay open, for the memory they cost.

use std::io::Read as _;
use std::rc::Rc;

use clap::Args;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::Destination;
use super::connection::Connection;
use super::streams::FrameCounter;
use crate::scenario::StreamPlan;

/// Streams that are being opened at the same time: fewer than any listener's queue.
const OPENING: usize = 64;

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    destination: Destination,
    /// Streams to hold open.
    #[arg(long, default_value_t = 1000)]
    streams: usize,
    /// Frames that each stream gets before it falls silent.
    #[arg(long, default_value_t = 3)]
    frames: usize,
}

/// Printed twice: when all streams are open, and when standard input has been closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HoldOutcome {
    /// Streams that got their frames and are still open.
    pub(crate) open: usize,
}

pub(super) async fn run(options: &Options) -> anyhow::Result<()> {
    let to = options.destination.to;
    let frames = options.frames;
    let plan = StreamPlan {
        frames,
        gap_ms: 1,
        hold: true,
    };
    let request = options.destination.request(Some(plan));
    let mut open = Vec::with_capacity(options.streams);
    let mut opening = JoinSet::new();
    for index in 0..options.streams {
        if index >= OPENING
            && let Some(outcome) = opening.join_next().await
        {
            open.push(outcome??);
        }
        let request = Rc::clone(&request);
        opening.spawn_local(async move {
            let mut connection = Connection::open(to, 4 * 1024).await?;
            connection.send(&request).await?;
            let mut counter = FrameCounter::default();
            while counter.frames < frames {
                connection.read(|data| counter.take(data)).await?;
            }
            anyhow::Ok(connection)
        });
    }
    while let Some(outcome) = opening.join_next().await {
        open.push(outcome??);
    }
    super::print(&HoldOutcome { open: open.len() })?;
    // Nothing is expected on any stream, so blocking the only thread is no loss.
    std::io::stdin().read_to_end(&mut Vec::new())?;
    // Lets the runtime learn what has happened on the sockets meanwhile.
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    let idle = open
        .iter_mut()
        .filter_map(|connection| connection.is_idle().then_some(()));
    super::print(&HoldOutcome { open: idle.count() })
}
