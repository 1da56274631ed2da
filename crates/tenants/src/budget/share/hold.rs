//! What this replica holds of one limit, what it asks for, and what it is told.

use std::time::{Duration, Instant};

use bailian_quota::share::{Allotment, Belief, LimitKey, LimitReport, Renewal};
use bailian_quota::{Layer, Measure};

use super::{HoldKey, PotAnswer, PotReport, Standing};
use crate::budget::refusal::LimitKind;
use crate::id::TenantId;
use crate::settings::Unit;

/// What was asked for in so long is what a replica likes to hold in advance.
const PACE_OVER: Duration = Duration::from_secs(1);
/// A hold that nobody asked for so long keeps nothing in advance.
const IDLE: Duration = Duration::from_secs(3);
/// No more than this part of a limit is held in advance.
const MOST_IN_ADVANCE: u64 = 8;
/// So long nobody waits for what was not given out a moment ago.
const DENIAL: Duration = Duration::from_millis(200);
/// What others have to give back first is asked for again after so long.
const RETRY: Duration = Duration::from_millis(40);
/// What changed without anybody waiting is told so often.
const CALM: Duration = Duration::from_millis(200);
/// A limit of the moment is renewed so often, so that its lease does not end.
const LEASE_UPKEEP: Duration = Duration::from_millis(600);
/// A budget is renewed so often, so that what is held does not count as spent.
const POT_UPKEEP: Duration = Duration::from_mins(1);
/// Billionths of money that are counted as one: figures in Redis are exact up to 2^53.
const MONEY_STEP: u64 = 1_000;

/// How a limit stands on this replica when it is reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    /// What is over and stays: spent in the period, or begun within the last minute.
    pub(crate) settled: u64,
    /// What runs.
    pub(crate) reserved: u64,
    /// What others have spent of a budget, as far as is known.
    pub(crate) restored: u64,
}

/// One limit of one node.
#[derive(Debug)]
pub(super) struct Hold {
    pub(super) tenant: TenantId,
    pub(super) key: HoldKey,
    /// Tells this hold from earlier ones of the same limit.
    pub(super) member: u64,
    limit: u64,
    /// What may be used and reserved here; of a budget in steps, and since the period began.
    cap: u64,
    /// What requests asked for since `paced_at`, and in the time before that.
    asked: u64,
    pace: u64,
    paced_at: Instant,
    touched: Instant,
    /// What requests wait for, all together and the least of one.
    pending: u64,
    least: Option<u64>,
    /// When it was asked for in vain: what is needed is not there; or not yet.
    denied: Option<Instant>,
    lacked: Option<Instant>,
    renewed: Option<Instant>,
    sequence: u64,
    part: Part,
}

#[derive(Debug)]
enum Part {
    Pot(PotPart),
    Window { version: u64, lacked: bool },
}

#[derive(Clone, Copy, Debug, Default)]
struct PotPart {
    /// What was spent in all as the pot told, and what of that by this replica, in steps.
    told: Option<(u64, u64)>,
    is_short: bool,
    last: PotReport,
    settled: u64,
}

/// What is to be sent.
#[derive(Clone, Debug)]
pub(super) enum Report {
    Pot(PotReport),
    Window(Renewal),
}

impl Hold {
    pub(super) fn new(standing: &Standing, key: HoldKey, member: u64) -> Self {
        Self {
            tenant: standing.tenant,
            key,
            member,
            limit: standing.limit,
            cap: 0,
            asked: 0,
            pace: 0,
            paced_at: standing.now,
            touched: standing.now,
            pending: 0,
            least: None,
            denied: None,
            lacked: None,
            renewed: None,
            sequence: 0,
            part: match standing.kind {
                LimitKind::Budget { .. } => Part::Pot(PotPart::default()),
                _ => Part::Window {
                    version: 0,
                    lacked: false,
                },
            },
        }
    }

