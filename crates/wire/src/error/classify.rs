//! From status, code and message to a class.

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
    let exact = candidates(table, signals, |entry| is_code_of(entry, signals));
    if let Some(best) = exact.or_else(|| by_message(table, signals)) {
        return Classification::of(best);
    }
    // `InvalidFile.SomethingNew` means what its family means.
    if let Some(family) = signals
        .code
        .and_then(|code| code.split_once('.'))
        .map(|(family, _)| family)
        && !family.eq_ignore_ascii_case("Throttling")
        && let Some(entry) = table.entries().iter().find(|entry| {
            entry
                .code
                .as_deref()
                .is_some_and(|code| is_family(code, family))
        })
    {
        return Classification {
            subcase: None,
            ..Classification::of(entry)
        };
    }
    by_status(signals)
}

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
        let status = signals.status.is_some_and(|status| {
            entry.status == Some(status) || entry.also_status.contains(&status)
        });
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

fn is_code_of(entry: &ErrorEntry, signals: &Signals<'_>) -> bool {
    let spelled = |code: &str| {
        [entry.code.as_deref(), entry.compat_code.as_deref()]
            .into_iter()
            .flatten()
            .chain(entry.also_seen_as.iter().map(String::as_str))
            .any(|known| known.eq_ignore_ascii_case(code))
    };
    match (signals.code, signals.error_type) {
        (Some(code), _) if spelled(code) => true,
        // Anthropic's and some gateway errors have a type only; broad types name no entry.
        (_, Some(kind)) => kind != "invalid_request_error" && spelled(kind),
        _ => false,
    }
}

/// An entry whose documented message this is, when the code says nothing.
fn by_message(table: &'static ErrorTable, signals: &Signals<'_>) -> Option<&'static ErrorEntry> {
    const WORTH_TRUSTING: usize = 12;
    candidates(table, signals, |entry| {
        let right_kind = signals.status.is_none_or(|status| {
            entry.status == Some(status)
                || entry.also_status.contains(&status)
                || signals.code.is_none_or(is_vague)
        });
        right_kind && match_length(entry, signals.message) >= WORTH_TRUSTING
    })
}

/// Codes that say no more than the status does.
fn is_vague(code: &str) -> bool {
    code.is_empty() || code.starts_with("invalid_") || code.eq_ignore_ascii_case("error")
}

/// How many characters of a documented message stand in `message`; 0 when none of them fits.
fn match_length(entry: &ErrorEntry, message: &str) -> usize {
    let link = if entry.class == ErrorClass::RateLimitTokens && message.contains("#token-limit") {
        usize::MAX
    } else {
        0
    };
    let longest = entry
        .messages
        .iter()
        .map(|known| fit(known, message))
        .max()
        .unwrap_or(0);
    longest.max(link)
}

/// Whether the fixed parts of a documented message stand in `message`, in order.
fn fit(known: &str, message: &str) -> usize {
    let mut rest = message;
    let mut matched = 0;
    for part in known
        .split("xxx")
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        let part = part.trim_end_matches(['.', '!']);
        let Some(at) = find_ignore_case(rest, part) else {
            return 0;
        };
        matched += part.len();
        rest = &rest[at + part.len()..];
    }
    matched
}

fn find_ignore_case(text: &str, part: &str) -> Option<usize> {
    let (text, part) = (text.as_bytes(), part.as_bytes());
    if part.is_empty() {
        return None;
    }
    text.windows(part.len())
        .position(|window| window.eq_ignore_ascii_case(part))
}

fn is_family(code: &str, family: &str) -> bool {
    code.eq_ignore_ascii_case(family)
        || code
            .split_once('.')
            .is_some_and(|(head, _)| head.eq_ignore_ascii_case(family))
}

fn by_status(signals: &Signals<'_>) -> Classification {
    let throttled = signals
        .code
        .is_some_and(|code| code.to_ascii_lowercase().starts_with("throttling"));
    let class = match signals.status {
        Some(429) => ErrorClass::RateLimitRequests,
        _ if throttled => ErrorClass::RateLimitRequests,
        Some(401) => ErrorClass::Authentication,
        Some(403) => ErrorClass::Permission,
        Some(404) => ErrorClass::NotFound,
        Some(408 | 504) => ErrorClass::Timeout,
        Some(503 | 529) => ErrorClass::Unavailable,
        Some(500..) => ErrorClass::Server,
        Some(400..) => ErrorClass::InvalidRequest,
        // An error inside an HTTP 200 whose code nobody knows.
        _ => by_words(signals),
    };
    Classification {
        class,
        subcase: None,
        native_code: None,
        retry: default_retry(class),
        failover: default_failover(class),
        documented_status: None,
    }
}

/// Anthropic's types and words that codes are made of.
fn by_words(signals: &Signals<'_>) -> ErrorClass {
    let word = signals
        .code
        .or(signals.error_type)
        .unwrap_or("")
        .to_ascii_lowercase();
    let has = |parts: &[&str]| parts.iter().any(|part| word.contains(part));
    if has(&["overloaded", "unavailable"]) {
        ErrorClass::Unavailable
    } else if has(&["rate_limit", "throttl"]) {
        ErrorClass::RateLimitRequests
    } else if has(&["timeout", "timed_out"]) {
        ErrorClass::Timeout
    } else if has(&["authentication", "apikey", "api_key"]) {
        ErrorClass::Authentication
    } else if has(&["permission", "accessdenied"]) {
        ErrorClass::Permission
    } else if has(&["not_found", "notfound"]) {
        ErrorClass::NotFound
    } else if has(&["inspection", "content_filter"]) {
        ErrorClass::ContentFilter
    } else if has(&["invalid", "badrequest"]) {
        ErrorClass::InvalidRequest
    } else {
        ErrorClass::Server
    }
}

/// What the catalogue recommends for most entries of the class.
fn default_retry(class: ErrorClass) -> Option<Backoff> {
    use std::time::Duration;
    let wait = |initial: f64, max: u64, max_attempts| {
        Some(Backoff {
            initial: Duration::from_secs_f64(initial),
            factor: 2.0,
            max: Duration::from_secs(max),
            max_attempts,
        })
    };
    match class {
        ErrorClass::RateLimitRequests => wait(1.0, 60, None),
        ErrorClass::RateLimitTokens => wait(6.0, 60, None),
        ErrorClass::RateLimitBurst => wait(5.0, 60, None),
        ErrorClass::Server => wait(0.5, 8, Some(3)),
        ErrorClass::Unavailable => wait(1.0, 30, None),
        ErrorClass::Timeout => wait(1.0, 8, Some(1)),
        ErrorClass::Authentication
        | ErrorClass::Permission
        | ErrorClass::InvalidRequest
        | ErrorClass::NotFound
        | ErrorClass::QuotaExhausted
        | ErrorClass::ContentFilter => None,
    }
}

fn default_failover(class: ErrorClass) -> Failover {
    match class {
        ErrorClass::Authentication | ErrorClass::Permission => Failover::OtherKey,
        ErrorClass::RateLimitRequests
        | ErrorClass::RateLimitTokens
        | ErrorClass::RateLimitBurst
        | ErrorClass::QuotaExhausted => Failover::OtherAccountOrRegion,
        ErrorClass::Timeout | ErrorClass::Server | ErrorClass::Unavailable => {
            Failover::OtherRegionOrModel
        }
        ErrorClass::InvalidRequest | ErrorClass::NotFound | ErrorClass::ContentFilter => {
            Failover::Nowhere
        }
    }
}
