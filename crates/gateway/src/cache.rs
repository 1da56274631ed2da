//! Answers that are kept, so that equal requests need not be sent.
//!
//! Only who asks for it takes part: a route, or a caller (`terms`). Equal are requests with the same
//! digest of all that an answer depends on, the tenant among it (`key`). Only complete answers are
//! kept (`relay::cached` looks at them); of equal requests at the same time one is sent and the
//! others wait for its answer (`flight`).

mod entry;
mod flight;
mod key;
mod memory;
mod redis;
mod terms;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bailian_quota::share::redis::RedisError;
use parking_lot::Mutex;
use secrecy::ExposeSecret as _;
use sha2::{Digest as _, Sha256};

pub(crate) use self::entry::Entry;
pub(crate) use self::flight::{Flights, Landing, Lead, Place};
pub(crate) use self::key::{Asked, Key};
use self::memory::Memory;
use self::redis::RedisStore;
pub(crate) use self::terms::{Terms, X_CACHE, forbids_keeping};
use crate::clock::Clock;
use crate::config::{CacheConfig, CacheStore, Config};
use crate::metrics::Outcome;
use crate::usage::TokenCounts;

/// Whether an answer was kept already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CacheResult {
    /// It was.
    Hit,
    /// It was asked for.
    Miss,
    /// An equal request at the same time brought it.
    Wait,
}

impl CacheResult {
    pub(crate) const ALL: [Self; 3] = [Self::Hit, Self::Miss, Self::Wait];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Wait => "wait",
        }
    }
}

/// What the cache needs to know of the end of an answer that is on its way to a client. The
/// request's record says it.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    ended: Mutex<Option<(Outcome, Option<TokenCounts>)>>,
    patched: AtomicBool,
}

impl Ending {
    pub(crate) fn note(&self, outcome: Outcome, usage: Option<TokenCounts>) {
        *self.ended.lock() = Some((outcome, usage));
    }

    /// The answer was put together from several.
    pub(crate) fn note_patched(&self) {
        self.patched.store(true, Ordering::Relaxed);
    }

    /// Whether the answer came whole and in one piece.
    pub(crate) fn is_whole(&self) -> bool {
        let is_completed = matches!(*self.ended.lock(), Some((Outcome::Completed, _)));
        is_completed && !self.patched.load(Ordering::Relaxed)
    }

    /// What upstream reported for it.
    pub(crate) fn usage(&self) -> Option<TokenCounts> {
        self.ended.lock().and_then(|(_, usage)| usage)
    }
}

#[derive(Debug)]
enum Store {
    Memory(Memory),
    Redis(RedisStore),
}

/// The answers of a gateway.
#[derive(Debug)]
pub(crate) struct Cache {
    pub(crate) config: CacheConfig,
    pub(crate) flights: Arc<Flights>,
    /// Stands for everything of the configuration on which answers depend.
    scope: [u8; 32],
    store: Store,
    clock: Arc<dyn Clock>,
    /// Bytes of answers that are still coming.
    coming: AtomicUsize,
}

impl Cache {
    /// `None` where nothing is to be kept.
    pub(crate) fn new(
        config: &Config,
        clock: Arc<dyn Clock>,
    ) -> Result<Option<Arc<Self>>, RedisError> {
        let Some(settings) = config.cache.clone() else {
            return Ok(None);
        };
        let store = match &settings.store {
            CacheStore::Memory => Store::Memory(Memory::new(settings.max_bytes)),
            CacheStore::Redis { url, prefix } => {
                let most = settings.max_entry_bytes;
                Store::Redis(RedisStore::start(url.expose_secret(), prefix, most)?)
            }
        };
        Ok(Some(Arc::new(Self {
            flights: Arc::default(),
            scope: scope_of(config),
            store,
            clock,
            coming: AtomicUsize::new(0),
            config: settings,
        })))
    }

    /// What is kept goes on where the new configuration says the same of it.
    pub(crate) fn configured(
        before: Option<&Arc<Self>>,
        config: &Config,
        clock: &Arc<dyn Clock>,
    ) -> Result<Option<Arc<Self>>, RedisError> {
        match (before, &config.cache) {
            (Some(before), Some(settings))
                if before.config.is_same(settings) && before.scope == scope_of(config) =>
            {
                Ok(Some(Arc::clone(before)))
            }
            _ => Self::new(config, Arc::clone(clock)),
        }
    }

    /// The key of a request; `None` if there is none.
    pub(crate) fn key(&self, asked: &Asked<'_>) -> Option<Key> {
        Key::of(&self.scope, asked)
    }

    /// An answer that is kept, and how old it is.
    pub(crate) async fn get(&self, key: Key) -> Option<(Arc<Entry>, Duration)> {
        let entry = match &self.store {
            Store::Memory(memory) => memory.get(&key, self.clock.now())?,
            Store::Redis(redis) => Arc::new(redis.get(key).await?),
        };
        let age = entry.age(self.now());
        Some((entry, age))
    }

    /// Keeps an answer.
    pub(crate) fn put(&self, key: Key, entry: &Arc<Entry>, ttl: Duration) {
        match &self.store {
            Store::Memory(memory) => memory.put(key, Arc::clone(entry), ttl, self.clock.now()),
            Store::Redis(redis) => redis.put(key, entry, ttl),
        }
    }

    /// Milliseconds since the Unix epoch.
    pub(crate) fn now(&self) -> u64 {
        self.clock.unix_millis()
    }

    /// How many answers are in memory, and what they come to in bytes.
    pub(crate) fn size(&self) -> Option<(usize, usize)> {
        match &self.store {
            Store::Memory(memory) => Some(memory.size()),
            Store::Redis(_) => None,
        }
    }

    /// Takes room for bytes of an answer that is still coming. Says whether there is any.
    pub(crate) fn take_room(&self, bytes: usize) -> bool {
        let most = self.config.max_bytes;
        let taken = self
            .coming
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |coming| {
                coming.checked_add(bytes).filter(|sum| *sum <= most)
            });
        taken.is_ok()
    }

    /// Gives that room back.
    pub(crate) fn leave_room(&self, bytes: usize) {
        self.coming.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Replicas find each other's answers where all of this is the same: what a name leads to, what is
/// mended, and the release, since it decides how answers are written.
fn scope_of(config: &Config) -> [u8; 32] {
    let mut hasher = Sha256::new();
    let mut add = |text: &str| {
        hasher.update((text.len() as u64).to_le_bytes());
        hasher.update(text);
    };
    add(env!("CARGO_PKG_VERSION"));
    add(&format!("{:?}", config.repairs));
    add(&format!("{:?}", config.routes));
    for account in &config.accounts {
        add(&account.name);
        add(&format!("{:?}", account.kind));
        add(&account.native_root);
        add(&account.openai_root);
        add(&account.anthropic_root);
        add(&account.rerank_root);
        add(account.workspace.as_deref().unwrap_or_default());
    }
    hasher.finalize().into()
}
