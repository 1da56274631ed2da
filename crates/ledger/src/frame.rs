//! The spool's frames: what one `write` appends, and how a file of them is read again.
//!
//! ```text
//! magic (4) | length of the payload (4) | CRC-32 of length and payload (4) | payload
//! payload: 'B' and a Begin as CBOR, or 'S', the id (16 bytes) and a Settlement as CBOR
//! ```
//! Of the CBOR every field has a number, so that another version of the program reads what it knows.
//! Behind damage, the next whole frame is found by its magic and its checksum.

use minicbor::Encode;
use uuid::Uuid;

use crate::record::{Begin, Settlement};

/// What every frame begins with.
pub(crate) const MAGIC: [u8; 4] = [0xff, b'B', b'L', 2];

/// Bytes before the payload.
const HEAD: usize = 12;

/// The longest payload. The bounds of [`Text`](crate::Text) keep every frame below it; a longer
/// length is damage.
pub(crate) const MOST_PAYLOAD: usize = 64 * 1024;

/// The longest frame.
pub(crate) const MOST_FRAME: usize = HEAD + MOST_PAYLOAD;

const BEGIN: u8 = b'B';
const SETTLE: u8 = b'S';

/// What a frame says.
#[derive(Debug, PartialEq)]
pub(crate) enum Entry {
    Begin(Begin<'static>),
    Settle(Uuid, Settlement<'static>),
}

/// The payload cannot be understood, although its checksum is right: another version wrote it.
#[derive(Debug, thiserror::Error)]
#[error("a frame of the spool cannot be understood")]
pub(crate) struct NotUnderstood;

/// Writes the frame of a beginning into `buffer`; `false` when it is too long for a frame.
pub(crate) fn encode_begin(buffer: &mut Vec<u8>, begin: &Begin<'_>) -> bool {
    encode(buffer, BEGIN, None, begin)
}

/// The same for an end.
pub(crate) fn encode_settle(buffer: &mut Vec<u8>, id: Uuid, end: &Settlement<'_>) -> bool {
    encode(buffer, SETTLE, Some(id), end)
}

fn encode(buffer: &mut Vec<u8>, kind: u8, id: Option<Uuid>, value: &impl Encode<()>) -> bool {
    buffer.clear();
    buffer.extend_from_slice(&[0; HEAD]);
    buffer.push(kind);
    if let Some(id) = id {
        buffer.extend_from_slice(id.as_bytes());
    }
    if minicbor::encode(value, &mut *buffer).is_err() {
        return false;
    }
    let length = buffer.len() - HEAD;
    let Ok(length) = u32::try_from(length.min(MOST_PAYLOAD + 1)) else {
        return false;
    };
    if length as usize > MOST_PAYLOAD {
        return false;
    }
    let length = length.to_le_bytes();
    let checksum = checksum(length, &buffer[HEAD..]).to_le_bytes();
    buffer[..4].copy_from_slice(&MAGIC);
    buffer[4..8].copy_from_slice(&length);
    buffer[8..HEAD].copy_from_slice(&checksum);
    true
}

fn checksum(length: [u8; 4], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length);
    hasher.update(payload);
    hasher.finalize()
}

/// Reads a payload.
pub(crate) fn decode(payload: &[u8]) -> Result<Entry, NotUnderstood> {
    let (kind, rest) = payload.split_first().ok_or(NotUnderstood)?;
    match *kind {
        BEGIN => minicbor::decode(rest)
            .map(Entry::Begin)
            .map_err(|_| NotUnderstood),
        SETTLE => {
            let (id, rest) = rest.split_first_chunk::<16>().ok_or(NotUnderstood)?;
            minicbor::decode(rest)
                .map(|end| Entry::Settle(Uuid::from_bytes(*id), end))
                .map_err(|_| NotUnderstood)
        }
        _ => Err(NotUnderstood),
    }
}

/// What stands at the beginning of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    /// A whole frame, and how many bytes it takes.
    Frame { payload: &'a [u8], taken: usize },
    /// Bytes that are no frame; the next one may begin after them.
    Damage { taken: usize },
    /// The beginning of a frame, or nothing: whether more follows is the reader's to know.
    Partial,
}

/// Looks at the beginning of `bytes`.
pub(crate) fn find(bytes: &[u8]) -> Found<'_> {
    let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() else {
        let shared = bytes.len().min(MAGIC.len());
        return if bytes[..shared] == MAGIC[..shared] {
            Found::Partial
        } else {
            damage(bytes)
        };
    };
    let word = |at: usize| [head[at], head[at + 1], head[at + 2], head[at + 3]];
    let length = u32::from_le_bytes(word(4)) as usize;
    if word(0) != MAGIC || length > MOST_PAYLOAD {
        return damage(bytes);
    }
    let Some(payload) = rest.get(..length) else {
        return Found::Partial;
    };
    if checksum(word(4), payload) != u32::from_le_bytes(word(8)) {
        return damage(bytes);
    }
    Found::Frame {
        payload,
        taken: HEAD + length,
    }
}

/// The first of some whole frames, by the length that it says.
pub(crate) fn first(frames: &[u8]) -> Option<&[u8]> {
    let length = frames.get(4..)?.first_chunk::<4>()?;
    frames.get(..HEAD + u32::from_le_bytes(*length) as usize)
}

/// Whether nothing was finished here: room that was reserved, or a frame without its magic.
pub(crate) fn is_unwritten(bytes: &[u8]) -> bool {
    bytes.iter().take(MAGIC.len()).all(|byte| *byte == 0)
}

/// Everything up to where the next frame may begin.
fn damage(bytes: &[u8]) -> Found<'_> {
    let next = memchr::memchr(MAGIC[0], bytes.get(1..).unwrap_or_default());
    Found::Damage {
        taken: next.map_or(bytes.len(), |at| at + 1),
    }
}

/// The next place behind the first byte where a frame is whole, if there is one: what stands before
/// it is damage, even if it looks like the beginning of a longer frame.
pub(crate) fn find_next_whole(bytes: &[u8]) -> Option<usize> {
    let mut at = 1;
    while let Some(found) = memchr::memchr(MAGIC[0], bytes.get(at..)?) {
        at += found;
        if matches!(find(&bytes[at..]), Found::Frame { .. }) {
            return Some(at);
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests;
