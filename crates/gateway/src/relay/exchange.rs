//! From the line to the head of upstream's answer, over one target after the other.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bailian::pacing::throttle_of;
use bailian_quota::{Throttle, Usage, Wait};
use bailian_wire::error::{ApiError, ErrorClass};
use http::StatusCode;

use super::cached::Keep;
use super::resume::Resume;
use super::shape::{Answering, Outgoing, SoFar, shape};
use super::stored::{self, Holder};
use super::waiting::{Caller, WaitingBody};
use super::{Call, Chain, answer, headers, plain, refuse};
use crate::account::Account;
use crate::errors::Refusal;
use crate::metrics::Outcome;
use crate::record::Record;
use crate::route::{Admission, Plan, Spread, Target, is_fault};
use crate::surface::Surface;
use crate::upstream::{UpstreamBody, UpstreamError};
use crate::worker::Worker;

/// How often a request that upstream throttled is sent again. Throttled requests were not begun
/// and are not billed.
const MOST_REQUEUES: u32 = 5;

/// Requests whose messages are at least so long stay with one account, in bytes: about the 1,024
/// tokens from which the provider's cache helps (compat.md §2.9).
const STICKY_BYTES: usize = 4 * 1024;

/// How much of the body decides where such a request goes. Turns that are added at the end change
/// nothing.
const PREFIX_BYTES: usize = 2 * 1024;

/// One request that may be sent, with everything that it needs.
pub(super) struct Exchange {
    worker: Worker,
    call: Box<Call>,
    plan: Plan,
    /// The target that is tried.
    at: usize,
    record: Box<Record>,
    /// What the client of a broken stream has.
    so_far: Option<SoFar>,
    /// Keeps the answer for others.
    keep: Option<Box<Keep>>,
}

/// An answer of upstream, good or bad, and what is to be done with it.
pub(super) struct Answered {
    pub(super) answer: http::Response<UpstreamBody>,
    pub(super) answering: Answering,
    /// What is needed to go on if it breaks off.
    pub(super) resume: Option<Box<Resume>>,
}

/// A request that stands in line after all of its patience.
struct StillWaits(Wait);

/// What became of one target.
enum Tried {
    /// Its answer is the request's answer.
    Answered(http::Response<UpstreamBody>, Answering),
    /// The gateway's own no is.
    Refused(Refusal),
    /// The next target may do better.
    Next,
}

impl Exchange {
    pub(super) fn new(worker: Worker, call: Box<Call>, record: Box<Record>) -> Self {
        let routes = &worker.state.routes;
        let several = worker.state.accounts.len() > 1;
        let spread = match call.bytes.get(..PREFIX_BYTES) {
            Some(prefix) if several && call.bytes.len() >= STICKY_BYTES => Spread::Prefix(prefix),
            _ => Spread::Evenly,
        };
        let mut plan = routes.plan(&call.demand.model, spread, worker.state.clock.now());
        stored::bind(&mut plan, &call, &worker.state.accounts);
        Self {
            worker,
            call,
            plan,
            at: 0,
            record,
            so_far: None,
            keep: None,
        }
    }

    /// As a request whose answer is kept for others.
    pub(super) fn kept(mut self, keep: Option<Box<Keep>>) -> Self {
        self.keep = keep;
        self
    }

    /// For the rest of a stream that broke off.
    pub(super) fn of_rest(resume: Resume, record: Box<Record>, so_far: Option<SoFar>) -> Self {
        Self {
            worker: resume.worker,
            call: resume.call,
            plan: resume.plan,
            at: 0,
            record,
            so_far,
            keep: None,
        }
    }

    /// Waits, sends, and makes the client's response; says how long it waited. The client of a
    /// stream that stands in line for long is answered at once, and hears while it waits that the
    /// connection lives.
    pub(super) async fn respond(mut self) -> (Response, Duration) {
        let keep_alive = self.worker.state.pacing.keep_alive();
        let patience = self.call.demand.stream.then_some(keep_alive);
        match self.exchange(None, patience).await {
            Ok(result) => self.conclude(result).await,
            Err(StillWaits(wait)) => {
                let caller = Caller::of(&self.record);
                let rest = Box::pin(async move {
                    match self.exchange(Some(wait), None).await {
                        Ok(result) => self.conclude(result).await,
                        // Without an end to its patience nobody is left waiting.
                        Err(StillWaits(_)) => self.conclude(Err(Refusal::internal())).await,
                    }
                });
                let body = WaitingBody::new(rest, keep_alive, caller);
                let mut response = Response::new(Body::new(body));
                *response.headers_mut() = headers::of_event_stream();
                (response, keep_alive)
            }
        }
    }

