//! What a limit really is: told by somebody, corrected by what the service refuses.
//!
//! The believed amount falls to what was in use when a request was refused, and rises again in
//! growing steps while requests wait and nothing is refused. See `docs/pacing.md`, "Learning".

use crate::time::{MINUTE, Nanos, SECOND};

/// A refusal never takes away more than this part at once.
const LARGEST_CUT: f64 = 0.3;
/// Another refusal soon after a cut takes away at least this part.
const REPEATED_CUT: f64 = 0.15;
/// The first step of a rise, as a part of the amount; it doubles with every clean step.
const FIRST_STEP: f64 = 0.02;
const LARGEST_STEP: f64 = 0.25;
/// Time between two steps of a rise.
const STEP_INTERVAL: Nanos = SECOND;
/// How long a cut amount is kept before the first rise, and at most after rises that failed. The
/// longest leaves room to be back within a minute after another program stopped.
const SHORTEST_HOLD: Nanos = 8 * SECOND;
const LONGEST_HOLD: Nanos = 40 * SECOND;
/// How long an amount that a refusal confirmed is taken for the limit itself.
const CONFIRMED_HOLD: Nanos = 30 * MINUTE;
/// So many rises in a row that ended where they began: a figure nobody vouched for was wrong.
const DISPROVED_AFTER: u32 = 6;
/// A figure that was used up for so long without a refusal is true, and so long nobody need have
/// waited meanwhile.
const PROOF: Nanos = 90 * SECOND;
const FULL_GAP: Nanos = 5 * SECOND;
/// And so many for a figure that was proven.
const DISPROVED_AFTER_PROOF: u32 = 60;
const LONGEST_CONFIRMED_HOLD: Nanos = 24 * 60 * MINUTE;

#[derive(Debug)]
pub(super) struct Adaptive {
    /// Never risen above.
    exact: bool,
    /// What the limit is taken to be when nobody else uses it; infinite when nobody knows.
    known: f64,
    /// What is used now.
    cap: f64,
    /// The highest use since the last cut that nothing was refused at.
    peak: f64,
    step: f64,
    rise_at: Nanos,
    hold: Nanos,
    /// When `known` itself may be questioned.
    question_at: Nanos,
    question_hold: Nanos,
    cut_at: Option<Nanos>,
    /// Whether the amount rose since the last cut.
    risen: bool,
    /// Rises in a row that ended where they began.
    failed: u32,
    /// The amount after the last cut.
    settled: f64,
    /// The amount before the last step of a rise.
    before_step: f64,
    /// Since when all that is known was used, with requests waiting and nothing refused, and when
    /// that was seen last.
    full: Option<(Nanos, Nanos)>,
    /// What is known was used up for so long that it is no wrong figure.
    proven: bool,
}

impl Adaptive {
    /// `None` when nothing was told.
    pub(super) fn new(told: Option<u64>, exact: bool) -> Self {
        let known = told.map_or(f64::INFINITY, |told| told as f64);
        Self {
            exact,
            known,
            cap: known,
            peak: 0.0,
            step: FIRST_STEP,
            rise_at: 0,
            hold: SHORTEST_HOLD,
            question_at: 0,
            question_hold: CONFIRMED_HOLD,
            cut_at: None,
            risen: false,
            failed: 0,
            settled: known,
            before_step: known,
            full: None,
            proven: false,
        }
    }

    /// The amount that may be used now; infinite when unlimited.
    pub(super) fn cap(&self) -> f64 {
        self.cap
    }

    /// What the limit is taken to be when nobody else uses it.
    pub(super) fn known(&self) -> f64 {
        self.known
    }

    /// Takes over what another replica found out.
    pub(super) fn adopt(&mut self, cap: f64, known: f64, now: Nanos) {
        let was = self.cap;
        let ceiling = if self.exact { self.known } else { cap };
        if !self.exact {
            self.proven &= (known - self.known).abs() < 0.5;
            self.known = known;
        }
        self.cap = cap.min(ceiling);
        if self.cap > was {
            self.before_step = was;
            self.risen = true;
            self.step = (self.step * 2.0).min(LARGEST_STEP);
            self.rise_at = self.rise_at.max(now.saturating_add(STEP_INTERVAL));
        } else if self.cap < was {
            // What a refusal taught another replica is not to be tried again by this one.
            self.settled = self.cap;
            self.peak = self.cap;
            self.risen = false;
            self.step = FIRST_STEP;
            self.rise_at = now.saturating_add(self.hold);
            self.cut_at = Some(now);
            if cap >= 0.9 * known {
                self.question_at = now.saturating_add(self.question_hold);
            }
        }
    }

    /// Whether more than what is known is being tried, and so much use would show it.
    pub(super) fn is_questioned_by(&self, used: u64) -> bool {
        self.cap.is_finite() && self.cap > self.known && used as f64 >= 0.98 * self.known
    }

    pub(super) fn is_limited(&self) -> bool {
        self.cap.is_finite()
    }

    /// Takes a new figure. What was learned stays, in proportion.
    pub(super) fn tell(&mut self, told: f64, exact: bool) {
        self.exact = exact;
        let cut = if self.known.is_finite() && self.known > 0.0 {
            (self.cap / self.known).min(1.0)
        } else {
            1.0
        };
        self.proven &= (told - self.known).abs() < 0.5;
        self.known = told;
        self.cap = told * cut;
        self.peak = self.peak.min(self.cap);
    }

    /// Notes a use that was not refused.
    pub(super) fn used(&mut self, used: u64) {
        self.peak = self.peak.max(used as f64);
    }

