//! One call: deadline, own limits, attempts, pauses between them.

mod exchange;
mod failure;

use std::sync::Arc;
use std::time::Duration;

use bailian_quota::{Permit, Refused, RetryCost, Slot};
use bailian_wire::chat::Usage;
use bailian_wire::error::ErrorClass;
use tokio::time::Instant;

pub(crate) use exchange::{Limit, Opened, open, read_all};
pub(crate) use failure::{AttemptFailure, Cause, request_id};

use crate::attempt::{Attempt, Outcome};
use crate::client::{Client, Shared};
use crate::error::{Error, Failed, StreamFailure, TimeoutError, TimeoutPart};
use crate::options::RequestOptions;
use crate::pacing::{Turn, stop_error, throttle_of};
use crate::retry::{RetryPolicy, jitter};
use crate::transport::Sent;

/// The settings of one call, from the client's configuration and the call's options.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) retry: RetryPolicy,
    pub(crate) first_byte: Duration,
    pub(crate) idle: Duration,
    total: Option<Duration>,
    pub(crate) deadline: Option<Instant>,
}

/// The attempts of one call. The caller makes each attempt between [`may_send`](Self::may_send)
/// and [`failed`](Self::failed) or [`succeeded`](Self::succeeded), with everything in it that may
/// be repeated and nothing else.
#[derive(Debug)]
pub(crate) struct Course<'a> {
    shared: &'a Arc<Shared>,
    settings: &'a Settings,
    attempts: Vec<Attempt>,
    waited: Duration,
    turn: Option<&'a Turn>,
    permit: Option<Permit>,
}

/// What a call costs its lane: settled when it is over.
#[derive(Debug, Default)]
pub(crate) struct Spending {
    permit: Option<Permit>,
    pub(crate) usage: Option<Usage>,
}

/// A place in the client's own request limits, given back if the call is dropped while waiting.
struct Place {
    shared: Arc<Shared>,
    slot: Option<Slot>,
}

// === impl Settings ===

impl Settings {
    /// Puts the settings together; the deadline begins now.
    pub(crate) fn of_call(client: &Client, options: &RequestOptions) -> Self {
        let config = &client.shared.config;
        let total = options.total.unwrap_or(config.timeouts.total);
        Self {
            retry: options
                .retry
                .clone()
                .unwrap_or_else(|| config.retry.clone()),
            first_byte: options.first_byte.unwrap_or(config.timeouts.first_byte),
            idle: options.idle.unwrap_or(config.timeouts.idle),
            total,
            deadline: total.and_then(|total| Instant::now().checked_add(total)),
        }
    }

    /// The end of a wait of this length, or of the whole call if that is nearer.
    pub(crate) fn limit(&self, part: TimeoutPart, wait: Duration) -> Limit {
        let own = Instant::now().checked_add(wait);
        match (own, self.deadline) {
            (Some(own), deadline) if deadline.is_none_or(|deadline| own <= deadline) => Limit {
                end: Some(own),
                error: TimeoutError { part, limit: wait },
            },
            (_, deadline) => Limit {
                end: deadline,
                error: self.total_error(),
            },
        }
    }

    pub(crate) fn total_error(&self) -> TimeoutError {
        TimeoutError {
            part: TimeoutPart::Total,
            limit: self.total.unwrap_or_default(),
        }
    }

    fn has_time_for(&self, pause: Duration) -> bool {
        let end = Instant::now().checked_add(pause);
        match (end, self.deadline) {
            (Some(end), Some(deadline)) => end < deadline,
            (None, Some(_)) => false,
            (_, None) => true,
        }
    }
}

// === impl Course ===

impl<'a> Course<'a> {
    /// Before the first attempt.
    pub(crate) fn new(client: &'a Client, settings: &'a Settings, turn: Option<&'a Turn>) -> Self {
        Self {
            shared: &client.shared,
            settings,
            attempts: Vec::new(),
            waited: Duration::ZERO,
            turn,
            permit: None,
        }
    }

    /// Waits until the client's own limits and the model's lane let the next attempt go.
    ///
    /// # Cancel safety
    /// Dropping the future gives the place in the limits back.
    pub(crate) async fn may_send(&mut self) -> Result<(), Error> {
        wait_for_own_limits(self.shared, self.settings)
            .await
            .map_err(|error| {
                let attempts = std::mem::take(&mut self.attempts);
                Error::Timeout(Box::new(Failed::new(error, attempts)))
            })?;
        let Some(turn) = self.turn else {
            return Ok(());
        };
        let permit = turn.wait(self.settings.deadline).await;
        self.permit = Some(permit.map_err(|refused| self.refused(&refused))?);
        Ok(())
    }

    /// The lane gave no permit: nothing was sent.
    fn refused(&mut self, refused: &Refused) -> Error {
        let attempts = std::mem::take(&mut self.attempts);
        let after = refused.retry_after();
        if let Refused::Stopped {
            code,
            message,
            status,
            ..
        } = refused
        {
            let error = stop_error(code, message, *status);
            return Error::Api(Box::new(
                Failed::new(error, attempts).with_retry_after(after),
            ));
        }
        let error = TimeoutError {
            part: TimeoutPart::OwnLimit,
            limit: after.unwrap_or_default(),
        };
        Error::Timeout(Box::new(Failed::new(error, attempts)))
    }

