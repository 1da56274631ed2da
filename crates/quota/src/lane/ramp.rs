//! A smooth start: how fast the request rate may rise, because the service refuses sudden rises.

use crate::time::{Nanos, SECOND, from_f64};

/// How fast a lane may speed up.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct RampProfile {
    /// Requests per second after a long rest, whatever the limit.
    pub least_start: f64,
    /// Requests per second after a long rest, as a part of what the limits allow.
    pub start_share: f64,
    /// Full use for a second raises the rate by this part of it.
    pub growth_per_second: f64,
    /// A second without use lowers it by this part.
    pub decay_per_second: f64,
}

impl RampProfile {
    /// From a rest to full speed within a few seconds: the default.
    pub const BRISK: Self = Self {
        least_start: 4.0,
        start_share: 0.2,
        growth_per_second: 0.45,
        decay_per_second: 0.07,
    };

    /// Never more than about twice the mean of the last ten seconds, for services that were seen
    /// to refuse faster rises.
    pub const CAUTIOUS: Self = Self {
        least_start: 4.0,
        start_share: 0.15,
        growth_per_second: 0.13,
        decay_per_second: 0.08,
    };

    /// For lanes whose limits nobody knows: within a second from what most accounts allow to more
    /// than one process sends, so that the first refusal is heard before all of a burst is sent.
    pub const PROBING: Self = Self {
        least_start: 200.0,
        start_share: 0.2,
        growth_per_second: 8.0,
        decay_per_second: 0.01,
    };
}

/// By so much of what other replicas send this one may rise at once.
const OTHERS_PART: f64 = 0.3;

/// How slow rises become at most after refusals, and how long it takes to forget those.
const LEAST_GROWTH: f64 = 0.05;
const FORGET_SECONDS: f64 = 300.0;

/// The highest rate that is distinguished from no limit, in requests per second.
const FASTEST: f64 = 1e7;

#[derive(Debug)]
pub(super) struct Ramp {
    profile: RampProfile,
    /// What the limits allow, in requests per second; infinite without limits.
    full: f64,
    /// Those that start beside this one, and what the others send per second.
    replicas: f64,
    others: f64,
    /// Requests per second now.
    rate: f64,
    updated: Nanos,
    next: Nanos,
}

impl Ramp {
    pub(super) fn new(profile: RampProfile, full: f64) -> Self {
        let mut ramp = Self {
            profile,
            full,
            replicas: 1.0,
            others: 0.0,
            rate: 0.0,
            updated: 0,
            next: 0,
        };
        ramp.rate = ramp.start();
        ramp
    }

    pub(super) fn set_full(&mut self, full: f64) {
        self.full = full;
        self.rate = self.rate.max(self.start());
    }

    /// So many replicas start at the same time, this one with them, and the others send so much per
    /// second: beside that a few more are no sudden rise.
    pub(super) fn share_with(&mut self, replicas: u64, others: f64) {
        self.replicas = replicas.max(1) as f64;
        self.others = others;
    }

    /// Goes on where another one was, when the limits have changed.
    pub(super) fn inherit(&mut self, old: &Self) {
        self.rate = old.rate.max(self.rate);
        self.updated = old.updated;
        self.next = old.next;
        self.replicas = old.replicas;
        self.others = old.others;
        if old.profile == RampProfile::CAUTIOUS {
            self.profile = old.profile;
        }
    }

    pub(super) fn rate(&self) -> f64 {
        self.rate
    }

    #[cfg(test)]
    pub(super) fn profile(&self) -> RampProfile {
        self.profile
    }

    fn start(&self) -> f64 {
        let share = if self.full.is_finite() {
            self.full * self.profile.start_share
        } else {
            0.0
        };
        let least = (self.profile.least_start / self.replicas).max(0.5);
        share.max(least).max(OTHERS_PART * self.others).min(FASTEST)
    }

