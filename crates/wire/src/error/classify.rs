//! From status, code and message to a class.

use super::fallback::{by_status, class_of_type};
use super::phrase::match_length;
use super::{Backoff, ErrorClass, ErrorEntry, ErrorTable, Failover, Surface};

/// What is known of an error.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Signals<'a> {
    /// The HTTP status, or the logical one of an event; `None` inside a plain HTTP 200.
    pub status: Option<u16>,
    /// `code`, in either dialect's spelling.
    pub code: Option<&'a str>,
    /// `error.type`.
    pub error_type: Option<&'a str>,
    /// The text.
    pub message: &'a str,
}

impl<'a> Signals<'a> {
    /// Signals with a status, a code and a message.
    pub fn new(status: Option<u16>, code: Option<&'a str>, message: &'a str) -> Self {
        Self {
            status,
            code,
            error_type: None,
            message,
        }
    }
}

/// What an error means and what follows from it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Classification {
    /// The kind of error.
    pub class: ErrorClass,
    /// The catalogue's finer case, such as `context_length`.
    pub subcase: Option<&'static str>,
    /// The native code that the catalogue files it under.
    pub native_code: Option<&'static str>,
    /// How to retry; `None` means never.
    pub retry: Option<Backoff>,
    /// Where else the request may succeed.
    pub failover: Failover,
    /// The HTTP status that the catalogue files it under.
    pub documented_status: Option<u16>,
}

impl Classification {
    fn of(entry: &'static ErrorEntry) -> Self {
        Self {
            class: entry.class,
            subcase: entry.subcase.as_deref(),
            native_code: entry.code.as_deref(),
            retry: entry.retry,
            failover: entry.failover,
            documented_status: entry.status,
        }
    }
}

/// Tells what an error means: code with status first, then the message, then the status alone.
pub fn classify(signals: &Signals<'_>) -> Classification {
    let table = ErrorTable::embedded();
    let exact = by_code(table, signals);
    // `<400> InternalError.Algo.InvalidParameter: …` under a 500 is the caller's fault all the same.
    let may_wrap = |entry: &ErrorEntry| {
        entry.class == ErrorClass::Server || is_spelled(entry, WRAPPED_PARAMETER)
    };
    if exact.is_none_or(may_wrap)
        && let Some((_, inner)) = signals.message.split_once(WRAPPED_PREFIX)
    {
        let wrapped = Signals::new(Some(400), Some(WRAPPED_PARAMETER), inner);
        return by_code(table, &wrapped).map_or_else(|| by_status(signals), Classification::of);
    }
    if let Some(entry) = exact.or_else(|| by_message(table, signals)) {
        return Classification::of(entry);
    }
    // `InvalidFile.SomethingNew` means what its family means.
    if let Some(entry) = by_family(table, signals) {
        return Classification {
            subcase: None,
            ..Classification::of(entry)
        };
    }
    by_status(signals)
}

/// A parameter error of the model itself. Its message is the real one.
const WRAPPED_PARAMETER: &str = "InternalError.Algo.InvalidParameter";
const WRAPPED_PREFIX: &str = "InternalError.Algo.InvalidParameter:";

/// The best of the entries that `admits` lets through: right status and known message first.
fn candidates(
    table: &'static ErrorTable,
    signals: &Signals<'_>,
    admits: impl Fn(&ErrorEntry) -> bool,
) -> Option<&'static ErrorEntry> {
    let rank = |entry: &ErrorEntry| {
        let message = match_length(entry, signals.message);
        // An entry that exists only for its own messages must not catch others.
        let is_default = entry.subcase.is_none() || entry.subcase.as_deref() == Some("tpm");
        let status = signals
            .status
            .is_some_and(|status| is_seen_with(entry, status));
        let http = entry.surface == Surface::Http;
        (message, status, is_default, http)
    };
    // Reversed, so that of equals the one that the catalogue names first is taken.
    table
        .entries()
        .iter()
        .rev()
        .filter(|entry| admits(entry))
        .max_by_key(|entry| rank(entry))
}

fn is_seen_with(entry: &ErrorEntry, status: u16) -> bool {
    entry.status == Some(status) || entry.also_status.contains(&status)
}

/// An entry of the code, or of the type where that is a code.
fn by_code(table: &'static ErrorTable, signals: &Signals<'_>) -> Option<&'static ErrorEntry> {
    let named = |code: &str| {
        // Not every entry has both spellings of a code, so entries that share one are one group.
        let group: Vec<&str> = table
            .entries()
            .iter()
            .filter(|entry| is_spelled(entry, code))
            .flat_map(spellings)
            .collect();
        let wraps = code.eq_ignore_ascii_case(WRAPPED_PARAMETER);
        candidates(table, signals, |entry| {
            group.iter().any(|code| is_spelled(entry, code))
                || wraps
                    && is_spelled(entry, "InvalidParameter")
                    && match_length(entry, signals.message) > 0
        })
    };
    let kind = signals
        .error_type
        // This type names no entry: most errors of a 4xx status have it.
        .filter(|kind| *kind != "invalid_request_error");
    signals
        .code
        .and_then(named)
        .or_else(|| kind.and_then(named))
}

fn spellings(entry: &ErrorEntry) -> impl Iterator<Item = &str> {
    [entry.code.as_deref(), entry.compat_code.as_deref()]
        .into_iter()
        .flatten()
        .chain(entry.also_seen_as.iter().map(String::as_str))
}

fn is_spelled(entry: &ErrorEntry, code: &str) -> bool {
    spellings(entry).any(|known| known.eq_ignore_ascii_case(code))
}

/// An entry whose documented message this is, when the code says nothing.
fn by_message(table: &'static ErrorTable, signals: &Signals<'_>) -> Option<&'static ErrorEntry> {
    const WORTH_TRUSTING: usize = 12;
    let told = signals.error_type.and_then(class_of_type);
    candidates(table, signals, |entry| {
        signals
            .status
            .is_none_or(|status| is_seen_with(entry, status))
            && told.is_none_or(|class| class == entry.class)
            && match_length(entry, signals.message) >= WORTH_TRUSTING
    })
}

/// The entry that stands for the code's family: the one of the family's own name, or any one
/// where all of the family mean the same.
fn by_family(table: &'static ErrorTable, signals: &Signals<'_>) -> Option<&'static ErrorEntry> {
    let (family, _) = signals.code?.split_once('.')?;
    if family.eq_ignore_ascii_case("Throttling") {
        return None;
    }
    let of_family = |code: &str| {
        code.split_once('.')
            .is_some_and(|(head, _)| head.eq_ignore_ascii_case(family))
    };
    let is_client_error = signals
        .status
        .is_some_and(|status| (400..500).contains(&status));
    let own_name = table
        .entries()
        .iter()
        .find(|entry| is_spelled(entry, family))
        // `InternalError.SomethingNew` with a 400 is what its status says.
        .filter(|entry| !(is_client_error && entry.class == ErrorClass::Server));
    own_name.or_else(|| {
        let mut members = table
            .entries()
            .iter()
            .filter(|entry| entry.code.as_deref().is_some_and(of_family))
            .filter(|entry| {
                signals
                    .status
                    .is_none_or(|status| is_seen_with(entry, status))
            });
        let first = members.next()?;
        members
            .all(|entry| entry.class == first.class)
            .then_some(first)
    })
}
