//! Replicas that share a lane's limits through a ledger, on a virtual clock.
#![expect(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bailian_quota::share::{Ledger, Renewal, Terms};
use bailian_quota::{Admission, Demand, Event, LaneConfig, LaneCore, Limit, Measure, Usage};

const STEP: Duration = Duration::from_millis(10);
/// Steps between two renewals of a replica.
const RENEW: u32 = 10;
const SECOND: Duration = Duration::from_secs(1);

fn requests(text: &str) -> Limit {
    Limit::parse(Measure::Requests, text).unwrap().exactly()
}

struct Replica {
    id: String,
    lane: LaneCore<()>,
    /// Requests per second that come here.
    rate: f64,
    due: f64,
    lives: bool,
}

/// Replicas, the ledger between them, and when everything started.
struct Fleet {
    start: Instant,
    now: Duration,
    step: u32,
    replicas: Vec<Replica>,
    ledger: Option<Ledger>,
    starts: Vec<(Duration, usize)>,
}

impl Fleet {
    fn new(limits: &[Limit], rates: &[f64]) -> Self {
        let start = Instant::now();
        let replicas = rates.iter().enumerate().map(|(number, rate)| {
            let mut config = LaneConfig::new(limits.to_vec());
            config.ramp = None;
            let mut lane = LaneCore::new(config, start);
            lane.share(0.0);
            Replica {
                id: format!("replica-{number}"),
                lane,
                rate: *rate,
                due: 0.0,
                lives: true,
            }
        });
        Self {
            start,
            now: Duration::ZERO,
            step: 0,
            replicas: replicas.collect(),
            ledger: Some(Ledger::new(&Terms::default())),
            starts: Vec::new(),
        }
    }

    fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.now += STEP;
            self.step += 1;
            for number in 0..self.replicas.len() {
                self.turn(number);
            }
        }
    }

    fn turn(&mut self, number: usize) {
        let at = self.start + self.now;
        let offset = u32::try_from(number).unwrap();
        let replica = &mut self.replicas[number];
        if !replica.lives {
            return;
        }
        if (self.step + offset).is_multiple_of(RENEW)
            && let Some(ledger) = &mut self.ledger
            && let Some(renewal) = replica.lane.renewal(at)
            && let Some(told) = ledger.renew(&replica.id, &renewal, self.now)
        {
            replica.lane.apply(&told, at);
        }
        let demand = Demand::new("tenant", 10).patience(Some(Duration::from_secs(20)));
        replica.due += replica.rate * STEP.as_secs_f64();
        while replica.due >= 1.0 {
            replica.due -= 1.0;
            if let Ok(Admission::Granted(grant)) = replica.lane.request(&demand, at, || ()) {
                self.starts.push((self.now, number));
                replica.lane.settle(&grant, Usage::new(10, 0), at);
            }
        }
        let mut events = Vec::new();
        replica.lane.advance(at, &mut events);
        for event in events {
            if let Event::Granted((), grant) = event {
                self.starts.push((self.now, number));
                replica.lane.settle(&grant, Usage::new(10, 0), at);
            }
        }
    }

    /// The most starts in any window of so long.
    fn most_in(&self, period: Duration) -> usize {
        let mut window = VecDeque::new();
        let mut most = 0;
        for (at, _) in &self.starts {
            window.push_back(*at);
            while window.front().is_some_and(|first| *first + period <= *at) {
                window.pop_front();
            }
            most = most.max(window.len());
        }
        most
    }

    fn started(&self, from: Duration, to: Duration, number: Option<usize>) -> usize {
        let within = |(at, by): &&(Duration, usize)| {
            *at > from && *at <= to && number.is_none_or(|number| number == *by)
        };
        self.starts.iter().filter(within).count()
    }
}

