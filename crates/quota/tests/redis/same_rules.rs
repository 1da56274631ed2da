//! The script inside Redis decides as the ledger in memory does.

use std::cell::Cell;
use std::time::Duration;

use bailian_quota::share::redis::{Member, RenewScript};
use bailian_quota::share::{Belief, Ledger, LimitKey, LimitReport, Renewal, Terms};
use bailian_quota::{Limit, Measure};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::server::Server;

const REPLICAS: usize = 5;

/// One thing that a replica does.
#[derive(Clone, Debug)]
struct Step {
    replica: usize,
    passed: u64,
    weight: u64,
    leaves: bool,
    /// For each limit: used, wants more, needs at once, and a change of belief.
    limits: Vec<(u64, u64, u64, Option<u64>)>,
}

fn limits() -> Vec<Limit> {
    let read = |measure, text| Limit::parse(measure, text).unwrap();
    vec![
        read(Measure::Requests, "600/60s"),
        read(Measure::Requests, "3/1s"),
        read(Measure::Tokens, "100000/6s"),
        Limit::running(7),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let limit = (
        0u64..300,
        0u64..400,
        prop_oneof![4 => Just(0u64), 2 => Just(1), 1 => 0u64..60_000],
        prop::option::weighted(0.1, 1u64..900),
    );
    let step = (
        0..REPLICAS,
        prop_oneof![20 => 0u64..200, 10 => 200u64..1_900, 1 => 0u64..100_000],
        1u64..20,
        prop::bool::weighted(0.03),
        prop::collection::vec(limit, limits().len()),
    )
        .prop_map(|(replica, passed, weight, leaves, limits)| Step {
            replica,
            passed,
            weight,
            leaves,
            limits,
        });
    prop::collection::vec(step, 1..120)
}

/// What each replica keeps and believes.
#[derive(Clone)]
struct Kept {
    sequence: u64,
    limits: Vec<(u64, Belief)>,
}

#[test]
fn the_script_decides_as_the_ledger_does() {
    let server = Server::start();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let client = redis::Client::open(server.url()).unwrap();
    let connection = runtime
        .block_on(client.get_multiplexed_async_connection())
        .unwrap();
    let script = RenewScript::default();
    let terms = Terms::default();
    let lane = Cell::new(0);
    let mut runner = TestRunner::new(Config {
        cases: 60,
        failure_persistence: None,
        ..Config::default()
    });
    let outcome = runner.run(&steps(), |steps| {
        lane.set(lane.get() + 1);
        let key = format!("lane-{}", lane.get());
        let mut connection = connection.clone();
        let mut ledger = Ledger::new(&terms);
        let beliefs = limits().into_iter().map(|limit| {
            let amount = Some(limit.amount);
            (
                0,
                Belief {
                    amount,
                    known: amount,
                    version: 0,
                },
            )
        });
        let new = Kept {
            sequence: 0,
            limits: beliefs.collect(),
        };
        let mut replicas = vec![new; REPLICAS];
        let mut now = 1_000_000;
        for step in steps {
            now += step.passed;
            let at = Duration::from_millis(now);
            let id = format!("replica-{}", step.replica);
            let replica = &mut replicas[step.replica];
            replica.sequence += 1;
            let renewal = renewal(replica, &step);
            let member = Member {
                key: &key,
                id: &id,
                terms: &terms,
                now: Some(at),
            };
            if step.leaves {
                ledger.leave(&id, &renewal, at);
                runtime
                    .block_on(script.leave(&mut connection, &member, &renewal))
                    .unwrap();
                continue;
            }
            let expected = ledger.renew(&id, &renewal, at);
            let answered = runtime
                .block_on(script.renew(&mut connection, &member, &renewal))
                .unwrap();
            prop_assert_eq!(&answered, &expected);
            if let Some(told) = answered {
                for (kept, allotment) in replica.limits.iter_mut().zip(&told.limits) {
                    *kept = (allotment.limit, allotment.belief);
                }
            }
        }
        Ok(())
    });
    outcome.unwrap();
}

fn renewal(replica: &Kept, step: &Step) -> Renewal {
    let known = limits();
    let reports = known.iter().zip(&replica.limits).zip(&step.limits).map(
        |((limit, (kept, belief)), (used, more, need, change))| {
            let mut belief = *belief;
            if let Some(amount) = change {
                belief.amount = Some(*amount);
            }
            let mut report = LimitReport::new(LimitKey::of(limit), belief);
            report.kept = *kept;
            report.used = *used.min(kept);
            report.wanted = report.used + more;
            report.need = if limit.measure == Measure::Tokens {
                *need
            } else {
                (*need).min(1)
            };
            report
        },
    );
    Renewal::new(replica.sequence, step.weight, reports.collect())
}
