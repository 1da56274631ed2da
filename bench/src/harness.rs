//! The processes of a run: the stub upstream, a target, and the load sent to it.

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Args;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::load::{RequestsOutcome, StreamsOutcome};
use crate::process::{Program, Server, find_program, free_address};
use crate::procfs::CpuTime;
use crate::scenario::Approach;
use crate::target::{Place, Target, own_program};

/// Which core does what.
#[derive(Clone, Copy, Debug, Args, Serialize)]
pub(crate) struct Cores {
    /// Core of the proxies.
    #[arg(long, default_value_t = 0)]
    pub(crate) proxy_core: usize,
    /// Core of the load and of the stub upstream.
    #[arg(long, default_value_t = 1)]
    pub(crate) load_core: usize,
}

impl Cores {
    pub(crate) fn check(self) -> anyhow::Result<()> {
        for tool in ["taskset", "setpriv"] {
            ensure!(
                find_program(tool).is_some(),
                "{tool} is not installed; on Debian or Ubuntu it is in util-linux"
            );
        }
        ensure!(
            self.proxy_core != self.load_core,
            "the proxy and the load need a core each"
        );
        Ok(())
    }
}

/// The stub upstream, and the means to send load.
pub(crate) struct Bench<'a> {
    /// Held while this lives: two benchmarks at a time would measure each other.
    _turn: File,
    cores: Cores,
    folder: &'a Path,
    upstream: Server,
}

/// A target that is up; no server for direct calls.
pub(crate) struct Running<'a> {
    target: &'a Target,
    pub(crate) server: Option<Server>,
    address: SocketAddr,
}

impl<'a> Bench<'a> {
    pub(crate) fn start(cores: Cores, folder: &'a Path) -> anyhow::Result<Self> {
        let turn = wait_for_turn()?;
        let address = free_address()?;
        let program = own_program(&["upstream", "--listen", &address.to_string()])?;
        let upstream = Server::start("upstream", &program, cores.load_core, folder, address)?;
        Ok(Self {
            _turn: turn,
            cores,
            folder,
            upstream,
        })
    }

    pub(crate) fn place(&self) -> Place<'a> {
        Place {
            upstream: self.upstream.address,
            core: self.cores.proxy_core,
            folder: self.folder,
        }
    }

    pub(crate) fn start_target<'t>(&self, target: &'t Target) -> anyhow::Result<Running<'t>> {
        let server = target.start(self.place())?;
        let address = server
            .as_ref()
            .map_or(self.upstream.address, |server| server.address);
        let running = Running {
            target,
            server,
            address,
        };
        self.warm_up(&running)?;
        Ok(running)
    }

    fn warm_up(&self, running: &Running<'_>) -> anyhow::Result<()> {
        let _: RequestsOutcome = self.load(running, "requests --count 3000")?;
        let _: StreamsOutcome = self.load(running, "streams --repeat 1 --frames 20 --gap-ms 2")?;
        Ok(())
    }

    pub(crate) fn load<T: DeserializeOwned>(
        &self,
        running: &Running<'_>,
        arguments: &str,
    ) -> anyhow::Result<T> {
        let approach = running.target.approach(self.place());
        self.load_at(running.address, &approach, arguments)
            .with_context(|| running.last_words())
    }

    /// Runs the load to its end.
    pub(crate) fn load_at<T: DeserializeOwned>(
        &self,
        address: SocketAddr,
        approach: &Approach,
        arguments: &str,
    ) -> anyhow::Result<T> {
        let output = load_program(address, approach, arguments)?
            .pinned(self.cores.load_core, self.folder)
            .stderr(Stdio::inherit())
            .output()?;
        ensure!(output.status.success(), "the load failed: {arguments}");
        serde_json::from_slice(&output.stdout).context("the load's answer")
    }

    pub(crate) fn load_process(
        &self,
        running: &Running<'_>,
        arguments: &str,
    ) -> anyhow::Result<Child> {
        let approach = running.target.approach(self.place());
        Ok(load_program(running.address, &approach, arguments)?
            .pinned(self.cores.load_core, self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?)
    }
}

impl Running<'_> {
    pub(crate) fn cpu_time(&self) -> anyhow::Result<Option<CpuTime>> {
        self.server
            .as_ref()
            .map(|server| CpuTime::of_tree(server.id()))
            .transpose()
    }

    pub(crate) fn cpu_since(&self, earlier: Option<CpuTime>) -> anyhow::Result<Option<Duration>> {
        Ok(match (self.cpu_time()?, earlier) {
            (Some(now), Some(earlier)) => Some(now.since(&earlier)),
            _ => None,
        })
    }

    fn last_words(&self) -> String {
        match &self.server {
            Some(server) => format!("{} said: {}", self.target.name, server.last_output()),
            None => "without a proxy".to_owned(),
        }
    }
}

fn load_program(
    address: SocketAddr,
    approach: &Approach,
    arguments: &str,
) -> anyhow::Result<Program> {
    let address = address.to_string();
    let mut words = vec!["load"];
    words.extend(arguments.split(' '));
    words.extend(["--to", &address, "--path", &approach.path]);
    for line in &approach.headers {
        words.extend(["--header", line]);
    }
    own_program(&words)
}

/// Waits until no other benchmark of this user runs on the machine.
fn wait_for_turn() -> anyhow::Result<File> {
    let path = std::env::temp_dir().join("bailian-bench.lock");
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    if file.try_lock().is_err() {
        eprintln!("another benchmark is running; waiting until it ends");
        file.lock()?;
    }
    Ok(file)
}
