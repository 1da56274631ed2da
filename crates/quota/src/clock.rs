//! Where the drivers take the time from.

use std::fmt;
use std::time::Instant;

/// A source of the time. The pure core takes the time as an argument; only the drivers ask one.
pub trait Clock: Send + Sync + fmt::Debug + 'static {
    /// The time now; never earlier than an earlier answer.
    fn now(&self) -> Instant;
}

/// The operating system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }
}
