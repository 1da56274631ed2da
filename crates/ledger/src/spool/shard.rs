//! One line of segments. Each relay thread has one to itself, so that its lock is free.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use uuid::Uuid;

use super::file::SegmentFile;
use super::folder::SegmentName;
use crate::frame;
use crate::record::{Begin, Settlement};

/// Bytes of held frames that are written at once, while a relay thread may wait.
const CHUNK: usize = 64 * 1024;

/// Bytes of a segment from which it is worth to take another while nothing is written.
const RESTING: u64 = 64 * 1024;

/// What a spool may take, and what it has taken.
#[derive(Debug)]
pub(crate) struct Room {
    /// Bytes that all segments may have.
    pub(crate) most_on_disk: u64,
    /// Bytes that all shards may hold in memory.
    pub(crate) most_held: usize,
    /// Bytes in memory.
    pub(crate) held: AtomicUsize,
    /// Bytes in segments.
    pub(crate) on_disk: AtomicU64,
    /// Frames that were taken and are not in the store.
    pub(crate) frames: AtomicU64,
    /// Frames that found no room.
    pub(crate) lost: AtomicU64,
    /// Whether some shard cannot write.
    pub(crate) failing: AtomicBool,
    /// The last error of writing.
    pub(crate) error: Mutex<Option<String>>,
}

/// One line of segments.
#[derive(Debug)]
pub(crate) struct Shard {
    index: u16,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    buffer: Vec<u8>,
    active: Option<Active>,
    next_number: u64,
    /// Whole segments, the oldest first, and where their frames end.
    full: Vec<(SegmentName, u64)>,
    /// Frames that could not be written, in order.
    held: VecDeque<Held>,
}

/// Some whole frames in memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Held {
    pub(crate) bytes: Vec<u8>,
    pub(crate) frames: u64,
}

#[derive(Debug)]
struct Active {
    name: SegmentName,
    file: SegmentFile,
    synced: u64,
}

/// What a shard has on disk.
#[derive(Debug)]
pub(crate) struct Written {
    /// Segments and where their frames end, the oldest first.
    pub(crate) segments: Vec<(SegmentName, u64)>,
    /// Whether the last of them is still written to.
    pub(crate) last_is_active: bool,
    /// The oldest frames in memory. While there are any, nothing is added to the segments.
    pub(crate) held: Option<Held>,
}

impl Shard {
    pub(crate) fn new(index: u16) -> Self {
        Self {
            index,
            inner: Mutex::default(),
        }
    }

    /// Takes the beginning of a request.
    pub(crate) fn begin(&self, begin: &Begin<'_>, room: &Room) {
        let mut inner = self.inner.lock();
        let fits = frame::encode_begin(&mut inner.buffer, begin);
        // The last quarter is for ends: one end lost is worse than one beginning.
        inner.take(fits, room, room.most_held / 4 * 3);
    }

    /// Takes the end of a request.
    pub(crate) fn settle(&self, id: Uuid, end: &Settlement<'_>, room: &Room) {
        let mut inner = self.inner.lock();
        let fits = frame::encode_settle(&mut inner.buffer, id, end);
        inner.take(fits, room, room.most_held);
    }

    /// Opens the first segment, or another when the present one has `most` bytes or is unusable.
    /// A shard that holds frames takes another in any case: a file that takes no more may be what
    /// fills the disk, and is soon deleted then. So does one that rests, which gives back what the
    /// file takes of memory and disk. `ingested`: how far a segment is in the store.
    pub(crate) fn rotate(
        &self,
        folder: &Path,
        process: Uuid,
        most: u64,
        ingested: impl Fn(SegmentName) -> u64,
    ) -> io::Result<bool> {
        let (number, is_holding) = {
            let inner = self.inner.lock();
            let is_holding = !inner.held.is_empty();
            let most = if is_holding { 1 } else { most };
            let is_kept = |active: &Active| {
                let written = active.file.written();
                let rests = active.file.rests() && written == ingested(active.name);
                written < most && !(rests && written >= RESTING)
            };
            if inner.active.as_ref().is_some_and(is_kept) {
                return Ok(false);
            }
            (inner.next_number, is_holding)
        };
        let name = SegmentName {
            process,
            shard: self.index,
            number,
        };
        // Opened without the lock: it may take long.
        // What room is left on a full disk is for others.
        let mapped = if is_holding { 0 } else { most };
        let active = Active {
            name,
            file: SegmentFile::create(&name.path(folder), mapped)?,
            synced: 0,
        };
        let full = {
            let mut inner = self.inner.lock();
            inner.next_number = number + 1;
            let full = inner.active.replace(active);
            if let Some(full) = &full {
                let whole = (full.name, full.file.written());
                inner.full.push(whole);
            }
            full
        };
        if let Some(mut full) = full {
            full.file.unmap()?;
            // What is in the store needs no other place.
            if ingested(full.name) < full.file.written() {
                full.file.file().sync_data()?;
            }
        }
        Ok(true)
    }

