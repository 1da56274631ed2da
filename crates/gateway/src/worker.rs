//! One runtime's share of a gateway: the shared state and an upstream pool of its own.

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::extract::FromRef;

use crate::state::State;
use crate::upstream::Upstream;

/// Serves one request, under the configuration that was in force when the request began.
#[derive(Clone, Debug)]
pub(crate) struct Worker {
    pub(crate) state: Arc<State>,
    pub(crate) upstream: Arc<dyn Upstream>,
}

/// Makes the workers of one runtime.
#[derive(Clone, Debug)]
pub(crate) struct Workers {
    /// What is in force; replaced as a whole by a reload.
    pub(crate) current: Arc<ArcSwap<State>>,
    pub(crate) upstream: Arc<dyn Upstream>,
}

impl Workers {
    /// A worker for what begins now. Neither waits nor allocates.
    pub(crate) fn worker(&self) -> Worker {
        Worker {
            state: self.state(),
            upstream: Arc::clone(&self.upstream),
        }
    }

    /// What is in force now.
    pub(crate) fn state(&self) -> Arc<State> {
        self.current.load_full()
    }
}

impl FromRef<Workers> for Worker {
    fn from_ref(workers: &Workers) -> Self {
        workers.worker()
    }
}
