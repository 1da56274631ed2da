//! A permit that cannot be forgotten.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::Lane;
use super::wait::{Place, Wait};
use crate::demand::{Demand, Usage};
use crate::lane::{Grant, Throttle};

/// Leave to send one request. Dropped without a word, it counts as sent, at its estimate.
#[must_use = "a permit that is dropped counts as sent"]
pub struct Permit {
    lane: Lane,
    pub(super) grant: Option<Grant>,
    weight: u32,
    patience: Option<Duration>,
}

impl Permit {
    pub(super) fn new(lane: Lane, grant: Grant, demand: &Demand) -> Self {
        Self {
            lane,
            grant: Some(grant),
            weight: demand.weight,
            patience: demand.patience,
        }
    }

    /// How long the request was in line.
    pub fn waited(&self) -> Duration {
        self.grant.as_ref().map_or(Duration::ZERO, Grant::waited)
    }

    /// How often the request was sent before this permit.
    pub fn attempt(&self) -> u32 {
        self.grant.as_ref().map_or(0, Grant::attempt)
    }

    /// Whether a refused request may go after a wait; see [`LaneCore::is_worth_waiting`].
    ///
    /// [`LaneCore::is_worth_waiting`]: crate::LaneCore::is_worth_waiting
    pub fn is_worth_waiting(&self) -> bool {
        self.lane.shared.core.lock().is_worth_waiting()
    }

    /// The service took the request: the head of its answer has come.
    pub fn admitted(&self) {
        if let Some(grant) = &self.grant {
            let mut core = self.lane.shared.core.lock();
            core.admitted(grant);
            self.lane.run(core);
        }
    }

    /// So many output tokens have come so far.
    pub fn observe(&mut self, output_tokens: u64) {
        if let Some(grant) = &mut self.grant {
            let now = self.lane.now();
            let mut core = self.lane.shared.core.lock();
            core.observe(grant, output_tokens, now);
        }
    }

    /// The request has ended, and this is what it cost.
    pub fn settle(mut self, usage: Usage) {
        self.end(usage);
    }

    /// The request was not sent, or ended in an error that the service does not count.
    pub fn give_back(mut self) {
        if let Some(grant) = self.grant.take() {
            let mut core = self.lane.shared.core.lock();
            core.give_back(&grant, self.lane.now());
            self.lane.run(core);
        }
    }

    /// The service refused the request. `hint` is its `Retry-After`.
    pub fn refused(self, throttle: &Throttle, hint: Option<Duration>) {
        if let Some(grant) = &self.grant {
            let now = self.lane.now();
            let mut core = self.lane.shared.core.lock();
            core.refuse(grant, throttle, hint, now);
        }
        self.give_back();
    }

    /// The service refused the request, and it goes back to the front of its tenant's line.
    pub fn requeue(mut self, throttle: &Throttle, hint: Option<Duration>) -> Wait {
        let Some(grant) = self.grant.take() else {
            return Wait::ready(Err(crate::Refused::Closed));
        };
        let now = self.lane.now();
        let place = Place::new();
        let tenant = grant.tenant();
        let mut core = self.lane.shared.core.lock();
        core.refuse(&grant, throttle, hint, now);
        let id = core.requeue(grant, self.weight, self.patience, now, Arc::clone(&place));
        self.lane.run(core);
        let demand = Demand::new(tenant, 0)
            .weight(self.weight)
            .patience(self.patience);
        Wait::queued(self.lane.clone(), id, place, demand)
    }

    fn end(&mut self, usage: Usage) {
        if let Some(grant) = self.grant.take() {
            let mut core = self.lane.shared.core.lock();
            core.settle(&grant, usage, self.lane.now());
            self.lane.run(core);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.end(Usage::unknown());
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("lane", &self.lane.name())
            .field("grant", &self.grant)
            .finish_non_exhaustive()
    }
}
