//! Limits of accounts, models, pools of models and workspaces.
//!
//! How the service counts is not documented; the rules are those that fit its examples (catalogue,
//! "Quota semantics"). [`Count`] is pure, so that a simulation on a virtual clock can use it, too:
//!
//! ```
//! use std::time::Duration;
//! use bailian_sim::throttle::{Ask, Check, Count, Measure, Rule, WindowRule};
//!
//! let mut rule = Rule::default();
//! rule.windows.push(WindowRule::new(Measure::Requests, 1, Duration::from_secs(1)));
//! let mut count = Count::new(rule);
//! let now = Duration::from_millis(100);
//! let ticket = count.admit(now, Ask::default()).unwrap();
//! assert_eq!(count.admit(now, Ask::default()).unwrap_err().check, Check::Requests);
//! count.finish(ticket, now);
//! ```

mod burst;
mod count;
mod tasks;
mod window;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bailian_wire::catalog::LimitTable;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::time::Instant;

pub use self::burst::BurstRule;
pub use self::count::{Ask, Check, Count, CountReport, Refusal, Rule, Ticket};
pub use self::tasks::{OverLimit, TaskCount, TaskQueries, TaskRefused, TaskStart};
pub use self::window::{Measure, Window, WindowReport, WindowRule};
use crate::config::SimConfig;
use crate::limits::{LimitSource, OtherProgram};
use crate::rejection::Rejection;

/// The workspace of requests that name none.
pub(crate) const DEFAULT_WORKSPACE: &str = "default";

/// The state of all limits.
#[derive(Debug)]
pub(crate) struct Throttle {
    started: Instant,
    lanes: Mutex<HashMap<Key, Arc<Mutex<Lane>>>>,
    /// What workspaces were limited to by call: account, workspace and model.
    overlays: Mutex<HashMap<Key, Rule>>,
}

/// Whose count it is, and of what.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) account: String,
    pub(crate) workspace: Option<String>,
    pub(crate) name: String,
}

/// One count, with the other programs that share it.
#[derive(Debug)]
struct Lane {
    count: Count,
    programs: Vec<Program>,
}

#[derive(Debug)]
struct Program {
    interval: Duration,
    tokens: u64,
    next: Duration,
    until: Option<Duration>,
}

/// What became of one count.
#[derive(Debug, Serialize)]
pub(crate) struct LaneReport {
    account: String,
    workspace: Option<String>,
    models: String,
    #[serde(flatten)]
    count: CountReport,
}

/// Counts what an admitted request costs; dropped when it has ended.
#[derive(Debug)]
pub(crate) struct Meter {
    started: Instant,
    tickets: Mutex<Vec<(Arc<Mutex<Lane>>, Ticket)>>,
}

