//! Limits per account and model: fixed windows for requests and tokens, and a burst detector.
//!
//! How the service counts is not documented; the rules here are those that fit its examples.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::config::LimitRule;
use crate::rejection::Rejection;

/// From so many tokens per minute on, they are counted in short windows.
const SHORT_WINDOW_FROM: u64 = 600_000;

/// The burst detector compares the last second with so many seconds before it.
const BURST_MEMORY: u64 = 10;

/// Fewer requests in a second are never a burst.
const SMALLEST_BURST: u64 = 5;

/// The state of all limits.
#[derive(Debug)]
pub(crate) struct Throttle {
    started: Instant,
    lanes: Mutex<HashMap<(String, String), Arc<Lane>>>,
}

/// What one account used of one model.
#[derive(Debug, Default)]
struct Lane {
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    requests: Window,
    tokens: Window,
    /// Seconds with requests, and how many.
    seconds: VecDeque<(u64, u64)>,
}

#[derive(Debug, Default)]
struct Window {
    number: u128,
    count: u64,
}

impl Window {
    /// The count of the window that `now` is in.
    fn at(&mut self, now: Duration, length: Duration) -> &mut u64 {
        let number = now.as_nanos() / length.as_nanos().max(1);
        if number != self.number {
            *self = Self { number, count: 0 };
        }
        &mut self.count
    }
}

/// Takes the output tokens of an admitted request.
#[derive(Clone, Debug)]
pub(crate) struct Meter {
    lane: Arc<Lane>,
    window: Duration,
    started: Instant,
}

impl Meter {
    /// Counts tokens where they are made.
    pub(crate) fn charge(&self, tokens: u64) {
        if tokens > 0 {
            let now = self.started.elapsed();
            *self.lane.used.lock().tokens.at(now, self.window) += tokens;
        }
    }
}

impl Throttle {
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            lanes: Mutex::default(),
        }
    }

    /// Forgets what was used.
    pub(crate) fn clear(&self) {
        self.lanes.lock().clear();
    }

    /// Lets a request in under the first rule for its account and model, or says which limit it
    /// met. `None` means that no rule is about it.
    pub(crate) fn admit(
        &self,
        rules: &[LimitRule],
        account: &str,
        model: &str,
        input_tokens: impl FnOnce() -> u64,
    ) -> Result<Option<Meter>, Rejection> {
        let Some(rule) = rules.iter().find(|rule| rule.is_about(account, model)) else {
            return Ok(None);
        };
        let lane = {
            let mut lanes = self.lanes.lock();
            let lane = lanes.entry((account.to_owned(), model.to_owned()));
            Arc::clone(lane.or_default())
        };
        let now = self.started.elapsed();
        lane.used
            .lock()
            .admit(rule, now, input_tokens)
            .map_err(Rejection::documented)?;
        Ok(Some(Meter {
            lane,
            window: token_window(rule),
            started: self.started,
        }))
    }
}

impl Used {
    /// In the order burst, requests, tokens; a refused request counts nowhere.
    fn admit(
        &mut self,
        rule: &LimitRule,
        now: Duration,
        input_tokens: impl FnOnce() -> u64,
    ) -> Result<(), &'static str> {
        let second = now.as_secs();
        while self
            .seconds
            .front()
            .is_some_and(|(at, _)| at + BURST_MEMORY < second)
        {
            self.seconds.pop_front();
        }
        if rule.burst_protection && self.is_burst(second, rule.requests_per_minute) {
            return Err("Throttling.BurstRate");
        }
        if let Some(rpm) = rule.requests_per_minute {
            let (most, window) = request_window(rpm);
            if *self.requests.at(now, window) >= most {
                return Err("Throttling.RateQuota");
            }
        }
        if let Some(tpm) = rule.tokens_per_minute {
            let window = token_window(rule);
            let used = self.tokens.at(now, window);
            // One large request may overshoot: the output is not known yet.
            if *used >= tpm.saturating_mul(window.as_secs()) / 60 {
                return Err("Throttling.AllocationQuota");
            }
            *used += input_tokens();
        }
        self.requests.count += 1;
        match self.seconds.back_mut() {
            Some((at, count)) if *at == second => *count += 1,
            _ => self.seconds.push_back((second, 1)),
        }
        Ok(())
    }

    /// Whether one request more makes this second far busier than those before it.
    fn is_burst(&self, second: u64, rpm: Option<u64>) -> bool {
        let Some(rpm) = rpm.filter(|rpm| *rpm >= 60) else {
            return false;
        };
        let (now, before) = self.seconds.iter().fold((1, 0), |(now, before), (at, n)| {
            if *at == second {
                (now + n, before)
            } else {
                (now, before + n)
            }
        });
        let usual = before * 2 / BURST_MEMORY;
        now > usual.max(SMALLEST_BURST) && now * 5 > rpm / 60
    }
}

