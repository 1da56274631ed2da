//! When a request may go upstream: its lane, its permit, and what upstream's refusals mean to it.

mod known;
mod refresh;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bailian_quota::share::redis::{RedisError, Sharing, SharingStatus};
use bailian_quota::{Class, Demand, Lane, Pacer};
use bailian_wire::quota::Quota;
use bailian_wire::tokens::{estimate_bytes, estimate_request};
use http::HeaderMap;
use parking_lot::Mutex;
use tokio::sync::Notify;

use self::known::KnownLimits;
pub(crate) use self::refresh::run as refresh;
use crate::clock::Clock;
use crate::config::{Config, PacingConfig};
use crate::keys::VirtualKey;

/// The caller's own, lower, priority: `normal` or `low`.
const PRIORITY: &str = "x-bailian-priority";
/// How long the caller would wait for its turn at most: `5s`, `500ms`, or seconds.
const MAX_WAIT: &str = "x-bailian-max-wait";

/// On every answer of the service, and of its simulator.
const SERVICE_HEADER: &str = "req-cost-time";

/// All lanes of the account.
#[derive(Debug)]
pub(crate) struct Pacing {
    pacer: Pacer,
    accounts: Vec<AccountLimits>,
    config: PacingConfig,
    /// Set when replicas share the account's limits.
    sharing: Option<Mutex<Option<Sharing>>>,
}

/// What is known of one account.
#[derive(Debug)]
struct AccountLimits {
    /// What its lanes' names begin with; nothing where there is one account.
    prefix: String,
    name: String,
    known: KnownLimits,
    /// Set once upstream is known to be the service, or to stand for it.
    is_service: AtomicBool,
    service_seen: Notify,
}

/// The gateway's clock for the pacer.
#[derive(Debug)]
struct PacerClock(Arc<dyn Clock>);

impl bailian_quota::Clock for PacerClock {
    fn now(&self) -> Instant {
        self.0.now()
    }
}

impl Pacing {
    pub(crate) fn new(config: &Config, clock: Arc<dyn Clock>) -> Result<Self, RedisError> {
        let pacer = Pacer::with_clock(Arc::new(PacerClock(clock)));
        let sharing = config
            .redis
            .clone()
            .map(|redis| Sharing::start(&pacer, redis))
            .transpose()?;
        Ok(Self {
            pacer,
            accounts: config
                .accounts
                .iter()
                .map(|account| AccountLimits {
                    prefix: if config.accounts.len() > 1 {
                        format!("{}/", account.name)
                    } else {
                        String::new()
                    },
                    name: account.name.clone(),
                    known: KnownLimits::new(account),
                    is_service: AtomicBool::new(false),
                    service_seen: Notify::new(),
                })
                .collect(),
            config: config.pacing,
            sharing: sharing.map(|sharing| Mutex::new(Some(sharing))),
        })
    }

    /// Looks whether an answer has a header that the service puts on all of its own
    /// (http-native.md §1.4): other upstreams are not asked for what they do not have.
    pub(crate) fn note_answer(&self, account: usize, headers: &HeaderMap) {
        let Some(account) = self.accounts.get(account) else {
            return;
        };
        if !account.is_service.load(Ordering::Relaxed) && headers.contains_key(SERVICE_HEADER) {
            account.is_service.store(true, Ordering::Relaxed);
            account.service_seen.notify_one();
        }
    }

    /// Waits until upstream is known to be the service; its own hosts are known at once.
    async fn service(&self, account: usize) {
        if let Some(account) = self.accounts.get(account)
            && !account.known.is_at_service()
        {
            account.service_seen.notified().await;
        }
    }

    /// The account whose lane has that name, and the lane's name within it.
    pub(crate) fn account_of<'a>(&'a self, lane: &'a str) -> (&'a str, &'a str) {
        self.accounts
            .iter()
            .find_map(|account| Some((&*account.name, lane.strip_prefix(&*account.prefix)?)))
            .unwrap_or(("", lane))
    }

    /// All lanes, in no order.
    pub(crate) fn lanes(&self) -> Vec<Lane> {
        self.pacer.lanes()
    }

    /// How sharing with other replicas goes; `None` for a gateway alone.
    pub(crate) fn sharing(&self) -> Option<SharingStatus> {
        let sharing = self.sharing.as_ref()?.lock();
        sharing.as_ref().map(Sharing::status)
    }

    /// Returns what this replica holds. Blocks for a second at most.
    pub(crate) fn leave(&self) {
        let sharing = self
            .sharing
            .as_ref()
            .and_then(|sharing| sharing.lock().take());
        if let Some(sharing) = sharing {
            sharing.leave();
        }
    }

    /// Takes what the service said of the account's limits.
    fn tell(&self, account: usize, quotas: &[Quota]) {
        let Some(account) = self.accounts.get(account) else {
            return;
        };
        account.known.tell(quotas);
        for lane in self.pacer.lanes() {
            if let Some(name) = lane.name().strip_prefix(&*account.prefix)
                && let Some(limits) = account.known.refreshed(name)
            {
                lane.set_limits(limits);
            }
        }
    }

    /// The lane of a model. One of which no limits are known sends what it gets, until upstream
    /// refuses something.
    pub(crate) fn lane(&self, account: usize, model: &str) -> Option<Lane> {
        let account = self.accounts.get(account)?;
        let name = account.known.lane_name(model);
        let config = || {
            let mut lane = account.known.lane_config(model);
            lane.max_waiting = self.config.max_waiting;
            lane.max_waiting_per_tenant = self.config.max_waiting_per_tenant;
            lane
        };
        Some(if account.prefix.is_empty() {
            self.pacer.lane(name, config)
        } else {
            self.pacer
                .lane(&format!("{}{name}", account.prefix), config)
        })
    }

    /// How often a stream that waits hears that its connection lives.
    pub(crate) fn keep_alive(&self) -> Duration {
        self.config.keep_alive
    }

    /// How long a request would wait for its turn.
    pub(crate) fn patience(&self, headers: &HeaderMap) -> Duration {
        let asked = headers.get(MAX_WAIT).and_then(|value| value.to_str().ok());
        let most = self.config.max_wait;
        asked
            .and_then(parse_wait)
            .map_or(most, |wait| wait.min(most))
    }

    /// What a request asks of its lane.
    pub(crate) fn demand(
        &self,
        lane: &Lane,
        owner: &VirtualKey,
        headers: &HeaderMap,
        body: &[u8],
        max_output: Option<u64>,
    ) -> Demand {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let asked = text(PRIORITY).and_then(Class::parse);
        let class = asked.map_or(owner.priority, |class| owner.priority.lowered_to(class));
        let patience = self.patience(headers);
        let estimate = if lane.paces_tokens() {
            estimate_request(body)
        } else {
            estimate_bytes(body)
        };
        Demand::new(Arc::clone(&owner.tenant), estimate.input_tokens)
            .weight(owner.weight)
            .class(class)
            .max_output_tokens(max_output)
            .patience(Some(patience))
    }
}

fn parse_wait(text: &str) -> Option<Duration> {
    let text = text.trim();
    match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        Err(_) => humantime::parse_duration(text).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_read_as_seconds_or_with_a_unit() {
        assert_eq!(parse_wait("2.5"), Some(Duration::from_millis(2500)));
        assert_eq!(parse_wait("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(parse_wait("-1"), None);
        assert_eq!(parse_wait("soon"), None);
    }
}
