//! Which header lines pass, in each direction. What is not named here stays behind.

use std::time::Duration;

use http::header::{
    ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue,
};

use bailian_wire::Dialect;
use bailian_wire::translate::Losses;

use crate::account::{Account, Endpoint};
use crate::record::RequestId;

/// What the names of the gateway's own headers begin with.
const OWN: &str = "x-bailian-";

/// The gateway's own id of a request, on every answer.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The model service's id of the request.
const UPSTREAM_REQUEST_ID: HeaderName = HeaderName::from_static("x-bailian-upstream-request-id");

/// Asks proxies between client and gateway not to hold a stream back.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Switches streaming on for native calls (http-native.md §3.1).
const X_DASHSCOPE_SSE: HeaderName = HeaderName::from_static("x-dashscope-sse");

/// What of a request a translation could not carry.
const DROPPED: HeaderName = HeaderName::from_static("x-bailian-dropped");

/// How often the request was tried, when that was more than once.
const ATTEMPTS: HeaderName = HeaderName::from_static("x-bailian-attempts");

/// From which dialect the answer was translated, and into which.
const TRANSLATED: HeaderName = HeaderName::from_static("x-bailian-translated");

/// Milliseconds that the request waited in the gateway for its turn.
const QUEUE_MS: HeaderName = HeaderName::from_static("x-bailian-queue-ms");

/// Switches of a call (http-native.md §3.1, compat.md §1.3) and the client's own name. Neither the
/// caller's credentials nor a workspace of its choice are among them: both are the account's.
const TO_UPSTREAM: [&str; 14] = [
    "accept",
    "anthropic-beta",
    "anthropic-version",
    "user-agent",
    "x-dashscope-async",
    "x-dashscope-cachecontrol",
    "x-dashscope-datainspection",
    "x-dashscope-encryptionkey",
    "x-dashscope-ossresourceresolve",
    "x-dashscope-plugin",
    "x-dashscope-sdk-client",
    "x-dashscope-sdk-session-id",
    "x-dashscope-session-cache",
    "x-dashscope-sse",
];

/// Facts about the answer (http-native.md §1.4). Internal ones (`x-dashscope-inner-…`, account and
/// key ids), cookies and infrastructure stay behind.
const TO_CLIENT: [&str; 11] = [
    "content-encoding",
    "content-type",
    "req-arrive-time",
    "req-cost-time",
    "resp-start-time",
    "retry-after",
    "retry-after-ms",
    "x-dashscope-call-gateway",
    "x-dashscope-finished",
    "x-dashscope-timeout",
    "x-should-retry",
];

/// The longest list of what was left out, in characters.
const MAX_DROPPED_CHARS: usize = 500;

/// The bytes of all names and values together.
pub(crate) fn total_bytes(headers: &HeaderMap) -> usize {
    headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum()
}

/// What the caller presents as its key: `Authorization: Bearer` or `x-api-key`, exactly one.
pub(crate) fn presented_key(headers: &HeaderMap) -> Option<&[u8]> {
    let mut authorizations = headers.get_all(AUTHORIZATION).iter();
    let mut api_keys = headers.get_all("x-api-key").iter();
    match (authorizations.next(), api_keys.next()) {
        (Some(value), None) if authorizations.next().is_none() => bearer(value.as_bytes()),
        (None, Some(value)) if api_keys.next().is_none() => Some(value.as_bytes()),
        _ => None,
    }
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, key) = value.split_at_checked(7)?;
    scheme
        .eq_ignore_ascii_case(b"bearer ")
        .then(|| key.trim_ascii())
}

/// The caller's header lines that matter after the request was read: those that may go upstream,
/// and those for the gateway itself.
pub(super) fn needed(from: &HeaderMap, accounts: &[Account]) -> HeaderMap {
    let is_needed = |name: &HeaderName| {
        TO_UPSTREAM.contains(&name.as_str())
            || name.as_str().starts_with(OWN)
            || accounts.iter().any(|account| account.forwards(name))
    };
    let mut headers = HeaderMap::with_capacity(8);
    for (name, value) in from.iter().filter(|(name, _)| is_needed(name)) {
        headers.append(name.clone(), value.clone());
    }
    headers
}

/// The header lines of the upstream request. Those of the service's own are for the service only.
pub(super) fn to_upstream(
    from: &HeaderMap,
    account: &Account,
    endpoint: &Endpoint,
    event_stream: Option<bool>,
) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(12);
    headers.insert(HOST, endpoint.origin.host_header().clone());
    for (name, value) in from {
        let passes = TO_UPSTREAM.contains(&name.as_str())
            && (account.is_service() || !name.as_str().starts_with("x-dashscope-"));
        if passes || account.forwards(name) {
            headers.append(name.clone(), value.clone());
        }
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    match event_stream {
        None => {}
        Some(true) => {
            headers.insert(X_DASHSCOPE_SSE, HeaderValue::from_static("enable"));
            headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        }
        Some(false) => {
            headers.remove(X_DASHSCOPE_SSE);
            headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        }
    }
    if let Some(authorization) = account.authorization() {
        headers.insert(AUTHORIZATION, authorization);
    }
    account.add_workspace(&mut headers);
    headers
}

