//! A request's trace while it runs, and the header that carries it (W3C Trace Context).

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::route::Target;
use crate::upstream::UpstreamError;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The most attempts that a trace keeps; a request that is throttled again and again has more.
const MOST_ATTEMPTS: usize = 16;

/// The longest `tracestate` that is kept, in bytes (W3C Trace Context, 3.3.1.5).
const MOST_STATE_BYTES: usize = 512;

/// A request's trace. Times are since the request's head.
#[derive(Debug)]
pub(crate) struct Trace {
    pub(super) id: [u8; 16],
    pub(super) span: [u8; 8],
    /// The caller's span.
    pub(super) parent: Option<[u8; 8]>,
    pub(super) state: Option<HeaderValue>,
    is_sampled: bool,
    /// Milliseconds since the Unix epoch.
    pub(super) started: u64,
    pub(super) attempts: Vec<Attempt>,
}

/// One time that a request was sent.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) span: [u8; 8],
    /// The account's place among all.
    pub(super) account: usize,
    /// The model's name there; `None` is the name that the caller used.
    pub(super) model: Option<Arc<str>>,
    /// How long it was in line before.
    pub(super) queued: Duration,
    pub(super) began: Duration,
    /// `None` while its answer is passed on: it then ends with the request.
    pub(super) ended: Option<Duration>,
    pub(super) head: Option<Duration>,
    pub(super) status: Option<StatusCode>,
    pub(super) error: Option<&'static str>,
}

impl Trace {
    pub(super) fn begin(headers: &HeaderMap, started: u64, sample_below: u64) -> Self {
        let given = headers
            .get(TRACEPARENT)
            .and_then(|value| parse(value.as_bytes()));
        let (id, parent, is_sampled) = match given {
            // Whoever began the trace has decided.
            Some(given) => (given.id, Some(given.span), given.is_sampled),
            None => {
                let id: [u8; 16] = random();
                let [_, _, _, _, _, _, _, _, tail @ ..] = id;
                let is_sampled = u64::from_be_bytes(tail) >> 1 < sample_below;
                (id, None, is_sampled)
            }
        };
        let state = parent.and_then(|_| headers.get(TRACESTATE));
        let state = state.filter(|state| state.len() <= MOST_STATE_BYTES);
        Self {
            id,
            span: random(),
            parent,
            state: state.cloned(),
            is_sampled,
            started,
            attempts: Vec::new(),
        }
    }

    pub(crate) fn is_sampled(&self) -> bool {
        self.is_sampled
    }

    /// The request goes out after it was `queued` for so long.
    pub(crate) fn begin_attempt(&mut self, now: Duration, target: &Target, queued: Duration) {
        if let Some(last) = self.attempts.last_mut() {
            last.ended.get_or_insert(now);
        }
        if self.attempts.len() == MOST_ATTEMPTS {
            // The first ones tell why, the last one how it ended.
            self.attempts.pop();
        }
        self.attempts.push(Attempt {
            span: random(),
            account: target.account,
            model: target.model.clone(),
            queued,
            began: now,
            ended: None,
            head: None,
            status: None,
            error: None,
        });
    }

    /// Its answer begins, or will not.
    pub(crate) fn end_attempt(
        &mut self,
        now: Duration,
        answer: Result<StatusCode, &UpstreamError>,
    ) {
        let Some(attempt) = self.attempts.last_mut() else {
            return;
        };
        match answer {
            Ok(status) => {
                attempt.head = Some(now);
                attempt.status = Some(status);
                if !status.is_success() {
                    attempt.ended = Some(now);
                }
            }
            Err(error) => {
                attempt.error = Some(kind_of(error));
                attempt.ended = Some(now);
            }
        }
    }

