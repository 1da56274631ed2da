//! Sharing limits and budgets over a real Redis server, which each test starts for itself.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a helper that fails is a test that fails"
)]

#[path = "../../quota/tests/redis/server.rs"]
mod server;
mod support;

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bailian_tenants::budget::share::redis::{
    BudgetSharing, PotMember, PotScript, ShareConfig, ShareError, SharedBudgets,
};
use bailian_tenants::budget::share::{Pot, PotReport, PotTerms};
use bailian_tenants::budget::{Budgets, Estimate, Refusal, Reservation};
use bailian_tenants::{Caller, Now};
use jiff::Timestamp;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use server::Server;
use support::{Tree, rates, request, spent};

/// One thing that a replica says: which one, how long after the last, and what.
#[derive(Clone, Debug)]
struct Said {
    replica: usize,
    passed: u64,
    leaves: bool,
    is_late: bool,
    limit: u64,
    base: u64,
    is_told: bool,
    more: u64,
    kept: u64,
    spare: u64,
    need: u64,
    wanted: u64,
}

fn said() -> impl Strategy<Value = Said> {
    let amount = || prop_oneof![3 => 0u64..200, 1 => Just(0u64), 1 => 0u64..(1 << 40)];
    let when = (
        0usize..4,
        prop_oneof![20 => 0u64..2_000, 1 => 0u64..2_000_000],
        prop::bool::weighted(0.05),
        prop::bool::weighted(0.05),
    );
    let what = (
        prop_oneof![4 => Just(1_000u64), 1 => 0u64..(1 << 50)],
        amount(),
        any::<bool>(),
        0u64..100,
    );
    let asks = (amount(), amount(), amount(), amount());
    (when, what, asks).prop_map(|(when, what, asks)| Said {
        replica: when.0,
        passed: when.1,
        leaves: when.2,
        is_late: when.3,
        limit: what.0,
        base: what.1,
        is_told: what.2,
        more: what.3,
        kept: asks.0,
        spare: asks.1,
        need: asks.2,
        wanted: asks.3,
    })
}

#[test]
fn the_script_decides_as_the_pot_does() {
    let server = Server::start();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let client = redis::Client::open(server.url()).unwrap();
    let connection = runtime
        .block_on(client.get_multiplexed_async_connection())
        .unwrap();
    // Nothing was lost.
    runtime
        .block_on(
            redis::cmd("SET")
                .arg("mark")
                .arg("1")
                .exec_async(&mut connection.clone()),
        )
        .unwrap();
    let script = PotScript::default();
    let terms = PotTerms::default();
    let number = Cell::new(0);
    let mut runner = TestRunner::new(Config {
        cases: 60,
        failure_persistence: None,
        ..Config::default()
    });
    let outcome = runner.run(&prop::collection::vec(said(), 1..100), |all| {
        number.set(number.get() + 1);
        let key = format!("pot-{}", number.get());
        let mut connection = connection.clone();
        let mut pot = Pot::new(terms);
        let mut now = 1_000_000;
        let (mut sequence, mut spent) = ([1u64; 4], [0u64; 4]);
        for said in all {
            now += said.passed;
            let at = Duration::from_millis(now);
            let id = format!("replica-{}", said.replica);
            sequence[said.replica] += u64::from(!said.is_late);
            spent[said.replica] += said.more;
            let mut report = PotReport::default();
            report.sequence = sequence[said.replica];
            report.limit = said.limit;
            report.base = said.base;
            report.is_told = said.is_told;
            report.base_spent = spent[said.replica] / 2;
            report.spent = spent[said.replica];
            (report.kept, report.spare) = (said.kept, said.spare);
            (report.need, report.wanted) = (said.need, said.wanted);
            let member = PotMember {
                key: &key,
                mark: "mark",
                fresh: "fresh",
                id: &id,
                terms: &terms,
                keep: Duration::from_mins(10),
                now: Some(at),
            };
            if said.leaves {
                pot.leave(&id, &report, at);
                runtime
                    .block_on(script.leave(&mut connection, &member, &report))
                    .unwrap();
                continue;
            }
            let expected = pot.renew(&id, &report, at);
            let answered = runtime
                .block_on(script.renew(&mut connection, &member, &report))
                .unwrap();
            prop_assert_eq!(answered, expected);
        }
        Ok(())
    });
    outcome.unwrap();
}

/// A replica as a process has it.
struct Replica {
    budgets: Budgets,
    sharing: BudgetSharing,
}

fn clock() -> Now {
    Now {
        wall: Timestamp::now(),
        monotonic: Instant::now(),
    }
}

impl Replica {
    fn start(url: &str) -> Self {
        let shared = SharedBudgets::new(rates());
        let config = ShareConfig::new(url, "test:").unwrap();
        let sharing = shared.start(config, Arc::new(clock)).unwrap();
        Self {
            budgets: shared.budgets,
            sharing,
        }
    }

    /// As the gateway does: what lacks a part of others waits for their answer.
    async fn reserve(&self, caller: &Caller, estimate: &Estimate) -> Result<Reservation, Refusal> {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(8);
        loop {
            let mut answer = self.sharing.next_answer();
            let refused = match self.budgets.reserve(caller, estimate, clock()) {
                Ok(held) => return Ok(held),
                Err(refused) => refused,
            };
            let waits = refused.may_pass_soon
                && tokio::time::timeout_at(deadline, answer.changed())
                    .await
                    .is_ok();
            if !waits {
                return Err(refused);
            }
        }
    }
}

