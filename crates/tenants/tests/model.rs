//! The accounts against a model that keeps every request and adds everything up each time.

mod support;

use std::time::Duration;

use bailian_tenants::budget::{Budgets, Reservation};
use bailian_tenants::{Caller, Now};
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};
use support::{Tree, at, directory, later, now, rates, request, spent};

const MINUTE: Duration = Duration::from_mins(1);
const EIGHT_HOURS: i64 = 8 * 3600;
const DAY: i64 = 24 * 3600;

/// Nodes: 0 is the tenant, 1 the project, 2 and 3 are its keys.
#[derive(Clone, Copy, Debug)]
struct Limits {
    rpm: u64,
    tpm: u64,
    concurrency: u64,
    day_tokens: u64,
    total_micros: u64,
}

impl Limits {
    fn json(self) -> Value {
        let amount = format!("0.{:06}", self.total_micros);
        json!({
            "limits": {"rpm": self.rpm, "tpm": self.tpm, "concurrency": self.concurrency},
            "budgets": [
                {"period": "day", "tokens": self.day_tokens},
                {"period": "total", "money": {"amount": amount, "currency": "CNY"}},
            ],
        })
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Reserve {
        key: usize,
        micros: u64,
        tokens: u64,
    },
    Settle {
        which: usize,
        micros: u64,
        tokens: u64,
    },
    Cancel {
        which: usize,
        known: Option<(u64, u64)>,
    },
    Pass {
        seconds: u64,
    },
    SetClock {
        back_seconds: i64,
    },
}

/// One request of the model.
struct Request {
    key: usize,
    at: Duration,
    /// The day in which each node of its chain was.
    days: [i64; 3],
    estimate: (u64, u64),
    end: Option<End>,
}

#[derive(Clone, Copy)]
struct End {
    at: Duration,
    /// `None` when it was never sent.
    spent: Option<(u64, u64)>,
}

#[derive(Default)]
struct Model {
    requests: Vec<Request>,
    /// The latest day that each node has seen.
    days: [i64; 4],
}

fn chain(key: usize) -> [usize; 3] {
    [key, 1, 0]
}

#[derive(Debug, PartialEq, Eq)]
struct Sums {
    running: u64,
    minute_requests: u64,
    minute_tokens: u64,
    day_used: u64,
    day_reserved: u64,
    total_used: u64,
    total_reserved: u64,
}

impl Model {
    fn see(&mut self, key: usize, wall: Timestamp) {
        let day = (wall.as_second() + EIGHT_HOURS).div_euclid(DAY);
        for node in chain(key) {
            self.days[node] = self.days[node].max(day);
        }
    }

    fn sums(&self, node: usize, now: Duration) -> Sums {
        let mut sums = Sums {
            running: 0,
            minute_requests: 0,
            minute_tokens: 0,
            day_used: 0,
            day_reserved: 0,
            total_used: 0,
            total_reserved: 0,
        };
        for request in &self.requests {
            let Some(place) = chain(request.key).iter().position(|it| *it == node) else {
                continue;
            };
            let is_today = request.days[place] == self.days[node];
            let is_recent = request.at + MINUTE > now;
            let (micros, tokens) = request.estimate;
            match request.end {
                None => {
                    sums.running += 1;
                    sums.minute_requests += u64::from(is_recent);
                    sums.minute_tokens += if is_recent { tokens } else { 0 };
                    sums.day_reserved += if is_today { tokens } else { 0 };
                    sums.total_reserved += micros * 1_000;
                }
                Some(End { spent: None, .. }) => {}
                Some(End {
                    at,
                    spent: Some((spent_micros, spent_tokens)),
                }) => {
                    sums.minute_requests += u64::from(is_recent);
                    sums.minute_tokens += if is_recent {
                        spent_tokens.min(tokens)
                    } else {
                        0
                    };
                    if at + MINUTE > now {
                        sums.minute_tokens += spent_tokens.saturating_sub(tokens);
                    }
                    sums.day_used += if is_today { spent_tokens } else { 0 };
                    sums.total_used += spent_micros * 1_000;
                }
            }
        }
        sums
    }

