//! The ledger as its callers see it.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use uuid::Uuid;

use crate::reader::Reader;
use crate::record::{Begin, Estimate, Settlement, outcome};
use crate::spool::folder;
use crate::spool::shard::{Room, Shard};
use crate::status::Status;
use crate::store::Connect;
use crate::writer::{Command, Writer};

/// How the ledger works.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// The folder of the spool, on a local disk. It is made if it is missing.
    pub folder: PathBuf,
    /// Lines of segments: as many as there are threads that take requests.
    pub shards: u16,
    /// When a segment is closed and another begun, in bytes. So much is reserved for each shard.
    pub segment_bytes: u64,
    /// What all segments may take on the disk, in bytes.
    pub most_spool_bytes: u64,
    /// What is held in memory while the spool cannot be written, in bytes.
    pub most_memory_bytes: usize,
    /// How often frames are brought from the spool into the store.
    pub ingest_interval: Duration,
    /// How often what is in the spool only is written through to the disk. A loss of power costs
    /// at most this; the death of the process costs nothing. `None` leaves it to the system.
    pub sync_interval: Option<Duration>,
    /// How often to look for what dead processes left in the folder.
    pub claim_interval: Duration,
}

/// Why the ledger does not open. A store that is away is no reason.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The spool's folder cannot be used.
    #[error("the ledger's folder {} cannot be used", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The system gave no thread.
    #[error("cannot start the ledger's thread")]
    Thread(#[source] io::Error),
}

/// Takes one record per request. Dropping it brings what it can into the store; the rest stays in
/// the spool for the next process.
#[derive(Debug)]
pub struct Ledger {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    thread: Option<JoinHandle<()>>,
}

/// A request that has begun. Dropped without [`settle`](Self::settle), it is settled as
/// `abandoned`, with its estimate.
#[derive(Debug)]
pub struct Entry {
    shared: Arc<Shared>,
    shard: usize,
    id: Uuid,
    estimate: Estimate,
    settled: bool,
}

/// What relay threads, entries and the writer share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) process: Uuid,
    pub(crate) settings: Settings,
    pub(crate) connect: Arc<dyn Connect>,
    pub(crate) shards: Box<[Shard]>,
    pub(crate) room: Room,
    pub(crate) open: AtomicU64,
    pub(crate) health: Health,
    /// Held while an entry may still write.
    _lock: File,
}

/// What the writer says of itself.
#[derive(Debug, Default)]
pub(crate) struct Health {
    pub(crate) backlog_bytes: AtomicU64,
    pub(crate) store_ok: AtomicBool,
    pub(crate) last_ingested_unix_ms: AtomicU64,
    pub(crate) damaged: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) buried: AtomicU64,
    pub(crate) error: Mutex<Option<String>>,
}

impl Settings {
    /// The defaults with a spool in `folder`.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        let threads = std::thread::available_parallelism().map_or(4, usize::from);
        Self {
            folder: folder.into(),
            shards: u16::try_from(threads.clamp(1, 64)).unwrap_or(1),
            // Reserved for each shard; some nine thousand requests.
            segment_bytes: 4 << 20,
            // Some four million requests.
            most_spool_bytes: 4 << 30,
            most_memory_bytes: 64 << 20,
            ingest_interval: Duration::from_millis(200),
            sync_interval: Some(Duration::from_secs(1)),
            claim_interval: Duration::from_secs(15),
        }
    }
}

impl Ledger {
    /// Opens the spool and begins to bring what is in it into the store. The store is reached from
    /// a thread of the ledger's own, now or as soon as it can be.
    ///
    /// # Errors
    /// [`OpenError`] when the folder cannot be used or no thread can be started.
    pub fn open(settings: Settings, connect: impl Connect + 'static) -> Result<Self, OpenError> {
        let process = Uuid::now_v7();
        let lock =
            folder::enter(&settings.folder, process).map_err(|source| OpenError::Folder {
                folder: settings.folder.clone(),
                source,
            })?;
        let shards: Box<[_]> = (0..settings.shards.max(1)).map(Shard::new).collect();
        let shared = Arc::new(Shared {
            process,
            connect: Arc::new(connect),
            room: Room {
                most_on_disk: settings.most_spool_bytes,
                most_held: settings.most_memory_bytes,
                held: AtomicUsize::new(0),
                on_disk: AtomicU64::new(0),
                frames: AtomicU64::new(0),
                lost: AtomicU64::new(0),
                failing: AtomicBool::new(false),
                error: Mutex::default(),
            },
            settings,
            shards,
            open: AtomicU64::new(0),
            health: Health::default(),
            _lock: lock,
        });
        let (commands, received) = mpsc::channel();
        let mut writer = Writer::new(Arc::clone(&shared));
        // The first requests find open files.
        writer.tend_spool();
        let thread = std::thread::Builder::new()
            .name("ledger".into())
            .spawn(move || writer.run(&received))
            .map_err(OpenError::Thread)?;
        Ok(Self {
            shared,
            commands,
            thread: Some(thread),
        })
    }

