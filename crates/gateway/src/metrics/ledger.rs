//! The ledger's part of the metrics, asked of it at every scrape.

use std::sync::atomic::{AtomicI64, AtomicU64};

use bailian_ledger::Status;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// A registry with the ledger as it is now.
pub(super) fn registry(status: &Status) -> Registry {
    let mut registry = Registry::with_prefix("bailian_ledger");
    let mut level = |name: &str, help: &str, value: u64| {
        let gauge = Gauge::<i64, AtomicI64>::default();
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        registry.register(name, help, gauge);
    };
    level(
        "backlog_bytes",
        "Bytes of the spool that are not in the store yet",
        status.backlog_bytes,
    );
    level(
        "backlog_frames",
        "Beginnings and ends that are not in the store yet",
        status.backlog_frames,
    );
    level(
        "store_ok",
        "Whether the store takes records",
        u64::from(status.store_ok),
    );
    level(
        "spool_ok",
        "Whether the spool can be written",
        u64::from(status.spool_ok),
    );
    level("open", "Requests in flight", status.open);
    let mut count = |name: &str, help: &str, value: u64| {
        let counter = Counter::<u64, AtomicU64>::default();
        counter.inc_by(value);
        registry.register(name, help, counter);
    };
    count(
        "lost",
        "Beginnings and ends that found no room anywhere",
        status.lost,
    );
    count("refused", "Records that the store refused", status.refused);
    count(
        "damaged_bytes",
        "Bytes of the spool that could not be read",
        status.damaged_bytes,
    );
    registry
}
