//! Limits and budgets: what is held, given back, rolled over and remembered.
#![expect(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]

mod support;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bailian_tenants::budget::{
    BudgetShare, Budgets, Estimate, LimitKind, PeriodUsage, Refusal, Spent, Standing, Until,
};
use bailian_tenants::{Caller, Currency, Level, Money, Now};
use parking_lot::Mutex;
use serde_json::{Value, json};
use support::{Tree, at, later, noon, now, rates, request, spent};

fn refusal(budgets: &Budgets, caller: &Caller, estimate: &Estimate, now: Now) -> Refusal {
    budgets.reserve(caller, estimate, now).unwrap_err()
}

/// The budgets of the key.
fn key_budgets(budgets: &Budgets, caller: &Caller, now: Now) -> Vec<PeriodUsage> {
    budgets.usage(caller, now).remove(0).budgets
}

fn tokens(period: &str, tokens: u64) -> Value {
    json!({"budgets": [{"period": period, "tokens": tokens}]})
}

fn of_key(key: Value) -> Caller {
    Tree::new(json!({}), json!({}), key).caller()
}

#[test]
fn nothing_is_held_anywhere_when_one_level_refuses() {
    let tree = Tree::new(
        tokens("day", 100),
        json!({"limits": {"rpm": 5, "concurrency": 5}}),
        json!({"limits": {"tpm": 1000}, "budgets": [{"period": "month", "tokens": 500}]}),
    );
    let (caller, now) = (tree.caller(), now(noon()));
    let budgets = Budgets::new(rates());
    let held = budgets.reserve(&caller, &request(0, 60), now).unwrap();
    let refused = refusal(&budgets, &caller, &request(0, 41), now);
    assert_eq!(refused.level(), Level::Tenant);
    assert_eq!(
        (refused.used, refused.reserved, refused.needed),
        (0, 60, 41)
    );
    assert_eq!(
        refused.until,
        Until::RunningEnds,
        "what is held may come back"
    );
    let [key, project, tenant] = &budgets.usage(&caller, now)[..] else {
        panic!("three levels");
    };
    assert_eq!((key.tokens, key.budgets[0].reserved), (60, 60));
    assert_eq!((project.requests, project.running), (1, 1));
    assert_eq!(tenant.budgets[0].reserved, 60);
    drop(held);
    for node in budgets.usage(&caller, now) {
        assert_eq!((node.requests, node.tokens, node.running), (0, 0, 0));
        assert!(
            node.budgets
                .iter()
                .all(|it| it.used == 0 && it.reserved == 0)
        );
    }
}

#[test]
fn settling_replaces_the_estimate_by_what_it_cost() {
    let caller = of_key(json!({
        "limits": {"rpm": 10, "tpm": 1000},
        "budgets": [{"period": "day", "tokens": 1000, "money": {"amount": 1, "currency": "CNY"}}],
    }));
    let (budgets, now) = (Budgets::new(rates()), now(noon()));
    let less = budgets
        .reserve(&caller, &request(500_000, 500), now)
        .unwrap();
    less.settle(&spent(200_000, 100), now.monotonic);
    let more = budgets
        .reserve(&caller, &request(100_000, 100), now)
        .unwrap();
    more.settle(&spent(300_000, 300), now.monotonic);
    let [money, count] = key_budgets(&budgets, &caller, now)[..] else {
        panic!("two amounts");
    };
    assert_eq!((money.used, money.reserved), (500_000_000, 0));
    assert_eq!((count.used, count.reserved), (400, 0));
    let usage = &budgets.usage(&caller, now)[0];
    assert_eq!((usage.requests, usage.tokens, usage.running), (2, 400, 0));
}

#[test]
fn a_cancelled_request_costs_what_is_known_of_it() {
    let caller =
        of_key(json!({"limits": {"rpm": 2}, "budgets": [{"period": "day", "tokens": 100}]}));
    let (budgets, now) = (Budgets::new(rates()), now(noon()));
    let mut sent = budgets.reserve(&caller, &request(0, 90), now).unwrap();
    sent.observe(Spent::default());
    sent.observe(spent(0, 7));
    drop(sent);
    let never_sent = budgets.reserve(&caller, &request(0, 90), now).unwrap();
    drop(never_sent);
    let usage = &budgets.usage(&caller, now)[0];
    assert_eq!(usage.requests, 1, "only what was sent counts as a request");
    assert_eq!((usage.budgets[0].used, usage.budgets[0].reserved), (7, 0));
}