#[test]
fn uneven_demand_uses_the_whole_limit_and_never_more() {
    let limits = [requests("600/60s"), requests("20/1s")];
    let mut fleet = Fleet::new(&limits, &[16.0, 3.0, 1.0]);
    fleet.run(Duration::from_mins(4));
    assert!(fleet.most_in(Duration::from_mins(1)) <= 600);
    assert!(fleet.most_in(SECOND) <= 20);
    let minute = Duration::from_mins(1);
    let used = fleet.started(minute, 4 * minute, None);
    assert!(used >= 1746, "{used} of 1800");
    // Who wants less than a fair share gets all of it.
    let small = fleet.started(minute, 4 * minute, Some(2));
    assert!(small >= 170, "{small} of 180");
    let medium = fleet.started(minute, 4 * minute, Some(1));
    assert!(medium >= 500, "{medium} of 540");
}

#[test]
fn a_replica_that_comes_to_a_busy_lane_soon_has_its_share() {
    let limits = [requests("600/60s")];
    let mut fleet = Fleet::new(&limits, &[20.0, 0.0]);
    fleet.run(Duration::from_mins(2));
    fleet.replicas[1].rate = 20.0;
    fleet.run(Duration::from_mins(3));
    let (from, to) = (Duration::from_mins(3), Duration::from_mins(5));
    let (first, second) = (
        fleet.started(from, to, Some(0)),
        fleet.started(from, to, Some(1)),
    );
    assert!(first + second >= 1164, "{first} and {second}");
    assert!(first.abs_diff(second) < 120, "{first} and {second}");
    assert!(fleet.most_in(Duration::from_mins(1)) <= 600);
    // Neither stood still meanwhile.
    let (from, to) = (Duration::from_mins(2), Duration::from_secs(130));
    assert!(fleet.started(from, to, Some(0)) > 20);
    assert!(fleet.started(from, to, Some(1)) > 20);
}

#[test]
fn what_a_dead_replica_held_is_taken_over_when_its_window_has_passed() {
    let limits = [requests("600/60s"), requests("20/1s")];
    let mut fleet = Fleet::new(&limits, &[20.0, 20.0, 20.0]);
    fleet.run(Duration::from_mins(2));
    fleet.replicas[0].lives = false;
    fleet.run(Duration::from_mins(4));
    assert!(fleet.most_in(Duration::from_mins(1)) <= 600);
    let used = fleet.started(Duration::from_mins(4), Duration::from_mins(6), None);
    assert!(used >= 1150, "{used} of 1200");
}

#[test]
fn a_ledger_that_was_away_and_came_back_empty_lets_nobody_exceed_the_limit() {
    let limits = [requests("600/60s"), requests("20/1s")];
    let mut fleet = Fleet::new(&limits, &[20.0, 5.0, 1.0]);
    fleet.run(Duration::from_mins(2));
    fleet.ledger = None;
    fleet.run(Duration::from_secs(20));
    fleet.ledger = Some(Ledger::new(&Terms::default()));
    fleet.replicas[0].rate = 1.0;
    fleet.replicas[2].rate = 20.0;
    fleet.run(Duration::from_mins(3));
    assert!(fleet.most_in(Duration::from_mins(1)) <= 600);
    assert!(fleet.most_in(SECOND) <= 20);
    let (from, to) = (Duration::from_mins(4), Duration::from_secs(320));
    let used = fleet.started(from, to, None);
    assert!(used >= 760, "{used} of 800");
}

#[test]
fn a_limit_smaller_than_the_number_of_replicas_goes_round() {
    let limits = [requests("2/1s")];
    let mut fleet = Fleet::new(&limits, &[3.0; 5]);
    fleet.run(Duration::from_secs(100));
    assert!(fleet.most_in(SECOND) <= 2);
    let used = fleet.started(Duration::ZERO, Duration::from_secs(100), None);
    assert!(used >= 120, "{used} of 200");
    for number in 0..5 {
        let own = fleet.started(Duration::ZERO, Duration::from_secs(100), Some(number));
        assert!(own >= 15, "{own} by {number}");
    }
}