    fn decay(&mut self, now: Nanos) {
        let seconds = now.saturating_sub(self.updated) as f64 / SECOND as f64;
        self.updated = self.updated.max(now);
        let slower = RampProfile::CAUTIOUS.growth_per_second - self.profile.growth_per_second;
        if slower > 0.0 {
            self.profile.growth_per_second += slower * (seconds / FORGET_SECONDS).min(1.0);
        }
        let kept = (-self.profile.decay_per_second * seconds).exp();
        self.rate = (self.rate * kept).max(self.start());
    }

    pub(super) fn ready_at(&self, now: Nanos) -> Nanos {
        now.max(self.next)
    }

    /// When a request may go that comes after so many others.
    pub(super) fn ready_after(&self, now: Nanos, ahead: f64) -> Nanos {
        let growth = self.profile.growth_per_second;
        let rate = self.rate.max(f64::MIN_POSITIVE);
        let seconds = (growth * ahead / rate).ln_1p() / growth;
        self.ready_at(now)
            .saturating_add(from_f64(seconds * SECOND as f64))
    }

    pub(super) fn take(&mut self, now: Nanos) {
        self.decay(now);
        // A quarter of a second's share may go at once; two requests in any case.
        let spacing = SECOND as f64 / self.rate;
        let burst = spacing.max(SECOND as f64 / 4.0);
        let earliest = now.saturating_sub(from_f64(burst));
        self.next = self.next.max(earliest).saturating_add(from_f64(spacing));
        self.rate = (self.rate + self.profile.growth_per_second).min(FASTEST);
    }

    /// The rise was refused: back to half of what was just sent, and slower from now on.
    pub(super) fn refuse(&mut self, now: Nanos, sent_last_second: f64) {
        self.decay(now);
        if self.profile.growth_per_second > RampProfile::CAUTIOUS.growth_per_second {
            self.profile = RampProfile::CAUTIOUS;
        } else {
            let growth = self.profile.growth_per_second * 0.8;
            self.profile.growth_per_second = growth.max(LEAST_GROWTH);
        }
        self.rate = (sent_last_second / 2.0).max(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When each of `count` requests goes that all came at `from`.
    fn starts(ramp: &mut Ramp, from: Nanos, count: usize) -> Vec<f64> {
        let mut now = from;
        (0..count)
            .map(|_| {
                now = ramp.ready_at(now);
                ramp.take(now);
                (now - from) as f64 / SECOND as f64
            })
            .collect()
    }

    #[test]
    fn a_burst_of_54_goes_within_five_seconds_after_a_rest_and_faster_when_repeated() {
        let mut ramp = Ramp::new(RampProfile::BRISK, 10.0);
        let first = *starts(&mut ramp, 0, 54).last().unwrap();
        assert!((3.0..5.0).contains(&first), "{first}");
        let second = *starts(&mut ramp, 6 * SECOND, 54).last().unwrap();
        assert!(second < 2.5, "{second}");
    }

    #[test]
    fn a_long_rest_starts_it_again() {
        let mut ramp = Ramp::new(RampProfile::BRISK, 10.0);
        starts(&mut ramp, 0, 100);
        ramp.take(600 * SECOND);
        assert!(ramp.rate() < 6.0);
    }

    #[test]
    fn a_refused_rise_halves_the_rate_and_makes_it_cautious() {
        let mut ramp = Ramp::new(RampProfile::BRISK, 100.0);
        starts(&mut ramp, 0, 200);
        ramp.refuse(5 * SECOND, 40.0);
        assert_eq!(ramp.profile(), RampProfile::CAUTIOUS);
        assert!((ramp.rate() - 20.0).abs() < 1e-9);
    }

    #[test]
    fn unknown_limits_hardly_slow_a_busy_start() {
        let mut ramp = Ramp::new(RampProfile::PROBING, f64::INFINITY);
        let last = *starts(&mut ramp, 0, 5_000).last().unwrap();
        assert!(last < 0.8, "{last}");
    }
}
