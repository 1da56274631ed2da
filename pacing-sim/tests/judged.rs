//! Twice the load that an account may send, judged by the service's own count.

#![allow(
    clippy::unwrap_used,
    reason = "a test may stop at what it did not expect"
)]

use std::time::Duration;

use bailian_pacing_sim::{Incident, Outcome, Scenario, run};
use bailian_quota::{Class, Limit};
use bailian_sim::throttle::{BurstRule, Measure, WindowRule};

const MINUTE: Duration = Duration::from_mins(1);
const SECOND: Duration = Duration::from_secs(1);

/// Limits as the service has them, and as the gateways are told.
fn scenario(windows: &[(Measure, u64, Duration)], told: f64) -> Scenario {
    let mut scenario = Scenario::default();
    scenario.duration = 30 * MINUTE;
    for (measure, amount, period) in windows {
        let mut window = WindowRule::new(*measure, *amount, *period);
        window.phase = Duration::from_millis(317);
        scenario.truth.windows.push(window);
        let amount = (*amount as f64 * told).round();
        let text = format!("{amount}/{}ms", period.as_millis());
        let measure = match measure {
            Measure::Tokens => bailian_quota::Measure::Tokens,
            _ => bailian_quota::Measure::Requests,
        };
        scenario.told.push(Limit::parse(measure, &text).unwrap());
    }
    scenario
}

fn exact(mut scenario: Scenario) -> Scenario {
    scenario.told = scenario.told.into_iter().map(Limit::exactly).collect();
    scenario
}

fn requests_bound() -> Scenario {
    let limits = [
        (Measure::Requests, 600, MINUTE),
        (Measure::Requests, 20, SECOND),
    ];
    scenario(&limits, 1.0)
}

/// About 700 tokens a request: the tokens are used up at 5 requests per second.
fn tokens_bound() -> Scenario {
    let limits = [
        (Measure::Requests, 1200, MINUTE),
        (Measure::Tokens, 240_000, MINUTE),
    ];
    let mut scenario = scenario(&limits, 1.0);
    scenario.load.rate = 9.0;
    scenario
}

fn judge(outcome: &Outcome, scenario: &Scenario) -> (f64, u64) {
    let (from, to) = (3 * MINUTE, scenario.duration);
    outcome.print(from, to);
    let used = outcome.used(outcome.binding(from, to), from, to);
    (used, outcome.throttled_after(2 * MINUTE))
}

fn is_fair_and_quick(outcome: &Outcome, measure: Measure) {
    for class in [Class::High, Class::Normal] {
        let index = outcome.fairness(class, measure);
        assert!(index >= 0.98, "{}: {index}", class.as_str());
    }
    let high = outcome.classes[0].wait(0.99);
    assert!(high <= 60.0, "{high}");
}

#[test]
fn requests_bound_at_twice_the_limit_uses_it_and_nothing_is_throttled() {
    let scenario = exact(requests_bound());
    let outcome = run(&scenario);
    let (used, throttled) = judge(&outcome, &scenario);
    assert_eq!(throttled, 0);
    assert!(used >= 0.97, "{used}");
    is_fair_and_quick(&outcome, Measure::Requests);
    // Who is of a lower class waits for all that comes later and goes before it.
    let off = outcome.forecast_error(0.5);
    assert!(off <= 0.25, "{off}");
}

#[test]
fn in_one_class_nine_of_ten_forecasts_of_waits_are_right_within_a_fifth() {
    let mut scenario = exact(requests_bound());
    scenario.load.classes = 1;
    scenario.duration = 10 * MINUTE;
    let outcome = run(&scenario);
    let (used, throttled) = judge(&outcome, &scenario);
    assert_eq!(throttled, 0);
    assert!(used >= 0.97, "{used}");
    let off = outcome.forecast_error(0.9);
    assert!(off <= 0.2, "{off}");
    // The same seed, the same day.
    let again = run(&scenario);
    assert_eq!(
        (again.offered, again.admitted),
        (outcome.offered, outcome.admitted)
    );
}

