//! What is remembered of one request: counted and logged when it ends, however it ends.

mod bill;
mod observed;
mod timing;
mod tries;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bailian_quota::{Permit, Usage as Settled};
use bailian_wire::chat::Usage;
use bailian_wire::error::ApiError;
use bailian_wire::{Dialect, tokens};
use bytes::Bytes;
use http::header::HeaderValue;
use http::{HeaderMap, StatusCode};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use uuid::{Builder, Uuid};

use self::timing::Elsewhere;
use self::tries::Tries;
use crate::account::Account;
use crate::accounting::{Asked, Charge, is_limited};
use crate::cache::{CacheResult, Ending};
use crate::config::Repairs;
use crate::errors::{Refusal, code_of};
use crate::finish::FinishReasons;
use crate::keys::Owner;
use crate::metrics::{OpenGuard, Outcome};
use crate::responses::Turn;
use crate::route::Target;
use crate::state::State;
use crate::surface::STORED;
use crate::telemetry::Trace;
use crate::usage::TokenCounts;

/// The gateway's own id of a request: a version 7 UUID, so that ids sort by time.
#[derive(Clone, Copy)]
pub(crate) struct RequestId([u8; 36], Uuid);

impl RequestId {
    pub(crate) fn new(unix_millis: u64) -> Self {
        let mut random = [0; 10];
        fastrand::fill(&mut random);
        let id = Builder::from_unix_timestamp_millis(unix_millis, &random).into_uuid();
        let mut text = [0; 36];
        id.hyphenated().encode_lower(&mut text);
        Self(text, id)
    }

