use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bailian_ledger::{Filter, Page, Reader, Record};
use bailian_sim::{RunningSimulator, SimConfig, Simulator};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::proxy::Proxy;
use crate::replica::{NO_LIMITS, PATIENCE, replica};
use crate::server::Server;
use crate::support::{OPENAI, Running, get, openai_body, post, read, read_json, send, with_key};

const TOKEN: &str = "operator-token-of-the-outage";

/// How long a caller waits between two requests.
const BREATH: Duration = Duration::from_millis(20);

/// A gateway whose database is behind a way that can be cut.
struct Place {
    server: Server,
    proxy: Proxy,
    simulator: RunningSimulator,
    folder: tempfile::TempDir,
    gateway: Running,
}

/// Callers that ask without a break, each request once.
struct Load {
    over: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    callers: JoinSet<Vec<String>>,
}

impl Place {
    async fn new() -> Self {
        let server = Server::start();
        let proxy = Proxy::start(server.socket());
        let simulator = Simulator::new(SimConfig::default()).spawn().await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let gateway = Self::open(folder.path(), &proxy, &simulator);
        Self {
            server,
            proxy,
            simulator,
            folder,
            gateway,
        }
    }

    fn open(folder: &Path, proxy: &Proxy, simulator: &RunningSimulator) -> Running {
        let more = format!(
            r#"
            {NO_LIMITS}
            [data]
            folder = "{}"
            database = "{}"
            [admin]
            token = "{TOKEN}"
            "#,
            folder.display(),
            proxy.url()
        );
        replica(simulator, 2, &more)
    }

    fn address(&self) -> SocketAddr {
        self.gateway.address
    }

    async fn admin(&self, path: &str, body: &Value) -> (u16, Value) {
        let request = with_key(post(&format!("/admin/v1{path}"), body.to_string()), TOKEN);
        let (status, _, value) = read_json(send(self.address(), request).await).await;
        (status.as_u16(), value)
    }

    /// A key that is in the database and nowhere else.
    async fn make_key(&self, name: &str) -> String {
        let (status, tenant) = self.admin("/tenants", &json!({ "name": name })).await;
        assert_eq!(status, 201, "{tenant}");
        let project = json!({ "name": "客服", "tenant": tenant["id"] });
        let (_, project) = self.admin("/projects", &project).await;
        let key = json!({ "name": name, "project": project["id"] });
        let (status, key) = self.admin("/keys", &key).await;
        assert_eq!(status, 201, "{key}");
        key["key"].as_str().unwrap().to_owned()
    }

    async fn until_away(&self) -> Value {
        let is_away = |value: &Value| {
            value["ledger"]["store_ok"] == false && value["keys"]["store_ok"] == false
        };
        self.gateway.until("both stores are away", is_away).await
    }

    async fn until_ready(&self) {
        let is_ready = |value: &Value| value["status"] == "ready";
        self.gateway.until("all is well", is_ready).await;
    }

    async fn metrics(&self) -> String {
        read(send(self.address(), get("/metrics")).await).await.2
    }

    /// Ends the gateway; what the store has then.
    async fn records(self) -> Vec<Record> {
        let is_done = |value: &Value| value["ledger"]["backlog_bytes"] == 0;
        self.gateway.until("nothing waits any more", is_done).await;
        self.gateway.end().await;
        let store = self.server.store();
        let records = tokio::task::spawn_blocking(move || {
            let mut reader = Reader::new(store);
            let mut all = Vec::new();
            let mut page = Page::first(Page::MOST);
            loop {
                let some = reader.records(&Filter::default(), page).unwrap();
                let Some(last) = some.last() else { break };
                page = page.after(last.cursor());
                all.extend(some);
            }
            all
        });
        records.await.unwrap()
    }
}

impl Load {
    fn begin(address: SocketAddr, key: &str) -> Self {
        let (over, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let mut callers = JoinSet::new();
        for caller in 0..4 {
            let (over, answered) = (Arc::clone(&over), Arc::clone(&answered));
            let key = key.to_owned();
            callers.spawn(async move {
                let mut ids = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    let stream = (caller + ids.len()).is_multiple_of(2);
                    let request = with_key(post(OPENAI, openai_body(stream)), &key);
                    let (status, headers, body) = read(send(address, request).await).await;
                    assert_eq!(status, 200, "{body}");
                    assert!(body.contains("usage") || stream, "{body}");
                    ids.push(headers["x-request-id"].to_str().unwrap().to_owned());
                    answered.fetch_add(1, Ordering::Relaxed);
                    // A gateway is faster than a database: what waits has to be caught up with.
                    tokio::time::sleep(BREATH).await;
                }
                ids
            });
        }
        Self {
            over,
            answered,
            callers,
        }
    }