#[test]
fn a_renewal_that_comes_late_changes_nothing() {
    let start = Instant::now();
    let mut ledger = Ledger::new(&Terms::default());
    let mut lane = LaneCore::<()>::new(LaneConfig::new(vec![requests("10/1s")]), start);
    lane.share(0.0);
    let first = lane.renewal(start).unwrap();
    let second = lane.renewal(start).unwrap();
    let renew = |ledger: &mut Ledger, renewal: &Renewal| ledger.renew("a", renewal, SECOND);
    assert!(renew(&mut ledger, &second).is_some());
    assert!(renew(&mut ledger, &first).is_none());
}

#[test]
fn one_replicas_refusal_is_a_lesson_to_all() {
    let start = Instant::now();
    let mut ledger = Ledger::new(&Terms::default());
    let mut told = Limit::parse(Measure::Requests, "100/1s").unwrap();
    told.exact = false;
    let mut lanes: Vec<LaneCore<()>> = (0..2)
        .map(|_| {
            let mut config = LaneConfig::new(vec![told]);
            config.ramp = None;
            let mut lane = LaneCore::new(config, start);
            lane.share(0.0);
            lane
        })
        .collect();
    let mut exchange = |lanes: &mut [LaneCore<()>], millis: u64| {
        let now = Duration::from_millis(millis);
        for (id, lane) in lanes.iter_mut().enumerate() {
            let renewal = lane.renewal(start + now).unwrap();
            let told = ledger.renew(&id.to_string(), &renewal, now).unwrap();
            lane.apply(&told, start + now);
        }
    };
    exchange(&mut lanes, 0);
    exchange(&mut lanes, 100);
    let at = start + Duration::from_millis(110);
    let Ok(Admission::Granted(grant)) = lanes[0].request(&Demand::new("a", 1), at, || ()) else {
        unreachable!("half of the limit is free")
    };
    lanes[0].refuse(&grant, &bailian_quota::Throttle::Requests, None, at);
    lanes[0].give_back(&grant, at);
    exchange(&mut lanes, 200);
    exchange(&mut lanes, 300);
    let allowed = |lane: &mut LaneCore<()>| lane.snapshot(at).limits[0].allowed;
    let (first, second) = (allowed(&mut lanes[0]), allowed(&mut lanes[1]));
    assert!(first + second < 80.0, "{first} and {second}");
}

#[test]
fn alone_a_replica_without_a_share_goes_on_with_one_where_that_is_a_fair_part() {
    let start = Instant::now();
    let mut ledger = Ledger::new(&Terms::default());
    let mut lanes: Vec<LaneCore<()>> = (0..3)
        .map(|_| {
            let limits = vec![requests("2/60s"), requests("20/1s")];
            let mut lane = LaneCore::new(LaneConfig::new(limits), start);
            lane.share(0.0);
            lane
        })
        .collect();
    for round in 0..3u64 {
        let now = Duration::from_millis(100 * round);
        for (id, lane) in lanes.iter_mut().enumerate() {
            let mut renewal = lane.renewal(start + now).unwrap();
            if id == 0 {
                // The first one wants everything.
                renewal
                    .limits
                    .iter_mut()
                    .for_each(|limit| limit.wanted = 1_000);
            }
            let told = ledger.renew(&id.to_string(), &renewal, now).unwrap();
            lane.apply(&told, start + now);
        }
    }
    // Per minute, and per second.
    let allowed = |lane: &mut LaneCore<()>| {
        let limits = lane.snapshot(start).limits;
        (limits[0].allowed, limits[1].allowed)
    };
    let (minute, second) = allowed(&mut lanes[2]);
    assert!(minute < 1.0 && second < 1.0);
    lanes.iter_mut().for_each(LaneCore::go_alone);
    let (minute, second) = allowed(&mut lanes[2]);
    // Two in a minute are not for three; twenty in a second are.
    assert!(minute < 1.0 && (1.0..2.0).contains(&second));
    assert!(allowed(&mut lanes[0]).1 >= 18.0, "nobody loses by it");
}
