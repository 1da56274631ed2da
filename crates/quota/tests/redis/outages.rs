//! Three replicas in real time: a server that goes away and comes back, and a replica that ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bailian_quota::share::redis::{RedisConfig, Sharing};
use bailian_quota::{Demand, Lane, LaneConfig, Limit, Measure, Pacer, Usage};
use parking_lot::Mutex;

use crate::server::Server;

/// Allowed in any window of [`PERIOD`].
const AMOUNT: usize = 40;
const PERIOD: Duration = Duration::from_millis(500);

/// One replica under more load than it may send.
struct Replica {
    lane: Lane,
    sharing: Option<Sharing>,
    stopped: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Replica {
    fn start(url: &str, callers: usize, sent: &Arc<Mutex<Vec<Instant>>>) -> Self {
        let pacer = Pacer::new();
        let config = RedisConfig::new(url, "test:").unwrap();
        let sharing = Sharing::start(&pacer, config).unwrap();
        let lane = pacer.lane("main/qwen-plus", || {
            let limit = Limit::parse(Measure::Requests, "40/500ms").unwrap();
            let mut config = LaneConfig::new(vec![limit.exactly()]);
            config.ramp = None;
            config
        });
        let stopped = Arc::new(AtomicBool::new(false));
        let threads = (0..callers).map(|caller| {
            let (lane, stopped, sent) = (lane.clone(), Arc::clone(&stopped), Arc::clone(sent));
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                runtime.block_on(async {
                    while !stopped.load(Ordering::Relaxed) {
                        let demand = Demand::new(format!("tenant-{caller}"), 10);
                        let wait = lane.acquire(demand);
                        let Ok(permit) = tokio::time::timeout(PERIOD * 4, wait).await else {
                            continue;
                        };
                        sent.lock().push(Instant::now());
                        permit.unwrap().settle(Usage::new(10, 0));
                    }
                });
            })
        });
        let threads = threads.collect();
        Self {
            lane,
            sharing: Some(sharing),
            stopped,
            threads,
        }
    }

    fn connected(&self) -> bool {
        self.sharing.as_ref().unwrap().status().connected
    }

    fn end(mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
        if let Some(sharing) = self.sharing.take() {
            sharing.leave();
        }
        assert_eq!(self.lane.waiting(), 0, "a request is stuck in line");
    }
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(30), "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The most in any window, of all that was sent from `from` on.
fn most_in_a_window(sent: &[Instant], from: Instant) -> usize {
    let sent: Vec<Instant> = sent.iter().copied().filter(|at| *at >= from).collect();
    let window = |first: &Instant| {
        sent.iter()
            .filter(|at| **at >= *first && at.duration_since(*first) < PERIOD)
            .count()
    };
    sent.iter().map(window).max().unwrap_or(0)
}

#[test]
fn replicas_share_one_limit_through_outages_of_redis_and_of_one_another() {
    let server = Server::start();
    let port = server.port();
    let sent = Arc::new(Mutex::new(Vec::new()));
    let began = Instant::now();
    let mut replicas: Vec<Replica> = [12, 3, 1]
        .into_iter()
        .map(|callers| Replica::start(&server.url(), callers, &sent))
        .collect();
    until("all replicas see each other", || {
        let status = |replica: &Replica| replica.sharing.as_ref().unwrap().status();
        replicas.iter().all(|replica| status(replica).replicas == 3)
    });
    let count = || sent.lock().len();
    let flows = |by: usize| {
        let before = count();
        until("requests go on", || count() >= before + by);
    };
    flows(3 * AMOUNT);

    drop(server);
    until("the outage is noticed", || {
        replicas.iter().all(|replica| !replica.connected())
    });
    // Everybody goes on with the last share.
    flows(3 * AMOUNT);

    let _server = (0..50)
        .find_map(|_| Server::start_at(port))
        .expect("the port is free again");
    until("all are back", || replicas.iter().all(Replica::connected));
    flows(3 * AMOUNT);

    let ended = replicas.remove(0);
    ended.end();
    flows(3 * AMOUNT);
    let most = most_in_a_window(&sent.lock(), began);
    // A permit's moment is when the lane gave it; the test's own note of it may be later.
    assert!(most <= AMOUNT + 4, "{most} in one window");
    for replica in replicas {
        replica.end();
    }
}

#[test]
fn a_replica_that_never_reached_redis_works_with_a_part_of_the_limit() {
    let sent = Arc::new(Mutex::new(Vec::new()));
    let began = Instant::now();
    // Nothing listens there.
    let replica = Replica::start("redis://127.0.0.1:1", 4, &sent);
    until("requests go", || sent.lock().len() >= 2 * AMOUNT);
    assert!(!replica.connected());
    assert!(most_in_a_window(&sent.lock(), began) <= AMOUNT / 4 + 2);
    replica.end();
}

#[test]
fn an_address_that_cannot_be_read_is_refused_without_repeating_its_password() {
    let error = RedisConfig::new("http://:secret@example.com", "").unwrap_err();
    assert!(!error.to_string().contains("secret"));
    let config = RedisConfig::new("redis://:secret@127.0.0.1:1", "").unwrap();
    assert!(!format!("{config:?}").contains("secret"));
}

#[test]
fn a_server_that_refuses_scripts_is_asked_now_and_then_and_not_without_pause() {
    let server = Server::start();
    let mut connection = redis::Client::open(server.url())
        .unwrap()
        .get_connection()
        .unwrap();
    redis::cmd("ACL")
        .arg(&["SETUSER", "default", "-@scripting"])
        .exec(&mut connection)
        .unwrap();
    let sent = Arc::new(Mutex::new(Vec::new()));
    let replica = Replica::start(&server.url(), 1, &sent);
    let failures = || replica.sharing.as_ref().unwrap().status().failures;
    until("it fails", || failures() >= 1);
    let (began, before) = (Instant::now(), failures());
    until("it is tried again", || failures() >= before + 4);
    assert!(began.elapsed() >= Duration::from_millis(800));
    assert!(!replica.connected());
    replica.end();
}
