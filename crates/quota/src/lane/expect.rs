//! What a request will cost before anybody knows: learned per lane and per caller.

use std::collections::HashMap;
use std::sync::Arc;

use crate::time::{Nanos, SECOND};

/// Output tokens expected of a model that has answered nothing yet.
const FIRST_OUTPUT: f64 = 400.0;
/// Output tokens per second of one answer, before any was seen.
const FIRST_RATE: f64 = 60.0;
/// Weight of the newest answer in the means.
const NEWEST: f64 = 0.05;
/// A caller's own mean counts as much as the lane's after so many answers.
const OWN_AFTER: f64 = 4.0;
/// Callers that are remembered; a stranger cannot make it more.
const MOST_CALLERS: usize = 4096;

#[derive(Debug)]
pub(super) struct Expectation {
    lane: Mean,
    callers: HashMap<Arc<str>, Mean>,
    /// Seconds that answers took.
    seconds: Mean,
    /// Real over estimated input tokens.
    input_real: Mean,
    input_estimated: Mean,
    /// Mean size of the error of a whole reservation, as a part of the true cost.
    error: Mean,
}

#[derive(Debug, Clone, Copy, Default)]
struct Mean {
    value: f64,
    count: f64,
}

impl Mean {
    fn note(&mut self, value: f64) {
        self.count += 1.0;
        let weight = NEWEST.max(1.0 / self.count);
        self.value += (value - self.value) * weight;
    }

    fn or(self, first: f64) -> f64 {
        if self.count > 0.0 { self.value } else { first }
    }
}

impl Expectation {
    pub(super) fn new() -> Self {
        Self {
            lane: Mean::default(),
            callers: HashMap::new(),
            seconds: Mean::default(),
            input_real: Mean::default(),
            input_estimated: Mean::default(),
            error: Mean::default(),
        }
    }

    /// Output tokens of a caller's next answer.
    pub(super) fn output(&self, caller: &str, most: Option<u64>) -> u64 {
        let lane = self.lane.or(FIRST_OUTPUT);
        let mean = match self.callers.get(caller) {
            Some(own) => (own.value * own.count + lane * OWN_AFTER) / (own.count + OWN_AFTER),
            None => lane,
        };
        let expected = crate::time::from_f64(mean.round());
        most.map_or(expected, |most| expected.min(most))
    }

    /// Input tokens, corrected by how wrong estimates were.
    pub(super) fn input(&self, estimate: u64) -> u64 {
        crate::time::from_f64((estimate as f64 * self.input_factor()).round())
    }

    pub(super) fn input_factor(&self) -> f64 {
        if self.input_estimated.value > 0.0 {
            (self.input_real.value / self.input_estimated.value).clamp(0.25, 4.0)
        } else {
            1.0
        }
    }

    /// Output tokens per nanosecond of one running answer.
    pub(super) fn rate(&self) -> f64 {
        let seconds = self.seconds.or(FIRST_OUTPUT / FIRST_RATE).max(0.001);
        self.lane.or(FIRST_OUTPUT) / seconds / SECOND as f64
    }

    pub(super) fn error(&self) -> f64 {
        self.error.value
    }

    /// Seconds that an answer takes.
    pub(super) fn seconds(&self) -> Option<f64> {
        (self.seconds.count > 0.0).then_some(self.seconds.value)
    }

    /// Notes what an answer cost. `estimate` is the caller's own, before the correction.
    pub(super) fn note(
        &mut self,
        caller: &Arc<str>,
        estimate: u64,
        reserved: u64,
        input: Option<u64>,
        output: u64,
        took: Nanos,
    ) {
        self.lane.note(output as f64);
        self.seconds.note(took as f64 / SECOND as f64);
        if let Some(input) = input
            && estimate > 0
        {
            self.input_real.note(input as f64);
            self.input_estimated.note(estimate as f64);
        }
        let cost = (input.unwrap_or(estimate) + output).max(1) as f64;
        self.error.note((reserved as f64 - cost).abs() / cost);
        if let Some(own) = self.callers.get_mut(caller) {
            own.note(output as f64);
            return;
        }
        if self.callers.len() >= MOST_CALLERS {
            // Which one goes does not matter: it comes back with the lane's mean.
            let any = self.callers.keys().next().cloned();
            if let Some(any) = any {
                self.callers.remove(&any);
            }
        }
        let mut own = Mean::default();
        own.note(output as f64);
        self.callers.insert(Arc::clone(caller), own);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_is_known_by_its_own_answers_after_a_few() {
        let (brief, long): (Arc<str>, Arc<str>) = ("brief".into(), "long".into());
        let mut expect = Expectation::new();
        for _ in 0..100 {
            expect.note(&brief, 10, 10, Some(10), 20, SECOND);
            expect.note(&long, 10, 10, Some(10), 2_000, SECOND);
        }
        assert!(expect.output("brief", None) < 100);
        assert!(expect.output("long", None) > 1_800);
        assert!((500..1_700).contains(&expect.output("stranger", None)));
        assert_eq!(expect.output("long", Some(50)), 50);
    }

    #[test]
    fn input_estimates_are_corrected_by_what_usage_reports() {
        let caller: Arc<str> = "a".into();
        let mut expect = Expectation::new();
        for _ in 0..100 {
            expect.note(&caller, 100, 100, Some(150), 1, SECOND);
        }
        assert_eq!(expect.input(1_000), 1_500);
    }
}
