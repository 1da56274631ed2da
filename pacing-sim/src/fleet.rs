//! The simulation itself: one queue of events, every replica's lane, the service's count.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use bailian_quota::share::{Allotments, Ledger, Renewal, Terms};
use bailian_quota::{
    Admission, Demand, Event, Grant, LaneConfig, LaneCore, Limit, RampProfile, Throttle, Usage,
};
use bailian_sim::throttle::{Ask, Check, Count, Rule, Ticket};

use crate::outcome::{Outcome, Recorder};
use crate::traffic::{Load, Tenant, normal, whole};

/// What happens and for how long.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Scenario {
    /// Gateways that share the account.
    pub replicas: usize,
    /// Virtual time.
    pub duration: Duration,
    /// What the gateways are told.
    pub told: Vec<Limit>,
    /// What the service allows.
    pub truth: Rule,
    /// Who asks.
    pub load: Load,
    /// How the lanes start.
    pub ramp: Option<RampProfile>,
    /// Tokens per second of an answer.
    pub tokens_per_second: f64,
    /// What goes wrong when.
    pub incidents: Vec<(Duration, Incident)>,
    /// Everything random comes from it.
    pub seed: u64,
}

/// Something that goes wrong, or right again.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Incident {
    /// A replica dies; its tenants go to the others.
    Kill(usize),
    /// It is started again.
    Start(usize),
    /// Nobody reaches the ledger.
    LedgerAway,
    /// It is back and has forgotten everything.
    LedgerBack,
    /// Another program begins to use so many requests per second.
    OtherProgram(f64),
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            replicas: 1,
            duration: Duration::from_mins(5),
            told: Vec::new(),
            truth: Rule::default(),
            load: Load::default(),
            ramp: Some(RampProfile::BRISK),
            tokens_per_second: 60.0,
            incidents: Vec::new(),
            seed: 1,
        }
    }
}

/// Nanoseconds since the start.
type At = u64;

const MILLISECOND: At = 1_000_000;
const SECOND: At = 1_000 * MILLISECOND;
/// Between two pieces of output.
const CHUNK: At = SECOND / 2;
/// The least and the most time on the network, one way.
const NETWORK: (At, At) = (2 * MILLISECOND, 6 * MILLISECOND);
/// One way to the ledger.
const LEDGER_NETWORK: At = MILLISECOND;
/// So often a request that was throttled is sent again.
const MOST_REQUEUES: u32 = 5;

enum Happening {
    Arrive(usize),
    Look(usize, u64),
    Reach(usize),
    Refused(usize, Throttle),
    Produce(usize),
    Ended(usize),
    Renew(usize, u64),
    AtLedger(usize, u64, Box<Renewal>),
    Told(usize, u64, Box<Allotments>),
    Incident(Incident),
    Other,
}

struct Request {
    tenant: usize,
    replica: usize,
    /// The replica's life in which it came.
    life: u64,
    input: u64,
    output: u64,
    made: u64,
    since: At,
    forecast: Duration,
    grant: Option<Grant>,
    ticket: Option<Ticket>,
}

struct Replica {
    lane: LaneCore<usize>,
    /// Rises with every start, so that what belonged to a former life is known.
    life: u64,
    lives: bool,
    /// The look that counts.
    look_at: At,
    /// When it renewed last, and whether somebody waited then.
    renewed_at: At,
    waited: bool,
}

struct World<'a> {
    scenario: &'a Scenario,
    rng: fastrand::Rng,
    start: Instant,
    now: At,
    queue: BinaryHeap<Reverse<(At, u64, usize)>>,
    happenings: Vec<Option<Happening>>,
    free: Vec<usize>,
    order: u64,
    tenants: Vec<Tenant>,
    requests: Vec<Option<Request>>,
    free_requests: Vec<usize>,
    replicas: Vec<Replica>,
    ledger: Option<Ledger>,
    count: Count,
    other: f64,
    recorder: Recorder,
}

