//! The pure core of a lane: what may be sent now, who is next, and when to look again.
//!
//! `docs/pacing.md` explains the rules and their invariants.

mod adapt;
mod bound;
mod expect;
mod learn;
mod pace;
mod queue;
mod ramp;
mod running;
mod snapshot;
mod window;

use std::sync::Arc;
use std::time::{Duration, Instant};

use self::bound::{Bound, Need};
use self::expect::Expectation;
pub use self::learn::{Stop, Throttle};
pub use self::queue::WaiterId;
use self::queue::{Arrival, FairQueue};
use self::ramp::Ramp;
pub use self::ramp::RampProfile;
use self::running::Running;
pub use self::snapshot::{LaneSnapshot, LimitSnapshot, TenantSnapshot};
use crate::class::Class;
use crate::demand::{Demand, Refused, Usage};
use crate::limit::{Limit, Measure};
use crate::time::{Epoch, MILLISECOND, NEVER, Nanos, SECOND, from_f64};

/// The shortest time between two looks at a line that cannot move: rounding must not spin.
const LEAST_LOOK: Nanos = 100_000;

/// A line that lasts so long is no burst: then what is known of a limit may be too little.
const LASTING_LINE: Nanos = 8 * SECOND;

/// How a lane behaves, beside its limits.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LaneConfig {
    /// What the service allows; nothing means that only its refusals will tell.
    pub limits: Vec<Limit>,
    /// How fast the rate may rise; `None` lets it jump.
    pub ramp: Option<RampProfile>,
    /// Charge input and expected output at once instead of as they come, and never let the sum
    /// pass the limit: for services that reserve `max_tokens`.
    pub reserve_tokens: bool,
    /// Requests that may wait, all together.
    pub max_waiting: usize,
    /// Requests that may wait, per tenant.
    pub max_waiting_per_tenant: usize,
    /// The part of the lane that each lower class keeps; at most 0.3.
    pub floor: f64,
}

/// The pure core of a lane: one unit of what DashScope limits, with its line.
///
/// Nothing here sleeps, locks or reads a clock; every call takes the time, and whoever drives it
/// calls [`advance`](Self::advance) at [`next_event`](Self::next_event). `T` is what the driver
/// wants back when a waiting request may go.
#[derive(Debug)]
pub struct LaneCore<T> {
    epoch: Epoch,
    config: LaneConfig,
    bounds: Vec<Bound>,
    running: Running,
    ramp: Option<Ramp>,
    queue: FairQueue<T>,
    expect: Expectation,
    health: learn::Health,
    counts: snapshot::Counts,
    /// When the next request may go, as far as was computed.
    next: Nanos,
    /// When the line began in which requests wait now.
    line_since: Nanos,
}

/// The answer to a request for a permit.
#[derive(Debug)]
pub enum Admission {
    /// Send it now.
    Granted(Grant),
    /// Wait for an [`Event`].
    Queued(WaiterId),
}

/// What happened to a waiting request.
#[derive(Debug)]
pub enum Event<T> {
    /// Send it now.
    Granted(T, Grant),
    /// It will not be sent.
    Refused(T, Refused),
}

/// Leave to send one request. It must end in [`LaneCore::settle`], [`LaneCore::give_back`] or
/// [`LaneCore::requeue`]; [`Permit`](crate::Permit) sees to that.
#[derive(Debug)]
pub struct Grant {
    tenant: Arc<str>,
    class: Class,
    need: Need,
    estimate: u64,
    work: Nanos,
    asked_at: Nanos,
    granted_at: Nanos,
    /// Output tokens per nanosecond that are counted while it runs.
    rate: f64,
    /// What was counted for its output until `counted_at`.
    counted: u64,
    counted_at: Nanos,
    attempt: u32,
    /// The one request that a stopped lane sends to see whether it may go on.
    probe: bool,
    waited: bool,
}

impl Default for LaneConfig {
    fn default() -> Self {
        Self {
            limits: Vec::new(),
            ramp: Some(RampProfile::BRISK),
            reserve_tokens: false,
            max_waiting: 10_000,
            max_waiting_per_tenant: 1_000,
            floor: 0.05,
        }
    }
}

impl LaneConfig {
    /// Limits and the usual behaviour.
    pub fn new(limits: Vec<Limit>) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }
}

impl Grant {
    /// Input and output tokens that were reserved.
    pub fn reserved_tokens(&self) -> u64 {
        self.need.tokens()
    }

