//! A lane against a plain list of everything that it let go.
#![expect(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bailian_quota::{
    Admission, Class, Demand, Event, Grant, LaneConfig, LaneCore, Limit, Measure, Usage, WaiterId,
};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Ask {
        tenant: u8,
        class: usize,
        input: u64,
        patience: Option<u16>,
    },
    Pass(u16),
    End {
        which: usize,
        sent: bool,
    },
    Leave(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0u8..4, 0usize..3, 0u64..40, prop::option::of(0u16..3_000)).prop_map(
            |(tenant, class, input, patience)| Step::Ask { tenant, class, input, patience }
        ),
        4 => (0u16..400).prop_map(Step::Pass),
        3 => (any::<usize>(), prop::bool::weighted(0.8)).prop_map(|(which, sent)| Step::End { which, sent }),
        1 => any::<usize>().prop_map(Step::Leave),
    ]
}

/// Everything that went, in the simplest form.
#[derive(Default)]
struct Oracle {
    /// When, how many tokens at the start, and whether it was given back.
    sent: Vec<(Duration, u64)>,
    running: usize,
}

impl Oracle {
    fn check(&self, limits: &[Limit], now: Duration) {
        for limit in limits {
            let used: u64 = match limit.measure {
                Measure::Running => self.running as u64,
                measure => {
                    let recent = self.sent.iter().filter(|(at, _)| *at + limit.period > now);
                    recent
                        .map(|(_, tokens)| {
                            if measure == Measure::Tokens {
                                *tokens
                            } else {
                                1
                            }
                        })
                        .sum()
                }
            };
            // A request that is larger than a whole window of tokens goes alone.
            let recent = self.sent.iter().filter(|(at, _)| *at + limit.period > now);
            let with_tokens = recent.filter(|(_, tokens)| *tokens > 0).count();
            let alone = limit.measure == Measure::Tokens && with_tokens == 1;
            assert!(used <= limit.amount || alone, "{used} of {limit}");
        }
    }
}

struct Run {
    lane: LaneCore<u64>,
    start: Instant,
    now: Duration,
    oracle: Oracle,
    limits: Vec<Limit>,
    running: BTreeMap<u64, (Grant, Duration, u64)>,
    waiting: BTreeMap<u64, WaiterId>,
    /// Asked and neither let go nor refused nor left.
    open: BTreeSet<u64>,
    inputs: BTreeMap<u64, u64>,
}

impl Run {
    fn new(limits: Vec<Limit>) -> Self {
        let start = Instant::now();
        let mut config = LaneConfig::new(limits.clone());
        config.ramp = None;
        config.reserve_tokens = true;
        Self {
            lane: LaneCore::new(config, start),
            start,
            now: Duration::ZERO,
            oracle: Oracle::default(),
            limits,
            running: BTreeMap::new(),
            waiting: BTreeMap::new(),
            open: BTreeSet::new(),
            inputs: BTreeMap::new(),
        }
    }

    fn at(&self) -> Instant {
        self.start + self.now
    }

    fn granted(&mut self, number: u64, grant: Grant) {
        assert!(self.open.remove(&number), "{number} was let go twice");
        self.waiting.remove(&number);
        let tokens = grant.reserved_tokens();
        self.oracle.sent.push((self.now, tokens));
        self.oracle.running += 1;
        self.oracle.check(&self.limits, self.now);
        self.running.insert(number, (grant, self.now, tokens));
    }

    fn advance(&mut self) {
        let mut events = Vec::new();
        self.lane.advance(self.at(), &mut events);
        for event in events {
            match event {
                Event::Granted(number, grant) => self.granted(number, grant),
                Event::Refused(number, _) => {
                    assert!(self.open.remove(&number), "{number} ended twice");
                    self.waiting.remove(&number);
                }
            }
        }
    }

    fn pass(&mut self, until: Duration) {
        while let Some(next) = self.lane.next_event() {
            let next = next.saturating_duration_since(self.start);
            if next > until {
                break;
            }
            self.now = self.now.max(next);
            self.advance();
        }
        self.now = until;
    }

    fn end(&mut self, which: usize, sent: bool) {
        let Some(number) = self
            .running
            .keys()
            .nth(which % self.running.len().max(1))
            .copied()
        else {
            return;
        };
        let (grant, granted_at, tokens) = self.running.remove(&number).unwrap();
        self.oracle.running -= 1;
        if sent {
            let input = self.inputs[&number].min(tokens);
            self.lane.settle(&grant, Usage::new(input, 0), self.at());
            self.correct(granted_at, tokens, Some(input));
        } else {
            self.lane.give_back(&grant, self.at());
            self.correct(granted_at, tokens, None);
        }
        self.advance();
    }

    fn correct(&mut self, at: Duration, tokens: u64, real: Option<u64>) {
        let sent = &mut self.oracle.sent;
        let place = sent
            .iter()
            .position(|entry| *entry == (at, tokens))
            .unwrap();
        match real {
            Some(real) => sent[place].1 = real,
            None => drop(sent.remove(place)),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_lane_lets_go_what_a_plain_list_allows_and_everybody_in_the_end(
        steps in prop::collection::vec(step(), 1..250),
        requests in 1u64..8,
        tokens in 20u64..200,
        running in 1u64..6,
    ) {
        let limits = vec![
            Limit::requests(requests, Duration::from_secs(1)).exactly(),
            Limit::requests(requests * 6, Duration::from_secs(10)).exactly(),
            Limit::tokens(tokens, Duration::from_secs(2)).exactly(),
            Limit::running(running).exactly(),
        ];
        let mut run = Run::new(limits);
        for (number, step) in (0u64..).zip(steps) {
            match step {
                Step::Ask { tenant, class, input, patience } => {
                    let demand = Demand::new(format!("tenant-{tenant}"), input)
                        .class(Class::ALL[class])
                        .without_output()
                        .patience(patience.map(|millis| Duration::from_millis(millis.into())));
                    run.open.insert(number);
                    run.inputs.insert(number, input);
                    match run.lane.request(&demand, run.at(), || number) {
                        Ok(Admission::Granted(grant)) => run.granted(number, grant),
                        Ok(Admission::Queued(id)) => {
                            run.waiting.insert(number, id);
                            run.advance();
                        }
                        Err(_) => {
                            run.open.remove(&number);
                        }
                    }
                }
                Step::Pass(millis) => {
                    let until = run.now + Duration::from_millis(millis.into());
                    run.pass(until);
                }
                Step::End { which, sent } => run.end(which, sent),
                Step::Leave(which) => {
                    let count = run.waiting.len().max(1);
                    let chosen = run.waiting.iter().nth(which % count).map(|(n, id)| (*n, *id));
                    if let Some((number, id)) = chosen {
                        prop_assert_eq!(run.lane.cancel(id), Some(number));
                        run.waiting.remove(&number);
                        run.open.remove(&number);
                        run.advance();
                    }
                }
            }
        }
        // Nobody is forgotten: as answers end and time passes, everybody goes or is refused.
        for _ in 0..2_000 {
            if run.open.is_empty() && run.running.is_empty() {
                break;
            }
            run.end(0, true);
            let until = run.now + Duration::from_millis(500);
            run.pass(until);
        }
        prop_assert!(run.open.is_empty(), "still open: {:?}", run.open);
        prop_assert_eq!(run.lane.waiting(), 0);
    }
}