/// The header lines of the answer, from those of upstream's.
pub(super) fn to_client(from: &HeaderMap, is_event_stream: bool) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(12);
    for (name, value) in from {
        if TO_CLIENT.contains(&name.as_str()) {
            headers.append(name.clone(), value.clone());
        }
    }
    if let Some(id) = from.get(X_REQUEST_ID) {
        headers.insert(UPSTREAM_REQUEST_ID, id.clone());
    }
    if is_event_stream {
        unbuffered(&mut headers);
    }
    headers
}

/// The header lines of a stream that begins before upstream's answer.
pub(super) fn of_event_stream() -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(6);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    unbuffered(&mut headers);
    headers
}

pub(super) fn unbuffered(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
}

/// Puts the gateway's request id on an answer.
pub(crate) fn stamp(headers: &mut HeaderMap, request_id: RequestId) {
    headers.insert(X_REQUEST_ID, request_id.to_header());
}

/// How long the request waited for its turn.
pub(super) fn stamp_queued(headers: &mut HeaderMap, queued: Duration) {
    let value = match u64::try_from(queued.as_millis()).unwrap_or(u64::MAX) {
        0 => HeaderValue::from_static("0"),
        millis => millis.into(),
    };
    headers.insert(QUEUE_MS, value);
}

/// Says that the answer was translated, and what that cost.
pub(super) fn stamp_translation(headers: &mut HeaderMap, from: Dialect, to: Dialect) {
    let text = format!("{from}>{to}");
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.insert(TRANSLATED, value);
    }
}

/// Names what was left out.
pub(super) fn stamp_losses(headers: &mut HeaderMap, losses: &Losses) {
    if losses.is_empty() {
        return;
    }
    // Names of members are the caller's own words: what a header cannot hold is left out.
    let text: String = losses
        .to_string()
        .chars()
        .filter(|c| c.is_ascii_graphic() || *c == ' ')
        .take(MAX_DROPPED_CHARS)
        .collect();
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.insert(DROPPED, value);
    }
}

/// Says how often the request was tried.
pub(super) fn stamp_attempts(headers: &mut HeaderMap, attempts: u32) {
    if attempts > 1 {
        headers.insert(ATTEMPTS, attempts.into());
    }
}

/// How long upstream asks to wait, in seconds or milliseconds.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let number = |name: &str| -> Option<u64> { headers.get(name)?.to_str().ok()?.parse().ok() };
    number("retry-after-ms")
        .map(Duration::from_millis)
        .or_else(|| number("retry-after").map(Duration::from_secs))
}

/// Whether the answer is a stream of events.
pub(crate) fn is_event_stream(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.as_bytes().get(..17))
        .is_some_and(|kind| kind.eq_ignore_ascii_case(b"text/event-stream"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    #[test]
    fn either_form_of_a_key_is_read() {
        let authorization = map(&[("authorization", "bearer sk-1")]);
        assert_eq!(presented_key(&authorization), Some(&b"sk-1"[..]));
        assert_eq!(
            presented_key(&map(&[("x-api-key", "sk-2")])),
            Some(&b"sk-2"[..])
        );
    }

    #[test]
    fn two_keys_in_one_request_are_none() {
        let mut twice = map(&[("authorization", "Bearer sk-1")]);
        twice.append(AUTHORIZATION, HeaderValue::from_static("Bearer sk-2"));
        let both = map(&[("authorization", "Bearer sk-1"), ("x-api-key", "sk-1")]);
        let basic = map(&[("authorization", "Basic c2s6MQ==")]);
        for headers in [twice, both, basic, HeaderMap::new()] {
            assert_eq!(presented_key(&headers), None, "{headers:?}");
        }
    }

    #[test]
    fn internal_headers_and_cookies_of_upstream_stay_behind() {
        let from = map(&[
            ("content-type", "application/json"),
            ("set-cookie", "acw_tc=1"),
            ("x-dashscope-uid", "1"),
            ("x-dashscope-apikeyid", "2"),
            ("x-dashscope-inner-flow-control-meta", "{}"),
            ("x-request-id", "up-1"),
            ("location", "http://metadata/"),
        ]);
        let to = to_client(&from, false);
        let mut names: Vec<&str> = to.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-type", "x-bailian-upstream-request-id"]);
    }
}
