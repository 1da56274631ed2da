//! A machine whose clock is set back by an hour: requests are served, nothing is lost or doubled,
//! what has ended stays ended, and the gateway says what is wrong.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at what it did not expect"
)]

mod support;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bailian_gateway::{Clock, Config, Gateway};
use bailian_ledger::{Filter, Page, Reader, Record, Sqlite};
use bailian_sim::{RunningSimulator, SimConfig, Simulator};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use support::{OPENAI, get, openai_body, post, read, read_json, send};

const MINUTE: u64 = 60_000;
/// 2026-03-03 00:20 in Beijing: an hour earlier it is another day.
const NIGHT: u64 = 1_772_468_400_000;

/// The machine's clock, which somebody sets.
#[derive(Debug)]
struct Set(AtomicU64);

impl Clock for Set {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn unix_millis(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

struct Place {
    clock: Arc<Set>,
    address: SocketAddr,
    folder: tempfile::TempDir,
    simulator: RunningSimulator,
    server: tokio::task::JoinHandle<()>,
}

impl Place {
    async fn new() -> Self {
        let simulator = Simulator::new(SimConfig::default()).spawn().await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            r#"
            listen = "127.0.0.1:0"
            [data]
            folder = "{}"
            [[accounts]]
            api_keys = ["sk-upstream-0001"]
            base_url = "{}"
            quota_api = false
            [[keys]]
            name = "steady"
            key = "sk-bl-steady-0001"
            [[keys]]
            name = "ends"
            key = "sk-bl-ends-0001"
            settings = {{ expires_at = "2026-03-02T16:30:00Z" }}
            [[keys]]
            name = "daily"
            key = "sk-bl-daily-0001"
            settings = {{ budgets = [{{ period = "day", tokens = 400 }}] }}
            "#,
            folder.path().display(),
            simulator.base_url()
        );
        let clock = Arc::new(Set(AtomicU64::new(NIGHT)));
        let gateway = Gateway::builder(Config::parse(&text, "test", &|_: &str| None).unwrap())
            .clock(Arc::clone(&clock) as Arc<dyn Clock>)
            .build()
            .unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            axum::serve(listener, gateway.router()).await.unwrap();
        });
        Self {
            clock,
            address,
            folder,
            simulator,
            server,
        }
    }

    fn set(&self, unix_millis: u64) {
        self.clock.0.store(unix_millis, Ordering::Relaxed);
    }

    /// Status, id and retry advice of a call.
    async fn call(&self, key: &str) -> (u16, String) {
        let body = json!({ "model": "qwen-plus", "max_tokens": 40,
            "messages": [{ "role": "user", "content": "你好" }] });
        let mut request = post(OPENAI, body.to_string());
        let value = format!("Bearer {key}").parse().unwrap();
        request.headers_mut().insert("authorization", value);
        let (status, headers, _) = read(send(self.address, request).await).await;
        let id = headers["x-request-id"].to_str().unwrap().to_owned();
        (status.as_u16(), id)
    }

    async fn readiness(&self) -> Value {
        read_json(send(self.address, get("/readyz")).await).await.2
    }

    async fn clock_metric(&self) -> String {
        let text = read(send(self.address, get("/metrics")).await).await.2;
        let mut lines = text.lines();
        lines
            .find(|line| line.starts_with("bailian_clock_behind_seconds "))
            .unwrap()
            .to_owned()
    }

    /// All records, once so many are settled.
    async fn records(&self, count: usize) -> Vec<Record> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let records = records(self.folder.path());
            if records.len() >= count && records.iter().all(|record| record.settled) {
                return records;
            }
            assert!(Instant::now() < deadline, "{} records", records.len());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn records(folder: &Path) -> Vec<Record> {
    let mut reader = Reader::new(Sqlite::new(folder.join("ledger.db")));
    let (mut all, mut page) = (Vec::new(), Page::first(Page::MOST));
    while let Ok(records) = reader.records(&Filter::default(), page) {
        let Some(last) = records.last() else { break };
        page = page.after(last.cursor());
        all.extend(records);
    }
    all
}

