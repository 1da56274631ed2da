//! The in-process driver: lanes behind a lock each, and one thread that wakes who may go.
//!
//! It belongs to no async runtime: waiting is a plain [`Future`], woken by its
//! [`Waker`](std::task::Waker). The thread starts with the first request that has to wait.

mod alarm;
mod permit;
mod wait;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use self::alarm::Alarm;
pub use self::permit::Permit;
pub use self::wait::Wait;
use self::wait::{Place, Turn};
use crate::clock::{Clock, SystemClock};
use crate::demand::{Demand, Refused};
use crate::lane::{Admission, Event, LaneConfig, LaneCore, LaneSnapshot};
use crate::limit::Limit;

/// All lanes of a process.
///
/// Cheap to clone; all clones are the same pacer.
///
/// ```
/// use std::time::Duration;
/// use bailian_quota::{Demand, LaneConfig, Limit, Pacer, Usage};
///
/// # futures_util::future::FutureExt::now_or_never(async {
/// let pacer = Pacer::new();
/// let lane = pacer.lane("main/qwen-plus", || {
///     LaneConfig::new(vec![Limit::requests(600, Duration::from_secs(60))])
/// });
/// let permit = lane.acquire(Demand::new("search", 1_200)).await?;
/// // … send the request, then say what it cost:
/// permit.settle(Usage::new(1_180, 320));
/// # Ok::<(), bailian_quota::Refused>(()) }).unwrap().unwrap();
/// ```
#[derive(Clone)]
pub struct Pacer {
    inner: Arc<Inner>,
}

struct Inner {
    lanes: RwLock<HashMap<Box<str>, Lane>>,
    alarm: Arc<Alarm>,
    clock: Arc<dyn Clock>,
    max_lanes: usize,
}

/// One lane, shared by all who use it. Cheap to clone.
#[derive(Clone)]
pub struct Lane {
    shared: Arc<Shared>,
}

struct Shared {
    name: Box<str>,
    core: Mutex<LaneCore<Arc<Place>>>,
    alarm: Arc<Alarm>,
    clock: Arc<dyn Clock>,
}

/// Lanes that a pacer keeps. Callers choose model names, so there must be an end; more of them
/// share one lane.
const MAX_LANES: usize = 4096;

/// The lane of all that come after the last one that has its own.
const OVERFLOW: &str = "(other models)";

impl Pacer {
    /// A pacer on the operating system's clock.
    pub fn new() -> Self {
        Self::with_clock(Arc::new(SystemClock))
    }

    /// A pacer on another clock.
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        Self {
            inner: Arc::new(Inner {
                lanes: RwLock::new(HashMap::new()),
                alarm: Arc::new(Alarm::new(Arc::clone(&clock))),
                clock,
                max_lanes: MAX_LANES,
            }),
        }
    }

    /// The lane of that name, made with `config` when it is new. Models that share a count share
    /// a name.
    pub fn lane(&self, name: &str, config: impl FnOnce() -> LaneConfig) -> Lane {
        if let Some(lane) = self.inner.lanes.read().get(name) {
            return lane.clone();
        }
        let mut lanes = self.inner.lanes.write();
        let name = if lanes.len() >= self.inner.max_lanes && !lanes.contains_key(name) {
            OVERFLOW
        } else {
            name
        };
        let lane = lanes.entry(name.into()).or_insert_with(|| Lane {
            shared: Arc::new(Shared {
                name: name.into(),
                core: Mutex::new(LaneCore::new(config(), self.inner.clock.now())),
                alarm: Arc::clone(&self.inner.alarm),
                clock: Arc::clone(&self.inner.clock),
            }),
        });
        lane.clone()
    }

    /// All lanes, in no order.
    pub fn lanes(&self) -> Vec<Lane> {
        self.inner.lanes.read().values().cloned().collect()
    }
}

impl Default for Pacer {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Pacer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pacer")
            .field("lanes", &self.inner.lanes.read().len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane")
            .field("name", &self.shared.name)
            .finish_non_exhaustive()
    }
}

impl Lane {
    /// The lane's name.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Waits for leave to send one request. The place in line is taken when this is called, not
    /// when the future is first polled.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the line at once; a permit that was just given is given back.
    pub fn acquire(&self, demand: Demand) -> Wait {
        let now = self.shared.clock.now();
        let mut place = None;
        let mut core = self.shared.core.lock();
        let admission = core.request(&demand, now, || {
            let new = Place::new();
            place = Some(Arc::clone(&new));
            new
        });
        match (admission, place) {
            (Ok(Admission::Granted(grant)), _) => {
                drop(core);
                Wait::ready(Ok(Permit::new(self.clone(), grant, &demand)))
            }
            (Ok(Admission::Queued(id)), Some(place)) => {
                self.run(core);
                Wait::queued(self.clone(), id, place, demand)
            }
            (Ok(Admission::Queued(_)), None) => Wait::ready(Err(Refused::Closed)),
            (Err(refused), _) => Wait::ready(Err(refused)),
        }
    }

    /// How long a request like this one would wait now.
    pub fn expected_wait(&self, demand: &Demand) -> Duration {
        let now = self.shared.clock.now();
        self.shared.core.lock().expected_wait(demand, now)
    }

    /// The lane as it is now.
    pub fn snapshot(&self) -> LaneSnapshot {
        let now = self.shared.clock.now();
        self.shared.core.lock().snapshot(now)
    }

    /// Replaces the limits; see [`LaneCore::set_limits`].
    pub fn set_limits(&self, limits: Vec<Limit>) {
        let mut core = self.shared.core.lock();
        core.set_limits(limits);
        self.run(core);
    }

    /// Lets go who may go, tells them after the lock is open, and sets the alarm for the next.
    fn run(&self, mut core: parking_lot::MutexGuard<'_, LaneCore<Arc<Place>>>) {
        if core.waiting() == 0 {
            return;
        }
        let mut events = Vec::new();
        core.advance(self.shared.clock.now(), &mut events);
        let next = core.next_event();
        drop(core);
        for event in events {
            let unwanted = match event {
                Event::Granted(place, grant) => place.fill(Turn::Granted(grant)),
                Event::Refused(place, refused) => place.fill(Turn::Refused(refused)),
            };
            // Its caller left between the lock and here: the next one may go.
            if let Some(Turn::Granted(grant)) = unwanted {
                let mut core = self.shared.core.lock();
                core.give_back(&grant, self.shared.clock.now());
                self.run(core);
            }
        }
        if let Some(next) = next {
            self.shared.alarm.set(next, self);
        }
    }

    fn advance(&self) {
        self.run(self.shared.core.lock());
    }

    fn now(&self) -> std::time::Instant {
        self.shared.clock.now()
    }
}
