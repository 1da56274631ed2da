//! What the writer does with the store.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use uuid::Uuid;

use super::merge::merge;
use super::{Writer, describe, unix_ms};
use crate::frame;
use crate::spool::folder::{self, SegmentName};
use crate::spool::segment::{self, Batch, End};
use crate::spool::shard::Shard;
use crate::store::{Change, Span, Store, StoreError};

/// The most bytes of frames that one transaction takes: a thousand requests. A store that fails is given
/// fewer, so that one that is too slow for so many in its time still gets on.
pub(super) const MOST_BATCH: usize = 256 * 1024;

/// The fewest: one frame always fits.
pub(super) const LEAST_BATCH: usize = frame::MOST_FRAME;

/// How much more the next transaction is given after one that went well: slowly, as one that is too
/// large may cost seconds.
const GROWTH: usize = 4 * 1024;

/// Where records go that the store refuses.
const REFUSED: &str = "refused.jsonl";

impl Writer {
    /// Brings what is in the spool by now into the store, for a while.
    pub(super) fn ingest(&mut self) -> Result<(), StoreError> {
        let mut failed = None;
        while let Some(index) = self.estates.len().checked_sub(1) {
            if let Err(error) = self.settle_estate(index) {
                // A file that cannot be read must not keep this process' own records out.
                failed = Some(error);
                break;
            }
            if self.has_more {
                break;
            }
        }
        let shared = Arc::clone(&self.shared);
        for shard in &shared.shards {
            self.ingest_shard(shard)?;
        }
        // So that a store that is away is noticed before the first request.
        self.store()?;
        failed.map_or(Ok(()), Err)
    }

    /// Whether the spool has to be looked after before more is ingested.
    fn is_time_to_pause(&mut self) -> bool {
        let pauses = Instant::now() >= self.pause_at;
        self.has_more |= pauses;
        pauses
    }

    fn settle_estate(&mut self, index: usize) -> Result<(), StoreError> {
        let process = self.estates[index].process;
        while let Some(segment) = self.estates[index].segments.first().copied() {
            self.ingest_segment(segment, End::Dead)?;
            self.estates[index].segments.remove(0);
            if self.is_time_to_pause() {
                return Ok(());
            }
        }
        let buried = self.store()?.bury(process)?;
        let health = &self.shared.health;
        health.buried.fetch_add(buried, Ordering::Relaxed);
        if buried > 0 {
            tracing::warn!(
                %process,
                requests = buried,
                "a process died with requests in flight; they are recorded with their estimates"
            );
        }
        folder::leave(&self.shared.settings.folder, process)
            .or_else(gone_is_well)
            .map_err(unavailable)?;
        self.estates.remove(index);
        Ok(())
    }

    fn ingest_shard(&mut self, shard: &Shard) -> Result<(), StoreError> {
        loop {
            let written = shard.written();
            let active = if written.last_is_active {
                written.segments.last().map(|(name, _)| *name)
            } else {
                None
            };
            for (name, end) in written.segments {
                if Some(name) == active {
                    self.ingest_part(name, End::Living(end))?;
                } else {
                    self.ingest_segment(name, End::Living(end))?;
                    shard.forget(name);
                }
                // The last segment is the one that is written to: it is not worth a pause.
                if Some(name) != active && self.is_time_to_pause() {
                    return Ok(());
                }
            }
            // The disk takes nothing, the store may: behind what is on disk, so that order stays.
            let Some(held) = written.held else {
                return Ok(());
            };
            let batch = segment::split(&held.bytes, 0, true);
            self.apply(batch, self.shared.process, None)?;
            self.count_ingested(held.frames);
            shard.drop_held(&held, &self.shared.room);
            if self.is_time_to_pause() {
                return Ok(());
            }
        }
    }

    /// Brings a segment that grows no more into the store, and deletes it.
    fn ingest_segment(&mut self, name: SegmentName, end: End) -> Result<(), StoreError> {
        let damaged = self.ingest_part(name, end)?;
        let path = name.path(&self.shared.settings.folder);
        let length = path.metadata().map_or(0, |metadata| metadata.len());
        if damaged {
            fs::rename(&path, path.with_extension("damaged"))
        } else {
            fs::remove_file(&path)
        }
        .or_else(gone_is_well)
        .map_err(unavailable)?;
        self.release(length);
        self.ingested.remove(&name);
        self.confirmed.remove(&name);
        // Names never come again: a line too many in the store does no harm.
        let _ = self.store()?.forget(&name.stem());
        Ok(())
    }

