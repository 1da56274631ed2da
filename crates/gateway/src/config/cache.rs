//! `[cache]` of the configuration file.

use std::time::Duration;

use bailian_quota::share::redis::RedisConfig;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use utoipa::ToSchema;

use super::Problem;
use super::secret::{self, Environment};
use super::text::{DurationText, StoreWord};

/// How long an answer is kept by default.
pub const DEFAULT_CACHE_TTL: Duration = Duration::from_hours(1);

/// The longest answer that is kept by default, in bytes: several times the longest published
/// output of 64 Ki tokens as plain text.
pub const DEFAULT_CACHE_MAX_ENTRY_BYTES: usize = 1024 * 1024;

/// What all answers in memory may come to by default, in bytes.
pub const DEFAULT_CACHE_MAX_BYTES: usize = 64 * 1024 * 1024;

/// How long a request waits by default for the answer of an equal one. Most answers are there by
/// then, and no client has given up.
pub const DEFAULT_CACHE_WAIT: Duration = Duration::from_secs(30);

/// How many requests wait by default for one answer.
pub const DEFAULT_CACHE_MAX_WAITING: usize = 1_000;

/// The longest time for which an answer can be kept. Links in answers of the service end after a day
/// or earlier; a week is as long as it keeps anything itself.
const LONGEST_TTL: Duration = Duration::from_hours(7 * 24);

/// Positions inside an answer are kept in 32 bits.
const LARGEST_ENTRY_BYTES: usize = 1024 * 1024 * 1024;

/// How answers are kept.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CacheConfig {
    /// Where they are.
    pub store: CacheStore,
    /// How long they are kept where a route does not say otherwise; the most that callers may ask
    /// for.
    pub ttl: Duration,
    /// The longest answer that is kept, in bytes.
    pub max_entry_bytes: usize,
    /// What all answers in memory may come to, in bytes. Those that were not used for longest go
    /// first. Also bounds what is held of answers that are still coming.
    pub max_bytes: usize,
    /// Whether tenants get each other's answers.
    pub shared: bool,
    /// How long a request waits for the answer of an equal one before it is sent itself.
    pub wait: Duration,
    /// How many requests wait for one answer; further ones are sent.
    pub max_waiting: usize,
}

impl CacheConfig {
    /// Whether `other` says the same.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let numbers = |it: &Self| {
            let durations = (it.ttl, it.wait);
            let sizes = (it.max_entry_bytes, it.max_bytes, it.max_waiting);
            (durations, sizes, it.shared)
        };
        self.store.is_same(&other.store) && numbers(self) == numbers(other)
    }
}

/// Where answers are kept.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum CacheStore {
    /// In this process.
    Memory,
    /// In Redis, where replicas with the same accounts and routes find each other's answers.
    Redis {
        /// `redis://…` or `rediss://…`; may hold a password.
        url: SecretString,
        /// What the names of all keys begin with.
        prefix: String,
    },
}

impl CacheStore {
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Memory, Self::Memory) => true,
            (
                Self::Redis { url, prefix },
                Self::Redis {
                    url: its,
                    prefix: its_prefix,
                },
            ) => url.expose_secret() == its.expose_secret() && prefix == its_prefix,
            _ => false,
        }
    }
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self {
            store: CacheStore::Memory,
            ttl: DEFAULT_CACHE_TTL,
            max_entry_bytes: DEFAULT_CACHE_MAX_ENTRY_BYTES,
            max_bytes: DEFAULT_CACHE_MAX_BYTES,
            shared: false,
            wait: DEFAULT_CACHE_WAIT,
            max_waiting: DEFAULT_CACHE_MAX_WAITING,
        }
    }
}

/// What a route says of the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RouteCache {
    /// Answers are never kept, whatever a caller asks for.
    Off,
    /// Answers are kept for as long as `[cache]` says.
    On,
    /// Answers are kept for so long.
    For(Duration),
}

