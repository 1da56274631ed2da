//! The in-process driver, with real threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bailian_quota::{Demand, Lane, LaneConfig, Limit, Pacer, Throttle, Usage};
use futures_util::FutureExt as _;

fn lane(pacer: &Pacer, limits: Vec<Limit>) -> Lane {
    let mut config = LaneConfig::new(limits);
    config.ramp = None;
    pacer.lane("main/qwen-plus", || config)
}

fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

#[test]
fn a_request_that_must_wait_is_woken_when_its_time_has_come() {
    let pacer = Pacer::new();
    let lane = lane(&pacer, vec![Limit::requests(1, Duration::from_millis(30))]);
    for _ in 0..3 {
        let permit = block_on(lane.acquire(Demand::new("a", 1))).unwrap();
        permit.settle(Usage::new(1, 1));
    }
    let snapshot = lane.snapshot();
    assert_eq!(snapshot.queued, 2);
    assert_eq!(snapshot.running, 0);
}

#[test]
fn a_permit_that_ends_lets_the_next_one_go_and_one_that_left_is_passed_over() {
    let pacer = Pacer::new();
    let lane = lane(&pacer, vec![Limit::running(1)]);
    let first = lane
        .acquire(Demand::new("a", 1))
        .now_or_never()
        .unwrap()
        .unwrap();
    let gone = lane.acquire(Demand::new("a", 1));
    let mut next = lane.acquire(Demand::new("a", 1));
    assert!((&mut next).now_or_never().is_none());
    drop(gone);
    assert_eq!(
        lane.snapshot()
            .waiting
            .iter()
            .map(|(_, n)| n)
            .sum::<usize>(),
        1
    );
    drop(first);
    let permit = next.now_or_never().unwrap().unwrap();
    assert_eq!(lane.snapshot().running, 1);
    drop(permit);
    assert_eq!(lane.snapshot().running, 0);
}

#[test]
fn a_grant_that_nobody_took_is_given_back() {
    let pacer = Pacer::new();
    let lane = lane(&pacer, vec![Limit::running(1)]);
    let first = lane
        .acquire(Demand::new("a", 1))
        .now_or_never()
        .unwrap()
        .unwrap();
    let second = lane.acquire(Demand::new("a", 1));
    drop(first);
    // It has been granted by now, and leaves without having looked.
    drop(second);
    assert_eq!(lane.snapshot().running, 0);
}

#[test]
fn a_grant_that_was_never_looked_at_counts_as_not_sent() {
    let pacer = Pacer::new();
    let lane = lane(
        &pacer,
        vec![Limit::requests(1, Duration::from_mins(1)).exactly()],
    );
    drop(lane.acquire(Demand::new("a", 1)));
    assert_eq!(lane.snapshot().limits[0].used, 0);
    assert!(lane.acquire(Demand::new("a", 1)).now_or_never().is_some());
}

#[test]
fn a_lane_goes_on_after_its_pacer_was_dropped() {
    let pacer = Pacer::new();
    let lane = lane(&pacer, vec![Limit::requests(1, Duration::from_millis(30))]);
    drop(pacer);
    for _ in 0..2 {
        let permit = block_on(lane.acquire(Demand::new("a", 1))).unwrap();
        permit.settle(Usage::new(1, 1));
    }
}

#[test]
fn a_refused_request_goes_again_before_others() {
    let pacer = Pacer::new();
    let lane = lane(&pacer, vec![Limit::requests(10, Duration::from_millis(50))]);
    let permit = block_on(lane.acquire(Demand::new("a", 1))).unwrap();
    assert_eq!(permit.attempt(), 0);
    let again = block_on(permit.requeue(&Throttle::Requests, None)).unwrap();
    assert_eq!(again.attempt(), 1);
    again.settle(Usage::new(1, 1));
}

#[test]
fn a_thousand_tasks_on_four_threads_neither_overshoot_nor_lock_up() {
    let pacer = Pacer::new();
    let lane = lane(
        &pacer,
        vec![
            Limit::running(7),
            Limit::requests(400, Duration::from_millis(100)).exactly(),
        ],
    );
    let (running, most) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (lane, running, most) = (&lane, &running, &most);
            scope.spawn(move || {
                for n in 0..125 {
                    let wait = lane.acquire(Demand::new(format!("t{thread}"), 10));
                    if n % 9 == 0 {
                        drop(wait);
                        continue;
                    }
                    let permit = block_on(wait).unwrap();
                    let now = running.fetch_add(1, Ordering::SeqCst) + 1;
                    most.fetch_max(now, Ordering::SeqCst);
                    std::thread::yield_now();
                    running.fetch_sub(1, Ordering::SeqCst);
                    permit.settle(Usage::new(10, 10));
                }
            });
        }
    });
    assert!(most.load(Ordering::SeqCst) <= 7);
    let snapshot = lane.snapshot();
    assert_eq!(
        (
            snapshot.running,
            snapshot.waiting.iter().map(|(_, n)| n).sum::<usize>()
        ),
        (0, 0)
    );
}

/// A clock that the test moves.
#[derive(Debug)]
struct Hands(parking_lot::Mutex<std::time::Instant>);

impl bailian_quota::Clock for Hands {
    fn now(&self) -> std::time::Instant {
        *self.0.lock()
    }
}

#[test]
fn made_up_names_keep_nobody_out_once_nothing_counts_in_them_any_more() {
    let clock = Arc::new(Hands(parking_lot::Mutex::new(std::time::Instant::now())));
    let pacer = Pacer::with_clock(Arc::clone(&clock) as Arc<dyn bailian_quota::Clock>);
    let minute = Duration::from_mins(1);
    let lane = |name: &str| {
        pacer.lane(name, || {
            let mut config = LaneConfig::new(vec![Limit::requests(60, minute)]);
            config.ramp = None;
            config
        })
    };
    let busy = lane("busy");
    let running = busy.acquire(Demand::new("a", 1)).now_or_never().unwrap();
    for number in 1..4096 {
        let made_up = lane(&format!("made-up-{number}"));
        let permit = made_up.acquire(Demand::new("b", 1)).now_or_never().unwrap();
        permit.unwrap().settle(Usage::new(1, 0));
    }
    assert_eq!(lane("late").name(), "(other models)");
    *clock.0.lock() += 2 * minute;
    assert_eq!(lane("late").name(), "late");
    assert_eq!(lane("busy").snapshot().running, 1, "what runs is kept");
    assert!(pacer.lanes().len() < 10, "{}", pacer.lanes().len());
    running.unwrap().settle(Usage::new(1, 1));
}
