//! The pure core against hand-made cases and against an upstream that counts fixed windows.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a helper that fails is a test that fails"
)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bailian_quota::{
    Admission, Class, Demand, Event, Grant, LaneConfig, LaneCore, LaneSnapshot, Limit, Refused,
    Stop, Throttle, Usage,
};

const SECOND: Duration = Duration::from_secs(1);

fn requests(text: &str) -> Limit {
    Limit::parse(bailian_quota::Measure::Requests, text).unwrap()
}

fn tokens(text: &str) -> Limit {
    Limit::parse(bailian_quota::Measure::Tokens, text).unwrap()
}

fn config(limits: Vec<Limit>) -> LaneConfig {
    let mut config = LaneConfig::new(limits);
    config.ramp = None;
    config
}

fn granted(admission: Result<Admission, Refused>) -> Grant {
    match admission.unwrap() {
        Admission::Granted(grant) => grant,
        Admission::Queued(_) => panic!("it was queued"),
    }
}

/// A lane on a virtual clock, with everybody's grants by time.
struct Run {
    lane: LaneCore<usize>,
    start: Instant,
    now: Duration,
    grants: Vec<(Duration, usize, Grant)>,
    refused: BTreeMap<usize, Refused>,
}

impl Run {
    fn new(config: LaneConfig) -> Self {
        let start = Instant::now();
        Self {
            lane: LaneCore::new(config, start),
            start,
            now: Duration::ZERO,
            grants: Vec::new(),
            refused: BTreeMap::new(),
        }
    }

    fn at(&self) -> Instant {
        self.start + self.now
    }

    fn ask(&mut self, number: usize, demand: &Demand) {
        match self.lane.request(demand, self.at(), || number) {
            Ok(Admission::Granted(grant)) => self.grants.push((self.now, number, grant)),
            Ok(Admission::Queued(_)) => self.turn(),
            Err(refused) => {
                self.refused.insert(number, refused);
            }
        }
    }

    fn turn(&mut self) {
        let mut events = Vec::new();
        self.lane.advance(self.at(), &mut events);
        for event in events {
            match event {
                Event::Granted(number, grant) => self.grants.push((self.now, number, grant)),
                Event::Refused(number, refused) => {
                    self.refused.insert(number, refused);
                }
            }
        }
    }

    /// Lets the time pass until `until`, looking whenever the lane wants to.
    fn pass(&mut self, until: Duration) {
        while let Some(next) = self.lane.next_event() {
            let next = next.saturating_duration_since(self.start);
            if next > until {
                break;
            }
            self.now = self.now.max(next);
            self.turn();
        }
        self.now = until;
    }
}

#[test]
fn no_sliding_window_ever_holds_more_than_its_limit_and_hardly_less() {
    let mut run = Run::new(config(vec![requests("600/60s"), requests("20/1s")]));
    // The figures are right, and must be taken for that.
    run.lane.set_limits(vec![
        requests("600/60s").exactly(),
        requests("20/1s").exactly(),
    ]);
    let demand = Demand::new("a", 10);
    for number in 0..900 {
        run.ask(number, &demand);
    }
    run.pass(Duration::from_secs(59));
    let count = |from: Duration, length: Duration| {
        run.grants
            .iter()
            .filter(|(at, ..)| *at >= from && *at < from + length)
            .count()
    };
    for millis in (0..59_000).step_by(50) {
        assert!(count(Duration::from_millis(millis), SECOND) <= 20);
    }
    let first_minute = count(Duration::ZERO, Duration::from_mins(1));
    assert!((595..=600).contains(&first_minute), "{first_minute}");
}

#[test]
fn a_thousand_at_once_never_overshoot_any_of_five_limits() {
    let limits = vec![
        requests("300/60s").exactly(),
        requests("40/1s").exactly(),
        tokens("90000/60s").exactly(),
        requests("250/60s")
            .of(bailian_quota::Layer::Workspace)
            .exactly(),
        Limit::running(35).exactly(),
    ];
    let mut settings = config(limits);
    settings.reserve_tokens = true;
    let mut run = Run::new(settings);
    let demand = Demand::new("a", 500).max_output_tokens(Some(100));
    for number in 0..1_000 {
        run.ask(number, &demand);
    }
    assert!(run.grants.len() <= 35);
    let mut reserved = 0;
    for second in 1..=59 {
        for (_, _, grant) in std::mem::take(&mut run.grants) {
            reserved += grant.reserved_tokens();
            let at = run.at();
            run.lane.settle(&grant, Usage::new(500, 100), at);
        }
        run.turn();
        run.pass(second * SECOND);
    }
    assert!(reserved <= 90_000, "{reserved}");
    assert!(reserved > 60_000, "{reserved}");
}

