//! A gateway of several that share a store, and what it says of the store.

use std::time::{Duration, Instant};

use bailian_gateway::Config;
use bailian_sim::RunningSimulator;
use http::StatusCode;
use serde_json::Value;

use crate::support::{Running, get, read_json, send, start};

/// How long something is waited for that has to come.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Limits of an account that hold nobody up.
pub(crate) const NO_LIMITS: &str = r#"
    [[accounts.limits]]
    model = "*"
    requests = ["100000/1s"]
    ramp = false
"#;

/// A gateway in front of a simulator. `more` of the configuration begins behind the account.
pub(crate) fn replica(simulator: &RunningSimulator, threads: usize, more: &str) -> Running {
    let text = format!(
        r#"
        listen = "127.0.0.1:0"
        threads = {threads}
        [[accounts]]
        api_keys = ["sk-upstream-0001"]
        base_url = "{}"
        quota_api = false
        {more}
        "#,
        simulator.base_url()
    );
    start(Config::parse(&text, "test", &|_: &str| None).unwrap())
}

impl Running {
    pub(crate) async fn readiness(&self) -> Value {
        let (status, _, ready) = read_json(send(self.address, get("/readyz")).await).await;
        assert_eq!(status, StatusCode::OK, "replicas stay in service: {ready}");
        ready
    }

    /// Waits until it says of itself what it should.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let ready = self.readiness().await;
            if holds(&ready) {
                return ready;
            }
            assert!(began.elapsed() < PATIENCE, "never: {what}: {ready}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