    /// How long the request was in line.
    pub fn waited(&self) -> Duration {
        if self.waited {
            Duration::from_nanos(self.granted_at.saturating_sub(self.asked_at))
        } else {
            Duration::ZERO
        }
    }

    pub(crate) fn tenant(&self) -> Arc<str> {
        Arc::clone(&self.tenant)
    }

    /// How often the request was sent before.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }
}

impl<T> LaneCore<T> {
    /// Makes a lane that has sent nothing.
    pub fn new(config: LaneConfig, now: Instant) -> Self {
        let mut lane = Self {
            epoch: Epoch::new(now),
            bounds: Vec::new(),
            running: Running::new(),
            ramp: None,
            queue: FairQueue::new(config.floor),
            expect: Expectation::new(),
            health: learn::Health::default(),
            counts: snapshot::Counts::default(),
            next: 0,
            line_since: 0,
            config,
        };
        lane.build_bounds();
        lane
    }

    /// Asks for leave to send. `payload` is made only if the request has to wait.
    ///
    /// # Errors
    /// [`Refused`] when the lane is stopped, its line is full, or the wait would be longer than
    /// the request's patience.
    pub fn request(
        &mut self,
        demand: &Demand,
        now: Instant,
        payload: impl FnOnce() -> T,
    ) -> Result<Admission, Refused> {
        let at = self.epoch.nanos(now);
        if let Some(probe) = self.health.refuse_or_probe(at)? {
            return Ok(Admission::Granted(self.grant(demand, at, probe)));
        }
        let need = self.need_of(demand);
        if self.queue.is_empty() && self.ready_at(at, need) <= at {
            return Ok(Admission::Granted(self.grant(demand, at, false)));
        }
        self.check_room(demand, need, at)?;
        let deadline = demand.patience.map_or(NEVER, |patience| {
            at.saturating_add(crate::time::nanos(patience))
        });
        if self.queue.is_empty() {
            self.line_since = at;
        }
        let id = self.queue.push(Arrival {
            payload: payload(),
            tenant: Arc::clone(&demand.tenant),
            weight: demand.weight,
            class: demand.class,
            need,
            estimate: demand.input_tokens,
            work: self.work_of(need),
            since: at,
            deadline,
            attempt: 0,
            front: false,
        });
        self.counts.queued += 1;
        // The line may have been blocked by nothing but its former head.
        self.next = self.next.min(at);
        Ok(Admission::Queued(id))
    }

    /// Puts a request that the service refused for its limits back in line, at the front of its
    /// tenant's. Call [`refuse`](Self::refuse) first.
    pub fn requeue(
        &mut self,
        grant: Grant,
        weight: u32,
        patience: Option<Duration>,
        now: Instant,
        payload: T,
    ) -> WaiterId {
        let at = self.epoch.nanos(now);
        let deadline = patience.map_or(NEVER, |patience| {
            grant
                .asked_at
                .saturating_add(crate::time::nanos(patience))
                .max(at)
        });
        self.release(&grant, at);
        self.take_back(&grant, at);
        self.next = self.next.min(at);
        self.queue.push(Arrival {
            payload,
            tenant: grant.tenant,
            weight,
            class: grant.class,
            need: grant.need,
            estimate: grant.estimate,
            work: grant.work,
            since: grant.asked_at,
            deadline,
            attempt: grant.attempt + 1,
            front: true,
        })
    }

    /// Lets go what may go, and refuses what waited too long; adds to `events`.
    pub fn advance(&mut self, now: Instant, events: &mut Vec<Event<T>>) {
        let at = self.epoch.nanos(now);
        while let Some(id) = self.queue.overdue(at) {
            let Some(waiter) = self.queue.cancel(id) else {
                break;
            };
            self.counts.timed_out += 1;
            let after = self.forecast(waiter.class, &waiter.tenant, at);
            events.push(Event::Refused(
                waiter.payload,
                Refused::TimedOut {
                    retry_after: Duration::from_nanos(after.saturating_sub(at)),
                },
            ));
        }
        if self.health.is_stopped() {
            while let Some(waiter) = self.queue.any().and_then(|id| self.queue.cancel(id)) {
                let refused = self.health.refusal(at);
                events.push(Event::Refused(waiter.payload, refused));
            }
        }
        self.next = NEVER;
        while let Some(id) = self.queue.head() {
            let Some(need) = self.queue.get(id).map(|waiter| waiter.need) else {
                break;
            };
            let ready = self.ready_at(at, need);
            if ready > at {
                self.rise(at, need);
                let ready = self.ready_at(at, need);
                if ready > at {
                    let rise = self.running.rises_at(at);
                    self.next = ready.min(rise).max(at + LEAST_LOOK);
                    break;
                }
            }
            let Some(waiter) = self.queue.take(id, at) else {
                break;
            };
            let grant = Grant {
                tenant: waiter.tenant,
                class: waiter.class,
                need,
                estimate: waiter.estimate,
                work: waiter.work,
                asked_at: waiter.since,
                granted_at: at,
                rate: self.rate_of(need),
                counted: 0,
                counted_at: at,
                attempt: waiter.attempt,
                probe: false,
                waited: true,
            };
            self.take(&grant, at);
            events.push(Event::Granted(waiter.payload, grant));
        }
    }

