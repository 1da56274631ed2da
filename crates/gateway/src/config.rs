//! The gateway's configuration: one TOML file, or the environment alone.
//!
//! Everything is checked before a port is bound, and every problem is reported, not the first one
//! only. Unknown settings are refused: a typing error in a limit must stop the start, not remove
//! the limit.

mod account;
mod admin;
mod cache;
mod data;
mod describe;
mod document;
mod error;
mod explain;
mod file;
mod key;
mod limits;
mod lines;
mod minimal;
mod overlay;
mod pacing;
mod roots;
mod routing;
mod schema;
mod secret;
mod server;
mod telemetry;
mod text;
mod unknown;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bailian_quota::share::redis::RedisConfig;
use secrecy::SecretString;

use self::document::Document;
use crate::keys::StaticKeys;

pub use self::account::{AccountConfig, AccountKind};
pub use self::cache::{
    CacheConfig, CacheStore, DEFAULT_CACHE_MAX_BYTES, DEFAULT_CACHE_MAX_ENTRY_BYTES,
    DEFAULT_CACHE_MAX_WAITING, DEFAULT_CACHE_TTL, DEFAULT_CACHE_WAIT, RouteCache,
};
pub use self::data::{DataConfig, PricesConfig, RedactPattern};
pub use self::describe::{SettingInfo, setting_info};
pub use self::error::{ConfigError, Problem};
pub use self::explain::{Explained, Source};
pub use self::key::{KeyConfig, KeySecret, MIN_KEY_CHARS};
pub use self::limits::{
    DEFAULT_MAX_BODY_BYTES, DEFAULT_MAX_CONNECTIONS, DEFAULT_MAX_CONNECTIONS_PER_ADDRESS,
    DEFAULT_MAX_HEADER_BYTES, DEFAULT_MAX_STREAMS_PER_CONNECTION,
    DEFAULT_MIN_BODY_BYTES_PER_SECOND, Limits, Timeouts,
};
pub use self::pacing::{LaneRule, PacingConfig};
pub use self::routing::{Repairs, RouteConfig, TargetConfig};
pub use self::schema::schema;
pub use self::secret::Environment;
pub use self::server::{DEFAULT_LISTEN, ReloadMode, TlsConfig};
pub use self::telemetry::TelemetryConfig;

/// Settings of a gateway, complete and checked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Relay threads, each with its own listener and upstream connections.
    pub threads: usize,
    /// Certificates; connections are encrypted if there is one. The first is for clients that name
    /// none of the others' hosts.
    pub tls: Vec<TlsConfig>,
    /// A Unix socket at which a successor of this process can take its listeners over.
    pub hand_over: Option<PathBuf>,
    /// When the file is read again.
    pub reload: ReloadMode,
    /// Bounds on what a caller may send.
    pub limits: Limits,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// The upstream accounts; there is at least one.
    pub accounts: Vec<AccountConfig>,
    /// Where requests go that name certain models; all others go to the accounts of the service.
    pub routes: Vec<RouteConfig>,
    /// What is mended of requests and answers in passing.
    pub repairs: Repairs,
    /// How requests wait for their turn.
    pub pacing: PacingConfig,
    /// How answers are kept for equal requests; `None` keeps none.
    pub cache: Option<CacheConfig>,
    /// Where replicas of this gateway share what the account may use; `None` for a gateway alone.
    pub redis: Option<RedisConfig>,
    /// Opens the admin endpoints; `None` keeps them closed.
    pub admin_token: Option<SecretString>,
    /// Where the admin endpoints are served, and nowhere else; `None` serves them beside all others.
    /// An address that is not this machine's alone needs [`admin_token`](Self::admin_token).
    pub admin_listen: Option<SocketAddr>,
    /// Names under which the admin listener is reached, beside addresses and `localhost`.
    pub admin_hosts: Vec<String>,
    /// Who may call.
    pub keys: Vec<KeyConfig>,
    /// Where the gateway keeps keys, budgets and the ledger; `None` keeps nothing.
    pub data: Option<DataConfig>,
    /// What requests cost.
    pub prices: PricesConfig,
    /// Where traces and metrics are sent; `None` sends none.
    pub telemetry: Option<TelemetryConfig>,
}

impl Config {
    /// Reads a TOML file, with the environment's `BAILIAN__…` variables over it; `env:NAME`,
    /// `file:PATH` and `credential:NAME` in its secrets are resolved now.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, is not TOML, or holds settings that cannot be used.
    pub fn load(path: &Path, environment: &dyn Environment) -> Result<Self, ConfigError> {
        Self::parse(&read(path)?, &path.display().to_string(), environment)
    }

    /// Reads TOML text; `name` stands for it in errors.
    ///
    /// # Errors
    ///
    /// As [`Config::load`].
    pub fn parse(
        text: &str,
        name: &str,
        environment: &dyn Environment,
    ) -> Result<Self, ConfigError> {
        let variables = overlay::variables(environment);
        let mut document = Document::parse(text, name)?;
        document.overlay(&variables);
        document.config(environment)
    }

    /// Reads a TOML file as [`load`](Self::load) does, or the environment alone, and says of every
    /// setting what holds and why.
    ///
    /// # Errors
    ///
    /// As [`Config::load`] and [`Config::from_environment`].
    pub fn explain(
        path: Option<&Path>,
        environment: &dyn Environment,
    ) -> Result<(Self, Vec<Explained>), ConfigError> {
        let variables = overlay::variables(environment);
        let text = path.map(read).transpose()?;
        let (document, config) = match (path, &text) {
            (Some(path), Some(text)) => {
                let mut document = Document::parse(text, &path.display().to_string())?;
                document.overlay(&variables);
                let config = document.config(environment)?;
                (document, config)
            }
            _ => {
                let mut document = minimal::of_environment(environment);
                document.overlay(&variables);
                minimal::complete(&mut document, || "a-key-that-is-made".into());
                let config = minimal::config(&document, environment)?;
                (document, config)
            }
        };
        let explained = explain::explain(&document, &config);
        Ok((config, explained))
    }

    /// Settings without a file: `DASHSCOPE_API_KEY`, `DASHSCOPE_BASE_URL` (or region and
    /// workspace) for upstream, `BAILIAN_API_KEY` as the one virtual key, and the `BAILIAN__…`
    /// variables. Where no key is set, `make_key` is asked for one.
    ///
    /// # Errors
    ///
    /// When a variable is missing or cannot be used.
    pub fn from_environment(
        environment: &dyn Environment,
        make_key: impl FnOnce() -> SecretString,
    ) -> Result<Self, ConfigError> {
        let variables = overlay::variables(environment);
        let mut document = minimal::of_environment(environment);
        document.overlay(&variables);
        minimal::complete(&mut document, make_key);
        minimal::config(&document, environment)
    }

    /// Settings for one upstream root and one virtual key, all else by default.
    ///
    /// # Errors
    ///
    /// When the base URL or the key cannot be used.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "whoever hands a secret over need not keep it"
    )]
    pub fn for_base_url(
        base_url: &str,
        api_key: SecretString,
        virtual_key: SecretString,
    ) -> Result<Self, ConfigError> {
        minimal::for_base_url(base_url, &api_key, &virtual_key)
    }

    /// The keys as a store.
    pub(crate) fn key_store(&self) -> Arc<StaticKeys> {
        let store = self
            .keys
            .iter()
            .fold(StaticKeys::new(), |store, key| match &key.secret {
                KeySecret::Plain(secret) => store.with_key(secret, key.owner.clone()),
                KeySecret::Sha256(digest) => store.with_digest(*digest, key.owner.clone()),
            });
        Arc::new(store)
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests;
