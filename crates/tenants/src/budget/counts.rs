//! What is counted of one place in the tree, and whether a request still fits.

use std::time::{Duration, Instant};

use bailian_quota::SlidingWindow;
use jiff::Timestamp;

use super::account::{Account, AccountId};
use super::refusal::{LimitKind, Refusal, Until};
use super::share::{Counted, HoldKey, Standing};
use super::{Estimate, Shared, Spent};
use crate::directory::Node;
use crate::id::{NodeId, TenantId};
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

#[derive(Debug)]
pub(super) struct Counts {
    pub(super) requests: SlidingWindow,
    pub(super) tokens: SlidingWindow,
    pub(super) running: u64,
    pub(super) accounts: Vec<Account>,
}

impl Counts {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            requests: SlidingWindow::new(MINUTE, now),
            tokens: SlidingWindow::new(MINUTE, now),
            running: 0,
            accounts: Vec::new(),
        }
    }

    /// Whether nothing that runs counts here.
    pub(super) fn is_idle(&self) -> bool {
        self.running == 0 && self.accounts.iter().all(Account::is_idle)
    }

    pub(super) fn account(&mut self, id: AccountId, now: Timestamp) -> &mut Account {
        let place = self.accounts.iter().position(|account| account.id == id);
        let place = place.unwrap_or_else(|| {
            self.accounts.push(Account::new(id, now));
            self.accounts.len() - 1
        });
        &mut self.accounts[place]
    }

    /// How a limit stands; `None` when it is not counted any more.
    pub(super) fn counted(&mut self, key: &HoldKey, at: Instant) -> Option<Counted> {
        let window = |window: &mut SlidingWindow| Counted {
            settled: window.used(at),
            ..Counted::default()
        };
        match key.kind {
            LimitKind::Concurrency => Some(Counted {
                reserved: self.running,
                ..Counted::default()
            }),
            LimitKind::RequestsPerMinute => Some(window(&mut self.requests)),
            LimitKind::TokensPerMinute => Some(window(&mut self.tokens)),
            LimitKind::Budget {
                period,
                offset,
                unit,
            } => {
                let id = AccountId {
                    node: key.node,
                    period,
                    offset,
                    unit,
                };
                let account = self.accounts.iter().find(|account| account.id == id)?;
                let tally = account.current;
                (tally.index == key.index).then_some(Counted {
                    settled: tally.used,
                    reserved: tally.reserved,
                    restored: tally.restored,
                })
            }
        }
    }

    /// Begins new periods, and forgets accounts of budgets that are gone.
    pub(super) fn roll(&mut self, node: &Node, now: Timestamp) {
        for account in &mut self.accounts {
            account.roll(now);
        }
        if self.accounts.len() > AccountId::all_of(node).count() {
            self.accounts.retain(|account| {
                !account.is_idle() || AccountId::all_of(node).any(|id| id == account.id)
            });
        }
    }

    /// Looks at every limit of the node and tells of each that stands in the way.
    pub(super) fn check(
        &mut self,
        tenant: TenantId,
        node: &Node,
        estimate: &Estimate,
        now: Now,
        shared: &Shared,
        refuse: &mut impl FnMut(Refusal),
    ) {
        let limits = node.settings().limits;
        let requests = u64::from(estimate.requests);
        let check = Check {
            tenant,
            node: node.id(),
            shared,
            now: now.monotonic,
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
                    index: tally.index,
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
    index: i64,
    restored: u64,
    used: u64,
    reserved: u64,
}

impl Amounts {
    fn here(used: u64, reserved: u64) -> Self {
        Self {
            index: 0,
            restored: 0,
            used,
            reserved,
        }
    }
}

struct Check<'a> {
    tenant: TenantId,
    node: NodeId,
    shared: &'a Shared,
    now: Instant,
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
        let standing = Standing {
            tenant: self.tenant,
            node: self.node,
            kind,
            index: amounts.index,
            limit,
            restored: amounts.restored,
            here,
            needed: total,
            now: self.now,
        };
        let share = &self.shared.share;
        let allotted = share.allotted(&standing);
        if total <= allotted {
            return;
        }
        let whole = limit.saturating_sub(amounts.restored);
        let is_elsewhere = total <= whole && needed <= limit;
        let until = if needed > limit {
            Until::Never
        } else if is_elsewhere {
            Until::Elsewhere {
                is_reachable: share.is_reachable(),
            }
        } else {
            until(total - whole)
        };
        refuse(Refusal {
            node: self.node,
            kind,
            used: amounts.restored.saturating_add(amounts.used),
            reserved: amounts.reserved,
            needed,
            limit,
            until,
            may_pass_soon: is_elsewhere && share.may_grow(&standing),
        });
    }
}

/// What was spent in an account's unit.
pub(super) fn amount_in(spent: &Spent, unit: Unit, shared: &Shared) -> u64 {
    match unit {
        Unit::Tokens => spent.tokens,
        Unit::Money(currency) => shared.rates.in_currency_up(&spent.cost, currency),
    }
}