    /// The rest of a stream: the record comes back, since the stream's body keeps it.
    pub(super) async fn rest(mut self, left: u8) -> (Box<Record>, Result<Answered, Refusal>) {
        let result = match self.exchange(None, None).await {
            Ok(result) => result,
            Err(StillWaits(_)) => Err(Refusal::internal()),
        };
        let Self {
            worker,
            call,
            plan,
            at,
            record,
            ..
        } = self;
        let result = result.map(|(answer, answering)| Answered {
            answer,
            answering,
            resume: Some(Box::new(Resume::new(worker, call, plan, at).after(left))),
        });
        (record, result)
    }

    async fn conclude(
        mut self,
        result: Result<(http::Response<UpstreamBody>, Answering), Refusal>,
    ) -> (Response, Duration) {
        let queued = self.record.queued;
        let attempts = self.record.attempts;
        let mut keep = self.keep.take();
        let result = match result {
            // What the gateway makes of a chat, it keeps itself.
            Ok((answer, answering)) if self.call.surface.is_stateful() && !answering.translate => {
                match Box::pin(self.note_stored(answer)).await {
                    Ok(answer) => Ok((answer, answering)),
                    Err(error) => {
                        let response = plain::broken_off(&error, self.record);
                        return (response, queued);
                    }
                }
            }
            result => result,
        };
        let mut response = match result {
            Ok((answer, answering)) => {
                if let Some(keep) = &mut keep {
                    keep.see(answer.headers());
                }
                let is_chat = matches!(
                    self.call.surface,
                    Surface::Chat(_) | Surface::NativeMultimodal
                );
                let resume = (is_chat
                    && answering.stream
                    && self.worker.state.repairs.resume
                    && (answering.can_continue || self.plan.targets.len() > 1))
                    .then(|| Box::new(Resume::new(self.worker, self.call, self.plan, self.at)));
                let answered = Answered {
                    answer,
                    answering,
                    resume,
                };
                answer::relay(answered, self.record).await
            }
            Err(refusal) => refuse(&refusal, self.record),
        };
        if let Some(keep) = keep {
            // Seldom needed, and it would make every request's future larger.
            response = Box::pin(keep.watch(response)).await;
        }
        headers::stamp_attempts(response.headers_mut(), attempts);
        (response, queued)
    }

    /// Remembers whose it is what an answer brings, before it goes out.
    async fn note_stored(
        &mut self,
        answer: http::Response<UpstreamBody>,
    ) -> Result<http::Response<UpstreamBody>, UpstreamError> {
        self.record.leave();
        let noted = stored::note(&self.worker, &self.call, &self.record, answer).await;
        self.record.come_back();
        noted
    }

    /// Tries the targets in turn. Gives up after `patience` if the request stands in line then.
    async fn exchange(
        &mut self,
        mut wait: Option<Wait>,
        patience: Option<Duration>,
    ) -> Result<Result<(http::Response<UpstreamBody>, Answering), Refusal>, StillWaits> {
        if let Some(first) = self.plan.targets.first() {
            let max_output = self.call.demand.max_output;
            let admitted = self.record.admit(first, &self.call.bytes, max_output);
            if let Err(refusal) = admitted.await {
                return Ok(Err(refusal));
            }
        }
        loop {
            let Some(target) = self.plan.targets.get(self.at).cloned() else {
                return Ok(Err(match self.call.demand.holder {
                    Holder::Anywhere => Refusal::internal(),
                    Holder::Account(_) | Holder::Here => Refusal::held_elsewhere(),
                }));
            };
            let has_next = self.at + 1 < self.plan.targets.len();
            if has_next && wait.is_none() && !self.admits(&target) {
                self.at += 1;
                continue;
            }
            match self
                .try_target(&target, has_next, wait.take(), patience)
                .await?
            {
                Tried::Answered(answer, answering) => return Ok(Ok((answer, answering))),
                Tried::Refused(refusal) => return Ok(Err(refusal)),
                Tried::Next => self.at += 1,
            }
        }
    }

    fn admits(&self, target: &Target) -> bool {
        let now = self.record.now();
        let routes = &self.worker.state.routes;
        routes.admit(target, &self.call.demand.model, now) != Admission::Open
    }

