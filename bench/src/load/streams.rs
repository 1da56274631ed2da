//! Streams, read to their end.

use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use clap::Args;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::connection::Connection;
use super::{Destination, Percentiles};
use crate::scenario::StreamPlan;

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    destination: Destination,
    /// Streams at the same time.
    #[arg(long, default_value_t = 50)]
    connections: usize,
    /// Streams one after the other on each connection.
    #[arg(long, default_value_t = 4)]
    repeat: usize,
    /// Frames with JSON in each stream.
    #[arg(long, default_value_t = 100)]
    frames: usize,
    /// Milliseconds between two frames.
    #[arg(long, default_value_t = 4)]
    gap_ms: u64,
}

/// What a run of streams saw.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct StreamsOutcome {
    pub(crate) streams: usize,
    /// Events received, `[DONE]` included; never less than what was sent.
    pub(crate) frames: usize,
    /// Reads that brought them: as many as frames when none were joined on the way.
    pub(crate) reads: usize,
    pub(crate) seconds: f64,
    /// From the request's first byte to the answer's first event.
    pub(crate) first_frame_us: Percentiles,
}

/// Counts events and remembers how the stream ended.
#[derive(Debug, Default)]
pub(super) struct FrameCounter {
    pub(super) frames: usize,
    tail: Vec<u8>,
}

impl FrameCounter {
    const END: &[u8] = b"[DONE]\n\n";

    pub(super) fn take(&mut self, data: &[u8]) {
        // Where the line end before this one was; the tail stands just before the data.
        let mut previous = match self.tail.last() {
            Some(b'\n') => Some(0),
            _ => None,
        };
        for position in memchr::memchr_iter(b'\n', data).map(|index| index + 1) {
            self.frames += usize::from(previous == Some(position - 1));
            previous = Some(position);
        }
        self.tail.extend_from_slice(data);
        let surplus = self.tail.len().saturating_sub(Self::END.len());
        self.tail.drain(..surplus);
    }

    pub(super) fn is_done(&self) -> bool {
        self.tail == Self::END
    }
}

pub(super) async fn run(options: &Options) -> anyhow::Result<StreamsOutcome> {
    let to = options.destination.to;
    let (frames, repeat) = (options.frames, options.repeat);
    let plan = StreamPlan {
        frames,
        gap_ms: options.gap_ms,
        hold: false,
    };
    let request = options.destination.request(Some(plan));
    // Starts are spread over one gap: real streams do not beat in time.
    let spread = Duration::from_millis(options.gap_ms) / u32::try_from(options.connections)?;
    let start = Instant::now();
    let mut running = JoinSet::new();
    for index in 0..options.connections {
        let request = Rc::clone(&request);
        let delay = spread * u32::try_from(index)?;
        running.spawn_local(async move {
            tokio::time::sleep(delay).await;
            let mut connection = Connection::open(to, 16 * 1024).await?;
            let mut reads = 0;
            let mut first_frames = Vec::with_capacity(repeat);
            for _ in 0..repeat {
                let sent = Instant::now();
                connection.send(&request).await?;
                let mut counter = FrameCounter::default();
                let mut complete = false;
                while !complete {
                    let before = counter.frames;
                    complete = connection.read(|data| counter.take(data)).await?;
                    if before == 0 && counter.frames > 0 {
                        first_frames.push(sent.elapsed());
                    }
                    reads += usize::from(counter.frames > before);
                }
                ensure!(
                    counter.frames == frames + 1 && counter.is_done(),
                    "a stream of {} frames and [DONE] arrived as {} frames",
                    frames,
                    counter.frames
                );
            }
            anyhow::Ok((reads, first_frames))
        });
    }
    let (mut reads, mut first_frames) = (0, Vec::new());
    while let Some(outcome) = running.join_next().await {
        let (more_reads, more) = outcome??;
        reads += more_reads;
        first_frames.extend(more);
    }
    Ok(StreamsOutcome {
        streams: first_frames.len(),
        frames: first_frames.len() * (frames + 1),
        reads,
        seconds: start.elapsed().as_secs_f64(),
        first_frame_us: Percentiles::of(first_frames),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_counted_however_they_are_split() {
        let text = b"data: a\n\ndata: b\ndata: c\n\ndata: [DONE]\n\n";
        for split in 0..=text.len() {
            let mut counter = FrameCounter::default();
            counter.take(&text[..split]);
            counter.take(&text[split..]);
            assert_eq!(counter.frames, 3, "split at {split}");
            assert!(counter.is_done());
        }
    }
}
