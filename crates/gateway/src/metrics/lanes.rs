//! The lanes' part of the metrics: made at every scrape, since lanes count for themselves.

use std::sync::atomic::AtomicU64;

use bailian_quota::share::redis::SharingStatus;
use bailian_quota::{LaneSnapshot, LimitSnapshot};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::pacing::Pacing;

/// Lanes are named after models, and those callers choose: the busiest lanes have labels of
/// their own, the others none.
const MOST_LANES: usize = 200;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LaneLabels {
    lane: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClassLabels {
    lane: String,
    class: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    lane: String,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabels {
    lane: String,
    measure: &'static str,
    seconds: String,
    layer: &'static str,
    source: &'static str,
}

type Level = Gauge<f64, AtomicU64>;
type Count = Counter<u64, AtomicU64>;
type Seconds = Counter<f64, AtomicU64>;

/// What is known of all lanes.
#[derive(Default)]
struct LaneMetrics {
    waiting: Family<ClassLabels, Level>,
    running: Family<LaneLabels, Level>,
    stopped: Family<LaneLabels, Level>,
    allowed: Family<LimitLabels, Level>,
    used: Family<LimitLabels, Level>,
    granted: Family<ClassLabels, Count>,
    waited: Family<ClassLabels, Seconds>,
    refused: Family<ReasonLabels, Count>,
    throttled: Family<ReasonLabels, Count>,
    estimate_error: Family<LaneLabels, Level>,
}

/// A registry with the lanes as they are now.
pub(super) fn registry(pacing: &Pacing) -> Registry {
    let lanes = pacing.lanes();
    let mut snapshots: Vec<(String, LaneSnapshot)> = lanes
        .iter()
        .map(|lane| (lane.name().to_owned(), lane.snapshot()))
        .collect();
    let granted = |lane: &LaneSnapshot| lane.granted.iter().map(|(_, count)| count).sum::<u64>();
    snapshots.sort_by_cached_key(|(name, lane)| (std::cmp::Reverse(granted(lane)), name.clone()));
    snapshots.truncate(MOST_LANES);
    let metrics = LaneMetrics::default();
    for (name, lane) in &snapshots {
        metrics.add(name, lane);
    }
    let mut registry = Registry::with_prefix("bailian");
    metrics.register(&mut registry);
    let open = Level::default();
    open.set(lanes.len() as f64);
    registry.register("lanes", "Lanes: models that were asked for", open);
    if let Some(sharing) = pacing.sharing() {
        register_sharing(&mut registry, &sharing);
    }
    registry
}

fn register_sharing(registry: &mut Registry, sharing: &SharingStatus) {
    let mut level = |name: &str, help: &str, value: f64| {
        let gauge = Level::default();
        gauge.set(value);
        registry.register(name, help, gauge);
    };
    level(
        "redis_connected",
        "Whether limits are shared over Redis now; 0 goes on with the last share",
        f64::from(u8::from(sharing.connected)),
    );
    level(
        "redis_replicas",
        "Replicas that share the limits, this one with them",
        sharing.replicas as f64,
    );
    let mut count = |name: &str, help: &str, value: u64| {
        let counter = Count::default();
        counter.inc_by(value);
        registry.register(name, help, counter);
    };
    count(
        "redis_renewals",
        "Rounds of renewals of shares that were answered",
        sharing.renewals,
    );
    count(
        "redis_failures",
        "Rounds of renewals of shares that failed",
        sharing.failures,
    );
}

impl LaneMetrics {
    fn add(&self, name: &str, lane: &LaneSnapshot) {
        let one = || LaneLabels {
            lane: name.to_owned(),
        };
        let class = |class: bailian_quota::Class| ClassLabels {
            lane: name.to_owned(),
            class: class.as_str(),
        };
        let reason = |reason: &'static str| ReasonLabels {
            lane: name.to_owned(),
            reason,
        };
        for (of, waiting) in &lane.waiting {
            self.waiting.get_or_create(&class(*of)).set(*waiting as f64);
        }
        for (of, granted) in &lane.granted {
            self.granted.get_or_create(&class(*of)).inc_by(*granted);
        }
        for (of, waited) in &lane.waited {
            let seconds = waited.as_secs_f64();
            self.waited.get_or_create(&class(*of)).inc_by(seconds);
        }
        self.running.get_or_create(&one()).set(lane.running as f64);
        let stopped = f64::from(u8::from(lane.stopped.is_some()));
        self.stopped.get_or_create(&one()).set(stopped);
        self.estimate_error
            .get_or_create(&one())
            .set(lane.estimate_error);
        for limit in &lane.limits {
            let labels = limit_labels(name, limit);
            self.allowed.get_or_create(&labels).set(limit.allowed);
            self.used.get_or_create(&labels).set(limit.used as f64);
        }
        for (why, count) in [
            ("too_late", lane.refused_too_late),
            ("line_full", lane.refused_full),
            ("timed_out", lane.timed_out),
            ("left", lane.left),
        ] {
            self.refused.get_or_create(&reason(why)).inc_by(count);
        }
        for (why, count) in &lane.throttled {
            self.throttled.get_or_create(&reason(why)).inc_by(*count);
        }
    }

    fn register(self, registry: &mut Registry) {
        registry.register(
            "lane_waiting",
            "Requests that wait for their turn",
            self.waiting,
        );
        registry.register("lane_running", "Requests that run", self.running);
        registry.register(
            "lane_stopped",
            "Whether the service stopped the lane, for its allowance or money",
            self.stopped,
        );
        registry.register(
            "lane_limit",
            "What may be used in a window now, by this replica",
            self.allowed,
        );
        registry.register("lane_used", "What was used in the last window", self.used);
        registry.register("lane_granted", "Permits that were given", self.granted);
        registry.register_with_unit(
            "lane_wait",
            "Time in line of all permits together",
            Unit::Seconds,
            self.waited,
        );
        registry.register(
            "lane_refused",
            "Requests that got no permit, by reason",
            self.refused,
        );
        registry.register(
            "lane_throttled",
            "Refusals of the service, by reason",
            self.throttled,
        );
        registry.register(
            "lane_estimate_error",
            "Mean error of a reservation of tokens, as a part of the true cost",
            self.estimate_error,
        );
    }
}

fn limit_labels(lane: &str, limit: &LimitSnapshot) -> LimitLabels {
    LimitLabels {
        lane: lane.to_owned(),
        measure: limit.limit.measure.as_str(),
        seconds: limit.limit.period.as_secs_f64().to_string(),
        layer: limit.limit.layer.as_str(),
        source: limit.limit.source.as_str(),
    }
}