    /// When to call [`advance`](Self::advance) next; `None` while nobody waits.
    pub fn next_event(&self) -> Option<Instant> {
        if self.queue.is_empty() {
            return None;
        }
        self.epoch
            .instant(self.next.min(self.queue.next_deadline()))
    }

    /// Takes a waiting request out of the line; returns its payload if it was still there.
    pub fn cancel(&mut self, id: WaiterId) -> Option<T> {
        let waiter = self.queue.cancel(id)?;
        self.counts.left += 1;
        // Whoever is next now may need less.
        self.next = 0;
        Some(waiter.payload)
    }

    /// The service took the request: its answer has begun.
    pub fn admitted(&mut self, grant: &Grant) {
        if grant.probe {
            self.health.resume();
        }
        self.health.admitted();
    }

    /// So many output tokens of the answer have come so far.
    pub fn observe(&mut self, grant: &mut Grant, output: u64, now: Instant) {
        let at = self.epoch.nanos(now);
        let counted = counted(grant, at);
        let difference = signed(output) - signed(counted);
        for bound in &mut self.bounds {
            if !bound.reserves_whole() {
                bound.correct(at, difference, 0);
            }
        }
        grant.counted = output;
        grant.counted_at = at;
    }

    /// The request has ended, and this is what it cost.
    pub fn settle(&mut self, grant: &Grant, usage: Usage, now: Instant) {
        let at = self.epoch.nanos(now);
        self.release(grant, at);
        let counted = counted(grant, at);
        let output = usage.output_tokens.unwrap_or(counted);
        let input = usage.input_tokens;
        let cost = input.unwrap_or(grant.need.input).saturating_add(output);
        let reserved = grant.need.tokens();
        let at_pace = signed(cost) - signed(reserved);
        for bound in &mut self.bounds {
            let before = if bound.reserves_whole() {
                reserved
            } else {
                grant.need.input.saturating_add(counted)
            };
            bound.correct(at, signed(cost) - signed(before), at_pace);
        }
        if usage.output_tokens.is_some() {
            let took = at.saturating_sub(grant.granted_at);
            self.expect
                .note(&grant.tenant, grant.estimate, reserved, input, output, took);
        }
        if grant.waited {
            let real = self.work_of(Need {
                input: input.unwrap_or(grant.need.input),
                output,
            });
            let more = real as f64 - grant.work as f64;
            self.queue.correct(grant.class, &grant.tenant, more);
        }
        self.counts.settled += 1;
        self.next = self.next.min(at);
    }

    /// The request was never counted by the service: it was not sent, or was refused.
    pub fn give_back(&mut self, grant: &Grant, now: Instant) {
        let at = self.epoch.nanos(now);
        self.release(grant, at);
        self.take_back(grant, at);
        self.next = self.next.min(at);
    }

    /// How long a request like this one would wait now; zero when it could go at once.
    pub fn expected_wait(&mut self, demand: &Demand, now: Instant) -> Duration {
        let at = self.epoch.nanos(now);
        let need = self.need_of(demand);
        if self.queue.is_empty() {
            let ready = self.ready_at(at, need);
            return Duration::from_nanos(ready.saturating_sub(at));
        }
        let after = self.forecast(demand.class, &demand.tenant, at);
        Duration::from_nanos(after.saturating_sub(at))
    }

    /// Whether a refused request may go after a wait: not in a lane that nothing was told of and
    /// that never answered anything.
    pub fn is_worth_waiting(&self) -> bool {
        self.health.has_admitted() || !self.config.limits.is_empty()
    }