    pub(crate) fn as_str(&self) -> &str {
        // Hexadecimal digits and hyphens are UTF-8, so the fallback is never taken.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The same as a number.
    pub(crate) fn uuid(self) -> Uuid {
        self.1
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

/// How long a request waits for what other replicas hold of its caller's limits.
const OTHERS_PATIENCE: Duration = Duration::from_secs(3);

/// One request from its head to its end.
#[derive(Debug)]
pub(crate) struct Record {
    state: Arc<State>,
    pub(crate) request_id: RequestId,
    pub(crate) dialect: Dialect,
    started: Instant,
    first_byte: Option<Duration>,
    elsewhere: Elsewhere,
    /// What spans will be made of; `None` without telemetry.
    trace: Option<Box<Trace>>,
    pub(crate) owner: Option<Owner>,
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
    /// What became of each time, for the ledger.
    tries: Tries,
    /// What it holds of its caller's limits, and its entry in the ledger.
    charge: Option<Box<Charge>>,
    /// What it serves, and what it asked for, for the ledger.
    pub(crate) surface: &'static str,
    /// The whole report of usage, where upstream gave one.
    pub(crate) report: Option<Box<Usage>>,
    /// Why its answers ended, where somebody wants to know.
    pub(crate) finish: FinishReasons,
    /// The usage is a guess.
    pub(crate) is_estimated: bool,
    /// Upstream's id of the request.
    pub(crate) upstream_id: Option<Box<str>>,
    /// The code of the error that it ended with.
    pub(crate) error_code: Option<Box<str>>,
    closed: bool,
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
    /// In a box: it goes from hand to hand, and each would have to make room for it.
    pub(crate) fn begin(state: &Arc<State>, dialect: Dialect) -> Box<Self> {
        state.metrics.begin_request();
        Box::new(Self {
            request_id: RequestId::new(state.clock.unix_millis()),
            dialect,
            started: state.clock.now(),
            first_byte: None,
            elsewhere: Elsewhere::default(),
            trace: None,
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
            tries: Tries::default(),
            charge: None,
            surface: "",
            report: None,
            finish: FinishReasons::default(),
            is_estimated: false,
            upstream_id: None,
            error_code: None,
            closed: false,
            target: None,
            settled: TokenCounts::default(),
            cache: None,
            from_cache: false,
            ending: None,
            state: Arc::clone(state),
        })
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
            tracing::warn!(
                request_id = self.request_id.as_str(),
                key = self.key_name(),
                tenant = self.tenant(),
                model = &**model,
                account,
                upstream_model = target.model.as_deref(),
                "a target failed again and again; others are asked before it"
            );
        }
    }

    /// An error of upstream without the account's keys.
    pub(crate) fn without_keys(&self, text: Bytes) -> Bytes {
        let target = self.target.as_ref();
        let account = target.and_then(|target| self.state.accounts.get(target.account));
        match account {
            Some(account) => account.without_keys(text),
            None => text,
        }
    }

    /// What upstream refused, as this request's own refusal.
    pub(crate) fn refusal_of(&self, error: &ApiError) -> Refusal {
        Refusal::of_api(error).shown_by(|text| {
            let shown = self.without_keys(Bytes::copy_from_slice(text.as_bytes()));
            String::from_utf8_lossy(&shown).into_owned()
        })
    }

    /// Says how the request ended, which counts it.
    pub(crate) fn end_as(&mut self, outcome: Outcome) {
        self.outcome = outcome;
        if let Some(ending) = &self.ending {
            ending.note(outcome, self.usage);
        }
        self.close();
    }

    pub(crate) fn now(&self) -> Instant {
        self.state.clock.now()
    }

    /// Checks what the caller may use.
    pub(crate) fn may_use(&self) -> Result<(), Refusal> {
        let caller = self.owner.as_ref().and_then(|owner| owner.caller.as_ref());
        let (Some(caller), Some(model)) = (caller, &self.model) else {
            return Ok(());
        };
        // What an account has stored is no model.
        let allowed = if &**model == STORED {
            caller.may_call(self.surface)
        } else {
            caller.may_use(model, self.surface)
        };
        allowed.map_err(|why| Refusal::not_allowed(why, model))
    }

    /// Checks what the caller may spend, and begins the ledger's entry. `target` is the first that
    /// will be asked. What other replicas hold of a limit is waited for, a moment at most.
    pub(crate) async fn admit(
        &mut self,
        target: &Target,
        body: &[u8],
        max_output: Option<u64>,
    ) -> Result<(), Refusal> {
        let mut result = self.try_admit(target, body, max_output);
        if matches!(&result, Err(refusal) if refusal.may_pass_soon()) {
            self.leave();
            result = Box::pin(self.admit_soon(target, body, max_output)).await;
            self.come_back();
        }
        if let Err(limit) = result.as_ref().map_err(Refusal::limit)
            && let Some(limit) = limit
        {
            self.state.metrics.count_limited(limit);
        }
        result
    }

    /// Tries again whenever other replicas have answered.
    async fn admit_soon(
        &mut self,
        target: &Target,
        body: &[u8],
        max_output: Option<u64>,
    ) -> Result<(), Refusal> {
        let accounting = self.state.accounting.as_ref();
        let sharing = accounting.and_then(|it| it.sharing.clone());
        let deadline = tokio::time::Instant::now() + OTHERS_PATIENCE;
        loop {
            let mut answer = sharing.as_ref().map(|sharing| sharing.next_answer());
            let result = self.try_admit(target, body, max_output);
            let waits = matches!(&result, Err(refusal) if refusal.may_pass_soon());
            let Some(answer) = answer.as_mut().filter(|_| waits) else {
                return result;
            };
            match tokio::time::timeout_at(deadline, answer.changed()).await {
                Ok(Ok(())) => {}
                // None came in time, or none will come any more.
                Err(_) | Ok(Err(_)) => return result,
            }
        }
    }

    fn try_admit(
        &mut self,
        target: &Target,
        body: &[u8],
        max_output: Option<u64>,
    ) -> Result<(), Refusal> {
        let (Some(accounting), Some(owner), Some(model)) =
            (&self.state.accounting, &self.owner, &self.model)
        else {
            return Ok(());
        };
        if self.charge.is_some() {
            return Ok(());
        }
        // To look at what an account has stored costs nothing.
        let is_stored = &**model == STORED;
        if is_stored {
            return Ok(());
        }
        let account = self.state.accounts.get(target.account);
        let is_limited = owner.caller.as_deref().is_some_and(is_limited);
        let estimate = if is_limited {
            tokens::estimate_request(body)
        } else {
            tokens::estimate_bytes(body)
        };
        let charge = accounting.admit(&Asked {
            id: self.request_id.uuid(),
            started_unix_ms: self.state.clock.unix_millis(),
            key_name: &owner.name,
            tenant_name: &owner.tenant,
            caller: owner.caller.as_deref(),
            surface: self.surface,
            dialect: self.dialect.as_str(),
            model,
            upstream_model: target.model.as_deref().unwrap_or(model),
            region: account.and_then(|account| account.region.as_deref()),
            is_limited,
            input_tokens: estimate.input_tokens,
            max_output,
        });
        self.charge = Some(Box::new(charge?));
        Ok(())
    }

    /// Notes upstream's id of the request, for the ledger.
    pub(crate) fn note_upstream_id(&mut self, headers: &HeaderMap) {
        if self.charge.is_some() {
            let id = headers.get("x-request-id").and_then(|id| id.to_str().ok());
            self.upstream_id = id.map(Box::from);
        }
    }

    /// Notes that the request goes out to a target.
    pub(crate) fn note_sent(&mut self, target: &Target) {
        self.attempts += 1;
        self.target = Some(target.clone());
        self.trace_attempt(target);
        if let Some(charge) = &mut self.charge {
            charge.sent();
            self.tries.begin(target);
        }
    }

    /// Notes that nothing of it went out after all.
    pub(crate) fn note_not_sent(&mut self) {
        if let Some(charge) = &mut self.charge {
            charge.not_sent();
        }
    }

    /// Notes what became of the target that was asked last, where the request goes on without it.
    pub(crate) fn note_failed(&mut self, outcome: Outcome) {
        self.tries.end(outcome);
        if outcome == Outcome::UpstreamError
            && self.first_byte.is_none()
            && let Some(charge) = &mut self.charge
        {
            charge.refused();
        }
    }

    /// Keeps the code of the model service's error.
    pub(crate) fn note_error(&mut self, error: &ApiError) {
        self.error_code = Some(code_of(error).into());
    }

    /// What ends the stream of this request's key when the key is revoked so.
    pub(crate) fn cut(&self) -> Option<CancellationToken> {
        let accounting = self.state.accounting.as_ref()?;
        let caller = self.owner.as_ref()?.caller.as_ref()?;
        Some(accounting.cut_of(caller.key_id()))
    }

    /// Whether the whole report of usage is of use.
    pub(crate) fn wants_report(&self) -> bool {
        self.charge.is_some()
    }

    /// What its input is estimated to be, where somebody pays for it.
    pub(crate) fn estimated_input(&self) -> Option<u64> {
        self.charge.as_ref().map(|charge| charge.input_tokens())
    }

    /// Tells the lane how many output tokens have come so far.
    pub(crate) fn observe(&mut self, output_tokens: u64) {
        if let Some(permit) = &mut self.permit {
            permit.observe(output_tokens);
        }
    }

    /// Holds leave to send; what was held before is settled as estimated.
    pub(crate) fn hold(&mut self, permit: Permit) {
        self.release(Settled::unknown());
        self.permit = Some(permit);
    }

    /// Settles what is held, if anything is.
    pub(crate) fn release(&mut self, usage: Settled) {
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
    fn unsettled(&self, so_far: TokenCounts) -> Settled {
        let settled = self.settled;
        Settled::new(
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
        responses.conversation(response_id, &owner.tenant_key(), self.now())
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

impl Record {
    /// Whether it was counted.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Counts the request and puts its bill into the ledger: before the last of its answer goes
    /// out, so that no finished request can be lost. Done on drop for whoever does not.
    pub(crate) fn close(&mut self) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        let now = self.now();
        let elapsed = now.saturating_duration_since(self.started);
        let overhead = elapsed.saturating_sub(self.elsewhere.total(now));
        self.tries.end(self.outcome);
        self.settle_charge(elapsed);
        let metrics = &self.state.metrics;
        metrics.end_request(
            self.dialect,
            self.outcome,
            elapsed,
            self.first_byte,
            overhead,
        );
        if let Some(result) = self.cache {
            metrics.count_cache(result);
        }
        if let Some(usage) = self.usage.filter(|_| !self.from_cache) {
            let model = self.model.as_deref().unwrap_or_default();
            metrics.count_tokens(self.dialect, model, usage);
        }
        self.report_to_telemetry(elapsed);
        if let Some(permit) = self.permit.take() {
            match self.usage {
                Some(usage) => permit.settle(self.unsettled(usage)),
                // An error instead of an answer costs no tokens; what was broken off counts as it
                // was estimated.
                None if self.outcome == Outcome::UpstreamError && self.first_byte.is_none() => {
                    permit.settle(Settled::new(0, 0));
                }
                None => permit.settle(Settled::unknown()),
            }
        }
        tracing::debug!(
            request_id = self.request_id.as_str(),
            dialect = %self.dialect,
            key = self.key_name(),
            tenant = self.tenant(),
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
            overhead_us = overhead.as_secs_f64() * 1e6,
            "request ended"
        );
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.close();
    }
}
