//! The ledger's and the store of keys' part of the metrics, asked of them at every scrape.

use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use bailian_ledger::Status;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// How what is kept is at this moment.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) ledger: Status,
    /// Whether the store of keys answers.
    pub(crate) keys_store_ok: bool,
    /// Contents that were kept for tenants that asked, and those that could not be.
    pub(crate) contents_written: u64,
    pub(crate) contents_dropped: u64,
    /// How far the machine's clock is behind the latest moment that it showed.
    pub(crate) clock_behind: Duration,
}

impl Kept {
    /// A registry with these figures.
    pub(super) fn registry(&self) -> Registry {
        let status = &self.ledger;
        let mut registry = Registry::with_prefix("bailian");
        let mut level = |name: &str, help: &str, value: u64| {
            let gauge = Gauge::<i64, AtomicI64>::default();
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
            registry.register(name, help, gauge);
        };
        level(
            "ledger_backlog_bytes",
            "Bytes of the spool that are not in the store yet",
            status.backlog_bytes,
        );
        level(
            "ledger_backlog_frames",
            "Beginnings and ends that are not in the store yet",
            status.backlog_frames,
        );
        level(
            "ledger_store_ok",
            "Whether the store takes records",
            u64::from(status.store_ok),
        );
        level(
            "ledger_spool_ok",
            "Whether the spool can be written",
            u64::from(status.spool_ok),
        );
        level("ledger_open", "Requests in flight", status.open);
        level(
            "keys_store_ok",
            "Whether the store of keys answers",
            u64::from(self.keys_store_ok),
        );
        level(
            "clock_behind_seconds",
            "How far the machine's clock was set back and has not caught up yet",
            self.clock_behind.as_secs(),
        );
        let mut count = |name: &str, help: &str, value: u64| {
            let counter = Counter::<u64, AtomicU64>::default();
            counter.inc_by(value);
            registry.register(name, help, counter);
        };
        count(
            "ledger_lost",
            "Beginnings and ends that found no room anywhere",
            status.lost,
        );
        count(
            "ledger_refused",
            "Records that the store refused",
            status.refused,
        );
        count(
            "ledger_damaged_bytes",
            "Bytes of the spool that could not be read",
            status.damaged_bytes,
        );
        count(
            "content_kept",
            "Requests whose content was kept, for tenants that asked",
            self.contents_written,
        );
        count(
            "content_dropped",
            "Requests whose content found no room or was not taken by the store",
            self.contents_dropped,
        );
        registry
    }
}
