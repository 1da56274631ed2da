//! `bailian sim`: the simulator.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use bailian_sim::{SimConfig, Simulator};
use tokio::net::TcpListener;

use crate::failure::Failure;
use crate::listen;
use crate::serve::runtime;
use crate::shutdown::Signals;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8081")]
    listen: SocketAddr,
    /// The configuration file, in TOML: speed, keys, faults, scripted answers.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let simulator = Simulator::new(arguments.configuration().map_err(Failure::Usage)?);
    runtime()?.block_on(async {
        let signals = Signals::listen().map_err(Failure::run)?;
        let listener = TcpListener::bind(arguments.listen)
            .await
            .with_context(|| format!("cannot listen on {}", arguments.listen))
            .map_err(Failure::Run)?;
        let address = listener.local_addr().map_err(Failure::run)?;
        listen::announce(address);
        signals
            .serve(|stop| bailian_sim::serve(listener, simulator, stop))
            .await;
        Ok(())
    })
}

impl Arguments {
    fn configuration(&self) -> anyhow::Result<SimConfig> {
        let Some(path) = &self.config else {
            return Ok(SimConfig::default());
        };
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the configuration file {}", path.display()))?;
        SimConfig::from_toml(&text).with_context(|| path.display().to_string())
    }
}