#[test]
fn tokens_bound_at_twice_the_limit_uses_it_and_nothing_is_throttled() {
    let scenario = exact(tokens_bound());
    let outcome = run(&scenario);
    let (used, throttled) = judge(&outcome, &scenario);
    assert_eq!(throttled, 0);
    assert!(used >= 0.97, "{used}");
    is_fair_and_quick(&outcome, Measure::Tokens);
}

#[test]
fn short_windows_of_requests_and_tokens_are_used_too() {
    let limits = [
        (Measure::Requests, 50, SECOND),
        (Measure::Tokens, 150_000, 6 * SECOND),
    ];
    let mut scenario = exact(scenario(&limits, 1.0));
    scenario.duration = 10 * MINUTE;
    scenario.load.rate = 80.0;
    scenario.load.spread = 0.5;
    let outcome = run(&scenario);
    let (used, throttled) = judge(&outcome, &scenario);
    assert_eq!(throttled, 0);
    assert!(used >= 0.95, "{used}");
}

#[test]
fn a_burst_detector_finds_nothing_sudden() {
    let mut scenario = exact(requests_bound());
    scenario.truth.burst = Some(BurstRule::default());
    scenario.duration = 10 * MINUTE;
    let outcome = run(&scenario);
    judge(&outcome, &scenario);
    assert!(outcome.throttled <= 2, "{}", outcome.throttled);
}

#[test]
fn figures_that_are_wrong_by_two_are_put_right_at_the_price_of_a_few_refusals() {
    for told in [0.5, 2.0] {
        let limits = [
            (Measure::Requests, 600, MINUTE),
            (Measure::Requests, 20, SECOND),
        ];
        let mut scenario = scenario(&limits, told);
        scenario.duration = 6 * MINUTE;
        let outcome = run(&scenario);
        let (used, _) = judge(&outcome, &scenario);
        assert!(used >= 0.9, "told {told}: {used}");
        assert!(
            outcome.throttled <= 12,
            "told {told}: {}",
            outcome.throttled
        );
    }
}

#[test]
fn another_program_is_left_its_half_and_the_room_is_taken_back() {
    let mut scenario = requests_bound();
    scenario.duration = 16 * MINUTE;
    scenario.incidents = vec![
        (4 * MINUTE, Incident::OtherProgram(5.0)),
        (10 * MINUTE, Incident::OtherProgram(0.0)),
    ];
    let outcome = run(&scenario);
    judge(&outcome, &scenario);
    let throttled: u64 = outcome.minutes[5..10]
        .iter()
        .map(|minute| minute.throttled)
        .sum();
    let admitted: u64 = outcome.minutes[5..10]
        .iter()
        .map(|minute| minute.admitted)
        .sum();
    assert!(throttled * 100 <= admitted, "{throttled} of {admitted}");
    let back: u64 = outcome.minutes[12..15]
        .iter()
        .map(|minute| minute.admitted)
        .sum();
    assert!(back >= 1_700, "{back} of 1800");
}

#[test]
fn replicas_together_are_as_good_as_one_through_a_death_and_an_outage() {
    let mut scenario = exact(requests_bound());
    scenario.replicas = 3;
    scenario.duration = 20 * MINUTE;
    scenario.incidents = vec![
        (8 * MINUTE, Incident::Kill(2)),
        (12 * MINUTE, Incident::Start(2)),
        (15 * MINUTE, Incident::LedgerAway),
        (15 * MINUTE + 20 * SECOND, Incident::LedgerBack),
    ];
    let outcome = run(&scenario);
    let (used, throttled) = judge(&outcome, &scenario);
    assert!(used >= 0.95, "{used}");
    assert_eq!(throttled, 0);
    for class in [Class::High, Class::Normal] {
        let index = outcome.fairness(class, Measure::Requests);
        assert!(index >= 0.95, "{}: {index}", class.as_str());
    }
}