    /// What may be used and reserved here. Notes what is asked for, and says whether more is needed.
    pub(super) fn allotted(&mut self, standing: &Standing) -> (u64, bool) {
        self.limit = standing.limit;
        self.touched = self.touched.max(standing.now);
        let needed = standing.needed.saturating_sub(standing.here);
        let allotted = match self.part {
            Part::Pot(_) => self.cap.saturating_mul(step(standing.kind)),
            Part::Window { .. } => self.cap,
        };
        let allotted = allotted.min(standing.limit.saturating_sub(standing.restored));
        let lacks = standing.needed > allotted;
        if lacks {
            self.pending = self.pending.saturating_add(needed);
            self.least = Some(self.least.map_or(needed, |least| least.min(needed)));
        } else {
            self.asked = self.asked.saturating_add(needed);
        }
        (allotted, lacks && self.may_ask(standing.now))
    }

    /// Whether the others did not give out what was needed, a moment ago.
    pub(super) fn is_denied(&self, now: Instant) -> bool {
        self.denied
            .is_some_and(|at| now.saturating_duration_since(at) < DENIAL)
    }

    /// All is to be told again: whoever kept it has lost it.
    pub(super) fn reclaim(&mut self) {
        self.renewed = None;
        self.denied = None;
        self.lacked = None;
    }

    /// Whether it is time to ask for more.
    fn may_ask(&self, now: Instant) -> bool {
        let asked_now = |at: Instant| now.saturating_duration_since(at) < RETRY;
        !self.is_denied(now) && !self.lacked.is_some_and(asked_now)
    }

