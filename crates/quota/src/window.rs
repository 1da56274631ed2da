//! A sliding window for limits that are no lane's, such as those of one caller.

use std::time::{Duration, Instant};

use crate::lane::window::Window;
use crate::time::{Epoch, NEVER, nanos};

/// What was used in the last period, exactly; the window that lanes count with.
///
/// Its memory is bounded: uses that fall closer together than a 2048th of the period are one, dated
/// by the latest, so that it never forgets a use early.
///
/// ```
/// use std::time::{Duration, Instant};
/// use bailian_quota::SlidingWindow;
///
/// let now = Instant::now();
/// let mut minute = SlidingWindow::new(Duration::from_secs(60), now);
/// minute.add(now, 3);
/// assert_eq!(minute.used(now + Duration::from_secs(59)), 3);
/// assert_eq!(minute.freed_at(now, 1), Some(now + Duration::from_secs(60)));
/// assert_eq!(minute.used(now + Duration::from_secs(60)), 0);
/// ```
#[derive(Debug, Clone)]
pub struct SlidingWindow {
    epoch: Epoch,
    window: Window,
}

impl SlidingWindow {
    /// An empty window; instants before `now` count as `now`.
    pub fn new(period: Duration, now: Instant) -> Self {
        Self {
            epoch: Epoch::new(now),
            window: Window::new(nanos(period)),
        }
    }

    /// What was used in the period that ends now.
    pub fn used(&mut self, now: Instant) -> u64 {
        self.window.used(self.epoch.nanos(now))
    }

    /// Counts a use. Calls come in the order of their instants.
    pub fn add(&mut self, now: Instant, amount: u64) {
        self.window.add(self.epoch.nanos(now), amount);
    }

    /// Takes back what was added at an instant and turned out not to be used. What has left the
    /// window is gone: then nothing is taken back, since all that is left belongs to others.
    pub fn take_back(&mut self, now: Instant, added_at: Instant, amount: u64) {
        let (now, added_at) = (self.epoch.nanos(now), self.epoch.nanos(added_at));
        self.window.take_back(now, added_at, amount);
    }

    /// When so much of what is used now will have left the window; `None` for more than is used.
    pub fn freed_at(&mut self, now: Instant, amount: u64) -> Option<Instant> {
        match self.window.freed_at(self.epoch.nanos(now), amount) {
            NEVER => None,
            at => self.epoch.instant(at),
        }
    }
}
