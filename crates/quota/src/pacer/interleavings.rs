//! Every order in which what happens under a lane's lock, what is told after it, and what those who
//! wait do can fall. Each step is atomic in the real driver, since it holds one lock.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::{Decided, Lane, Pacer, Permit, Wait};
use crate::demand::{Demand, Usage};
use crate::lane::LaneConfig;
use crate::limit::Limit;

/// A step of one of the actors. The actors' own steps stay in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// A running request ends: decided under the lock …
    Decide(usize),
    /// … and told after it.
    Tell(usize),
    Poll(usize),
    /// The caller of a waiting request leaves.
    Leave(usize),
}

/// All merges of the actors' steps.
fn merges(actors: &[Vec<Step>]) -> Vec<Vec<Step>> {
    if actors.iter().all(Vec::is_empty) {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for (at, steps) in actors.iter().enumerate() {
        let Some((first, rest)) = steps.split_first() else {
            continue;
        };
        let mut left = actors.to_vec();
        left[at] = rest.to_vec();
        for tail in merges(&left) {
            all.push(std::iter::once(*first).chain(tail).collect());
        }
    }
    all
}

struct World {
    lane: Lane,
    running: Vec<Option<Permit>>,
    waiting: Vec<Option<Wait>>,
    decided: Vec<Option<Decided>>,
}

impl World {
    /// Two requests run, which is all that may, and three wait.
    fn new() -> Self {
        let lane = Pacer::new().lane("main/qwen-plus", || {
            let mut config = LaneConfig::new(vec![Limit::running(2)]);
            config.ramp = None;
            config
        });
        let acquire = || lane.acquire(Demand::new("a", 1));
        let mut running: Vec<Wait> = (0..2).map(|_| acquire()).collect();
        let running = running.iter_mut().map(|wait| Some(ready(wait).unwrap()));
        Self {
            running: running.collect(),
            waiting: (0..3).map(|_| Some(acquire())).collect(),
            decided: vec![None, None],
            lane,
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Decide(number) => {
                let mut permit = self.running[number].take().unwrap();
                let grant = permit.grant.take().unwrap();
                let mut core = self.lane.shared.core.lock();
                core.settle(&grant, Usage::unknown(), self.lane.now());
                self.decided[number] = Some(self.lane.decide(&mut core));
            }
            Step::Tell(number) => self.lane.tell(self.decided[number].take().unwrap()),
            Step::Poll(number) => {
                let polled = self.waiting[number].as_mut().and_then(ready);
                if let Some(permit) = polled {
                    self.waiting[number] = None;
                    self.running.push(Some(permit));
                }
            }
            Step::Leave(number) => self.waiting[number] = None,
        }
    }
}

fn ready(wait: &mut Wait) -> Option<Permit> {
    let mut context = Context::from_waker(Waker::noop());
    match std::pin::Pin::new(wait).poll(&mut context) {
        Poll::Ready(permit) => Some(permit.unwrap()),
        Poll::Pending => None,
    }
}

#[test]
fn in_every_order_each_place_goes_to_one_who_waits_and_none_is_lost() {
    let actors = [
        vec![Step::Decide(0), Step::Tell(0)],
        vec![Step::Decide(1), Step::Tell(1)],
        vec![Step::Poll(0), Step::Leave(0)],
        vec![Step::Poll(1), Step::Poll(1)],
        vec![Step::Leave(2)],
    ];
    let orders = merges(&actors);
    assert!(orders.len() > 10_000);
    for order in orders {
        let mut world = World::new();
        for step in &order {
            world.take(*step);
            let running = world.lane.snapshot().running;
            assert!(running <= 2, "{running} run after {step:?} in {order:?}");
        }
        // Who still waits goes now, since two places are free.
        for number in 0..3 {
            if world.waiting[number].is_some() {
                world.take(Step::Poll(number));
                assert!(
                    world.waiting[number].is_none(),
                    "{number} is stuck in {order:?}"
                );
            }
        }
        for permit in world.running.iter_mut().filter_map(Option::take) {
            permit.settle(Usage::unknown());
        }
        let lane = world.lane.snapshot();
        assert_eq!(lane.running, 0, "{order:?}");
        assert_eq!(world.lane.waiting(), 0, "{order:?}");
        assert_eq!(Arc::strong_count(&world.lane.shared), 1, "{order:?}");
    }
}