    /// Requests wait for this limit and none is refused: rises when it is time to. What is known
    /// is only questioned for the sake of a line that `lasts`.
    pub(super) fn rise(&mut self, now: Nanos, lasts: bool) {
        self.note_full(now);
        if now < self.rise_at || !self.cap.is_finite() {
            return;
        }
        let may_question = lasts && !self.exact && now >= self.question_at;
        let ceiling = if may_question {
            f64::INFINITY
        } else {
            self.known
        };
        if self.cap >= ceiling {
            return;
        }
        self.before_step = self.cap;
        self.cap = (self.cap * (1.0 + self.step))
            .max(self.cap + 1.0)
            .min(ceiling);
        self.step = (self.step * 2.0).min(LARGEST_STEP);
        self.rise_at = now.saturating_add(STEP_INTERVAL);
        self.risen = true;
    }

    /// Requests wait for this limit: all of it is in use.
    fn note_full(&mut self, now: Nanos) {
        if self.cap < self.known {
            self.full = None;
            return;
        }
        let since = match self.full {
            Some((since, last)) if now.saturating_sub(last) < FULL_GAP => since,
            _ => now,
        };
        self.full = Some((since, now));
        if now.saturating_sub(since) >= PROOF {
            self.proven = true;
        }
    }

    /// The service refused a request, with so much used before it.
    pub(super) fn refused(&mut self, now: Nanos, used: u64) {
        let used = used as f64;
        let before = self.cap;
        self.full = None;
        let questioned = self.cap > self.known || !self.cap.is_finite();
        let seen = self.cap.min(self.peak.max(1.0));
        let mut cap = used.max(seen * (1.0 - LARGEST_CUT)).min(before);
        let soon = self
            .cut_at
            .is_some_and(|cut| now.saturating_sub(cut) < 4 * SECOND);
        if self.risen {
            // A small rise that failed ends where it began: one step back would fail again.
            let small = before <= self.settled * 1.35 + 1.0;
            cap = cap.min(if small {
                self.settled
            } else {
                self.before_step
            });
        }
        if soon && before.is_finite() {
            cap = cap.min(before * (1.0 - REPEATED_CUT));
        }
        cap = cap.max(1.0);
        if questioned || (self.known.is_finite() && cap >= 0.9 * self.known) {
            // As much as was thought, or more than was known: that is the limit.
            if !self.exact && (questioned || (!soon && !self.proven)) {
                self.known = cap;
                self.proven = false;
            }
            self.question_at = now.saturating_add(self.question_hold);
            if !soon {
                self.question_hold = (self.question_hold * 2).min(LONGEST_CONFIRMED_HOLD);
            }
        }
        if !self.exact && before >= 0.9 * self.known && before <= self.known && !self.proven {
            // At the top of what was known it was refused, and never used up for long: it is lower.
            self.known = cap.max(before * 0.95).min(before - 1.0).max(1.0);
        }
        let long_ago = self
            .cut_at
            .is_none_or(|cut| now.saturating_sub(cut) > 2 * MINUTE);
        if long_ago {
            self.hold = SHORTEST_HOLD;
        } else if self.risen {
            self.hold = (self.hold * 8 / 5).min(LONGEST_HOLD);
        }
        if self.risen {
            let same = (cap - self.settled).abs() <= (0.15 * cap).max(1.0);
            self.failed = if same { self.failed + 1 } else { 0 };
        }
        // What was once used up is no wrong figure: most likely somebody else uses it now.
        let disproved = if self.proven {
            DISPROVED_AFTER_PROOF
        } else {
            DISPROVED_AFTER
        };
        if self.failed >= disproved && !self.exact {
            self.known = cap;
            self.proven = false;
            self.question_at = now.saturating_add(CONFIRMED_HOLD / 3);
        }
        self.settled = cap;
        self.risen = false;
        self.cap = cap;
        self.peak = cap;
        self.step = FIRST_STEP;
        self.rise_at = now.saturating_add(self.hold);
        self.cut_at = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exact_figure_is_never_exceeded() {
        let mut limit = Adaptive::new(Some(10), true);
        for second in 0..1_000 {
            limit.rise(second * SECOND, true);
        }
        assert!((limit.cap() - 10.0).abs() < 1e-9);
    }

    #[test]
    fn a_figure_that_is_half_of_the_truth_is_outgrown_within_ten_seconds() {
        let mut limit = Adaptive::new(Some(300), false);
        for second in 0..10 {
            limit.rise(second * SECOND, true);
        }
        assert!(limit.cap() > 600.0, "{}", limit.cap());
        limit.used(600);
        limit.refused(10 * SECOND, 600);
        assert!((limit.cap() - 600.0).abs() < 1e-9);
        for second in 11..1_000 {
            limit.rise(second * SECOND, true);
        }
        assert!(
            (limit.cap() - 600.0).abs() < 1e-9,
            "a confirmed limit is kept"
        );
    }

    #[test]
    fn a_figure_that_is_twice_the_truth_falls_to_what_was_used() {
        let mut limit = Adaptive::new(Some(1_200), false);
        limit.used(600);
        limit.refused(SECOND, 600);
        assert!((limit.cap() - 600.0).abs() < 1e-9);
    }

    #[test]
    fn room_that_another_program_left_is_taken_back_within_a_minute() {
        let mut limit = Adaptive::new(Some(20), true);
        limit.used(20);
        let mut second = 0;
        // The other program takes half for three minutes.
        let mut refusals = 0;
        while second < 180 {
            second += 1;
            limit.rise(second * SECOND, true);
            if limit.cap() > 10.5 {
                limit.refused(second * SECOND, 10);
                refusals += 1;
            }
        }
        assert!(refusals < 12, "{refusals}");
        let stopped = second;
        while limit.cap() < 20.0 {
            second += 1;
            limit.rise(second * SECOND, true);
        }
        assert!(second - stopped <= 60, "{}", second - stopped);
    }
}