#[test]
fn limits_of_a_minute_say_when_they_are_free() {
    let caller = of_key(json!({"limits": {"rpm": 2, "tpm": 100}}));
    let (budgets, start) = (Budgets::new(rates()), now(noon()));
    let held = budgets.reserve(&caller, &request(0, 80), start).unwrap();
    held.settle(&spent(0, 80), start.monotonic);
    let second = later(start, Duration::from_secs(10));
    let refused = refusal(&budgets, &caller, &request(0, 30), second);
    assert_eq!(refused.kind, LimitKind::TokensPerMinute);
    assert_eq!(refused.retry_after(), Some(Duration::from_secs(50)));
    let held = budgets.reserve(&caller, &request(0, 20), second).unwrap();
    held.settle(&spent(0, 20), second.monotonic);
    let refused = refusal(&budgets, &caller, &request(0, 1), second);
    assert_eq!(refused.retry_after(), Some(Duration::from_secs(50)));
    assert_eq!(
        refused.to_string(),
        "the key may send 2 requests a minute; try again in 50 s"
    );
    let free = later(start, Duration::from_mins(1));
    assert!(budgets.reserve(&caller, &request(0, 80), free).is_ok());
    let too_large = refusal(&budgets, &caller, &request(0, 101), free);
    assert_eq!(too_large.until, Until::Never);
}

#[test]
fn the_limit_that_lasts_longest_is_named() {
    let tree = Tree::new(
        tokens("month", 10),
        tokens("day", 10),
        json!({"limits": {"rpm": 1, "concurrency": 1}}),
    );
    let (budgets, now) = (Budgets::new(rates()), now(noon()));
    let held = budgets
        .reserve(&tree.caller(), &request(0, 10), now)
        .unwrap();
    held.settle(&spent(0, 10), now.monotonic);
    let refused = refusal(&budgets, &tree.caller(), &request(0, 1), now);
    assert_eq!(refused.level(), Level::Tenant);
    assert_eq!(refused.resets_at(), Some(at("2026-11-30T16:00:00Z")));
    assert_eq!(
        refused.to_string(),
        "the tenant's month budget is 10 tokens, of which 10 tokens are used; this request may \
         need 1 tokens; it is renewed at 2026-11-30T16:00:00Z"
    );
}

#[test]
fn concurrency_is_free_again_at_once() {
    let caller = of_key(json!({"limits": {"concurrency": 1}}));
    let (budgets, now) = (Budgets::new(rates()), now(noon()));
    let held = budgets.reserve(&caller, &request(0, 0), now).unwrap();
    let refused = refusal(&budgets, &caller, &request(0, 0), now);
    assert_eq!(
        (refused.kind, refused.until),
        (LimitKind::Concurrency, Until::RunningEnds)
    );
    let more_of_the_same = Estimate {
        spent: spent(5, 5),
        requests: 0,
    };
    drop(budgets.reserve(&caller, &more_of_the_same, now).unwrap());
    held.settle(&Spent::default(), now.monotonic);
    assert!(budgets.reserve(&caller, &request(0, 0), now).is_ok());
}

#[test]
fn money_of_another_currency_is_converted_and_rounded_up() {
    let caller = of_key(json!({
        "budgets": [{"period": "total", "money": {"amount": "0.000000071", "currency": "CNY"}}],
    }));
    let (budgets, now) = (Budgets::new(rates()), now(noon()));
    let dollars = |nanos| {
        let cost = rates()
            .cost([Money::from_nanos(nanos, Currency::USD)])
            .unwrap();
        Estimate::of_request(Spent { cost, tokens: 0 })
    };
    assert_eq!(
        refusal(&budgets, &caller, &dollars(11), now).until,
        Until::Never
    );
    let held = budgets.reserve(&caller, &dollars(10), now).unwrap();
    assert_eq!(key_budgets(&budgets, &caller, now)[0].reserved, 71);
    held.settle(&dollars(1).spent, now.monotonic);
    assert_eq!(
        key_budgets(&budgets, &caller, now)[0].used,
        8,
        "7.1 rounded up"
    );
    let refused = refusal(&budgets, &caller, &dollars(10), now);
    assert_eq!(
        refused.until,
        Until::Never,
        "a total budget is never renewed"
    );
    assert!(refused.to_string().contains("0.000000071 CNY"), "{refused}");
}

