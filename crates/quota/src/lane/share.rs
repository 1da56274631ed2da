//! A lane that is shared with other replicas: what it reports, and what it is told.

use std::time::{Duration, Instant};

use super::LaneCore;
use super::bound::Bound;
use super::queue::FairQueue;
use crate::class::Class;
use crate::limit::{Layer, Measure};
use crate::share::{Allotment, Allotments, Belief, LimitKey, LimitReport, Renewal};
use crate::time::{Nanos, from_f64};

/// What others send is a mean over their longest window that is not longer than this.
const MEAN_OVER: Duration = Duration::from_mins(2);

/// This replica's part of one limit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    limit: f64,
    /// The whole amount that it is a part of.
    whole: f64,
    others_used: u64,
    replicas: f64,
    version: u64,
    /// What the last report said of the whole limit.
    sent: Belief,
}

impl Share {
    /// A part of a limit before anybody has told how much others hold.
    pub(super) fn assumed(whole: f64, part: f64) -> Self {
        Self {
            limit: if whole.is_finite() {
                (whole * part).floor()
            } else {
                0.0
            },
            whole,
            others_used: 0,
            replicas: 1.0,
            version: 0,
            sent: Belief::default(),
        }
    }

    /// What this replica may use of a limit that is now taken to be `whole`.
    pub(super) fn part_of(&self, whole: f64) -> f64 {
        if !whole.is_finite() {
            return whole;
        }
        if !self.whole.is_finite() {
            // Found out since the last renewal: nobody was told a part of it yet.
            return (whole / self.replicas).floor().max(1.0);
        }
        // A cut since the last renewal takes from everybody's part alike.
        self.limit * (whole / self.whole.max(1.0)).min(1.0)
    }

    /// What it can count on once the others have been asked to make room.
    pub(super) fn fair_part_of(&self, whole: f64) -> f64 {
        self.part_of(whole).max(whole / self.replicas)
    }

    pub(super) fn others_used(&self) -> u64 {
        self.others_used
    }

    fn told(&mut self, allotment: &Allotment, replicas: u64) {
        self.limit = allotment.limit as f64;
        self.whole = allotment
            .belief
            .amount
            .map_or(f64::INFINITY, |amount| amount as f64);
        self.others_used = allotment.others_used;
        self.replicas = replicas.max(1) as f64;
        self.version = allotment.belief.version;
    }
}

/// What of a limit is told to others.
pub(super) trait Shared {
    fn share(&mut self) -> &mut Option<Share>;
    /// The whole amount and what is known of it.
    fn believed(&self) -> (f64, f64);
    /// Takes over what others found out.
    fn adopt(&mut self, belief: &Belief, at: Nanos);
}

impl<T> LaneCore<T> {
    /// Shares the lane with other replicas from now on. Until the first [`apply`](Self::apply) this
    /// replica uses the given part of every limit, from nothing to one; until then the part may be
    /// changed.
    pub fn share(&mut self, part: f64) {
        let shared = self.shared.get_or_insert(Sharing {
            sequence: 0,
            part: 0.0,
            replicas: 1,
        });
        shared.part = part.clamp(0.0, 1.0);
        self.share_bounds();
    }

    /// Gives every limit that nobody was told a share of the assumed one.
    pub(super) fn share_bounds(&mut self) {
        let Some(part) = self.shared.as_ref().map(|shared| shared.part) else {
            return;
        };
        self.each_shared(|_, limit| {
            let (whole, _) = limit.believed();
            let share = limit.share();
            if share.is_none_or(|share| share.version == 0) {
                *share = Some(Share::assumed(whole, part));
            }
        });
        self.shares_changed();
    }

    /// What to tell the other replicas now; `None` for a lane that is not shared.
    pub fn renewal(&mut self, now: Instant) -> Option<Renewal> {
        let at = self.epoch.nanos(now);
        let shared = self.shared.as_mut()?;
        shared.sequence += 1;
        let sequence = shared.sequence;
        let totals = self.queue.totals();
        let head = self.queue.head().and_then(|id| self.queue.get(id));
        let head = head.map(|waiter| waiter.ask.need);
        let reserve_whole = self.config.reserve_tokens;
        let weight = weight_of(&self.queue);
        let mut counts: Vec<u64> = self.bounds.iter_mut().map(|bound| bound.used(at)).collect();
        counts.push(self.running.now());
        let mut counts = counts.into_iter();
        let mut limits = Vec::new();
        self.each_shared(|key, limit| {
            let used = counts.next().unwrap_or(0);
            let (whole, known) = limit.believed();
            let (part, version) = match limit.share() {
                Some(share) => (share.part_of(whole), share.version),
                None => (0.0, 0),
            };
            let mut report = LimitReport::new(key, belief(whole, known, version));
            if let Some(share) = limit.share() {
                share.sent = report.belief;
            }
            report.kept = if part.is_finite() { from_f64(part) } else { 0 };
            report.used = used;
            let waiting = match key.measure {
                Measure::Tokens => from_f64(totals.tokens),
                _ => totals.waiting as u64,
            };
            report.wanted = used.saturating_add(waiting);
            report.need = match (head, key.measure) {
                (Some(need), Measure::Tokens) if reserve_whole => need.tokens(),
                (Some(_), _) => 1,
                (None, _) => 0,
            };
            limits.push(report);
        });
        Some(Renewal {
            sequence,
            weight,
            limits,
        })
    }

