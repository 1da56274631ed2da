//! Requests without stream.

use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::Args;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::connection::Connection;
use super::{Destination, Percentiles};

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    destination: Destination,
    /// Connections, each with one request at a time.
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Requests on all connections together.
    #[arg(long, default_value_t = 20_000)]
    count: usize,
    /// Requests per second on all connections together; 0 sends as fast as answers come.
    #[arg(long, default_value_t = 0)]
    rate: u32,
}

/// What a run of requests saw.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RequestsOutcome {
    pub(crate) requests: usize,
    pub(crate) seconds: f64,
    /// From the request's first byte to the answer's last one.
    pub(crate) latency_us: Percentiles,
}

pub(super) async fn run(options: &Options) -> anyhow::Result<RequestsOutcome> {
    let to = options.destination.to;
    let request = options.destination.request(None);
    let per_connection = options.count.div_ceil(options.connections);
    // Connections send in turn, so that a paced run is a steady trickle and not a volley.
    let between = if options.rate == 0 {
        Duration::ZERO
    } else {
        Duration::from_secs(1) / options.rate
    };
    let start = Instant::now();
    let mut running = JoinSet::new();
    for index in 0..options.connections {
        let request = Rc::clone(&request);
        let connections = u32::try_from(options.connections)?;
        let mut due = tokio::time::Instant::now() + between * u32::try_from(index)?;
        running.spawn_local(async move {
            let mut connection = Connection::open(to, 16 * 1024).await?;
            let mut latencies = Vec::with_capacity(per_connection);
            for _ in 0..per_connection {
                if !between.is_zero() {
                    tokio::time::sleep_until(due).await;
                    due += between * connections;
                }
                let sent = Instant::now();
                connection.send(&request).await?;
                while !connection.read(|_| {}).await? {}
                latencies.push(sent.elapsed());
            }
            anyhow::Ok(latencies)
        });
    }
    let mut latencies = Vec::new();
    while let Some(outcome) = running.join_next().await {
        latencies.extend(outcome??);
    }
    Ok(RequestsOutcome {
        requests: latencies.len(),
        seconds: start.elapsed().as_secs_f64(),
        latency_us: Percentiles::of(latencies),
    })
}
