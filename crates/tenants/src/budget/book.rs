//! The accounts of one tenant, behind one lock.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use bailian_quota::SlidingWindow;
use jiff::Timestamp;

use super::account::{Account, AccountId};
use super::refusal::{LimitKind, Refusal, Until};
use super::share::Standing;
use super::{Estimate, Shared, Spent};
use crate::directory::{Caller, Node};
use crate::id::NodeId;
use crate::period::{Now, Period, UtcOffset};
use crate::settings::Unit;

const MINUTE: Duration = Duration::from_mins(1);

/// How a node's limits and budgets stand.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeUsage {
    /// Whose.
    pub node: NodeId,
    /// Requests that run.
    pub running: u64,
    /// Requests that began in the last 60 seconds; 0 where they are not limited.
    pub requests: u64,
    /// Tokens of the last 60 seconds, estimates of running requests included; 0 where they are not
    /// limited.
    pub tokens: u64,
    /// The budgets.
    pub budgets: Vec<PeriodUsage>,
}

/// How one budget stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeriodUsage {
    /// For how long.
    pub period: Period,
    /// Where its midnights are.
    pub offset: UtcOffset,
    /// What is counted.
    pub unit: Unit,
    /// What was used in the current period; billionths for money.
    pub used: u64,
    /// What running requests have reserved in it.
    pub reserved: u64,
    /// The budget.
    pub limit: u64,
    /// When the next period begins.
    pub resets_at: Option<Timestamp>,
}

/// All accounts of a tenant and of what is below it.
#[derive(Debug)]
pub(crate) struct Book {
    nodes: HashMap<NodeId, Counts>,
    /// The latest instant seen, so that callers on several threads cannot bring time out of order.
    latest: Instant,
}

#[derive(Debug)]
struct Counts {
    requests: SlidingWindow,
    tokens: SlidingWindow,
    running: u64,
    accounts: Vec<Account>,
}

/// What one reservation took.
#[derive(Debug)]
pub(super) struct Taken {
    at: Instant,
    requests: u64,
    tokens: u64,
    nodes: [TakenAt; 3],
    accounts: Vec<TakenFrom>,
}

/// In which windows of a node it stands.
#[derive(Clone, Copy, Debug)]
struct TakenAt {
    node: NodeId,
    counts_requests: bool,
    counts_tokens: bool,
}

#[derive(Clone, Copy, Debug)]
struct TakenFrom {
    account: AccountId,
    index: i64,
    amount: u64,
}

