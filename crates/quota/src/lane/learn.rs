//! What refusals of the service teach a lane.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Grant, LaneCore};
use crate::demand::Refused;
use crate::limit::Measure;
use crate::time::{MILLISECOND, MINUTE, Nanos, SECOND, nanos};

/// Refusals closer together than this are one trouble, and make pauses longer.
const SAME_TROUBLE: Nanos = 10 * SECOND;
const LONGEST_PAUSE: Nanos = MINUTE;
/// The longest hint of the service that is followed to the letter.
const LONGEST_HINT: Nanos = 10 * MINUTE;
/// How often a stopped lane is tried, at first and at last.
const FIRST_PROBE: Nanos = 30 * SECOND;
const LAST_PROBE: Nanos = 15 * MINUTE;
/// After a pause one request goes alone, until it is answered or could have been refused.
const SHORTEST_TRIAL: Nanos = 20 * MILLISECOND;
const LONGEST_TRIAL: Nanos = SECOND;

/// Why the service refused a request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Throttle {
    /// Too many requests in its window.
    Requests,
    /// Too many tokens in its window.
    Tokens,
    /// The rate rose too fast.
    Burst,
    /// Too many requests ran at once.
    Concurrency,
    /// The service itself has no room.
    Capacity,
    /// An allowance or the money is used up: nothing will go until somebody acts.
    Exhausted(Stop),
}

/// What the service said when it stopped a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stop {
    /// The service's code.
    pub code: Arc<str>,
    /// The service's message.
    pub message: Arc<str>,
    /// The HTTP status that came with it.
    pub status: u16,
}

impl Stop {
    /// What the service said.
    pub fn new(code: impl Into<Arc<str>>, message: impl Into<Arc<str>>, status: u16) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            status,
        }
    }
}

impl Throttle {
    /// The word for logs, metrics and JSON.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::Burst => "burst",
            Self::Concurrency => "concurrency",
            Self::Capacity => "capacity",
            Self::Exhausted(_) => "exhausted",
        }
    }
}

/// Whether a lane is open, paused or stopped.
#[derive(Debug, Default)]
pub(super) struct Health {
    closed_until: Nanos,
    /// The pause is over, and one request is out to see whether it really is.
    trial: Trial,
    refused_at: Option<Nanos>,
    unexplained_at: Option<Nanos>,
    strikes: u32,
    has_admitted: bool,
    /// How long the service takes to refuse.
    refusal_time: Nanos,
    stop: Option<Stopped>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Trial {
    #[default]
    None,
    Due,
    Out(Nanos),
}

#[derive(Debug)]
struct Stopped {
    reason: Stop,
    probe_at: Nanos,
    interval: Nanos,
    probing: bool,
}

impl Health {
    /// Refuses while the lane is stopped; `true` when this request is the one that tries whether it
    /// goes again.
    pub(super) fn refuse_or_probe(&mut self, at: Nanos) -> Result<bool, Refused> {
        let Some(stop) = &mut self.stop else {
            return Ok(false);
        };
        if at >= stop.probe_at && !stop.probing {
            stop.probing = true;
            return Ok(true);
        }
        Err(self.refusal(at))
    }

    pub(super) fn refusal(&self, at: Nanos) -> Refused {
        match &self.stop {
            Some(stop) => Refused::Stopped {
                code: Arc::clone(&stop.reason.code),
                message: Arc::clone(&stop.reason.message),
                status: stop.reason.status,
                retry_after: Duration::from_nanos(stop.probe_at.saturating_sub(at))
                    .max(Duration::from_secs(1)),
            },
            None => Refused::Closed,
        }
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.is_some()
    }

    pub(super) fn stop(&self) -> Option<&Stop> {
        self.stop.as_ref().map(|stop| &stop.reason)
    }

    pub(super) fn resume(&mut self) {
        self.stop = None;
    }

    /// A probe ended without telling anything.
    pub(super) fn probe_ended(&mut self) {
        if let Some(stop) = &mut self.stop {
            stop.probing = false;
        }
    }

    /// When the lane is open as far as refusals are concerned.
    pub(super) fn open_at(&self, at: Nanos) -> Nanos {
        let closed = self.closed_until.max(at);
        match self.trial {
            Trial::Out(until) => closed.max(until),
            _ => closed,
        }
    }

    /// A request goes out.
    pub(super) fn sent(&mut self, at: Nanos) {
        if self.trial == Trial::Due {
            let trial = (3 * self.refusal_time).clamp(SHORTEST_TRIAL, LONGEST_TRIAL);
            self.trial = Trial::Out(at.saturating_add(trial));
        } else if let Trial::Out(until) = self.trial
            && at >= until
        {
            self.trial = Trial::None;
        }
    }

    pub(super) fn has_admitted(&self) -> bool {
        self.has_admitted
    }

    pub(super) fn admitted(&mut self) {
        self.has_admitted = true;
        self.trial = Trial::None;
    }

    fn pause(&mut self, at: Nanos, base: Nanos, hint: Option<Duration>) {
        let again = self
            .refused_at
            .is_some_and(|last| at.saturating_sub(last) < SAME_TROUBLE.max(2 * base));
        self.strikes = if again { (self.strikes + 1).min(16) } else { 0 };
        self.refused_at = Some(at);
        let pause = base.saturating_mul(1 << self.strikes).min(LONGEST_PAUSE);
        let hint = hint.map_or(0, |hint| nanos(hint).min(LONGEST_HINT));
        self.closed_until = self.closed_until.max(at.saturating_add(pause.max(hint)));
        self.trial = Trial::Due;
    }

