//! The loop that renews leases.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream;
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError as Error};
use tokio::sync::{Notify, oneshot};

use super::{Member, RedisConfig, RedisError, RenewScript, SharingStatus};
use crate::pacer::{Lane, Pacer};
use crate::share::LimitReport;

/// How long the server may take to answer.
const TIMEOUT: Duration = Duration::from_secs(1);
/// The time between two attempts to connect.
const RECONNECT: Duration = Duration::from_millis(300);
/// How often a lane that is not in use renews, so that its lease does not end.
const IDLE_INTERVAL: Duration = Duration::from_millis(600);
/// Renewals of one lane are so far apart at least, also when somebody waits.
const LEAST_INTERVAL: Duration = Duration::from_millis(10);
/// Renewals under way at the same time.
const CONCURRENT: usize = 64;
/// Up to so many replicas all renew at the interval; more of them proportionally less often.
const REPLICAS_AT_FULL_PACE: u32 = 16;
const SLOWEST_PACE: u32 = 8;

pub(super) struct Worker {
    pacer: Pacer,
    config: RedisConfig,
    client: Client,
    script: RenewScript,
    /// This replica's name; a new one with every start.
    id: String,
    status: Arc<Mutex<SharingStatus>>,
    wanted: Arc<Notify>,
    lanes: HashMap<Box<str>, Renewed>,
}

/// When a lane was renewed last, and how it was then.
#[derive(Clone, Copy)]
struct Renewed {
    at: Instant,
    in_use: bool,
    /// Whether somebody waited then.
    waited: bool,
    /// How many replicas shared it.
    replicas: u64,
}

impl Worker {
    pub(super) fn new(
        pacer: &Pacer,
        config: RedisConfig,
        status: Arc<Mutex<SharingStatus>>,
    ) -> Result<Self, RedisError> {
        let client = Client::open(config.url.as_str()).map_err(|_| RedisError::Address)?;
        let wanted = Arc::new(Notify::new());
        let wake = Arc::clone(&wanted);
        pacer.share(0.0, move || wake.notify_one());
        Ok(Self {
            pacer: pacer.clone(),
            config,
            client,
            script: RenewScript::default(),
            id: format!("{:032x}", random()),
            status,
            wanted,
            lanes: HashMap::new(),
        })
    }

