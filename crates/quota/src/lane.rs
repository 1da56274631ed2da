//! The pure core of a lane: what may be sent now, who is next, and when to look again.
//!
//! `docs/pacing.md` explains the rules and their invariants.

mod adapt;
mod bound;
mod expect;
mod forecast;
mod learn;
mod limits;
mod pace;
mod queue;
mod ramp;
mod running;
mod share;
mod snapshot;
pub(crate) mod window;

use std::sync::Arc;
use std::time::{Duration, Instant};

use self::bound::{Bound, Need};
use self::expect::Expectation;
pub use self::learn::{Stop, Throttle};
use self::queue::FairQueue;
pub use self::queue::WaiterId;
use self::ramp::Ramp;
pub use self::ramp::RampProfile;
use self::running::Running;
pub use self::snapshot::{LaneSnapshot, LimitSnapshot, TenantSnapshot};
use crate::class::Class;
use crate::demand::{Demand, Refused, Usage};
use crate::limit::Limit;
use crate::time::{Epoch, NEVER, Nanos, SECOND, from_f64, nanos};

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
    /// Set when other replicas use the same limits.
    shared: Option<share::Sharing>,
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
    ask: Ask,
    granted_at: Nanos,
    /// Output tokens per nanosecond that are counted while it runs.
    rate: f64,
    /// What was counted for its output until `counted_at`.
    counted: u64,
    counted_at: Nanos,
    /// The one request that a stopped lane sends to see whether it may go on.
    probe: bool,
}

