//! The accounts of one tenant, behind one lock.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use jiff::Timestamp;

use super::account::AccountId;
use super::counts::{Counts, NodeUsage, PeriodUsage, amount_in};
use super::refusal::Refusal;
use super::share::{Counted, HoldKey};
use super::{Estimate, Shared, Spent};
use crate::directory::{Caller, Node};
use crate::id::NodeId;
use crate::period::Now;

/// All accounts of a tenant and of what is below it.
#[derive(Debug)]
pub(crate) struct Book {
    nodes: HashMap<NodeId, Counts>,
    /// The latest instant seen, so that callers on several threads cannot bring time out of order.
    latest: Instant,
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
                caller.tenant_id(),
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

    pub(super) fn counted(&mut self, key: &HoldKey, now: Now) -> Option<Counted> {
        let at = self.tick(now.monotonic);
        self.nodes.get_mut(&key.node)?.counted(key, at)
    }

    pub(super) fn expect_ledger(&mut self) {
        let accounts = self
            .nodes
            .values_mut()
            .flat_map(|counts| &mut counts.accounts);
        for account in accounts {
            account.is_restored = false;
        }
    }

    pub(super) fn told(&mut self, id: AccountId, told: (i64, u64, bool)) {
        let account = self.nodes.get_mut(&id.node).and_then(|counts| {
            let mut accounts = counts.accounts.iter_mut();
            accounts.find(|account| account.id == id)
        });
        if let Some(account) = account {
            account.told(told);
        }
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
        self.nodes
            .retain(|node, counts| kept.contains(node) || !counts.is_idle());
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
        self.nodes
            .entry(node)
            .or_insert_with(|| Counts::new(latest))
    }
}