/// Runs a scenario to its end.
pub fn run(scenario: &Scenario) -> Outcome {
    let mut rng = fastrand::Rng::with_seed(scenario.seed);
    let tenants = scenario.load.make_tenants(&mut rng);
    let start = Instant::now();
    let replicas = (0..scenario.replicas).map(|_| Replica {
        lane: new_lane(scenario, start),
        life: 0,
        lives: true,
        look_at: At::MAX,
        renewed_at: 0,
        waited: false,
    });
    let mut world = World {
        scenario,
        start,
        now: 0,
        queue: BinaryHeap::new(),
        happenings: Vec::new(),
        free: Vec::new(),
        order: 0,
        recorder: Recorder::new(scenario, &tenants),
        requests: Vec::new(),
        free_requests: Vec::new(),
        replicas: replicas.collect(),
        ledger: Some(Ledger::new(&Terms::default())),
        count: Count::new(scenario.truth.clone()),
        other: 0.0,
        tenants,
        rng,
    };
    world.begin();
    let end = nanos(scenario.duration);
    while let Some(Reverse((at, _, place))) = world.queue.pop() {
        if at > end {
            break;
        }
        world.now = at;
        let happening = world.happenings.get_mut(place).and_then(Option::take);
        world.free.push(place);
        if let Some(happening) = happening {
            world.happen(happening);
        }
    }
    let report = world.count.report(scenario.duration);
    world.recorder.finish(report)
}

fn new_lane(scenario: &Scenario, now: Instant) -> LaneCore<usize> {
    let mut config = LaneConfig::new(scenario.told.clone());
    config.ramp = scenario.ramp;
    config.max_waiting = 100_000;
    config.max_waiting_per_tenant = 10_000;
    let mut lane = LaneCore::new(config, now);
    if scenario.replicas > 1 {
        lane.share(0.0);
    }
    lane
}

