//! Cuts a stream of events between its frames, so that each is written whole: clients decode what
//! one read of the network brings, and a stream that breaks off ends between two events.

use bytes::{Bytes, BytesMut};
use memchr::memmem;

/// A frame that is longer passes in pieces; only sound comes near this.
const MAX_HELD_BYTES: usize = 4 * 1024 * 1024;

/// What has come and does not end a frame yet.
#[derive(Debug, Default)]
pub(super) struct FrameCutter {
    held: BytesMut,
    /// Inside a frame that is too long to be held.
    oversized: bool,
    /// The last frame went out before its blank line had come.
    owes_blank_line: bool,
}

impl FrameCutter {
    /// Takes the next piece, gives all whole frames. Nearly always that is the piece itself.
    pub(super) fn push(&mut self, piece: Bytes) -> Bytes {
        let mut piece = piece;
        if self.owes_blank_line && !piece.is_empty() {
            // It went out already.
            let blank = [&b"\r\n"[..], b"\n"];
            let blank = blank.iter().find(|blank| piece.starts_with(blank));
            drop(piece.split_to(blank.map_or(0, |blank| blank.len())));
            self.owes_blank_line = false;
            if piece.is_empty() {
                return piece;
            }
        }
        if self.held.is_empty() && !self.oversized {
            return match last_boundary(&piece) {
                Some(end) if end == piece.len() => piece,
                Some(end) => {
                    let mut whole = piece;
                    self.held.extend_from_slice(&whole.split_off(end));
                    whole
                }
                None => {
                    self.held.extend_from_slice(&piece);
                    self.bound()
                }
            };
        }
        if self.oversized {
            // The end of the long frame passes with whatever whole frames follow it.
            self.oversized = last_boundary(&piece).is_none();
            return piece;
        }
        // A boundary may stand across the seam.
        let from = self.held.len().saturating_sub(3);
        self.held.extend_from_slice(&piece);
        match last_boundary(&self.held[from..]) {
            Some(end) => self.held.split_to(from + end).freeze(),
            None => self.bound(),
        }
    }

    fn bound(&mut self) -> Bytes {
        if self.held.len() < MAX_HELD_BYTES {
            return Bytes::new();
        }
        self.oversized = true;
        self.held.split().freeze()
    }

    /// What is held, if it is a frame whose blank line did not come: some servers leave it out.
    pub(super) fn complete_but_for_blank_line(&mut self) -> Option<Bytes> {
        if self.held.is_empty() || !self.held.ends_with(b"\n") {
            return None;
        }
        let line = self.held[..self.held.len() - 1]
            .rsplit(|byte| *byte == b'\n')
            .next()?;
        let data = line.strip_prefix(b"data:")?.trim_ascii();
        // JSON of several lines has its last brace at the end, too, and is never sent.
        if !data.ends_with(b"}") && data != b"[DONE]" {
            return None;
        }
        self.owes_blank_line = true;
        let mut frame = self.held.split();
        frame.extend_from_slice(b"\n");
        Some(frame.freeze())
    }

    /// Takes what is held at the end of the stream: a frame whose end did not come.
    pub(super) fn rest(&mut self) -> Bytes {
        self.held.split().freeze()
    }

    /// Whether what was given so far ends between two frames.
    pub(super) fn is_between_frames(&self) -> bool {
        !self.oversized
    }
}

/// Where the last frame ends: after a blank line.
fn last_boundary(bytes: &[u8]) -> Option<usize> {
    if bytes.ends_with(b"\n\n") {
        return Some(bytes.len());
    }
    let plain = memmem::rfind(bytes, b"\n\n").map(|at| at + 2);
    let dos = memmem::rfind(bytes, b"\n\r\n").map(|at| at + 3);
    plain.max(dos)
}

/// The frames of whole ones, each with its blank line.
pub(super) fn split(frames: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = frames;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let plain = memmem::find(rest, b"\n\n").map(|at| at + 2);
        let dos = memmem::find(rest, b"\n\r\n").map(|at| at + 3);
        let end = match (plain, dos) {
            (Some(plain), Some(dos)) => plain.min(dos),
            (plain, dos) => plain.or(dos).unwrap_or(rest.len()),
        };
        let (frame, after) = rest.split_at(end);
        rest = after;
        Some(frame)
    })
}

/// The data of a frame that has one line of it, as all of the service's have.
pub(super) fn data_of(frame: &[u8]) -> Option<&[u8]> {
    let mut lines = frame
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.strip_prefix(b"data:"));
    let data = lines.next()?;
    lines.next().is_none().then(|| data.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str =
        "data: {\"a\":\"你\"}\n\nid:1\nevent:result\ndata:{}\r\n\r\n: c\n\ndata: [DONE]\n\n";

    #[test]
    fn whole_frames_come_out_however_the_stream_is_cut() {
        for size in 1..STREAM.len() {
            let mut cutter = FrameCutter::default();
            let mut out = Vec::new();
            for piece in STREAM.as_bytes().chunks(size) {
                let whole = cutter.push(Bytes::copy_from_slice(piece));
                assert!(
                    whole.is_empty() || whole.ends_with(b"\n\n") || whole.ends_with(b"\n\r\n"),
                    "{whole:?}"
                );
                out.extend_from_slice(&whole);
            }
            assert_eq!(out, STREAM.as_bytes());
            assert!(cutter.rest().is_empty());
        }
    }

    #[test]
    fn half_a_frame_is_held() {
        let mut cutter = FrameCutter::default();
        let whole = cutter.push(Bytes::from_static(b"data: 1\n\ndata: {}"));
        assert_eq!(whole, "data: 1\n\n");
        assert_eq!(cutter.complete_but_for_blank_line(), None);
        assert_eq!(cutter.push(Bytes::from_static(b"\n")), "");
        let early = cutter.complete_but_for_blank_line().unwrap();
        assert_eq!(early, "data: {}\n\n");
        let late = cutter.push(Bytes::from_static(b"\ndata: 3\n\n"));
        assert_eq!(late, "data: 3\n\n");
    }

    #[test]
    fn a_frame_without_an_end_does_not_fill_the_memory() {
        let mut cutter = FrameCutter::default();
        let piece = Bytes::from(vec![b'x'; 1 << 20]);
        let mut out = 0;
        for _ in 0..8 {
            out += cutter.push(piece.clone()).len();
            assert!(cutter.held.len() <= MAX_HELD_BYTES);
        }
        assert_eq!(out, 8 << 20);
        assert!(!cutter.is_between_frames());
        cutter.push(Bytes::from_static(b"\n\n"));
        assert!(cutter.is_between_frames());
    }

    #[test]
    fn frames_are_told_apart() {
        let frames: Vec<_> = split(STREAM.as_bytes()).collect();
        assert_eq!(frames.len(), 4);
        assert_eq!(data_of(frames[1]), Some(&b"{}"[..]));
        assert_eq!(data_of(frames[2]), None);
        assert_eq!(data_of(frames[3]), Some(&b"[DONE]"[..]));
    }
}
