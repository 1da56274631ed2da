//! Even spacing: a cell-rate rule that spreads a window's amount over the window.

use crate::time::{MILLISECOND, Nanos, from_f64};

/// Credit that a waiting line may carry from one turn to the next: what a late timer costs.
const SLACK: Nanos = 20 * MILLISECOND;

/// Spaces uses so that the allowed rate is kept, after a burst.
///
/// Time is the unit throughout: a use costs the time in which the rate brings it back.
#[derive(Debug)]
pub(super) struct Pace {
    /// When all that was taken will have been brought back.
    settled_at: Nanos,
    /// What may be taken in advance.
    burst: Nanos,
    /// While others wait, unused time is not saved up: what a line could not use because of
    /// another limit must not come out as a burst later.
    credit_cap: Nanos,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self {
            settled_at: 0,
            burst: 0,
            credit_cap: Nanos::MAX,
        }
    }

    /// Changes what may be taken in advance.
    pub(super) fn set_burst(&mut self, burst: Nanos) {
        self.burst = burst;
    }

    /// What may be taken now, in time.
    fn credit(&self, now: Nanos) -> Nanos {
        let horizon = now.saturating_add(self.burst);
        let credit = horizon.saturating_sub(self.settled_at);
        credit.min(self.burst).min(self.credit_cap.max(SLACK))
    }

    /// When the next use may go.
    pub(super) fn ready_at(&self, now: Nanos) -> Nanos {
        now.max(self.settled_at.saturating_sub(self.burst))
    }

    /// When a use may go that comes after others of so much time.
    pub(super) fn ready_after(&self, now: Nanos, ahead: f64) -> Nanos {
        let credit = self.credit(now);
        self.ready_at(now)
            .saturating_add(from_f64(ahead).saturating_sub(credit))
    }

    /// Takes a use. `waiting` tells whether others wait behind it, and have for some time.
    pub(super) fn take(&mut self, now: Nanos, cost: Nanos, waiting: bool) {
        let horizon = now.saturating_add(self.burst);
        let credit = self.credit(now);
        self.settled_at = self
            .settled_at
            .max(horizon.saturating_sub(credit))
            .saturating_add(cost);
        self.credit_cap = if waiting {
            self.credit_cap.min(credit.saturating_sub(cost))
        } else {
            Nanos::MAX
        };
    }

    /// More may be used from now on than was thought: so much time's worth may go at once.
    pub(super) fn grant(&mut self, worth: Nanos) {
        self.settled_at = self.settled_at.saturating_sub(worth);
        self.credit_cap = self.credit_cap.saturating_add(worth);
    }

    /// Corrects an earlier use: it cost so much more, or less.
    pub(super) fn correct(&mut self, more: f64) {
        if more >= 0.0 {
            self.settled_at = self.settled_at.saturating_add(from_f64(more));
        } else {
            self.settled_at = self.settled_at.saturating_sub(from_f64(-more));
        }
    }
}
