//! How several replicas would divide a limit.

use super::refusal::LimitKind;
use crate::id::NodeId;

/// How a limit stands on this replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Standing {
    /// Whose limit.
    pub node: NodeId,
    /// Which limit.
    pub kind: LimitKind,
    /// The whole limit, for all replicas together.
    pub limit: u64,
    /// What the ledger said was used before this replica started, by all of them.
    pub restored: u64,
    /// What this replica has used and reserved since.
    pub here: u64,
    /// What it would use and reserve with the request that asks.
    pub needed: u64,
}

/// Divides limits between replicas: each holds a slice of what is left and reserves inside it by
/// itself, so that no request waits for another machine.
///
/// This is the hook for a driver that leases slices from a common place, as lanes do with
/// `bailian_quota::share`. It learns from `needed` what a replica lacks, asks for more in its own
/// time and answers meanwhile with what it has. Without one, a replica has everything:
/// [`LocalOnly`].
pub trait BudgetShare: Send + Sync + 'static {
    /// How much of a limit this replica may have used and reserved since its start. Together all
    /// replicas may never be told more than `limit - restored`.
    ///
    /// Called under the tenant's lock for every limit of every request: it neither blocks nor calls
    /// the accounts back.
    fn allotted(&self, standing: &Standing) -> u64;
}

/// One replica that has every limit to itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalOnly;

impl BudgetShare for LocalOnly {
    fn allotted(&self, standing: &Standing) -> u64 {
        standing.limit.saturating_sub(standing.restored)
    }
}
