//! What all runtimes of a gateway share.

use std::fmt;
use std::sync::Arc;

use crate::account::Account;
use crate::admin::AdminToken;
use crate::cache::Cache;
use crate::clock::Clock;
use crate::config::{Limits, Repairs, Timeouts};
use crate::keys::KeyStore;
use crate::metrics::Metrics;
use crate::models::ModelList;
use crate::pacing::Pacing;
use crate::responses::Responses;
use crate::route::Routes;

/// Shared between all runtimes; immutable but for counters.
pub(crate) struct State {
    pub(crate) accounts: Vec<Account>,
    pub(crate) routes: Routes,
    pub(crate) repairs: Repairs,
    pub(crate) keys: Arc<dyn KeyStore>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) limits: Limits,
    pub(crate) timeouts: Timeouts,
    pub(crate) metrics: Metrics,
    pub(crate) models: ModelList,
    pub(crate) pacing: Pacing,
    /// Responses that were made over chat.
    pub(crate) responses: Responses,
    /// Answers that are kept for equal requests.
    pub(crate) cache: Option<Arc<Cache>>,
    /// What opens the admin endpoints; `None` keeps them closed.
    pub(crate) admin: Option<AdminToken>,
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
