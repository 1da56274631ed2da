//! What the gateways of a test share.

use bailian_sim::{RunningSimulator, SimConfig, Simulator};
use tokio::sync::{Mutex, MutexGuard};

use crate::server::Server;

/// One test after the other: limits of half a second leave no room for what runs beside.
static ALONE: Mutex<()> = Mutex::const_new(());

/// Upstream and Redis, for one test at a time.
pub(crate) struct Shared {
    pub(crate) simulator: RunningSimulator,
    redis: Option<Server>,
    port: u16,
    _alone: MutexGuard<'static, ()>,
}

impl Shared {
    pub(crate) async fn new() -> Self {
        Self::with(SimConfig::default()).await
    }

    pub(crate) async fn with(simulated: SimConfig) -> Self {
        let alone = ALONE.lock().await;
        let simulator = Simulator::new(simulated).spawn().await.unwrap();
        let redis = Server::start();
        Self {
            simulator,
            port: redis.port(),
            redis: Some(redis),
            _alone: alone,
        }
    }

    /// Redis's address.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Ends Redis, with all that is in it.
    pub(crate) fn lose_redis(&mut self) {
        self.redis = None;
    }

    /// Starts an empty one at the same place.
    pub(crate) fn restart_redis(&mut self) {
        let back = (0..50).find_map(|_| Server::start_at(self.port));
        self.redis = Some(back.expect("the port is free again"));
    }
}
