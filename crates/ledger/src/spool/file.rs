//! A segment that is written to.
//!
//! Its file is mapped into memory where that is safe, so that a request's frames are copied and no
//! system call stands on its way. What is in the map belongs to the system: the death of the process
//! does not lose it. Elsewhere, and where the map has no more room, each frame is one `write`.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{Ordering, compiler_fence};

use super::map::{Map, Pages};
use crate::frame;

/// A file of frames, one behind the other.
#[derive(Debug)]
pub(crate) struct SegmentFile {
    file: Arc<File>,
    /// Its beginning in memory, reserved on the disk and zero where nothing was written.
    map: Option<Map>,
    /// Where its last whole frame ends.
    written: u64,
    /// Where it did when pages to be made ready were last asked for.
    asked_at: Option<u64>,
}

/// Pages to be made ready.
#[derive(Debug)]
pub(crate) struct Ahead {
    pages: Pages,
    from: u64,
    length: u64,
}

/// Bytes ahead of the last frame whose pages are ready: at least, and at most.
const AHEAD: [u64; 2] = [64 << 10, 1 << 20];

impl SegmentFile {
    /// Makes the file, with `mapped` bytes of it in memory if that can be.
    pub(crate) fn create(path: &Path, mapped: u64) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)?;
        let map = Map::reserve(&file, mapped);
        if map.is_none() {
            // Not to leave half of a reservation.
            file.set_len(0)?;
        }
        Ok(Self {
            file: Arc::new(file),
            map,
            written: 0,
            asked_at: None,
        })
    }

    /// The file, for what takes long and needs no lock.
    pub(crate) fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Where its last whole frame ends. Behind it is nothing but zeros.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Whether nothing was written since [`ahead`](Self::ahead) was last called.
    pub(crate) fn rests(&self) -> bool {
        self.asked_at == Some(self.written)
    }

    /// What makes the pages ready that will be written next, twice as many as since the last call.
    pub(crate) fn ahead(&mut self) -> Option<Ahead> {
        let since = match self.asked_at.replace(self.written) {
            Some(from) if from == self.written => return None,
            Some(from) => self.written - from,
            None => 0,
        };
        Some(Ahead {
            pages: self.map.as_ref()?.pages(),
            from: self.written,
            length: since.saturating_mul(2).clamp(AHEAD[0], AHEAD[1]),
        })
    }

    /// Appends whole frames, all or none.
    pub(crate) fn append(&mut self, frames: &[u8]) -> io::Result<()> {
        if let Some(room) = self.room(frames.len()) {
            publish(room, frames);
        } else {
            self.unmap()?;
            if let Err(error) = (&*self.file).write_all(frames) {
                // Half a frame would spoil what comes behind it.
                drop(self.cut());
                return Err(error);
            }
        }
        self.written += frames.len() as u64;
        Ok(())
    }

    /// Whether it has half a frame at its end that could not be cut off.
    pub(crate) fn is_torn(&self) -> bool {
        let length = self.file.metadata().map(|metadata| metadata.len());
        self.map.is_none() && !length.is_ok_and(|length| length == self.written)
    }

    /// Gives back what was reserved and is not used. It can be written to as before.
    pub(crate) fn unmap(&mut self) -> io::Result<()> {
        match self.map.take() {
            Some(_) => self.cut(),
            None => Ok(()),
        }
    }

    /// Ends the file where its last whole frame does, and goes on there.
    fn cut(&self) -> io::Result<()> {
        self.file.set_len(self.written)?;
        (&*self.file).seek(SeekFrom::Start(self.written)).map(drop)
    }

    /// The part of the map that the next `length` bytes take.
    fn room(&mut self, length: usize) -> Option<&mut [u8]> {
        let from = usize::try_from(self.written).ok()?;
        let map = self.map.as_mut()?;
        map.bytes().get_mut(from..from.checked_add(length)?)
    }
}