    /// Brings what a segment has into the store; whether some of it is damaged.
    fn ingest_part(&mut self, name: SegmentName, end: End) -> Result<bool, StoreError> {
        let path = name.path(&self.shared.settings.folder);
        let stem = name.stem();
        let mut from = self.confirm(name)?;
        let mut damaged = false;
        loop {
            let batch = match segment::read(&path, from, end, self.batch) {
                Ok(Some(batch)) => batch,
                Ok(None) => return Ok(damaged),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    self.note_missing(name);
                    return Ok(damaged);
                }
                Err(error) => return Err(unavailable(error)),
            };
            if batch.damaged > 0 || batch.not_understood > 0 {
                damaged = true;
                let health = &self.shared.health;
                health.damaged.fetch_add(batch.damaged, Ordering::Relaxed);
                health
                    .refused
                    .fetch_add(batch.not_understood, Ordering::Relaxed);
                tracing::error!(
                    segment = stem,
                    bytes = batch.damaged,
                    frames = batch.not_understood,
                    "a part of the ledger's spool cannot be read; the file is kept"
                );
            }
            let frames = batch.frames();
            let span = Span {
                segment: stem.clone(),
                from,
                to: batch.to,
            };
            self.apply(batch, name.process, Some(&span))?;
            self.batch = (self.batch + GROWTH).min(MOST_BATCH);
            from = span.to;
            self.ingested.insert(name, from);
            if name.process == self.shared.process {
                self.count_ingested(frames);
            }
        }
    }

    /// How far a segment is in the store. After an error the store may have more than is known.
    fn confirm(&mut self, name: SegmentName) -> Result<u64, StoreError> {
        let known = self.ingested.get(&name).copied();
        if let Some(known) = known
            && self.confirmed.contains(&name)
        {
            return Ok(known);
        }
        let stored = self.store()?.ingested(&name.stem())?;
        if name.process == self.shared.process {
            let path = name.path(&self.shared.settings.folder);
            let mut at = known.unwrap_or(0);
            while at < stored
                && let Some(batch) = segment::read(&path, at, End::Living(stored), MOST_BATCH)
                    .map_err(unavailable)?
            {
                self.count_ingested(batch.frames());
                at = batch.to;
            }
        }
        self.ingested.insert(name, stored);
        self.confirmed.insert(name);
        Ok(stored)
    }

    fn apply(
        &mut self,
        batch: Batch,
        process: Uuid,
        span: Option<&Span>,
    ) -> Result<(), StoreError> {
        let changes = merge(batch.entries, process);
        match self.store()?.apply(&changes, span) {
            Err(StoreError::Refused(_)) => self.apply_singly(&changes, span)?,
            done => done?,
        }
        let health = &self.shared.health;
        health
            .last_ingested_unix_ms
            .store(unix_ms(), Ordering::Relaxed);
        // It takes records, however many still wait.
        self.note_success();
        Ok(())
    }

    /// So that one record that the store refuses does not keep the others out.
    fn apply_singly(&mut self, changes: &[Change], span: Option<&Span>) -> Result<(), StoreError> {
        for change in changes {
            match self.store()?.apply(std::slice::from_ref(change), None) {
                Err(StoreError::Refused(error)) => {
                    self.keep_refused(change).map_err(unavailable)?;
                    self.shared.health.refused.fetch_add(1, Ordering::Relaxed);
                    tracing::error!(
                        request_id = %change.record().begin.id,
                        error = describe(&*error),
                        "the ledger's store refuses a record; it is kept in {REFUSED}"
                    );
                }
                done => done?,
            }
        }
        self.store()?.apply(&[], span)
    }

    fn keep_refused(&self, change: &Change) -> io::Result<()> {
        let mut line = serde_json::to_vec(change.record())?;
        line.push(b'\n');
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(self.shared.settings.folder.join(REFUSED))?;
        file.write_all(&line)?;
        file.sync_data()
    }

    /// A file of this process was deleted by somebody else.
    fn note_missing(&self, name: SegmentName) {
        let stem = name.stem();
        *self.shared.health.error.lock() = Some(format!("the spool's file {stem} has disappeared"));
        tracing::error!(
            segment = stem,
            "a file of the ledger's spool has disappeared"
        );
        if name.process == self.shared.process
            && let Some(shard) = self.shared.shards.get(usize::from(name.shard))
        {
            shard.forget(name);
        }
    }

    fn store(&mut self) -> Result<&mut Box<dyn Store>, StoreError> {
        if self.store.is_none() {
            self.store = Some(self.shared.connect.connect()?);
        }
        self.store
            .as_mut()
            .ok_or_else(|| unavailable(io::Error::other("not connected")))
    }

    fn count_ingested(&self, frames: u64) {
        let counter = &self.shared.room.frames;
        let less = |count: u64| Some(count.saturating_sub(frames));
        let _ = counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    fn release(&self, bytes: u64) {
        let on_disk = &self.shared.room.on_disk;
        // A torn tail is on the disk without having been counted.
        let less = |on_disk: u64| Some(on_disk.saturating_sub(bytes));
        let _ = on_disk.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// Says how much is in the spool and not in the store.
    pub(super) fn count_backlog(&self) {
        let folder = &self.shared.settings.folder;
        let mut bytes = self.shared.room.held.load(Ordering::Relaxed) as u64;
        for shard in &self.shared.shards {
            let written = shard.written();
            for (name, end) in &written.segments {
                let ingested = self.ingested.get(name).copied().unwrap_or(0);
                bytes += end.saturating_sub(ingested);
            }
        }
        for name in self.estates.iter().flat_map(|estate| &estate.segments) {
            let length = name.path(folder).metadata().map_or(0, |found| found.len());
            bytes += length.saturating_sub(self.ingested.get(name).copied().unwrap_or(0));
        }
        let backlog = &self.shared.health.backlog_bytes;
        backlog.store(bytes, Ordering::Relaxed);
    }

    /// Deletes the last files of this process. Nobody may write any more.
    pub(super) fn leave(&mut self) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        for shard in &shared.shards {
            for (name, end) in shard.written().segments {
                self.ingest_segment(name, End::Living(end))?;
                shard.forget(name);
            }
        }
        folder::leave(&shared.settings.folder, shared.process)
            .or_else(gone_is_well)
            .map_err(unavailable)
    }
}

fn gone_is_well(error: io::Error) -> io::Result<()> {
    if error.kind() == ErrorKind::NotFound {
        return Ok(());
    }
    Err(error)
}

fn unavailable(error: io::Error) -> StoreError {
    StoreError::Unavailable(Box::new(error))
}
