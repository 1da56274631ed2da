//! Limits and budgets divided between replicas over Redis or Valkey.
//!
//! One script per budget (`pot.lua`, the same rules as [`Pot`](super::Pot)), and the script of lanes
//! for limits of the moment. No request waits for it unless it lacks what others may have. While the
//! server is away every replica goes on with what it holds.

mod script;
mod worker;

use std::fmt;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bailian_quota::share::Terms;
use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::{Notify, oneshot, watch};

pub use self::script::{PotMember, PotScript};
use super::{Holds, PotTerms};
use crate::budget::Budgets;
use crate::money::Rates;
use crate::period::Now;

/// How to share over Redis.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct ShareConfig {
    url: String,
    /// What the names of all keys begin with; the same in all replicas of one installation.
    pub prefix: String,
    /// When what is held counts as spent, and how long a lost pot waits.
    pub pots: PotTerms,
    /// When leases of limits of the moment end.
    pub leases: Terms,
}

/// Why sharing cannot begin.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ShareError {
    /// The address cannot be read. It is not repeated, since it may hold a password.
    #[error("the Redis address is not valid: write redis://HOST:PORT or rediss://HOST:PORT")]
    Address,
    /// The system gave no thread.
    #[error("cannot start the thread that shares budgets: {0}")]
    Thread(#[source] std::io::Error),
}

/// How sharing goes.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ShareStatus {
    /// Whether the last question was answered.
    pub connected: bool,
    /// Questions that were answered.
    pub answers: u64,
    /// Rounds of questions that were not.
    pub failures: u64,
    /// The last failure, without addresses and secrets.
    pub last_error: Option<String>,
}

/// What a process knows the time by.
pub type ShareClock = Arc<dyn Fn() -> Now + Send + Sync>;

/// Accounts whose limits are not yet shared by a thread.
#[derive(Clone, Debug)]
pub struct SharedBudgets {
    /// The accounts.
    pub budgets: Budgets,
    holds: Holds,
    wanted: Arc<Notify>,
}

/// Shares the limits and budgets of this replica until it is dropped or [`leave`](Self::leave)s.
pub struct BudgetSharing {
    status: Arc<Mutex<ShareStatus>>,
    answered: watch::Receiver<u64>,
    stop: Mutex<Option<oneshot::Sender<()>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl ShareConfig {
    /// Shares over the server at `url`, such as `redis://127.0.0.1:6379`, `rediss://…` for TLS.
    ///
    /// # Errors
    /// [`ShareError::Address`] when the address cannot be read.
    pub fn new(url: &str, prefix: impl Into<String>) -> Result<Self, ShareError> {
        redis::Client::open(url).map_err(|_| ShareError::Address)?;
        Ok(Self {
            url: url.to_owned(),
            prefix: prefix.into(),
            pots: PotTerms::default(),
            leases: Terms::default(),
        })
    }
}

impl fmt::Debug for ShareConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShareConfig")
            .field("prefix", &self.prefix)
            .field("pots", &self.pots)
            .field("leases", &self.leases)
            .finish_non_exhaustive()
    }
}

impl SharedBudgets {
    /// Accounts in which nothing was used, and of which this replica holds nothing yet.
    pub fn new(rates: Rates) -> Self {
        let wanted = Arc::new(Notify::new());
        let wake = Arc::clone(&wanted);
        let holds = Holds::new(move || wake.notify_one());
        Self {
            budgets: Budgets::with_share(rates, holds.clone()),
            holds,
            wanted,
        }
    }

    /// Shares them from now on, on a thread of its own. To be called when the ledger's sums have been
    /// restored and before the first request.
    ///
    /// # Errors
    /// [`ShareError`] when the thread cannot be started. A server that does not answer is none: it is
    /// tried again and again.
    pub fn start(
        &self,
        config: ShareConfig,
        clock: ShareClock,
    ) -> Result<BudgetSharing, ShareError> {
        let status = Arc::new(Mutex::new(ShareStatus::default()));
        let (stop, stopped) = oneshot::channel();
        let (answers, answered) = watch::channel(0);
        let worker = worker::Worker::new(self, config, clock, Arc::clone(&status), answers)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ShareError::Thread)?;
        let thread = std::thread::Builder::new()
            .name("budget-shares".to_owned())
            .spawn(move || runtime.block_on(worker.run(stopped)))
            .map_err(ShareError::Thread)?;
        Ok(BudgetSharing {
            status,
            answered,
            stop: Mutex::new(Some(stop)),
            thread: Mutex::new(Some(thread)),
        })
    }
}

impl BudgetSharing {
    /// How it goes.
    pub fn status(&self) -> ShareStatus {
        self.status.lock().clone()
    }

    /// Waits until the other replicas have been heard once more, or the time is over; whether they
    /// have. To be made before what is tried again, so that no answer is missed.
    pub fn next_answer(&self) -> watch::Receiver<u64> {
        let mut answered = self.answered.clone();
        answered.mark_unchanged();
        answered
    }

    /// Gives back what is held and not used, so that others need not wait for it. Blocks for a
    /// second at most when the server is away.
    pub fn leave(&self) {
        drop(self.stop.lock().take());
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that shares budgets has panicked");
        }
    }
}

impl fmt::Debug for BudgetSharing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BudgetSharing")
            .field("status", &*self.status.lock())
            .finish_non_exhaustive()
    }
}

/// How long the server may take to answer.
const TIMEOUT: Duration = Duration::from_secs(1);
