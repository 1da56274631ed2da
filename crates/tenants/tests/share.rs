//! Replicas that divide budgets, against a model that adds up everything that any of them spent.
#![expect(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]

mod support;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bailian_tenants::budget::share::{Ask, AskWhat, HoldKey, Holds, Pot, PotTerms};
use bailian_tenants::budget::{Budgets, Reservation, Until};
use bailian_tenants::{Caller, Now};
use proptest::prelude::*;
use serde_json::json;
use support::{Tree, at, later, rates, request, spent};

const REPLICAS: usize = 3;
/// The budget of the day in tokens, and the whole of money, in millionths.
const TOKENS: u64 = 300;
const MICROS: u64 = 250_000;

#[derive(Clone, Copy, Debug)]
enum Fate {
    Arrives,
    /// The report is lost.
    Lost,
    /// The report arrives, the answer is lost.
    Unheard,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Reserve {
        replica: usize,
        micros: u64,
        tokens: u64,
        fate: Fate,
    },
    Settle {
        which: usize,
        part: u64,
    },
    Cancel {
        which: usize,
    },
    Tell {
        replica: usize,
        fate: Fate,
    },
    /// A replica ends as it should, when nothing of its own runs, and another begins.
    Restart {
        replica: usize,
    },
    /// A replica is killed: nobody knows what became of what it ran.
    Kill {
        replica: usize,
    },
    /// Redis loses everything; those that live tell it what they hold.
    Lose,
    Pass {
        millis: u64,
    },
    NextDay,
}

struct Replica {
    budgets: Budgets,
    holds: Holds,
    name: usize,
}

struct Running {
    replica: usize,
    held: Reservation,
    micros: u64,
    tokens: u64,
    day: i64,
}

fn tree() -> Tree {
    let budgets = json!({"budgets": [
        {"period": "day", "tokens": TOKENS, "offset": "+00:00"},
        {"period": "total", "money": {"amount": "0.25", "currency": "CNY"}},
    ]});
    Tree::new(budgets, json!({}), json!({}))
}

/// Everything, seen from above.
struct World {
    caller: Caller,
    now: Now,
    began: Instant,
    day: i64,
    replicas: Vec<Replica>,
    names: usize,
    pots: HashMap<HoldKey, Pot>,
    running: Vec<Running>,
    /// Tokens of a day, and money, that were spent, or may have been by a replica that was killed.
    tokens: HashMap<i64, u64>,
    micros: u64,
    killed: bool,
    /// What killed replicas ran.
    gone: Vec<Reservation>,
    /// When everything was lost.
    lost_at: Option<Duration>,
}

impl World {
    fn new() -> Self {
        let caller = tree().caller();
        let now = Now {
            wall: at("2026-11-27T00:00:00Z"),
            monotonic: Instant::now(),
        };
        let mut world = Self {
            caller,
            now,
            began: now.monotonic,
            day: now.wall.as_second().div_euclid(24 * 3600),
            replicas: Vec::new(),
            names: 0,
            pots: HashMap::new(),
            running: Vec::new(),
            tokens: HashMap::new(),
            micros: 0,
            killed: false,
            gone: Vec::new(),
            lost_at: None,
        };
        for _ in 0..REPLICAS {
            let replica = world.begin();
            world.replicas.push(replica);
        }
        world
    }

    /// A new process, which counts what the ledger knows.
    fn begin(&mut self) -> Replica {
        let holds = Holds::new(|| ());
        let budgets = Budgets::with_share(rates(), holds.clone());
        self.restore(&budgets);
        self.names += 1;
        Replica {
            budgets,
            holds,
            name: self.names,
        }
    }

    fn restore(&self, budgets: &Budgets) {
        for due in budgets.due(&tree().directory(), self.now) {
            let tokens = self.tokens.get(&self.day).copied().unwrap_or(0);
            budgets.restore(&due, &spent(self.micros, tokens), self.now);
        }
    }

    fn since(&self) -> Duration {
        self.now.monotonic - self.began
    }

    fn tell(&mut self, replica: usize, fate: Fate) {
        let asks = {
            let replica = &self.replicas[replica];
            replica.holds.due(&replica.budgets, self.now)
        };
        for ask in asks {
            self.deliver(replica, &ask, fate);
        }
    }