    /// Until so many more have been answered.
    async fn more(&self, count: u64) {
        let (began, before) = (Instant::now(), self.answered.load(Ordering::Relaxed));
        while self.answered.load(Ordering::Relaxed) < before + count {
            assert!(began.elapsed() < PATIENCE, "requests are not served");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// The ids of all that were answered.
    async fn end(self) -> Vec<String> {
        self.over.store(true, Ordering::Relaxed);
        self.callers.join_all().await.concat()
    }
}

fn value_of(metrics: &str, name: &str) -> u64 {
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.unwrap_or_else(|| panic!("no {name} in {metrics}"))
        .parse()
        .unwrap()
}

/// Every answered request stands there once, settled.
fn assert_all_once(records: &[Record], answered: &[String]) {
    let stored: HashSet<String> = records.iter().map(|r| r.begin.id.to_string()).collect();
    assert_eq!(stored.len(), records.len(), "no record is doubled");
    assert_eq!(stored, answered.iter().cloned().collect::<HashSet<_>>());
    for record in records {
        assert!(record.settled, "{record:?}");
        assert_eq!(record.end.outcome.as_str(), "completed", "{record:?}");
        assert!(record.end.tokens.output > 0, "{record:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_goes_under_load_and_comes_back_costs_and_doubles_no_record() {
    let place = Place::new().await;
    let key = place.make_key("研发部").await;
    place.until_ready().await;
    let load = Load::begin(place.address(), &key);
    for _ in 0..3 {
        load.more(40).await;
        place.proxy.cut();
        let ready = place.until_away().await;
        assert_eq!(ready["status"], "degraded");
        let problems = ready["problems"].to_string();
        for words in ["the ledger's store takes no records", "the store of keys"] {
            assert!(problems.contains(words), "{problems}");
        }
        load.more(40).await;
        let ready = place.gateway.readiness().await;
        assert!(ready["ledger"]["backlog_bytes"].as_u64().unwrap() > 0);
        assert_eq!(ready["ledger"]["spool_ok"], true);
        let metrics = place.metrics().await;
        assert_eq!(value_of(&metrics, "bailian_ledger_store_ok"), 0);
        assert_eq!(value_of(&metrics, "bailian_keys_store_ok"), 0);
        assert!(value_of(&metrics, "bailian_ledger_backlog_frames") > 0);
        place.proxy.mend();
        place.until_ready().await;
    }
    let answered = load.end().await;
    let metrics = place.metrics().await;
    assert_eq!(value_of(&metrics, "bailian_ledger_store_ok"), 1);
    assert_eq!(value_of(&metrics, "bailian_keys_store_ok"), 1);
    assert_eq!(value_of(&metrics, "bailian_ledger_lost_total"), 0);
    assert_all_once(&place.records().await, &answered);
}

/// What happens to connections that a firewall forgets.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_falls_silent_is_given_up_and_found_again() {
    let place = Place::new().await;
    let key = place.make_key("研发部").await;
    place.until_ready().await;
    let load = Load::begin(place.address(), &key);
    load.more(20).await;
    place.proxy.fall_silent();
    load.more(40).await;
    place.until_away().await;
    load.more(40).await;
    place.proxy.mend();
    place.until_ready().await;
    // Changes find their way again, too, over the connection for changes.
    let another = place.make_key("乙").await;
    let answered = load.end().await;
    let request = with_key(post(OPENAI, openai_body(false)), &another);
    let (status, headers, body) = read(send(place.address(), request).await).await;
    assert_eq!(status, 200, "{body}");
    let last = headers["x-request-id"].to_str().unwrap().to_owned();
    let answered = [answered, vec![last]].concat();
    assert_all_once(&place.records().await, &answered);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_database_is_away_keys_open_as_before_and_changes_are_refused_in_words() {
    let place = Place::new().await;
    let key = place.make_key("甲").await;
    place.until_ready().await;
    let call = async |key: &str| {
        let request = with_key(post(OPENAI, openai_body(false)), key);
        read(send(place.address(), request).await).await.0
    };
    assert_eq!(call(&key).await, 200);
    place.proxy.cut();
    place.until_away().await;
    assert_eq!(call(&key).await, 200);
    assert_eq!(call("bl-unknown").await, 401);
    let (status, refused) = place.admin("/tenants", &json!({ "name": "乙" })).await;
    assert_eq!(status, 503, "{refused}");
    assert_eq!(refused["error"]["code"], "unavailable");
    // Nothing of it is there later.
    place.proxy.mend();
    place.until_ready().await;
    let (status, tenant) = place.admin("/tenants", &json!({ "name": "乙" })).await;
    assert_eq!(status, 201, "{tenant}");
    assert_eq!(call(&key).await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_ends_while_the_database_is_away_leaves_its_records_to_the_next() {
    let mut place = Place::new().await;
    let key = place.make_key("研发部").await;
    place.until_ready().await;
    let load = Load::begin(place.address(), &key);
    load.more(20).await;
    place.proxy.cut();
    place.until_away().await;
    load.more(40).await;
    let answered = load.end().await;
    let begun = Instant::now();
    place.gateway.end().await;
    assert!(begun.elapsed() < Duration::from_secs(20), "{begun:?}");
    place.proxy.mend();
    place.gateway = Place::open(place.folder.path(), &place.proxy, &place.simulator);
    place
        .gateway
        .until("the next has brought them", |value| {
            value["status"] == "ready" && value["ledger"]["backlog_bytes"] == 0
        })
        .await;
    assert_all_once(&place.records().await, &answered);
}
