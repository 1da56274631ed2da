//! The loop that tells and asks.

use std::sync::Arc;
use std::time::Duration;

use bailian_quota::share::redis::{Member, RenewScript};
use bailian_quota::share::{Allotments, Renewal};
use futures_util::{StreamExt as _, stream};
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError as Error};
use tokio::sync::{Notify, oneshot, watch};

use super::{
    PotMember, PotScript, ShareClock, ShareConfig, ShareError, ShareStatus, SharedBudgets, TIMEOUT,
};
use crate::budget::Budgets;
use crate::budget::refusal::LimitKind;
use crate::budget::share::{Ask, AskWhat, HoldKey, Holds, PotAnswer, PotReport};
use crate::period::Period;
use crate::settings::Unit;

/// The time between two attempts to connect.
const RECONNECT: Duration = Duration::from_millis(300);
/// How often it is looked for something to tell.
const TICK: Duration = Duration::from_millis(50);
/// Every so many ticks what nobody uses is given back.
const TIDY_EVERY: u32 = 20;
/// Every so many ticks it is looked whether the server has lost its data: several times in a pot's
/// time of grace.
const LOOK_EVERY: u32 = 10;
/// Questions under way at the same time.
const CONCURRENT: usize = 64;

const DAY: Duration = Duration::from_hours(24);

pub(super) struct Worker {
    budgets: Budgets,
    holds: Holds,
    wanted: Arc<Notify>,
    config: ShareConfig,
    clock: ShareClock,
    client: Client,
    pots: PotScript,
    leases: RenewScript,
    /// This replica's name; a new one with every start.
    id: String,
    status: Arc<Mutex<ShareStatus>>,
    answers: watch::Sender<u64>,
    ticks: u32,
    /// What the server remembers until it loses everything.
    mark: Option<String>,
    names: Names,
}

/// Where that stands, and what is there for a while after it was found missing.
struct Names {
    mark: String,
    fresh: String,
}

/// A question with its answer.
enum Answered {
    Pot(HoldKey, PotReport, PotAnswer),
    Lease(HoldKey, Renewal, Allotments),
}

impl Worker {
    pub(super) fn new(
        shared: &SharedBudgets,
        config: ShareConfig,
        clock: ShareClock,
        status: Arc<Mutex<ShareStatus>>,
        answers: watch::Sender<u64>,
    ) -> Result<Self, ShareError> {
        let client = Client::open(config.url.as_str()).map_err(|_| ShareError::Address)?;
        let names = Names {
            mark: format!("{}mark", config.prefix),
            fresh: format!("{}fresh", config.prefix),
        };
        Ok(Self {
            names,
            budgets: shared.budgets.clone(),
            holds: shared.holds.clone(),
            wanted: Arc::clone(&shared.wanted),
            config,
            clock,
            client,
            pots: PotScript::default(),
            leases: RenewScript::default(),
            id: format!("{:032x}", random()),
            status,
            answers,
            ticks: 0,
            mark: None,
        })
    }