    fn deliver(&mut self, replica: usize, ask: &Ask, fate: Fate) {
        let AskWhat::Pot(report) = &ask.what else {
            unreachable!("there are budgets only");
        };
        if matches!(fate, Fate::Lost) {
            return;
        }
        let now = self.since();
        let pot = self
            .pots
            .entry(ask.key)
            .or_insert_with(|| match self.lost_at {
                Some(at) => Pot::of_fresh(PotTerms::default(), at),
                None => Pot::new(PotTerms::default()),
            });
        let replica = &self.replicas[replica];
        let id = format!("{}.{}", replica.name, ask.member);
        let answer = pot.renew(&id, report, now);
        if let (Some(answer), Fate::Arrives) = (answer, fate) {
            let ask = (&ask.key, report);
            replica
                .holds
                .told_by_pot(&replica.budgets, ask, &answer, self.now);
        }
    }

    fn leave(&mut self, replica: usize) {
        let asks = {
            let replica = &self.replicas[replica];
            replica.holds.farewells(&replica.budgets, self.now, false)
        };
        let now = self.since();
        let name = self.replicas[replica].name;
        for ask in asks {
            let AskWhat::Pot(report) = &ask.what else {
                unreachable!("there are budgets only");
            };
            if let Some(pot) = self.pots.get_mut(&ask.key) {
                pot.leave(&format!("{name}.{}", ask.member), report, now);
            }
        }
    }

    /// Counts a request that ended.
    fn ended(&mut self, running: Running, micros: u64, tokens: u64) {
        *self.tokens.entry(running.day).or_default() += tokens;
        self.micros += micros;
        running
            .held
            .settle(&spent(micros, tokens), self.now.monotonic);
    }

    fn pass(&mut self, by: Duration) {
        self.now = later(self.now, by);
        self.day = self.now.wall.as_second().div_euclid(24 * 3600);
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Reserve {
                replica,
                micros,
                tokens,
                fate,
            } => {
                let estimate = request(micros, tokens);
                for _ in 0..3 {
                    let held =
                        self.replicas[replica]
                            .budgets
                            .reserve(&self.caller, &estimate, self.now);
                    match held {
                        Ok(held) => {
                            let day = self.day;
                            self.running.push(Running {
                                replica,
                                held,
                                micros,
                                tokens,
                                day,
                            });
                            return;
                        }
                        // As the gateway does.
                        Err(refused) if refused.may_pass_soon => {
                            self.tell(replica, fate);
                            self.pass(Duration::from_millis(50));
                        }
                        Err(_) => return,
                    }
                }
            }
            Step::Settle { which, part } if !self.running.is_empty() => {
                let running = self.running.swap_remove(which % self.running.len());
                let (micros, tokens) = (running.micros * part / 100, running.tokens * part / 100);
                self.ended(running, micros, tokens);
            }
            Step::Cancel { which } if !self.running.is_empty() => {
                // Nothing was sent.
                drop(self.running.swap_remove(which % self.running.len()));
            }
            Step::Tell { replica, fate } => self.tell(replica, fate),
            Step::Restart { replica } => {
                while let Some(place) = self.running.iter().position(|it| it.replica == replica) {
                    let running = self.running.swap_remove(place);
                    let (micros, tokens) = (running.micros, running.tokens);
                    self.ended(running, micros, tokens);
                }
                self.leave(replica);
                self.replicas[replica] = self.begin();
            }
            Step::Kill { replica } => {
                self.killed = true;
                while let Some(place) = self.running.iter().position(|it| it.replica == replica) {
                    let running = self.running.swap_remove(place);
                    *self.tokens.entry(running.day).or_default() += running.tokens;
                    self.micros += running.micros;
                    // It is not settled: the process is gone.
                    self.gone.push(running.held);
                }
                self.replicas[replica] = self.begin();
            }
            // What a killed replica had in flight is then known to nobody for a while.
            Step::Lose if !self.killed => {
                self.pots.clear();
                self.lost_at = Some(self.since());
                self.pass(Duration::from_millis(300));
                // All have told until the new pots give anything out.
                for replica in 0..REPLICAS {
                    let one = &self.replicas[replica];
                    one.holds.reclaim(&one.budgets);
                    self.restore(&one.budgets);
                    self.tell(replica, Fate::Arrives);
                }
            }
            Step::Settle { .. } | Step::Cancel { .. } | Step::Lose => {}
            Step::Pass { millis } => self.pass(Duration::from_millis(millis)),
            Step::NextDay => {
                let day = i64::try_from(Duration::from_hours(24).as_secs()).unwrap();
                let next = (self.day + 1) * day - self.now.wall.as_second();
                self.pass(Duration::from_secs(u64::try_from(next).unwrap()));
            }
        }
    }

    /// What was spent and what runs is never more than the budget.
    fn check(&self) -> Result<(), TestCaseError> {
        let micros: u64 = self.running.iter().map(|it| it.micros).sum();
        prop_assert!(self.micros + micros <= MICROS, "{} + {micros}", self.micros);
        let mut tokens = self.tokens.clone();
        for running in &self.running {
            *tokens.entry(running.day).or_default() += running.tokens;
        }
        for (day, tokens) in tokens {
            prop_assert!(tokens <= TOKENS, "day {day}: {tokens}");
        }
        Ok(())
    }
}

