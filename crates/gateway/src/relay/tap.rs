//! Learns the usage of an answer from the bytes that pass, without holding them up.

use std::sync::LazyLock;

use memchr::{memchr, memmem, memrchr};

use crate::usage::TokenCounts;

/// A line of an event stream that is longer is not searched for usage.
const MAX_LINE_BYTES: usize = 64 * 1024;

/// Follows an event stream. Usage is a running total in both dialects, so the last report counts;
/// it is kept as bytes and parsed once, at the end.
#[derive(Debug, Default)]
pub(super) struct EventTap {
    /// The line that the last piece left unfinished.
    partial: Vec<u8>,
    /// Inside a line that is too long to look at.
    skipping: bool,
    /// The last report, from its object to the end of its line.
    report: Vec<u8>,
}

impl EventTap {
    /// Looks at the next piece.
    pub(super) fn feed(&mut self, piece: &[u8]) {
        let mut piece = piece;
        if self.skipping {
            let Some(end) = memchr(b'\n', piece) else {
                return;
            };
            self.skipping = false;
            piece = &piece[end + 1..];
        }
        if !self.partial.is_empty() {
            let end = memchr(b'\n', piece).map_or(piece.len(), |end| end + 1);
            self.partial.extend_from_slice(&piece[..end]);
            piece = &piece[end..];
            if self.partial.ends_with(b"\n") {
                let line = std::mem::take(&mut self.partial);
                self.search(&line);
                self.partial = line;
                self.partial.clear();
            } else {
                self.bound_partial();
                return;
            }
        }
        // A frame is written whole nearly always: then nothing is left over and nothing is copied
        // but the line that reports usage.
        let whole = memrchr(b'\n', piece).map_or(0, |last| last + 1);
        self.search(&piece[..whole]);
        if whole < piece.len() {
            self.partial.extend_from_slice(&piece[whole..]);
            self.bound_partial();
        }
    }

    fn bound_partial(&mut self) {
        if self.partial.len() > MAX_LINE_BYTES {
            self.partial = Vec::new();
            self.skipping = true;
        }
    }

    /// Keeps the last report of usage among whole lines.
    fn search(&mut self, lines: &[u8]) {
        if let Some(report) = last_report(lines) {
            let end = memchr(b'\n', report).unwrap_or(report.len());
            self.report.clear();
            self.report.extend_from_slice(&report[..end]);
        }
    }

    /// Whether the stream has said anything of its usage.
    pub(super) fn has_report(&self) -> bool {
        !self.report.is_empty()
    }

    /// What the stream said last of its usage.
    pub(super) fn usage(&self) -> Option<TokenCounts> {
        counts(&self.report)
    }

    /// Whether what passed so far ends between two lines, so that an event may follow.
    pub(super) fn is_between_lines(&self) -> bool {
        self.partial.is_empty() && !self.skipping
    }
}

/// The usage that a plain answer reports.
pub(super) fn usage_of(answer: &[u8]) -> Option<TokenCounts> {
    counts(last_report(answer)?)
}

/// What follows the last `"usage":` that has an object. Inside a JSON string the quotation marks
/// would be escaped, so text that only looks like usage is not found.
fn last_report(json: &[u8]) -> Option<&[u8]> {
    static NEEDLE: LazyLock<memmem::Finder<'static>> =
        LazyLock::new(|| memmem::Finder::new(b"\"usage\":"));
    let reports = NEEDLE.find_iter(json).filter_map(|at| {
        let report = json[at + NEEDLE.needle().len()..].trim_ascii_start();
        report.starts_with(b"{").then_some(report)
    });
    reports.last()
}

/// The counts that stand at the beginning of `report`; what follows them is not looked at.
fn counts(report: &[u8]) -> Option<TokenCounts> {
    serde_json::Deserializer::from_slice(report)
        .into_iter()
        .next()?
        .ok()
}

#[cfg(test)]
mod tests;
