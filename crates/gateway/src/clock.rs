//! The one source of time of the gateway.

use std::fmt;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Where the gateway reads the time, so that tests can decide it.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// A point on a clock that never goes back, for durations.
    fn now(&self) -> Instant;

    /// Wall time in milliseconds since the Unix epoch, for ids and records.
    fn unix_millis(&self) -> u64;
}

/// The machine's own clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn unix_millis(&self) -> u64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| {
                u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
            })
    }
}