#[test]
fn tenants_of_a_class_share_evenly_however_much_one_of_them_asks() {
    let mut run = Run::new(config(vec![requests("50/1s").exactly()]));
    for number in 0..900 {
        run.ask(number, &Demand::new("flood", 10));
    }
    for number in 1_000..1_100 {
        run.ask(number, &Demand::new("quiet", 10));
    }
    run.pass(Duration::from_secs(4));
    let quiet = run.grants.iter().filter(|(_, n, _)| *n >= 1_000).count();
    assert!((90..=100).contains(&quiet), "{quiet}");
}

#[test]
fn higher_classes_go_first_and_the_lowest_keeps_its_floor() {
    let mut run = Run::new(config(vec![requests("100/1s").exactly()]));
    for number in 0..900 {
        run.ask(number, &Demand::new("low", 10).class(Class::Low));
        run.ask(1_000 + number, &Demand::new("high", 10).class(Class::High));
    }
    let before = run.grants.len();
    run.pass(Duration::from_secs(8));
    let after = &run.grants[before..];
    let low = after.iter().filter(|(_, n, _)| *n < 1_000).count();
    let share = low as f64 / after.len() as f64;
    assert!((0.03..0.08).contains(&share), "{share}");
}

#[test]
fn a_wait_that_is_too_long_is_refused_at_once_with_the_time_it_would_take() {
    let mut run = Run::new(config(vec![requests("10/1s").exactly()]));
    let patient = Demand::new("a", 10);
    for number in 0..200 {
        run.ask(number, &patient);
    }
    let hurried = patient.clone().patience(Some(5 * SECOND));
    run.ask(999, &hurried);
    let told = run.refused[&999].retry_after().unwrap();
    // The same request, had it waited:
    run.ask(1_000, &patient);
    let asked = run.now;
    run.pass(Duration::from_mins(1));
    let (at, ..) = run.grants.iter().find(|(_, n, _)| *n == 1_000).unwrap();
    let real = at.checked_sub(asked).unwrap();
    let error = (told.as_secs_f64() - real.as_secs_f64()).abs() / real.as_secs_f64();
    assert!(error < 0.1, "told {told:?}, real {real:?}");
}

#[test]
fn who_leaves_frees_the_place_at_once() {
    let now = Instant::now();
    let mut lane = LaneCore::new(config(vec![Limit::running(1)]), now);
    let demand = Demand::new("a", 10);
    let grant = granted(lane.request(&demand, now, || 0));
    let Ok(Admission::Queued(first)) = lane.request(&demand, now, || 1) else {
        panic!("it was not queued");
    };
    assert!(lane.request(&demand, now, || 2).is_ok());
    assert_eq!(lane.cancel(first), Some(1));
    assert_eq!(lane.cancel(first), None);
    lane.settle(&grant, Usage::unknown(), now);
    let mut events = Vec::new();
    lane.advance(now, &mut events);
    assert!(matches!(events[..], [Event::Granted(2, _)]));
}

#[test]
fn lines_are_bounded_per_tenant_and_all_together() {
    let now = Instant::now();
    let mut settings = config(vec![Limit::running(1)]);
    settings.max_waiting = 3;
    settings.max_waiting_per_tenant = 2;
    let mut lane = LaneCore::new(settings, now);
    let _running = granted(lane.request(&Demand::new("a", 1), now, || 0));
    for n in 0..2 {
        assert!(lane.request(&Demand::new("a", 1), now, || n).is_ok());
    }
    let own = lane.request(&Demand::new("a", 1), now, || 9).unwrap_err();
    assert!(matches!(own, Refused::TenantLineFull { .. }));
    assert!(lane.request(&Demand::new("b", 1), now, || 3).is_ok());
    let all = lane.request(&Demand::new("c", 1), now, || 9).unwrap_err();
    assert!(matches!(all, Refused::LineFull { .. }));
}

#[test]
fn a_stopped_lane_says_why_and_tries_one_request_later() {
    let now = Instant::now();
    let mut lane: LaneCore<usize> = LaneCore::new(config(vec![]), now);
    let demand = Demand::new("a", 1);
    let grant = granted(lane.request(&demand, now, || 0));
    let stop = Stop::new("Arrearage", "Access denied", 400);
    lane.refuse(&grant, &Throttle::Exhausted(stop), None, now);
    lane.give_back(&grant, now);
    let refused = lane.request(&demand, now + SECOND, || 1).unwrap_err();
    assert!(matches!(&refused, Refused::Stopped { code, .. } if &**code == "Arrearage"));
    let later = now + refused.retry_after().unwrap() + SECOND;
    let probe = granted(lane.request(&demand, later, || 2));
    assert!(lane.request(&demand, later, || 3).is_err(), "one at a time");
    lane.admitted(&probe);
    assert!(lane.request(&demand, later, || 4).is_ok());
}