    /// Waits for a permit of one target and sends; what it refuses for its limits goes back in line
    /// where there is no other.
    async fn try_target(
        &mut self,
        target: &Target,
        has_next: bool,
        wait: Option<Wait>,
        patience: Option<Duration>,
    ) -> Result<Tried, StillWaits> {
        let outgoing = match self.shape(target) {
            Ok(outgoing) => outgoing,
            Err(_) if has_next => return Ok(Tried::Next),
            Err(refusal) => return Ok(Tried::Refused(refusal)),
        };
        let Some(wait) = wait.or_else(|| self.join(target)) else {
            return Ok(Tried::Refused(Refusal::internal()));
        };
        if has_next && wait.is_queued() && !self.plan.is_sticky && self.has_idle_neighbour() {
            return Ok(Tried::Next);
        }
        let mut wait = wait;
        loop {
            if wait.is_queued() {
                self.record.leave();
            }
            let permit = match patience {
                Some(patience) if wait.is_queued() => {
                    // Seldom needed, and it would make every request's future larger.
                    match Box::pin(tokio::time::timeout(patience, &mut wait)).await {
                        Ok(permit) => permit,
                        Err(_) => return Err(StillWaits(wait)),
                    }
                }
                _ => wait.await,
            };
            self.record.come_back();
            let permit = match permit {
                Ok(permit) => permit,
                Err(_) if has_next && self.falls_back_on(ErrorClass::RateLimitRequests) => {
                    return Ok(Tried::Next);
                }
                Err(refused) => {
                    let model = self.record.model.as_deref().unwrap_or_default();
                    return Ok(Tried::Refused(Refusal::paced(&refused, model)));
                }
            };
            let requeues = permit.attempt();
            self.record.queued = permit.waited();
            self.record.hold(permit);
            self.record.note_sent(target);
            self.record.leave();
            let sent = self.send(target, &outgoing).await;
            self.record.come_back();
            self.record
                .note_head(sent.as_ref().map(http::Response::status));
            let answer = match sent {
                Ok(answer) => answer,
                Err(error) => return Ok(self.lost(&error, has_next)),
            };
            let state = &self.worker.state;
            state.pacing.note_answer(target.account, answer.headers());
            self.record.note_upstream_id(answer.headers());
            if answer.status().is_success() {
                if let Some(permit) = &self.record.permit {
                    permit.admitted();
                }
                if !has_next || outgoing.answering.stream {
                    // Whether it was answered well shows at the end of the answer.
                    return Ok(Tried::Answered(answer, outgoing.answering));
                }
                self.record.leave();
                let held = plain::hold(answer, self.record.idle_limit());
                let held = Box::pin(held).await;
                self.record.come_back();
                return Ok(match held {
                    Ok(answer) => Tried::Answered(answer, outgoing.answering),
                    Err(error) => self.lost(&error, has_next),
                });
            }
            let account = self.worker.state.accounts.get(target.account);
            let look = answer::look_at_error(answer, self.record.idle_limit(), account);
            self.record.leave();
            let (answer, error) = Box::pin(look).await;
            self.record.come_back();
            self.note_health(error.class());
            // An error about the request itself is settled with the record, at no cost.
            let throttle = throttle_of(&error);
            let may_fall_back = has_next && self.falls_back_on(error.class());
            let Some(throttle) = throttle else {
                if may_fall_back {
                    self.log_fall_back(target, &error);
                    self.record.note_failed(Outcome::UpstreamError);
                    self.record.release(Usage::new(0, 0));
                    return Ok(Tried::Next);
                }
                return Ok(Tried::Answered(answer, outgoing.answering));
            };
            let Some(permit) = self.record.permit.take() else {
                return Ok(Tried::Answered(answer, outgoing.answering));
            };
            let hint = headers::retry_after(answer.headers());
            if may_fall_back {
                permit.refused(&throttle, hint);
                self.log_fall_back(target, &error);
                self.record.note_failed(Outcome::UpstreamError);
                return Ok(Tried::Next);
            }
            let again = answer.status() == StatusCode::TOO_MANY_REQUESTS
                && !matches!(throttle, Throttle::Exhausted(_))
                && requeues < MOST_REQUEUES
                && self.record.elapsed() < state.pacing.patience(&self.call.headers)
                && permit.is_worth_waiting();
            if !again {
                permit.refused(&throttle, hint);
                return Ok(Tried::Answered(answer, outgoing.answering));
            }
            tracing::info!(
                request_id = self.record.request_id.as_str(),
                key = self.record.key_name(),
                tenant = self.record.tenant(),
                model = self.record.model.as_deref(),
                reason = throttle.as_str(),
                attempt = requeues,
                "upstream throttled a request; it goes back in line"
            );
            self.record.note_failed(Outcome::UpstreamError);
            wait = permit.requeue(&throttle, hint);
        }
    }

