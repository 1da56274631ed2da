//! The beginning of a file in memory.
#![allow(
    unsafe_code,
    reason = "a mapped file is memory that others could change; the module says why here nobody does"
)]

use std::fs::File;
use std::slice;
use std::sync::Arc;

use memmap2::{MmapOptions, MmapRaw};

/// Some bytes at the beginning of a file, which reading and writing the file sees at once.
#[derive(Debug)]
pub(crate) struct Map(Arc<MmapRaw>);

/// Makes pages of a map ready, beside whoever writes into it.
#[derive(Debug)]
pub(crate) struct Pages(Arc<MmapRaw>);

impl Map {
    /// Reserves `length` bytes on the disk and maps them; `None` where that is not safe or not
    /// possible.
    pub(crate) fn reserve(file: &File, length: u64) -> Option<Self> {
        if !is_safe(file) {
            return None;
        }
        allocate(file, length)?;
        let length = usize::try_from(length).ok()?;
        let map = MmapOptions::new().len(length).map_raw(file).ok()?;
        Some(Self(Arc::new(map)))
    }

    /// The bytes.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: pointer and length are the map's, which lives as long as `self`. Nobody else has a
        // reference into it: there is one `Map` of each file, borrowed mutably here, and `Pages` only
        // has the system bring pages in. Nobody else changes the bytes: the file was made under a
        // name that never comes again, in a folder of the ledger's own; this program reads it
        // through the file, and cuts it when its `Map` is gone (`SegmentFile::unmap`). Another
        // program that writes into it spoils records, as it would any database's; one that cuts it
        // ends this process by a signal, which costs no frame. The disk cannot run out of room under
        // the map: it was reserved, on a file system that writes in place.
        unsafe { slice::from_raw_parts_mut(self.0.as_mut_ptr(), self.0.len()) }
    }

    /// What makes its pages ready.
    pub(crate) fn pages(&self) -> Pages {
        Pages(Arc::clone(&self.0))
    }
}

impl Pages {
    /// Has the system bring `length` bytes from `from` on into memory, to be written to: the first
    /// to touch a page would wait for that, which is half of what it costs to write a frame.
    #[cfg(target_os = "linux")]
    pub(crate) fn make_ready(&self, from: usize, length: usize) {
        let from = from.min(self.0.len());
        let length = length.min(self.0.len() - from);
        // Where it is not known (before Linux 5.14) pages come when they are touched.
        let _ = self
            .0
            .advise_range(memmap2::Advice::PopulateWrite, from, length);
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn make_ready(&self, _: usize, _: usize) {}
}

/// Whether the file system writes reserved room in place. One that copies on write may be full when
/// a page is written, and the system then ends the process.
#[cfg(target_os = "linux")]
fn is_safe(file: &File) -> bool {
    /// ext4, XFS, tmpfs (statfs(2)).
    const IN_PLACE: [i64; 3] = [0xef53, 0x5846_5342, 0x0102_1994];
    rustix::fs::fstatfs(file).is_ok_and(|found| IN_PLACE.contains(&found.f_type))
}

#[cfg(not(target_os = "linux"))]
fn is_safe(_: &File) -> bool {
    false
}

#[cfg(target_os = "linux")]
fn allocate(file: &File, length: u64) -> Option<()> {
    use rustix::fs::FallocateFlags;

    rustix::fs::fallocate(file, FallocateFlags::empty(), 0, length).ok()
}

#[cfg(not(target_os = "linux"))]
fn allocate(_: &File, _: u64) -> Option<()> {
    None
}
