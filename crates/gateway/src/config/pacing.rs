//! `[pacing]` and `[[accounts.limits]]` of the configuration file.

use std::time::Duration;

use bailian_quota::share::redis::RedisConfig;
use bailian_quota::{LaneConfig, Layer, Limit, Measure};
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use utoipa::ToSchema;

use super::Problem;
use super::secret::{self, Environment};
use super::text::{DurationText, SecretText};

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

/// How requests wait for their turn.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PacingFile {
    /// A request that would wait longer for its turn is refused at once. One hour at most.
    #[schema(default = "25s")]
    max_wait: Option<DurationText>,
    /// The client of a stream that waits so long is answered, and then hears a comment so often. At
    /// least `10ms`.
    #[schema(default = "5s")]
    keep_alive: Option<DurationText>,
    /// Requests that wait for one model, all together; further ones are refused.
    #[schema(default = json!(10_000), extensions(("x-unit" = json!("requests"))))]
    max_waiting: Option<usize>,
    /// Requests of one tenant that wait for one model.
    #[schema(default = json!(2_000), extensions(("x-unit" = json!("requests"))))]
    max_waiting_per_tenant: Option<usize>,
}

/// What the account may use of some models.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LaneFile {
    /// The model, or `*` for every model that no entry before names. Either this or `models`.
    model: Option<String>,
    /// Models that share one count and one line.
    #[serde(default)]
    models: Vec<String>,
    /// Requests in windows of time, such as `600/60s`; any number of windows. Units of time are `ms`,
    /// `s`, `m`, `h` and `d`.
    #[serde(default)]
    #[schema(examples(json!(["600/60s", "20/1s"])))]
    requests: Vec<String>,
    /// Tokens in windows of time, input and output together.
    #[serde(default)]
    #[schema(examples(json!(["1000000/60s"])))]
    tokens: Vec<String>,
    /// The workspace's own, tighter limits of requests.
    #[serde(default)]
    #[schema(examples(json!(["100/60s"])))]
    workspace_requests: Vec<String>,
    /// The workspace's own, tighter limits of tokens.
    #[serde(default)]
    workspace_tokens: Vec<String>,
    /// Requests at the same time.
    #[schema(minimum = 1, extensions(("x-unit" = json!("requests"))))]
    running: Option<u64>,
    /// Whether the rate rises step by step; upstream may refuse sudden rises.
    #[schema(default = true)]
    ramp: Option<bool>,
    /// Never to send more, not even to find out whether upstream allows more.
    #[schema(default = false)]
    exact: Option<bool>,
    /// For services that charge `max_tokens` when a request begins.
    #[schema(default = false)]
    reserve_tokens: Option<bool>,
}

/// Where replicas share what the accounts and the tenants may use: docs/pacing.md, docs/keys.md.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RedisFile {
    /// `redis://…` or `rediss://…`; it may hold a password.
    #[schema(examples("redis://127.0.0.1:6379"))]
    url: SecretText,
    /// What the names of all keys in Redis begin with; the account's name follows. One prefix is one
    /// installation.
    #[schema(default = json!(REDIS_PREFIX))]
    prefix: Option<String>,
    /// The part of every limit that a replica uses while it has never reached Redis.
    #[schema(minimum = 0, maximum = 1, default = json!(0.25))]
    share_without: Option<f64>,
}

/// What the names of all keys in Redis begin with.
const REDIS_PREFIX: &str = "bailian:";

impl RedisFile {
    /// The address as the file has it, and what the names of all keys begin with.
    pub(super) fn place(&self) -> (&str, &str) {
        let prefix = self.prefix.as_deref().unwrap_or(REDIS_PREFIX);
        (self.url.expose(), prefix)
    }

