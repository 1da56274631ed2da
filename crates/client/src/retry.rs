//! When a failed request is sent again, and how long it waits before that.

mod hints;

use std::time::Duration;

use bailian_wire::error::Backoff;

pub(crate) use hints::ServerHints;

/// Used where neither the user nor the error catalogue names a first pause. As in the official clients.
const DEFAULT_BASE_DELAY: Duration = Duration::from_millis(500);

/// When and how often failed requests are repeated.
///
/// What is retried: throttling (requests, tokens, bursts), failures and overload of the service,
/// and lost or refused connections. What is not: the caller's mistakes, missing permissions,
/// refused content, and everything about billing, whatever its HTTP status. A stream is retried
/// only before its first event.
///
/// Pauses grow by the error's own rule and are drawn at random between zero and that length (full
/// jitter). A pause that the server asks for is kept as asked, or, where it is longer than
/// [`max_server_delay`](Self::max_server_delay) or the deadline, the call fails at once.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// How often a request is repeated at most. Default 2, as in the official clients.
    pub max_retries: u32,
    /// The longest first pause. `None` (the default) takes it from the error catalogue, which knows
    /// that a token throttle lasts longer than a hiccup; 0.5 s where that says nothing.
    pub base_delay: Option<Duration>,
    /// The longest pause of the client's own choice. Default 30 s.
    pub max_delay: Duration,
    /// The longest pause that the server may ask for. Default 2 min: throttle windows last one.
    pub max_server_delay: Duration,
    /// Whether a request that was sent but got no answer is repeated. On by default, as in the
    /// official clients, though the lost one may have been billed; see
    /// [`Attempt::possibly_billed`](crate::Attempt::possibly_billed).
    pub retry_unanswered: bool,
}

// === impl RetryPolicy ===

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_retries: 2,
            base_delay: None,
            max_delay: Duration::from_secs(30),
            max_server_delay: Duration::from_mins(2),
            retry_unanswered: true,
        }
    }
}

impl RetryPolicy {
    /// A policy that sends every request once.
    pub fn never() -> Self {
        Self::default().with_max_retries(0)
    }

    /// Replaces the number of repetitions.
    pub fn with_max_retries(mut self, retries: u32) -> Self {
        self.max_retries = retries;
        self
    }

    /// Replaces the longest first pause, above the error catalogue.
    pub fn with_base_delay(mut self, delay: Duration) -> Self {
        self.base_delay = Some(delay);
        self.max_delay = self.max_delay.max(delay);
        self
    }

    /// Replaces the longest pause that the server may ask for.
    pub fn with_max_server_delay(mut self, delay: Duration) -> Self {
        self.max_server_delay = delay;
        self
    }

    /// Whether a request that was sent but got no answer is repeated.
    pub fn with_retry_unanswered(mut self, retry: bool) -> Self {
        self.retry_unanswered = retry;
        self
    }

    /// The longest pause before repetition number `retry` (from 0), of which jitter takes a part.
    pub(crate) fn window(&self, retry: u32, backoff: Option<Backoff>) -> Duration {
        let named = backoff.map(|backoff| backoff.initial);
        let base = self.base_delay.or(named).unwrap_or(DEFAULT_BASE_DELAY);
        let factor = backoff.map_or(2.0, |backoff| backoff.factor.max(1.0));
        // Above 2^32 every window is at its limit anyway.
        let exponent = i32::try_from(retry.min(32)).unwrap_or(32);
        let seconds = base.as_secs_f64() * factor.powi(exponent);
        let limit = match backoff {
            Some(backoff) if self.base_delay.is_none() => backoff.max,
            _ => self.max_delay,
        };
        Duration::try_from_secs_f64(seconds)
            .unwrap_or(limit)
            .min(limit)
    }
}

/// A part of the window, drawn evenly.
pub(crate) fn jitter(window: Duration, random: &mut fastrand::Rng) -> Duration {
    window.mul_f64(random.f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_doubles_up_to_its_limit() {
        let policy = RetryPolicy::default().with_base_delay(Duration::from_secs(1));
        let windows: Vec<u64> = (0..8)
            .map(|retry| policy.window(retry, None).as_secs())
            .collect();
        assert_eq!(windows, [1, 2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(RetryPolicy::default().window(0, None), DEFAULT_BASE_DELAY);
        assert_eq!(
            RetryPolicy::default().window(u32::MAX, None),
            Duration::from_secs(30)
        );
    }

    #[test]
    fn jitter_stays_inside_the_window_and_uses_all_of_it() {
        let mut random = fastrand::Rng::with_seed(7);
        let window = Duration::from_secs(10);
        let drawn: Vec<Duration> = (0..1000).map(|_| jitter(window, &mut random)).collect();
        assert!(drawn.iter().all(|pause| *pause <= window));
        assert!(drawn.iter().any(|pause| *pause < window / 20));
        assert!(drawn.iter().any(|pause| *pause > window * 19 / 20));
    }
}