#[test]
fn a_day_begins_at_midnight_in_beijing_and_a_late_end_counts_for_the_day_before() {
    let caller = of_key(tokens("day", 100));
    let budgets = Budgets::new(rates());
    let before = now(at("2026-11-27T15:59:59.999Z"));
    let held = budgets.reserve(&caller, &request(0, 100), before).unwrap();
    let kept = key_budgets(&budgets, &caller, before)[0];
    assert_eq!(kept.resets_at, Some(at("2026-11-27T16:00:00Z")));
    let after = later(before, Duration::from_millis(1));
    let next_day = budgets.reserve(&caller, &request(0, 100), after).unwrap();
    held.settle(&spent(0, 100), after.monotonic);
    let kept = key_budgets(&budgets, &caller, after)[0];
    assert_eq!((kept.used, kept.reserved), (0, 100));
    drop(next_day);
    assert!(budgets.reserve(&caller, &request(0, 100), after).is_ok());
}

#[test]
fn months_end_when_the_calendar_says() {
    for (last, first) in [
        ("2026-11-30T15:59:59Z", "2026-11-30T16:00:00Z"),
        ("2028-02-29T15:59:59Z", "2028-02-29T16:00:00Z"),
        ("2026-02-28T15:59:59Z", "2026-02-28T16:00:00Z"),
        ("2026-12-31T15:59:59Z", "2026-12-31T16:00:00Z"),
    ] {
        let caller = of_key(tokens("month", 1));
        let budgets = Budgets::new(rates());
        let last = now(at(last));
        let used = budgets.reserve(&caller, &request(0, 1), last).unwrap();
        used.settle(&spent(0, 1), last.monotonic);
        let refused = refusal(&budgets, &caller, &request(0, 1), last);
        assert_eq!(refused.resets_at(), Some(at(first)));
        assert_eq!(refused.retry_after(), Some(Duration::from_secs(1)));
        let first = now(at(first));
        assert!(budgets.reserve(&caller, &request(0, 1), first).is_ok());
    }
    let caller = of_key(tokens("day", 1));
    let budgets = Budgets::new(rates());
    let leap_day = now(at("2028-02-28T16:00:00Z"));
    let kept = key_budgets(&budgets, &caller, leap_day)[0];
    assert_eq!(kept.resets_at, Some(at("2028-02-29T16:00:00Z")));
}

#[test]
fn an_offset_of_its_own_moves_midnight() {
    let caller = of_key(json!({
        "budgets": [{"period": "day", "offset": "-05:00", "tokens": 1}],
    }));
    let budgets = Budgets::new(rates());
    let kept = key_budgets(&budgets, &caller, now(at("2026-11-27T04:00:00Z")))[0];
    assert_eq!(kept.resets_at, Some(at("2026-11-27T05:00:00Z")));
}

#[test]
fn a_clock_set_back_neither_opens_a_closed_day_nor_doubles_one() {
    let caller = of_key(tokens("day", 100));
    let budgets = Budgets::new(rates());
    let spend = |amount, wall| {
        let now = now(at(wall));
        let held = budgets.reserve(&caller, &request(0, amount), now)?;
        held.settle(&spent(0, amount), now.monotonic);
        Ok::<_, Refusal>(())
    };
    spend(60, "2026-11-27T15:00:00Z").unwrap();
    spend(90, "2026-11-27T16:00:00Z").unwrap();
    // Back in yesterday, of which 40 tokens would be left.
    assert!(spend(11, "2026-11-27T15:30:00Z").is_err());
    spend(10, "2026-11-27T15:30:00Z").unwrap();
    // And forward again, into a day that goes on with what it had.
    assert!(spend(1, "2026-11-27T16:30:00Z").is_err());
    spend(100, "2026-11-28T16:00:00Z").unwrap();
}

