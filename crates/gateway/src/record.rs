//! What is remembered of one request: counted and logged when it ends, however it ends.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bailian_quota::{Permit, Usage};
use bailian_wire::Dialect;
use http::StatusCode;
use http::header::HeaderValue;
use serde_json::Value;
use uuid::Builder;

use crate::account::Account;
use crate::cache::{CacheResult, Ending};
use crate::config::Repairs;
use crate::keys::VirtualKey;
use crate::metrics::{OpenGuard, Outcome};
use crate::responses::Turn;
use crate::route::Target;
use crate::state::State;
use crate::usage::TokenCounts;

/// The gateway's own id of a request: a version 7 UUID, so that ids sort by time.
#[derive(Clone, Copy)]
pub(crate) struct RequestId([u8; 36]);

impl RequestId {
    pub(crate) fn new(unix_millis: u64) -> Self {
        let mut random = [0; 10];
        fastrand::fill(&mut random);
        let id = Builder::from_unix_timestamp_millis(unix_millis, &random).into_uuid();
        let mut text = [0; 36];
        id.hyphenated().encode_lower(&mut text);
        Self(text)
    }

    pub(crate) fn as_str(&self) -> &str {
        // Hexadecimal digits and hyphens are UTF-8, so the fallback is never taken.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    pub(crate) fn to_header(self) -> HeaderValue {
        HeaderValue::from_bytes(&self.0).unwrap_or(HeaderValue::from_static("unknown"))
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One request from its head to its end.
#[derive(Debug)]
pub(crate) struct Record {
    state: Arc<State>,
    pub(crate) request_id: RequestId,
    pub(crate) dialect: Dialect,
    started: Instant,
    first_byte: Option<Duration>,
    pub(crate) owner: Option<Arc<VirtualKey>>,
    pub(crate) model: Option<Box<str>>,
    pub(crate) status: StatusCode,
    pub(crate) usage: Option<TokenCounts>,
    outcome: Outcome,
    stream: Option<OpenGuard>,
    /// Leave to have sent it; settled when the record is dropped.
    pub(crate) permit: Option<Permit>,
    /// How long it waited for that.
    pub(crate) queued: Duration,
    /// How often it was sent.
    pub(crate) attempts: u32,
    /// The target that was asked last.
    pub(crate) target: Option<Target>,
    /// Tokens for which an earlier permit of the same request was settled.
    settled: TokenCounts,
    /// Whether the answer was kept already; `None` where the cache has no part in it.
    pub(crate) cache: Option<CacheResult>,
    /// The answer was paid for by another request: its usage is not to be billed again.
    pub(crate) from_cache: bool,
    /// Tells the cache how the answer ends.
    pub(crate) ending: Option<Arc<Ending>>,
}

impl Record {
    pub(crate) fn begin(state: &Arc<State>, dialect: Dialect) -> Self {
        state.metrics.begin_request();
        Self {
            request_id: RequestId::new(state.clock.unix_millis()),
            dialect,
            started: state.clock.now(),
            first_byte: None,
            owner: None,
            model: None,
            status: StatusCode::OK,
            usage: None,
            // Whoever drops a record without an outcome was waiting for the client.
            outcome: Outcome::ClientLeft,
            stream: None,
            permit: None,
            queued: Duration::ZERO,
            attempts: 0,
            target: None,
            settled: TokenCounts::default(),
            cache: None,
            from_cache: false,
            ending: None,
            state: Arc::clone(state),
        }
    }

    /// Notes that the answer is a stream of events.
    pub(crate) fn begin_stream(&mut self) {
        self.stream = Some(self.state.metrics.begin_stream());
    }

    /// Notes that the first byte of the answer's body goes to the client.
    pub(crate) fn note_first_byte(&mut self) {
        if self.first_byte.is_none() {
            self.first_byte = Some(self.elapsed());
        }
    }

    /// Notes that the target answered as it should, if only with a refusal.
    pub(crate) fn note_health(&self) {
        if let (Some(target), Some(model)) = (&self.target, &self.model) {
            self.state.routes.succeeded(target, model);
        }
    }

    /// Notes that the target failed.
    pub(crate) fn note_fault(&self) {
        let (Some(target), Some(model)) = (&self.target, &self.model) else {
            return;
        };
        if self.state.routes.failed(target, model, self.now()) {
            let account = self.state.accounts.get(target.account).map(Account::name);
            let model = target.model.as_deref().unwrap_or(model);
            tracing::warn!(
                account,
                model,
                "a target failed again and again; others are asked before it"
            );
        }
    }

    /// Sets how the request ended; it is counted when the record is dropped.
    pub(crate) fn end_as(&mut self, outcome: Outcome) {
        self.outcome = outcome;
        if let Some(ending) = &self.ending {
            ending.note(outcome, self.usage);
        }
    }

    pub(crate) fn now(&self) -> Instant {
        self.state.clock.now()
    }

    /// Tells the lane how many output tokens have come so far.
    pub(crate) fn observe(&mut self, output_tokens: u64) {
        if let Some(permit) = &mut self.permit {
            permit.observe(output_tokens);
        }
    }

    /// Holds leave to send; what was held before is settled as estimated.
    pub(crate) fn hold(&mut self, permit: Permit) {
        self.release(Usage::unknown());
        self.permit = Some(permit);
    }

    /// Settles what is held, if anything is.
    pub(crate) fn release(&mut self, usage: Usage) {
        if let Some(permit) = self.permit.take() {
            permit.settle(usage);
        }
    }

    /// Settles the part of an answer that was lost. `so_far` counts that part and those before it,
    /// as does what is reported later.
    pub(crate) fn settle_part(&mut self, so_far: TokenCounts) {
        self.release(self.unsettled(so_far));
        self.settled = so_far;
        self.usage = None;
    }

    /// What of these tokens no permit was settled for yet.
    fn unsettled(&self, so_far: TokenCounts) -> Usage {
        let settled = self.settled;
        Usage::new(
            so_far.input_tokens.saturating_sub(settled.input_tokens),
            so_far.output_tokens.saturating_sub(settled.output_tokens),
        )
    }

    /// Seconds since the Unix epoch.
    pub(crate) fn unix_seconds(&self) -> u64 {
        self.state.clock.unix_millis() / 1000
    }

    /// What is mended in passing.
    pub(crate) fn repairs(&self) -> Repairs {
        self.state.repairs
    }

    /// What led to a response of the same tenant, and that response.
    pub(crate) fn conversation(&self, response_id: &str) -> Option<Vec<Value>> {
        let owner = self.owner.as_ref()?;
        let responses = &self.state.responses;
        responses.conversation(response_id, &owner.tenant, self.now())
    }

    /// Keeps a response for the calls that come back to it.
    pub(crate) fn keep_response(&self, turn: Turn, response: Value) {
        self.state.responses.keep(turn, response, self.now());
    }

    /// Counts a stream that goes on after upstream broke it.
    pub(crate) fn count_resumed(&self) {
        self.state.metrics.count_resumed();
        if let Some(ending) = &self.ending {
            ending.note_patched();
        }
    }

    /// How long an answer may stand still.
    pub(crate) fn idle_limit(&self) -> Duration {
        self.state.timeouts.idle
    }

    /// Time since its head came.
    pub(crate) fn elapsed(&self) -> Duration {
        self.now().saturating_duration_since(self.started)
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let elapsed = self.elapsed();
        let metrics = &self.state.metrics;
        metrics.end_request(self.dialect, self.outcome, elapsed, self.first_byte);
        if let Some(result) = self.cache {
            metrics.count_cache(result);
        }
        if let Some(usage) = self.usage.filter(|_| !self.from_cache) {
            metrics.count_tokens(self.dialect, usage);
        }
        if let Some(permit) = self.permit.take() {
            match self.usage {
                Some(usage) => permit.settle(self.unsettled(usage)),
                // An error instead of an answer costs no tokens; what was broken off counts as it
                // was estimated.
                None if self.outcome == Outcome::UpstreamError && self.first_byte.is_none() => {
                    permit.settle(Usage::new(0, 0));
                }
                None => permit.settle(Usage::unknown()),
            }
        }
        tracing::debug!(
            request_id = self.request_id.as_str(),
            dialect = %self.dialect,
            key = self.owner.as_ref().map(|owner| owner.name.as_str()),
            tenant = self.owner.as_ref().map(|owner| &*owner.tenant),
            model = self.model.as_deref(),
            status = self.status.as_u16(),
            outcome = self.outcome.as_str(),
            stream = self.stream.is_some(),
            input_tokens = self.usage.map(|usage| usage.input_tokens),
            output_tokens = self.usage.map(|usage| usage.output_tokens),
            attempts = self.attempts,
            cache = self.cache.map(CacheResult::as_str),
            from_cache = self.from_cache,
            queued_ms = self.queued.as_secs_f64() * 1e3,
            first_byte_ms = self.first_byte.map(|first| first.as_secs_f64() * 1e3),
            total_ms = elapsed.as_secs_f64() * 1e3,
            "request ended"
        );
    }
}
