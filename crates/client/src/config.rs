//! Configuration: arguments, environment, `.env`, files and defaults become one checked [`Config`].
//!
//! Layers, strongest first:
//!
//! 1. arguments, that is calls on [`ConfigLoader`] or the client's builder;
//! 2. environment variables ([`VARIABLES`]);
//! 3. a `.env` file in the working directory, when asked for;
//! 4. `~/.dashscope/config.toml`;
//! 5. the key file (`DASHSCOPE_API_KEY_FILE_PATH`, else `~/.dashscope/api_key`), for the key only;
//! 6. defaults.
//!
//! Empty values count as not set. Every value is checked, and all problems are reported together.

mod check;
mod environment;
mod layers;
mod loader;
mod parse;
mod problem;
mod secret;
mod variables;

use std::num::NonZeroU32;

use bailian_quota::RequestLimits;
use bailian_wire::Dialect;

pub use environment::{Environment, ProcessEnvironment};
pub use loader::{ConfigLoader, Resolution};
pub use problem::{ConfigError, ConfigProblem, Source};
pub(crate) use secret::shown;
pub use secret::{ApiKey, KeyKind, KeyProblem};
pub use variables::{KEY_FILE_VARIABLE, VARIABLES, Variable};

use crate::endpoint::Endpoint;
use crate::region::{Region, Workspace};
use crate::retry::RetryPolicy;
use crate::timeouts::Timeouts;
use variables::Setting;

/// A checked configuration. `Debug` masks the key.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// The API key. A client cannot be built without one.
    pub api_key: Option<ApiKey>,
    /// Where requests go.
    pub endpoint: Endpoint,
    /// The region, which decides the host unless a base URL is set.
    pub region: Region,
    /// The workspace, sent as `X-DashScope-WorkSpace`.
    pub workspace: Option<Workspace>,
    /// The protocol that requests are written in.
    pub protocol: Dialect,
    /// The model of requests that name none.
    pub default_model: Option<String>,
    /// How long to wait for what.
    pub timeouts: Timeouts,
    /// When and how often failed requests are repeated.
    pub retry: RetryPolicy,
    /// The client's own request limits.
    pub limits: RequestLimits,
    /// Whether tools stream by default; `None` leaves it to the tool.
    pub enable_streaming: Option<bool>,
    /// `max_tokens` of requests that set none.
    pub max_tokens: Option<NonZeroU32>,
    /// `temperature` of requests that set none.
    pub temperature: Option<f64>,
    /// `top_p` of requests that set none.
    pub top_p: Option<f64>,
    sources: Vec<(Setting, Source)>,
    warnings: Vec<String>,
}

// === impl Config ===

impl Config {
    /// Where the value of a variable came from, by the variable's name (see [`VARIABLES`]).
    pub fn source(&self, variable: &str) -> Source {
        self.sources
            .iter()
            .find(|(setting, _)| setting.variable().name == variable)
            .map_or(Source::Default, |(_, source)| source.clone())
    }

    /// Things that are allowed but probably not meant, in words for the user.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Every variable with its value in words and where it came from. The key is masked.
    pub fn report(&self) -> Vec<(&'static Variable, String, Source)> {
        let none = || "not set".to_owned();
        VARIABLES
            .iter()
            .map(|variable| {
                let value = match variable.setting {
                    Setting::ApiKey => self.api_key.as_ref().map(ApiKey::masked),
                    Setting::BaseUrl => self.endpoint.root(self.protocol).map(str::to_owned),
                    Setting::Workspace => self.workspace.as_ref().map(ToString::to_string),
                    Setting::Region => Some(self.region.to_string()),
                    Setting::Protocol => Some(self.protocol.to_string()),
                    Setting::DefaultModel => self.default_model.clone(),
                    Setting::Timeout => Some(format!("{:?}", self.timeouts.first_byte)),
                    Setting::MaxRetries => Some(self.retry.max_retries.to_string()),
                    Setting::RetryDelay => self.retry.base_delay.map(|delay| format!("{delay:?}")),
                    Setting::RequestsPerMinute => self.limits.per_minute.map(|n| n.to_string()),
                    Setting::RequestsPerDay => self.limits.per_day.map(|n| n.to_string()),
                    Setting::EnableStreaming => self.enable_streaming.map(|on| on.to_string()),
                    Setting::MaxTokens => self.max_tokens.map(|n| n.to_string()),
                    Setting::Temperature => self.temperature.map(|n| n.to_string()),
                    Setting::TopP => self.top_p.map(|n| n.to_string()),
                };
                (
                    variable,
                    value.unwrap_or_else(none),
                    self.source(variable.name),
                )
            })
            .collect()
    }
}
