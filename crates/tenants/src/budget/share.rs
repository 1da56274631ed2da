//! How several replicas divide limits and budgets.
//!
//! Each replica holds a part of what is left and reserves inside it by itself, so that no request
//! waits for another machine. What a replica lacks it asks for; a request that came too early can be
//! tried again when the answer is there.
//!
//! * A budget has a [`Pot`]: what was spent, and who holds how much of the rest.
//! * A limit of the moment is divided as a lane's is, by [`bailian_quota::share`].
//! * [`Holds`] is what a replica holds of all of them.

mod hold;
mod holds;
mod pot;
#[cfg(feature = "redis")]
pub mod redis;

use std::time::Instant;

pub(crate) use self::hold::Counted;
pub use self::holds::{Ask, AskWhat, HoldKey, Holds};
pub use self::pot::{Pot, PotAnswer, PotReport, PotTerms};
use super::refusal::LimitKind;
use crate::id::{NodeId, TenantId};

/// How a limit stands on this replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Standing {
    /// The tenant that the limit's node belongs to, or is.
    pub tenant: TenantId,
    /// Whose limit.
    pub node: NodeId,
    /// Which limit.
    pub kind: LimitKind,
    /// The number of a budget's period; 0 for other limits.
    pub index: i64,
    /// The whole limit, for all replicas together.
    pub limit: u64,
    /// What others have used, as far as is known: before this replica started, by the ledger, and
    /// since, by what replicas tell each other.
    pub restored: u64,
    /// What this replica has used and reserved since.
    pub here: u64,
    /// What it would use and reserve with the request that asks.
    pub needed: u64,
    /// When that is.
    pub now: Instant,
}

/// Divides limits between replicas.
///
/// It learns from `needed` what a replica lacks, asks for more in its own time and answers meanwhile
/// with what it has. A replica that is alone has everything: [`LocalOnly`].
pub trait BudgetShare: Send + Sync + 'static {
    /// How much of a limit this replica may have used and reserved since its start. Together all
    /// replicas may never be told more than there is.
    ///
    /// Called under the tenant's lock for every limit of every request: it neither blocks nor calls
    /// the accounts back.
    fn allotted(&self, standing: &Standing) -> u64;

    /// Whether this replica may be told more in a moment, so that a request which lacks something is
    /// worth being tried again.
    fn may_grow(&self, _: &Standing) -> bool {
        false
    }

    /// Whether the other replicas can be asked.
    fn is_reachable(&self) -> bool {
        true
    }
}

/// One replica that has every limit to itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalOnly;

impl BudgetShare for LocalOnly {
    fn allotted(&self, standing: &Standing) -> u64 {
        standing.limit.saturating_sub(standing.restored)
    }
}