    pub(super) fn resolve(
        &self,
        account: &str,
        environment: &dyn Environment,
        problems: &mut Vec<Problem>,
    ) -> Option<RedisConfig> {
        let (url, prefix) = self.place();
        let config = secret::resolve(url, environment).and_then(|url| {
            RedisConfig::new(url.expose_secret(), format!("{prefix}{account}:"))
                .map_err(|error| error.to_string())
        });
        let mut config = match config {
            Ok(config) => config,
            Err(problem) => {
                problems.push(Problem::new("redis.url", problem));
                return None;
            }
        };
        prefix.clone_into(&mut config.common_prefix);
        if let Some(part) = self.share_without {
            if !(0.0..=1.0).contains(&part) {
                let problem = format!("`{part}` is not a part between 0 and 1");
                problems.push(Problem::new("redis.share_without", problem));
            }
            config.part_without = part;
        }
        Some(config)
    }
}

/// The models that an entry is about.
fn models_of(entry: &LaneFile, place: &str, problems: &mut Vec<Problem>) -> Vec<String> {
    match (&entry.model, entry.models.as_slice()) {
        (Some(model), []) => vec![model.clone()],
        (None, [_, ..]) if entry.models.iter().all(|model| model != "*") => entry.models.clone(),
        _ => {
            let problem =
                "needs either `model`, which may be \"*\", or `models`, which share one count";
            problems.push(Problem::new(place, problem));
            Vec::new()
        }
    }
}

impl PacingFile {
    pub(super) fn resolve(&self, problems: &mut Vec<Problem>) -> PacingConfig {
        let default = PacingConfig::default();
        let mut duration = |name: &str, text: Option<&DurationText>, default: Duration| {
            let Some(text) = text else { return default };
            text.parse().unwrap_or_else(|| {
                let problem = format!("`{text}` is not a duration such as \"25s\"");
                problems.push(Problem::new(format!("pacing.{name}"), problem));
                default
            })
        };
        let max_wait = duration("max_wait", self.max_wait.as_ref(), default.max_wait);
        let keep_alive = duration("keep_alive", self.keep_alive.as_ref(), default.keep_alive);
        PacingConfig {
            max_wait: max_wait.min(Duration::from_hours(1)),
            keep_alive: keep_alive.max(Duration::from_millis(10)),
            max_waiting: self.max_waiting.unwrap_or(default.max_waiting),
            max_waiting_per_tenant: self
                .max_waiting_per_tenant
                .unwrap_or(default.max_waiting_per_tenant),
        }
    }
}

/// Reads every entry and collects every problem.
pub(super) fn resolve_limits(
    entries: &[LaneFile],
    account: &str,
    problems: &mut Vec<Problem>,
) -> Vec<LaneRule> {
    let mut rules = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let place = format!("{account}.limits[{index}]");
        let models = models_of(entry, &place, problems);
        let whole = if models.len() > 1 {
            Layer::Pool
        } else {
            Layer::Model
        };
        let mut limits = Vec::new();
        for (name, measure, layer, texts) in [
            ("requests", Measure::Requests, whole, &entry.requests),
            ("tokens", Measure::Tokens, whole, &entry.tokens),
            (
                "workspace_requests",
                Measure::Requests,
                Layer::Workspace,
                &entry.workspace_requests,
            ),
            (
                "workspace_tokens",
                Measure::Tokens,
                Layer::Workspace,
                &entry.workspace_tokens,
            ),
        ] {
            for text in texts {
                match Limit::parse(measure, text) {
                    Ok(limit) => limits.push(limit.of(layer)),
                    Err(error) => {
                        problems.push(Problem::new(format!("{place}.{name}"), error.to_string()));
                    }
                }
            }
        }
        match entry.running {
            Some(0) => problems.push(Problem::new(
                format!("{place}.running"),
                "is 0, which admits nothing",
            )),
            Some(running) => limits.push(Limit::running(running)),
            None => {}
        }
        if entry.exact == Some(true) {
            limits = limits.into_iter().map(Limit::exactly).collect();
        }
        let mut lane = LaneConfig::new(limits);
        if entry.ramp == Some(false) {
            lane.ramp = None;
        }
        lane.reserve_tokens = entry.reserve_tokens.unwrap_or(false);
        rules.push(LaneRule { models, lane });
    }
    rules
}