    fn admits(
        &self,
        limits: &[Limits; 4],
        key: usize,
        estimate: (u64, u64),
        now: Duration,
    ) -> bool {
        let (micros, tokens) = estimate;
        chain(key).into_iter().all(|node| {
            let (sums, limits) = (self.sums(node, now), limits[node]);
            let total = sums.total_used + sums.total_reserved + micros * 1_000;
            sums.running < limits.concurrency
                && sums.minute_requests < limits.rpm
                && (tokens == 0 || sums.minute_tokens + tokens <= limits.tpm)
                && sums.day_used + sums.day_reserved + tokens <= limits.day_tokens
                && total <= limits.total_micros * 1_000
        })
    }
}

fn limits() -> impl Strategy<Value = Limits> {
    (1u64..8, 1u64..200, 1u64..5, 1u64..300, 1u64..400).prop_map(
        |(rpm, tpm, concurrency, day_tokens, total_micros)| Limits {
            rpm,
            tpm,
            concurrency,
            day_tokens,
            total_micros,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (2usize..4, 0u64..40, 0u64..40)
            .prop_map(|(key, micros, tokens)| Step::Reserve { key, micros, tokens }),
        3 => (0usize..50, 0u64..60, 0u64..60)
            .prop_map(|(which, micros, tokens)| Step::Settle { which, micros, tokens }),
        2 => (0usize..50, prop::option::of((0u64..40, 0u64..40)))
            .prop_map(|(which, known)| Step::Cancel { which, known }),
        2 => prop_oneof![1u64..40, 3_600u64..90_000].prop_map(|seconds| Step::Pass { seconds }),
        1 => (-100_000i64..100_000).prop_map(|back_seconds| Step::SetClock { back_seconds }),
    ]
}

/// Compares all sums of a caller's chain.
fn compare(
    model: &mut Model,
    budgets: &Budgets,
    caller: &Caller,
    key: usize,
    now: Now,
    since: Duration,
) {
    model.see(key, now.wall);
    for (usage, node) in budgets.usage(caller, now).into_iter().zip(chain(key)) {
        let found = Sums {
            running: usage.running,
            minute_requests: usage.requests,
            minute_tokens: usage.tokens,
            day_used: usage.budgets[0].used,
            day_reserved: usage.budgets[0].reserved,
            total_used: usage.budgets[1].used,
            total_reserved: usage.budgets[1].reserved,
        };
        assert_eq!(found, model.sums(node, since), "node {node}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn accounts_are_what_adding_everything_up_gives(
        limits in [limits(), limits(), limits(), limits()],
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let tree = Tree::new(limits[0].json(), limits[1].json(), limits[2].json());
        let other = tree.sibling("the-other-key", limits[3].json());
        let mut rows = tree.rows();
        rows.push(bailian_tenants::model::Row::Key(other.clone()));
        let directory = directory(rows);
        let callers = [tree.key.id, other.id].map(|id| directory.caller_of(id).unwrap());
        let budgets = Budgets::new(rates());
        let mut model = Model::default();
        let mut running: Vec<(usize, Reservation)> = Vec::new();
        let start = now(at("2026-11-27T04:00:00Z"));
        let (mut current, mut since) = (start, Duration::ZERO);

        for step in steps {
            match step {
                Step::Pass { seconds } => {
                    let passed = Duration::from_secs(seconds);
                    current = later(current, passed);
                    since += passed;
                }
                Step::SetClock { back_seconds } => {
                    current.wall -= jiff::SignedDuration::from_secs(back_seconds);
                }
                Step::Reserve { key, micros, tokens } => {
                    let caller = &callers[key - 2];
                    model.see(key, current.wall);
                    let expected = model.admits(&limits, key, (micros, tokens), since);
                    let result = budgets.reserve(caller, &request(micros, tokens), current);
                    prop_assert_eq!(result.is_ok(), expected, "{:?}", result);
                    if let Ok(reservation) = result {
                        running.push((model.requests.len(), reservation));
                        model.requests.push(Request {
                            key,
                            at: since,
                            days: chain(key).map(|node| model.days[node]),
                            estimate: (micros, tokens),
                            end: None,
                        });
                    }
                    compare(&mut model, &budgets, caller, key, current, since);
                }
                Step::Settle { which, micros, tokens } if which < running.len() => {
                    let (request, reservation) = running.swap_remove(which);
                    reservation.settle(&spent(micros, tokens), current.monotonic);
                    let end = End { at: since, spent: Some((micros, tokens)) };
                    model.requests[request].end = Some(end);
                    let key = model.requests[request].key;
                    compare(&mut model, &budgets, &callers[key - 2], key, current, since);
                }
                Step::Cancel { which, known } if which < running.len() => {
                    let key = model.requests[running[which].0].key;
                    // A drop has no time of its own; it happens at the latest that was seen.
                    compare(&mut model, &budgets, &callers[key - 2], key, current, since);
                    let (request, mut reservation) = running.swap_remove(which);
                    if let Some((micros, tokens)) = known {
                        reservation.observe(spent(micros, tokens));
                    }
                    drop(reservation);
                    model.requests[request].end = Some(End { at: since, spent: known });
                    compare(&mut model, &budgets, &callers[key - 2], key, current, since);
                }
                Step::Settle { .. } | Step::Cancel { .. } => {}
            }
        }
        drop(running);
        for (caller, key) in callers.iter().zip([2, 3]) {
            for request in &mut model.requests {
                request.end.get_or_insert(End { at: since, spent: None });
            }
            compare(&mut model, &budgets, caller, key, current, since);
        }
    }
}
