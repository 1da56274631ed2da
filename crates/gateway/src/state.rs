//! What all runtimes of a gateway share.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::account::Account;
use crate::accounting::Accounting;
use crate::admin::AdminToken;
use crate::cache::Cache;
use crate::clock::Clock;
use crate::config::{Limits, Repairs, Timeouts};
use crate::keys::{KeyStore, Owner, Peer};
use crate::metrics::Metrics;
use crate::models::ModelList;
use crate::objects::Objects;
use crate::pacing::Pacing;
use crate::record::RequestId;
use crate::reload::ConfigStatus;
use crate::responses::Responses;
use crate::route::Routes;
use crate::telemetry::Telemetry;

/// Shared between all runtimes; immutable but for counters. A reload makes another one, which shares
/// what outlives the configuration.
pub(crate) struct State {
    pub(crate) accounts: Vec<Account>,
    pub(crate) routes: Routes,
    pub(crate) repairs: Repairs,
    pub(crate) keys: Arc<dyn KeyStore>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Keys, budgets, prices and the ledger; `None` where the gateway keeps nothing.
    pub(crate) accounting: Option<Arc<Accounting>>,
    pub(crate) limits: Limits,
    pub(crate) timeouts: Timeouts,
    pub(crate) metrics: Arc<Metrics>,
    /// Traces and metrics for a collector; `None` where none is configured.
    pub(crate) telemetry: Option<Telemetry>,
    pub(crate) models: ModelList,
    pub(crate) pacing: Pacing,
    /// Responses that were made over chat.
    pub(crate) responses: Arc<Responses>,
    /// Whose the things are that the service keeps.
    pub(crate) objects: Arc<Objects>,
    /// Whether a successor serves and clients shall go there.
    pub(crate) is_leaving: Arc<AtomicBool>,
    /// Answers that are kept for equal requests.
    pub(crate) cache: Option<Arc<Cache>>,
    /// What opens the admin endpoints; `None` keeps them closed.
    pub(crate) admin: Option<AdminToken>,
    /// Names under which the admin listener may be reached.
    pub(crate) admin_hosts: Vec<String>,
    /// Whether the admin paths have a listener of their own and are nowhere else.
    pub(crate) has_admin_listener: bool,
    /// How the last reload went.
    pub(crate) config_status: Arc<ConfigStatus>,
}

impl State {
    /// Who is behind a key that was presented. It takes as long when there is none.
    ///
    /// `request` is what the log says of a refusal, whose reason no caller learns.
    pub(crate) fn authenticate(
        &self,
        key: Option<&[u8]>,
        peer: Peer,
        request: RequestId,
    ) -> Option<Owner> {
        let presented = key.unwrap_or_default();
        let owner = match &self.accounting {
            Some(accounting) => accounting
                .authenticate(presented, peer.address(), request)
                .map(Owner::of_caller),
            None => self.keys.authenticate(presented).map(Owner::of_key),
        };
        // Whatever a store of keys makes of nothing at all.
        owner.filter(|_| key.is_some())
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("accounts", &self.accounts)
            .field("keys", &self.keys)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
