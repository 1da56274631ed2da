//! One thread that looks at lanes when it is time to.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use super::{Lane, Shared};
use crate::clock::Clock;

/// Stops the thread when nobody has a lane any more.
pub(super) struct Alarm(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    changed: Condvar,
    clock: Arc<dyn Clock>,
}

#[derive(Default)]
struct State {
    /// Lanes by the time of their next look; a lane stands here once.
    due: BTreeMap<(Instant, usize), Weak<Shared>>,
    by_lane: HashMap<usize, Instant>,
    started: bool,
    stopped: bool,
}

impl Alarm {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Inner {
            state: Mutex::default(),
            changed: Condvar::new(),
            clock,
        }))
    }

    /// Looks at a lane at that time, and not later. An earlier look stays: the lane will say then
    /// when it wants the next.
    pub(super) fn set(&self, at: Instant, lane: &Lane) {
        let key = Arc::as_ptr(&lane.shared).cast::<()>() as usize;
        let mut state = self.0.state.lock();
        match state.by_lane.get(&key).copied() {
            Some(set) if set <= at => return,
            Some(set) => {
                state.due.remove(&(set, key));
            }
            None => {}
        }
        let first = state.due.keys().next().map(|(first, _)| *first);
        state.by_lane.insert(key, at);
        state.due.insert((at, key), Arc::downgrade(&lane.shared));
        if !state.started {
            state.started = true;
            let alarm = Arc::clone(&self.0);
            let spawned = std::thread::Builder::new()
                .name("bailian-pacer".to_owned())
                .spawn(move || alarm.run());
            // Without the thread, lines still move whenever a request comes or ends.
            state.started = spawned.is_ok();
        } else if first.is_none_or(|first| at < first) {
            self.0.changed.notify_one();
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.0.state.lock().stopped = true;
        self.0.changed.notify_one();
    }
}

impl Inner {
    fn run(&self) {
        let mut state = self.state.lock();
        while !state.stopped {
            let Some((at, key)) = state.due.keys().next().copied() else {
                self.changed.wait(&mut state);
                continue;
            };
            let now = self.clock.now();
            if at > now {
                self.changed.wait_for(&mut state, at - now);
                continue;
            }
            let lane = state.due.remove(&(at, key));
            state.by_lane.remove(&key);
            let Some(shared) = lane.and_then(|lane| lane.upgrade()) else {
                continue;
            };
            parking_lot::MutexGuard::unlocked(&mut state, || Lane { shared }.advance());
        }
    }
}
