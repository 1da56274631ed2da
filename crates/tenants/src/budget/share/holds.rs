//! What this replica holds of all limits that it uses, without any input or output.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use bailian_quota::share::{Allotment, Renewal};
use parking_lot::{Mutex, RwLock};

use super::hold::{Counted, Hold, Report};
use super::{BudgetShare, PotAnswer, PotReport, Standing};
use crate::budget::Budgets;
use crate::budget::account::AccountId;
use crate::budget::refusal::LimitKind;
use crate::id::NodeId;
use crate::period::Now;

/// Which limit of whom, and of which period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct HoldKey {
    /// The tenant, project or key.
    pub node: NodeId,
    /// Which limit.
    pub kind: LimitKind,
    /// The number of a budget's period. Of a limit of the moment its amount: another amount is
    /// another limit.
    pub index: i64,
}

/// This replica's parts of limits that are divided among replicas. Cheap to clone: clones are the
/// same parts.
#[derive(Clone)]
pub struct Holds(Arc<Inner>);

struct Inner {
    holds: RwLock<HashMap<HoldKey, Arc<Mutex<Hold>>>>,
    /// Whether whoever divides the limits can be reached.
    is_reachable: AtomicBool,
    members: AtomicU64,
    wake: Box<dyn Fn() + Send + Sync>,
}

/// One thing to tell whoever divides the limits.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Ask {
    /// Which limit.
    pub key: HoldKey,
    /// Which hold of it: who was counted under another number is another one.
    pub member: u64,
    /// What is told.
    pub what: AskWhat,
}

/// What is told of a limit.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum AskWhat {
    /// A report of a budget.
    Pot(PotReport),
    /// A renewal of a limit of the moment.
    Window(Renewal),
}

impl Holds {
    /// Nothing is held. `wake` is called when a request lacks something, under a lock: it must
    /// neither wait nor come back.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(Inner {
            holds: RwLock::default(),
            is_reachable: AtomicBool::new(true),
            members: AtomicU64::new(0),
            wake: Box::new(wake),
        }))
    }

    /// Notes whether whoever divides the limits can be reached. While not, nobody waits for more.
    pub fn set_reachable(&self, is_reachable: bool) {
        self.0.is_reachable.store(is_reachable, Ordering::Relaxed);
    }

    /// Whoever divides the limits has lost what it knew: all of it is to be told again, before
    /// anything is given out.
    pub fn reclaim(&self, budgets: &Budgets) {
        // What those spent who have left since nobody can tell but the ledger.
        budgets.expect_ledger();
        for (_, hold) in self.all() {
            hold.lock().reclaim();
        }
    }

    /// What is to be told now. Limits that nobody uses any more are forgotten on the way; the last
    /// of what they held is given back with `leaves`.
    pub fn due(&self, budgets: &Budgets, now: Now) -> Vec<Ask> {
        let mut asks = Vec::new();
        let mut over = Vec::new();
        for (key, hold) in self.all() {
            let (tenant, member) = {
                let hold = hold.lock();
                (hold.tenant, hold.member)
            };
            let report = budgets.counted(tenant, &key, now, |counted| {
                let mut hold = hold.lock();
                let Some(counted) = counted.filter(|counted| !hold.is_over(*counted)) else {
                    over.push(key);
                    return None;
                };
                hold.report(counted, now.monotonic)
            });
            asks.extend(report.map(|report| Ask::new(key, member, report)));
        }
        if !over.is_empty() {
            let mut holds = self.0.holds.write();
            for key in over {
                // The period is over, or the node is gone.
                holds.remove(&key);
            }
        }
        asks
    }

    /// Takes an answer to a report of a budget.
    pub fn told_by_pot(
        &self,
        budgets: &Budgets,
        ask: (&HoldKey, &PotReport),
        answer: &PotAnswer,
        now: Now,
    ) {
        let (key, report) = ask;
        let Some(hold) = self.get(key) else { return };
        let (tenant, others) = {
            let mut hold = hold.lock();
            let others = hold.told_by_pot(report, answer, now.monotonic);
            (hold.tenant, others)
        };
        if let Some(account) = account_of(key) {
            let is_whole = !answer.in_grace;
            budgets.told(tenant, account, (key.index, others, is_whole), now);
        }
    }

    /// Takes an answer to a renewal of a limit of the moment.
    pub fn told_by_ledger(
        &self,
        key: &HoldKey,
        renewal: &Renewal,
        allotment: &Allotment,
        now: Instant,
    ) {
        if let Some(hold) = self.get(key) {
            hold.lock().told_by_ledger(renewal, allotment, now);
        }
    }

    /// What to say of everything when this replica ends, or of what was not used for long.
    pub fn farewells(&self, budgets: &Budgets, now: Now, only_idle: bool) -> Vec<Ask> {
        let mut asks = Vec::new();
        for (key, hold) in self.all() {
            let is_window = account_of(&key).is_none();
            let (tenant, member, is_idle) = {
                let hold = hold.lock();
                (hold.tenant, hold.member, hold.is_idle(now.monotonic))
            };
            if only_idle && !(is_window && is_idle) {
                continue;
            }
            let report = budgets.counted(tenant, &key, now, |counted| {
                let counted = counted.unwrap_or_default();
                if only_idle && counted != Counted::default() {
                    return None;
                }
                // In the same step nobody can reserve.
                let report = hold.lock().farewell(counted, now.monotonic);
                self.0.holds.write().remove(&key);
                report
            });
            asks.extend(report.map(|report| Ask::new(key, member, report)));
        }
        asks
    }

    fn all(&self) -> Vec<(HoldKey, Arc<Mutex<Hold>>)> {
        let holds = self.0.holds.read();
        holds
            .iter()
            .map(|(key, hold)| (*key, Arc::clone(hold)))
            .collect()
    }

    fn get(&self, key: &HoldKey) -> Option<Arc<Mutex<Hold>>> {
        self.0.holds.read().get(key).map(Arc::clone)
    }
}

