//! The gateway's configuration: one TOML file, or the environment alone.
//!
//! Everything is checked before a port is bound, and every problem is reported, not the first one
//! only. Unknown settings are refused: a typing error in a limit must stop the start, not remove
//! the limit.

mod cache;
mod data;
mod file;
mod lines;
mod pacing;
mod routing;
mod secret;
mod server;
mod telemetry;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bailian_quota::LaneConfig;
use bailian_quota::share::redis::RedisConfig;
use bailian_tenants::settings::Settings;
use bailian_wire::Dialect;
use bailian_wire::error::ErrorClass;
use secrecy::{ExposeSecret, SecretString};

use crate::keys::{StaticKeys, VirtualKey};
use crate::upstream::UpstreamTimeouts;

pub use self::cache::{
    CacheConfig, CacheStore, DEFAULT_CACHE_MAX_BYTES, DEFAULT_CACHE_MAX_ENTRY_BYTES,
    DEFAULT_CACHE_MAX_WAITING, DEFAULT_CACHE_TTL, DEFAULT_CACHE_WAIT, RouteCache,
};
pub use self::data::{DataConfig, PricesConfig};
pub use self::secret::Environment;
pub use self::telemetry::TelemetryConfig;

/// The largest request body by default, in bytes: what the service takes with inline media
/// (catalogue, `request_body_limits`).
pub const DEFAULT_MAX_BODY_BYTES: usize = 64 * 1024 * 1024;

/// The most bytes that the header lines of a request may have by default.
pub const DEFAULT_MAX_HEADER_BYTES: usize = 32 * 1024;

/// The most connections that a gateway holds open by default.
pub const DEFAULT_MAX_CONNECTIONS: usize = 20_000;

/// The most connections that one address may hold by default: half of all, so that nobody can take
/// the whole gateway.
pub const DEFAULT_MAX_CONNECTIONS_PER_ADDRESS: usize = DEFAULT_MAX_CONNECTIONS / 2;

/// The most HTTP/2 streams of one connection by default.
pub const DEFAULT_MAX_STREAMS_PER_CONNECTION: u32 = 256;

/// The slowest request body by default, in bytes per second: slower than any modem.
pub const DEFAULT_MIN_BODY_BYTES_PER_SECOND: usize = 1024;

/// The address that is listened on by default: this machine only.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:8080";

/// The shortest virtual key that is accepted, in characters.
pub const MIN_KEY_CHARS: usize = 8;

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

/// When the configuration file is read again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReloadMode {
    /// When it changes, and on SIGHUP.
    #[default]
    Watch,
    /// On SIGHUP only.
    Signal,
    /// Never.
    Off,
}

/// A certificate and its key, in PEM files that are read again when they change.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsConfig {
    /// The certificate, followed by those that vouch for it.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Bounds on what a caller controls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Request body, in bytes; of a compressed one, what it unpacks to.
    pub max_body_bytes: usize,
    /// Names and values of all header lines together, in bytes.
    pub max_header_bytes: usize,
    /// Open client connections of the whole gateway.
    pub max_connections: usize,
    /// Open client connections from one IPv4 address or one IPv6 /64 network; this machine's own
    /// (loopback) are not counted.
    pub max_connections_per_address: usize,
    /// Requests at the same time on one HTTP/2 connection.
    pub max_streams_per_connection: u32,
    /// The slowest rate of a request body, in bytes per second, after its first ten seconds.
    pub min_body_bytes_per_second: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_body_bytes: DEFAULT_MAX_BODY_BYTES,
            max_header_bytes: DEFAULT_MAX_HEADER_BYTES,
            max_connections: DEFAULT_MAX_CONNECTIONS,
            max_connections_per_address: DEFAULT_MAX_CONNECTIONS_PER_ADDRESS,
            max_streams_per_connection: DEFAULT_MAX_STREAMS_PER_CONNECTION,
            min_body_bytes_per_second: DEFAULT_MIN_BODY_BYTES_PER_SECOND,
        }
    }
}

/// How long each part of a request may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// Upstream connection: DNS, TCP and TLS.
    pub connect: Duration,
    /// From the request to the head of upstream's answer.
    pub response: Duration,
    /// Between two pieces of an answer. Checked coarsely: a silence is ended after one to two
    /// times this long.
    pub idle: Duration,
    /// A client's header lines, and an unused client connection.
    pub client_header: Duration,
    /// A client's whole request body.
    pub client_body: Duration,
    /// How long a client may take nothing of what is written to it.
    pub client_write: Duration,
    /// A client's TLS handshake.
    pub tls_handshake: Duration,
    /// How long open streams may go on after the gateway was told to stop.
    pub drain: Duration,
    /// How long open streams may go on after a successor took the listeners over.
    pub hand_over: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let upstream = UpstreamTimeouts::default();
        Self {
            connect: upstream.connect,
            response: upstream.response,
            // A thinking model may be silent for minutes between two frames.
            idle: Duration::from_mins(5),
            // As long as common proxies keep unused connections.
            client_header: Duration::from_secs(75),
            client_body: Duration::from_mins(2),
            client_write: Duration::from_mins(1),
            tls_handshake: Duration::from_secs(10),
            drain: Duration::from_mins(2),
            // Nobody waits for the old process, and answers may take long.
            hand_over: Duration::from_hours(1),
        }
    }
}

