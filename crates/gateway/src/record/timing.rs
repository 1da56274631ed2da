//! How much of a request's time was the gateway's own.

use std::time::{Duration, Instant};

/// Time for which a request waited for others: for its caller's body, for its turn, for upstream.
#[derive(Debug, Default)]
pub(super) struct Elsewhere {
    since: Option<Instant>,
    total: Duration,
}

impl Elsewhere {
    /// It waits from now on. What waits already goes on waiting.
    pub(super) fn begin(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    /// It goes on.
    pub(super) fn end(&mut self, now: Instant) {
        if let Some(since) = self.since.take() {
            self.total += now.saturating_duration_since(since);
        }
    }

    /// Whether it waits now.
    pub(super) fn is_open(&self) -> bool {
        self.since.is_some()
    }

    /// How long it has waited until `now`, a wait that has not ended with it.
    pub(super) fn total(&self, now: Instant) -> Duration {
        let open = self
            .since
            .map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        self.total + open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_add_up_and_an_open_one_counts() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut elsewhere = Elsewhere::default();
        elsewhere.begin(at(10));
        elsewhere.begin(at(15));
        elsewhere.end(at(30));
        elsewhere.end(at(40));
        assert_eq!(elsewhere.total(at(50)), Duration::from_millis(20));
        elsewhere.begin(at(60));
        assert_eq!(elsewhere.total(at(100)), Duration::from_millis(60));
    }
}
