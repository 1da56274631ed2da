//! `[pacing]` and `[[accounts.limits]]` of the configuration file.

use std::time::Duration;

use bailian_quota::share::redis::RedisConfig;
use bailian_quota::{LaneConfig, Layer, Limit, Measure};
use secrecy::ExposeSecret as _;
use serde::Deserialize;

use super::secret::{self, Environment};
use super::{LaneRule, PacingConfig, Problem};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PacingFile {
    max_wait: Option<String>,
    keep_alive: Option<String>,
    max_waiting: Option<usize>,
    max_waiting_per_tenant: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LaneFile {
    model: Option<String>,
    #[serde(default)]
    models: Vec<String>,
    #[serde(default)]
    requests: Vec<String>,
    #[serde(default)]
    tokens: Vec<String>,
    #[serde(default)]
    workspace_requests: Vec<String>,
    #[serde(default)]
    workspace_tokens: Vec<String>,
    running: Option<u64>,
    ramp: Option<bool>,
    exact: Option<bool>,
    reserve_tokens: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RedisFile {
    url: String,
    prefix: Option<String>,
    share_without: Option<f64>,
}

impl std::fmt::Debug for RedisFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisFile")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

/// What the names of all keys in Redis begin with.
const REDIS_PREFIX: &str = "bailian:";

impl RedisFile {
    /// The settings of `BAILIAN_REDIS_URL`.
    pub(super) fn of_variable(url: String) -> Self {
        Self {
            url,
            prefix: None,
            share_without: None,
        }
    }

    /// The address as the file has it, and what the names of all keys begin with.
    pub(super) fn place(&self) -> (&str, &str) {
        let prefix = self.prefix.as_deref().unwrap_or(REDIS_PREFIX);
        (&self.url, prefix)
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
        let mut duration = |name: &str, text: Option<&String>, default: Duration| {
            let Some(text) = text else { return default };
            humantime::parse_duration(text).unwrap_or_else(|_| {
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
pub(super) fn resolve_limits(entries: &[LaneFile], problems: &mut Vec<Problem>) -> Vec<LaneRule> {
    let mut rules = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let place = format!("accounts[0].limits[{index}]");
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
