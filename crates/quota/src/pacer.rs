//! The in-process driver: lanes behind a lock each, and one thread that wakes who may go.
//!
//! It belongs to no async runtime: waiting is a plain [`Future`], woken by its
//! [`Waker`](std::task::Waker). The thread starts with the first request that has to wait.

mod alarm;
mod permit;
mod wait;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, Weak};
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
use crate::share::{Allotments, Renewal};

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
    /// When idle lanes were last made to give way.
    swept: Mutex<Option<std::time::Instant>>,
    /// Set when other replicas use the same limits.
    shared: OnceLock<SharedLanes>,
}

/// That all lanes are shared with other replicas.
struct SharedLanes {
    /// The part of every limit that a lane uses before it was told its share, in millionths.
    part: AtomicU32,
    /// Called when a lane is new or a line begins.
    wake: Box<dyn Fn() + Send + Sync>,
}

/// One lane, shared by all who use it. Cheap to clone.
#[derive(Clone)]
pub struct Lane {
    shared: Arc<Shared>,
}

struct Shared {
    name: Box<str>,
    core: Mutex<LaneCore<Arc<Place>>>,
    inner: Weak<Inner>,
    alarm: Arc<Alarm>,
    clock: Arc<dyn Clock>,
}

/// Who may go, who may not, and when to look again.
struct Decided {
    events: Vec<Event<Arc<Place>>>,
    next: Option<std::time::Instant>,
}

/// Lanes that a pacer keeps. Callers choose model names, so there must be an end; more of them
/// share one lane.
const MAX_LANES: usize = 4096;