    /// Notes that a request begins. After this call the death of the process does not lose it.
    pub fn begin(&self, begin: &Begin<'_>) -> Entry {
        let shard = shard_of_thread(self.shared.shards.len());
        self.shared.open.fetch_add(1, Ordering::Relaxed);
        self.shared.shards[shard].begin(begin, &self.shared.room);
        Entry {
            shared: Arc::clone(&self.shared),
            shard,
            id: begin.id,
            estimate: begin.estimate,
            settled: false,
        }
    }

    /// How the ledger is. Cheap enough for every scrape of metrics.
    pub fn status(&self) -> Status {
        let (room, health) = (&self.shared.room, &self.shared.health);
        // It ends before the ledger only by a panic.
        let has_writer = self
            .thread
            .as_ref()
            .is_some_and(|thread| !thread.is_finished());
        let spool_ok = !room.failing.load(Ordering::Relaxed);
        let store_ok = has_writer && health.store_ok.load(Ordering::Relaxed);
        let spool_error = room.error.lock().clone();
        let store_error = health.error.lock().clone();
        let last = health.last_ingested_unix_ms.load(Ordering::Relaxed);
        Status {
            backlog_frames: room.frames.load(Ordering::Relaxed),
            backlog_bytes: health.backlog_bytes.load(Ordering::Relaxed),
            store_ok,
            spool_ok,
            // What is wrong now before what was.
            last_error: if spool_ok {
                store_error.or(spool_error)
            } else {
                spool_error.or(store_error)
            },
            last_ingested_unix_ms: (last > 0).then_some(last),
            lost: room.lost.load(Ordering::Relaxed),
            damaged_bytes: health.damaged.load(Ordering::Relaxed),
            refused: health.refused.load(Ordering::Relaxed),
            buried: health.buried.load(Ordering::Relaxed),
            open: self.shared.open.load(Ordering::Relaxed),
        }
    }

    /// Brings everything that was taken before this call into the store, waiting for at most
    /// `limit`. Whether that was done. It blocks, and is for tests and the end of a process.
    pub fn flush(&self, limit: Duration) -> bool {
        let (reply, done) = mpsc::channel();
        self.commands.send(Command::Flush(reply)).is_ok()
            && done.recv_timeout(limit).unwrap_or(false)
    }

    /// Questions to the same store, over a connection of their own.
    pub fn reader(&self) -> Reader {
        Reader::over(Arc::clone(&self.shared.connect))
    }

    /// The id of this process in its records.
    pub fn process(&self) -> Uuid {
        self.shared.process
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        drop(self.commands.send(Command::Stop));
        if let Some(thread) = self.thread.take() {
            // It has nothing to say: what it could not do is in the spool.
            drop(thread.join());
        }
    }
}

impl Entry {
    /// The request's id.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Notes how the request ended. After this call the death of the process does not lose it.
    pub fn settle(mut self, end: &Settlement<'_>) {
        self.write(end);
    }

    fn write(&mut self, end: &Settlement<'_>) {
        self.settled = true;
        self.shared.shards[self.shard].settle(self.id, end, &self.shared.room);
        // Whoever reads that none is open has to find the end in the spool.
        self.shared.open.fetch_sub(1, Ordering::Release);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if !self.settled {
            let end = self.estimate.as_settlement(outcome::ABANDONED);
            self.write(&end);
        }
    }
}

/// The calling thread's own shard, as long as there are as many as threads.
fn shard_of_thread(shards: usize) -> usize {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    thread_local! {
        static MINE: u16 = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    usize::from(MINE.with(|mine| *mine)) % shards
}
