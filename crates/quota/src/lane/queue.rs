//! The line of a lane: priority classes, and weighted fair sharing between tenants inside a class.
//!
//! Inside a class this is start-time fair queueing. Every tenant that waits is a *flow* with a tag:
//! the share of the class that it has had, in virtual time. The flow with the smallest tag goes
//! next, and its tag advances by the work of its request divided by its weight. A flow that starts
//! to wait begins at the class's virtual time, so that being quiet earns and costs nothing.
//! All operations are O(log n) in flows and waiters.

mod arena;
mod flow;
mod speed;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use self::arena::Arena;
pub use self::arena::WaiterId;
use self::flow::Flow;
use self::speed::Speed;
use super::Ask;
use crate::class::{CLASSES, Class};
use crate::time::{NEVER, Nanos};

/// Tags count nanoseconds of work in this fraction, so that dividing by a weight keeps precision.
const SCALE: u64 = 64;

/// What a class that was passed over may catch up with at most, in work.
const MOST_OWED: f64 = 10e9;

/// One request in line.
#[derive(Debug)]
pub(super) struct Waiter<T> {
    pub(super) payload: T,
    pub(super) ask: Ask,
    deadline: Nanos,
    flow: u32,
    /// Where it stands in its flow.
    place: i64,
}

#[derive(Debug)]
pub(super) struct FairQueue<T> {
    waiters: Arena<Waiter<T>>,
    flows: Vec<Flow>,
    free_flows: Vec<u32>,
    by_tenant: [HashMap<Arc<str>, u32>; CLASSES],
    classes: [ClassState; CLASSES],
    /// Waiters with a deadline, earliest first.
    deadlines: BTreeSet<(Nanos, WaiterId)>,
    /// The part of the lane that each class keeps while higher ones could use all of it.
    floor: f64,
}

#[derive(Debug, Default)]
struct ClassState {
    /// Flows that wait, by tag.
    order: BTreeSet<(u64, u32)>,
    /// The tag of the flow that was served last.
    virtual_time: u64,
    /// The highest tag that was given; where virtual time goes when nobody waits any more.
    highest: u64,
    waiting: usize,
    work: f64,
    tokens: f64,
    weight: u64,
    /// What the floor owes to this class, in work.
    owed: f64,
    speed: Speed,
}

/// Sums over all that wait.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Totals {
    pub(super) waiting: usize,
    pub(super) work: f64,
    pub(super) tokens: f64,
}

