//! A retry budget shared by everything that calls the same service.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use thiserror::Error;

/// One token in the unit the bucket counts in. Time refills in whole nanoseconds, so counting
/// billionths of a token keeps `elapsed × rate` exact.
const TOKEN: u64 = 1_000_000_000;

/// How large a [`RetryBudget`] is and what fills and empties it. All values are in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryBudgetLimits {
    /// Tokens in a full bucket, and at the start. Default 500: a hundred retries in a burst.
    pub capacity: u32,
    /// Price of a retry after the service answered with an error. Default 5.
    pub retry_cost: u32,
    /// Price of a retry after a timeout or a lost connection. Default 10: such requests may still
    /// be running on the other side, so repeating them weighs on a sick service twice.
    pub timeout_cost: u32,
    /// Tokens that a successful request gives back. Default 1: with a full outage behind it, a
    /// client may retry every fifth request.
    pub success_refill: u32,
    /// Tokens that come back per second without any success. Default 1: even a client that only
    /// fails gets one retry every five seconds, and so notices that the service is back.
    pub refill_per_second: u32,
}

/// What kind of failure is being retried; it decides the price.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetryCost {
    /// The service answered, with an error worth retrying.
    Answered,
    /// No answer came: timeout, reset, refused connection.
    Unanswered,
}

/// The budget cannot pay for this retry now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the retry budget is used up")]
pub struct BudgetExhausted {
    /// When time alone would have refilled enough; `None` if it never will.
    pub until: Option<Instant>,
}

/// A token bucket that every retry draws from.
///
/// Cheap to share behind an `Arc`; all methods take `&self`.
///
/// ```
/// use std::time::Instant;
/// use bailian_quota::{RetryBudget, RetryBudgetLimits, RetryCost};
///
/// let now = Instant::now();
/// let budget = RetryBudget::new(RetryBudgetLimits::default(), now);
/// assert!(budget.try_withdraw(RetryCost::Answered, now).is_ok());
/// budget.deposit_success(now);
/// ```
#[derive(Debug)]
pub struct RetryBudget {
    limits: RetryBudgetLimits,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy)]
struct State {
    /// Billionths of a token.
    balance: u64,
    refilled_at: Instant,
}

// === impl RetryBudgetLimits ===

impl Default for RetryBudgetLimits {
    fn default() -> Self {
        Self {
            capacity: 500,
            retry_cost: 5,
            timeout_cost: 10,
            success_refill: 1,
            refill_per_second: 1,
        }
    }
}

impl RetryBudgetLimits {
    fn full(&self) -> u64 {
        u64::from(self.capacity) * TOKEN
    }

    fn price(&self, cost: RetryCost) -> u64 {
        let tokens = match cost {
            RetryCost::Answered => self.retry_cost,
            RetryCost::Unanswered => self.timeout_cost,
        };
        u64::from(tokens) * TOKEN
    }
}

// === impl RetryBudget ===

impl RetryBudget {
    /// Creates a full budget.
    pub fn new(limits: RetryBudgetLimits, now: Instant) -> Self {
        Self {
            state: Mutex::new(State {
                balance: limits.full(),
                refilled_at: now,
            }),
            limits,
        }
    }

    /// Pays for one retry.
    ///
    /// # Errors
    /// [`BudgetExhausted`] when the balance is too small; nothing is taken then.
    pub fn try_withdraw(&self, cost: RetryCost, now: Instant) -> Result<(), BudgetExhausted> {
        let price = self.limits.price(cost);
        let mut state = self.state.lock();
        state.refill(&self.limits, now);
        if let Some(rest) = state.balance.checked_sub(price) {
            state.balance = rest;
            return Ok(());
        }
        let missing = price - state.balance;
        let until = if price > self.limits.full() || self.limits.refill_per_second == 0 {
            None
        } else {
            let wait = missing.div_ceil(u64::from(self.limits.refill_per_second));
            state.refilled_at.checked_add(Duration::from_nanos(wait))
        };
        Err(BudgetExhausted { until })
    }

    /// Notes a successful request, which gives back [`RetryBudgetLimits::success_refill`].
    pub fn deposit_success(&self, now: Instant) {
        let mut state = self.state.lock();
        state.refill(&self.limits, now);
        let deposit = u64::from(self.limits.success_refill) * TOKEN;
        state.balance = state
            .balance
            .saturating_add(deposit)
            .min(self.limits.full());
    }

    /// Whole tokens available now.
    pub fn balance(&self, now: Instant) -> u64 {
        let mut state = self.state.lock();
        state.refill(&self.limits, now);
        state.balance / TOKEN
    }
}

impl State {
    fn refill(&mut self, limits: &RetryBudgetLimits, now: Instant) {
        // Callers on different threads may arrive with slightly older readings; time never runs back.
        let elapsed = now.saturating_duration_since(self.refilled_at);
        if elapsed.is_zero() {
            return;
        }
        self.refilled_at = now;
        let gained = elapsed
            .as_nanos()
            .saturating_mul(u128::from(limits.refill_per_second));
        let gained = u64::try_from(gained).unwrap_or(u64::MAX);
        self.balance = self.balance.saturating_add(gained).min(limits.full());
    }
}
