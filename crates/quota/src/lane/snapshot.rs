//! A lane's state for metrics, the admin endpoint and other replicas.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::LaneCore;
use super::learn::{Stop, Throttle};
use crate::class::{CLASSES, Class};
use crate::limit::{Limit, Source};
use crate::time::Nanos;

/// What happened so far.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) granted: [u64; CLASSES],
    /// Nanoseconds in line.
    pub(super) waited: [u128; CLASSES],
    pub(super) queued: u64,
    pub(super) left: u64,
    pub(super) full: u64,
    pub(super) too_late: u64,
    pub(super) timed_out: u64,
    pub(super) settled: u64,
    throttled: [u64; 6],
}

const THROTTLES: [&str; 6] = [
    "requests",
    "tokens",
    "burst",
    "concurrency",
    "capacity",
    "exhausted",
];

impl Counts {
    pub(super) fn granted(&mut self, class: Class, waited: Nanos) {
        self.granted[class.index()] += 1;
        self.waited[class.index()] += u128::from(waited);
    }

    pub(super) fn throttled(&mut self, throttle: &Throttle) {
        let index = THROTTLES.iter().position(|name| *name == throttle.as_str());
        if let Some(count) = index.and_then(|index| self.throttled.get_mut(index)) {
            *count += 1;
        }
    }
}

/// A lane as it is now.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LaneSnapshot {
    /// Its limits, told and learned.
    pub limits: Vec<LimitSnapshot>,
    /// Requests that run.
    pub running: u64,
    /// How many may; `None` for any number.
    pub max_running: Option<u64>,
    /// Replicas that share the lane, as far as is known; `None` for one alone.
    pub replicas: Option<u64>,
    /// Requests per second that the smooth start allows now; `None` without one.
    pub ramp_per_second: Option<f64>,
    /// Waiting requests, by class.
    pub waiting: Vec<(Class, usize)>,
    /// Waiting requests, by class and tenant, most first; at most a hundred.
    pub tenants: Vec<TenantSnapshot>,
    /// How long the lane is paused still, after a refusal.
    pub paused_for: Duration,
    /// Why the lane is stopped.
    pub stopped: Option<Stop>,
    /// Permits that were given, by class.
    pub granted: Vec<(Class, u64)>,
    /// Time that they waited, all together, by class.
    pub waited: Vec<(Class, Duration)>,
    /// Requests that had to wait.
    pub queued: u64,
    /// Waiting requests whose caller left.
    pub left: u64,
    /// Refused because a line was full.
    pub refused_full: u64,
    /// Refused because the wait would have been too long.
    pub refused_too_late: u64,
    /// Refused after their patience ended.
    pub timed_out: u64,
    /// Refusals of the service, by reason.
    pub throttled: Vec<(&'static str, u64)>,
    /// Mean error of a reservation, as a part of the true cost.
    pub estimate_error: f64,
    /// By what estimates of the input are multiplied.
    pub input_factor: f64,
    /// Mean seconds of an answer, once there was one.
    pub answer_seconds: Option<f64>,
}

/// One limit as it is now.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct LimitSnapshot {
    /// As it was told; for learned ones the amount at the first refusal.
    pub limit: Limit,
    /// What is used of it at most now, after what refusals taught.
    pub allowed: f64,
    /// What was used in the last period.
    pub used: u64,
    /// What all replicas together may use; the same as `allowed` for one alone.
    pub whole: f64,
    /// What other replicas have used, as far as they told.
    pub others_used: u64,
}

/// One tenant's waiting requests.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TenantSnapshot {
    /// The tenant.
    pub tenant: Arc<str>,
    /// The class.
    pub class: Class,
    /// How many wait.
    pub waiting: usize,
}

/// Tenants that a snapshot lists at most.
const MOST_TENANTS: usize = 100;

impl<T> LaneCore<T> {
    /// The lane as it is now.
    pub fn snapshot(&mut self, now: Instant) -> LaneSnapshot {
        let at = self.epoch.nanos(now);
        let mut tenants: Vec<TenantSnapshot> = self
            .queue
            .tenants()
            .map(|(class, tenant, waiting)| TenantSnapshot {
                tenant: Arc::clone(tenant),
                class,
                waiting,
            })
            .collect();
        tenants.sort_by_key(|tenant| std::cmp::Reverse(tenant.waiting));
        tenants.truncate(MOST_TENANTS);
        let limits = self
            .bounds
            .iter_mut()
            .filter(|bound| bound.limit.source != Source::Learned || bound.adaptive.is_limited())
            .map(|bound| LimitSnapshot {
                used: bound.used(at),
                allowed: bound.cap(),
                whole: bound.adaptive.cap(),
                others_used: bound.others_used(),
                limit: bound.limit,
            })
            .collect();
        let cap = self.running.cap();
        let by_class = |counts: &[u64; CLASSES]| {
            Class::ALL
                .into_iter()
                .map(|class| (class, counts[class.index()]))
                .collect()
        };
        LaneSnapshot {
            limits,
            replicas: self.replicas(),
            running: self.running.now(),
            max_running: cap.is_finite().then(|| crate::time::from_f64(cap)),
            ramp_per_second: self.ramp.as_ref().map(super::Ramp::rate),
            waiting: Class::ALL
                .into_iter()
                .map(|class| (class, self.queue.class_len(class)))
                .collect(),
            tenants,
            paused_for: Duration::from_nanos(self.health.open_at(at).saturating_sub(at)),
            stopped: self.health.stop().cloned(),
            granted: by_class(&self.counts.granted),
            waited: Class::ALL
                .into_iter()
                .map(|class| {
                    let nanos = self.counts.waited[class.index()];
                    let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
                    (class, Duration::from_nanos(nanos))
                })
                .collect(),
            queued: self.counts.queued,
            left: self.counts.left,
            refused_full: self.counts.full,
            refused_too_late: self.counts.too_late,
            timed_out: self.counts.timed_out,
            throttled: THROTTLES.into_iter().zip(self.counts.throttled).collect(),
            estimate_error: self.expect.error(),
            input_factor: self.expect.input_factor(),
            answer_seconds: self.expect.seconds(),
        }
    }
}