#[tokio::test]
async fn a_clock_set_back_an_hour_costs_and_doubles_no_record_and_is_told() {
    let place = Place::new().await;
    let mut ids = Vec::new();
    for minutes in [0, 1, 2] {
        place.set(NIGHT + minutes * MINUTE);
        ids.push(place.call("sk-bl-steady-0001").await);
    }
    assert_eq!(place.readiness().await["status"], "ready");
    // One stream is open while it happens.
    let mut request = post(OPENAI, openai_body(true));
    request
        .headers_mut()
        .insert("authorization", "Bearer sk-bl-steady-0001".parse().unwrap());
    let open = send(place.address, request).await;
    let id = open.headers()["x-request-id"].to_str().unwrap().to_owned();
    ids.push((open.status().as_u16(), id));

    place.set(NIGHT - 58 * MINUTE);
    for _ in 0..20 {
        ids.push(place.call("sk-bl-steady-0001").await);
    }
    open.into_body().collect().await.unwrap();
    let ready = place.readiness().await;
    assert_eq!(ready["status"], "degraded", "{ready}");
    let problems = ready["problems"].to_string();
    assert!(
        problems.contains("clock was set back and is 3600 s behind"),
        "{problems}"
    );
    assert_eq!(
        place.clock_metric().await,
        "bailian_clock_behind_seconds 3600"
    );

    place.set(NIGHT + 3 * MINUTE);
    ids.push(place.call("sk-bl-steady-0001").await);
    assert_eq!(place.readiness().await["status"], "ready");
    assert_eq!(place.clock_metric().await, "bailian_clock_behind_seconds 0");

    assert!(ids.iter().all(|(status, _)| *status == 200), "{ids:?}");
    let ids: HashSet<String> = ids.into_iter().map(|(_, id)| id).collect();
    assert_eq!(ids.len(), 25, "ids that are made twice");
    let records = place.records(25).await;
    let stored: HashSet<String> = records
        .iter()
        .map(|record| record.begin.id.to_string())
        .collect();
    assert_eq!((records.len(), stored), (25, ids));
    for record in &records {
        assert_eq!(record.end.outcome.as_str(), "completed", "{record:?}");
        // Durations are of a clock that nobody sets.
        assert!(record.end.total_ms.unwrap() < 10 * MINUTE, "{record:?}");
    }
    let journal = place.simulator.journal().len();
    assert_eq!(journal, 25, "each was sent once");
}

#[tokio::test]
async fn what_has_ended_stays_ended_when_the_clock_is_set_back() {
    let place = Place::new().await;
    assert_eq!(place.call("sk-bl-ends-0001").await.0, 200);
    let mut served = 0;
    while place.call("sk-bl-daily-0001").await.0 == 200 {
        served += 1;
        assert!(served < 50, "a budget ends");
    }
    assert!(served > 0);
    place.set(NIGHT + 11 * MINUTE);
    assert_eq!(place.call("sk-bl-ends-0001").await.0, 401);
    // An hour back it is yesterday, and the key had half an hour to go.
    place.set(NIGHT - 49 * MINUTE);
    assert_eq!(place.call("sk-bl-ends-0001").await.0, 401);
    assert_eq!(place.call("sk-bl-daily-0001").await.0, 429);
    assert_eq!(place.call("sk-bl-steady-0001").await.0, 200);
    // Today comes a second time, and the budget is still spent; tomorrow there is another.
    place.set(NIGHT + 12 * MINUTE);
    assert_eq!(place.call("sk-bl-daily-0001").await.0, 429);
    place.set(NIGHT + 24 * 60 * MINUTE);
    assert_eq!(place.call("sk-bl-daily-0001").await.0, 200);
}