/// How many requests in which window.
fn request_window(rpm: u64) -> (u64, Duration) {
    if rpm >= 60 {
        (rpm / 60, Duration::from_secs(1))
    } else {
        (rpm, Duration::from_mins(1))
    }
}

fn token_window(rule: &LimitRule) -> Duration {
    match rule.tokens_per_minute {
        Some(tpm) if tpm >= SHORT_WINDOW_FROM => Duration::from_secs(6),
        _ => Duration::from_mins(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn rule(members: Value) -> LimitRule {
        serde_json::from_value(members).unwrap()
    }

    /// What requests of 10 input tokens get, at these milliseconds.
    fn outcomes(rule: &LimitRule, at: impl IntoIterator<Item = u64>) -> Vec<&'static str> {
        let mut used = Used::default();
        at.into_iter()
            .map(|ms| {
                used.admit(rule, Duration::from_millis(ms), || 10)
                    .err()
                    .unwrap_or("ok")
            })
            .collect()
    }

    #[test]
    fn many_requests_per_minute_are_counted_by_the_second() {
        let rule = rule(json!({ "requests_per_minute": 120 }));
        assert_eq!(
            outcomes(&rule, [0, 10, 990, 1000, 1999, 1999]),
            [
                "ok",
                "ok",
                "Throttling.RateQuota",
                "ok",
                "ok",
                "Throttling.RateQuota"
            ]
        );
    }

    #[test]
    fn few_requests_per_minute_are_counted_by_the_minute() {
        let rule = rule(json!({ "requests_per_minute": 2 }));
        assert_eq!(
            outcomes(&rule, [0, 1000, 59_000, 60_000]),
            ["ok", "ok", "Throttling.RateQuota", "ok"]
        );
    }

    #[test]
    fn tokens_are_admitted_while_some_are_left() {
        let rule = rule(json!({ "tokens_per_minute": 15 }));
        assert_eq!(
            outcomes(&rule, [0, 1, 2, 60_000]),
            ["ok", "ok", "Throttling.AllocationQuota", "ok"]
        );
    }

    #[test]
    fn a_sudden_second_is_a_burst_and_a_steady_rate_is_not() {
        let rule = rule(json!({ "requests_per_minute": 600, "burst_protection": true }));
        let sudden = outcomes(&rule, [0; 7]);
        assert_eq!(
            sudden[4..],
            ["ok", "Throttling.BurstRate", "Throttling.BurstRate"]
        );
        let growing = (0..12_000)
            .step_by(200)
            .chain((12_000..30_000).step_by(150));
        assert!(
            outcomes(&rule, growing)
                .iter()
                .all(|outcome| *outcome == "ok")
        );
    }

    #[test]
    fn accounts_and_models_have_limits_of_their_own() {
        let throttle = Throttle::new();
        let rules = [
            rule(json!({ "account": "a", "requests_per_minute": 1 })),
            rule(json!({ "model": "qwen-max", "requests_per_minute": 2 })),
        ];
        let admits = |account, model| throttle.admit(&rules, account, model, || 1).is_ok();
        assert!(admits("a", "qwen-plus") && !admits("a", "qwen-plus"));
        assert!(admits("a", "qwen-max") && !admits("a", "qwen-max"));
        assert!(admits("b", "qwen-max") && admits("b", "qwen-max") && !admits("b", "qwen-max"));
        assert!((0..10).all(|_| admits("b", "qwen-plus")));
        throttle.clear();
        assert!(admits("a", "qwen-plus"));
    }
}