    /// Notes that the attempt succeeded, and returns all attempts and what remains to be settled.
    pub(crate) fn succeeded(mut self, request_id: Option<String>) -> (Vec<Attempt>, Spending) {
        self.shared
            .budget
            .deposit_success(Instant::now().into_std());
        self.attempts.push(Attempt {
            outcome: Outcome::Answered,
            possibly_billed: false,
            request_id,
            waited: self.waited,
        });
        if let Some(permit) = &self.permit {
            permit.admitted();
        }
        let spending = Spending {
            permit: self.permit,
            usage: None,
        };
        (self.attempts, spending)
    }

    /// Notes that the attempt failed, and waits out the pause before the next one.
    ///
    /// # Errors
    /// The failure, when there is no point in another attempt.
    pub(crate) async fn failed(&mut self, failure: AttemptFailure) -> Result<(), Error> {
        let retries = u32::try_from(self.attempts.len()).unwrap_or(u32::MAX);
        self.attempts.push(failure.as_attempt(self.waited));
        if let Some(permit) = self.permit.take() {
            tell_lane(permit, &failure);
        }
        let Some(pause) = next_pause(self.shared, self.settings, &failure, retries) else {
            return Err(failure.into_error(std::mem::take(&mut self.attempts)));
        };
        tracing::debug!(
            attempt = self.attempts.len(),
            pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
            request_id = failure.request_id.as_deref(),
            "request failed and is sent again"
        );
        tokio::time::sleep(pause).await;
        self.waited = pause;
        Ok(())
    }
}

/// The pause before the next attempt; `None` if there is none.
fn next_pause(
    shared: &Shared,
    settings: &Settings,
    failure: &AttemptFailure,
    retries: u32,
) -> Option<Duration> {
    let policy = &settings.retry;
    let asked = failure.hints.should_retry;
    let (may_retry, backoff) = match &failure.cause {
        // No pause pays a bill, whatever the server says.
        Cause::Api(error) if error.class() == ErrorClass::QuotaExhausted => (false, None),
        Cause::Api(error) => (asked.unwrap_or(error.retry().is_some()), error.retry()),
        Cause::Transport(error) => {
            let sent = error.sent() != Sent::No;
            (
                error.kind().is_transient() && (!sent || policy.retry_unanswered),
                None,
            )
        }
        Cause::Timeout(error) => {
            let again = match error.part {
                TimeoutPart::Connect => true,
                TimeoutPart::FirstByte | TimeoutPart::Idle => policy.retry_unanswered,
                TimeoutPart::Total | TimeoutPart::OwnLimit => false,
            };
            (again, None)
        }
        // Before its first event, a stream that ends has answered nothing.
        Cause::Stream(StreamFailure::Truncated) => (policy.retry_unanswered, None),
        // An answer came, and was billed; a second one will look no better.
        Cause::Stream(StreamFailure::Malformed(_)) | Cause::Decode(_) => (false, None),
    };
    let useful = backoff
        .and_then(|backoff| backoff.max_attempts)
        .unwrap_or(u32::MAX);
    if !may_retry || retries >= policy.max_retries.min(useful) {
        return None;
    }
    let pause = match failure.hints.after {
        // Waiting for less than the server asks for only meets the limit again.
        Some(after) if after > policy.max_server_delay => return None,
        Some(after) => after,
        None => jitter(policy.window(retries, backoff), &mut shared.random.lock()),
    };
    if !settings.has_time_for(pause) {
        return None;
    }
    let cost = match failure.cause {
        Cause::Api(_) => RetryCost::Answered,
        Cause::Transport(_) | Cause::Timeout(_) | Cause::Stream(_) | Cause::Decode(_) => {
            RetryCost::Unanswered
        }
    };
    let paid = shared.budget.try_withdraw(cost, Instant::now().into_std());
    paid.is_ok().then_some(pause)
}

/// What a failure means to the lane of its permit.
fn tell_lane(permit: Permit, failure: &AttemptFailure) {
    match &failure.cause {
        Cause::Api(error) => match throttle_of(error) {
            Some(throttle) => permit.refused(&throttle, failure.hints.after),
            // Errors cost no tokens.
            None => permit.settle(bailian_quota::Usage::new(0, 0)),
        },
        Cause::Transport(error) if error.sent() == Sent::No => permit.give_back(),
        Cause::Timeout(error) if error.part == TimeoutPart::Connect => permit.give_back(),
        _ => permit.settle(bailian_quota::Usage::unknown()),
    }
}

async fn wait_for_own_limits(
    shared: &Arc<Shared>,
    settings: &Settings,
) -> Result<(), TimeoutError> {
    if shared.config.limits.is_unlimited() {
        return Ok(());
    }
    let now = Instant::now();
    let latest = settings.deadline.map(Instant::into_std);
    let slot = shared
        .limiter
        .reserve(now.into_std(), latest)
        .map_err(|refused| TimeoutError {
            part: TimeoutPart::OwnLimit,
            limit: refused.at.saturating_duration_since(now.into_std()),
        })?;
    let wait = slot.wait(now.into_std());
    let mut place = Place {
        shared: Arc::clone(shared),
        slot: Some(slot),
    };
    if !wait.is_zero() {
        tokio::time::sleep(wait).await;
    }
    place.slot = None;
    Ok(())
}

// === impl Spending ===

impl Spending {
    /// Tells the lane what the call cost. Done once, here or on drop.
    pub(crate) fn settle(&mut self) {
        if let Some(permit) = self.permit.take() {
            let usage = self.usage.as_ref();
            permit.settle(usage.map_or_else(bailian_quota::Usage::unknown, |usage| {
                bailian_quota::Usage::new(usage.input_tokens, usage.output_tokens)
            }));
        }
    }
}

impl Drop for Spending {
    fn drop(&mut self) {
        self.settle();
    }
}

// === impl Place ===

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            self.shared.limiter.cancel(slot);
        }
    }
}