fn step() -> impl Strategy<Value = Step> {
    let replica = 0..REPLICAS;
    let fate = prop_oneof![
        8 => Just(Fate::Arrives),
        1 => Just(Fate::Lost),
        1 => Just(Fate::Unheard),
    ];
    prop_oneof![
        20 => (replica.clone(), 1u64..60_000, 0u64..60, fate.clone())
            .prop_map(|(replica, micros, tokens, fate)| {
                Step::Reserve { replica, micros, tokens, fate }
            }),
        10 => (any::<usize>(), 0u64..=100).prop_map(|(which, part)| Step::Settle { which, part }),
        2 => any::<usize>().prop_map(|which| Step::Cancel { which }),
        14 => (replica.clone(), fate).prop_map(|(replica, fate)| Step::Tell { replica, fate }),
        1 => replica.clone().prop_map(|replica| Step::Restart { replica }),
        1 => replica.prop_map(|replica| Step::Kill { replica }),
        2 => Just(Step::Lose),
        6 => (0u64..600).prop_map(|millis| Step::Pass { millis }),
        1 => Just(Step::NextDay),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn replicas_together_never_spend_more_than_a_budget(
        steps in prop::collection::vec(step(), 1..250),
    ) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
            world.check()?;
        }
    }
}

#[test]
fn a_request_that_lacks_what_others_do_not_use_passes_as_soon_as_they_were_asked() {
    let mut world = World::new();
    let ask = |world: &World, replica: usize, tokens| {
        let estimate = request(0, tokens);
        world.replicas[replica]
            .budgets
            .reserve(&world.caller, &estimate, world.now)
    };
    let refused = ask(&world, 0, 200).unwrap_err();
    assert!(refused.may_pass_soon);
    assert_eq!(refused.until, Until::Elsewhere { is_reachable: true });
    world.tell(0, Fate::Arrives);
    let held = ask(&world, 0, 200).unwrap();

    // The rest is enough for one request elsewhere, not for two.
    assert!(ask(&world, 1, 100).unwrap_err().may_pass_soon);
    world.tell(1, Fate::Arrives);
    let other = ask(&world, 1, 100).unwrap();
    assert!(ask(&world, 2, 1).unwrap_err().may_pass_soon);
    world.tell(2, Fate::Arrives);
    let refused = ask(&world, 2, 1).unwrap_err();
    assert!(!refused.may_pass_soon, "it was asked for and is not there");

    // What is not spent is there for others as soon as it was told.
    held.settle(&spent(0, 20), world.now.monotonic);
    world.pass(Duration::from_millis(300));
    let mut tries = 0;
    let last = loop {
        match ask(&world, 2, 180) {
            Ok(held) => break held,
            Err(refused) => assert!(refused.may_pass_soon && tries < 3, "{refused}"),
        }
        tries += 1;
        world.pass(Duration::from_millis(300));
        world.tell(0, Fate::Arrives);
        world.tell(2, Fate::Arrives);
    };
    drop((other, last));
}

#[test]
fn without_the_others_a_replica_spends_what_it_holds_and_says_why_it_stops() {
    let mut world = World::new();
    let ask = |world: &World, tokens| {
        let estimate = request(0, tokens);
        world.replicas[0]
            .budgets
            .reserve(&world.caller, &estimate, world.now)
    };
    ask(&world, 50).unwrap_err();
    world.tell(0, Fate::Arrives);
    drop(ask(&world, 50).unwrap());
    world.replicas[0].holds.set_reachable(false);
    let mut spent_there = 0;
    let refused = loop {
        match ask(&world, 10) {
            Ok(held) => {
                held.settle(&spent(0, 10), world.now.monotonic);
                spent_there += 10;
            }
            Err(refused) => break refused,
        }
    };
    assert_eq!(spent_there, 50, "what it was given");
    assert!(!refused.may_pass_soon);
    assert_eq!(
        refused.until,
        Until::Elsewhere {
            is_reachable: false
        }
    );
    assert!(refused.to_string().contains("cannot reach"), "{refused}");
}
