//! A lane's limits: from what was told to what is counted.

use std::time::Duration;

use super::bound::Bound;
use super::ramp::{Ramp, RampProfile};
use super::{LaneConfig, LaneCore};
use crate::limit::{Limit, Measure};

impl<T> LaneCore<T> {
    pub(super) fn build_bounds(&mut self) {
        let reserve = self.config.reserve_tokens;
        let mut running = None;
        self.bounds.clear();
        for limit in &self.config.limits {
            if limit.measure == Measure::Running {
                running = Some(running.map_or(limit.amount, |other: u64| other.min(limit.amount)));
            } else {
                let bound = Bound::new(*limit, reserve);
                match self.bounds.iter_mut().find(|old| old.counts_like(&bound)) {
                    // Two figures for one count: the smaller holds.
                    Some(old) if old.limit.amount <= limit.amount => {}
                    Some(old) => *old = bound,
                    None => self.bounds.push(bound),
                }
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

    pub(super) fn refresh_ramp(&mut self) {
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
        self.config.limits = limits;
        self.rebuild();
    }

    /// Takes a changed configuration over, but for [`LaneConfig::floor`]. What was used stays
    /// counted and what was learned is kept as [`set_limits`](Self::set_limits) does; who waits
    /// keeps the place in line.
    pub fn configure(&mut self, config: LaneConfig) {
        let is_same = self.config.limits == config.limits
            && self.config.ramp == config.ramp
            && self.config.reserve_tokens == config.reserve_tokens;
        let floor = self.config.floor;
        self.config = LaneConfig { floor, ..config };
        if !is_same {
            self.rebuild();
        }
    }

    /// Counts by the configuration from now on, and keeps what the bounds before it know.
    fn rebuild(&mut self) {
        let old = std::mem::take(&mut self.bounds);
        let ramp = self.ramp.take();
        self.build_bounds();
        for new in &mut self.bounds {
            // All layers count the same uses of this lane.
            let like = old.iter().find(|old| old.sees_what(new));
            if let Some(like) = like {
                new.count_as(like);
            }
        }
        for bound in old {
            let new = self.bounds.iter_mut().find(|new| new.counts_like(&bound));
            if let Some(new) = new {
                new.inherit(bound);
            }
        }
        if let (Some(old), Some(new)) = (ramp, &mut self.ramp) {
            new.inherit(&old);
        }
        self.share_bounds();
        self.next = 0;
    }

    /// Whether tokens are limited, as far as is known: else their estimate need not be good.
    pub fn paces_tokens(&self) -> bool {
        let limits =
            |bound: &Bound| bound.limit.measure == Measure::Tokens && bound.adaptive.is_limited();
        self.bounds.iter().any(limits)
    }

    /// The lane's limits as they were told.
    pub fn limits(&self) -> &[Limit] {
        &self.config.limits
    }
}