fn caller(tenant: Value) -> Caller {
    Tree::new(tenant, json!({}), json!({})).caller()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_calls_at_once_at_three_replicas_never_overspend() {
    let server = Server::start();
    let budget = json!({"budgets": [
        {"period": "day", "tokens": 10_000},
        {"period": "month", "money": {"amount": "0.5", "currency": "CNY"}},
    ]});
    let caller = caller(budget);
    let replicas: Vec<Arc<Replica>> = (0..3)
        .map(|_| Arc::new(Replica::start(&server.url())))
        .collect();
    let (tokens, micros) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let calls = (0..1_000_u64).map(|number| {
        let replica = Arc::clone(&replicas[usize::try_from(number).unwrap() % 3]);
        let (caller, tokens, micros) = (caller.clone(), Arc::clone(&tokens), Arc::clone(&micros));
        tokio::spawn(async move {
            let (most_micros, most) = (900 + number % 200, 10 + number % 30);
            let estimate = request(most_micros, most);
            let Ok(mut held) = replica.reserve(&caller, &estimate).await else {
                return false;
            };
            held.observe(spent(0, 0));
            tokio::task::yield_now().await;
            let (cost, used) = (most_micros / 2, most / 2);
            tokens.fetch_add(used, Ordering::Relaxed);
            micros.fetch_add(cost, Ordering::Relaxed);
            held.settle(&spent(cost, used), Instant::now());
            true
        })
    });
    let mut passed = 0;
    for call in calls.collect::<Vec<_>>() {
        passed += u64::from(call.await.unwrap());
    }
    let (tokens, micros) = (
        tokens.load(Ordering::Relaxed),
        micros.load(Ordering::Relaxed),
    );
    assert!(tokens <= 10_000 && micros <= 500_000, "{tokens}, {micros}");
    // Half of what is reserved comes back, so that nearly all of the money can be spent.
    assert!(micros > 400_000, "{micros} spent by {passed} calls");
    // All replicas come to know of what all have spent.
    let began = Instant::now();
    let used = |replica: &Replica| {
        let usage = replica.budgets.usage(&caller, clock());
        usage[2].budgets[0].used
    };
    for replica in &replicas {
        while used(replica) != tokens {
            assert!(
                began.elapsed() < Duration::from_secs(10),
                "{}",
                used(replica)
            );
            // A refused or cancelled request makes it look again.
            drop(replica.reserve(&caller, &request(0, 1)).await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    for replica in replicas {
        replica.sharing.leave();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_of_the_moment_hold_over_all_replicas() {
    let server = Server::start();
    let caller = caller(json!({"limits": {"rpm": 30, "concurrency": 8, "tpm": 100_000}}));
    let replicas: Vec<Replica> = (0..3).map(|_| Replica::start(&server.url())).collect();
    let mut held = Vec::new();
    for round in 0..60 {
        for replica in &replicas {
            held.extend(replica.reserve(&caller, &request(0, 10)).await.ok());
        }
        assert!(held.len() <= 8, "{} at once", held.len());
        if round > 10 && held.len() == 8 {
            break;
        }
    }
    assert_eq!(held.len(), 8, "all places are taken");
    let mut begun = held.len();
    for mut reservation in held.drain(..) {
        reservation.observe(spent(0, 0));
        reservation.settle(&spent(0, 10), Instant::now());
    }
    for _ in 0..30 {
        for replica in &replicas {
            if let Ok(mut held) = replica.reserve(&caller, &request(0, 10)).await {
                held.observe(spent(0, 0));
                held.settle(&spent(0, 10), Instant::now());
                begun += 1;
            }
        }
    }
    assert_eq!(begun, 30, "as many as begin in a minute");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_a_replica_ends_with_what_it_holds_and_goes_on_when_it_is_back() {
    let server = Server::start();
    let port = server.port();
    let caller = caller(json!({"budgets": [{"period": "total", "tokens": 1_000}]}));
    let replica = Replica::start(&server.url());
    let mut first = replica.reserve(&caller, &request(0, 100)).await.unwrap();
    first.observe(spent(0, 0));
    first.settle(&spent(0, 100), Instant::now());
    drop(server);
    let mut used = 100;
    let refused = loop {
        match replica.reserve(&caller, &request(0, 50)).await {
            Ok(held) => {
                held.settle(&spent(0, 50), Instant::now());
                used += 50;
            }
            Err(refused) if !replica.sharing.status().connected => break refused,
            // The outage is not noticed yet.
            Err(_) => {}
        }
        assert!(used <= 1_000);
    };
    assert!(refused.to_string().contains("cannot reach"), "{refused}");

    let _server = (0..50)
        .find_map(|_| Server::start_at(port))
        .expect("the port is free again");
    // An empty one: what was spent is told by those who know.
    let began = Instant::now();
    loop {
        match replica.reserve(&caller, &request(0, 50)).await {
            Ok(held) => {
                held.settle(&spent(0, 50), Instant::now());
                used += 50;
            }
            Err(refused) if used == 1_000 => {
                assert_eq!(refused.used, 1_000);
                break;
            }
            Err(_) => {}
        }
        assert!(used <= 1_000 && began.elapsed() < Duration::from_secs(30));
    }
}

#[test]
fn an_address_that_cannot_be_read_is_refused_without_repeating_its_password() {
    let error = ShareConfig::new("http://:secret@example.com", "").unwrap_err();
    assert!(matches!(error, ShareError::Address));
    assert!(!error.to_string().contains("secret"));
    let config = ShareConfig::new("redis://:secret@127.0.0.1:1", "").unwrap();
    assert!(!format!("{config:?}").contains("secret"));
}
