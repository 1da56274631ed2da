//! The thread that brings frames from the spool into the store.

mod ingest;
mod merge;

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use self::ingest::{LEAST_BATCH, MOST_BATCH};
use crate::ledger::Shared;
use crate::spool::folder::{self, Estate, SegmentName};
use crate::spool::segment;
use crate::spool::shard::Shard;
use crate::store::{Store, StoreError};

/// The first and the longest wait before a store that failed is tried again.
const WAITS: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(2)];

/// How long frames are ingested before the spool is looked after again.
const STRETCH: Duration = Duration::from_secs(1);

/// The most characters of an error that are shown.
const MOST_ERROR: usize = 300;

/// What the thread is told.
#[derive(Debug)]
pub(crate) enum Command {
    /// To try at once, and to say whether nothing is left.
    Flush(mpsc::Sender<bool>),
    /// To end.
    Stop,
}

/// The thread's own state.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    store: Option<Box<dyn Store>>,
    /// How far segments are known to be in the store.
    ingested: HashMap<SegmentName, u64>,
    /// Those of which the present connection has said so, or of which it was told.
    confirmed: HashSet<SegmentName>,
    estates: Vec<Estate>,
    /// Bytes of frames that the next transaction takes.
    batch: usize,
    /// Not to try the store before; and how long to wait when it fails again.
    next_try: Option<Instant>,
    wait: Duration,
    /// When to look after the spool again; and whether that left something to be ingested.
    pause_at: Instant,
    has_more: bool,
    next_sync: Instant,
    next_claim: Instant,
    told_of_loss: bool,
    told_of_spool: bool,
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let now = Instant::now();
        Self {
            shared,
            store: None,
            ingested: HashMap::new(),
            confirmed: HashSet::new(),
            estates: Vec::new(),
            batch: MOST_BATCH,
            next_try: None,
            wait: WAITS[0],
            pause_at: now,
            has_more: false,
            next_sync: now,
            next_claim: now,
            told_of_loss: false,
            told_of_spool: false,
        }
    }

    pub(crate) fn run(mut self, commands: &mpsc::Receiver<Command>) {
        let interval = self.shared.settings.ingest_interval;
        loop {
            self.tick();
            let wait = if self.has_more {
                Duration::ZERO
            } else {
                interval
            };
            match commands.recv_timeout(wait) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Command::Flush(reply)) => {
                    self.tick_to_end();
                    // Whoever asked may have given up waiting.
                    let _ = reply.send(self.is_done());
                }
                Ok(Command::Stop) | Err(RecvTimeoutError::Disconnected) => {
                    self.end();
                    return;
                }
            }
        }
    }

    /// Everything that there is, at once.
    fn tick_to_end(&mut self) {
        self.next_try = None;
        self.next_claim = Instant::now();
        self.tick();
        while self.has_more {
            self.tick();
        }
    }

    fn tick(&mut self) {
        self.tend_spool();
        let now = Instant::now();
        if now >= self.next_claim {
            self.next_claim = now + self.shared.settings.claim_interval;
            self.claim();
        }
        self.has_more = false;
        if self.next_try.is_none_or(|next| now >= next) {
            self.pause_at = now + STRETCH;
            match self.ingest() {
                Ok(()) => self.note_success(),
                Err(error) => self.note_failure(&error),
            }
        }
        self.count_backlog();
        if let Some(interval) = self.shared.settings.sync_interval
            && now >= self.next_sync
        {
            self.next_sync = now + interval;
            self.sync();
        }
        // Behind the sync, which makes pages that were ready wait again.
        for shard in &self.shared.shards {
            shard.make_ready();
        }
    }

    /// Opens segments where they are missing or full, and writes what is held.
    pub(crate) fn tend_spool(&mut self) {
        let shared = Arc::clone(&self.shared);
        let settings = &shared.settings;
        // Whole segments are deleted, begun ones are not: they must not fill the spool.
        let share = settings.most_spool_bytes / (2 * shared.shards.len() as u64);
        let most = settings.segment_bytes.min(share).max(1);
        let (mut opened, mut all_well) = (false, true);
        for shard in &shared.shards {
            let ingested = |name| self.ingested.get(&name).copied().unwrap_or(0);
            match shard.rotate(&settings.folder, shared.process, most, ingested) {
                Ok(is_new) => opened |= is_new,
                Err(error) => {
                    all_well &= shard.is_writable();
                    self.note_spool_error(&error);
                }
            }
            all_well &= shard.write_held(&shared.room);
        }
        if opened && let Err(error) = folder::sync(&settings.folder) {
            self.note_spool_error(&error);
        }
        shared.room.failing.store(!all_well, Ordering::Relaxed);
        // A write that failed has said so to the status, and not to the log.
        let was_told = std::mem::replace(&mut self.told_of_spool, !all_well);
        if was_told && all_well {
            tracing::info!("the ledger's spool can be written again");
        }
        if !all_well && !was_told {
            tracing::warn!(
                error = shared.room.error.lock().as_deref(),
                "the ledger's spool cannot be written; records are held in memory"
            );
        }
        let lost = shared.room.lost.load(Ordering::Relaxed);
        if lost > 0 && !self.told_of_loss {
            self.told_of_loss = true;
            tracing::error!(
                lost,
                "the ledger loses records: neither spool nor memory have room"
            );
        }
    }

    fn sync(&self) {
        // What is in the store needs no other place.
        if self.shared.health.backlog_bytes.load(Ordering::Relaxed) == 0 {
            return;
        }
        for shard in &self.shared.shards {
            if let Err(error) = shard.sync() {
                self.note_spool_error(&error);
            }
        }
    }

    fn claim(&mut self) {
        let own = self.shared.process;
        let known =
            |process| process == own || self.estates.iter().any(|held| held.process == process);
        match folder::claim(&self.shared.settings.folder, known) {
            Ok(estates) => {
                for estate in estates {
                    for segment in &estate.segments {
                        let path = segment.path(&self.shared.settings.folder);
                        if let Err(error) = segment::trim(&path) {
                            self.note_spool_error(&error);
                        }
                        let bytes = path.metadata().map_or(0, |metadata| metadata.len());
                        self.shared.room.on_disk.fetch_add(bytes, Ordering::Relaxed);
                    }
                    self.estates.push(estate);
                }
            }
            Err(error) => self.note_spool_error(&error),
        }
    }

    /// A last try. What cannot be brought into the store stays in the spool.
    fn end(&mut self) {
        // Asked before, so that the end of the last entry is among what is ingested.
        let nobody_writes = self.shared.open.load(Ordering::Acquire) == 0;
        self.tick_to_end();
        self.sync();
        let held = self.shared.shards.iter().any(Shard::is_holding);
        if held {
            tracing::error!("the ledger ends with records that could be written nowhere");
        }
        if nobody_writes
            && self.is_done()
            && let Err(error) = self.leave()
        {
            self.note_failure(&error);
        }
    }

    /// Whether all that there was when the last tick began is in the store.
    fn is_done(&self) -> bool {
        self.estates.is_empty()
            && self.next_try.is_none()
            && !self.has_more
            && !self.shared.shards.iter().any(Shard::is_holding)
    }

    fn note_success(&mut self) {
        self.next_try = None;
        self.wait = WAITS[0];
        if !self.shared.health.store_ok.swap(true, Ordering::Relaxed) {
            tracing::info!("the ledger's store takes records");
        }
    }

    fn note_failure(&mut self, error: &StoreError) {
        // What the connection has done is not known: it is asked for on another.
        self.store = None;
        self.has_more = false;
        self.confirmed.clear();
        self.next_try = Some(Instant::now() + self.wait);
        self.wait = (self.wait * 2).min(WAITS[1]);
        self.batch = (self.batch / 2).max(LEAST_BATCH);
        let text = describe(error);
        let health = &self.shared.health;
        let first = health.error.lock().replace(text.clone()).is_none();
        if health.store_ok.swap(false, Ordering::Relaxed) || first {
            tracing::warn!(
                error = text,
                "the ledger's store fails; the spool keeps records"
            );
        }
    }

    fn note_spool_error(&self, error: &io::Error) {
        *self.shared.room.error.lock() = Some(format!("spool: {error}"));
    }
}

/// An error and its causes in one line.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    let end = text.floor_char_boundary(MOST_ERROR);
    text.truncate(end);
    text
}

/// For status only: nothing depends on it.
fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
}