impl Meter {
    /// Counts tokens where they are made.
    pub(crate) fn charge(&self, tokens: u64) {
        if tokens == 0 {
            return;
        }
        for (lane, ticket) in &mut *self.tickets.lock() {
            let mut lane = lane.lock();
            let now = self.started.elapsed();
            lane.catch_up(now);
            lane.count.charge(ticket, now, tokens);
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        for (lane, ticket) in self.tickets.get_mut().drain(..) {
            let mut lane = lane.lock();
            let now = self.started.elapsed();
            lane.catch_up(now);
            lane.count.finish(ticket, now);
        }
    }
}

/// Programs that were asleep for long are not brought up request by request.
const MOST_CATCH_UP: u32 = 100_000;

impl Lane {
    /// Lets other programs send what they would have sent until now.
    fn catch_up(&mut self, now: Duration) {
        let ask = |program: &Program| Ask::new(program.tokens, 0);
        for _ in 0..MOST_CATCH_UP {
            let due = self
                .programs
                .iter_mut()
                .filter(|program| program.until.is_none_or(|until| program.next < until))
                .min_by_key(|program| program.next);
            let Some(program) = due.filter(|program| program.next <= now) else {
                return;
            };
            let at = program.next;
            program.next += program.interval;
            if let Ok(ticket) = self.count.admit(at, ask(program)) {
                self.count.finish(ticket, at);
            }
        }
    }
}

impl Throttle {
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            lanes: Mutex::default(),
            overlays: Mutex::default(),
        }
    }

    /// Forgets what was used.
    pub(crate) fn clear(&self) {
        self.lanes.lock().clear();
    }

    /// Forgets what workspaces were limited to by call, too.
    pub(crate) fn reset(&self) {
        self.clear();
        self.overlays.lock().clear();
    }

    /// Lets a request in under the limits of its account and of its workspace, or says which one it
    /// met. `None` means that nothing limits it.
    pub(crate) fn admit(
        &self,
        config: &SimConfig,
        account: &str,
        workspace: Option<&str>,
        model: &str,
        ask: impl FnOnce() -> Ask,
    ) -> Result<Option<Meter>, Rejection> {
        let lanes = self.lanes_of(config, account, workspace, model);
        if lanes.is_empty() {
            return Ok(None);
        }
        let ask = ask();
        // Always the account's before the workspace's, so nobody waits in a ring.
        let mut open: Vec<_> = lanes.iter().map(|lane| lane.lock()).collect();
        let now = self.started.elapsed();
        for lane in &mut open {
            lane.catch_up(now);
            lane.count
                .look(now, ask)
                .map_err(|refusal| Rejection::documented(refusal.check.code()))?;
        }
        let tickets: Vec<Ticket> = open
            .iter_mut()
            .map(|lane| lane.count.enter(now, ask))
            .collect();
        drop(open);
        Ok(Some(Meter {
            started: self.started,
            tickets: Mutex::new(lanes.into_iter().zip(tickets).collect()),
        }))
    }

    fn lanes_of(
        &self,
        config: &SimConfig,
        account: &str,
        workspace: Option<&str>,
        model: &str,
    ) -> Vec<Arc<Mutex<Lane>>> {
        let workspace = workspace.unwrap_or(DEFAULT_WORKSPACE);
        let mut lanes = Vec::new();
        if let Some(own) = account_limit(config, account, model) {
            lanes.push(self.lane(config, account, None, model, own));
        }
        self.with_workspace_limit(config, account, workspace, model, |tighter| {
            lanes.push(self.lane(config, account, Some(workspace), model, tighter));
        });
        lanes
    }

    fn lane(
        &self,
        config: &SimConfig,
        account: &str,
        workspace: Option<&str>,
        model: &str,
        limit: LimitSource<'_>,
    ) -> Arc<Mutex<Lane>> {
        let key = Key {
            account: account.to_owned(),
            workspace: workspace.map(str::to_owned),
            name: limit.count_name(model),
        };
        let mut known = self.lanes.lock();
        let lane = known.entry(key).or_insert_with(|| {
            // Other programs use the account, and no workspace of ours.
            let programs = config
                .other_programs
                .iter()
                .filter(|program| workspace.is_none() && program.is_about(account, model));
            Arc::new(Mutex::new(Lane {
                count: Count::new(limit.rule()),
                programs: programs.filter_map(Program::new).collect(),
            }))
        });
        Arc::clone(lane)
    }

    /// Looks up the limit of one workspace, set by call or by the configuration.
    pub(crate) fn with_workspace_limit<T>(
        &self,
        config: &SimConfig,
        account: &str,
        workspace: &str,
        model: &str,
        then: impl FnOnce(LimitSource<'_>) -> T,
    ) -> Option<T> {
        let overlays = self.overlays.lock();
        if !overlays.is_empty() {
            let key = Key {
                account: account.to_owned(),
                workspace: Some(workspace.to_owned()),
                name: model.to_owned(),
            };
            if let Some(rule) = overlays.get(&key) {
                return Some(then(LimitSource::Overlay(rule)));
            }
        }
        drop(overlays);
        let mut rules = config.limits.iter();
        let rule = rules.find(|rule| {
            rule.workspace.as_deref() == Some(workspace) && rule.is_about(account, model)
        })?;
        Some(then(LimitSource::Told(rule)))
    }

    /// Limits a workspace by call; `None` takes the limit away. Its count begins anew.
    pub(crate) fn overlay(&self, key: Key, rule: Option<Rule>) {
        let mut overlays = self.overlays.lock();
        self.lanes.lock().remove(&key);
        match rule {
            Some(rule) => overlays.insert(key, rule),
            None => overlays.remove(&key),
        };
    }

    /// What became of every count.
    pub(crate) fn report(&self) -> Vec<LaneReport> {
        let lanes: Vec<(Key, Arc<Mutex<Lane>>)> = self
            .lanes
            .lock()
            .iter()
            .map(|(key, lane)| (key.clone(), Arc::clone(lane)))
            .collect();
        let mut reports: Vec<(Key, CountReport)> = lanes
            .into_iter()
            .map(|(key, lane)| {
                let mut lane = lane.lock();
                let now = self.started.elapsed();
                lane.catch_up(now);
                (key, lane.count.report(now))
            })
            .collect();
        reports.sort_by(|a, b| a.0.cmp(&b.0));
        let reports = reports.into_iter().map(|(key, count)| LaneReport {
            account: key.account,
            workspace: key.workspace,
            models: key.name,
            count,
        });
        reports.collect()
    }
}

impl Program {
    fn new(program: &OtherProgram) -> Option<Self> {
        let interval = Duration::try_from_secs_f64(program.requests_per_second.recip()).ok()?;
        let until = program.until_s.map(Duration::try_from_secs_f64);
        Some(Self {
            interval: interval.max(Duration::from_micros(1)),
            tokens: program.tokens_per_request,
            next: Duration::try_from_secs_f64(program.from_s).ok()?,
            until: until.transpose().ok()?,
        })
    }
}

/// The account's own limit of a model: the first rule that is about it, else the published one.
pub(crate) fn account_limit<'a>(
    config: &'a SimConfig,
    account: &str,
    model: &str,
) -> Option<LimitSource<'a>> {
    let mut rules = config.limits.iter();
    let told = rules.find(|rule| rule.workspace.is_none() && rule.is_about(account, model));
    told.map(LimitSource::Told).or_else(|| {
        let region = config.catalogue_limits.as_deref()?;
        let entry = LimitTable::embedded().tightest(model, region)?;
        Some(LimitSource::Published(entry))
    })
}
