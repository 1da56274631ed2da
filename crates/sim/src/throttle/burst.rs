//! Sudden rises: the last second beside the ten before it.
//!
//! How the service notices them is not documented; the figures are an assumption of the catalogue.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// When a rise is sudden.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct BurstRule {
    /// The last second is compared with so many before it.
    pub memory_seconds: u64,
    /// So many requests in a second are never too many.
    pub least: f64,
    /// More than so many times the usual rate is sudden.
    pub factor: f64,
    /// Below this part of the limit nothing is sudden.
    pub share: f64,
}

impl Default for BurstRule {
    fn default() -> Self {
        Self {
            memory_seconds: 10,
            least: 5.0,
            factor: 2.0,
            share: 0.2,
        }
    }
}

/// The last seconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Burst {
    seconds: VecDeque<(u64, u64)>,
}

impl Burst {
    /// Whether one request more makes this second too busy beside a limit per second.
    pub(super) fn is_sudden(&mut self, rule: &BurstRule, now: Duration, per_second: f64) -> bool {
        let second = now.as_secs();
        while self
            .seconds
            .front()
            .is_some_and(|(at, _)| at + rule.memory_seconds < second)
        {
            self.seconds.pop_front();
        }
        let (now, before) = self.seconds.iter().fold((1, 0), |(now, before), (at, n)| {
            if *at == second {
                (now + n, before)
            } else {
                (now, before + n)
            }
        });
        let usual = before as f64 / rule.memory_seconds.max(1) as f64;
        let now = now as f64;
        now > (rule.factor * usual).max(rule.least) && now > rule.share * per_second
    }

    pub(super) fn add(&mut self, now: Duration) {
        let second = now.as_secs();
        match self.seconds.back_mut() {
            Some((at, count)) if *at == second => *count += 1,
            _ => self.seconds.push_back((second, 1)),
        }
    }
}
