//! Whether the store of keys answers, for those who look.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::relay::Chain;

/// Shared by those who ask the store and those who tell of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct StoreHealth(Arc<Mutex<Option<Instant>>>);

impl StoreHealth {
    /// Notes how a question to the store ended, and logs the first failure and the end of all.
    pub(crate) fn note<E: std::error::Error + 'static>(
        &self,
        now: Instant,
        answer: Result<(), &E>,
    ) {
        let mut failing_since = self.0.lock();
        match (answer, *failing_since) {
            (Err(error), None) => {
                *failing_since = Some(now);
                drop(failing_since);
                tracing::warn!(
                    error = %Chain(error),
                    "the store of keys does not answer; keys stay as they were"
                );
            }
            (Ok(()), Some(since)) => {
                *failing_since = None;
                drop(failing_since);
                let seconds = now.saturating_duration_since(since).as_secs();
                tracing::info!(seconds, "the store of keys answers again");
            }
            (Err(_), Some(_)) | (Ok(()), None) => {}
        }
    }

    /// How long the store has not answered; `None` while it does.
    pub(crate) fn failing_for(&self, now: Instant) -> Option<Duration> {
        let since = *self.0.lock();
        since.map(|since| now.saturating_duration_since(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_fails_from_its_first_error_to_its_next_answer() {
        let health = StoreHealth::default();
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        assert_eq!(health.failing_for(at(0)), None);
        let error = std::io::Error::other("gone");
        health.note(at(1), Err(&error));
        health.note(at(2), Err(&error));
        assert_eq!(health.failing_for(at(4)), Some(Duration::from_secs(3)));
        health.note::<std::io::Error>(at(5), Ok(()));
        assert_eq!(health.failing_for(at(6)), None);
    }
}
