//! One runtime's share of a gateway: the shared state and an upstream pool of its own.

use std::sync::Arc;

use crate::state::State;
use crate::upstream::Upstream;

/// Serves requests on one runtime.
#[derive(Clone, Debug)]
pub(crate) struct Worker {
    pub(crate) state: Arc<State>,
    pub(crate) upstream: Arc<dyn Upstream>,
}
