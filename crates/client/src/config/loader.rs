//! Runs the layers in order and checks the outcome.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bailian_quota::RequestLimits;
use bailian_wire::Dialect;

use super::check::{self, Checked};
use super::environment::{Environment, ProcessEnvironment};
use super::layers::{Files, Found, expand_home, home_directory};
use super::problem::{ConfigError, ConfigProblem, Source};
use super::variables::{KEY_FILE_VARIABLE, Setting};
use super::{Config, parse};
use crate::region::Region;
use crate::retry::RetryPolicy;
use crate::timeouts::Timeouts;

/// Collects settings from all layers and checks them.
///
/// The methods that set a value never fail; [`load`](Self::load) reports every problem at once.
///
/// ```
/// use std::collections::BTreeMap;
/// use bailian::config::ConfigLoader;
///
/// let environment = BTreeMap::from([
///     ("DASHSCOPE_API_KEY".to_owned(), "sk-0123456789abcdef".to_owned()),
///     ("DASHSCOPE_REGION".to_owned(), "ap-southeast-1".to_owned()),
/// ]);
/// let config = ConfigLoader::new().environment(environment).load().unwrap();
/// assert_eq!(config.endpoint.host(), "dashscope-intl.aliyuncs.com");
/// ```
#[derive(Clone)]
pub struct ConfigLoader {
    arguments: BTreeMap<Setting, String>,
    timeouts: Option<Timeouts>,
    retry: Option<RetryPolicy>,
    environment: Arc<dyn Environment + Send + Sync>,
    home: Option<PathBuf>,
    dotenv: Option<PathBuf>,
    read_files: bool,
}

/// A configuration as far as it could be understood, with everything that was wrong.
///
/// For tools that report on a configuration; to use one, call [`ConfigLoader::load`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Resolution {
    /// The configuration, with defaults in place of values that could not be used.
    pub config: Config,
    /// What was wrong.
    pub problems: Vec<ConfigProblem>,
    /// Whether some layer had a key, even one that could not be used.
    key_was_given: bool,
}

// === impl ConfigLoader ===

impl Default for ConfigLoader {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for ConfigLoader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let set: Vec<&str> = self
            .arguments
            .keys()
            .map(|setting| setting.variable().key)
            .collect();
        f.debug_struct("ConfigLoader")
            .field("arguments", &set)
            .finish_non_exhaustive()
    }
}

impl ConfigLoader {
    /// A loader that reads this process's environment and `~/.dashscope`, but no `.env` file.
    pub fn new() -> Self {
        Self {
            arguments: BTreeMap::new(),
            timeouts: None,
            retry: None,
            environment: Arc::new(ProcessEnvironment),
            home: None,
            dotenv: None,
            read_files: true,
        }
    }

    /// Reads these variables instead of the process's; `()` stands for none at all.
    pub fn environment(mut self, environment: impl Environment + Send + Sync + 'static) -> Self {
        self.environment = Arc::new(environment);
        self
    }

    /// Whether to read `.env` in the working directory. Off at first: a library should not take
    /// settings from wherever it happens to be started.
    pub fn dotenv(mut self, read: bool) -> Self {
        self.dotenv = read.then(|| PathBuf::from(".env"));
        self
    }

