//! Properties of the retry budget.

use std::time::{Duration, Instant};

use bailian_quota::{RetryBudget, RetryBudgetLimits, RetryCost};
use proptest::prelude::*;

fn limits(capacity: u32, refill_per_second: u32) -> RetryBudgetLimits {
    let mut limits = RetryBudgetLimits::default();
    limits.capacity = capacity;
    limits.refill_per_second = refill_per_second;
    limits
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Retry(RetryCost),
    Success,
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        Just(Step::Retry(RetryCost::Answered)),
        Just(Step::Retry(RetryCost::Unanswered)),
        Just(Step::Success),
        (0_u64..5_000_000_000).prop_map(Step::Pass),
    ];
    proptest::collection::vec(step, 1..200)
}

#[test]
fn an_outage_without_successes_stops_retrying_when_the_bucket_is_empty() {
    let now = Instant::now();
    let budget = RetryBudget::new(RetryBudgetLimits::default(), now);
    let granted = (0..1000)
        .filter(|_| budget.try_withdraw(RetryCost::Answered, now).is_ok())
        .count();
    assert_eq!(granted, 100);
}

#[test]
fn five_successes_pay_for_one_retry() {
    let now = Instant::now();
    let budget = RetryBudget::new(limits(5, 0), now);
    assert!(budget.try_withdraw(RetryCost::Answered, now).is_ok());
    for _ in 0..4 {
        budget.deposit_success(now);
        assert!(budget.try_withdraw(RetryCost::Answered, now).is_err());
    }
    budget.deposit_success(now);
    assert!(budget.try_withdraw(RetryCost::Answered, now).is_ok());
}

#[test]
fn a_refusal_names_the_exact_instant_at_which_the_retry_becomes_payable() {
    let now = Instant::now();
    let budget = RetryBudget::new(limits(5, 3), now);
    assert!(budget.try_withdraw(RetryCost::Answered, now).is_ok());
    let until = budget
        .try_withdraw(RetryCost::Answered, now)
        .unwrap_err()
        .until
        .unwrap();
    let just_before = until.checked_sub(Duration::from_nanos(1)).unwrap();
    assert!(
        budget
            .try_withdraw(RetryCost::Answered, just_before)
            .is_err()
    );
    assert!(budget.try_withdraw(RetryCost::Answered, until).is_ok());
}

#[test]
fn a_price_above_the_capacity_is_refused_for_ever_instead_of_waited_for() {
    let now = Instant::now();
    let budget = RetryBudget::new(limits(5, 3), now);
    assert_eq!(
        budget
            .try_withdraw(RetryCost::Unanswered, now)
            .unwrap_err()
            .until,
        None
    );
}

proptest! {
    #[test]
    fn what_is_spent_never_exceeds_capacity_plus_refills(
        steps in steps(), capacity in 0_u32..200, per_second in 0_u32..10,
    ) {
        let start = Instant::now();
        let limits = limits(capacity, per_second);
        let budget = RetryBudget::new(limits, start);
        let (mut now, mut spent, mut successes) = (start, 0_u128, 0_u128);
        for step in steps {
            match step {
                Step::Retry(cost) => if budget.try_withdraw(cost, now).is_ok() {
                    spent += if cost == RetryCost::Answered { 5 } else { 10 };
                },
                Step::Success => { budget.deposit_success(now); successes += 1; }
                Step::Pass(nanos) => now += Duration::from_nanos(nanos),
            }
            let passed = (now - start).as_nanos();
            let earned = passed * u128::from(per_second);
            prop_assert!(spent * 1_000_000_000 <= u128::from(capacity) * 1_000_000_000
                + successes * 1_000_000_000 + earned);
            prop_assert!(budget.balance(now) <= u64::from(capacity));
        }
    }

    #[test]
    fn many_small_refills_equal_one_large_one(parts in proptest::collection::vec(0_u64..40_000_000, 1..100)) {
        let start = Instant::now();
        let many = RetryBudget::new(limits(1000, 7), start);
        let once = RetryBudget::new(limits(1000, 7), start);
        for budget in [&many, &once] {
            while budget.try_withdraw(RetryCost::Answered, start).is_ok() {}
        }
        let mut now = start;
        for part in parts {
            now += Duration::from_nanos(part);
            many.balance(now);
        }
        prop_assert_eq!(many.balance(now), once.balance(now));
    }
}
