//! What requests said and were answered, for tenants that asked to have it kept: redacted, within
//! bounds, off the way of requests, and for no longer than was asked.

mod passing;
mod redact;
mod retain;
mod said;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::time::{Duration, Instant};

use bailian_ledger::{Content, ContentOwner, Reader};
use bailian_tenants::Live;
use uuid::Uuid;

pub(crate) use self::passing::Passing;
use self::redact::Redactor;
use self::said::Passed;
use crate::accounting::SteadyClock;
use crate::config::RedactPattern;

/// The longest request or answer that is kept, in bytes; of a longer one its beginning is.
const MOST_BYTES: usize = 256 * 1024;
/// So much more is looked at, so that nothing stands at the cut in two halves.
const MARGIN: usize = 1024;
/// How much of a stream is looked at, in bytes; frames are mostly not text.
const MOST_STREAM_BYTES: usize = 2 * 1024 * 1024;
/// What all that is coming or waits to be written may take, in bytes.
const MOST_HELD_BYTES: usize = 64 * 1024 * 1024;
/// How many may wait to be written.
const QUEUE: usize = 1024;
/// How many are written in one transaction.
const BATCH: usize = 32;
/// How often what is too old, or nobody's any more, is deleted.
const TIDY_EVERY: Duration = Duration::from_mins(1);

/// Takes content off the way of requests. Its thread ends with the last of those who share it.
#[derive(Debug)]
pub(crate) struct Contents {
    queue: SyncSender<Command>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    held: AtomicUsize,
    kept: AtomicU64,
    dropped: AtomicU64,
}

#[derive(Debug)]
enum Command {
    Keep(Box<Passed>),
    Flush(Sender<()>),
}

/// What the thread works with.
struct Work {
    reader: Reader,
    redactor: Redactor,
    live: Arc<Live>,
    clock: SteadyClock,
    counts: Arc<Counts>,
    /// The store failed last time, and it was told.
    is_failing: bool,
}

/// Why content cannot be kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ContentError {
    #[error("a pattern of what is taken out cannot be used")]
    Pattern(#[source] Box<regex::Error>),
    #[error("cannot start the thread that keeps content")]
    Thread(#[source] std::io::Error),
}

impl Contents {
    /// Starts the thread.
    pub(crate) fn start(
        reader: Reader,
        own: Vec<RedactPattern>,
        live: Arc<Live>,
        clock: SteadyClock,
    ) -> Result<Arc<Self>, ContentError> {
        let counts = Arc::<Counts>::default();
        let redactor =
            Redactor::new(own).map_err(|error| ContentError::Pattern(Box::new(error)))?;
        let mut work = Work {
            reader,
            redactor,
            live,
            clock,
            counts: Arc::clone(&counts),
            is_failing: false,
        };
        let (queue, received) = mpsc::sync_channel(QUEUE);
        std::thread::Builder::new()
            .name("content".into())
            .spawn(move || work.run(&received))
            .map_err(ContentError::Thread)?;
        Ok(Arc::new(Self { queue, counts }))
    }

    /// Contents that were written.
    pub(crate) fn kept(&self) -> u64 {
        self.counts.kept.load(Ordering::Relaxed)
    }

    /// Contents that found no room, or that the store did not take.
    pub(crate) fn dropped(&self) -> u64 {
        self.counts.dropped.load(Ordering::Relaxed)
    }

    /// Waits until what came before is written, for at most `limit`. It blocks.
    pub(crate) fn flush(&self, limit: Duration) -> bool {
        let (reply, done) = mpsc::channel();
        self.queue.try_send(Command::Flush(reply)).is_ok() && done.recv_timeout(limit).is_ok()
    }

    fn keep(&self, passed: Passed) {
        if self
            .queue
            .try_send(Command::Keep(Box::new(passed)))
            .is_err()
        {
            self.count_dropped();
        }
    }

    fn count_dropped(&self) {
        self.counts.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

impl Work {
    fn run(&mut self, received: &Receiver<Command>) {
        let mut next = Instant::now();
        loop {
            let now = Instant::now();
            if now >= next {
                self.tidy();
                next = now + TIDY_EVERY;
            }
            match received.recv_timeout(next.saturating_duration_since(now)) {
                Ok(command) => self.take(command, received),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Writes what has come, and answers those who waited for it.
    fn take(&mut self, first: Command, received: &Receiver<Command>) {
        let mut contents = Vec::new();
        let mut next = Some(first);
        let mut waiting = None;
        while let Some(command) = next.take() {
            match command {
                Command::Keep(passed) => contents.push(passed.into_content(&self.redactor)),
                Command::Flush(reply) => {
                    waiting = Some(reply);
                    break;
                }
            }
            if contents.len() < BATCH {
                next = received.try_recv().ok();
            }
        }
        if !contents.is_empty() {
            self.write(&contents);
        }
        if let Some(reply) = waiting {
            // Whoever asked may have stopped waiting.
            let _ = reply.send(());
        }
    }

    fn write(&mut self, contents: &[Content]) {
        let count = contents.len() as u64;
        match self.reader.keep(contents) {
            Ok(()) => {
                self.is_failing = false;
                self.counts.kept.fetch_add(count, Ordering::Relaxed);
            }
            Err(error) => {
                self.counts.dropped.fetch_add(count, Ordering::Relaxed);
                self.tell("content could not be kept", &error);
            }
        }
    }

    fn tidy(&mut self) {
        let directory = self.live.current();
        let now = self.clock.unix_millis();
        if let Err(error) = retain::retain(&mut self.reader, &directory, now) {
            self.tell("old content could not be deleted", &error);
        }
    }

    /// Says once that the store fails, until it takes something again.
    fn tell(&mut self, what: &str, error: &bailian_ledger::StoreError) {
        if !std::mem::replace(&mut self.is_failing, true) {
            tracing::warn!(%error, "{what}");
        }
    }
}

/// A part of what all content together may take while it is held.
#[derive(Debug)]
struct Held {
    counts: Arc<Counts>,
    bytes: usize,
}

impl Held {
    /// Takes more; whether there was room.
    fn grow(&mut self, more: usize) -> bool {
        let grown = self
            .counts
            .held
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
                held.checked_add(more)
                    .filter(|held| *held <= MOST_HELD_BYTES)
            });
        if grown.is_ok() {
            self.bytes += more;
        }
        grown.is_ok()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.counts.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// An empty content of a request.
fn content_of(id: Uuid, unix_millis: u64, caller: &bailian_tenants::Caller) -> Content {
    let owner = ContentOwner::new(
        caller.tenant_id().to_string(),
        caller.project_id().to_string(),
        caller.key_id().to_string(),
    );
    Content::new(id, unix_millis, owner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_delays_nobody_and_what_finds_no_room_is_counted() {
        // Nobody takes anything out of the queue.
        let (queue, _received) = mpsc::sync_channel(1);
        let counts = Arc::<Counts>::default();
        let contents = Contents {
            queue,
            counts: Arc::clone(&counts),
        };
        for _ in 0..3 {
            let mut held = Held {
                counts: Arc::clone(&counts),
                bytes: 0,
            };
            assert!(held.grow(MOST_HELD_BYTES / 2));
            contents.keep(Passed::of_text("你好", held));
        }
        assert_eq!(contents.dropped(), 2);
        // What was dropped holds nothing any more, what waits does.
        let mut held = Held {
            counts: Arc::clone(&counts),
            bytes: 0,
        };
        assert!(!held.grow(MOST_HELD_BYTES / 2 + 1));
        assert!(held.grow(MOST_HELD_BYTES / 2));
        assert!(!contents.flush(Duration::ZERO));
    }
}