    /// Takes what the ledger answered.
    pub fn apply(&mut self, told: &Allotments, now: Instant) {
        let at = self.epoch.nanos(now);
        let replicas = told.replicas;
        let before: Vec<f64> = self.bounds.iter().map(Bound::cap).collect();
        self.each_shared(|key, limit| {
            let Some(allotment) = told.limits.iter().find(|allotment| allotment.key == key) else {
                return;
            };
            let (whole, known) = limit.believed();
            let Some(share) = limit.share() else {
                return;
            };
            // What was found out while the message was under way goes out with the next one.
            let unchanged = belief(whole, known, share.sent.version) == share.sent;
            share.told(allotment, replicas);
            let news = allotment.belief;
            if unchanged && (news.amount, news.known) != (share.sent.amount, share.sent.known) {
                limit.adopt(&news, at);
            }
        });
        if let Some(shared) = &mut self.shared {
            shared.replicas = replicas;
        }
        for (bound, before) in self.bounds.iter_mut().zip(before) {
            bound.part_changed(before);
        }
        self.shares_changed();
    }

    /// The ledger is away: this replica goes on with what it holds. Where that is nothing it takes
    /// one, if a fair part is so much, so that its requests do not stand still until the ledger is
    /// back: a limit is at most exceeded by one for each replica that held nothing.
    pub fn go_alone(&mut self) {
        self.each_shared(|_, limit| {
            let (whole, _) = limit.believed();
            if let Some(share) = limit.share()
                && share.part_of(whole) < 1.0
                && whole >= share.replicas
            {
                share.limit = (share.whole / whole).ceil().max(1.0);
            }
        });
        self.shares_changed();
    }

    /// Replicas that share the lane, as far as is known; `None` for a lane that is not shared.
    pub fn replicas(&self) -> Option<u64> {
        self.shared.as_ref().map(|shared| shared.replicas)
    }

    fn shares_changed(&mut self) {
        for bound in &mut self.bounds {
            bound.amount_changed();
        }
        let replicas = self.replicas().unwrap_or(1);
        let longest = self
            .bounds
            .iter()
            .filter(|bound| bound.limit.measure == Measure::Requests)
            .filter(|bound| bound.limit.period <= MEAN_OVER)
            .max_by_key(|bound| bound.limit.period);
        let others = longest.map_or(0.0, |bound| {
            bound.others_used() as f64 / bound.limit.period.as_secs_f64()
        });
        if let Some(ramp) = &mut self.ramp {
            ramp.share_with(replicas, others);
        }
        self.refresh_ramp();
        self.next = 0;
    }

    fn each_shared(&mut self, mut visit: impl FnMut(LimitKey, &mut dyn Shared)) {
        for bound in &mut self.bounds {
            visit(LimitKey::of(&bound.limit), bound);
        }
        let key = LimitKey {
            measure: Measure::Running,
            layer: Layer::Model,
            period: Duration::ZERO,
        };
        visit(key, &mut self.running);
    }
}

/// That a lane is shared.
#[derive(Debug)]
pub(super) struct Sharing {
    sequence: u64,
    part: f64,
    replicas: u64,
}

fn belief(whole: f64, known: f64, version: u64) -> Belief {
    let finite = |value: f64| value.is_finite().then(|| from_f64(value));
    Belief {
        amount: finite(whole),
        known: finite(known),
        version,
    }
}

/// How much this replica counts beside the others: the weights of its tenants that wait, and
/// those of a higher class so much more that lower ones elsewhere do not keep them waiting.
fn weight_of<T>(queue: &FairQueue<T>) -> u64 {
    let factors = [16, 4, 1];
    let weights = Class::ALL.into_iter().zip(factors);
    let sum: u64 = weights
        .map(|(class, factor)| queue.class_weight(class).saturating_mul(factor))
        .sum();
    sum.clamp(1, 1 << 20)
}
