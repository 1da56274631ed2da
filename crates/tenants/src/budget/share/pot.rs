//! Who holds how much of one budget, in one period.

use std::collections::BTreeMap;
use std::time::Duration;

/// When a pot gives up waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PotTerms {
    /// For how long nothing is given out when a pot was lost in the middle of its period, or all of
    /// them may have been: replicas claim what they hold first.
    pub grace: Duration,
    /// After how long without a word of a replica what it holds counts as spent.
    pub gone: Duration,
}

impl Default for PotTerms {
    fn default() -> Self {
        Self {
            grace: Duration::from_millis(1_500),
            gone: Duration::from_mins(15),
        }
    }
}

/// What a replica says of one budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PotReport {
    /// Rises with every report of a replica; one that comes late is ignored.
    pub sequence: u64,
    /// The budget.
    pub limit: u64,
    /// What all replicas had spent as far as this one was told, or what the ledger says.
    pub base: u64,
    /// Whether the pot told so.
    pub is_told: bool,
    /// What of `base` this replica had spent.
    pub base_spent: u64,
    /// What this replica has spent in the period so far.
    pub spent: u64,
    /// What it keeps beyond that: running requests have reserved it, or may at once.
    pub kept: u64,
    /// What of that it could give back.
    pub spare: u64,
    /// The least that a waiting request lacks; 0 when none waits.
    pub need: u64,
    /// What it would like to hold more.
    pub wanted: u64,
}

/// What a replica is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PotAnswer {
    /// What all replicas have spent, as far as they reported.
    pub used: u64,
    /// What this replica may spend beyond what it reported.
    pub held: u64,
    /// What others hold and could give back.
    pub spare_elsewhere: u64,
    /// Whether somebody lacks something: what is not needed is to be given back.
    pub is_short: bool,
    /// Whether nothing is given out for now.
    pub in_grace: bool,
}

/// The pot of one budget in one period. Times are of one clock, that of whoever keeps the pot.
///
/// What replicas spent and what they hold is never more than the budget: a replica is given only
/// what nobody holds, and what it holds is free again only when it says itself that it keeps less.
/// The exception is what a request costs above its estimate. The script that `redis` runs does the
/// same; a test holds one against the other.
#[derive(Clone, Debug)]
pub struct Pot {
    terms: PotTerms,
    /// What was spent before this pot was made, as far as anybody knows.
    base: u64,
    /// What was spent since, and what its replicas had not told before it was made.
    added: u64,
    /// Until when whoever keeps the pots is taken to have lost all of them.
    fresh_until: u64,
    /// `None` before the first report.
    grace_until: Option<u64>,
    replicas: BTreeMap<String, Held>,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    sequence: u64,
    spent: u64,
    amount: u64,
    spare: u64,
    need: u64,
    seen: u64,
}

impl Pot {
    /// A pot of which nothing is known.
    pub fn new(terms: PotTerms) -> Self {
        Self {
            terms,
            base: 0,
            added: 0,
            fresh_until: 0,
            grace_until: None,
            replicas: BTreeMap::new(),
        }
    }

    /// A pot that is made where nothing is known of any, which may be for want of memory.
    pub fn of_fresh(terms: PotTerms, fresh_since: Duration) -> Self {
        Self {
            fresh_until: millis(fresh_since).saturating_add(millis(terms.grace)),
            ..Self::new(terms)
        }
    }

    /// Takes a replica's report and says what it may spend from now on. `None` when a later report
    /// of it came before this one.
    pub fn renew(&mut self, id: &str, report: &PotReport, now: Duration) -> Option<PotAnswer> {
        let now = millis(now);
        let me = self.take(id, report, now)?;
        let in_grace = self.grace_until.is_some_and(|until| now < until);
        let others = self.replicas.iter().filter(|(other, _)| *other != id);
        let (mut held, mut spare, mut others_lack) = (0_u64, 0_u64, false);
        for (_, other) in others {
            held = held.saturating_add(other.amount);
            spare = spare.saturating_add(other.spare);
            others_lack |= other.need > 0;
        }
        let used = self.used();
        let gone = used.saturating_add(held).saturating_add(report.kept);
        let free = report.limit.saturating_sub(gone);
        let wanted = report.wanted.max(report.need);
        let given = if in_grace || report.need > free {
            0
        } else if others_lack {
            // What is not needed at once is left to who needs it.
            report.need
        } else {
            wanted.min(free)
        };
        let lacks = given < report.need;
        let mine = Held {
            amount: report.kept.saturating_add(given),
            // What is given out in advance, too, if nobody takes it.
            spare: report
                .spare
                .saturating_add(given.saturating_sub(report.need)),
            need: if lacks { report.need } else { 0 },
            ..me
        };
        self.replicas.insert(id.to_owned(), mine);
        Some(PotAnswer {
            used,
            held: mine.amount,
            spare_elsewhere: spare,
            is_short: others_lack || gone > report.limit,
            in_grace,
        })
    }

    /// A replica ends. What it keeps, of requests that it did not see end, counts as spent.
    pub fn leave(&mut self, id: &str, report: &PotReport, now: Duration) {
        if self.take(id, report, millis(now)).is_some() {
            self.added = self.added.saturating_add(report.kept);
            self.replicas.remove(id);
        }
    }

    /// What was spent and what is held.
    pub fn counted(&self) -> u64 {
        let held = self.replicas.values().map(|held| held.amount);
        held.fold(self.used(), u64::saturating_add)
    }

    fn used(&self) -> u64 {
        self.base.saturating_add(self.added)
    }

    /// Counts at least so much as spent.
    fn raise_to(&mut self, used: u64) {
        let missing = used.saturating_sub(self.used());
        self.base = self.base.saturating_add(missing);
    }

    /// Counts what a replica has spent since its last report.
    fn take(&mut self, id: &str, report: &PotReport, now: u64) -> Option<Held> {
        let known = self.replicas.get(id).copied();
        if known.is_some_and(|known| known.sequence >= report.sequence) {
            return None;
        }
        let is_new = self.grace_until.is_none();
        let grace_until = *self.grace_until.get_or_insert_with(|| {
            let is_lost =
                now < self.fresh_until || report.base > 0 || report.spent > 0 || report.kept > 0;
            if is_lost {
                now.saturating_add(millis(self.terms.grace))
            } else {
                0
            }
        });
        let gone_before = now.saturating_sub(millis(self.terms.gone));
        let added = &mut self.added;
        self.replicas.retain(|other, held| {
            let stays = held.seen >= gone_before || other == id;
            if !stays {
                *added = added.saturating_add(held.amount);
            }
            stays
        });
        let since_base = report.spent.saturating_sub(report.base_spent);
        match known {
            Some(known) => {
                let since = report.spent.saturating_sub(known.spent);
                self.added = self.added.saturating_add(since);
                if report.is_told {
                    self.raise_to(report.base.saturating_add(since_base));
                }
            }
            // Of a pot that is new nobody knows all: what was told last counts, and what each has
            // spent since it was told. What the ledger says counts until the pot knows better.
            None if is_new || now < grace_until => {
                self.base = self.base.max(report.base);
                self.added = self.added.saturating_add(since_base);
            }
            None => {
                if report.is_told {
                    self.raise_to(report.base);
                }
                self.added = self.added.saturating_add(since_base);
            }
        }
        Some(Held {
            sequence: report.sequence,
            spent: report.spent.max(known.map_or(0, |known| known.spent)),
            amount: report.kept,
            spare: report.spare,
            need: 0,
            seen: now,
        })
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