    /// Whether it can be forgotten once nothing is held: nobody asks for it any more.
    pub(super) fn is_idle(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.touched) >= IDLE && self.least.is_none()
    }

    /// Whether the count began anew: a budget that is taken away and comes back within its period
    /// counts from nothing, and is another hold.
    pub(super) fn is_over(&self, counted: Counted) -> bool {
        matches!(&self.part, Part::Pot(pot) if counted.settled < pot.settled)
    }

    /// What to tell now; `None` while there is nothing to tell. Gives back what is not needed: to be
    /// called where nobody can reserve meanwhile.
    pub(super) fn report(&mut self, counted: Counted, now: Instant) -> Option<Report> {
        let passed = self
            .renewed
            .map_or(Duration::MAX, |at| now.saturating_duration_since(at));
        let waits = self.least.is_some() && self.may_ask(now);
        if !waits && passed < CALM {
            return None;
        }
        if now.saturating_duration_since(self.paced_at) >= PACE_OVER {
            self.pace = self.asked;
            self.asked = 0;
            self.paced_at = now;
        }
        let kind = self.key.kind;
        let report = match &mut self.part {
            Part::Pot(_) => {
                let report = self.pot_report(counted, now);
                let Part::Pot(pot) = &mut self.part else {
                    return None;
                };
                let is_same = pot.last.spent == report.spent
                    && pot.last.kept == report.kept
                    && (pot.last.need, report.need) == (0, 0)
                    && pot.last.limit == report.limit
                    && pot
                        .told
                        .is_none_or(|(told, _)| report.base <= told.max(pot.last.base));
                let is_upkept = report.kept == 0 || passed < POT_UPKEEP;
                if is_same && is_upkept && self.renewed.is_some() {
                    return None;
                }
                pot.last = report;
                Report::Pot(report)
            }
            Part::Window { version, lacked } => {
                let used = counted.settled.saturating_add(counted.reserved);
                if !waits && !*lacked && passed < LEASE_UPKEEP && self.asked == 0 {
                    return None;
                }
                let belief = Belief {
                    amount: Some(self.limit),
                    known: Some(self.limit),
                    version: *version,
                };
                let mut report = LimitReport::new(limit_key(kind)?, belief);
                report.kept = self.cap;
                report.used = used;
                report.wanted = used.saturating_add(self.pending);
                report.need = self.least.unwrap_or(0);
                *lacked = report.need > 0;
                Report::Window(Renewal::new(self.sequence + 1, 1, vec![report]))
            }
        };
        self.sequence += 1;
        self.renewed = Some(now);
        self.pending = 0;
        self.least = None;
        Some(report)
    }

    fn pot_report(&mut self, counted: Counted, now: Instant) -> PotReport {
        let is_idle = now.saturating_duration_since(self.touched) >= IDLE;
        let step = step(self.key.kind);
        let mut report = PotReport {
            sequence: self.sequence + 1,
            limit: self.limit / step,
            ..PotReport::default()
        };
        let Part::Pot(pot) = &mut self.part else {
            return report;
        };
        pot.settled = counted.settled;
        let spent = counted.settled;
        let taken = spent.saturating_add(counted.reserved);
        let in_advance = if pot.is_short || is_idle {
            0
        } else {
            self.asked.max(self.pace).min(self.limit / MOST_IN_ADVANCE)
        };
        let useful = taken
            .saturating_add(self.pending)
            .saturating_add(in_advance)
            .div_ceil(step);
        // Never more than was given; never less than what runs.
        self.cap = self.cap.min(useful);
        report.spent = spent.div_ceil(step);
        report.kept = self.cap.saturating_sub(report.spent);
        report.spare = self.cap.saturating_sub(taken.div_ceil(step));
        report.wanted = useful.saturating_sub(self.cap);
        report.need = self.least.map_or(0, |least| {
            let needed = taken.saturating_add(least).div_ceil(step);
            needed.saturating_sub(self.cap)
        });
        if let Some((_, base_spent)) = pot.told {
            (report.is_told, report.base_spent) = (true, base_spent);
        }
        let others = counted.restored.div_ceil(step);
        report.base = others.saturating_add(report.base_spent);
        report
    }

    /// Takes what the pot answered. Says what the others have spent in all.
    pub(super) fn told_by_pot(
        &mut self,
        report: &PotReport,
        answer: &PotAnswer,
        now: Instant,
    ) -> u64 {
        self.cap = report.spent.saturating_add(answer.held);
        let given = answer.held.saturating_sub(report.kept);
        let lacks = report.need.saturating_sub(given);
        // What others can give back comes in a moment, as does what is held back for now.
        let may_come =
            answer.in_grace || report.need <= given.saturating_add(answer.spare_elsewhere);
        self.note(lacks > 0, may_come, now);
        if let Part::Pot(pot) = &mut self.part {
            pot.told = Some((answer.used, report.spent));
            pot.is_short = answer.is_short;
            let others = answer.used.saturating_sub(report.spent);
            return others.saturating_mul(step(self.key.kind));
        }
        0
    }

    /// Takes what the ledger of a limit of the moment answered.
    pub(super) fn told_by_ledger(&mut self, renewal: &Renewal, told: &Allotment, now: Instant) {
        let Some(report) = renewal.limits.first() else {
            return;
        };
        self.cap = told.limit;
        let needed = report.used.saturating_add(report.need);
        let lacks = report.need > 0 && needed > told.limit;
        let may_come = needed.saturating_add(told.others_used) <= self.limit;
        self.note(lacks, may_come, now);
        if let Part::Window { version, .. } = &mut self.part {
            *version = told.belief.version;
        }
    }

    fn note(&mut self, lacks: bool, may_come: bool, now: Instant) {
        self.denied = (lacks && !may_come).then_some(now);
        self.lacked = lacks.then_some(now);
    }

    /// The last word: what is not used is given back.
    pub(super) fn farewell(&mut self, counted: Counted, now: Instant) -> Option<Report> {
        self.pending = 0;
        self.least = None;
        match self.part {
            Part::Pot(_) => {
                self.touched = now.checked_sub(IDLE).unwrap_or(now);
                if let Part::Pot(pot) = &mut self.part {
                    pot.is_short = true;
                }
                let report = self.pot_report(counted, now);
                self.sequence += 1;
                Some(Report::Pot(report))
            }
            Part::Window { .. } => {
                self.renewed = None;
                let report = self.report(counted, now);
                self.cap = 0;
                self.renewed = None;
                report
            }
        }
    }
}

/// How much of a limit is counted as one.
fn step(kind: LimitKind) -> u64 {
    match kind {
        LimitKind::Budget {
            unit: Unit::Money(_),
            ..
        } => MONEY_STEP,
        _ => 1,
    }
}

fn limit_key(kind: LimitKind) -> Option<LimitKey> {
    let (measure, period) = match kind {
        LimitKind::Concurrency => (Measure::Running, Duration::ZERO),
        LimitKind::RequestsPerMinute => (Measure::Requests, Duration::from_mins(1)),
        LimitKind::TokensPerMinute => (Measure::Tokens, Duration::from_mins(1)),
        LimitKind::Budget { .. } => return None,
    };
    Some(LimitKey::new(measure, Layer::Model, period))
}
