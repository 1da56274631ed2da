//! One lane's limits shared by many replicas, as pure arithmetic.
//!
//! Every limit is divided: each replica holds an *allotment*, a whole number of the limit's amount,
//! and paces inside it by itself with its own exact sliding window, so that a request never waits
//! for another machine. A few times a second a replica *renews*: it reports what it keeps, has used
//! and would use, and is told its new allotment.
//!
//! What makes this safe: the [`Ledger`] counts a replica with the greatest of what it
//! keeps, what it is told and what it has used in the last period. Allotments grow only out of what
//! nobody is counted with, and what a replica is to give up is free only when the replica itself
//! has reported that it keeps less. So in no period do all replicas together start more than the
//! amount, in whatever order messages come and whichever are lost.
//!
//! Leases end by themselves. A replica that is gone goes on counting for what may still be in the
//! service's window, less and less until a period has passed. One that was only cut off goes on with
//! its last allotment, so that together they can exceed the amount by that one lease at most.

mod fill;
mod ledger;
#[cfg(feature = "redis")]
pub mod redis;

use std::fmt;
use std::time::Duration;

pub use self::ledger::Ledger;
use crate::limit::{Layer, Limit, Measure};

/// When leases end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How long an allotment lasts without renewal: many renewals, since one lost packet or a short
    /// pause must not cost a replica its share.
    pub lease: Duration,
    /// How long a ledger that was lost, or that nobody could reach, lets replicas only claim what
    /// they hold already: longer than replicas take to come back.
    pub grace: Duration,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(2),
            grace: Duration::from_secs(3),
        }
    }
}

/// Which limit of a lane is meant; the same in all replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub struct LimitKey {
    /// What is counted.
    pub measure: Measure,
    /// Whose count it is.
    pub layer: Layer,
    /// The window; zero for what runs at once.
    pub period: Duration,
}

impl LimitKey {
    /// A key of its parts.
    pub fn new(measure: Measure, layer: Layer, period: Duration) -> Self {
        Self {
            measure,
            layer,
            period,
        }
    }

    /// The key of a limit.
    pub fn of(limit: &Limit) -> Self {
        Self {
            measure: limit.measure,
            layer: limit.layer,
            period: limit.period,
        }
    }
}

impl fmt::Display for LimitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (layer, measure) = (self.layer.as_str(), self.measure.as_str());
        write!(f, "{layer} {measure} {}ms", self.period.as_millis())
    }
}

/// What is believed of a whole limit, as all replicas agree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Belief {
    /// What all replicas together may use per period now; `None` while nothing limits them.
    pub amount: Option<u64>,
    /// What the limit is taken to be when nobody else uses it.
    pub known: Option<u64>,
    /// Rises with every change that somebody made. A change counts only if it was made knowing the
    /// version before it.
    pub version: u64,
}

/// What a replica says about one limit when it renews.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimitReport {
    /// Which limit.
    pub key: LimitKey,
    /// What the replica believes of the whole limit.
    pub belief: Belief,
    /// The allotment that it keeps, and will keep until it is told another.
    pub kept: u64,
    /// Used within the last period, or running now, by its own count.
    pub used: u64,
    /// What it would use per period if it could: what it used and what waits.
    pub wanted: u64,
    /// The most that the next waiting request takes at once; 0 when none waits.
    pub need: u64,
}

impl LimitReport {
    /// A report of a replica that keeps and wants nothing.
    pub fn new(key: LimitKey, belief: Belief) -> Self {
        Self {
            key,
            belief,
            kept: 0,
            used: 0,
            wanted: 0,
            need: 0,
        }
    }
}

/// What a replica reports of a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Renewal {
    /// Rises with every renewal of a replica; a message that comes late is ignored.
    pub sequence: u64,
    /// How much it counts beside the others, such as the weights of its tenants that wait.
    pub weight: u64,
    /// One for each limit.
    pub limits: Vec<LimitReport>,
}

impl Renewal {
    /// A renewal of one lane's limits.
    pub fn new(sequence: u64, weight: u64, limits: Vec<LimitReport>) -> Self {
        Self {
            sequence,
            weight,
            limits,
        }
    }
}

/// What a replica may use of one limit until its next renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Allotment {
    /// Which limit.
    pub key: LimitKey,
    /// Its own part of the amount. It may be below what it has used already: then nothing starts
    /// until enough has left the window.
    pub limit: u64,
    /// What all agree on.
    pub belief: Belief,
    /// What the others have used within the last period, as far as they reported.
    pub others_used: u64,
}

/// The answer to a [`Renewal`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Allotments {
    /// Replicas that share the lane, this one with them.
    pub replicas: u64,
    /// Whether the ledger only lets replicas claim what they hold, after it was lost.
    pub in_grace: bool,
    /// One for each limit that was reported.
    pub limits: Vec<Allotment>,
}