#[test]
fn a_restart_forgets_nothing_and_restoring_twice_doubles_nothing() {
    let tree = Tree::new(tokens("month", 100), json!({}), tokens("day", 50));
    let (caller, now) = (tree.caller(), now(noon()));
    let budgets = Budgets::new(rates());
    let due = budgets.due(&tree.directory(), now);
    assert_eq!(due.len(), 2);
    for round in 0..2 {
        for due in &due {
            let used = match due.account.node.level() {
                Level::Tenant => {
                    assert_eq!(due.from, Some(at("2026-10-31T16:00:00Z")));
                    assert_eq!(due.until, Some(at("2026-11-30T16:00:00Z")));
                    70
                }
                _ => 20,
            };
            budgets.restore(due, &spent(0, used), now);
        }
        assert!(
            budgets.due(&tree.directory(), now).is_empty(),
            "round {round}"
        );
    }
    assert!(budgets.reserve(&caller, &request(0, 31), now).is_err());
    let held = budgets.reserve(&caller, &request(0, 30), now).unwrap();
    held.settle(&spent(0, 30), now.monotonic);
    let refused = refusal(&budgets, &caller, &request(0, 1), now);
    assert_eq!((refused.level(), refused.used), (Level::Tenant, 100));
    let key = key_budgets(&budgets, &caller, now)[0];
    assert_eq!(key.used, 50);
}

#[test]
fn a_new_budget_is_due_until_the_ledger_was_asked() {
    let tree = Tree::new(json!({}), json!({}), json!({}));
    let (budgets, now) = (Budgets::new(rates()), now(noon()));
    assert!(budgets.due(&tree.directory(), now).is_empty());
    let tree = Tree::new(json!({}), json!({}), tokens("day", 50));
    let held = budgets
        .reserve(&tree.caller(), &request(0, 5), now)
        .unwrap();
    held.settle(&spent(0, 5), now.monotonic);
    let due = budgets.due(&tree.directory(), now);
    // The ledger has the five already.
    budgets.restore(&due[0], &spent(0, 45), now);
    assert_eq!(key_budgets(&budgets, &tree.caller(), now)[0].used, 45);
    let tomorrow = later(now, Duration::from_hours(24));
    assert!(
        budgets.due(&tree.directory(), tomorrow).is_empty(),
        "all of it was seen"
    );
}

#[test]
fn what_is_gone_is_forgotten_when_nothing_of_it_runs() {
    let tree = Tree::new(json!({}), json!({}), tokens("day", 50));
    let (budgets, now) = (Budgets::new(rates()), now(noon()));
    let held = budgets
        .reserve(&tree.caller(), &request(0, 5), now)
        .unwrap();
    let empty = support::directory(Vec::new());
    budgets.retain(&empty);
    assert_eq!(budgets.usage(&tree.caller(), now)[0].running, 1);
    held.settle(&spent(0, 5), now.monotonic);
    budgets.retain(&empty);
    assert_eq!(format!("{budgets:?}"), "Budgets { tenants: 0, .. }");
}

#[test]
fn a_changed_limit_holds_for_the_next_request() {
    let (budgets, now) = (Budgets::new(rates()), now(noon()));
    let held = budgets
        .reserve(&of_key(tokens("day", 50)), &request(0, 50), now)
        .unwrap();
    held.settle(&spent(0, 50), now.monotonic);
    assert!(
        budgets
            .reserve(&of_key(tokens("day", 60)), &request(0, 10), now)
            .is_ok()
    );
    assert!(
        budgets
            .reserve(&of_key(tokens("day", 40)), &request(0, 1), now)
            .is_err()
    );
}

/// Grants slices of ten out of one common pot, as a driver between replicas would in its own time.
#[derive(Clone, Default)]
struct Pot {
    left: Arc<Mutex<u64>>,
    mine: Arc<Mutex<HashMap<LimitKind, u64>>>,
}

impl BudgetShare for Pot {
    fn allotted(&self, standing: &Standing) -> u64 {
        let mut mine = self.mine.lock();
        let mine = mine.entry(standing.kind).or_default();
        let mut left = self.left.lock();
        while *mine < standing.needed && *left >= 10 {
            *left -= 10;
            *mine += 10;
        }
        *mine
    }
}

#[test]
fn replicas_that_share_a_pot_do_not_overspend_together() {
    let (caller, now) = (of_key(tokens("day", 100)), now(noon()));
    let left = Arc::new(Mutex::new(100));
    let replica = || {
        let pot = Pot {
            left: Arc::clone(&left),
            mine: Arc::default(),
        };
        Budgets::with_share(rates(), pot)
    };
    let replicas = [replica(), replica()];
    let mut used = 0;
    for round in 0..100 {
        let budgets = &replicas[round % 2];
        if let Ok(held) = budgets.reserve(&caller, &request(0, 3), now) {
            held.settle(&spent(0, 3), now.monotonic);
            used += 3;
        }
    }
    assert!((90..=100).contains(&used), "{used}");
}
