//! A thousand requests at once, against limits of three levels.
#![expect(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]

mod support;

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};

use bailian_tenants::budget::Budgets;
use bailian_tenants::model::Row;
use bailian_tenants::{Caller, KeyId, Level};
use serde_json::json;
use support::{Tree, directory, noon, now, rates, request, spent};

const CALLS: u64 = 1_000;
const KEYS: u64 = 10;

/// Ten keys of one project of one tenant.
fn callers(
    tenant: serde_json::Value,
    project: serde_json::Value,
    key: &serde_json::Value,
) -> Vec<Caller> {
    let tree = Tree::new(tenant, project, key.clone());
    let mut rows = tree.rows();
    let name = |index| format!("key-number-{index}");
    for index in 1..KEYS {
        rows.push(Row::Key(tree.sibling(&name(index), key.clone())));
    }
    let directory = directory(rows);
    let others = (1..KEYS).map(|index| KeyId::of_name(&name(index)));
    let ids = std::iter::once(tree.key.id).chain(others);
    ids.map(|id| directory.caller_of(id).unwrap()).collect()
}

fn budget(micros: u64, tokens: u64) -> serde_json::Value {
    let money = json!({"amount": format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000), "currency": "CNY"});
    json!({"budgets": [{"period": "day", "money": money, "tokens": tokens}]})
}

#[test]
fn no_overspend_at_any_level_and_every_refund_is_there() {
    // A key has room for 60 of its 100 calls, the project for 500 of 600, the tenant for 450.
    let callers = callers(
        budget(450_000, 1 << 40),
        budget(500_000, 1 << 40),
        &budget(60_000, 1 << 40),
    );
    let budgets = Budgets::new(rates());
    let now = now(noon());
    let start = Barrier::new(usize::try_from(CALLS).unwrap());
    let admitted: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..CALLS)
            .map(|call| {
                let (budgets, start) = (&budgets, &start);
                let caller = &callers[usize::try_from(call % KEYS).unwrap()];
                scope.spawn(move || {
                    start.wait();
                    budgets.reserve(caller, &request(1_000, 10), now).ok()
                })
            })
            .collect();
        threads
            .into_iter()
            .filter_map(|it| it.join().unwrap())
            .collect()
    });
    // All are held at once: not one too many, and none refused while there was room.
    assert_eq!(admitted.len(), 450);
    for caller in &callers {
        let levels = [60_000_000, 500_000_000, 450_000_000];
        for (usage, limit) in budgets.usage(caller, now).iter().zip(levels) {
            assert!(usage.budgets[0].reserved <= limit);
        }
    }

    // They end at once, in all ways in which requests end.
    let spent_micros = AtomicU64::new(0);
    let start = Barrier::new(admitted.len());
    std::thread::scope(|scope| {
        for (index, mut held) in admitted.into_iter().enumerate() {
            let (spent_micros, start) = (&spent_micros, &start);
            scope.spawn(move || {
                start.wait();
                match index % 3 {
                    0 => {
                        held.settle(&spent(700, 7), now.monotonic);
                        spent_micros.fetch_add(700, Ordering::Relaxed);
                    }
                    1 => {
                        held.observe(spent(300, 3));
                        drop(held);
                        spent_micros.fetch_add(300, Ordering::Relaxed);
                    }
                    _ => drop(held),
                }
            });
        }
    });
    let nanos = spent_micros.into_inner() * 1_000;
    let mut of_keys = 0;
    for caller in &callers {
        let usage = budgets.usage(caller, now);
        assert!(
            usage
                .iter()
                .all(|it| it.running == 0 && it.budgets[0].reserved == 0)
        );
        assert_eq!(usage[1].budgets[0].used, nanos);
        assert_eq!(usage[2].budgets[0].used, nanos);
        of_keys += usage[0].budgets[0].used;
    }
    assert_eq!(of_keys, nanos);

    // What came back can be used to the last billionth, and no further.
    let left = 450_000 - nanos / 1_000;
    let refused = budgets
        .reserve(&callers[0], &request(left + 1, 0), now)
        .unwrap_err();
    assert!(refused.level() == Level::Tenant || refused.level() == Level::Key);
    let of_key = 60_000 - budgets.usage(&callers[0], now)[0].budgets[0].used / 1_000;
    assert!(
        budgets
            .reserve(&callers[0], &request(of_key.min(left), 0), now)
            .is_ok()
    );
}

#[test]
fn limits_hold_while_requests_come_and_go() {
    let callers = callers(
        json!({"limits": {"concurrency": 40, "rpm": 700}}),
        json!({"limits": {"concurrency": 30}, "budgets": [{"period": "month", "tokens": 4_000}]}),
        &json!({"limits": {"concurrency": 5, "tpm": 1_000}}),
    );
    let budgets = Budgets::new(rates());
    let now = now(noon());
    let start = Barrier::new(usize::try_from(CALLS).unwrap());
    let (running, most, used, sent) = (
        AtomicU64::new(0),
        AtomicU64::new(0),
        AtomicU64::new(0),
        AtomicU64::new(0),
    );
    std::thread::scope(|scope| {
        for call in 0..CALLS {
            let (budgets, start) = (&budgets, &start);
            let (running, most, used, sent) = (&running, &most, &used, &sent);
            let caller = &callers[usize::try_from(call % KEYS).unwrap()];
            scope.spawn(move || {
                start.wait();
                for _ in 0..5 {
                    let Ok(held) = budgets.reserve(caller, &request(0, 10), now) else {
                        std::thread::yield_now();
                        continue;
                    };
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::yield_now();
                    running.fetch_sub(1, Ordering::SeqCst);
                    if call % 4 == 0 {
                        drop(held);
                    } else {
                        held.settle(&spent(0, 6), now.monotonic);
                        used.fetch_add(6, Ordering::SeqCst);
                        sent.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
    });
    assert!(most.into_inner() <= 30);
    let (used, sent) = (used.into_inner(), sent.into_inner());
    assert!(
        used <= 4_000 && sent <= 700,
        "{used} tokens, {sent} requests"
    );
    let mut of_keys = 0;
    for caller in &callers {
        let usage = budgets.usage(caller, now);
        assert!(usage.iter().all(|it| it.running == 0));
        assert_eq!(
            (usage[1].budgets[0].used, usage[1].budgets[0].reserved),
            (used, 0)
        );
        assert_eq!(usage[2].requests, sent);
        assert!(usage[0].tokens <= 1_000);
        of_keys += usage[0].tokens;
    }
    assert_eq!(of_keys, used);
}

#[test]
fn a_tenant_that_many_threads_see_first_has_its_accounts_once() {
    let budgets = Budgets::new(rates());
    let now = now(noon());
    std::thread::scope(|scope| {
        for _ in 0..64 {
            let budgets = &budgets;
            scope.spawn(move || {
                let tree = Tree::new(budget(10, 10), json!({}), json!({}));
                for _ in 0..100 {
                    drop(budgets.reserve(&tree.caller(), &request(1, 1), now));
                }
            });
        }
    });
    assert_eq!(format!("{budgets:?}"), "Budgets { tenants: 1, .. }");
}
