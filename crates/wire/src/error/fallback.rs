//! What an error means that the catalogue does not know: by type, status and words.

use std::time::Duration;

use super::{Backoff, Classification, ErrorClass, Failover, Signals};

/// What the status says, corrected by the type where that says more.
pub(super) fn by_status(signals: &Signals<'_>) -> Classification {
    let throttled = signals
        .code
        .is_some_and(|code| code.to_ascii_lowercase().starts_with("throttling"));
    let told = signals.error_type.and_then(class_of_type);
    let class = match (signals.status, told) {
        (_, Some(class)) => class,
        (Some(429), None) => ErrorClass::RateLimitRequests,
        _ if throttled => ErrorClass::RateLimitRequests,
        (Some(401), None) => ErrorClass::Authentication,
        (Some(403), None) => ErrorClass::Permission,
        (Some(404), None) => ErrorClass::NotFound,
        (Some(408 | 504), None) => ErrorClass::Timeout,
        (Some(503 | 529), None) => ErrorClass::Unavailable,
        (Some(500..), None) => ErrorClass::Server,
        // A redirect is no answer of the service: the base URL is wrong.
        (Some(300..), None) => ErrorClass::InvalidRequest,
        // An error inside an HTTP 200 whose code nobody knows.
        (_, None) => by_words(signals),
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

/// Types of the Anthropic-compatible surface that say more than the status, which is 403 for a bad
/// key and 429 for a bill there. The broad ones are left to status and message.
pub(super) fn class_of_type(kind: &str) -> Option<ErrorClass> {
    Some(match kind {
        "authentication_error" => ErrorClass::Authentication,
        "billing_error" => ErrorClass::QuotaExhausted,
        "not_found_error" => ErrorClass::NotFound,
        "overloaded_error" => ErrorClass::Unavailable,
        "timeout_error" => ErrorClass::Timeout,
        _ => return None,
    })
}

/// The words that codes and types are made of, and the class that each stands for.
const WORDS: [(&[&str], ErrorClass); 9] = [
    (&["overloaded", "unavailable"], ErrorClass::Unavailable),
    (&["rate_limit", "throttl"], ErrorClass::RateLimitRequests),
    (&["timeout", "timed_out"], ErrorClass::Timeout),
    (
        &["authentication", "apikey", "api_key"],
        ErrorClass::Authentication,
    ),
    (&["permission", "accessdenied"], ErrorClass::Permission),
    (&["not_found", "notfound"], ErrorClass::NotFound),
    (&["inspection", "content_filter"], ErrorClass::ContentFilter),
    (&["billing", "arrearage"], ErrorClass::QuotaExhausted),
    (
        &["invalid", "badrequest", "too_large"],
        ErrorClass::InvalidRequest,
    ),
];

fn by_words(signals: &Signals<'_>) -> ErrorClass {
    let said = signals.code.or(signals.error_type).unwrap_or("");
    let said = said.to_ascii_lowercase();
    let found = WORDS
        .iter()
        .find(|(words, _)| words.iter().any(|word| said.contains(word)));
    found.map_or(ErrorClass::Server, |(_, class)| *class)
}

/// What the catalogue recommends for most entries of the class.
fn default_retry(class: ErrorClass) -> Option<Backoff> {
    let wait = |initial: f64, max: u64, max_attempts| {
        Some(Backoff {
            initial: Duration::from_secs_f64(initial),
            factor: 2.0,
            max: Duration::from_secs(max),
            max_attempts,
            jitter: None,
            rate_cut: None,
            concurrency_cut: None,
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
