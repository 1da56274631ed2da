//! Who holds how much of one lane's limits.

use std::collections::BTreeMap;
use std::time::Duration;

use super::fill::{Claim, fill};
use super::{Allotment, Allotments, Belief, LimitKey, LimitReport, Renewal, Terms};

/// Turns last at least this long, however short a limit's period is, in milliseconds.
const SHORTEST_TURN: u64 = 1000;
/// What a replica that is gone may have in the service's window stays whole for this part of a
/// period, and shrinks evenly after it: starts come in bursts.
const BURST_PART: u64 = 10;

/// The allotments of one lane. All times are of one clock, that of whoever keeps the ledger.
///
/// The script that `redis` runs does the same; a test holds one against the other.
#[derive(Clone, Debug)]
pub struct Ledger {
    lease: u64,
    grace: u64,
    beliefs: BTreeMap<LimitKey, Belief>,
    renewed_at: Option<u64>,
    grace_until: u64,
    replicas: BTreeMap<String, Replica>,
}

#[derive(Clone, Debug, Default)]
struct Replica {
    sequence: u64,
    seen: u64,
    weight: u64,
    limits: BTreeMap<LimitKey, Held>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Held {
    /// What it counts with: the greatest of what it keeps, was told and has used.
    counted: u64,
    used: u64,
    wanted: u64,
    need: u64,
    /// When it last had used something.
    had_at: u64,
    /// It gives up what it holds evenly over a period: from so much, since then.
    glide: Option<(u64, u64)>,
}

impl Ledger {
    /// An empty ledger.
    pub fn new(terms: &Terms) -> Self {
        Self {
            lease: millis(terms.lease),
            grace: millis(terms.grace),
            beliefs: BTreeMap::new(),
            renewed_at: None,
            grace_until: 0,
            replicas: BTreeMap::new(),
        }
    }

    /// Renews a replica's lease and says what it may use from now on. `None` when a later renewal of
    /// it came before this one.
    pub fn renew(&mut self, id: &str, renewal: &Renewal, now: Duration) -> Option<Allotments> {
        let now = millis(now);
        let before = self.replicas.get(id);
        if before.is_some_and(|replica| replica.sequence >= renewal.sequence) {
            return None;
        }
        self.notice_loss(renewal, now);
        self.forget(now);
        self.take_report(id, renewal, now);
        let limits = renewal
            .limits
            .iter()
            .map(|report| self.allot(id, report, now))
            .collect();
        let live = self.replicas.values();
        Some(Allotments {
            replicas: live.filter(|replica| self.lives(replica, now)).count() as u64,
            in_grace: now < self.grace_until,
            limits,
        })
    }

    /// Ends a replica's lease. What it has used goes on counting until it has left the window.
    pub fn leave(&mut self, id: &str, renewal: &Renewal, now: Duration) {
        let now = millis(now);
        let known = self.replicas.get(id);
        if known.is_none_or(|replica| replica.sequence >= renewal.sequence) {
            return;
        }
        let mut gone = Replica {
            sequence: renewal.sequence,
            seen: now.saturating_sub(self.lease + 1),
            ..Replica::default()
        };
        for report in renewal
            .limits
            .iter()
            .filter(|report| !report.key.period.is_zero())
        {
            let used = report.used;
            gone.limits.insert(
                report.key,
                Held {
                    counted: used,
                    used,
                    ..Held::default()
                },
            );
        }
        self.replicas.insert(id.to_owned(), gone);
    }

    /// What all replicas together are counted with.
    pub fn counted(&self, key: LimitKey, now: Duration) -> u64 {
        let replicas = self.replicas.values();
        replicas
            .map(|replica| self.counted_of(replica, key, millis(now)))
            .sum()
    }

    fn lives(&self, replica: &Replica, now: u64) -> bool {
        now <= replica.seen + self.lease
    }

    /// A ledger that lost its contents, or that nobody could reach, does not know what replicas
    /// hold: it waits until all had time to claim it.
    fn notice_loss(&mut self, renewal: &Renewal, now: u64) {
        let lost = match self.renewed_at {
            None => renewal.limits.iter().any(|report| report.kept > 0),
            Some(renewed) => now > renewed + self.lease,
        };
        if lost {
            self.grace_until = now + self.grace;
        }
        self.renewed_at = Some(now);
    }

    /// What a replica counts with; of one that is gone, what may still be in the service's window.
    fn counted_of(&self, replica: &Replica, key: LimitKey, now: u64) -> u64 {
        let Some(held) = replica.limits.get(&key) else {
            return 0;
        };
        if self.lives(replica, now) || now < self.grace_until {
            return held.counted;
        }
        let period = millis(key.period);
        let whole_until = replica.seen + self.lease.max(period / BURST_PART);
        let age = now.saturating_sub(whole_until);
        if age >= period {
            return 0;
        }
        held.counted - floor(held.counted as f64 * age as f64 / period as f64)
    }

