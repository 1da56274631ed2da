//! Very many slow streams at once, of which each is counted, lost or whole.

use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::Args;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::Destination;
use super::connection::Connection;
use super::streams::FrameCounter;
use crate::scenario::StreamPlan;

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    destination: Destination,
    /// Streams at the same time.
    #[arg(long, default_value_t = 10_000)]
    streams: usize,
    /// Frames with JSON in each stream.
    #[arg(long, default_value_t = 6)]
    frames: usize,
    /// Milliseconds between two frames, over which the starts are spread, too.
    #[arg(long, default_value_t = 5_000)]
    gap_ms: u64,
}

/// What became of the streams.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct CrowdOutcome {
    /// Streams that came whole, every frame and the end.
    pub(crate) whole: usize,
    /// What became of the first stream that did not.
    pub(crate) first_loss: Option<String>,
    pub(crate) seconds: f64,
}

pub(super) async fn run(options: &Options) -> anyhow::Result<CrowdOutcome> {
    let to = options.destination.to;
    let frames = options.frames;
    let gap = Duration::from_millis(options.gap_ms);
    let plan = StreamPlan {
        frames,
        gap_ms: options.gap_ms,
        hold: false,
    };
    // Whoever needs twice the time has stopped to answer.
    let limit = gap * u32::try_from(frames)? * 2 + Duration::from_secs(10);
    let request = options.destination.request(Some(plan));
    let spread = gap / u32::try_from(options.streams)?;
    let start = Instant::now();
    let mut running = JoinSet::new();
    for index in 0..options.streams {
        let request = Rc::clone(&request);
        let delay = spread * u32::try_from(index)?;
        running.spawn_local(async move {
            tokio::time::sleep(delay).await;
            let stream = read_whole(to, &request, frames);
            tokio::time::timeout(limit, stream).await?
        });
    }
    let (mut whole, mut first_loss) = (0, None);
    while let Some(outcome) = running.join_next().await {
        match outcome? {
            Ok(()) => whole += 1,
            Err(error) => first_loss = first_loss.or(Some(format!("{error:#}"))),
        }
    }
    Ok(CrowdOutcome {
        whole,
        first_loss,
        seconds: start.elapsed().as_secs_f64(),
    })
}

async fn read_whole(to: std::net::SocketAddr, request: &[u8], frames: usize) -> anyhow::Result<()> {
    let mut connection = Connection::open(to, 2 * 1024).await?;
    connection.send(request).await?;
    let mut counter = FrameCounter::default();
    while !connection.read(|data| counter.take(data)).await? {}
    anyhow::ensure!(
        counter.frames == frames + 1 && counter.is_done(),
        "{} of {} frames came",
        counter.frames,
        frames + 1
    );
    Ok(())
}
