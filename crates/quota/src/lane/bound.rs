//! One limit of a lane at work: its window, its pace, what is believed of it.

use std::time::Duration;

use super::adapt::Adaptive;
use super::pace::Pace;
use super::share::{Share, Shared};
use super::window::Window;
use crate::limit::{Limit, Measure, Source};
use crate::share::Belief;
use crate::time::{MILLISECOND, MINUTE, NEVER, Nanos, from_f64, nanos};

/// How much longer than the service's our windows are, so that what is sent just after the end of
/// one and arrives just before it is not one too many: a part of the period, and at most so long.
const GUARD: f64 = 0.02;
const LONGEST_GUARD: Nanos = 150 * MILLISECOND;

/// The pace is a little above the limit, so that the window is what binds in the end.
const PACE_MARGIN: f64 = 1.03;

/// The part of a window that a lane at rest may use at once, and so many uses in any case.
const BURST: f64 = 1.0 / 6.0;
const LEAST_BURST: f64 = 5.0;

/// Longer windows are budgets, not rates: they are not spread.
const LONGEST_PACED: Nanos = 2 * MINUTE;

#[derive(Debug)]
pub(super) struct Bound {
    pub(super) limit: Limit,
    pub(super) adaptive: Adaptive,
    /// Set when other replicas use the same limit.
    share: Option<Share>,
    window: Window,
    pace: Pace,
    /// Charge a token reservation whole and at once, as services do that reserve `max_tokens`.
    reserve_whole: bool,
    /// Tokens per nanosecond that running requests are taken to produce.
    flow: f64,
    flowed_at: Nanos,
    /// The part of a token that has flowed.
    rest: f64,
}

/// What a request needs of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Need {
    pub(super) input: u64,
    pub(super) output: u64,
}

impl Need {
    pub(super) fn tokens(self) -> u64 {
        self.input.saturating_add(self.output)
    }
}

impl Bound {
    /// A bound whose amount nobody told has none, and only counts.
    pub(super) fn new(limit: Limit, reserve_whole: bool) -> Self {
        let told = (limit.source != Source::Learned).then_some(limit.amount);
        let period = nanos(limit.period);
        let guard = from_f64(period as f64 * GUARD).min(LONGEST_GUARD);
        let mut bound = Self {
            adaptive: Adaptive::new(told, limit.exact),
            share: None,
            window: Window::new(period.saturating_add(guard)),
            pace: Pace::new(),
            reserve_whole,
            flow: 0.0,
            flowed_at: 0,
            rest: 0.0,
            limit,
        };
        bound.amount_changed();
        bound
    }

    /// One that only counts until the service refuses something.
    pub(super) fn tracker(measure: Measure, period: Duration) -> Self {
        let limit = match measure {
            Measure::Tokens => Limit::tokens(u64::MAX, period),
            _ => Limit::requests(u64::MAX, period),
        };
        Self::new(limit.from(Source::Learned), false)
    }

    /// The amount that may be used in a period now, by this replica.
    pub(super) fn cap(&self) -> f64 {
        let whole = self.adaptive.cap();
        self.share.map_or(whole, |share| share.part_of(whole))
    }

    /// The amount that this replica can count on, when others have been asked to make room.
    fn fair_cap(&self) -> f64 {
        let whole = self.adaptive.cap();
        self.share.map_or(whole, |share| share.fair_part_of(whole))
    }

    /// This replica's part has changed from so much. What it was given more is free in the service's
    /// window now, and need not be spread.
    pub(super) fn part_changed(&mut self, before: f64) {
        self.amount_changed();
        let more = self.cap() - before;
        if more.is_finite() && more > 0.0 {
            let worth = self.pace_cost(more);
            self.pace.grant(worth);
        }
    }

    /// What other replicas have used of the limit, as far as they told.
    pub(super) fn others_used(&self) -> u64 {
        self.share.map_or(0, |share| share.others_used())
    }

    /// Whether it is the limit itself that is used up and not only this replica's part of it.
    pub(super) fn is_nearly_used(&mut self, now: Nanos) -> bool {
        let Some(share) = self.share else {
            return true;
        };
        let used = self.used(now).saturating_add(share.others_used());
        used as f64 >= 0.9 * self.adaptive.cap()
    }

    /// Whether another bound counts the same uses.
    pub(super) fn counts_like(&self, other: &Self) -> bool {
        let key = |limit: &Limit| (limit.measure, limit.period, limit.layer);
        key(&self.limit) == key(&other.limit)
    }

