//! How many requests or tasks of a lane have not ended, and how many may.

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
}

impl Running {
    pub(super) fn new() -> Self {
        Self {
            now: 0,
            told: None,
            cap: f64::INFINITY,
            rise_at: 0,
        }
    }

    pub(super) fn tell(&mut self, told: Option<u64>) {
        self.told = told;
    }

    pub(super) fn now(&self) -> u64 {
        self.now
    }

    /// What may run at once; infinite when nothing limits it.
    pub(super) fn cap(&self) -> f64 {
        self.told.map_or(self.cap, |told| self.cap.min(told as f64))
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
        let missing = ahead + 1.0 - (self.cap() - self.now as f64);
        match answer {
            Some(answer) if missing > 0.0 => {
                at.saturating_add(from_f64(missing / self.cap() * answer as f64))
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
        let ran = self.now.saturating_sub(1) as f64;
        self.cap = (ran.min(self.cap()) * CUT).floor().max(1.0);
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
        if self.ready_at(at) == NEVER && self.cap() >= self.cap {
            self.rise_at.max(at)
        } else {
            NEVER
        }
    }
}