    fn forget(&mut self, now: u64) {
        let gone: Vec<String> = self
            .replicas
            .iter()
            .filter(|(_, replica)| {
                !self.lives(replica, now)
                    && replica
                        .limits
                        .keys()
                        .all(|key| self.counted_of(replica, *key, now) == 0)
            })
            .map(|(id, _)| id.clone())
            .collect();
        for id in gone {
            self.replicas.remove(&id);
        }
    }

    fn take_report(&mut self, id: &str, renewal: &Renewal, now: u64) {
        let replica = self.replicas.entry(id.to_owned()).or_default();
        replica.sequence = renewal.sequence;
        replica.seen = now;
        replica.weight = renewal.weight.max(1);
        let before = std::mem::take(&mut replica.limits);
        for report in &renewal.limits {
            let held = Held {
                counted: report.kept.max(report.used),
                used: report.used,
                wanted: report.wanted,
                need: report.need,
                had_at: if report.used > 0 {
                    now
                } else {
                    before.get(&report.key).map_or(0, |held| held.had_at)
                },
                glide: before.get(&report.key).and_then(|held| held.glide),
            };
            replica.limits.insert(report.key, held);
            agree(self.beliefs.entry(report.key).or_default(), report.belief);
        }
    }

    fn allot(&mut self, id: &str, report: &LimitReport, now: u64) -> Allotment {
        let key = report.key;
        let belief = self.beliefs.get(&key).copied().unwrap_or_default();
        let others = self.replicas.iter().filter(|(other, _)| *other != id);
        let used = others
            .clone()
            .filter(|(_, replica)| self.lives(replica, now));
        let others_used = used
            .filter_map(|(_, replica)| replica.limits.get(&key))
            .map(|held| held.used)
            .sum();
        let mine = self.replicas.get(id).and_then(|me| me.limits.get(&key));
        let mut gliding = mine.and_then(|held| held.glide);
        let limit = belief.amount.map_or(0, |amount| {
            let counted: u64 = others
                .map(|(_, replica)| self.counted_of(replica, key, now))
                .sum();
            let free = amount.saturating_sub(counted);
            let target = self.target(id, key, amount, now);
            let is_over = report.kept.max(report.used) > free;
            if now >= self.grace_until && target < report.kept && !is_over {
                return glide(&mut gliding, report, target, now);
            }
            gliding = None;
            if now < self.grace_until {
                report.kept
            } else if target < report.kept {
                target
            } else {
                target.min(free.max(report.kept))
            }
        });
        if let Some(held) = self
            .replicas
            .get_mut(id)
            .and_then(|me| me.limits.get_mut(&key))
        {
            held.counted = held.counted.max(limit);
            held.glide = gliding;
        }
        Allotment {
            key,
            limit,
            belief,
            others_used,
        }
    }

    /// What a replica should hold.
    fn target(&self, id: &str, key: LimitKey, amount: u64, now: u64) -> u64 {
        let mut gone = 0;
        let mut claims = Vec::new();
        let mut mine = 0;
        for (other, replica) in &self.replicas {
            let Some(held) = replica.limits.get(&key) else {
                continue;
            };
            if !self.lives(replica, now) {
                gone += self.counted_of(replica, key, now);
                continue;
            }
            if other == id {
                mine = claims.len();
            }
            claims.push(Claim {
                wanted: held.wanted as f64,
                need: held.need as f64,
                had_at: held.had_at as f64,
                weight: replica.weight as f64,
            });
        }
        let turn = now / millis(key.period).max(SHORTEST_TURN);
        let shares = fill(amount.saturating_sub(gone) as f64, &claims, turn);
        shares.get(mine).map_or(0, |share| floor(*share))
    }
}

/// A change counts when it was made knowing the version before it, or when it is stricter than what
/// somebody who knew nothing yet would find.
fn agree(agreed: &mut Belief, told: Belief) {
    let is_stricter = match (told.amount, agreed.amount) {
        (Some(told), Some(agreed)) => told < agreed,
        (told, None) => told.is_some(),
        (None, _) => false,
    };
    let is_change = (told.amount, told.known) != (agreed.amount, agreed.known);
    let may =
        agreed.version == 0 || told.version == agreed.version || (told.version == 0 && is_stricter);
    if may && (is_change || agreed.version == 0) {
        *agreed = Belief {
            version: agreed.version + 1,
            ..told
        };
    }
}

/// Goes down to the target within a period, as what it has used leaves its window: a replica that
/// gave up all of that at once could start nothing until the window had emptied, while another
/// took what became free. What it has not used it gives up at once.
fn glide(gliding: &mut Option<(u64, u64)>, report: &LimitReport, target: u64, now: u64) -> u64 {
    let period = millis(report.key.period);
    let kept = target.max(report.kept.min(report.used));
    let (from, at) = *gliding.get_or_insert((kept, now));
    let passed = now.saturating_sub(at);
    if passed >= period {
        return target;
    }
    let above = from.saturating_sub(target);
    let given = floor(above as f64 * passed as f64 / period as f64);
    kept.min(target + above - given)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn floor(value: f64) -> u64 {
    crate::time::from_f64(value)
}
