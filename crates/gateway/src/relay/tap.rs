//! Learns the usage of an answer from the bytes that pass, without holding them up.

use std::sync::LazyLock;

use bailian_wire::Dialect;
use bailian_wire::chat::Usage;
use memchr::{memchr, memmem};
use serde_json::Value;

use crate::usage::TokenCounts;

/// Follows an event stream. Usage is a running total in every dialect, so the last report counts;
/// it is kept as bytes and parsed once, at the end.
#[derive(Debug, Default)]
pub(super) struct EventTap {
    /// The last report, from its object to the end of its line.
    report: Vec<u8>,
}

impl EventTap {
    /// Keeps a report, which begins with its object.
    pub(super) fn note(&mut self, report: &[u8]) {
        let end = memchr(b'\n', report).unwrap_or(report.len());
        self.report.clear();
        self.report.extend_from_slice(&report[..end]);
    }

    /// Whether the stream has said anything of its usage.
    pub(super) fn has_report(&self) -> bool {
        !self.report.is_empty()
    }

    /// The whole of what the stream said last of its usage.
    pub(super) fn report(&self, dialect: Dialect) -> Option<Usage> {
        report(&self.report, dialect)
    }

    /// What the stream said last of its usage.
    pub(super) fn usage(&self) -> Option<TokenCounts> {
        counts(&self.report)
    }
}

/// The usage that a plain answer reports.
pub(super) fn usage_of(answer: &[u8]) -> Option<TokenCounts> {
    counts(last_report(answer)?)
}

/// The same, and the whole report.
pub(super) fn report_of(answer: &[u8], dialect: Dialect) -> Option<(TokenCounts, Option<Usage>)> {
    let bytes = last_report(answer)?;
    let report = report(bytes, dialect);
    let counts = match &report {
        // Read once for both. Anthropic's words mean something else in either.
        Some(report) if dialect != Dialect::Anthropic => TokenCounts::of(report),
        _ => counts(bytes)?,
    };
    Some((counts, report))
}

fn report(bytes: &[u8], dialect: Dialect) -> Option<Usage> {
    let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<Value>();
    let value = values.next()?.ok()?;
    match dialect {
        Dialect::Anthropic => bailian_wire::anthropic::decode_usage(&value),
        _ => Usage::from_report(value),
    }
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
