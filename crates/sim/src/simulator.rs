//! A simulator and a running one.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use axum::Router;
use parking_lot::{Mutex, RwLock};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::cache::Cache;
use crate::config::SimConfig;
use crate::journal::{Journal, JournalEntry};
use crate::routes::router;
use crate::stored::Stored;
use crate::throttle::Throttle;

/// A simulated DashScope. Cheap to clone; clones are the same simulator.
#[derive(Clone, Debug)]
pub struct Simulator {
    pub(crate) shared: Arc<Shared>,
}

/// What all requests share.
#[derive(Debug)]
pub(crate) struct Shared {
    config: RwLock<Arc<SimConfig>>,
    pub(crate) journal: Arc<Journal>,
    /// How many requests each fault rule was about, by its place.
    matches: Mutex<HashMap<u64, u64>>,
    pub(crate) requests: AtomicU64,
    pub(crate) throttle: Throttle,
    pub(crate) stored: Stored,
    pub(crate) cache: Cache,
}

impl Shared {
    /// Counts a request that the fault rule at that place is about.
    pub(crate) fn count_match(&self, place: u64) -> u64 {
        let mut matches = self.matches.lock();
        let count = matches.entry(place).or_insert(0);
        *count += 1;
        *count
    }
}

impl Default for Simulator {
    fn default() -> Self {
        Self::new(SimConfig::default())
    }
}

impl Simulator {
    /// A simulator with these settings.
    pub fn new(config: SimConfig) -> Self {
        Self {
            shared: Arc::new(Shared {
                config: RwLock::new(Arc::new(config)),
                journal: Arc::new(Journal::new()),
                matches: Mutex::default(),
                requests: AtomicU64::new(0),
                throttle: Throttle::new(),
                stored: Stored::default(),
                cache: Cache::default(),
            }),
        }
    }

    /// All its paths, to be served or nested anywhere. Faults that close a connection need
    /// [`serve`](crate::serve).
    pub fn router(&self) -> Router {
        router(self.clone())
    }

    /// The settings in force.
    pub fn config(&self) -> Arc<SimConfig> {
        Arc::clone(&self.shared.config.read())
    }

    /// Puts other settings in force for the requests to come. Fault rules and limits count anew.
    pub fn set_config(&self, config: SimConfig) {
        *self.shared.config.write() = Arc::new(config);
        self.shared.matches.lock().clear();
        self.shared.throttle.clear();
    }

    /// What was served, in order of arrival.
    pub fn journal(&self) -> Vec<JournalEntry> {
        self.shared.journal.entries()
    }

    /// Forgets what was served, also to fault rules, limits and the context cache.
    pub fn reset(&self) {
        self.shared.journal.clear();
        self.shared.matches.lock().clear();
        self.shared.throttle.reset();
        self.shared.cache.clear();
    }

    /// Serves on a free loopback port until the handle is dropped.
    ///
    /// # Errors
    ///
    /// When no port can be bound.
    pub async fn spawn(self) -> io::Result<RunningSimulator> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let served = self.clone();
        let task = tokio::spawn(async move {
            crate::serve(listener, served, stopped).await;
        });
        Ok(RunningSimulator {
            simulator: self,
            address,
            stop,
            task,
        })
    }
}

/// A simulator that serves on a loopback port, for tests. Dropping it stops it at once.
#[derive(Debug)]
pub struct RunningSimulator {
    simulator: Simulator,
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl RunningSimulator {
    /// `http://127.0.0.1:PORT`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets open requests end and stops.
    pub async fn shut_down(mut self) {
        self.stop.cancel();
        // The task cannot fail but by a panic, which its own test has seen.
        let _ended = (&mut self.task).await;
    }
}

impl std::ops::Deref for RunningSimulator {
    type Target = Simulator;

    fn deref(&self) -> &Simulator {
        &self.simulator
    }
}

impl Drop for RunningSimulator {
    fn drop(&mut self) {
        self.task.abort();
    }
}