impl BudgetShare for Holds {
    fn allotted(&self, standing: &Standing) -> u64 {
        let key = HoldKey::of(standing);
        let hold = self.get(&key).unwrap_or_else(|| {
            let mut holds = self.0.holds.write();
            let hold = holds.entry(key).or_insert_with(|| {
                let member = self.0.members.fetch_add(1, Ordering::Relaxed);
                Arc::new(Mutex::new(Hold::new(standing, key, member)))
            });
            Arc::clone(hold)
        });
        let (allotted, wakes) = hold.lock().allotted(standing);
        if wakes {
            (self.0.wake)();
        }
        allotted
    }

    fn may_grow(&self, standing: &Standing) -> bool {
        self.is_reachable()
            && self
                .get(&HoldKey::of(standing))
                .is_some_and(|hold| !hold.lock().is_denied(standing.now))
    }

    fn is_reachable(&self) -> bool {
        self.0.is_reachable.load(Ordering::Relaxed)
    }
}

impl HoldKey {
    fn of(standing: &Standing) -> Self {
        Self {
            node: standing.node,
            kind: standing.kind,
            index: match standing.kind {
                LimitKind::Budget { .. } => standing.index,
                _ => i64::try_from(standing.limit).unwrap_or(i64::MAX),
            },
        }
    }
}

impl Ask {
    fn new(key: HoldKey, member: u64, report: Report) -> Self {
        let what = match report {
            Report::Pot(report) => AskWhat::Pot(report),
            Report::Window(renewal) => AskWhat::Window(renewal),
        };
        Self { key, member, what }
    }
}

/// The account of a budget; `None` for a limit of the moment.
fn account_of(key: &HoldKey) -> Option<AccountId> {
    let LimitKind::Budget {
        period,
        offset,
        unit,
    } = key.kind
    else {
        return None;
    };
    Some(AccountId {
        node: key.node,
        period,
        offset,
        unit,
    })
}

impl fmt::Debug for Holds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Holds")
            .field("limits", &self.0.holds.read().len())
            .field("is_reachable", &self.is_reachable())
            .finish_non_exhaustive()
    }
}