    /// Writes the header lines with which upstream's own trace goes on with this one.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        let span = self
            .attempts
            .last()
            .map_or(self.span, |attempt| attempt.span);
        let text = format!(
            "00-{:032x}-{:016x}-{:02x}",
            u128::from_be_bytes(self.id),
            u64::from_be_bytes(span),
            u8::from(self.is_sampled)
        );
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert(TRACEPARENT, value);
        }
        match &self.state {
            Some(state) => headers.insert(TRACESTATE, state.clone()),
            None => headers.remove(TRACESTATE),
        };
    }
}

/// A class of errors, as `error.type`.
fn kind_of(error: &UpstreamError) -> &'static str {
    match error {
        UpstreamError::Connect { .. } => "connect",
        UpstreamError::ConnectTimeout { .. } => "connect_timeout",
        UpstreamError::ResponseTimeout { .. } => "timeout",
        UpstreamError::Closed { .. } => "closed",
        UpstreamError::Cut { .. } => "cut",
        UpstreamError::Idle { .. } => "idle",
    }
}

/// An id that is not zero, which the standard keeps for "none".
fn random<const N: usize>() -> [u8; N] {
    let mut id = [0; N];
    fastrand::fill(&mut id);
    if id.iter().all(|byte| *byte == 0) {
        id.fill(1);
    }
    id
}

struct Parent {
    id: [u8; 16],
    span: [u8; 8],
    is_sampled: bool,
}

/// Reads `traceparent`. Later versions may have more behind what version 00 has.
fn parse(value: &[u8]) -> Option<Parent> {
    let fixed = value.get(..55)?;
    let version: [u8; 1] = hex(fixed.get(..2)?)?;
    let separators = [fixed[2], fixed[35], fixed[52]];
    let is_longer = value.len() > 55;
    let is_well_formed = separators == *b"---"
        && match version {
            [0xff] => false,
            [0] => !is_longer,
            _ => !is_longer || value[55] == b'-',
        };
    if !is_well_formed {
        return None;
    }
    let id: [u8; 16] = hex(&fixed[3..35])?;
    let span: [u8; 8] = hex(&fixed[36..52])?;
    let [flags] = hex(&fixed[53..55])?;
    (id != [0; 16] && span != [0; 8]).then_some(Parent {
        id,
        span,
        is_sampled: flags & 1 == 1,
    })
}

/// Lower-case hexadecimal digits, as the standard has them.
fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn begin(value: &str, below: u64) -> Trace {
        let headers = HeaderMap::from_iter([(TRACEPARENT, HeaderValue::from_str(value).unwrap())]);
        Trace::begin(&headers, 0, below)
    }

    #[test]
    fn a_callers_trace_goes_on_and_its_decision_holds() {
        let trace = begin(GIVEN, 0);
        assert!(trace.is_sampled());
        assert_eq!(
            trace.parent,
            Some([0, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7])
        );
        let mut headers = HeaderMap::new();
        trace.write(&mut headers);
        let written = headers[TRACEPARENT].to_str().unwrap();
        assert!(written.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"));
        assert!(written.ends_with("-01") && !written.contains("00f067aa0ba902b7"));
        assert!(!begin(&GIVEN.replace("-01", "-00"), 1 << 63).is_sampled());
    }

    #[test]
    fn what_is_no_traceparent_begins_a_trace() {
        for bad in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
        ] {
            let trace = begin(bad, 1 << 63);
            assert_eq!(trace.parent, None, "{bad}");
            assert!(trace.is_sampled(), "{bad}");
        }
        assert!(
            begin(&format!("cc{}-later", &GIVEN[2..]), 0)
                .parent
                .is_some()
        );
    }

    #[test]
    fn the_share_that_is_sampled_is_about_the_one_asked_for() {
        let of = |below| {
            let begun = (0..4_000).map(|_| Trace::begin(&HeaderMap::new(), 0, below));
            begun.filter(Trace::is_sampled).count()
        };
        assert_eq!(of(0), 0);
        assert_eq!(of(1 << 63), 4_000);
        assert!((800..1_200).contains(&of(1 << 61)), "a quarter");
    }
}
