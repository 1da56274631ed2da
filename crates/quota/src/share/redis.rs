//! Limits shared between replicas over Redis or Valkey.
//!
//! One script per lane and renewal decides who holds how much (`renew.lua`, the same rules as
//! [`Ledger`](super::Ledger)); no request waits for it. While the server is away every replica goes
//! on with what it held last.

mod script;
mod worker;

use std::fmt;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use thiserror::Error;

pub use self::script::{Member, RenewScript};
use super::Terms;
use crate::pacer::Pacer;

/// How to share lanes over Redis.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct RedisConfig {
    url: String,
    /// What the names of all keys begin with: one for each account.
    pub prefix: String,
    /// What the names of keys begin with that are about no account.
    pub common_prefix: String,
    /// The part of every limit that this replica uses while it never reached the server, from 0 to 1.
    pub part_without: f64,
    /// When leases end.
    pub terms: Terms,
    /// The time between two renewals of a lane that is in use. Many replicas renew less often.
    pub interval: Duration,
}

/// Why sharing cannot begin.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RedisError {
    /// The address cannot be read. It is not repeated, since it may hold a password.
    #[error("the Redis address is not valid: write redis://HOST:PORT or rediss://HOST:PORT")]
    Address,
    /// The system gave no thread.
    #[error("cannot start the thread that shares limits: {0}")]
    Thread(#[source] std::io::Error),
}

/// How sharing goes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SharingStatus {
    /// Whether the last renewal was answered.
    pub connected: bool,
    /// Since when it is so.
    pub since: Instant,
    /// Replicas that share a lane with this one, and this one: the most of any lane.
    pub replicas: u64,
    /// Rounds of renewals that were answered.
    pub renewals: u64,
    /// Rounds that were not.
    pub failures: u64,
    /// The last failure, without addresses and secrets.
    pub last_error: Option<String>,
}

/// Renews the leases of a pacer's lanes until it is dropped or [`leave`](Self::leave)s.
pub struct Sharing {
    status: Arc<Mutex<SharingStatus>>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl RedisConfig {
    /// Shares over the server at `url`, such as `redis://127.0.0.1:6379`, `rediss://…` for TLS.
    ///
    /// # Errors
    /// [`RedisError::Address`] when the address cannot be read.
    pub fn new(url: &str, prefix: impl Into<String>) -> Result<Self, RedisError> {
        redis::Client::open(url).map_err(|_| RedisError::Address)?;
        Ok(Self {
            url: url.to_owned(),
            prefix: prefix.into(),
            common_prefix: String::new(),
            part_without: 0.25,
            terms: Terms::default(),
            interval: Duration::from_millis(100),
        })
    }
}

impl RedisConfig {
    /// The server's address, which may hold a password.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConfig")
            .field("prefix", &self.prefix)
            .field("terms", &self.terms)
            .finish_non_exhaustive()
    }
}

impl Sharing {
    /// Shares all lanes of `pacer` from now on, on a thread of its own. To be called before
    /// the first request.
    ///
    /// # Errors
    /// [`RedisError`] when the thread cannot be started. A server that does not answer is none: it
    /// is tried again and again.
    pub fn start(pacer: &Pacer, config: RedisConfig) -> Result<Self, RedisError> {
        let status = Arc::new(Mutex::new(SharingStatus {
            connected: false,
            since: Instant::now(),
            replicas: 1,
            renewals: 0,
            failures: 0,
            last_error: None,
        }));
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let worker = worker::Worker::new(pacer, config, Arc::clone(&status))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(RedisError::Thread)?;
        let thread = std::thread::Builder::new()
            .name("bailian-shares".to_owned())
            .spawn(move || runtime.block_on(worker.run(stopped)))
            .map_err(RedisError::Thread)?;
        Ok(Self {
            status,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// How it goes.
    pub fn status(&self) -> SharingStatus {
        let mut status = self.status.lock().clone();
        if self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
            // It only ends by a panic while this value lives.
            status.connected = false;
            status.last_error = Some("the thread that shares limits has ended".to_owned());
        }
        status
    }

    /// Returns all leases, so that others need not wait for their end. Blocks for a second at
    /// most when the server is away.
    pub fn leave(mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that shares limits has panicked; leases end by themselves");
        }
    }
}

impl fmt::Debug for Sharing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sharing")
            .field("status", &*self.status.lock())
            .finish_non_exhaustive()
    }
}