/// How often idle lanes are looked for while there is no room: all lanes are looked at.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

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
                swept: Mutex::new(None),
                shared: OnceLock::new(),
            }),
        }
    }

    /// The lane of that name, made with `config` when it is new. Models that share a count share
    /// a name.
    pub fn lane(&self, name: &str, config: impl FnOnce() -> LaneConfig) -> Lane {
        if let Some(lane) = self.inner.lanes.read().get(name) {
            return lane.clone();
        }
        if self.inner.lanes.read().len() >= self.inner.max_lanes {
            self.forget_idle();
        }
        let mut lanes = self.inner.lanes.write();
        let name = if lanes.len() >= self.inner.max_lanes && !lanes.contains_key(name) {
            OVERFLOW
        } else {
            name
        };
        let lane = lanes.entry(name.into()).or_insert_with(|| {
            let mut core = LaneCore::new(config(), self.inner.clock.now());
            if let Some(shared) = self.inner.shared.get() {
                core.share(shared.part());
            }
            Lane {
                shared: Arc::new(Shared {
                    name: name.into(),
                    core: Mutex::new(core),
                    inner: Arc::downgrade(&self.inner),
                    alarm: Arc::clone(&self.inner.alarm),
                    clock: Arc::clone(&self.inner.clock),
                }),
            }
        });
        let lane = lane.clone();
        drop(lanes);
        self.inner.wake_sharing();
        lane
    }

    /// Makes room: names that somebody made up must not keep out those that are in use. A lane that
    /// counts nothing any more is made anew when it is needed, only what it learned is lost.
    fn forget_idle(&self) {
        let now = self.inner.clock.now();
        {
            let mut swept = self.inner.swept.lock();
            let is_soon = swept.is_some_and(|at| now.saturating_duration_since(at) < SWEEP_EVERY);
            if is_soon {
                return;
            }
            *swept = Some(now);
        }
        let idle: Vec<Lane> = self.lanes().into_iter().filter(Lane::is_idle).collect();
        let mut lanes = self.inner.lanes.write();
        for lane in idle {
            // The map's and this one: nobody else has it, so nobody counts in it meanwhile.
            if Arc::strong_count(&lane.shared) == 2 {
                lanes.remove(lane.name());
            }
        }
    }

    /// Shares all lanes with other replicas: each uses the given part of its limits, from 0 to 1,
    /// until it is told its share. `wake` is called when a lane is new or a line begins. Only the
    /// first call counts.
    pub fn share(&self, part: f64, wake: impl Fn() + Send + Sync + 'static) {
        let _ = self.inner.shared.set(SharedLanes {
            part: AtomicU32::new(millionths(part)),
            wake: Box::new(wake),
        });
        self.set_part(part);
    }

    /// The other replicas cannot be reached; see [`LaneCore::go_alone`].
    pub fn go_alone(&self) {
        for lane in self.lanes() {
            let mut core = lane.shared.core.lock();
            core.go_alone();
            lane.run(core);
        }
    }

    /// Changes the part that lanes of a [shared](Self::share) pacer use until they are told their
    /// share.
    pub fn set_part(&self, part: f64) {
        let Some(shared) = self.inner.shared.get() else {
            return;
        };
        shared.part.store(millionths(part), Ordering::Relaxed);
        for lane in self.lanes() {
            let mut core = lane.shared.core.lock();
            core.share(part);
            lane.run(core);
        }
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

    /// Whether nothing runs or waits in it, and nothing that it counted counts still.
    fn is_idle(&self) -> bool {
        let lane = self.snapshot();
        lane.running == 0
            && lane.waiting.iter().all(|(_, count)| *count == 0)
            && lane.stopped.is_none()
            && lane.paused_for.is_zero()
            && lane.limits.iter().all(|limit| limit.used == 0)
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
                let begins = core.waiting() == 1 && core.replicas().is_some();
                self.run(core);
                if begins && let Some(inner) = self.shared.inner.upgrade() {
                    inner.wake_sharing();
                }
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

    /// Whether tokens are limited; see [`LaneCore::paces_tokens`].
    pub fn paces_tokens(&self) -> bool {
        self.shared.core.lock().paces_tokens()
    }

    /// How many requests wait.
    pub fn waiting(&self) -> usize {
        self.shared.core.lock().waiting()
    }

    /// What to tell the other replicas; see [`LaneCore::renewal`].
    pub fn renewal(&self) -> Option<Renewal> {
        let now = self.shared.clock.now();
        self.shared.core.lock().renewal(now)
    }

    /// Takes what the ledger answered; see [`LaneCore::apply`].
    pub fn apply(&self, told: &Allotments) {
        let mut core = self.shared.core.lock();
        core.apply(told, self.shared.clock.now());
        self.run(core);
    }

    /// Replaces the limits; see [`LaneCore::set_limits`].
    pub fn set_limits(&self, limits: Vec<Limit>) {
        let mut core = self.shared.core.lock();
        core.set_limits(limits);
        self.run(core);
    }

    /// Takes a changed configuration over; see [`LaneCore::configure`].
    pub fn configure(&self, config: LaneConfig) {
        let mut core = self.shared.core.lock();
        core.configure(config);
        self.run(core);
    }

    /// Lets go who may go, tells them after the lock is open, and sets the alarm for the next.
    fn run(&self, mut core: parking_lot::MutexGuard<'_, LaneCore<Arc<Place>>>) {
        if core.waiting() == 0 {
            return;
        }
        let decided = self.decide(&mut core);
        drop(core);
        self.tell(decided);
    }

    /// What is decided under the lock.
    fn decide(&self, core: &mut LaneCore<Arc<Place>>) -> Decided {
        let mut events = Vec::new();
        core.advance(self.shared.clock.now(), &mut events);
        Decided {
            events,
            next: core.next_event(),
        }
    }

    /// Tells it to those who wait, any time later.
    fn tell(&self, decided: Decided) {
        for event in decided.events {
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
        if let Some(next) = decided.next {
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

impl Inner {
    fn wake_sharing(&self) {
        if let Some(shared) = self.shared.get() {
            (shared.wake)();
        }
    }
}

impl SharedLanes {
    fn part(&self) -> f64 {
        f64::from(self.part.load(Ordering::Relaxed)) / 1e6
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "between nothing and a million"
)]
fn millionths(part: f64) -> u32 {
    (part.clamp(0.0, 1.0) * 1e6) as u32
}

#[cfg(test)]
mod interleavings;
