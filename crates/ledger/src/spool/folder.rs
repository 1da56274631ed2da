//! The folder of a spool, which several processes may share.
//!
//! | file | what |
//! |---|---|
//! | `PROCESS.lock` | held locked by the process while it lives |
//! | `PROCESS.new` | what becomes that file, while a process begins |
//! | `PROCESS-SHARD-NUMBER.seg` | frames, in the order in which they happened on one shard |
//! | `PROCESS-SHARD-NUMBER.damaged` | a segment of which a part could not be read, kept |
//! | `refused.jsonl` | records that the store refuses, kept |

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use uuid::Uuid;

const LOCK: &str = "lock";
const SEGMENT: &str = "seg";
const UNNAMED: &str = "new";

/// The name of a segment: whose, of which shard, and which in its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SegmentName {
    pub(crate) process: Uuid,
    pub(crate) shard: u16,
    pub(crate) number: u64,
}

impl SegmentName {
    /// The name without ending, under which the store knows the segment.
    pub(crate) fn stem(self) -> String {
        let process = self.process.simple();
        format!("{process}-{:03}-{:010}", self.shard, self.number)
    }

    pub(crate) fn path(self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.{SEGMENT}", self.stem()))
    }

    fn from_stem(stem: &str) -> Option<Self> {
        let mut parts = stem.split('-');
        let name = Self {
            process: Uuid::try_parse(parts.next()?).ok()?,
            shard: parts.next()?.parse().ok()?,
            number: parts.next()?.parse().ok()?,
        };
        (parts.next().is_none() && name.stem() == stem).then_some(name)
    }
}

/// What a dead process left, held so that nobody else takes it.
#[derive(Debug)]
pub(crate) struct Estate {
    pub(crate) process: Uuid,
    pub(crate) segments: Vec<SegmentName>,
    /// Locked for as long as this value lives.
    _lock: File,
}

/// Claims a new process' place in the folder. The lock is held until the file is dropped.
pub(crate) fn enter(folder: &Path, process: Uuid) -> io::Result<File> {
    fs::create_dir_all(folder)?;
    // Only locked files ever bear the name by which others find them.
    let unnamed = folder.join(format!("{}.{UNNAMED}", process.simple()));
    let mut tries = 0;
    loop {
        let lock = File::create(&unnamed)?;
        lock.lock()?;
        match fs::rename(&unnamed, lock_path(folder, process)) {
            Ok(()) => return Ok(lock),
            // Somebody who tidied up took it for a dead process' before it was locked.
            Err(error) if error.kind() == io::ErrorKind::NotFound && tries < 10 => tries += 1,
            Err(error) => return Err(error),
        }
    }
}

/// Deletes what a process left that died while it entered.
fn tidy_up(unnamed: &Path) -> io::Result<()> {
    let gone_is_well = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    };
    let lock = match OpenOptions::new().write(true).open(unnamed) {
        Ok(lock) => lock,
        Err(error) => return gone_is_well(error),
    };
    match lock.try_lock() {
        Ok(()) => fs::remove_file(unnamed).or_else(gone_is_well),
        Err(TryLockError::WouldBlock) => Ok(()),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Gives the place up. To be called when no segment is left, and before the lock is dropped.
pub(crate) fn leave(folder: &Path, process: Uuid) -> io::Result<()> {
    fs::remove_file(lock_path(folder, process))
}

/// Takes what dead processes left, except what `known` says that is in hand already.
pub(crate) fn claim(folder: &Path, known: impl Fn(Uuid) -> bool) -> io::Result<Vec<Estate>> {
    // Whether each has a lock file.
    let mut found: BTreeMap<Uuid, bool> = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()) else {
            continue;
        };
        match path.extension().and_then(|extension| extension.to_str()) {
            Some(LOCK) => {
                if let Ok(process) = Uuid::try_parse(stem) {
                    found.insert(process, true);
                }
            }
            Some(SEGMENT) => {
                if let Some(name) = SegmentName::from_stem(stem) {
                    found.entry(name.process).or_insert(false);
                }
            }
            Some(UNNAMED) => tidy_up(&path)?,
            _ => {}
        }
    }
    let mut estates = Vec::new();
    for (process, has_lock) in found.into_iter().filter(|(process, _)| !known(*process)) {
        let path = lock_path(folder, process);
        // A segment without a lock file is a dead process' too: a backup may have lost the lock.
        let lock = match OpenOptions::new()
            .create(!has_lock)
            .truncate(false)
            .write(true)
            .open(&path)
        {
            Ok(lock) => lock,
            // It has left in good order meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        match lock.try_lock() {
            // The same, a moment later.
            Ok(()) if !path.exists() => continue,
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => continue,
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // Looked up under the lock: another process may have ended what was seen above.
        let segments = segments_of(folder, process)?;
        estates.push(Estate {
            process,
            segments,
            _lock: lock,
        });
    }
    Ok(estates)
}

fn segments_of(folder: &Path, process: Uuid) -> io::Result<Vec<SegmentName>> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == SEGMENT)
            && let Some(stem) = path.file_stem().and_then(|stem| stem.to_str())
            && let Some(name) = SegmentName::from_stem(stem)
            && name.process == process
        {
            segments.push(name);
        }
    }
    segments.sort_unstable();
    Ok(segments)
}

fn lock_path(folder: &Path, process: Uuid) -> PathBuf {
    folder.join(format!("{}.{LOCK}", process.simple()))
}

/// Makes names in the folder survive a loss of power.
pub(crate) fn sync(folder: &Path) -> io::Result<()> {
    // Windows cannot open a folder as a file, and needs no such call.
    if cfg!(unix) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segments_name_is_read_as_it_is_written() {
        let name = SegmentName {
            process: Uuid::now_v7(),
            shard: 3,
            number: 12,
        };
        assert_eq!(SegmentName::from_stem(&name.stem()), Some(name));
        assert_eq!(SegmentName::from_stem("0-0-0"), None);
        assert_eq!(SegmentName::from_stem(&format!("{}-1", name.stem())), None);
    }

    #[test]
    fn what_a_process_left_that_died_while_it_entered_is_tidied_up() {
        let folder = tempfile::tempdir().unwrap();
        File::create(folder.path().join("left.new")).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let process = Uuid::now_v7();
                        let held = enter(folder.path(), process).unwrap();
                        assert!(claim(folder.path(), |_| false).unwrap().is_empty());
                        leave(folder.path(), process).unwrap();
                        drop(held);
                    }
                });
            }
        });
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn only_what_a_dead_process_left_is_claimed() {
        let folder = tempfile::tempdir().unwrap();
        let (living, dead) = (Uuid::now_v7(), Uuid::now_v7());
        let held = enter(folder.path(), living).unwrap();
        drop(enter(folder.path(), dead).unwrap());
        let estates = claim(folder.path(), |_| false).unwrap();
        let processes: Vec<_> = estates.iter().map(|estate| estate.process).collect();
        assert_eq!(processes, [dead]);
        assert!(claim(folder.path(), |_| false).unwrap().is_empty());
        drop((held, estates));
        assert_eq!(claim(folder.path(), |_| false).unwrap().len(), 2);
    }
}
