//! When a request may go upstream: its lane, its permit, and what upstream's refusals mean to it.

mod known;
mod refresh;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bailian_quota::share::redis::{RedisError, Sharing, SharingStatus};
use bailian_quota::{Class, Demand, Lane, LaneConfig, Pacer};
use bailian_wire::quota::Quota;
use bailian_wire::tokens::{estimate_bytes, estimate_request};
use http::HeaderMap;
use parking_lot::Mutex;
use tokio::sync::Notify;

use self::known::KnownLimits;
pub(crate) use self::refresh::keep_asking;
use crate::clock::Clock;
use crate::config::{AccountConfig, Config, PacingConfig};
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
    sharing: Option<Arc<Mutex<Option<Sharing>>>>,
    /// What the lanes' names of accounts that are gone begin with.
    gone: Vec<String>,
}

/// What is known of one account.
#[derive(Debug)]
struct AccountLimits {
    /// What its lanes' names begin with; nothing where there is one account.
    prefix: String,
    name: String,
    known: KnownLimits,
    /// The address; figures of another one say nothing.
    root: String,
    service: Arc<Service>,
}

/// Whether the service is behind an account.
#[derive(Debug, Default)]
struct Service {
    /// Set once upstream is known to be the service, or to stand for it.
    is_known: AtomicBool,
    seen: Notify,
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
                .map(|account| {
                    let is_only = config.accounts.len() == 1;
                    AccountLimits::new(account, !is_only)
                })
                .collect(),
            config: config.pacing,
            sharing: sharing.map(|sharing| Arc::new(Mutex::new(Some(sharing)))),
            gone: Vec::new(),
        })
    }

    /// The same lanes under a changed configuration; [`configure`](Self::configure) tells them.
    pub(crate) fn configured(&self, config: &Config) -> Self {
        let accounts: Vec<AccountLimits> = config
            .accounts
            .iter()
            .map(|account| {
                let mut new = AccountLimits::new(account, true);
                let mut old = self.accounts.iter();
                if let Some(old) = old.find(|old| old.name == new.name) {
                    new.prefix.clone_from(&old.prefix);
                    if old.root == new.root {
                        new.known.share_quotas(&old.known);
                        new.service = Arc::clone(&old.service);
                    }
                }
                new
            })
            .collect();
        let before = self.accounts.iter().map(|account| &account.prefix);
        let mut gone: Vec<String> = before.chain(&self.gone).cloned().collect();
        gone.retain(|prefix| accounts.iter().all(|account| account.prefix != *prefix));
        gone.sort();
        gone.dedup();
        Self {
            pacer: self.pacer.clone(),
            accounts,
            config: config.pacing,
            sharing: self.sharing.clone(),
            gone,
        }
    }

    /// Tells all lanes what the configuration says of them now. They keep what they count and what
    /// they learned.
    pub(crate) fn configure(&self) {
        for lane in self.lanes() {
            if let Some((account, name)) = self.owner_of(lane.name()) {
                lane.configure(self.with_line(account.known.config_of_lane(name)));
            }
        }
    }

    /// The account whose lane has that name. A name without prefix fits all, so it is asked last.
    fn owner_of<'a>(&'a self, lane: &'a str) -> Option<(&'a AccountLimits, &'a str)> {
        let named = self.accounts.iter().filter(|it| !it.prefix.is_empty());
        let unnamed = self.accounts.iter().filter(|it| it.prefix.is_empty());
        named
            .chain(unnamed)
            .find_map(|account| Some((account, lane.strip_prefix(&*account.prefix)?)))
    }

    fn with_line(&self, mut lane: LaneConfig) -> LaneConfig {
        lane.max_waiting = self.config.max_waiting;
        lane.max_waiting_per_tenant = self.config.max_waiting_per_tenant;
        lane
    }

    /// Looks whether an answer has a header that the service puts on all of its own
    /// (http-native.md §1.4): other upstreams are not asked for what they do not have.
    pub(crate) fn note_answer(&self, account: usize, headers: &HeaderMap) {
        let Some(account) = self.accounts.get(account) else {
            return;
        };
        let service = &account.service;
        if !service.is_known.load(Ordering::Relaxed) && headers.contains_key(SERVICE_HEADER) {
            service.is_known.store(true, Ordering::Relaxed);
            service.seen.notify_one();
        }
    }

    /// What to wait for until upstream is known to be the service; its own hosts are known at once.
    fn unknown_service(&self, account: &str) -> Option<Arc<Service>> {
        let mut accounts = self.accounts.iter();
        let account = accounts.find(|it| it.name == account)?;
        let is_known =
            account.known.is_at_service() || account.service.is_known.load(Ordering::Relaxed);
        (!is_known).then(|| Arc::clone(&account.service))
    }

    /// The account whose lane has that name, and the lane's name within it.
    pub(crate) fn account_of<'a>(&'a self, lane: &'a str) -> (&'a str, &'a str) {
        self.owner_of(lane)
            .map_or(("", lane), |(account, name)| (&*account.name, name))
    }

    /// All lanes of the accounts, in no order.
    pub(crate) fn lanes(&self) -> Vec<Lane> {
        let mut lanes = self.pacer.lanes();
        if !self.gone.is_empty() {
            lanes.retain(|lane| !self.is_gone(lane.name()));
        }
        lanes
    }

    fn is_gone(&self, lane: &str) -> bool {
        // Only where no other account has it by its own prefix.
        let is_kept = |account: &AccountLimits| {
            !account.prefix.is_empty() && lane.starts_with(&*account.prefix)
        };
        !self.accounts.iter().any(is_kept) && self.gone.iter().any(|it| lane.starts_with(&**it))
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
    fn tell(&self, account: &str, quotas: &[Quota]) {
        let mut accounts = self.accounts.iter();
        let Some(account) = accounts.find(|it| it.name == account) else {
            return;
        };
        account.known.tell(quotas);
        for lane in self.lanes() {
            if let Some((owner, name)) = self.owner_of(lane.name())
                && owner.name == account.name
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
        let config = || self.with_line(account.known.lane_config(model));
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

impl AccountLimits {
    fn new(account: &AccountConfig, is_prefixed: bool) -> Self {
        Self {
            prefix: if is_prefixed {
                format!("{}/", account.name)
            } else {
                String::new()
            },
            name: account.name.clone(),
            known: KnownLimits::new(account),
            root: account.native_root.clone(),
            service: Arc::default(),
        }
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