impl Book {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            nodes: HashMap::new(),
            latest: now,
        }
    }

    /// Looks at every limit before anything is taken, so that all is taken or nothing.
    pub(super) fn reserve(
        &mut self,
        caller: &Caller,
        estimate: &Estimate,
        now: Now,
        shared: &Shared,
    ) -> Result<Taken, Refusal> {
        let at = self.tick(now.monotonic);
        let mut refusal: Option<Refusal> = None;
        for node in caller.chain() {
            let counts = self.counts(node.id());
            counts.roll(node, now.wall);
            counts.check(
                node,
                estimate,
                Now {
                    monotonic: at,
                    ..now
                },
                shared,
                &mut |found| {
                    refusal = Some(refusal.map_or(found, |refusal| refusal.or_longer(found)));
                },
            );
        }
        if let Some(refusal) = refusal {
            return Err(refusal);
        }
        let requests = u64::from(estimate.requests);
        let mut accounts = Vec::new();
        let nodes = [0, 1, 2].map(|place: usize| {
            let node = &*caller.chain()[place];
            let limits = node.settings().limits;
            let counts = self.counts(node.id());
            counts.running = counts.running.saturating_add(requests);
            if limits.rpm.is_some() {
                counts.requests.add(at, requests);
            }
            if limits.tpm.is_some() {
                counts.tokens.add(at, estimate.spent.tokens);
            }
            for account in AccountId::all_of(node) {
                let amount = amount_in(&estimate.spent, account.unit, shared);
                let index = counts.account(account, now.wall).reserve(amount);
                accounts.push(TakenFrom {
                    account,
                    index,
                    amount,
                });
            }
            TakenAt {
                node: node.id(),
                counts_requests: limits.rpm.is_some(),
                counts_tokens: limits.tpm.is_some(),
            }
        });
        Ok(Taken {
            at,
            requests,
            tokens: estimate.spent.tokens,
            nodes,
            accounts,
        })
    }

    /// Turns what was reserved into what was used; `None` when nothing was sent at all.
    pub(super) fn settle(
        &mut self,
        taken: &Taken,
        spent: Option<&Spent>,
        now: Option<Instant>,
        shared: &Shared,
    ) {
        let now = self.tick(now.unwrap_or(self.latest));
        let tokens = spent.map_or(0, |spent| spent.tokens);
        for place in &taken.nodes {
            let Some(counts) = self.nodes.get_mut(&place.node) else {
                continue;
            };
            counts.running = counts.running.saturating_sub(taken.requests);
            if place.counts_requests && spent.is_none() {
                counts.requests.take_back(now, taken.at, taken.requests);
            }
            if place.counts_tokens && tokens > taken.tokens {
                counts.tokens.add(now, tokens - taken.tokens);
            } else if place.counts_tokens {
                counts
                    .tokens
                    .take_back(now, taken.at, taken.tokens - tokens);
            }
        }
        for from in &taken.accounts {
            let Some(counts) = self.nodes.get_mut(&from.account.node) else {
                continue;
            };
            let used = spent.map_or(0, |spent| amount_in(spent, from.account.unit, shared));
            let mut accounts = counts.accounts.iter_mut();
            if let Some(account) = accounts.find(|account| account.id == from.account) {
                account.settle(from.index, from.amount, used);
            }
        }
    }

    pub(super) fn restore(&mut self, id: AccountId, at: Timestamp, used: u64) {
        self.counts(id.node).account(id, at).restore(at, used);
    }

    /// The period to look up in the ledger, when that was not done yet.
    pub(super) fn unrestored(&mut self, id: AccountId, now: Timestamp) -> Option<i64> {
        let account = self.counts(id.node).account(id, now);
        account.roll(now);
        (!account.is_restored).then_some(account.current.index)
    }

    pub(super) fn usage(&mut self, node: &Node, now: Now) -> NodeUsage {
        let at = self.tick(now.monotonic);
        let counts = self.counts(node.id());
        counts.roll(node, now.wall);
        let mut budgets = Vec::new();
        for budget in &node.settings().budgets {
            for (unit, limit) in budget.amounts() {
                let id = AccountId {
                    node: node.id(),
                    period: budget.period,
                    offset: budget.offset,
                    unit,
                };
                let account = counts.account(id, now.wall);
                budgets.push(PeriodUsage {
                    period: budget.period,
                    offset: budget.offset,
                    unit,
                    used: account.current.used_in_all(),
                    reserved: account.current.reserved,
                    limit,
                    resets_at: account.resets_at(),
                });
            }
        }
        NodeUsage {
            node: node.id(),
            running: counts.running,
            requests: counts.requests.used(at),
            tokens: counts.tokens.used(at),
            budgets,
        }
    }

    /// Forgets what is not kept and has nothing running.
    pub(super) fn retain(&mut self, kept: &HashSet<NodeId>) {
        self.nodes.retain(|node, counts| {
            let is_idle = counts.running == 0 && counts.accounts.iter().all(Account::is_idle);
            kept.contains(node) || !is_idle
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    fn tick(&mut self, now: Instant) -> Instant {
        self.latest = self.latest.max(now);
        self.latest
    }

    fn counts(&mut self, node: NodeId) -> &mut Counts {
        let latest = self.latest;
        self.nodes.entry(node).or_insert_with(|| Counts {
            requests: SlidingWindow::new(MINUTE, latest),
            tokens: SlidingWindow::new(MINUTE, latest),
            running: 0,
            accounts: Vec::new(),
        })
    }
}

impl Counts {
    fn account(&mut self, id: AccountId, now: Timestamp) -> &mut Account {
        let place = self.accounts.iter().position(|account| account.id == id);
        let place = place.unwrap_or_else(|| {
            self.accounts.push(Account::new(id, now));
            self.accounts.len() - 1
        });
        &mut self.accounts[place]
    }

    /// Begins new periods, and forgets accounts of budgets that are gone.
    fn roll(&mut self, node: &Node, now: Timestamp) {
        for account in &mut self.accounts {
            account.roll(now);
        }
        if self.accounts.len() > AccountId::all_of(node).count() {
            self.accounts.retain(|account| {
                !account.is_idle() || AccountId::all_of(node).any(|id| id == account.id)
            });
        }
    }

    fn check(
        &mut self,
        node: &Node,
        estimate: &Estimate,
        now: Now,
        shared: &Shared,
        refuse: &mut impl FnMut(Refusal),
    ) {
        let limits = node.settings().limits;
        let requests = u64::from(estimate.requests);
        let check = Check {
            node: node.id(),
            shared,
        };
        if let Some(limit) = limits.concurrency.filter(|_| requests > 0) {
            let running = Amounts::here(0, self.running);
            let until = |_: u64| Until::RunningEnds;
            check.run(
                LimitKind::Concurrency,
                limit,
                running,
                requests,
                until,
                refuse,
            );
        }
        let mut minute = |kind, window: &mut SlidingWindow, limit: Option<u64>, needed: u64| {
            let Some(limit) = limit.filter(|_| needed > 0) else {
                return;
            };
            let used = Amounts::here(window.used(now.monotonic), 0);
            let until = |excess: u64| match window.freed_at(now.monotonic, excess) {
                Some(at) => Until::After(at.saturating_duration_since(now.monotonic)),
                // Only another replica's part is in the way.
                None => Until::RunningEnds,
            };
            check.run(kind, limit, used, needed, until, refuse);
        };
        minute(
            LimitKind::RequestsPerMinute,
            &mut self.requests,
            limits.rpm,
            requests,
        );
        let tokens = estimate.spent.tokens;
        minute(
            LimitKind::TokensPerMinute,
            &mut self.tokens,
            limits.tpm,
            tokens,
        );
        for budget in &node.settings().budgets {
            for (unit, limit) in budget.amounts() {
                let (period, offset) = (budget.period, budget.offset);
                let id = AccountId {
                    node: node.id(),
                    period,
                    offset,
                    unit,
                };
                let account = self.account(id, now.wall);
                let tally = account.current;
                let resets_at = account.resets_at();
                let amounts = Amounts {
                    restored: tally.restored,
                    used: tally.used,
                    reserved: tally.reserved,
                };
                let needed = amount_in(&estimate.spent, unit, shared);
                let until = |excess: u64| {
                    if excess <= tally.reserved {
                        Until::RunningEnds
                    } else {
                        Until::reset(resets_at, now)
                    }
                };
                let kind = LimitKind::Budget {
                    period,
                    offset,
                    unit,
                };
                check.run(kind, limit, amounts, needed, until, refuse);
            }
        }
    }
}

/// How much of a limit is gone.
#[derive(Clone, Copy)]
struct Amounts {
    restored: u64,
    used: u64,
    reserved: u64,
}

impl Amounts {
    fn here(used: u64, reserved: u64) -> Self {
        Self {
            restored: 0,
            used,
            reserved,
        }
    }
}

struct Check<'a> {
    node: NodeId,
    shared: &'a Shared,
}

impl Check<'_> {
    /// Refuses when the need does not fit; `until` says when so much would be free.
    fn run(
        &self,
        kind: LimitKind,
        limit: u64,
        amounts: Amounts,
        needed: u64,
        until: impl FnOnce(u64) -> Until,
        refuse: &mut impl FnMut(Refusal),
    ) {
        let here = amounts.used.saturating_add(amounts.reserved);
        let total = here.saturating_add(needed);
        let allotted = self.shared.share.allotted(&Standing {
            node: self.node,
            kind,
            limit,
            restored: amounts.restored,
            here,
            needed: total,
        });
        if total <= allotted {
            return;
        }
        let until = if needed > limit {
            Until::Never
        } else {
            until(total - allotted)
        };
        refuse(Refusal {
            node: self.node,
            kind,
            used: amounts.restored.saturating_add(amounts.used),
            reserved: amounts.reserved,
            needed,
            limit,
            until,
        });
    }
}

/// What was spent in an account's unit.
fn amount_in(spent: &Spent, unit: Unit, shared: &Shared) -> u64 {
    match unit {
        Unit::Tokens => spent.tokens,
        Unit::Money(currency) => shared.rates.in_currency_up(&spent.cost, currency),
    }
}
