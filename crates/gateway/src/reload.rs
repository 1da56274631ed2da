//! Another configuration while requests run.
//!
//! What a request began with it ends with: a reload makes another [`State`] and puts it where the
//! next request looks. What outlives a configuration (lanes, budgets, the ledger, metrics, what is
//! known of the targets' health) is shared between the two.

mod fixed;
mod follow;

use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::json;

pub(crate) use self::fixed::is_fixed;
pub use self::follow::ConfigFile;
pub(crate) use self::follow::follow;
use crate::account::Account;
use crate::accounting::Accounting;
use crate::admin::AdminToken;
use crate::cache::Cache;
use crate::config::{Config, ConfigError};
use crate::gateway::{BuildError, Gateway};
use crate::keys::KeyStore;
use crate::models::ModelList;
use crate::route::Routes;
use crate::state::State;
use crate::upstream::{HttpUpstream, UpstreamTimeouts};

/// What a gateway was made of.
pub(crate) struct Setup {
    /// What is in force.
    pub(crate) config: Config,
    /// Keys that came from elsewhere than the configuration.
    pub(crate) keys: Option<Arc<dyn KeyStore>>,
    /// The way to upstream, unless it came from elsewhere.
    pub(crate) upstream: Option<HttpUpstream>,
}

/// That another configuration is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reloaded {
    /// Settings that changed and take effect at the next start only, by their place.
    pub at_next_start: Vec<&'static str>,
}

/// Why the configuration stays as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReloadError {
    /// An account's settings, or keys and budgets, cannot be used.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// Keys would be open without what limits them.
    #[error("data: was added, which needs a restart: until then limits and budgets cannot be kept")]
    DataAdded,
}

/// How the last reload went, for `/readyz`.
#[derive(Debug)]
pub(crate) struct ConfigStatus(Mutex<Told>);

#[derive(Debug)]
struct Told {
    loaded_unix_ms: u64,
    last_error: Option<String>,
}

impl ConfigStatus {
    /// The configuration of the start.
    pub(crate) fn new(unix_ms: u64) -> Self {
        Self(Mutex::new(Told {
            loaded_unix_ms: unix_ms,
            last_error: None,
        }))
    }

    /// `loaded_at`, and `last_error` of a reload that was refused since then.
    pub(crate) fn json(&self) -> serde_json::Value {
        let told = self.0.lock();
        let millis = i64::try_from(told.loaded_unix_ms).unwrap_or(i64::MAX);
        let at = Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH);
        json!({ "loaded_at": at.to_string(), "last_error": told.last_error })
    }
}

impl Gateway {
    /// Puts another configuration in force for requests to come. What is open goes on with the one
    /// it began with. Settings that need a restart stay as they are, and are named.
    ///
    /// It may wait for the store of keys: not for a thread that must not block.
    ///
    /// # Errors
    ///
    /// When the configuration cannot be used; then nothing has changed.
    pub fn reload(&self, config: Config) -> Result<Reloaded, ReloadError> {
        let mut setup = self.setup.lock();
        let result = self.replace(&mut setup, config);
        match &result {
            Ok(reloaded) => {
                let state = self.state();
                state.metrics.count_reload(true);
                let mut told = state.config_status.0.lock();
                told.loaded_unix_ms = state.clock.unix_millis();
                told.last_error = None;
                for place in &reloaded.at_next_start {
                    tracing::warn!(
                        setting = place,
                        "was changed; takes effect at the next start"
                    );
                }
                tracing::info!("the configuration was loaded again");
            }
            Err(error) => {
                tracing::error!(problem = %error, "the configuration stays as it is");
                self.note_refused(error.to_string());
            }
        }
        result
    }

    /// Notes that a configuration could not be read: one line for each problem.
    pub(crate) fn refuse_config(&self, error: &ConfigError) {
        for problem in error.problems() {
            tracing::error!(
                place = %problem.place,
                line = problem.line,
                problem = %problem.problem,
                "the configuration stays as it is"
            );
        }
        self.note_refused(error.to_string());
    }

    fn note_refused(&self, error: String) {
        let state = self.state();
        state.metrics.count_reload(false);
        state.config_status.0.lock().last_error = Some(error);
    }

    fn replace(&self, setup: &mut Setup, mut config: Config) -> Result<Reloaded, ReloadError> {
        let before = self.state();
        if setup.config.data.is_none() && config.data.is_some() && setup.keys.is_none() {
            return Err(ReloadError::DataAdded);
        }
        let at_next_start = fixed::keep(&setup.config, &mut config);
        let accounts = config.accounts.iter().map(Account::new);
        let accounts = accounts
            .collect::<Result<Vec<_>, _>>()
            .map_err(BuildError::from)?;
        let mut routes = Routes::new(&config, &accounts);
        routes.keep_breakers(&before.routes, |account| {
            fixed::is_same_place(&setup.config, &config, account)
        });
        let telemetry = before.telemetry.as_ref();
        let telemetry = telemetry.map(|telemetry| telemetry.configured(&accounts));
        let cache = Cache::configured(before.cache.as_ref(), &config, &before.clock)
            .map_err(BuildError::from)?;
        let accounting = before
            .accounting
            .as_ref()
            .map(|accounting| configured(accounting, &config))
            .transpose()?;
        let keys = match &setup.keys {
            Some(keys) => Arc::clone(keys),
            None => config.key_store(),
        };
        let state = State {
            models: ModelList::new(bailian_wire::catalog::Catalog::embedded(), routes.aliases()),
            accounts,
            routes,
            repairs: config.repairs,
            keys,
            pacing: before.pacing.configured(&config),
            cache,
            clock: Arc::clone(&before.clock),
            accounting,
            responses: Arc::clone(&before.responses),
            objects: Arc::clone(&before.objects),
            limits: config.limits,
            timeouts: config.timeouts,
            metrics: Arc::clone(&before.metrics),
            telemetry,
            is_leaving: Arc::clone(&before.is_leaving),
            admin: config.admin_token.as_ref().map(AdminToken::new),
            admin_hosts: config.admin_hosts.clone(),
            has_admin_listener: before.has_admin_listener,
            config_status: Arc::clone(&before.config_status),
        };
        // From here on nothing can fail.
        if let Some(upstream) = &setup.upstream {
            upstream.set_timeouts(UpstreamTimeouts {
                connect: config.timeouts.connect,
                response: config.timeouts.response,
            });
        }
        let state = Arc::new(state);
        self.current.store(Arc::clone(&state));
        state.pacing.configure();
        setup.config = config;
        self.changed.send_replace(());
        Ok(Reloaded { at_next_start })
    }
}

fn configured(accounting: &Accounting, config: &Config) -> Result<Arc<Accounting>, BuildError> {
    let tenants = config.data.as_ref().map(|data| data.tenants.as_slice());
    let configured = accounting.configured(config, tenants.unwrap_or_default());
    configured.map_err(BuildError::from)
}
