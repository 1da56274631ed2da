//! A gateway and its parts, each of which can be replaced.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arc_swap::ArcSwap;
use axum::Router;
use bailian_wire::catalog::Catalog;
use parking_lot::Mutex;
use secrecy::SecretString;
use tokio::sync::watch;

use crate::account::{Account, AccountError};
use crate::accounting::{Accounting, DataError};
use crate::admin::{self, AdminToken};
use crate::cache::Cache;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::keys::KeyStore;
use crate::metrics::Metrics;
use crate::models::ModelList;
use crate::objects::Objects;
use crate::pacing::Pacing;
use crate::reload::{ConfigStatus, Setup};
use crate::responses::Responses;
use crate::route::Routes;
use crate::router::router;
use crate::state::State;
use crate::telemetry::{Telemetry, TelemetryError};
use crate::upstream::{HttpUpstream, Upstream, UpstreamTimeouts};
use crate::worker::Workers;

/// Why a gateway cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The account's settings cannot be used.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// Keys, budgets or the ledger cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Telemetry cannot be sent.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// Limits or answers cannot be shared with other replicas.
    #[error(transparent)]
    Redis(#[from] bailian_quota::share::redis::RedisError),
}

/// Makes the upstream of one runtime.
type UpstreamFactory = Arc<dyn Fn() -> Arc<dyn Upstream> + Send + Sync>;

/// A gateway that is ready to serve. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Gateway {
    /// What is in force, for requests that begin now.
    pub(crate) current: Arc<ArcSwap<State>>,
    upstreams: UpstreamFactory,
    /// Locked while a reload runs.
    pub(crate) setup: Arc<Mutex<Setup>>,
    /// Told of every reload.
    pub(crate) changed: Arc<watch::Sender<()>>,
}

/// Puts a gateway together.
pub struct GatewayBuilder {
    config: Config,
    keys: Option<Arc<dyn KeyStore>>,
    clock: Arc<dyn Clock>,
    upstreams: Option<UpstreamFactory>,
}

impl Gateway {
    /// Begins with a configuration; every part can be replaced before [`GatewayBuilder::build`].
    pub fn builder(config: Config) -> GatewayBuilder {
        GatewayBuilder {
            config,
            keys: None,
            clock: Arc::new(SystemClock),
            upstreams: None,
        }
    }

    /// A router with all paths (without the admin paths where these have a listener of their own), and with an upstream connection pool of its own.
    ///
    /// A runtime calls it once. It can be nested in another axum application under any prefix.
    pub fn router(&self) -> Router {
        router(self.workers())
    }

    /// A router with the admin paths alone, for a listener of their own: it checks the `Host` of
    /// requests, so that no web page reaches it by a name that somebody pointed there.
    pub fn admin_router(&self) -> Router {
        admin::own_router(self.workers())
    }

    /// The virtual key that was made as there was none; the one moment at which it can be learned.
    pub fn take_first_key(&self) -> Option<SecretString> {
        let state = self.state();
        state.accounting.as_ref()?.take_first_key()
    }

    pub(crate) fn workers(&self) -> Workers {
        Workers {
            current: Arc::clone(&self.current),
            upstream: (self.upstreams)(),
        }
    }

    /// What is in force now.
    pub(crate) fn state(&self) -> Arc<State> {
        self.current.load_full()
    }
}

impl GatewayBuilder {
    /// Finds virtual keys there instead of in the configuration.
    #[must_use]
    pub fn key_store(mut self, keys: Arc<dyn KeyStore>) -> Self {
        self.keys = Some(keys);
        self
    }

    /// Reads the time there.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Sends requests through `upstream`, which all runtimes then share.
    #[must_use]
    pub fn upstream(mut self, upstream: Arc<dyn Upstream>) -> Self {
        self.upstreams = Some(Arc::new(move || Arc::clone(&upstream)));
        self
    }

    /// Checks the accounts and makes the gateway.
    ///
    /// # Errors
    ///
    /// When an account's addresses or keys cannot be used, limits cannot be shared, or telemetry
    /// cannot be sent.
    pub fn build(self) -> Result<Gateway, BuildError> {
        let timeouts = self.config.timeouts;
        let (upstreams, upstream) = match self.upstreams {
            Some(upstreams) => (upstreams, None),
            None => {
                let upstream = HttpUpstream::new(UpstreamTimeouts {
                    connect: timeouts.connect,
                    response: timeouts.response,
                });
                let pools = upstream.clone();
                let factory: UpstreamFactory =
                    Arc::new(move || Arc::new(pools.with_new_pool()) as Arc<dyn Upstream>);
                (factory, Some(upstream))
            }
        };
        let accounts = self.config.accounts.iter().map(Account::new);
        let accounts = accounts.collect::<Result<Vec<_>, _>>()?;
        let routes = Routes::new(&self.config, &accounts);
        // Whoever brings keys of their own brings what limits them.
        let data = self.config.data.as_ref().filter(|_| self.keys.is_none());
        let accounting = data
            .map(|data| Accounting::open(&self.config, data, Arc::clone(&self.clock)))
            .transpose()?;
        let catalog = Catalog::embedded();
        let names = catalog.models().map(|model| &*model.id);
        let metrics = Metrics::new(routes.aliases().chain(names));
        let telemetry = self.config.telemetry.as_ref();
        let telemetry = telemetry
            .map(|config| Telemetry::start(config, &accounts, metrics.exports()))
            .transpose()?;
        let state = State {
            models: ModelList::new(catalog, routes.aliases()),
            accounts,
            routes,
            repairs: self.config.repairs,
            keys: match &self.keys {
                Some(keys) => Arc::clone(keys),
                None => self.config.key_store(),
            },
            pacing: Pacing::new(&self.config, Arc::clone(&self.clock))?,
            cache: Cache::new(&self.config, Arc::clone(&self.clock))?,
            config_status: Arc::new(ConfigStatus::new(self.clock.unix_millis())),
            objects: Arc::new(Objects::new(
                accounting.as_ref().map(|it| Arc::clone(it.admin.store())),
                Arc::clone(&self.clock),
            )),
            clock: self.clock,
            accounting,
            responses: Arc::new(Responses::default()),
            limits: self.config.limits,
            timeouts,
            metrics: Arc::new(metrics),
            telemetry,
            is_leaving: Arc::new(AtomicBool::new(false)),
            admin: self.config.admin_token.as_ref().map(AdminToken::new),
            admin_hosts: self.config.admin_hosts.clone(),
            has_admin_listener: self.config.admin_listen.is_some(),
        };
        Ok(Gateway {
            current: Arc::new(ArcSwap::from_pointee(state)),
            upstreams,
            setup: Arc::new(Mutex::new(Setup {
                config: self.config,
                keys: self.keys,
                upstream,
            })),
            changed: Arc::new(watch::Sender::new(())),
        })
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway")
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for GatewayBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatewayBuilder")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