impl World<'_> {
    fn begin(&mut self) {
        for tenant in 0..self.tenants.len() {
            self.arrive_next(tenant);
        }
        if self.scenario.replicas > 1 {
            for replica in 0..self.replicas.len() {
                let at = self.rng.u64(0..100 * MILLISECOND);
                self.at(at, Happening::Renew(replica, 0));
            }
        }
        for (at, incident) in self.scenario.incidents.clone() {
            self.at(nanos(at), Happening::Incident(incident));
        }
    }

    fn at(&mut self, at: At, happening: Happening) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.happenings.push(None);
            self.happenings.len() - 1
        });
        self.happenings[place] = Some(happening);
        self.order += 1;
        self.queue.push(Reverse((at, self.order, place)));
    }

    fn instant(&self) -> Instant {
        self.start + Duration::from_nanos(self.now)
    }

    fn time(&self) -> Duration {
        Duration::from_nanos(self.now)
    }

    fn network(&mut self) -> At {
        self.rng.u64(NETWORK.0..NETWORK.1)
    }

    fn arrive_next(&mut self, tenant: usize) {
        let now = self.now as f64 / SECOND as f64;
        let load = &self.scenario.load;
        let next = load.next_after(&mut self.tenants[tenant], now, &mut self.rng);
        if next < 1e7 {
            self.at(seconds(next), Happening::Arrive(tenant));
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Arrive(tenant) => {
                self.arrive_next(tenant);
                self.arrive(tenant);
            }
            Happening::Look(replica, life) => {
                if self.replicas[replica].life == life && self.replicas[replica].look_at <= self.now
                {
                    self.replicas[replica].look_at = At::MAX;
                    self.advance(replica);
                }
            }
            Happening::Reach(request) => self.reach(request),
            Happening::Refused(request, throttle) => self.refused(request, &throttle),
            Happening::Produce(request) => self.produce(request),
            Happening::Ended(request) => self.ended(request),
            Happening::Renew(replica, life) => self.renew(replica, life),
            Happening::AtLedger(replica, life, renewal) => {
                let now = self.time();
                let id = format!("{replica}-{life}");
                let told = self
                    .ledger
                    .as_mut()
                    .and_then(|ledger| ledger.renew(&id, &renewal, now));
                if let Some(told) = told {
                    let at = self.now + LEDGER_NETWORK;
                    self.at(at, Happening::Told(replica, life, Box::new(told)));
                }
            }
            Happening::Told(replica, life, told) => {
                let now = self.instant();
                let state = &mut self.replicas[replica];
                if state.lives && state.life == life {
                    state.lane.apply(&told, now);
                    self.advance(replica);
                }
            }
            Happening::Incident(incident) => self.incident(incident),
            Happening::Other => self.other_program(),
        }
    }

    /// A tenant stays with one replica as long as that lives.
    fn replica_of(&mut self, tenant: usize) -> Option<usize> {
        let count = self.replicas.len();
        (0..count)
            .map(|step| (tenant * 7 + step) % count)
            .find(|replica| self.replicas[*replica].lives)
    }

    fn arrive(&mut self, tenant: usize) {
        let Some(replica) = self.replica_of(tenant) else {
            return;
        };
        let (input, output) = self.scenario.load.lengths(&mut self.rng);
        let error = (0.1 * normal(&mut self.rng)).exp();
        let estimate = whole(input as f64 * error);
        let class = self.tenants[tenant].class;
        let demand = Demand::new(self.tenants[tenant].name.clone(), estimate)
            .class(class)
            .patience(Some(self.scenario.load.patience));
        self.recorder.offered(tenant, input + output, self.now);
        let now = self.instant();
        let request = Request {
            tenant,
            replica,
            life: self.replicas[replica].life,
            input,
            output,
            made: 0,
            since: self.now,
            forecast: Duration::ZERO,
            grant: None,
            ticket: None,
        };
        let place = self.keep(request);
        let lane = &mut self.replicas[replica].lane;
        let forecast = lane.expected_wait(&demand, now);
        match lane.request(&demand, now, || place) {
            Ok(Admission::Granted(grant)) => self.granted(place, grant),
            Ok(Admission::Queued(_)) => {
                if let Some(request) = &mut self.requests[place] {
                    request.forecast = forecast;
                }
                self.advance(replica);
                self.line_began(replica);
            }
            Err(_) => {
                self.recorder.refused(self.now);
                self.drop_request(place);
            }
        }
    }

    fn keep(&mut self, request: Request) -> usize {
        let place = self.free_requests.pop().unwrap_or_else(|| {
            self.requests.push(None);
            self.requests.len() - 1
        });
        self.requests[place] = Some(request);
        place
    }

    fn drop_request(&mut self, place: usize) -> Option<Request> {
        let request = self.requests[place].take();
        if request.is_some() {
            self.free_requests.push(place);
        }
        request
    }

    fn advance(&mut self, replica: usize) {
        let now = self.instant();
        let mut events = Vec::new();
        self.replicas[replica].lane.advance(now, &mut events);
        for event in events {
            match event {
                Event::Granted(place, grant) => self.granted(place, grant),
                Event::Refused(place, _) => {
                    if self.drop_request(place).is_some() {
                        self.recorder.refused(self.now);
                    }
                }
            }
        }
        let Some(next) = self.replicas[replica].lane.next_event() else {
            return;
        };
        let at = nanos(next.saturating_duration_since(self.start)).max(self.now);
        let state = &mut self.replicas[replica];
        if at < state.look_at {
            state.look_at = at;
            let life = state.life;
            self.at(at, Happening::Look(replica, life));
        }
    }

    fn granted(&mut self, place: usize, grant: Grant) {
        let at = self.now + self.network();
        let Some(request) = &mut self.requests[place] else {
            return;
        };
        if grant.attempt() == 0 {
            let waited = Duration::from_nanos(self.now - request.since);
            self.recorder
                .sent(request.tenant, waited, request.forecast, self.now);
        }
        request.grant = Some(grant);
        self.at(at, Happening::Reach(place));
    }

    /// The service sees the request.
    fn reach(&mut self, place: usize) {
        let now = self.time();
        let Some(request) = &mut self.requests[place] else {
            return;
        };
        let ask = Ask::new(request.input, 0);
        match self.count.admit(now, ask) {
            Ok(ticket) => {
                request.ticket = Some(ticket);
                self.recorder
                    .admitted(request.tenant, request.input + request.output, self.now);
                let state = &mut self.replicas[request.replica];
                if let Some(grant) = &request.grant
                    && state.life == request.life
                {
                    state.lane.admitted(grant);
                }
                self.at(self.now + CHUNK, Happening::Produce(place));
            }
            Err(refusal) => {
                let throttle = match refusal.check {
                    Check::Tokens => Throttle::Tokens,
                    Check::Burst => Throttle::Burst,
                    Check::Concurrency => Throttle::Concurrency,
                    _ => Throttle::Requests,
                };
                self.recorder.throttled(self.now);
                let at = self.now + self.network();
                self.at(at, Happening::Refused(place, throttle));
            }
        }
    }

    fn refused(&mut self, place: usize, throttle: &Throttle) {
        let now = self.instant();
        let patience = Some(self.scenario.load.patience);
        let Some(request) = &mut self.requests[place] else {
            return;
        };
        let replica = request.replica;
        let state = &mut self.replicas[replica];
        let Some(grant) = request.grant.take().filter(|_| state.life == request.life) else {
            self.drop_request(place);
            return;
        };
        state.lane.refuse(&grant, throttle, None, now);
        if grant.attempt() < MOST_REQUEUES {
            state.lane.requeue(grant, 1, patience, now, place);
        } else {
            state.lane.give_back(&grant, now);
            self.drop_request(place);
        }
        self.advance(replica);
    }

    fn produce(&mut self, place: usize) {
        let now = self.time();
        let per_chunk = self.scenario.tokens_per_second * CHUNK as f64 / SECOND as f64;
        let Some(request) = &mut self.requests[place] else {
            return;
        };
        let made = whole(per_chunk).max(1).min(request.output - request.made);
        request.made += made;
        if let Some(ticket) = &mut request.ticket {
            self.count.charge(ticket, now, made);
        }
        if request.made < request.output {
            self.at(self.now + CHUNK, Happening::Produce(place));
            return;
        }
        if let Some(ticket) = request.ticket.take() {
            self.count.finish(ticket, now);
        }
        let at = self.now + self.network();
        self.at(at, Happening::Ended(place));
    }

    fn ended(&mut self, place: usize) {
        let now = self.instant();
        let Some(request) = self.drop_request(place) else {
            return;
        };
        let state = &mut self.replicas[request.replica];
        if let Some(grant) = &request.grant
            && state.life == request.life
        {
            state
                .lane
                .settle(grant, Usage::new(request.input, request.output), now);
            self.advance(request.replica);
        }
    }

    /// What a line needs that began since the last renewal is asked for at once.
    fn line_began(&mut self, replica: usize) {
        let state = &mut self.replicas[replica];
        let is_due = self.now >= state.renewed_at + 10 * MILLISECOND;
        if self.scenario.replicas > 1 && is_due && !state.waited && state.lane.waiting() > 0 {
            let life = state.life;
            self.report(replica, life);
        }
    }

    fn renew(&mut self, replica: usize, life: u64) {
        let state = &self.replicas[replica];
        if !state.lives || state.life != life {
            return;
        }
        let factor = (self.replicas.len() as u64 / 16).clamp(1, 8);
        let pause = if self.report(replica, life) {
            100 * MILLISECOND * factor
        } else {
            600 * MILLISECOND
        };
        self.at(self.now + pause, Happening::Renew(replica, life));
    }

    /// Sends a renewal; whether the lane is in use.
    fn report(&mut self, replica: usize, life: u64) -> bool {
        let now = self.instant();
        let state = &mut self.replicas[replica];
        let Some(renewal) = state.lane.renewal(now) else {
            return false;
        };
        state.renewed_at = self.now;
        state.waited = renewal.limits.iter().any(|report| report.need > 0);
        let in_use = renewal.limits.iter().any(|report| report.wanted > 0);
        if self.ledger.is_some() {
            let at = self.now + LEDGER_NETWORK;
            self.at(at, Happening::AtLedger(replica, life, Box::new(renewal)));
        }
        in_use
    }

    fn incident(&mut self, incident: Incident) {
        let now = self.instant();
        match incident {
            Incident::Kill(replica) => {
                self.replicas[replica].lives = false;
                self.replicas[replica].life += 1;
                // Its requests end with it; the service goes on with those that it had begun.
                for place in 0..self.requests.len() {
                    let is_lost = self.requests[place].as_ref().is_some_and(|request| {
                        request.replica == replica && request.grant.is_none()
                    });
                    if is_lost {
                        self.drop_request(place);
                    }
                }
            }
            Incident::Start(replica) => {
                let lane = new_lane(self.scenario, now);
                let state = &mut self.replicas[replica];
                state.lane = lane;
                state.lives = true;
                state.look_at = At::MAX;
                let life = state.life;
                self.at(self.now, Happening::Renew(replica, life));
            }
            Incident::LedgerAway => self.ledger = None,
            Incident::LedgerBack => self.ledger = Some(Ledger::new(&Terms::default())),
            Incident::OtherProgram(rate) => {
                let begins = self.other <= 0.0 && rate > 0.0;
                self.other = rate;
                if begins {
                    self.at(self.now, Happening::Other);
                }
            }
        }
    }

    /// Another program sends evenly and drops what is refused.
    fn other_program(&mut self) {
        if self.other <= 0.0 {
            return;
        }
        let now = self.time();
        if let Ok(ticket) = self.count.admit(now, Ask::new(500, 0)) {
            self.count.finish(ticket, now);
        }
        let at = self.now + seconds(1.0 / self.other);
        self.at(at, Happening::Other);
    }
}

fn nanos(duration: Duration) -> At {
    At::try_from(duration.as_nanos()).unwrap_or(At::MAX)
}

fn seconds(seconds: f64) -> At {
    whole(seconds * SECOND as f64)
}