    /// Whether another bound counts the same uses over the same time, for whomever.
    pub(super) fn sees_what(&self, other: &Self) -> bool {
        let key = |limit: &Limit| (limit.measure, limit.period);
        key(&self.limit) == key(&other.limit)
    }

    /// Takes over what another bound has counted.
    pub(super) fn count_as(&mut self, other: &Self) {
        self.window = other.window.clone();
        (self.flow, self.flowed_at, self.rest) = (other.flow, other.flowed_at, other.rest);
    }

    /// Goes on where another bound for the same count was. What was learned about a figure that
    /// somebody told, or that nobody told, stays only where that is still so.
    pub(super) fn inherit(&mut self, old: Self) {
        let learned = |limit: &Limit| limit.source == Source::Learned;
        if learned(&self.limit) == learned(&old.limit) {
            self.adaptive = old.adaptive;
            if !learned(&self.limit) {
                let limit = &self.limit;
                self.adaptive.tell(limit.amount as f64, limit.exact);
            }
        }
        self.window = old.window;
        self.pace = old.pace;
        self.share = old.share;
        (self.flow, self.flowed_at, self.rest) = (old.flow, old.flowed_at, old.rest);
        self.amount_changed();
    }

    /// To be called whenever `adaptive` may have changed.
    pub(super) fn amount_changed(&mut self) {
        let cap = self.cap();
        let burst = if self.window.period() > LONGEST_PACED {
            self.window.period()
        } else {
            let share = match self.limit.measure {
                Measure::Tokens => BURST,
                _ => BURST.max(LEAST_BURST / cap.max(1.0)).min(1.0),
            };
            from_f64(self.window.period() as f64 * share)
        };
        self.pace.set_burst(burst);
    }

    fn amount_of(&self, need: Need) -> f64 {
        match self.limit.measure {
            Measure::Tokens => need.tokens() as f64,
            _ => 1.0,
        }
    }

    /// How long this limit needs to bring back what a request takes, in nanoseconds.
    pub(super) fn work_of(&self, need: Need) -> f64 {
        self.amount_of(need) * self.nanos_each(self.fair_cap())
    }

    /// What one costs in time.
    fn nanos_each(&self, cap: f64) -> f64 {
        if cap.is_finite() && cap > 0.0 {
            self.window.period() as f64 / cap
        } else {
            0.0
        }
    }

    fn pace_cost(&self, amount: f64) -> Nanos {
        from_f64(amount * self.nanos_each(self.cap()) / PACE_MARGIN)
    }

    /// Counts what running requests are taken to have produced.
    pub(super) fn flow_to(&mut self, now: Nanos) {
        if self.limit.measure != Measure::Tokens {
            return;
        }
        let passed = now.saturating_sub(self.flowed_at);
        if passed == 0 {
            return;
        }
        self.flowed_at = now;
        if self.flow > 0.0 {
            self.rest += self.flow * passed as f64;
            let whole = from_f64(self.rest);
            if whole > 0 {
                self.window.add(now, whole);
                self.rest -= whole as f64;
            }
        }
    }

    pub(super) fn used(&mut self, now: Nanos) -> u64 {
        self.flow_to(now);
        self.window.used(now)
    }

    /// What all replicas have used.
    pub(super) fn used_by_all(&mut self, now: Nanos) -> u64 {
        self.used(now).saturating_add(self.others_used())
    }

    /// What had been used when a request went that itself takes `own`.
    pub(super) fn used_before(&mut self, now: Nanos, sent_at: Nanos, own: u64) -> u64 {
        let used = self.used_by_all(now).saturating_sub(own);
        used.saturating_sub(self.window.added_after(sent_at))
    }

    /// When a request may go: now, or the time of the next look.
    pub(super) fn ready_at(&mut self, now: Nanos, need: Need) -> Nanos {
        let cap = self.cap();
        if !cap.is_finite() {
            return now;
        }
        let used = self.used(now);
        let cap = from_f64(cap);
        let free = match self.limit.measure {
            // The service lets a request in while some of its window is left.
            Measure::Tokens if !self.reserve_whole => used < cap,
            Measure::Tokens => used == 0 || used.saturating_add(need.tokens()) <= cap,
            _ => used < cap,
        };
        if free {
            return self.pace.ready_at(now);
        }
        if cap == 0 {
            return NEVER;
        }
        let room = match self.limit.measure {
            Measure::Tokens if self.reserve_whole => need.tokens().min(cap),
            _ => 1,
        };
        let excess = used.saturating_add(room).saturating_sub(cap);
        self.window
            .freed_at(now, excess.min(used))
            .max(self.pace.ready_at(now))
            .max(now + 1)
    }