    /// Runs until `stopped` resolves.
    pub(super) async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        let mut connection = None;
        loop {
            let pause = match self.round(&mut connection).await {
                Ok(()) => self.until_next(),
                Err(error) => {
                    self.failed(&error);
                    connection = None;
                    // A server that answers may refuse, too: it is not asked without a pause.
                    RECONNECT
                }
            };
            tokio::select! {
                _ = &mut stopped => {
                    if let Some(open) = &mut connection {
                        self.leave(open).await;
                    }
                    return;
                }
                () = tokio::time::sleep(pause) => {}
                () = self.wanted.notified(), if connection.is_some() => {}
            }
        }
    }

    /// Connects where that is needed, and renews.
    async fn round(&mut self, connection: &mut Option<MultiplexedConnection>) -> Result<(), Error> {
        let open = match connection {
            Some(open) => open,
            None => connection.insert(self.connect().await?),
        };
        let open = open.clone();
        self.renew(&open).await
    }

    async fn connect(&self) -> Result<MultiplexedConnection, Error> {
        let settings = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(TIMEOUT))
            .set_response_timeout(Some(TIMEOUT));
        self.client
            .get_multiplexed_async_connection_with_config(&settings)
            .await
    }

    /// Renews all lanes whose time it is.
    async fn renew(&mut self, connection: &MultiplexedConnection) -> Result<(), Error> {
        let now = Instant::now();
        let due: Vec<Lane> = self
            .pacer
            .lanes()
            .into_iter()
            .filter(|lane| self.is_due(lane, now))
            .collect();
        let (script, config, id) = (&self.script, &self.config, &self.id);
        let renewals = stream::iter(due).map(|lane| {
            let mut connection = connection.clone();
            async move {
                let Some(renewal) = lane.renewal() else {
                    return Ok(None);
                };
                let key = format!("{}{}", config.prefix, lane.name());
                let member = member(config, &key, id);
                let told = script.renew(&mut connection, &member, &renewal).await?;
                let Some(told) = told else {
                    return Ok(None);
                };
                let any = |of: fn(&LimitReport) -> u64| renewal.limits.iter().any(|r| of(r) > 0);
                let renewed = Renewed {
                    at: now,
                    in_use: any(|report| report.wanted),
                    waited: any(|report| report.need),
                    replicas: told.replicas,
                };
                lane.apply(&told);
                Ok(Some((lane, renewed)))
            }
        });
        let answers: Vec<Result<_, Error>> = renewals.buffer_unordered(CONCURRENT).collect().await;
        let mut first_error = None;
        for answer in answers {
            match answer {
                Ok(Some((lane, renewed))) => {
                    self.lanes.insert(lane.name().into(), renewed);
                }
                Ok(None) => {}
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        match first_error {
            Some(error) => Err(error),
            None => {
                self.succeeded();
                Ok(())
            }
        }
    }

    fn is_due(&self, lane: &Lane, now: Instant) -> bool {
        let Some(renewed) = self.lanes.get(lane.name()) else {
            return true;
        };
        let passed = now.saturating_duration_since(renewed.at);
        let interval = if !renewed.waited && lane.waiting() > 0 {
            // A line began since: what it needs is asked for at once.
            LEAST_INTERVAL
        } else if renewed.in_use {
            self.interval()
        } else {
            IDLE_INTERVAL
        };
        passed >= interval
    }

    fn interval(&self) -> Duration {
        let replicas = u32::try_from(self.status.lock().replicas).unwrap_or(u32::MAX);
        let factor = (replicas / REPLICAS_AT_FULL_PACE).clamp(1, SLOWEST_PACE);
        self.config.interval * factor
    }

    fn until_next(&self) -> Duration {
        let now = Instant::now();
        let interval = self.interval();
        let next = self.lanes.values().map(|renewed| {
            let interval = if renewed.in_use {
                interval
            } else {
                IDLE_INTERVAL
            };
            (renewed.at + interval).saturating_duration_since(now)
        });
        next.min()
            .unwrap_or(IDLE_INTERVAL)
            .max(Duration::from_millis(1))
    }

    async fn leave(&mut self, connection: &mut MultiplexedConnection) {
        for lane in self.pacer.lanes() {
            let Some(renewal) = lane.renewal() else {
                continue;
            };
            let key = format!("{}{}", self.config.prefix, lane.name());
            let member = member(&self.config, &key, &self.id);
            let left = self.script.leave(connection, &member, &renewal).await;
            if let Err(error) = left {
                // The lease ends by itself.
                self.failed(&error);
                return;
            }
        }
    }

    fn succeeded(&self) {
        let mut status = self.status.lock();
        if !status.connected {
            status.connected = true;
            status.since = Instant::now();
            tracing::info!("limits are shared over Redis");
            self.pacer.set_part(0.0);
        }
        // Not every replica has every lane.
        let counts = self.lanes.values().map(|renewed| renewed.replicas);
        status.replicas = counts.max().unwrap_or(1);
        status.renewals += 1;
    }

    fn failed(&self, error: &Error) {
        let kind = format!("{:?}", error.kind());
        let mut status = self.status.lock();
        status.failures += 1;
        status.last_error = Some(kind.clone());
        let first = status.connected || status.failures == 1;
        if status.connected {
            status.connected = false;
            status.since = Instant::now();
        }
        drop(status);
        if first {
            tracing::warn!(
                error = kind,
                "Redis is away: this replica goes on with its last share of every limit"
            );
        }
        // Lanes that were never told a share cannot wait for ever.
        self.pacer.set_part(self.config.part_without);
        self.pacer.go_alone();
    }
}

fn member<'a>(config: &'a RedisConfig, key: &'a str, id: &'a str) -> Member<'a> {
    Member {
        key,
        id,
        terms: &config.terms,
        now: None,
    }
}

/// Different in every process: the standard library seeds its hash maps so.
fn random() -> u128 {
    use std::hash::{BuildHasher as _, RandomState};
    let half = || u128::from(RandomState::new().hash_one(std::process::id()));
    half() << 64 | half()
}