impl Ahead {
    /// Makes them ready. It takes long, and needs no lock.
    pub(crate) fn make_ready(&self) {
        let bytes = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        self.pages.make_ready(bytes(self.from), bytes(self.length));
    }
}

/// Copies frames into the map, each with its magic last: whoever finds the magic finds the whole
/// frame, however the process died.
fn publish(room: &mut [u8], frames: &[u8]) {
    let mut at = 0;
    while let (Some(frame), Some(room)) = (frame::first(&frames[at..]), room.get_mut(at..)) {
        let (magic, rest) = frame.split_at(frame::MAGIC.len());
        room[magic.len()..frame.len()].copy_from_slice(rest);
        // A dead process has done what stands before this in its code, and nothing behind it.
        compiler_fence(Ordering::SeqCst);
        room[..magic.len()].copy_from_slice(magic);
        at += frame.len();
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::frame::Entry;
    use crate::record::{Begin, Settlement};
    use crate::spool::segment::{self, End};

    /// A beginning and its end.
    fn a_request() -> (Vec<u8>, Vec<u8>) {
        let begin = Begin::new(Uuid::now_v7(), 1_800_000_000_000);
        let (mut first, mut second) = (Vec::new(), Vec::new());
        assert!(frame::encode_begin(&mut first, &begin));
        assert!(frame::encode_settle(
            &mut second,
            begin.id,
            &Settlement::new("completed")
        ));
        (first, second)
    }

    fn read_of_dead(path: &Path) -> (Vec<Entry>, u64) {
        let (mut entries, mut damaged, mut from) = (Vec::new(), 0, 0);
        segment::trim(path).unwrap();
        while let Some(batch) = segment::read(path, from, End::Dead, 1).unwrap() {
            from = batch.to;
            damaged += batch.damaged;
            entries.extend(batch.entries);
        }
        (entries, damaged)
    }

    #[test]
    fn frames_beyond_the_map_follow_those_in_it() {
        for mapped in [0, 1, 300, 4096, 1 << 20] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a.seg");
            let mut file = SegmentFile::create(&path, mapped).unwrap();
            for _ in 0..100 {
                let (first, second) = a_request();
                file.append(&first).unwrap();
                file.append(&second).unwrap();
                assert!(!file.is_torn());
            }
            let living = segment::read(&path, 0, End::Living(file.written()), 1 << 20);
            assert_eq!(living.unwrap().unwrap().entries.len(), 200, "{mapped}");
            drop(file);
            let (entries, damaged) = read_of_dead(&path);
            assert_eq!((entries.len(), damaged), (200, 0), "{mapped}");
        }
    }

    #[test]
    fn a_frame_that_a_dead_process_did_not_finish_is_no_damage() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.seg");
        let (first, second) = a_request();
        for kept in 0..=second.len() {
            let mut file = SegmentFile::create(&path, 1 << 20).unwrap();
            let is_mapped = file.file().metadata().unwrap().len() > 0;
            file.append(&first).unwrap();
            drop(file);
            if is_mapped {
                // As `publish` does it, up to some byte: the magic comes last.
                let mut unfinished = vec![0; frame::MAGIC.len()];
                unfinished.extend_from_slice(&second[frame::MAGIC.len()..]);
                unfinished.truncate(kept);
                let mut raw = OpenOptions::new().write(true).open(&path).unwrap();
                raw.seek(SeekFrom::Start(first.len() as u64)).unwrap();
                raw.write_all(&unfinished).unwrap();
            }
            let (entries, damaged) = read_of_dead(&path);
            assert_eq!((entries.len(), damaged), (1, 0), "{kept}");
            std::fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn a_page_that_never_reached_the_disk_is_damage() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.seg");
        let (first, second) = a_request();
        let mut bytes = first.clone();
        bytes.extend_from_slice(&vec![0; second.len()]);
        bytes.extend_from_slice(&first);
        std::fs::write(&path, bytes).unwrap();
        let (entries, damaged) = read_of_dead(&path);
        assert_eq!((entries.len(), damaged), (2, second.len() as u64));
    }
}
