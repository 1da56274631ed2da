//! A thread beside the requests: it follows changes of the store of keys, so that a revoked key
//! opens nothing within a second on every replica, and restores budgets that are new.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use bailian_ledger::Reader;
use bailian_tenants::budget::Budgets;
use bailian_tenants::store::Store;
use bailian_tenants::{KeyId, Live, Rates};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::health::StoreHealth;
use super::restore;
use super::steady::SteadyClock;

/// How often the store is asked whether something changed.
const EVERY: Duration = Duration::from_millis(250);
/// Every so many times what is no longer needed is forgotten.
const TIDY_EVERY: u32 = 240;
/// So many owners of things of the service are forgotten in one step, and so many steps are made at
/// once: writers of the store wait for a step.
const FORGOTTEN_AT_ONCE: u32 = 1_000;
const STEPS: u32 = 20;

type Cuts = Arc<Mutex<HashMap<KeyId, CancellationToken>>>;

/// Ends its thread when it is dropped.
#[derive(Debug)]
pub(super) struct Keeper {
    stop: Option<Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// What the thread works with.
pub(super) struct Work {
    pub(super) live: Arc<Live>,
    pub(super) store: Arc<dyn Store>,
    pub(super) budgets: Budgets,
    pub(super) rates: Rates,
    pub(super) reader: Reader,
    pub(super) cuts: Cuts,
    pub(super) store_health: StoreHealth,
    pub(super) clock: SteadyClock,
    pub(super) keep_days: Option<u32>,
}

impl Work {
    fn round(&mut self) {
        self.clock.tell();
        let now = self.clock.now();
        follow(&self.live, &self.cuts, &self.store_health, now.monotonic);
        if !self.budgets.due(&self.live.current(), now).is_empty() {
            restore(
                &self.budgets,
                &self.rates,
                &self.live,
                &mut self.reader,
                now,
            );
        }
    }

    fn tidy(&mut self) {
        let directory = self.live.current();
        self.budgets.retain(&directory);
        self.cuts
            .lock()
            .retain(|key, _| directory.caller_of(*key).is_some());
        self.forget_objects();
        let Some(days) = self.keep_days else { return };
        if let Err(error) = self.reader.retain_days(days, self.clock.unix_millis()) {
            tracing::warn!(%error, "old records could not be deleted");
        }
    }
}

impl Work {
    /// Whose the things were that the service has long forgotten.
    fn forget_objects(&self) {
        let now = self.clock.now().wall;
        for _ in 0..STEPS {
            match self.store.forget_objects(now, FORGOTTEN_AT_ONCE) {
                Ok(FORGOTTEN_AT_ONCE..) => {}
                Ok(_) => return,
                Err(error) => {
                    tracing::warn!(%error, "old owners could not be forgotten");
                    return;
                }
            }
        }
    }
}

impl Keeper {
    pub(super) fn start(mut work: Work) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("keys".into())
            .spawn(move || {
                let mut rounds = 0_u32;
                while stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                    work.round();
                    rounds = rounds.wrapping_add(1);
                    if rounds.is_multiple_of(TIDY_EVERY) {
                        work.tidy();
                    }
                }
            })?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It only sleeps and reads; a panic of its was logged.
            drop(thread.join());
        }
    }
}

/// Takes over what changed in the store, and ends the streams of keys that were revoked so.
pub(super) fn follow(
    live: &Live,
    cuts: &Mutex<HashMap<KeyId, CancellationToken>>,
    health: &StoreHealth,
    now: Instant,
) {
    let refreshed = live.refresh();
    health.note(now, refreshed.as_ref().map(drop));
    let Ok(Some(refreshed)) = refreshed else {
        return;
    };
    for unusable in refreshed.unusable {
        tracing::warn!(id = %unusable.id, "a row of the store of keys cannot be understood and opens nothing");
    }
    let mut cuts = cuts.lock();
    for key in refreshed.cut {
        if let Some(token) = cuts.remove(&key) {
            token.cancel();
        }
    }
}
