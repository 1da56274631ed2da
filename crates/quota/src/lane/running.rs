//! How many requests or tasks of a lane have not ended, and how many may.

use super::share::{Share, Shared};
use crate::share::Belief;
use crate::time::{NEVER, Nanos, SECOND, from_f64};

/// What a refusal for concurrency leaves of the requests that ran.
const CUT: f64 = 0.7;

#[derive(Debug)]
pub(super) struct Running {
    now: u64,
    told: Option<u64>,
    /// Learned from refusals.
    cap: f64,
    rise_at: Nanos,
    /// Set when other replicas use the same limit.
    share: Option<Share>,
}

impl Running {
    pub(super) fn new() -> Self {
        Self {
            now: 0,
            told: None,
            cap: f64::INFINITY,
            rise_at: 0,
            share: None,
        }
    }

    pub(super) fn tell(&mut self, told: Option<u64>) {
        self.told = told;
    }

    pub(super) fn now(&self) -> u64 {
        self.now
    }

    /// What may run at once in all replicas; infinite when nothing limits it.
    fn whole(&self) -> f64 {
        self.told.map_or(self.cap, |told| self.cap.min(told as f64))
    }

    /// What may run here at once.
    pub(super) fn cap(&self) -> f64 {
        let whole = self.whole();
        self.share.map_or(whole, |share| share.part_of(whole))
    }

    /// What may run here at once when others have been asked to make room.
    fn fair_cap(&self) -> f64 {
        let whole = self.whole();
        self.share.map_or(whole, |share| share.fair_part_of(whole))
    }

    /// A full lane is ready when something ends, which nobody can date.
    pub(super) fn ready_at(&self, at: Nanos) -> Nanos {
        if (self.now as f64) < self.cap() {
            at
        } else {
            NEVER
        }
    }

    /// When a request may go that comes after so many others, by how long answers take. While
    /// nobody knows that, waiting is not ruled out.
    pub(super) fn ready_after(&self, at: Nanos, ahead: f64, answer: Option<Nanos>) -> Nanos {
        let cap = self.fair_cap();
        let missing = ahead + 1.0 - (cap - self.now as f64);
        match answer {
            Some(answer) if missing > 0.0 => {
                at.saturating_add(from_f64(missing / cap * answer as f64))
            }
            _ => at,
        }
    }

    pub(super) fn take(&mut self) {
        self.now += 1;
    }

    pub(super) fn release(&mut self) {
        self.now = self.now.saturating_sub(1);
    }

    /// Too many ran.
    pub(super) fn refused(&mut self, at: Nanos) {
        let others = self.share.map_or(0, |share| share.others_used());
        let ran = self.now.saturating_sub(1).saturating_add(others) as f64;
        self.cap = (ran.min(self.whole()) * CUT).floor().max(1.0);
        self.rise_at = at.saturating_add(5 * SECOND);
    }

    /// Requests wait, and none is refused: one more each second.
    pub(super) fn rise(&mut self, at: Nanos) {
        if self.cap.is_finite() && at >= self.rise_at {
            self.cap += (self.cap * 0.02).max(1.0).floor();
            self.rise_at = at.saturating_add(SECOND);
        }
    }

    /// When the cap may rise next, if that is what requests wait for.
    pub(super) fn rises_at(&self, at: Nanos) -> Nanos {
        if self.ready_at(at) == NEVER && self.whole() >= self.cap {
            self.rise_at.max(at)
        } else {
            NEVER
        }
    }
}

impl Shared for Running {
    fn share(&mut self) -> &mut Option<Share> {
        &mut self.share
    }

    fn believed(&self) -> (f64, f64) {
        let known = self.told.map_or(f64::INFINITY, |told| told as f64);
        (self.whole(), known)
    }

    fn adopt(&mut self, belief: &Belief, at: Nanos) {
        self.cap = belief.amount.map_or(f64::INFINITY, |amount| amount as f64);
        self.rise_at = at.saturating_add(SECOND);
    }
}
