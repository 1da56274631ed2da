//! Reading a segment's frames, a batch at a time.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::thread;

use crate::frame::{self, Entry, Found};

/// What a part of a segment holds.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// What its frames say, in order.
    pub(crate) entries: Vec<Entry>,
    /// Where the part ends: everything before it is in `entries`, or is damage.
    pub(crate) to: u64,
    /// Bytes that are no frame.
    pub(crate) damaged: u64,
    /// Whole frames that this program does not understand.
    pub(crate) not_understood: u64,
}

impl Batch {
    /// How many whole frames the part has.
    pub(crate) fn frames(&self) -> u64 {
        self.entries.len() as u64 + self.not_understood
    }
}

/// After so many frames whoever shares the core may go first.
const COURTESY: usize = 32;

/// By how many bytes the end of what was written is looked for. No frame ends with so many zeros.
const TRIMMED: u64 = 4096;

/// How a segment ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Its process lives: frames end exactly here, and what follows is being written.
    Living(u64),
    /// Its process is dead: what is no whole frame at the end was torn off.
    Dead,
}

/// Reads at most `most` bytes of whole frames from `from` on. `None` at the end.
pub(crate) fn read(path: &Path, from: u64, end: End, most: usize) -> io::Result<Option<Batch>> {
    let mut file = File::open(path)?;
    let end = match end {
        End::Living(end) => end,
        End::Dead => file.metadata()?.len(),
    };
    let most = most.max(frame::MOST_FRAME);
    let length = usize::try_from(end.saturating_sub(from)).unwrap_or(usize::MAX);
    if length == 0 {
        return Ok(None);
    }
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = vec![0; length.min(most)];
    file.read_exact(&mut bytes)?;
    Ok(Some(split(&bytes, from, length <= most)))
}

/// Cuts off what a dead process reserved and did not use.
pub(crate) fn trim(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let length = file.metadata()?.len();
    let mut end = length;
    while end > 0 {
        let from = end.saturating_sub(TRIMMED);
        file.seek(SeekFrom::Start(from))?;
        let mut part = Vec::new();
        file.by_ref().take(end - from).read_to_end(&mut part)?;
        if part.iter().any(|byte| *byte != 0) {
            break;
        }
        end = from;
    }
    // The last frame may end with zeros, fewer than these.
    let end = (end + TRIMMED).min(length);
    if end < length {
        file.set_len(end)?;
    }
    Ok(())
}

/// Splits bytes into entries. If they are the last of their segment, nothing is left over.
pub(crate) fn split(bytes: &[u8], from: u64, is_last: bool) -> Batch {
    let mut batch = Batch::default();
    let mut at = 0;
    loop {
        let rest = &bytes[at..];
        if batch.entries.len() % COURTESY == COURTESY - 1 {
            thread::yield_now();
        }
        match frame::find(rest) {
            Found::Frame { payload, taken } => {
                match frame::decode(payload) {
                    Ok(entry) => batch.entries.push(entry),
                    Err(frame::NotUnderstood) => batch.not_understood += 1,
                }
                at += taken;
            }
            // The process died while it wrote this, or before: nobody was told that it is there.
            Found::Damage { .. }
                if frame::is_unwritten(rest)
                    && is_last
                    && frame::find_next_whole(rest).is_none() =>
            {
                at = bytes.len();
            }
            // It may be the end, which the next part shows.
            Found::Damage { .. } if frame::is_unwritten(rest) && !is_last && at > 0 => break,
            Found::Damage { taken } => {
                batch.damaged += taken as u64;
                at += taken;
            }
            Found::Partial if !is_last => break,
            Found::Partial => match frame::find_next_whole(rest) {
                Some(taken) => {
                    batch.damaged += taken as u64;
                    at += taken;
                }
                // A tail that was torn off; it had not been acknowledged.
                None => {
                    at = bytes.len();
                    break;
                }
            },
        }
        if at == bytes.len() {
            break;
        }
    }
    batch.to = from + at as u64;
    batch
}
