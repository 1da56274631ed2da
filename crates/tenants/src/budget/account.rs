//! What was used and reserved of one budget.

use jiff::Timestamp;

use crate::directory::Node;
use crate::id::NodeId;
use crate::period::{Period, UtcOffset};
use crate::settings::Unit;

/// Which account: of whom, for how long, of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub struct AccountId {
    /// The tenant, project or key.
    pub node: NodeId,
    /// How long a period is.
    pub period: Period,
    /// Where its midnights are.
    pub offset: UtcOffset,
    /// What is counted.
    pub unit: Unit,
}

impl AccountId {
    /// The accounts of all budgets of a node.
    pub fn all_of(node: &Node) -> impl Iterator<Item = Self> {
        node.settings().budgets.iter().flat_map(|budget| {
            budget.amounts().map(|(unit, _)| Self {
                node: node.id(),
                period: budget.period,
                offset: budget.offset,
                unit,
            })
        })
    }
}

/// The periods of one account: the current one, and past ones in which requests still run.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) id: AccountId,
    pub(super) current: Tally,
    past: Vec<Tally>,
    pub(super) is_restored: bool,
}

/// One period of an account.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tally {
    pub(super) index: i64,
    /// What the ledger said was used before this process.
    pub(super) restored: u64,
    pub(super) used: u64,
    pub(super) reserved: u64,
}

impl Tally {
    fn new(index: i64) -> Self {
        Self {
            index,
            restored: 0,
            used: 0,
            reserved: 0,
        }
    }

    /// What was used, here and before.
    pub(super) fn used_in_all(&self) -> u64 {
        self.restored.saturating_add(self.used)
    }
}

impl Account {
    pub(super) fn new(id: AccountId, now: Timestamp) -> Self {
        Self {
            id,
            current: Tally::new(id.period.index(now, id.offset)),
            past: Vec::new(),
            is_restored: false,
        }
    }

    /// Begins the next period when it is time. A clock that was set back changes nothing: a period
    /// that was closed is not opened again, and the current one goes on.
    pub(super) fn roll(&mut self, now: Timestamp) {
        let index = self.id.period.index(now, self.id.offset);
        self.roll_to(index);
    }

    fn roll_to(&mut self, index: i64) {
        if index <= self.current.index {
            return;
        }
        let closed = std::mem::replace(&mut self.current, Tally::new(index));
        if closed.reserved > 0 {
            self.past.push(closed);
        }
        // All of a period that began under these eyes was seen.
        self.is_restored = true;
    }

    /// When the current period ends.
    pub(super) fn resets_at(&self) -> Option<Timestamp> {
        self.id.period.end(self.current.index, self.id.offset)
    }

    /// Reserves in the current period, whose number is to be kept for settling.
    pub(super) fn reserve(&mut self, amount: u64) -> i64 {
        self.current.reserved = self.current.reserved.saturating_add(amount);
        self.current.index
    }

    /// Turns a reservation into use, in the period in which it was made.
    pub(super) fn settle(&mut self, index: i64, reserved: u64, used: u64) {
        let tally = if self.current.index == index {
            Some(&mut self.current)
        } else {
            self.past.iter_mut().find(|tally| tally.index == index)
        };
        if let Some(tally) = tally {
            tally.reserved = tally.reserved.saturating_sub(reserved);
            tally.used = tally.used.saturating_add(used);
        }
        self.past.retain(|tally| tally.reserved > 0);
    }

    /// Takes what the ledger knows of a period. What is known already is not counted twice.
    pub(super) fn restore(&mut self, at: Timestamp, used: u64) {
        let index = self.id.period.index(at, self.id.offset);
        self.roll_to(index);
        if index == self.current.index {
            let missing = used.saturating_sub(self.current.used_in_all());
            self.current.restored = self.current.restored.saturating_add(missing);
            self.is_restored = true;
        }
    }

    /// Takes what other replicas have used in a period. Where that may not be all, what is known is
    /// not forgotten.
    pub(super) fn told(&mut self, (index, others, is_whole): (i64, u64, bool)) {
        if index != self.current.index {
            return;
        }
        let known = self.current.restored;
        self.current.restored = if is_whole && self.is_restored {
            others
        } else {
            known.max(others)
        };
    }

    /// Whether nothing that runs has reserved here.
    pub(super) fn is_idle(&self) -> bool {
        self.current.reserved == 0 && self.past.is_empty()
    }
}
