//! Builds a client.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bailian_quota::{RequestLimiter, RetryBudget, RetryBudgetLimits};
use bailian_wire::Dialect;
use parking_lot::Mutex;

use super::{Client, Shared};
use crate::config::{Config, ConfigLoader, Environment};
use crate::error::Error;
use crate::options::RequestOptions;
use crate::pacing::Pacing;
use crate::region::Region;
use crate::retry::RetryPolicy;
use crate::timeouts::Timeouts;
#[cfg(feature = "transport-reqwest")]
use crate::transport::ReqwestTransport;
use crate::transport::Transport;

/// Builds a [`Client`] from arguments, environment and files.
///
/// The methods never fail; [`build`](Self::build) reports every problem at once.
#[derive(Debug, Default)]
pub struct ClientBuilder {
    loader: ConfigLoader,
    config: Option<Config>,
    transport: Option<Arc<dyn Transport>>,
    budget: RetryBudgetLimits,
    seed: Option<u64>,
    pacing: Pacing,
    options: RequestOptions,
}

/// Hands a setting on to the loader, whose documentation says what it does.
macro_rules! settings {
    ($($(#[$doc:meta])* $name:ident($argument:ident: $type:ty);)*) => {
        impl ClientBuilder {
            $(
                $(#[$doc])*
                pub fn $name(mut self, $argument: $type) -> Self {
                    self.loader = self.loader.$name($argument);
                    self
                }
            )*
        }
    };
}

settings! {
    /// Sets the API key.
    api_key(key: impl Into<String>);
    /// Sets the base URL: a bare host, or a URL that ends in the root of any protocol.
    base_url(url: impl Into<String>);
    /// Sets the workspace id.
    workspace(workspace: impl Into<String>);
    /// Sets the region.
    region(region: Region);
    /// Sets the protocol that requests are written in.
    protocol(protocol: Dialect);
    /// Sets the model of requests that name none.
    default_model(model: impl Into<String>);
    /// Sets how long the service may be silent.
    timeout(silence: Duration);
    /// Sets every timeout.
    timeouts(timeouts: Timeouts);
    /// Sets how often a failed request is repeated.
    max_retries(retries: u32);
    /// Sets the longest pause before the first repetition.
    retry_delay(delay: Duration);
    /// Sets the whole retry policy.
    retry(policy: RetryPolicy);
    /// Sets the client's own limit of requests per minute.
    requests_per_minute(requests: u32);
    /// Sets the client's own limit of requests per day.
    requests_per_day(requests: u32);
    /// Sets `max_tokens` of requests that set none.
    max_tokens(tokens: u32);
    /// Sets `temperature` of requests that set none.
    temperature(temperature: f64);
    /// Sets `top_p` of requests that set none.
    top_p(top_p: f64);
    /// Reads these variables instead of the process's; `()` stands for none at all.
    environment(environment: impl Environment + Send + Sync + 'static);
    /// Whether to read `.env` in the working directory. Off at first.
    dotenv(read: bool);
    /// Reads this `.env` file.
    dotenv_file(path: impl Into<PathBuf>);
    /// Looks for `.dashscope/` in this directory instead of the user's home.
    home(path: impl Into<PathBuf>);
    /// Whether to read the files in `~/.dashscope`. On at first.
    home_files(read: bool);
}

impl ClientBuilder {
    /// Uses a finished configuration; other settings of the builder are not read then.
    pub fn config(mut self, config: Config) -> Self {
        self.config = Some(config);
        self
    }

    /// Carries requests with this transport.
    pub fn transport(mut self, transport: impl Transport) -> Self {
        self.transport = Some(Arc::new(transport));
        self
    }

    /// Sets the size of the retry budget that all calls share.
    pub fn retry_budget(mut self, limits: RetryBudgetLimits) -> Self {
        self.budget = limits;
        self
    }

    /// Sets how calls are paced; [`Pacing::off`] sends them as they come.
    pub fn pacing(mut self, pacing: Pacing) -> Self {
        self.pacing = pacing;
        self
    }

    /// Makes the jitter of pauses repeatable, for tests.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Sets what every call does unless its own options say otherwise.
    pub fn options(mut self, options: RequestOptions) -> Self {
        self.options = options;
        self
    }

    /// Builds the client. Nothing is sent.
    ///
    /// # Errors
    /// [`Error::Config`] with every problem found.
    #[cfg(feature = "transport-reqwest")]
    pub fn build(mut self) -> Result<Client, Error> {
        let config = self.take_config()?;
        let transport = match self.transport.take() {
            Some(transport) => transport,
            None if config.endpoint.is_loopback() => {
                Arc::new(ReqwestTransport::direct(config.timeouts.connect)?)
            }
            None => Arc::new(ReqwestTransport::new(config.timeouts.connect)?),
        };
        Ok(self.finish(config, transport))
    }

    /// Builds the client with the given transport. Nothing is sent.
    ///
    /// # Errors
    /// [`Error::Config`] with every problem found, a missing transport included.
    #[cfg(not(feature = "transport-reqwest"))]
    pub fn build(mut self) -> Result<Client, Error> {
        use crate::config::{ConfigError, ConfigProblem};

        let config = self.take_config()?;
        let Some(transport) = self.transport.take() else {
            return Err(Error::Config(ConfigError::one(ConfigProblem::new(
                None,
                "no transport is set",
                "call ClientBuilder::transport, or enable the feature transport-reqwest",
            ))));
        };
        Ok(self.finish(config, transport))
    }

    fn take_config(&mut self) -> Result<Config, Error> {
        let config = match self.config.take() {
            Some(config) => config,
            None => self.loader.load()?,
        };
        for warning in config.warnings() {
            tracing::warn!(%warning, "configuration");
        }
        Ok(config)
    }

    fn finish(self, config: Config, transport: Arc<dyn Transport>) -> Client {
        let now = tokio::time::Instant::now().into_std();
        let random = self
            .seed
            .map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed);
        Client {
            options: Arc::new(self.options),
            shared: Arc::new(Shared {
                budget: RetryBudget::new(self.budget, now),
                limiter: RequestLimiter::new(config.limits),
                region: Region::of_host(config.endpoint.host()),
                pacing: self.pacing,
                random: Mutex::new(random),
                config,
                transport,
            }),
        }
    }
}