    /// Runs until `stopped` resolves.
    pub(super) async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        let mut connection = None;
        loop {
            let pause = match self.round(&mut connection).await {
                Ok(()) => TICK,
                Err(error) => {
                    self.failed(&error);
                    self.tell_waiters();
                    connection = None;
                    RECONNECT
                }
            };
            tokio::select! {
                _ = &mut stopped => {
                    if let Some(open) = &connection {
                        self.give_back(open, false).await;
                    }
                    return;
                }
                () = tokio::time::sleep(pause) => {}
                () = self.wanted.notified(), if connection.is_some() => {}
            }
        }
    }

    /// Connects where that is needed, tells and asks.
    async fn round(&mut self, connection: &mut Option<MultiplexedConnection>) -> Result<(), Error> {
        let open = match connection {
            Some(open) => open.clone(),
            None => {
                let open = self.connect().await?;
                self.look_for_loss(&open).await?;
                connection.insert(open).clone()
            }
        };
        self.ask(&open).await?;
        self.ticks = self.ticks.wrapping_add(1);
        if self.ticks.is_multiple_of(LOOK_EVERY) {
            self.look_for_loss(&open).await?;
        }
        if self.ticks.is_multiple_of(TIDY_EVERY) {
            self.give_back(&open, true).await;
        }
        Ok(())
    }

    /// Whether the server has lost what it was told. Then all replicas tell it again, while its new
    /// pots give nothing out.
    async fn look_for_loss(&mut self, connection: &MultiplexedConnection) -> Result<(), Error> {
        let mut connection = connection.clone();
        let mark: Option<String> = redis::cmd("GET")
            .arg(&self.names.mark)
            .query_async(&mut connection)
            .await?;
        let known = std::mem::replace(&mut self.mark, mark);
        if known.is_some() && known != self.mark {
            tracing::warn!("Redis has lost its data: limits and budgets of tenants are told again");
            self.holds.reclaim(&self.budgets);
        }
        Ok(())
    }

    async fn connect(&self) -> Result<MultiplexedConnection, Error> {
        let settings = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(TIMEOUT))
            .set_response_timeout(Some(TIMEOUT));
        let connecting = self
            .client
            .get_multiplexed_async_connection_with_config(&settings);
        let connection = connecting.await?;
        self.succeeded(0);
        Ok(connection)
    }

    async fn ask(&mut self, connection: &MultiplexedConnection) -> Result<(), Error> {
        let now = (self.clock)();
        let asks = self.holds.due(&self.budgets, now);
        if asks.is_empty() {
            return Ok(());
        }
        let this = &*self;
        let questions = stream::iter(asks).map(|ask| this.ask_one(connection.clone(), ask));
        let answers: Vec<Result<_, Error>> = questions.buffer_unordered(CONCURRENT).collect().await;
        let now = (self.clock)();
        let mut first_error = None;
        let mut count = 0;
        for answer in answers {
            match answer {
                Ok(Some(Answered::Pot(key, report, answer))) => {
                    count += 1;
                    let ask = (&key, &report);
                    self.holds.told_by_pot(&self.budgets, ask, &answer, now);
                }
                Ok(Some(Answered::Lease(key, renewal, told))) => {
                    count += 1;
                    if let Some(told) = told.limits.first() {
                        self.holds
                            .told_by_ledger(&key, &renewal, told, now.monotonic);
                    }
                }
                Ok(None) => {}
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        match first_error {
            Some(error) => Err(error),
            None => {
                self.succeeded(count);
                self.tell_waiters();
                Ok(())
            }
        }
    }

    /// Those who wait for an answer try again.
    fn tell_waiters(&self) {
        self.answers
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    async fn ask_one(
        &self,
        mut connection: MultiplexedConnection,
        ask: Ask,
    ) -> Result<Option<Answered>, Error> {
        let (name, id) = (self.name(&ask.key), self.member(&ask));
        Ok(match ask.what {
            AskWhat::Pot(report) => {
                let member = self.pot_member(&name, &id, &ask.key);
                let answer = self.pots.renew(&mut connection, &member, &report).await?;
                answer.map(|answer| Answered::Pot(ask.key, report, answer))
            }
            AskWhat::Window(renewal) => {
                let member = self.lease_member(&name, &id);
                let told = self
                    .leases
                    .renew(&mut connection, &member, &renewal)
                    .await?;
                told.map(|told| Answered::Lease(ask.key, renewal, told))
            }
        })
    }

    /// Gives back what is held and not used.
    async fn give_back(&self, connection: &MultiplexedConnection, only_idle: bool) {
        let now = (self.clock)();
        let farewells = self.holds.farewells(&self.budgets, now, only_idle);
        let said = stream::iter(farewells).map(|ask| self.say_farewell(connection.clone(), ask));
        let said: Vec<Result<(), Error>> = said.buffer_unordered(CONCURRENT).collect().await;
        if let Some(error) = said.into_iter().find_map(Result::err) {
            // Leases end by themselves; what is held of a budget counts as spent after a while.
            self.failed(&error);
        }
    }

    async fn say_farewell(
        &self,
        mut connection: MultiplexedConnection,
        ask: Ask,
    ) -> Result<(), Error> {
        let (name, id) = (self.name(&ask.key), self.member(&ask));
        match &ask.what {
            AskWhat::Pot(report) => {
                let member = self.pot_member(&name, &id, &ask.key);
                self.pots.leave(&mut connection, &member, report).await
            }
            AskWhat::Window(renewal) => {
                let member = self.lease_member(&name, &id);
                self.leases.leave(&mut connection, &member, renewal).await
            }
        }
    }

    fn member(&self, ask: &Ask) -> String {
        format!("{}.{}", self.id, ask.member)
    }

    fn pot_member<'a>(&'a self, key: &'a str, id: &'a str, hold: &HoldKey) -> PotMember<'a> {
        let keep = match hold.kind {
            LimitKind::Budget {
                period: Period::Day,
                ..
            } => DAY * 3,
            LimitKind::Budget {
                period: Period::Month,
                ..
            } => DAY * 40,
            _ => DAY * 400,
        };
        PotMember {
            key,
            mark: &self.names.mark,
            fresh: &self.names.fresh,
            id,
            terms: &self.config.pots,
            keep,
            now: None,
        }
    }

    fn lease_member<'a>(&'a self, key: &'a str, id: &'a str) -> Member<'a> {
        Member {
            key,
            id,
            terms: &self.config.leases,
            now: None,
        }
    }

    /// Where a limit stands in Redis.
    fn name(&self, key: &HoldKey) -> String {
        let what = match key.kind {
            LimitKind::Budget {
                period,
                offset,
                unit,
            } => {
                let unit = match unit {
                    Unit::Money(currency) => currency.to_string(),
                    Unit::Tokens => "tokens".to_owned(),
                };
                format!("{period}{offset}:{unit}")
            }
            kind => kind.as_str().to_owned(),
        };
        format!("{}{}:{what}:{}", self.config.prefix, key.node, key.index)
    }

    fn succeeded(&self, answers: u64) {
        let mut status = self.status.lock();
        status.answers += answers;
        if !status.connected {
            status.connected = true;
            drop(status);
            tracing::info!("limits and budgets of tenants are shared over Redis");
            self.holds.set_reachable(true);
        }
    }

    fn failed(&self, error: &Error) {
        let kind = format!("{:?}", error.kind());
        let mut status = self.status.lock();
        status.failures += 1;
        status.last_error = Some(kind.clone());
        let first = status.connected || status.failures == 1;
        status.connected = false;
        drop(status);
        self.holds.set_reachable(false);
        if first {
            tracing::warn!(
                error = kind,
                "Redis is away: this replica goes on with what it holds of limits and budgets of \
                 tenants"
            );
        }
    }
}

/// Different in every process: the standard library seeds its hash maps so.
fn random() -> u128 {
    use std::hash::{BuildHasher as _, RandomState};
    let half = || u128::from(RandomState::new().hash_one(std::process::id()));
    half() << 64 | half()
}