    /// When a request could go that comes after so much else.
    pub(super) fn ready_after(&mut self, now: Nanos, ahead: f64) -> Nanos {
        let cap = self.fair_cap();
        if !cap.is_finite() {
            return now;
        }
        if cap <= 0.0 {
            return NEVER;
        }
        let period = self.window.period() as f64;
        let used = self.used(now) as f64;
        let over = used + ahead + 1.0 - cap;
        let window = if over <= 0.0 {
            now
        } else if over <= used {
            self.window.freed_at(now, from_f64(over.ceil()))
        } else {
            // After all that is used now has gone, the amount comes back once a period.
            let turns = (over - used) / cap;
            now.saturating_add(from_f64(period * (1.0 + turns)))
        };
        let cost = ahead * self.nanos_each(cap) / PACE_MARGIN;
        window.max(self.pace.ready_after(now, cost))
    }

    /// Takes what a request needs. `waiting` tells whether others wait behind it.
    pub(super) fn take(&mut self, now: Nanos, need: Need, rate: f64, waiting: bool) {
        self.flow_to(now);
        let amount = self.at_start(need);
        self.window.add(now, amount);
        if self.limit.measure == Measure::Tokens && !self.reserve_whole {
            self.flow += rate;
        }
        let used = self.window.used(now);
        self.adaptive.used(used.saturating_add(self.others_used()));
        if self.adaptive.is_limited() {
            self.pace
                .take(now, self.pace_cost(self.amount_of(need)), waiting);
        }
    }

    /// Corrects what was taken when a request went: it reserved `need` and cost `real`.
    pub(super) fn correct_start(&mut self, now: Nanos, taken_at: Nanos, need: Need, real: Need) {
        if self.limit.measure != Measure::Tokens {
            return;
        }
        let (was, is) = (self.at_start(need), self.at_start(real));
        if was > is {
            self.window.take_back(now, taken_at, was - is);
        } else if taken_at.saturating_add(self.window.period()) > now {
            self.window.add(now, is - was);
        }
        if self.adaptive.is_limited() {
            let more = real.tokens() as f64 - need.tokens() as f64;
            let each = self.nanos_each(self.cap());
            self.pace.correct(more * each / PACE_MARGIN);
        }
    }

    /// Corrects the output that was counted since an instant by so many tokens. Of an answer that
    /// is longer than the window, the window sees a part only.
    pub(super) fn correct_output(&mut self, now: Nanos, since: Nanos, more: i64) {
        if self.limit.measure != Measure::Tokens || self.reserve_whole || more == 0 {
            return;
        }
        self.flow_to(now);
        let lasted = now.saturating_sub(since).max(1) as f64;
        let part = (self.window.period() as f64 / lasted).min(1.0);
        let amount = from_f64(more.unsigned_abs() as f64 * part);
        if more > 0 {
            self.window.add(now, amount);
        } else {
            self.window.take_back_since(now, since, amount);
        }
    }

    /// A request no longer produces.
    pub(super) fn end_flow(&mut self, now: Nanos, rate: f64) {
        if self.limit.measure == Measure::Tokens && !self.reserve_whole {
            self.flow_to(now);
            self.flow = (self.flow - rate).max(0.0);
        }
    }

    /// Gives back a request that the service did not count.
    pub(super) fn give_back(&mut self, now: Nanos, taken_at: Nanos, need: Need) {
        let amount = self.at_start(need);
        self.window.take_back(now, taken_at, amount);
        if self.adaptive.is_limited() {
            let cost = self.pace_cost(self.amount_of(need));
            self.pace.correct(-(cost as f64));
        }
    }

    /// What is counted in the moment in which a request goes.
    fn at_start(&self, need: Need) -> u64 {
        match self.limit.measure {
            Measure::Tokens if self.reserve_whole => need.tokens(),
            Measure::Tokens => need.input,
            _ => 1,
        }
    }
}

impl Shared for Bound {
    fn share(&mut self) -> &mut Option<Share> {
        &mut self.share
    }

    fn believed(&self) -> (f64, f64) {
        (self.adaptive.cap(), self.adaptive.known())
    }

    fn adopt(&mut self, belief: &Belief, at: Nanos) {
        let value = |value: Option<u64>| value.map_or(f64::INFINITY, |value| value as f64);
        if !self.adaptive.is_limited() {
            self.limit.amount = belief.amount.unwrap_or(u64::MAX);
        }
        self.adaptive
            .adopt(value(belief.amount), value(belief.known), at);
    }
}