/// What is behind an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AccountKind {
    /// The model service, which speaks every dialect.
    #[default]
    DashScope,
    /// A server that speaks OpenAI's protocol only, such as vLLM, SGLang or Ollama.
    OpenAi,
}

/// An upstream account: its place and its keys, which share one quota.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AccountConfig {
    /// For routes, logs and records.
    pub name: String,
    /// What is behind it.
    pub kind: AccountKind,
    /// The keys, used in turn.
    pub api_keys: Vec<SecretString>,
    /// Root of the native protocol, such as `https://dashscope.aliyuncs.com/api/v1`.
    pub native_root: String,
    /// Root of the OpenAI-compatible protocol.
    pub openai_root: String,
    /// Root of the Anthropic-compatible protocol.
    pub anthropic_root: String,
    /// Root of the flat rerank call.
    pub rerank_root: String,
    /// Sent as `X-DashScope-WorkSpace`.
    pub workspace: Option<String>,
    /// Where it is, for prices; `None` where nothing is paid.
    pub region: Option<String>,
    /// Further header lines of callers that go upstream, in lower case; a `*` at the end stands
    /// for anything.
    pub forward_headers: Vec<String>,
    /// What the account may use, model by model; the first entry that fits a model counts.
    pub limits: Vec<LaneRule>,
    /// Whether the service is asked what the account may use.
    pub quota_api: bool,
}

/// Where requests for a model go.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RouteConfig {
    /// The model as clients name it; a `*` at the end stands for anything.
    pub model: String,
    /// One of these is tried first, by weight; the others follow.
    pub targets: Vec<TargetConfig>,
    /// Tried in this order after those.
    pub fallbacks: Vec<TargetConfig>,
    /// Errors after which the next target is tried; `None` for everything that is neither the
    /// caller's own fault nor about what it says.
    pub fall_back_on: Option<Vec<ErrorClass>>,
    /// Whether answers are kept; `None` leaves it to the caller.
    pub cache: Option<RouteCache>,
}

/// One place where a route leads.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TargetConfig {
    /// The account's name.
    pub account: String,
    /// The model's name there, if it has another.
    pub model: Option<String>,
    /// The dialect to speak there, if not the caller's.
    pub dialect: Option<Dialect>,
    /// Its share beside the others.
    pub weight: u32,
}

/// What is mended of requests and answers in passing. Everything is on by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the file"
)]
pub struct Repairs {
    /// A call without streaming to a model that only streams is made as a stream.
    pub stream_only: bool,
    /// Usage is asked for where the client did not, and kept from it.
    pub usage: bool,
    /// Pieces of tool calls are brought into the form that every client reads.
    pub tool_calls: bool,
    /// The role `developer` becomes `system`.
    pub developer: bool,
    /// What stands in `extra_body` moves to the top level.
    pub extra_body: bool,
    /// A native call goes to the path that serves its model.
    pub native_path: bool,
    /// More texts than a model embeds at once are sent in several requests.
    pub embeddings: bool,
    /// `insufficient_quota` of the tokens-per-minute limit becomes `rate_limit_exceeded`.
    pub quota_code: bool,
    /// A stream that upstream breaks goes on elsewhere, or with another request.
    pub resume: bool,
    /// Members that a translation cannot carry are left out even if the answer depends on them.
    pub drop_unsupported: bool,
    /// A stream in which nothing happens for so long hears a comment.
    pub keep_alive: Duration,
}

impl Default for Repairs {
    fn default() -> Self {
        Self {
            stream_only: true,
            usage: true,
            tool_calls: true,
            developer: true,
            extra_body: true,
            native_path: true,
            embeddings: true,
            quota_code: true,
            resume: true,
            drop_unsupported: false,
            // Shorter than the 30 s to 60 s after which proxies close what is silent.
            keep_alive: Duration::from_secs(15),
        }
    }
}

/// What an account may use of some models.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LaneRule {
    /// The models; `*` stands for every one that no entry before names. Several share one count.
    pub models: Vec<String>,
    /// Its limits and how it starts.
    pub lane: LaneConfig,
}

/// How requests wait for their turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PacingConfig {
    /// How long a request waits at most for its turn. One that would wait longer is refused at
    /// once, so that nothing is sent that its caller has given up.
    pub max_wait: Duration,
    /// The client of a stream that waits so long is answered, and then hears a comment so often.
    pub keep_alive: Duration,
    /// Requests that wait for one model, all together.
    pub max_waiting: usize,
    /// Requests that wait for one model, per tenant.
    pub max_waiting_per_tenant: usize,
}