/// How answers are kept for equal requests: for those who ask for it, a route or a caller.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CacheFile {
    /// In this process, or in the server of `[redis]`, under its prefix and `cache:`. Keys are digests;
    /// values are answers in the clear.
    #[schema(value_type = Option<StoreWord>, default = "memory")]
    store: Option<String>,
    /// How long an answer is kept where a route does not say otherwise; the most that callers may ask
    /// for. 7 days at most.
    #[schema(default = "1h")]
    ttl: Option<DurationText>,
    /// The longest answer that is kept; of plain answers those above 4 MiB never are.
    #[schema(minimum = 1, maximum = 1_073_741_824, default = json!(DEFAULT_CACHE_MAX_ENTRY_BYTES), extensions(("x-unit" = json!("bytes"))))]
    max_entry_bytes: Option<usize>,
    /// What all answers in memory may come to; those that were not used for longest go first. As much
    /// again may be held of streams that are still coming. How much Redis keeps is for its own
    /// `maxmemory` to say.
    #[schema(minimum = 1, default = json!(DEFAULT_CACHE_MAX_BYTES), extensions(("x-unit" = json!("bytes"))))]
    max_bytes: Option<usize>,
    /// Whether tenants get each other's answers.
    #[schema(default = false)]
    shared: Option<bool>,
    /// How long a request waits for the answer of an equal one before it is sent itself. One hour at
    /// most.
    #[schema(default = "30s")]
    wait: Option<DurationText>,
    /// Requests that wait for one answer; further ones are sent.
    #[schema(default = json!(DEFAULT_CACHE_MAX_WAITING), extensions(("x-unit" = json!("requests"))))]
    max_waiting: Option<usize>,
}

/// A switch, or how long answers are kept.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "true, false, or a duration such as \"10m\"")]
pub(super) enum RouteCacheFile {
    /// Kept for as long as `[cache]` says, or never.
    Switch(bool),
    /// Kept for so long.
    Time(DurationText),
}

/// A duration for which answers can be kept.
fn parse_ttl(text: &DurationText) -> Result<Duration, String> {
    match text.parse() {
        Some(ttl) if !ttl.is_zero() && ttl <= LONGEST_TTL => Ok(ttl),
        _ => Err(format!(
            "`{text}` is not a duration such as \"10m\", 7 days at most"
        )),
    }
}

impl RouteCacheFile {
    /// `has_cache`: whether there is a `[cache]`.
    pub(super) fn resolve(&self, has_cache: bool) -> Result<RouteCache, String> {
        let setting = match self {
            Self::Switch(false) => return Ok(RouteCache::Off),
            Self::Switch(true) => RouteCache::On,
            Self::Time(text) => RouteCache::For(parse_ttl(text)?),
        };
        if has_cache {
            Ok(setting)
        } else {
            Err("needs the section [cache], which says where answers are kept".to_owned())
        }
    }
}

impl CacheFile {
    /// `redis`: address and prefix of `[redis]`.
    pub(super) fn resolve(
        &self,
        redis: Option<(&str, &str)>,
        environment: &dyn Environment,
        problems: &mut Vec<Problem>,
    ) -> CacheConfig {
        let default = CacheConfig::default();
        let mut problem = |name: &str, problem: String| {
            problems.push(Problem::new(format!("cache.{name}"), problem));
        };
        let store = match (self.store.as_deref(), redis) {
            (None | Some("memory"), _) => CacheStore::Memory,
            (Some("redis"), Some((url, prefix))) => {
                match secret::resolve(url, environment) {
                    // What is wrong with it is said at `redis.url`.
                    Ok(url) if RedisConfig::new(url.expose_secret(), "").is_ok() => {
                        CacheStore::Redis {
                            url,
                            prefix: format!("{prefix}cache:"),
                        }
                    }
                    _ => CacheStore::Memory,
                }
            }
            (Some("redis"), None) => {
                let text = "is redis, so that [redis] with its url is needed";
                problem("store", text.to_owned());
                CacheStore::Memory
            }
            (Some(other), _) => {
                problem("store", format!("`{other}` is neither memory nor redis"));
                CacheStore::Memory
            }
        };
        let ttl = self.ttl.as_ref().map_or(Ok(default.ttl), parse_ttl);
        let ttl = ttl.unwrap_or_else(|text| {
            problem("ttl", text);
            default.ttl
        });
        let wait = match self.wait.as_ref().map(DurationText::parse) {
            None => default.wait,
            Some(Some(wait)) => wait.min(Duration::from_hours(1)),
            Some(None) => {
                problem("wait", "is not a duration such as \"30s\"".to_owned());
                default.wait
            }
        };
        let max_bytes = self.max_bytes.unwrap_or(default.max_bytes);
        let max_entry_bytes = self
            .max_entry_bytes
            .unwrap_or(default.max_entry_bytes.min(max_bytes));
        if max_entry_bytes == 0 || max_entry_bytes > LARGEST_ENTRY_BYTES {
            let text = format!("is not between 1 and {LARGEST_ENTRY_BYTES}");
            problem("max_entry_bytes", text);
        }
        if max_bytes < max_entry_bytes {
            let text = "is less than max_entry_bytes, so that such an answer has no place";
            problem("max_bytes", text.to_owned());
        }
        CacheConfig {
            store,
            ttl,
            max_entry_bytes,
            max_bytes,
            shared: self.shared.unwrap_or(default.shared),
            wait,
            max_waiting: self.max_waiting.unwrap_or(default.max_waiting),
        }
    }
}