/// A request as the lane sees it, from its arrival to its end.
#[derive(Debug)]
struct Ask {
    tenant: Arc<str>,
    class: Class,
    need: Need,
    /// The caller's own estimate of the input, before the lane's correction.
    estimate: u64,
    /// The lane's time that it takes.
    work: Nanos,
    since: Nanos,
    /// How often it was sent before.
    attempt: u32,
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
        self.ask.need.tokens()
    }

    /// How long the request was in line.
    pub fn waited(&self) -> Duration {
        Duration::from_nanos(self.granted_at.saturating_sub(self.ask.since))
    }

    pub(crate) fn tenant(&self) -> Arc<str> {
        Arc::clone(&self.ask.tenant)
    }

    /// How often the request was sent before.
    pub fn attempt(&self) -> u32 {
        self.ask.attempt
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
            shared: None,
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
        let probe = self.health.refuse_or_probe(at)?;
        let ask = self.ask(demand, at);
        if probe || (self.queue.is_empty() && self.ready_at(at, ask.need) <= at) {
            return Ok(Admission::Granted(self.grant(ask, at, probe)));
        }
        self.check_room(demand, ask.need, at)?;
        let deadline = deadline(at, demand.patience);
        self.counts.queued += 1;
        let id = self.join(ask, payload(), demand.weight, deadline, at);
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
        let deadline = deadline(grant.ask.since, patience).max(at);
        self.release(&grant, at);
        self.take_back(&grant, at);
        let mut ask = grant.ask;
        ask.attempt += 1;
        self.join(ask, payload, weight, deadline, at)
    }

    fn join(&mut self, ask: Ask, payload: T, weight: u32, deadline: Nanos, at: Nanos) -> WaiterId {
        if self.queue.is_empty() {
            self.line_since = at;
        }
        // The line may have been blocked by nothing but its former head.
        self.next = self.next.min(at);
        self.queue.push(ask, payload, weight, deadline)
    }

    /// Lets go what may go, and refuses what waited too long; adds to `events`.
    pub fn advance(&mut self, now: Instant, events: &mut Vec<Event<T>>) {
        let at = self.epoch.nanos(now);
        while let Some(id) = self.queue.overdue(at) {
            let Some(waiter) = self.queue.cancel(id) else {
                break;
            };
            self.counts.timed_out += 1;
            let retry_after = self.forecast(waiter.ask.class, &waiter.ask.tenant, at);
            let refused = Refused::TimedOut { retry_after };
            events.push(Event::Refused(waiter.payload, refused));
        }
        if self.health.is_stopped() {
            while let Some(waiter) = self.queue.any().and_then(|id| self.queue.cancel(id)) {
                let refused = self.health.refusal(at);
                events.push(Event::Refused(waiter.payload, refused));
            }
        }
        self.next = NEVER;
        while let Some(id) = self.queue.head() {
            let Some(need) = self.queue.get(id).map(|waiter| waiter.ask.need) else {
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
            let grant = self.grant(waiter.ask, at, false);
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
        let more = signed(output) - signed(counted);
        for bound in &mut self.bounds {
            bound.correct_output(at, grant.counted_at, more);
        }
        grant.counted = output;
        grant.counted_at = at;
    }

    /// The request has ended, and this is what it cost.
    pub fn settle(&mut self, grant: &Grant, usage: Usage, now: Instant) {
        let at = self.epoch.nanos(now);
        self.release(grant, at);
        let (ask, counted) = (&grant.ask, counted(grant, at));
        let real = Need {
            input: usage.input_tokens.unwrap_or(ask.need.input),
            output: usage.output_tokens.unwrap_or(counted),
        };
        let more = signed(real.output) - signed(counted);
        for bound in &mut self.bounds {
            bound.correct_start(at, grant.granted_at, ask.need, real);
            bound.correct_output(at, grant.counted_at, more);
        }
        // An answer that cost nothing was an error.
        if usage.output_tokens.is_some() && real.tokens() > 0 {
            let took = at.saturating_sub(grant.granted_at);
            let input = usage.input_tokens;
            self.expect.note(
                &ask.tenant,
                ask.estimate,
                ask.need.tokens(),
                input,
                real.output,
                took,
            );
        }
        // Only what was in line has been charged to its tenant.
        if grant.granted_at > ask.since {
            let more = self.work_of(real) as f64 - ask.work as f64;
            self.queue.correct(ask.class, &ask.tenant, more);
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

    /// Whether a refused request may go after a wait: not in a lane that nothing was told of, that
    /// never answered anything, and in which nothing else is under way.
    pub fn is_worth_waiting(&self) -> bool {
        let others = self.running.now() > 1;
        self.health.has_admitted() || !self.config.limits.is_empty() || others
    }

    /// How many requests wait.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    fn ask(&self, demand: &Demand, at: Nanos) -> Ask {
        let need = Need {
            input: self.expect.input(demand.input_tokens),
            output: if demand.produces {
                self.expect.output(&demand.tenant, demand.max_output_tokens)
            } else {
                0
            },
        };
        Ask {
            tenant: Arc::clone(&demand.tenant),
            class: demand.class,
            need,
            estimate: demand.input_tokens,
            work: self.work_of(need),
            since: at,
            attempt: 0,
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
            if ready > at && ready == last && bound.is_nearly_used(at) {
                bound.adaptive.rise(at, lasts);
                bound.amount_changed();
            }
        }
        self.refresh_ramp();
    }

    fn line_lasts(&self, at: Nanos) -> bool {
        at.saturating_sub(self.line_since) >= LASTING_LINE
    }

    fn grant(&mut self, ask: Ask, at: Nanos, probe: bool) -> Grant {
        let grant = Grant {
            granted_at: at,
            rate: self.rate_of(ask.need),
            counted: 0,
            counted_at: at,
            probe,
            ask,
        };
        self.take(&grant, at);
        grant
    }

    /// Takes from every limit at once what a request needs.
    fn take(&mut self, grant: &Grant, at: Nanos) {
        let waiting = !self.queue.is_empty() && self.line_lasts(at);
        for bound in &mut self.bounds {
            bound.take(at, grant.ask.need, grant.rate, waiting);
        }
        self.running.take();
        self.health.sent(at);
        if let Some(ramp) = &mut self.ramp {
            ramp.take(at);
        }
        self.counts
            .granted(grant.ask.class, at.saturating_sub(grant.ask.since));
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
        let counted = signed(counted(grant, at));
        for bound in &mut self.bounds {
            bound.give_back(at, grant.granted_at, grant.ask.need);
            bound.correct_output(at, grant.counted_at, -counted);
        }
    }
}

/// What was counted for a request's output so far.
fn counted(grant: &Grant, at: Nanos) -> u64 {
    let flowed = grant.rate * at.saturating_sub(grant.counted_at) as f64;
    grant.counted.saturating_add(from_f64(flowed))
}

/// When the patience of a request ends that asked at `since`.
fn deadline(since: Nanos, patience: Option<Duration>) -> Nanos {
    patience.map_or(NEVER, |patience| since.saturating_add(nanos(patience)))
}

fn signed(tokens: u64) -> i64 {
    i64::try_from(tokens).unwrap_or(i64::MAX)
}