impl Default for PacingConfig {
    fn default() -> Self {
        Self {
            // Clients give up after 30 s or more; an answer takes a few.
            max_wait: Duration::from_secs(25),
            // Shorter than proxies and clients take for a dead connection.
            keep_alive: Duration::from_secs(5),
            max_waiting: 10_000,
            max_waiting_per_tenant: 2_000,
        }
    }
}

/// One virtual key.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KeyConfig {
    /// Whom the key belongs to.
    pub owner: VirtualKey,
    /// What the caller presents.
    pub secret: KeySecret,
    /// What it may use and spend.
    pub settings: Settings,
}

/// A virtual key as the configuration knows it.
#[derive(Clone)]
pub enum KeySecret {
    /// The key itself.
    Plain(SecretString),
    /// Its SHA-256 digest, so that the file holds no secret.
    Sha256([u8; 32]),
}

impl fmt::Debug for KeySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain(***)",
            Self::Sha256(_) => "Sha256(***)",
        })
    }
}

/// A configuration that cannot be used, with everything that is wrong with it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The text is not TOML, or a setting is unknown or of the wrong kind.
    #[error("{place}: {problem}{}", with_line(*line))]
    Syntax {
        /// The file, and the setting's path where there is one.
        place: String,
        /// What is wrong, with the line.
        problem: String,
        /// The line, from 1.
        line: Option<usize>,
    },
    /// Settings that were read but cannot be used.
    #[error("the configuration cannot be used:\n{}", list(.0))]
    Invalid(Vec<Problem>),
}

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// The setting's path, or the environment variable's name.
    pub place: String,
    /// What is wrong, and what to write instead. Never holds a secret.
    pub problem: String,
    /// The line of the file, from 1; `None` where it is about none.
    pub line: Option<usize>,
}

impl ConfigError {
    /// Everything that is wrong, one by one.
    pub fn problems(&self) -> Vec<Problem> {
        match self {
            Self::Read { path, source } => {
                let problem = format!("cannot be read: {source}");
                vec![Problem::new(path.display().to_string(), problem)]
            }
            Self::Syntax {
                place,
                problem,
                line,
            } => {
                let mut problem = Problem::new(place, problem);
                problem.line = *line;
                vec![problem]
            }
            Self::Invalid(problems) => problems.clone(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.problem)?;
        match self.line {
            Some(line) => write!(f, " (line {line})"),
            None => Ok(()),
        }
    }
}

impl Problem {
    fn new(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            problem: problem.into(),
            line: None,
        }
    }
}

fn with_line(line: Option<usize>) -> String {
    line.map_or(String::new(), |line| format!(", line {line}"))
}

fn list(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems
        .iter()
        .map(|problem| format!("  - {problem}"))
        .collect();
    lines.join("\n")
}

impl Config {
    /// Reads a TOML file; `env:NAME` and `file:PATH` in its secrets are resolved now.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, is not TOML, or holds settings that cannot be used.
    pub fn load(path: &Path, environment: &dyn Environment) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text, &path.display().to_string(), environment)
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
        let file = file::ConfigFile::parse(text, name)?;
        file.resolve(environment)
            .map_err(|problems| ConfigError::Invalid(lines::located(problems, text)))
    }

    /// Settings without a file: `DASHSCOPE_API_KEY`, `DASHSCOPE_BASE_URL` (or region and
    /// workspace) for upstream, and `BAILIAN_API_KEY` as the one virtual key. Where that is not
    /// set, `make_key` is asked for one.
    ///
    /// # Errors
    ///
    /// When a variable is missing or cannot be used.
    pub fn from_environment(
        environment: &dyn Environment,
        make_key: impl FnOnce() -> SecretString,
    ) -> Result<Self, ConfigError> {
        file::from_environment(environment, make_key).map_err(ConfigError::Invalid)
    }

    /// Settings for one upstream root and one virtual key, all else by default.
    ///
    /// # Errors
    ///
    /// When the base URL or the key cannot be used.
    pub fn for_base_url(
        base_url: &str,
        api_key: SecretString,
        virtual_key: SecretString,
    ) -> Result<Self, ConfigError> {
        file::for_base_url(base_url, api_key, virtual_key).map_err(ConfigError::Invalid)
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

/// Why a text cannot be a virtual key, or `None` when it can.
fn key_problem(key: &SecretString) -> Option<&'static str> {
    let key = key.expose_secret();
    if key.chars().count() < MIN_KEY_CHARS {
        Some("a key has at least 8 characters; `openssl rand -hex 24` makes a good one")
    } else if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        Some("a key has printable ASCII characters without spaces only")
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
