//! Requests per minute and per day, handed out as send times in order of asking.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use thiserror::Error;

const MINUTE: Duration = Duration::from_mins(1);
const DAY: Duration = Duration::from_hours(24);

/// The limits of a [`RequestLimiter`]; `None` means unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RequestLimits {
    /// Never more than this many requests in any 60 seconds, spread smoothly: at most one second's
    /// share goes out at once, because the service throttles bursts even below its minute limit.
    pub per_minute: Option<NonZeroU32>,
    /// Never more than this many requests in a day. A day is 24 hours, counted from the first
    /// request and then from the first request after the previous day ended.
    pub per_day: Option<NonZeroU32>,
}

/// A send time that was given to one caller.
#[derive(Debug)]
#[must_use = "a slot that is not used should be given back with `RequestLimiter::cancel`"]
pub struct Slot {
    at: Instant,
    sequence: u64,
    before: State,
}

/// The next free slot is later than the caller is willing to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the client's own request limit allows the next request too late")]
pub struct NotUntil {
    /// When the next request may be sent.
    pub at: Instant,
}

/// Hands out send times under [`RequestLimits`].
///
/// Each call to [`reserve`](Self::reserve) takes the next free place, so callers are served in
/// the order in which they asked, however long each one waits.
///
/// ```
/// use std::{num::NonZeroU32, time::{Duration, Instant}};
/// use bailian_quota::{RequestLimiter, RequestLimits};
///
/// let mut limits = RequestLimits::default();
/// limits.per_minute = NonZeroU32::new(60);
/// let limiter = RequestLimiter::new(limits);
/// let now = Instant::now();
/// assert_eq!(limiter.reserve(now, None).unwrap().wait(now), Duration::ZERO);
/// assert_eq!(limiter.reserve(now, None).unwrap().wait(now), Duration::from_secs(1));
/// ```
#[derive(Debug)]
pub struct RequestLimiter {
    minute: Option<Smooth>,
    per_day: Option<u32>,
    state: Mutex<State>,
}

/// Generic cell rate rule: `burst` requests at once, then `rate` per minute.
///
/// Any window of 60 seconds sees at most `burst - 1 + rate` of them, which is chosen to be the limit.
#[derive(Debug, Clone, Copy)]
struct Smooth {
    burst: u32,
    rate: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct State {
    /// Zero of the time scale below; set by the first request.
    epoch: Option<Instant>,
    /// Theoretical arrival time in nanoseconds since `epoch`, times `rate`: a whole number even
    /// where a minute divided by the rate is not.
    arrival: u128,
    /// The last slot handed out, and how many lie in the day that began at `day_start`.
    last: Option<Instant>,
    day_start: Option<Instant>,
    day_count: u32,
    sequence: u64,
}

// === impl RequestLimits ===

impl RequestLimits {
    /// Limits with the given rates; `None` means unlimited.
    pub fn new(per_minute: Option<NonZeroU32>, per_day: Option<NonZeroU32>) -> Self {
        Self {
            per_minute,
            per_day,
        }
    }

    /// Whether neither limit is set.
    pub fn is_unlimited(&self) -> bool {
        self.per_minute.is_none() && self.per_day.is_none()
    }
}

// === impl Slot ===

impl Slot {
    /// When the request may be sent.
    pub fn at(&self) -> Instant {
        self.at
    }

    /// How long to wait from `now`; zero when the request may go at once.
    pub fn wait(&self, now: Instant) -> Duration {
        self.at.saturating_duration_since(now)
    }
}

// === impl RequestLimiter ===

impl RequestLimiter {
    /// Creates a limiter that has seen no request.
    pub fn new(limits: RequestLimits) -> Self {
        Self {
            minute: limits.per_minute.map(Smooth::new),
            per_day: limits.per_day.map(NonZeroU32::get),
            state: Mutex::new(State::default()),
        }
    }

    /// Takes the next free place in line.
    ///
    /// `latest` is how long the caller would wait at most.
    ///
    /// # Errors
    /// [`NotUntil`] when the place would be later than `latest`; none is taken then.
    pub fn reserve(&self, now: Instant, latest: Option<Instant>) -> Result<Slot, NotUntil> {
        let mut state = self.state.lock();
        let mut next = *state;
        // A caller may not overtake the one before it, even with an older clock reading.
        let mut at = next.last.map_or(now, |last| last.max(now));
        if let Some(limit) = self.per_day {
            at = next.place_in_day(at, limit);
        }
        if let Some(smooth) = self.minute {
            at = next.place_in_minute(at, smooth);
            if self.per_day.is_some() {
                // Pacing may push the request over the end of its day.
                next.roll_day(at);
            }
        }
        if latest.is_some_and(|latest| at > latest) {
            return Err(NotUntil { at });
        }
        next.day_count = next.day_count.saturating_add(1);
        next.last = Some(at);
        next.sequence += 1;
        let slot = Slot {
            at,
            sequence: next.sequence,
            before: *state,
        };
        *state = next;
        Ok(slot)
    }

    /// Gives back a place that will not be used.
    ///
    /// The newest place becomes free again; an older one is lost, because later callers already
    /// have their times. Losing it errs on the side of the limit.
    #[expect(clippy::needless_pass_by_value, reason = "a slot is given back once")]
    pub fn cancel(&self, slot: Slot) {
        let mut state = self.state.lock();
        if state.sequence == slot.sequence {
            // The sequence goes on, so that an older slot can never be mistaken for the newest.
            *state = State {
                sequence: state.sequence + 1,
                ..slot.before
            };
        }
    }
}

impl Smooth {
    fn new(limit: NonZeroU32) -> Self {
        let burst = limit.get().div_ceil(60);
        Self {
            burst,
            rate: limit.get() - burst + 1,
        }
    }
}

impl State {
    fn place_in_minute(&mut self, at: Instant, smooth: Smooth) -> Instant {
        let epoch = *self.epoch.get_or_insert(at);
        let rate = u128::from(smooth.rate);
        // One request costs a minute on the scaled axis.
        let cost = MINUTE.as_nanos();
        let now = at.saturating_duration_since(epoch).as_nanos() * rate;
        let tolerance = cost * u128::from(smooth.burst - 1);
        let earliest = self.arrival.saturating_sub(tolerance).max(now);
        self.arrival = self.arrival.max(earliest) + cost;
        if earliest == now {
            return at;
        }
        let nanos = u64::try_from(earliest.div_ceil(rate)).unwrap_or(u64::MAX);
        epoch.checked_add(Duration::from_nanos(nanos)).unwrap_or(at)
    }

    fn place_in_day(&mut self, at: Instant, limit: u32) -> Instant {
        self.roll_day(at);
        if self.day_count < limit {
            return at;
        }
        let start = self
            .day_start
            .and_then(|start| start.checked_add(DAY))
            .unwrap_or(at);
        self.roll_day(start);
        start
    }

    /// Begins a new day if the current one does not cover `at`.
    fn roll_day(&mut self, at: Instant) {
        if self
            .day_start
            .is_none_or(|start| at.saturating_duration_since(start) >= DAY)
        {
            self.day_start = Some(at);
            self.day_count = 0;
        }
    }
}