    fn shape(&self, target: &Target) -> Result<Outgoing, Refusal> {
        let state = &self.worker.state;
        let account = state
            .accounts
            .get(target.account)
            .ok_or_else(Refusal::internal)?;
        let so_far = self.so_far.as_ref();
        shape(&self.call, target, account, &self.record, so_far)
    }

    /// Takes a place in the model's line.
    fn join(&self, target: &Target) -> Option<Wait> {
        let owner = self.record.owner.as_deref()?;
        let model = target.model.as_deref().unwrap_or(&self.call.demand.model);
        let pacing = &self.worker.state.pacing;
        let lane = pacing.lane(target.account, model)?;
        let (headers, bytes) = (&self.call.headers, &self.call.bytes);
        let demand = pacing.demand(&lane, owner, headers, bytes, self.call.demand.max_output);
        Some(lane.acquire(demand))
    }

    /// Whether another target of the same group could take the request at once.
    fn has_idle_neighbour(&self) -> bool {
        let group = self.plan.targets.get(self.at + 1..self.plan.group);
        group.into_iter().flatten().any(|target| {
            self.admits(target) && self.join(target).is_some_and(|wait| !wait.is_queued())
        })
    }

    fn account_name(&self, target: &Target) -> Option<&str> {
        let accounts = &self.worker.state.accounts;
        accounts.get(target.account).map(Account::name)
    }

    fn falls_back_on(&self, class: ErrorClass) -> bool {
        self.plan.falls_back_on.contain(class)
    }

    /// Only faults of the target itself say something of its health.
    fn note_health(&self, class: ErrorClass) {
        if is_fault(class) {
            self.record.note_fault();
        } else {
            self.record.note_health();
        }
    }

    /// No answer came.
    fn lost(&mut self, error: &UpstreamError, has_next: bool) -> Tried {
        self.record.note_failed(Outcome::UpstreamLost);
        if error.sent_nothing() {
            self.record.note_not_sent();
            if let Some(permit) = self.record.permit.take() {
                permit.give_back();
            }
        }
        let refusal = Refusal::upstream(error);
        let class = if refusal.status() == StatusCode::GATEWAY_TIMEOUT {
            ErrorClass::Timeout
        } else {
            ErrorClass::Unavailable
        };
        self.note_health(class);
        if has_next && self.falls_back_on(class) {
            self.record.release(Usage::unknown());
            return Tried::Next;
        }
        Tried::Refused(refusal)
    }

    fn log_fall_back(&self, target: &Target, error: &ApiError) {
        tracing::info!(
            request_id = self.record.request_id.as_str(),
            key = self.record.key_name(),
            tenant = self.record.tenant(),
            model = self.record.model.as_deref(),
            account = self.account_name(target),
            class = error.class().as_str(),
            status = error.status(),
            "a target refused a request; the next one is asked"
        );
    }

    /// One attempt.
    async fn send(
        &self,
        target: &Target,
        outgoing: &Outgoing,
    ) -> Result<http::Response<UpstreamBody>, UpstreamError> {
        let account = &self.worker.state.accounts[target.account];
        let endpoint = account.endpoint(outgoing.root);
        let call = &self.call;
        let mut request = http::Request::new(outgoing.bytes.clone());
        *request.method_mut() = call.method.clone();
        // A path that cannot be sent was not routed, so the root is never asked for.
        *request.uri_mut() = endpoint
            .below(&outgoing.path, call.query.as_deref())
            .unwrap_or_default();
        let event_stream = outgoing.event_stream;
        *request.headers_mut() =
            headers::to_upstream(&call.headers, account, endpoint, event_stream);
        self.record.propagate_trace(request.headers_mut());
        let sent = self.worker.upstream.send(&endpoint.origin, request).await;
        sent.inspect_err(|error| {
            tracing::warn!(
                request_id = self.record.request_id.as_str(),
                key = self.record.key_name(),
                tenant = self.record.tenant(),
                model = self.record.model.as_deref(),
                error = %Chain(error),
                "no answer from upstream"
            );
        })
    }
}