    fn stop_for(&mut self, reason: &Stop, at: Nanos) {
        let interval = match &self.stop {
            Some(stop) if stop.probing => (stop.interval * 2).min(LAST_PROBE),
            Some(stop) => stop.interval,
            None => FIRST_PROBE,
        };
        self.stop = Some(Stopped {
            reason: reason.clone(),
            probe_at: at.saturating_add(interval),
            interval,
            probing: false,
        });
    }
}

impl<T> LaneCore<T> {
    /// The service refused a request. Afterwards the grant is given to
    /// [`requeue`](Self::requeue) or [`give_back`](Self::give_back).
    ///
    /// `hint` is the service's own `Retry-After`.
    pub fn refuse(
        &mut self,
        grant: &Grant,
        throttle: &Throttle,
        hint: Option<Duration>,
        now: Instant,
    ) {
        let at = self.epoch.nanos(now);
        let took = at.saturating_sub(grant.granted_at);
        self.health.refusal_time = match self.health.refusal_time {
            0 => took,
            mean => (mean * 7 + took) / 8,
        };
        self.counts.throttled(throttle);
        // A lane that never answered has no rate to find: its refusals are passed on. And requests
        // that were under way when the lane was paused last teach nothing new.
        let is_news = self
            .health
            .refused_at
            .is_none_or(|last| grant.granted_at > last);
        let is_lesson = is_news && self.is_worth_waiting();
        match throttle {
            Throttle::Exhausted(reason) => self.health.stop_for(reason, at),
            _ if !is_lesson => {}
            Throttle::Requests => self.refuse_window(Measure::Requests, grant, hint, at),
            Throttle::Tokens => self.refuse_window(Measure::Tokens, grant, hint, at),
            Throttle::Burst => {
                let sent = self
                    .bounds
                    .iter_mut()
                    .filter(|bound| bound.limit.measure == Measure::Requests)
                    .min_by_key(|bound| bound.limit.period)
                    .map_or(1, |bound| bound.used(at));
                if let Some(ramp) = &mut self.ramp {
                    ramp.refuse(at, sent as f64);
                }
                self.health.pause(at, SECOND, hint);
            }
            Throttle::Concurrency => {
                self.running.refused(at);
                self.health.pause(at, SECOND / 2, hint);
            }
            Throttle::Capacity => {
                self.running.refused(at);
                // Other programs were refused in the same moment; they should not come back in
                // the same moment. The arrival's nanoseconds are as good as a random number.
                let jitter = at % (SECOND / 2);
                self.health.pause(at, SECOND / 2 + jitter, hint);
            }
        }
        self.next = self.next.min(at);
    }

    fn refuse_window(
        &mut self,
        measure: Measure,
        grant: &Grant,
        hint: Option<Duration>,
        at: Nanos,
    ) {
        let own = match measure {
            Measure::Tokens => grant.ask.need.input,
            _ => 1,
        };
        let Some(blamed) = self.blame(measure, own, at) else {
            return;
        };
        let Some(bound) = self.bounds.get_mut(blamed) else {
            return;
        };
        // Those that went after it will be refused as well; they say nothing of what is allowed.
        let used = bound.used_before(at, grant.granted_at, own);
        if !bound.adaptive.is_limited() {
            bound.limit.amount = used.max(1);
        }
        bound.adaptive.refused(at, used);
        bound.amount_changed();
        // Where the count explains the refusal, the window itself holds back what must wait.
        let explained = used as f64 >= 0.9 * bound.adaptive.cap();
        let pause = nanos(bound.limit.period).min(SECOND) / if explained { 10 } else { 1 };
        self.health.pause(at, pause, hint);
        self.refresh_ramp();
    }

    /// Which limit a refusal was for: one that is being tried beyond what is known; the shortest
    /// that is nearly used up; else the shortest of all, and when that did not help, the longest.
    fn blame(&mut self, measure: Measure, own: u64, at: Nanos) -> Option<usize> {
        let mut order: Vec<usize> = (0..self.bounds.len())
            .filter(|index| self.bounds[*index].limit.measure == measure)
            .collect();
        order.sort_by_key(|index| self.bounds[*index].limit.period);
        for index in &order {
            let bound = &mut self.bounds[*index];
            let used = bound.used_by_all(at).saturating_sub(own);
            if bound.adaptive.is_questioned_by(used) {
                return Some(*index);
            }
        }
        for index in &order {
            let bound = &mut self.bounds[*index];
            let used = bound.used_by_all(at).saturating_sub(own) as f64;
            if bound.adaptive.is_limited() && used >= 0.9 * bound.adaptive.cap() {
                return Some(*index);
            }
        }
        let again = self
            .health
            .unexplained_at
            .is_some_and(|last| at.saturating_sub(last) < SAME_TROUBLE);
        self.health.unexplained_at = Some(at);
        let (shortest, longest) = (order.first().copied()?, order.last().copied()?);
        let is_told = self.bounds.get(longest)?.adaptive.is_limited();
        let bound = self.bounds.get_mut(shortest)?;
        let used = bound.used_by_all(at).saturating_sub(own) as f64;
        // A long limit that nobody told of shows when even little was too much.
        let is_little = used < 0.75 * bound.adaptive.cap();
        if again && (is_told || is_little) {
            Some(longest)
        } else {
            Some(shortest)
        }
    }
}