#[test]
fn a_full_lane_lets_patient_requests_wait_and_forecasts_from_how_long_answers_take() {
    let start = Instant::now();
    let mut lane = LaneCore::new(config(vec![Limit::running(2)]), start);
    let demand = Demand::new("a", 10).patience(Some(25 * SECOND));
    let first = granted(lane.request(&demand, start, || 0));
    let _second = granted(lane.request(&demand, start, || 0));
    let third = lane.request(&demand, start, || 3);
    assert!(matches!(third, Ok(Admission::Queued(_))), "{third:?}");
    lane.settle(&first, Usage::new(10, 10), start + 4 * SECOND);
    let mut events = Vec::new();
    lane.advance(start + 4 * SECOND, &mut events);
    assert!(matches!(events[..], [Event::Granted(3, _)]));
    // An answer takes four seconds and two run at once: one place every two seconds.
    for _ in 0..9 {
        let asked = lane.request(&demand, start + 4 * SECOND, || 4);
        assert!(matches!(asked, Ok(Admission::Queued(_))), "{asked:?}");
    }
    let wait = lane.expected_wait(&demand, start + 4 * SECOND);
    assert!((18 * SECOND..=22 * SECOND).contains(&wait), "{wait:?}");
    let hurried = demand.clone().patience(Some(5 * SECOND));
    let refused = lane
        .request(&hurried, start + 4 * SECOND, || 5)
        .unwrap_err();
    assert_eq!(refused.retry_after(), Some(wait));
}

#[test]
fn what_is_given_back_after_its_window_has_passed_frees_nobody_elses_place() {
    let start = Instant::now();
    let mut lane = LaneCore::new(config(vec![requests("2/1s").exactly()]), start);
    let demand = Demand::new("a", 10);
    let stale = granted(lane.request(&demand, start, || 0));
    let later = start + 10 * SECOND;
    for _ in 0..2 {
        let _sent = granted(lane.request(&demand, later, || 0));
    }
    lane.give_back(&stale, later);
    let third = lane.request(&demand, later, || 0);
    assert!(matches!(third, Ok(Admission::Queued(_))), "{third:?}");
}

#[test]
fn a_long_answer_that_cost_less_than_thought_frees_nobody_elses_tokens() {
    let start = Instant::now();
    let mut lane = LaneCore::new(config(vec![tokens("1000/1s").exactly()]), start);
    let large = Demand::new("a", 900).without_output();
    let stale = granted(lane.request(&large, start, || 0));
    let later = start + 10 * SECOND;
    let _sent = granted(lane.request(&large, later, || 0));
    let before = lane.snapshot(later).limits[0].used;
    lane.settle(&stale, Usage::new(100, 0), later);
    assert_eq!(lane.snapshot(later).limits[0].used, before);
}

#[test]
fn an_error_that_cost_nothing_teaches_nothing_of_what_answers_cost() {
    let now = Instant::now();
    let mut lane = LaneCore::new(config(vec![]), now);
    let demand = Demand::new("a", 100);
    for _ in 0..20 {
        let grant = granted(lane.request(&demand, now, || 0));
        lane.settle(&grant, Usage::new(100, 300), now + 3 * SECOND);
    }
    let before = lane.snapshot(now + 3 * SECOND);
    for _ in 0..20 {
        let grant = granted(lane.request(&demand, now + 4 * SECOND, || 0));
        lane.settle(&grant, Usage::new(0, 0), now + 4 * SECOND);
    }
    let after = lane.snapshot(now + 4 * SECOND);
    let factor = |snapshot: &LaneSnapshot| snapshot.input_factor.to_bits();
    assert_eq!(factor(&before), factor(&after));
    assert_eq!(before.answer_seconds, after.answer_seconds);
}

#[test]
fn a_limit_that_is_withdrawn_no_longer_holds_anything_back() {
    let now = Instant::now();
    let mut lane = LaneCore::new(config(vec![requests("1/60s").exactly()]), now);
    let demand = Demand::new("a", 10);
    let _sent = granted(lane.request(&demand, now, || 0));
    lane.set_limits(vec![requests("50/1s").exactly()]);
    let second = lane.request(&demand, now, || 0);
    assert!(matches!(second, Ok(Admission::Granted(_))), "{second:?}");
}