    /// Tries to write what is held; `true` when nothing is held any more.
    pub(crate) fn write_held(&self, room: &Room) -> bool {
        loop {
            let mut inner = self.inner.lock();
            let Some(held) = inner.held.pop_front() else {
                return true;
            };
            if !inner.write(&held.bytes, room) {
                inner.held.push_front(held);
                return false;
            }
            room.held.fetch_sub(held.bytes.len(), Ordering::Relaxed);
        }
    }

    /// Drops the oldest held frames after the store has taken them; more may have come behind them
    /// meanwhile. Only the thread that calls [`write_held`](Self::write_held) may call this.
    pub(crate) fn drop_held(&self, taken: &Held, room: &Room) {
        let mut inner = self.inner.lock();
        let bytes = taken.bytes.len();
        if let Some(oldest) = inner.held.front_mut() {
            oldest.bytes.drain(..bytes);
            oldest.frames -= taken.frames;
            if oldest.bytes.is_empty() {
                inner.held.pop_front();
            }
            room.held.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    /// Whether something is in memory only.
    pub(crate) fn is_holding(&self) -> bool {
        !self.inner.lock().held.is_empty()
    }

    /// Whether there is a file to write to.
    pub(crate) fn is_writable(&self) -> bool {
        self.inner.lock().active.is_some()
    }

    /// What is on disk, and of what is not, the oldest part.
    pub(crate) fn written(&self) -> Written {
        let inner = self.inner.lock();
        let mut segments = inner.full.clone();
        if let Some(active) = &inner.active {
            segments.push((active.name, active.file.written()));
        }
        Written {
            segments,
            last_is_active: inner.active.is_some(),
            held: inner.held.front().cloned(),
        }
    }

    /// Forgets a segment whose file is gone.
    pub(crate) fn forget(&self, name: SegmentName) {
        let mut inner = self.inner.lock();
        inner.full.retain(|(full, _)| *full != name);
        if inner.active.as_ref().is_some_and(|a| a.name == name) {
            inner.active = None;
        }
    }

    /// Makes room ready for the frames that come next.
    pub(crate) fn make_ready(&self) {
        let ahead = match &mut self.inner.lock().active {
            Some(active) => active.file.ahead(),
            None => None,
        };
        if let Some(ahead) = ahead {
            ahead.make_ready();
        }
    }

    /// Writes the present segment through to the disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        let Some((file, written)) = self.inner.lock().active.as_ref().and_then(|active| {
            let written = active.file.written();
            (active.synced < written).then(|| (Arc::clone(active.file.file()), written))
        }) else {
            return Ok(());
        };
        // Without the lock: a disk takes milliseconds.
        file.sync_data()?;
        if let Some(active) = &mut self.inner.lock().active
            && Arc::ptr_eq(active.file.file(), &file)
        {
            active.synced = written;
        }
        Ok(())
    }
}

impl Inner {
    /// Writes the frame in the buffer, or holds it.
    fn take(&mut self, fits: bool, room: &Room, most_held: usize) {
        if !fits {
            room.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        // Behind what is held, so that the order stays.
        if self.held.is_empty() {
            let buffer = std::mem::take(&mut self.buffer);
            let written = self.write(&buffer, room);
            self.buffer = buffer;
            if written {
                room.frames.fetch_add(1, Ordering::Relaxed);
                return;
            }
        }
        let length = self.buffer.len();
        if room.held.load(Ordering::Relaxed) + length > most_held {
            room.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        match self.held.back_mut() {
            Some(last) if last.bytes.len() + length <= CHUNK => {
                last.bytes.extend_from_slice(&self.buffer);
                last.frames += 1;
            }
            _ => self.held.push_back(Held {
                bytes: self.buffer.clone(),
                frames: 1,
            }),
        }
        room.held.fetch_add(length, Ordering::Relaxed);
        room.frames.fetch_add(1, Ordering::Relaxed);
    }

    /// Appends all of the bytes or nothing.
    fn write(&mut self, bytes: &[u8], room: &Room) -> bool {
        let length = bytes.len() as u64;
        let result = match &mut self.active {
            None => Err(io::Error::other("the spool has no file")),
            Some(_) if room.on_disk.load(Ordering::Relaxed) + length > room.most_on_disk => {
                Err(io::Error::other("the spool has reached its size"))
            }
            Some(active) => active.file.append(bytes),
        };
        match result {
            Ok(()) => {
                room.on_disk.fetch_add(length, Ordering::Relaxed);
                true
            }
            Err(error) => {
                room.failing.store(true, Ordering::Relaxed);
                *room.error.lock() = Some(format!("spool: {error}"));
                // A file with half a frame that cannot be cut is written no more.
                if let Some(active) = &self.active
                    && active.file.is_torn()
                {
                    self.full.push((active.name, active.file.written()));
                    self.active = None;
                }
                false
            }
        }
    }
}
