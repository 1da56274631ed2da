//! Instants as whole nanoseconds since a lane was made, so that rates are integer arithmetic.

use std::time::{Duration, Instant};

/// Nanoseconds since an [`Epoch`].
pub(crate) type Nanos = u64;

pub(crate) const MILLISECOND: Nanos = 1_000_000;
pub(crate) const SECOND: Nanos = 1_000 * MILLISECOND;
pub(crate) const MINUTE: Nanos = 60 * SECOND;

/// Far enough away never to come.
pub(crate) const NEVER: Nanos = Nanos::MAX;

/// The zero of a time scale.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Epoch(Instant);

impl Epoch {
    pub(crate) fn new(now: Instant) -> Self {
        Self(now)
    }

    /// Callers on other threads may bring a slightly older reading; it counts as zero at least.
    pub(crate) fn nanos(self, now: Instant) -> Nanos {
        nanos(now.saturating_duration_since(self.0))
    }

    /// `None` for [`NEVER`] and whatever an `Instant` cannot hold.
    pub(crate) fn instant(self, at: Nanos) -> Option<Instant> {
        if at == NEVER {
            return None;
        }
        self.0.checked_add(Duration::from_nanos(at))
    }
}

pub(crate) fn nanos(duration: Duration) -> Nanos {
    Nanos::try_from(duration.as_nanos()).unwrap_or(NEVER)
}

/// A non-negative float as nanoseconds, bounded.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "bounded before the cast; a cast of NaN is zero"
)]
pub(crate) fn from_f64(nanos: f64) -> Nanos {
    nanos.clamp(0.0, 9e18) as Nanos
}