    /// How many requests wait.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    fn need_of(&self, demand: &Demand) -> Need {
        Need {
            input: self.expect.input(demand.input_tokens),
            output: if demand.produces {
                self.expect.output(&demand.tenant, demand.max_output_tokens)
            } else {
                0
            },
        }
    }

    /// Output tokens per nanosecond that are counted while a request runs.
    fn rate_of(&self, need: Need) -> f64 {
        if need.output > 0 {
            self.expect.rate()
        } else {
            0.0
        }
    }

    /// The lane's time that a request takes: what its scarcest limit needs to bring it back.
    fn work_of(&self, need: Need) -> Nanos {
        let work = self.bounds.iter().map(|bound| bound.work_of(need));
        from_f64(work.fold(1.0, f64::max))
    }

    fn ready_at(&mut self, at: Nanos, need: Need) -> Nanos {
        let mut ready = self.health.open_at(at).max(self.running.ready_at(at));
        if let Some(ramp) = &self.ramp {
            ready = ready.max(ramp.ready_at(at));
        }
        for bound in &mut self.bounds {
            ready = ready.max(bound.ready_at(at, need));
        }
        ready
    }

    /// Requests wait: limits that may be higher than thought are tried a little higher.
    fn rise(&mut self, at: Nanos, need: Need) {
        if self.health.open_at(at) > at {
            return;
        }
        self.running.rise(at);
        let lasts = self.line_lasts(at);
        let ready: Vec<Nanos> = self
            .bounds
            .iter_mut()
            .map(|bound| bound.ready_at(at, need))
            .collect();
        let last = ready.iter().copied().max().unwrap_or(at);
        // Only the limit that holds the line back the longest: others may be right.
        for (bound, ready) in self.bounds.iter_mut().zip(ready) {
            if ready > at && ready == last {
                bound.adaptive.rise(at, lasts);
                bound.amount_changed();
            }
        }
        self.refresh_ramp();
    }

    fn line_lasts(&self, at: Nanos) -> bool {
        at.saturating_sub(self.line_since) >= LASTING_LINE
    }

    fn grant(&mut self, demand: &Demand, at: Nanos, probe: bool) -> Grant {
        let need = self.need_of(demand);
        let grant = Grant {
            tenant: Arc::clone(&demand.tenant),
            class: demand.class,
            need,
            estimate: demand.input_tokens,
            work: self.work_of(need),
            asked_at: at,
            granted_at: at,
            rate: self.rate_of(need),
            counted: 0,
            counted_at: at,
            attempt: 0,
            probe,
            waited: false,
        };
        self.take(&grant, at);
        grant
    }

    /// Takes from every limit at once what a request needs.
    fn take(&mut self, grant: &Grant, at: Nanos) {
        let waiting = !self.queue.is_empty() && self.line_lasts(at);
        for bound in &mut self.bounds {
            bound.take(at, grant.need, grant.rate, waiting);
        }
        self.running.take();
        self.health.sent(at);
        if let Some(ramp) = &mut self.ramp {
            ramp.take(at);
        }
        self.counts
            .granted(grant.class, at.saturating_sub(grant.asked_at));
    }

    /// It runs no longer.
    fn release(&mut self, grant: &Grant, at: Nanos) {
        self.running.release();
        for bound in &mut self.bounds {
            bound.end_flow(at, grant.rate);
        }
        if grant.probe {
            self.health.probe_ended();
        }
    }

    /// The service did not count it, so neither do we.
    fn take_back(&mut self, grant: &Grant, at: Nanos) {
        let counted = counted(grant, at);
        for bound in &mut self.bounds {
            bound.give_back(at, grant.need);
            if !bound.reserves_whole() {
                bound.correct(at, -signed(counted), 0);
            }
        }
    }

    fn check_room(&mut self, demand: &Demand, need: Need, at: Nanos) -> Result<(), Refused> {
        let after = self
            .forecast(demand.class, &demand.tenant, at)
            .saturating_sub(at);
        let own = self.work_of(need);
        let after = if self.queue.is_empty() {
            self.ready_at(at, need).saturating_sub(at)
        } else {
            after.max(own.min(MILLISECOND))
        };
        let retry_after = Duration::from_nanos(after);
        if self.queue.len() >= self.config.max_waiting {
            self.counts.full += 1;
            return Err(Refused::LineFull { retry_after });
        }
        if self.queue.tenant_len(&demand.tenant) >= self.config.max_waiting_per_tenant {
            self.counts.full += 1;
            return Err(Refused::TenantLineFull { retry_after });
        }
        if demand
            .patience
            .is_some_and(|patience| patience < retry_after)
        {
            self.counts.too_late += 1;
            return Err(Refused::TooLate { retry_after });
        }
        Ok(())
    }

    /// When a request that joined now would go.
    fn forecast(&mut self, class: Class, tenant: &str, at: Nanos) -> Nanos {
        let work = self.queue.work_ahead(class, tenant);
        let totals = self.queue.totals();
        // The line's own mix tells how many requests and tokens that much work is.
        let part = if totals.work > 0.0 {
            work / totals.work
        } else {
            0.0
        };
        let requests = totals.waiting as f64 * part;
        let tokens = totals.tokens * part;
        let mut after = self.health.open_at(at).max(self.running.ready_at(at));
        if let Some(ramp) = &self.ramp {
            after = after.max(ramp.ready_after(at, requests));
        }
        for bound in &mut self.bounds {
            let ahead = match bound.limit.measure {
                Measure::Tokens => tokens,
                _ => requests,
            };
            after = after.max(bound.ready_after(at, ahead));
        }
        // A line that stands still for a reason without a date is looked at again in a while.
        if after == NEVER {
            at + 60 * SECOND
        } else {
            after
        }
    }

    fn build_bounds(&mut self) {
        let reserve = self.config.reserve_tokens;
        let mut running = None;
        self.bounds.clear();
        for limit in &self.config.limits {
            if limit.measure == Measure::Running {
                running = Some(running.map_or(limit.amount, |other: u64| other.min(limit.amount)));
            } else {
                self.bounds.push(Bound::new(*limit, reserve));
            }
        }
        self.running.tell(running);
        self.add_trackers();
        let full = self.full_rate();
        self.ramp = match self.config.ramp {
            Some(profile) if full.is_finite() => Some(Ramp::new(profile, full)),
            Some(_) => Some(Ramp::new(RampProfile::PROBING, full)),
            None => None,
        };
    }

    /// The service may enforce windows that nobody told of: they are counted from the start, so
    /// that a refusal can be told from the count.
    fn add_trackers(&mut self) {
        for (measure, short) in [(Measure::Requests, 1), (Measure::Tokens, 6)] {
            let periods: Vec<Duration> = self
                .bounds
                .iter()
                .filter(|bound| bound.limit.measure == measure)
                .map(|bound| bound.limit.period)
                .collect();
            let (short, long) = (Duration::from_secs(short), Duration::from_mins(1));
            if !periods.iter().any(|period| *period <= short) {
                self.bounds.push(Bound::tracker(measure, short));
            }
            if !periods.iter().any(|period| *period >= long) {
                self.bounds.push(Bound::tracker(measure, long));
            }
        }
    }

    /// Requests per second that the limits allow.
    fn full_rate(&self) -> f64 {
        self.bounds
            .iter()
            .filter(|bound| bound.limit.measure == Measure::Requests && bound.cap().is_finite())
            .map(|bound| bound.cap() / bound.limit.period.as_secs_f64().max(1e-3))
            .fold(f64::INFINITY, f64::min)
    }

    fn refresh_ramp(&mut self) {
        let full = self.full_rate();
        if let Some(ramp) = &mut self.ramp {
            ramp.set_full(full);
        }
    }

    /// Replaces the limits, as when the quota API has answered. What was used stays counted where
    /// measure, period and layer are the same, and what was learned stays in proportion.
    pub fn set_limits(&mut self, limits: Vec<Limit>) {
        if limits == self.config.limits {
            return;
        }
        let old = std::mem::take(&mut self.bounds);
        self.config.limits = limits;
        let ramp = self.ramp.take();
        self.build_bounds();
        for bound in old {
            let same = |new: &&mut Bound| {
                (new.limit.measure, new.limit.period) == (bound.limit.measure, bound.limit.period)
                    && (new.limit.layer == bound.limit.layer)
            };
            if let Some(new) = self.bounds.iter_mut().find(same) {
                let limit = new.limit;
                *new = bound;
                new.limit = limit;
                new.retell(limit);
            }
        }
        if let (Some(old), Some(new)) = (ramp, &mut self.ramp) {
            new.inherit(&old);
        }
        self.next = 0;
    }

    /// The lane's limits as they were told.
    pub fn limits(&self) -> &[Limit] {
        &self.config.limits
    }
}

/// What was counted for a request's output so far.
fn counted(grant: &Grant, at: Nanos) -> u64 {
    let flowed = grant.rate * at.saturating_sub(grant.counted_at) as f64;
    grant.counted.saturating_add(from_f64(flowed))
}

fn signed(tokens: u64) -> i64 {
    i64::try_from(tokens).unwrap_or(i64::MAX)
}
