//! Wall time for what ends at a moment: it does not go back when the clock is set back.
//!
//! Otherwise what has expired would open again, and a day whose budget was counted to its end
//! would begin anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bailian_tenants::Now;

use crate::clock::Clock;

/// A larger step back is the correction of a clock that was far off: it is believed at once, since
/// nothing could expire rightly before.
const LARGEST_STEP: Duration = Duration::from_hours(24);

/// From here on it is worth a word: the clocks of machines are never set more exactly.
const WORTH_TELLING: Duration = Duration::from_secs(2);

/// Shared by all that decide by the date.
#[derive(Clone, Debug)]
pub(crate) struct SteadyClock {
    clock: Arc<dyn Clock>,
    reached: Arc<Reached>,
}

#[derive(Debug, Default)]
struct Reached {
    /// The latest moment that the clock showed, in milliseconds since the Unix epoch.
    latest: AtomicU64,
    told: AtomicBool,
}

impl SteadyClock {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let steady = Self {
            clock,
            reached: Arc::default(),
        };
        steady.unix_millis();
        steady
    }

    /// The moment, on both clocks.
    pub(super) fn now(&self) -> Now {
        let millis = i64::try_from(self.unix_millis()).unwrap_or(i64::MAX);
        Now {
            wall: jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::UNIX_EPOCH),
            monotonic: self.clock.now(),
        }
    }

    /// Milliseconds since the Unix epoch; while the clock is behind, the latest that it showed.
    pub(crate) fn unix_millis(&self) -> u64 {
        let read = self.clock.unix_millis();
        let latest = self.reached.latest.fetch_max(read, Ordering::Relaxed);
        if Duration::from_millis(latest.saturating_sub(read)) > LARGEST_STEP {
            self.reached.latest.store(read, Ordering::Relaxed);
            return read;
        }
        latest.max(read)
    }

    /// How far the clock is behind the latest moment that it showed; zero as long as nobody sets it
    /// back.
    pub(crate) fn behind(&self) -> Duration {
        let behind = self.unix_millis().saturating_sub(self.clock.unix_millis());
        let behind = Duration::from_millis(behind);
        if behind < WORTH_TELLING {
            Duration::ZERO
        } else {
            behind
        }
    }

    /// Logs that the clock was set back, and that it has caught up, once each.
    pub(super) fn tell(&self) {
        let behind = self.behind();
        let is_behind = !behind.is_zero();
        if self.reached.told.swap(is_behind, Ordering::Relaxed) == is_behind {
            return;
        }
        if is_behind {
            tracing::warn!(
                seconds = behind.as_secs(),
                "the machine's clock was set back; what has expired stays so until it has caught up"
            );
        } else {
            tracing::info!("the machine's clock has caught up");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[derive(Debug)]
    struct Set(AtomicU64);

    impl Clock for Set {
        fn now(&self) -> Instant {
            Instant::now()
        }

        fn unix_millis(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }
    }

    const HOUR: u64 = 3_600_000;

    fn clock(at: u64) -> (Arc<Set>, SteadyClock) {
        let clock = Arc::new(Set(AtomicU64::new(at)));
        (Arc::clone(&clock), SteadyClock::new(clock))
    }

    #[test]
    fn a_clock_that_is_set_back_stands_until_it_has_caught_up() {
        let (set, steady) = clock(100 * HOUR);
        for (shown, steadily, behind) in [
            (101, 101, 0),
            (100, 101, 3_600),
            (101, 101, 0),
            (102, 102, 0),
        ] {
            set.0.store(shown * HOUR, Ordering::Relaxed);
            assert_eq!(steady.unix_millis(), steadily * HOUR);
            assert_eq!(steady.behind().as_secs(), behind);
        }
    }

    #[test]
    fn a_clock_that_was_far_ahead_is_believed_when_it_is_set_right() {
        let (set, steady) = clock(100 * HOUR);
        set.0.store(100_000 * HOUR, Ordering::Relaxed);
        assert_eq!(steady.unix_millis(), 100_000 * HOUR);
        set.0.store(101 * HOUR, Ordering::Relaxed);
        assert_eq!(steady.unix_millis(), 101 * HOUR);
        assert_eq!(steady.behind(), Duration::ZERO);
    }

    #[test]
    fn what_every_clock_does_now_and_then_is_not_told() {
        let (set, steady) = clock(100 * HOUR);
        set.0.store(100 * HOUR - 900, Ordering::Relaxed);
        assert_eq!(steady.unix_millis(), 100 * HOUR);
        assert_eq!(steady.behind(), Duration::ZERO);
    }
}
