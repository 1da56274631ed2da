//! One count over a period.

use std::collections::VecDeque;
use std::time::Duration;

use serde::Serialize;

/// Periods whose use is remembered, latest last.
const HISTORY: usize = 4096;

/// What a window counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Measure {
    /// Requests.
    Requests,
    /// Tokens.
    Tokens,
}

/// So much of a measure in every period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct WindowRule {
    /// What is counted.
    pub measure: Measure,
    /// How much a period holds.
    pub amount: u64,
    /// The period's length.
    #[serde(rename = "period_seconds", serialize_with = "seconds")]
    pub period: Duration,
    /// Whether every stretch as long as the period counts, and not only whole periods from the start.
    pub sliding: bool,
    /// When the first whole period begins.
    #[serde(rename = "phase_seconds", serialize_with = "seconds")]
    pub phase: Duration,
}

/// One limit at work.
#[derive(Clone, Debug)]
pub struct Window {
    rule: WindowRule,
    /// The whole period that `count` is of.
    number: u128,
    count: u64,
    /// Of a sliding window: when how much was used, and the sum.
    log: VecDeque<(Duration, u64)>,
    logged: u64,
    peak: u64,
    refused: u64,
    history: VecDeque<(u128, u64)>,
}

/// A limit and what became of it, for tests to judge by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct WindowReport {
    /// The limit.
    #[serde(flatten)]
    pub rule: WindowRule,
    /// In use now.
    pub used: u64,
    /// The most that was ever in use.
    pub peak: u64,
    /// Requests that met this limit.
    pub refused: u64,
    /// What was used in each whole period, by its number; the last few thousand with any use.
    pub periods: Vec<(u64, u64)>,
}

impl WindowRule {
    /// A limit over whole periods from the start.
    pub fn new(measure: Measure, amount: u64, period: Duration) -> Self {
        Self {
            measure,
            amount,
            period: period.max(Duration::from_millis(1)),
            sliding: false,
            phase: Duration::ZERO,
        }
    }

    /// Makes every stretch as long as the period count.
    #[must_use]
    pub fn sliding(mut self) -> Self {
        self.sliding = true;
        self
    }
}

impl Window {
    /// A window in which nothing was used.
    pub fn new(rule: WindowRule) -> Self {
        Self {
            rule,
            number: 0,
            count: 0,
            log: VecDeque::new(),
            logged: 0,
            peak: 0,
            refused: 0,
            history: VecDeque::new(),
        }
    }

    /// The limit.
    pub fn rule(&self) -> &WindowRule {
        &self.rule
    }

    /// What is in use at `now`, which never goes back.
    pub fn used(&mut self, now: Duration) -> u64 {
        if self.rule.sliding {
            while let Some((at, amount)) = self.log.front() {
                if *at + self.rule.period > now {
                    break;
                }
                self.logged -= amount;
                self.log.pop_front();
            }
            return self.logged;
        }
        let number = self.number_at(now);
        if number == self.number { self.count } else { 0 }
    }

    /// Counts a use.
    pub fn add(&mut self, now: Duration, amount: u64) {
        let number = self.number_at(now);
        if number != self.number {
            self.number = number;
            self.count = 0;
        }
        self.count = self.count.saturating_add(amount);
        if self.rule.sliding {
            self.log.push_back((now, amount));
            self.logged = self.logged.saturating_add(amount);
        }
        match self.history.back_mut() {
            Some((last, sum)) if *last == number => *sum = sum.saturating_add(amount),
            _ => self.history.push_back((number, amount)),
        }
        if self.history.len() > HISTORY {
            self.history.pop_front();
        }
        self.peak = self.peak.max(self.used(now));
    }

    /// Takes back what was reserved at `at` and not used, if that is in the window still.
    pub fn take_back(&mut self, now: Duration, at: Duration, amount: u64) {
        if self.number_at(at) == self.number_at(now) && self.number == self.number_at(now) {
            self.count = self.count.saturating_sub(amount);
        }
        if let Some((last, sum)) = self.history.back_mut()
            && *last == self.rule.number_at(at)
        {
            *sum = sum.saturating_sub(amount);
        }
        if self.rule.sliding
            && let Some((_, logged)) = self.log.iter_mut().find(|(then, _)| *then == at)
        {
            let taken = amount.min(*logged);
            *logged -= taken;
            self.logged -= taken;
        }
    }

    /// Notes a request that met this limit.
    pub fn refuse(&mut self) {
        self.refused += 1;
    }

    /// What became of it until `now`.
    pub fn report(&mut self, now: Duration) -> WindowReport {
        let periods = self.history.iter().map(|(number, used)| {
            let number = u64::try_from(*number).unwrap_or(u64::MAX);
            (number, *used)
        });
        WindowReport {
            rule: self.rule,
            periods: periods.collect(),
            used: self.used(now),
            peak: self.peak,
            refused: self.refused,
        }
    }

    fn number_at(&self, now: Duration) -> u128 {
        self.rule.number_at(now)
    }
}

impl WindowRule {
    /// Which whole period a moment is in. What is before the first one is number 0.
    fn number_at(&self, now: Duration) -> u128 {
        let shift = self.period.saturating_sub(self.phase);
        (now + shift).as_nanos() / self.period.as_nanos().max(1)
    }
}

fn seconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn whole_periods_begin_where_the_phase_says() {
        let mut rule = WindowRule::new(Measure::Requests, 5, at(1000));
        rule.phase = at(300);
        let mut window = Window::new(rule);
        window.add(at(100), 2);
        assert_eq!(window.used(at(299)), 2);
        assert_eq!(window.used(at(300)), 0);
        window.add(at(1299), 3);
        assert_eq!(window.used(at(1299)), 3);
        assert_eq!(window.used(at(1300)), 0);
    }

    #[test]
    fn a_sliding_window_forgets_a_use_one_period_later() {
        let mut window = Window::new(WindowRule::new(Measure::Tokens, 5, at(1000)).sliding());
        window.add(at(900), 2);
        window.add(at(1100), 3);
        assert_eq!(window.used(at(1899)), 5);
        assert_eq!(window.used(at(1900)), 3);
        window.take_back(at(1950), at(1100), 2);
        assert_eq!(window.used(at(1950)), 1);
    }

    #[test]
    fn every_period_is_reported() {
        let mut window = Window::new(WindowRule::new(Measure::Requests, 5, at(1000)));
        for millis in [0, 10, 1000, 3000, 3999] {
            window.add(at(millis), 1);
        }
        window.refuse();
        let report = window.report(at(3999));
        assert_eq!(report.periods, [(1, 2), (2, 1), (4, 2)]);
        assert_eq!((report.used, report.peak, report.refused), (2, 2, 1));
    }
}