impl<T> FairQueue<T> {
    pub(super) fn new(floor: f64) -> Self {
        Self {
            waiters: Arena::new(),
            flows: Vec::new(),
            free_flows: Vec::new(),
            by_tenant: std::array::from_fn(|_| HashMap::new()),
            classes: std::array::from_fn(|_| ClassState::default()),
            deadlines: BTreeSet::new(),
            floor: floor.clamp(0.0, 0.3),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.waiters.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiters.len() == 0
    }

    pub(super) fn class_len(&self, class: Class) -> usize {
        self.classes[class.index()].waiting
    }

    /// The weights of the tenants that wait in a class.
    pub(super) fn class_weight(&self, class: Class) -> u64 {
        self.classes[class.index()].weight
    }

    /// How many requests of a tenant wait, over all classes.
    pub(super) fn tenant_len(&self, tenant: &str) -> usize {
        self.by_tenant
            .iter()
            .filter_map(|flows| flows.get(tenant))
            .filter_map(|flow| self.flows.get(*flow as usize))
            .map(Flow::len)
            .sum()
    }

    /// Waiting requests by class and tenant.
    pub(super) fn tenants(&self) -> impl Iterator<Item = (Class, &Arc<str>, usize)> {
        Class::ALL.into_iter().flat_map(move |class| {
            self.by_tenant[class.index()]
                .iter()
                .filter_map(move |(tenant, flow)| {
                    let waiting = self.flows.get(*flow as usize)?.len();
                    (waiting > 0).then_some((class, tenant, waiting))
                })
        })
    }

    pub(super) fn totals(&self) -> Totals {
        let work = self.classes.iter().map(|class| class.work).sum();
        let tokens = self.classes.iter().map(|class| class.tokens).sum();
        Totals {
            waiting: self.len(),
            work,
            tokens,
        }
    }

    pub(super) fn get(&self, id: WaiterId) -> Option<&Waiter<T>> {
        self.waiters.get(id)
    }

    /// Puts a request in line: at the end of its tenant's, or at the front if it was sent before.
    pub(super) fn push(&mut self, ask: Ask, payload: T, weight: u32, deadline: Nanos) -> WaiterId {
        let (index, work, tokens) = (ask.class.index(), ask.work, ask.need.tokens());
        let flow_id = self.flow_of(ask.class, &ask.tenant, weight);
        let place = self
            .flows
            .get(flow_id as usize)
            .map_or(0, |flow| flow.place(ask.attempt > 0));
        let id = self.waiters.insert(Waiter {
            payload,
            ask,
            deadline,
            flow: flow_id,
            place,
        });
        if deadline != NEVER {
            self.deadlines.insert((deadline, id));
        }
        let class = &mut self.classes[index];
        class.waiting += 1;
        class.work += work as f64;
        class.tokens += tokens as f64;
        if let Some(flow) = self.flows.get_mut(flow_id as usize) {
            if flow.is_empty() {
                // Credit for what it did not use is not saved up; debt for what it did stays.
                flow.tag = flow.tag.max(class.virtual_time);
                class.order.insert((flow.tag, flow_id));
                class.weight += u64::from(flow.weight);
            }
            flow.push(place, id, work);
        }
        id
    }

    /// Who goes next.
    pub(super) fn head(&self) -> Option<WaiterId> {
        let mut highest = None;
        for (index, class) in self.classes.iter().enumerate().rev() {
            let Some((_, flow)) = class.order.first() else {
                continue;
            };
            let Some(id) = self.flows.get(*flow as usize).and_then(Flow::front) else {
                continue;
            };
            highest = Some(id);
            let work = self.waiters.get(id).map_or(0.0, |w| w.ask.work as f64);
            if index > 0 && class.owed >= work {
                return Some(id);
            }
        }
        highest
    }

    /// Takes a request out of the line because it goes.
    pub(super) fn take(&mut self, id: WaiterId, now: Nanos) -> Option<Waiter<T>> {
        let waiter = self.waiters.get(id)?;
        let (index, work) = (waiter.ask.class.index(), waiter.ask.work);
        // Lower classes that wait are owed their floor of what others take.
        for (other, class) in self.classes.iter_mut().enumerate() {
            if other == index {
                class.owed = (class.owed - work as f64).max(0.0);
            } else if other > index && class.waiting > 0 {
                class.owed = (class.owed + self.floor * work as f64).min(MOST_OWED);
            }
        }
        let flow_id = waiter.flow;
        let waiter = self.unlink(id)?;
        let class = &mut self.classes[index];
        if let Some(flow) = self.flows.get_mut(flow_id as usize) {
            class.virtual_time = class.virtual_time.max(flow.tag);
            let was = flow.tag;
            flow.tag = flow.tag.saturating_add(flow.advance(work));
            class.highest = class.highest.max(flow.tag);
            if class.order.remove(&(was, flow_id)) {
                class.order.insert((flow.tag, flow_id));
            }
        }
        let tag = class.virtual_time;
        for (other, class) in self.classes.iter_mut().enumerate() {
            class
                .speed
                .served(work, (other == index).then_some(tag), now);
        }
        self.rest(index);
        Some(waiter)
    }

    /// Takes a request out of the line because it is given up.
    pub(super) fn cancel(&mut self, id: WaiterId) -> Option<Waiter<T>> {
        let index = self.waiters.get(id)?.ask.class.index();
        let waiter = self.unlink(id);
        self.rest(index);
        waiter
    }

    /// The earliest deadline.
    pub(super) fn next_deadline(&self) -> Nanos {
        self.deadlines.first().map_or(NEVER, |(at, _)| *at)
    }

    /// Somebody whose deadline has passed.
    pub(super) fn overdue(&self, now: Nanos) -> Option<WaiterId> {
        let (at, id) = self.deadlines.first()?;
        (*at <= now).then_some(*id)
    }

    /// Anybody.
    pub(super) fn any(&self) -> Option<WaiterId> {
        self.classes
            .iter()
            .filter_map(|class| class.order.first())
            .find_map(|(_, flow)| self.flows.get(*flow as usize)?.front())
    }

    /// Charges a tenant for work that its last requests turned out to be, or not to be.
    pub(super) fn correct(&mut self, class: Class, tenant: &str, work: f64) {
        let index = class.index();
        let Some(flow_id) = self.by_tenant[index].get(tenant).copied() else {
            return;
        };
        let Some(flow) = self.flows.get_mut(flow_id as usize) else {
            return;
        };
        let state = &mut self.classes[index];
        let was = flow.tag;
        flow.correct(work, state.virtual_time);
        state.highest = state.highest.max(flow.tag);
        if state.order.remove(&(was, flow_id)) {
            state.order.insert((flow.tag, flow_id));
        }
    }

    /// The lane's work that will be done before a new request of this tenant goes.
    pub(super) fn work_ahead(&self, class: Class, tenant: &str) -> f64 {
        let index = class.index();
        let state = &self.classes[index];
        let flow = self.by_tenant[index]
            .get(tenant)
            .and_then(|flow| self.flows.get(*flow as usize));
        // How far virtual time must go until the flow's last request has gone.
        let lead = flow.map_or(0, |flow| flow.last_tag().saturating_sub(state.virtual_time));
        let higher: f64 = self.classes[..index].iter().map(|class| class.work).sum();
        let kept = (1.0 - self.floor * (CLASSES - 1 - index) as f64).max(0.1);
        let own = flow.map_or(0.0, Flow::work);
        let least = own + if state.owed > 0.0 { 0.0 } else { higher };
        let others = (lead as f64 / SCALE as f64 * state.weight as f64).min(state.work);
        let still = (higher + others.max(own)) / kept;
        match state.speed.work_per_tag() {
            // The line is moving: what was seen includes those who come later and go first.
            Some(speed) => (lead as f64 * speed).max(least),
            None => still,
        }
    }

    fn flow_of(&mut self, class: Class, tenant: &Arc<str>, weight: u32) -> u32 {
        let index = class.index();
        let weight = weight.max(1);
        if let Some(id) = self.by_tenant[index].get(tenant).copied() {
            if let Some(flow) = self.flows.get_mut(id as usize) {
                if !flow.is_empty() {
                    let state = &mut self.classes[index];
                    state.weight = state.weight - u64::from(flow.weight) + u64::from(weight);
                }
                flow.weight = weight;
            }
            return id;
        }
        let flow = Flow::new(weight);
        let id = if let Some(id) = self.free_flows.pop() {
            if let Some(slot) = self.flows.get_mut(id as usize) {
                *slot = flow;
            }
            id
        } else {
            self.flows.push(flow);
            u32::try_from(self.flows.len() - 1).unwrap_or(u32::MAX)
        };
        self.by_tenant[index].insert(Arc::clone(tenant), id);
        id
    }

    fn unlink(&mut self, id: WaiterId) -> Option<Waiter<T>> {
        let waiter = self.waiters.remove(id)?;
        if waiter.deadline != NEVER {
            self.deadlines.remove(&(waiter.deadline, id));
        }
        let class = &mut self.classes[waiter.ask.class.index()];
        class.waiting -= 1;
        class.work = (class.work - waiter.ask.work as f64).max(0.0);
        class.tokens = (class.tokens - waiter.ask.need.tokens() as f64).max(0.0);
        if let Some(flow) = self.flows.get_mut(waiter.flow as usize) {
            flow.remove(waiter.place, waiter.ask.work);
            if flow.is_empty() {
                class.order.remove(&(flow.tag, waiter.flow));
                class.weight -= u64::from(flow.weight);
            }
        }
        Some(waiter)
    }

    /// Forgets flows that do not wait and have no debt.
    fn rest(&mut self, index: usize) {
        let class = &mut self.classes[index];
        let flows = &mut self.flows;
        if class.waiting == 0 {
            // Nobody waits: the past is settled, and the next line starts even.
            class.work = 0.0;
            class.tokens = 0.0;
            class.owed = 0.0;
            class.virtual_time = class.virtual_time.max(class.highest);
            class.speed = Speed::default();
            let before = self.free_flows.len();
            self.free_flows
                .extend(self.by_tenant[index].drain().map(|(_, flow)| flow));
            // In an order that does not depend on the map's, so that a run can be repeated.
            self.free_flows[before..].sort_unstable();
            return;
        }
        let by_tenant = &mut self.by_tenant[index];
        if by_tenant.len() > 2 * class.order.len() + 64 {
            let now = class.virtual_time;
            let free = &mut self.free_flows;
            let before = free.len();
            by_tenant.retain(|_, id| {
                let Some(flow) = flows.get(*id as usize) else {
                    return false;
                };
                let keep = !flow.is_empty() || flow.tag > now;
                if !keep {
                    free.push(*id);
                }
                keep
            });
            free[before..].sort_unstable();
        }
    }
}