    /// Reads this `.env` file.
    pub fn dotenv_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.dotenv = Some(path.into());
        self
    }

    /// Looks for `.dashscope/` in this directory instead of the one the environment names.
    pub fn home(mut self, path: impl Into<PathBuf>) -> Self {
        self.home = Some(path.into());
        self
    }

    /// Whether to read the files in `~/.dashscope`. On at first.
    pub fn home_files(mut self, read: bool) -> Self {
        self.read_files = read;
        self
    }

    /// Sets the API key.
    pub fn api_key(self, key: impl Into<String>) -> Self {
        self.set(Setting::ApiKey, key)
    }

    /// Sets the base URL.
    pub fn base_url(self, url: impl Into<String>) -> Self {
        self.set(Setting::BaseUrl, url)
    }

    /// Sets the workspace id.
    pub fn workspace(self, workspace: impl Into<String>) -> Self {
        self.set(Setting::Workspace, workspace)
    }

    /// Sets the region.
    pub fn region(self, region: Region) -> Self {
        self.set(Setting::Region, region.as_str())
    }

    /// Sets the protocol.
    pub fn protocol(self, protocol: Dialect) -> Self {
        self.set(Setting::Protocol, protocol.as_str())
    }

    /// Sets the model of requests that name none.
    pub fn default_model(self, model: impl Into<String>) -> Self {
        self.set(Setting::DefaultModel, model)
    }

    /// Sets how long the service may be silent; see [`Timeouts::of_silence`].
    pub fn timeout(self, silence: Duration) -> Self {
        self.set(Setting::Timeout, silence.as_secs_f64().to_string())
    }

    /// Sets every timeout, above [`timeout`](Self::timeout) and the environment.
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = Some(timeouts);
        self
    }

    /// Sets how often a failed request is repeated.
    pub fn max_retries(self, retries: u32) -> Self {
        self.set(Setting::MaxRetries, retries.to_string())
    }

    /// Sets the longest pause before the first repetition.
    pub fn retry_delay(self, delay: Duration) -> Self {
        self.set(Setting::RetryDelay, delay.as_secs_f64().to_string())
    }

    /// Sets the whole retry policy, above [`max_retries`](Self::max_retries) and the environment.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = Some(policy);
        self
    }

    /// Sets the client's own limit of requests per minute.
    pub fn requests_per_minute(self, requests: u32) -> Self {
        self.set(Setting::RequestsPerMinute, requests.to_string())
    }

    /// Sets the client's own limit of requests per day.
    pub fn requests_per_day(self, requests: u32) -> Self {
        self.set(Setting::RequestsPerDay, requests.to_string())
    }

    /// Sets whether tools stream by default.
    pub fn enable_streaming(self, enable: bool) -> Self {
        self.set(Setting::EnableStreaming, enable.to_string())
    }

    /// Sets `max_tokens` of requests that set none.
    pub fn max_tokens(self, tokens: u32) -> Self {
        self.set(Setting::MaxTokens, tokens.to_string())
    }

    /// Sets `temperature` of requests that set none.
    pub fn temperature(self, temperature: f64) -> Self {
        self.set(Setting::Temperature, temperature.to_string())
    }

    /// Sets `top_p` of requests that set none.
    pub fn top_p(self, top_p: f64) -> Self {
        self.set(Setting::TopP, top_p.to_string())
    }

    /// Reads all layers and checks them.
    ///
    /// # Errors
    /// [`ConfigError`] with every problem found, a missing key included.
    pub fn load(&self) -> Result<Config, ConfigError> {
        let Resolution {
            config,
            mut problems,
            key_was_given,
        } = self.resolve();
        if config.api_key.is_none() && !key_was_given {
            problems.push(ConfigProblem::new(
                None,
                "no API key is set",
                "set DASHSCOPE_API_KEY to a key from the Model Studio console (sk-…)",
            ));
        }
        match ConfigError::from_problems(problems) {
            Some(error) => Err(error),
            None => Ok(config),
        }
    }

    /// Reads all layers and returns what could be understood together with what could not.
    /// A missing key is no problem here.
    pub fn resolve(&self) -> Resolution {
        let Found {
            mut values,
            problems,
            mut warnings,
        } = self.collect();
        let is_key_file =
            |problem: &ConfigProblem| matches!(problem.source, Some(Source::KeyFile(_)));
        let key_was_given =
            values.contains_key(&Setting::ApiKey) || problems.iter().any(is_key_file);
        let mut sources = Vec::new();
        for (setting, raw) in &values {
            sources.push((*setting, raw.source.clone()));
        }
        let mut checked = Checked {
            values: &mut values,
            problems,
        };

        let region = checked
            .take(Setting::Region, check::region)
            .unwrap_or_default();
        let workspace = checked.take(Setting::Workspace, check::workspace);
        let base = checked.take(Setting::BaseUrl, check::endpoint);
        let endpoint = base.or_else(|| checked.derive_endpoint(region, workspace.as_ref()));
        // Without one, a problem was noted above; the default host will do for a report.
        let endpoint = endpoint.unwrap_or_default();
        let api_key = checked.take(Setting::ApiKey, |raw| check::api_key(raw, &endpoint));
        let protocol = checked
            .take(Setting::Protocol, parse::protocol)
            .unwrap_or(Dialect::Native);
        let silence = checked.take(Setting::Timeout, parse::timeout);
        let timeouts = self
            .timeouts
            .or(silence.map(Timeouts::of_silence))
            .unwrap_or_default();
        let max_retries = checked.take(Setting::MaxRetries, parse::max_retries);
        let retry_delay = checked.take(Setting::RetryDelay, parse::retry_delay);
        let mut retry = RetryPolicy::default();
        retry.max_retries = max_retries.unwrap_or(retry.max_retries);
        if let Some(delay) = retry_delay {
            retry = retry.with_base_delay(delay);
        }
        let limits = RequestLimits::new(
            checked.take(Setting::RequestsPerMinute, parse::count),
            checked.take(Setting::RequestsPerDay, parse::count),
        );
        check::warn_about(&mut warnings, &endpoint, api_key.as_ref(), protocol);
        let config = Config {
            default_model: checked.take(Setting::DefaultModel, parse::model),
            enable_streaming: checked.take(Setting::EnableStreaming, parse::flag),
            max_tokens: checked.take(Setting::MaxTokens, parse::count),
            temperature: checked.take(Setting::Temperature, parse::temperature),
            top_p: checked.take(Setting::TopP, parse::top_p),
            retry: self.retry.clone().unwrap_or(retry),
            api_key,
            endpoint,
            region,
            workspace,
            protocol,
            timeouts,
            limits,
            sources,
            warnings,
        };
        Resolution {
            config,
            problems: checked.problems,
            key_was_given,
        }
    }

    fn set(mut self, setting: Setting, text: impl Into<String>) -> Self {
        self.arguments.insert(setting, text.into());
        self
    }

    fn collect(&self) -> Found {
        let mut found = Found::default();
        found.add_arguments(&self.arguments);
        found.add_environment(&*self.environment);
        let user = self
            .home
            .clone()
            .or_else(|| home_directory(&*self.environment));
        let files = Files {
            dotenv: self.dotenv.clone(),
            home: user
                .as_ref()
                .filter(|_| self.read_files)
                .map(|home| home.join(".dashscope")),
        };
        let mut key_file = self
            .environment
            .var(KEY_FILE_VARIABLE)
            .and_then(|path| path.into_string().ok())
            .filter(|path| !path.trim().is_empty());
        if let Some(path) = &files.dotenv {
            let named = found
                .add_dotenv(path)
                .filter(|path| !path.trim().is_empty());
            key_file = key_file.or(named);
        }
        if let Some(home) = &files.home {
            found.add_config_file(&home.join("config.toml"));
        }
        if let Some(path) = key_file {
            found.add_key_file(&expand_home(path.trim(), user.as_deref()), true);
        } else if let Some(home) = &files.home {
            found.add_key_file(&home.join("api_key"), false);
        }
        found
    }
}