#[test]
fn requests_that_were_under_way_at_a_refusal_do_not_cut_again() {
    let now = Instant::now();
    let mut lane = LaneCore::new(config(vec![requests("100/1s")]), now);
    let demand = Demand::new("a", 10);
    let sent: Vec<Grant> = (0..10)
        .map(|_| granted(lane.request(&demand, now, || 0)))
        .collect();
    let mut allowed = Vec::new();
    for grant in &sent {
        lane.refuse(grant, &Throttle::Requests, None, now + SECOND / 100);
        allowed.push(lane.snapshot(now + SECOND / 100).limits[0].allowed);
        lane.give_back(grant, now + SECOND / 100);
    }
    assert!(allowed[0] < 100.0);
    allowed.dedup();
    assert_eq!(allowed.len(), 1, "{allowed:?}");
}

/// Twice as much is offered as an upstream with fixed windows allows; the lane was told `told`.
/// Returns refusals of the upstream and the used part of the last minute.
fn against_fixed_windows(told: Vec<Limit>, allowed: usize, window: Duration) -> (usize, f64) {
    let mut run = Run::new(config(told));
    let demand = Demand::new("a", 10).patience(Some(25 * SECOND));
    let offered = SECOND.mul_f64(window.as_secs_f64() / allowed as f64 / 2.0);
    let offered = offered.div_f64(SECOND.as_secs_f64());
    let mut counts: BTreeMap<u128, usize> = BTreeMap::new();
    let (mut refusals, mut next, mut number, mut seen) = (0, Duration::ZERO, 0, 0);
    let end = Duration::from_mins(3);
    while run.now < end {
        run.ask(number, &demand);
        number += 1;
        next += offered;
        while run.now < next {
            let until = (run.now + Duration::from_millis(5)).min(next);
            run.pass(until);
            while seen < run.grants.len() {
                let (at, number, grant) = run.grants.remove(seen);
                let slot = (at + Duration::from_millis(317)).as_nanos() / window.as_nanos();
                let count = counts.entry(slot).or_default();
                if *count < allowed {
                    *count += 1;
                    let now = run.at();
                    run.lane.admitted(&grant);
                    run.lane.settle(&grant, Usage::new(10, 10), now);
                    run.grants.insert(seen, (at, number, grant));
                    seen += 1;
                } else {
                    refusals += 1;
                    let now = run.at();
                    run.lane.refuse(&grant, &Throttle::Requests, None, now);
                    run.lane.requeue(grant, 1, demand.patience, now, number);
                    run.turn();
                }
            }
        }
    }
    let full: Vec<usize> = counts
        .iter()
        .filter(|(slot, _)| {
            let from = window * u32::try_from(**slot).unwrap();
            from >= Duration::from_mins(1) && from + window <= end
        })
        .map(|(_, count)| *count)
        .collect();
    let used = full.iter().sum::<usize>() as f64 / (full.len() * allowed) as f64;
    (refusals, used)
}

#[test]
fn told_the_truth_nothing_is_refused_and_nearly_all_is_used() {
    for (text, allowed, window) in [("10/1s", 10, 1), ("600/60s", 600, 60), ("100/6s", 100, 6)] {
        let window = Duration::from_secs(window);
        let (refusals, used) =
            against_fixed_windows(vec![requests(text).exactly()], allowed, window);
        assert_eq!(refusals, 0, "{text}");
        assert!(used >= 0.97, "{text}: {used}");
    }
}

#[test]
fn wrong_or_unknown_figures_are_put_right_within_a_minute_at_the_price_of_a_few_refusals() {
    for told in [vec![requests("20/1s")], vec![requests("5/1s")], vec![]] {
        let (refusals, used) = against_fixed_windows(told.clone(), 10, SECOND);
        assert!(used >= 0.9, "{told:?}: {used}, {refusals} refusals");
        assert!(refusals <= 8, "{told:?}: {refusals}");
        println!("{told:?}: {used:.3} used, {refusals} refused");
    }
}

#[test]
fn what_was_sent_before_a_limit_was_told_counts_against_it() {
    let mut run = Run::new(config(Vec::new()));
    let demand = Demand::new("a", 10);
    for number in 0..3 {
        run.ask(number, &demand);
    }
    run.now = Duration::from_millis(100);
    let workspace = requests("5/1s").of(bailian_quota::Layer::Workspace);
    run.lane
        .set_limits(vec![requests("9/1s").exactly(), workspace.exactly()]);
    for number in 3..12 {
        run.ask(number, &demand);
    }
    run.pass(Duration::from_millis(900));
    assert_eq!(run.grants.len(), 5);
}
