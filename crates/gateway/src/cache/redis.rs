//! Answers that are kept in Redis, where replicas find each other's.
//!
//! A connection and a thread of its own, so that no request waits for the server longer than
//! [`PATIENCE`]: while it is away every answer is one that is not kept.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bailian_quota::share::redis::RedisError;
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::entry::Entry;
use super::key::Key;

/// How long a request waits for the server.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long the server may take to answer before its connection is given up.
const TIMEOUT: Duration = Duration::from_secs(1);
/// The time between two attempts to connect.
const RECONNECT: Duration = Duration::from_millis(300);
/// Commands that wait for their turn, and those under way. What is more is not kept.
const MOST_QUEUED: usize = 1_024;
const MOST_RUNNING: usize = 256;

pub(super) struct RedisStore {
    commands: mpsc::Sender<Command>,
    prefix: String,
    /// Longer answers were not kept by this gateway.
    max_entry_bytes: usize,
}

enum Command {
    Get(String, oneshot::Sender<Option<Vec<u8>>>),
    Put(String, Vec<u8>, Duration),
}

impl RedisStore {
    pub(super) fn start(
        url: &str,
        prefix: &str,
        max_entry_bytes: usize,
    ) -> Result<Self, RedisError> {
        let client = Client::open(url).map_err(|_| RedisError::Address)?;
        let (commands, queue) = mpsc::channel(MOST_QUEUED);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(RedisError::Thread)?;
        // It ends with the last sender, which is this value's.
        std::thread::Builder::new()
            .name("bailian-cache".to_owned())
            .spawn(move || runtime.block_on(run(client, queue)))
            .map_err(RedisError::Thread)?;
        Ok(Self {
            commands,
            prefix: prefix.to_owned(),
            max_entry_bytes,
        })
    }

    fn name(&self, key: Key) -> String {
        format!("{}{}", self.prefix, key.to_hex())
    }

    pub(super) async fn get(&self, key: Key) -> Option<Entry> {
        let (sender, receiver) = oneshot::channel();
        let command = Command::Get(self.name(key), sender);
        self.commands.try_send(command).ok()?;
        let form = tokio::time::timeout(PATIENCE, receiver)
            .await
            .ok()?
            .ok()??;
        Entry::decode(&form).filter(|entry| entry.body.len() <= self.max_entry_bytes)
    }

    /// Does not wait.
    pub(super) fn put(&self, key: Key, entry: &Entry, ttl: Duration) {
        if let Some(form) = entry.encode() {
            let command = Command::Put(self.name(key), form, ttl);
            // What finds no place in the queue is not kept.
            drop(self.commands.try_send(command));
        }
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

/// The connection as it is now.
struct Link {
    client: Client,
    now: Mutex<Now>,
}

struct Now {
    connection: Option<MultiplexedConnection>,
    /// Which connection it is: one that fails late must not end the next.
    number: u64,
    is_connecting: bool,
    again_at: Instant,
}

async fn run(client: Client, mut queue: mpsc::Receiver<Command>) {
    let link = Arc::new(Link {
        client,
        now: Mutex::new(Now {
            connection: None,
            number: 0,
            is_connecting: true,
            again_at: Instant::now(),
        }),
    });
    link.connect().await;
    let running = Arc::new(Semaphore::new(MOST_RUNNING));
    while let Some(command) = queue.recv().await {
        let Some((connection, number)) = Link::connection(&link) else {
            // Whoever asked sees at once that nothing comes.
            continue;
        };
        let Ok(permit) = Arc::clone(&running).acquire_owned().await else {
            return;
        };
        let link = Arc::clone(&link);
        tokio::spawn(async move {
            if let Err(error) = execute(command, connection).await {
                link.failed(number, &error);
            }
            drop(permit);
        });
    }
}

async fn execute(
    command: Command,
    mut connection: MultiplexedConnection,
) -> Result<(), redis::RedisError> {
    match command {
        Command::Get(name, answer) => {
            let form = redis::cmd("GET")
                .arg(name)
                .query_async(&mut connection)
                .await?;
            // Who asked may have lost patience.
            drop(answer.send(form));
            Ok(())
        }
        Command::Put(name, form, ttl) => {
            let millis = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1);
            redis::cmd("SET")
                .arg(name)
                .arg(form)
                .arg("PX")
                .arg(millis)
                .query_async(&mut connection)
                .await
        }
    }
}

impl Link {
    /// The connection, if there is one; else one is made, but not waited for.
    fn connection(this: &Arc<Self>) -> Option<(MultiplexedConnection, u64)> {
        let mut now = this.now.lock();
        if let Some(connection) = &now.connection {
            return Some((connection.clone(), now.number));
        }
        if !now.is_connecting && now.again_at <= Instant::now() {
            now.is_connecting = true;
            let this = Arc::clone(this);
            tokio::spawn(async move { this.connect().await });
        }
        None
    }

    async fn connect(&self) {
        let settings = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(TIMEOUT))
            .set_response_timeout(Some(TIMEOUT));
        let connected = self
            .client
            .get_multiplexed_async_connection_with_config(&settings)
            .await;
        let mut now = self.now.lock();
        now.is_connecting = false;
        match connected {
            Ok(connection) => {
                now.connection = Some(connection);
                now.number += 1;
            }
            Err(error) => {
                now.again_at = Instant::now() + RECONNECT;
                // The error's own text may name the address.
                tracing::debug!(kind = ?error.kind(), "the cache cannot reach Redis");
            }
        }
    }

    fn failed(&self, number: u64, error: &redis::RedisError) {
        if !error.is_unrecoverable_error() && !error.is_timeout() && !error.is_io_error() {
            // An answer, if none that helps: the connection is good.
            tracing::debug!(kind = ?error.kind(), code = error.code(), "Redis refused the cache");
            return;
        }
        let mut now = self.now.lock();
        if now.number == number && now.connection.take().is_some() {
            now.again_at = Instant::now() + RECONNECT;
            tracing::warn!(kind = ?error.kind(), "the cache lost Redis; nothing is kept until it is back");
        }
    }
}
