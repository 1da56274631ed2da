//! The configuration file's form, and how it becomes checked settings.

use std::path::PathBuf;

use bailian_tenants::settings::SettingsInput;
use serde::Deserialize;
use utoipa::ToSchema;

use super::account::{self, AccountFile};
use super::admin::AdminFile;
use super::cache::CacheFile;
use super::data::{DataFile, PricesFile, resolve_settings};
use super::key::{self, KeyFile};
use super::limits::{LimitsFile, TimeoutsFile};
use super::pacing::{PacingFile, RedisFile};
use super::routing::{self, RepairsFile, RouteFile};
use super::secret::Environment;
use super::server::{self, DEFAULT_LISTEN, TlsFiles};
use super::telemetry::{self, TelemetryFile};
use super::text::ReloadWord;
use super::{Config, Problem};

/// The configuration of a gateway. A setting that does not exist stops the start.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ConfigFile {
    /// The address and port to listen on; port 0 takes a free one.
    #[schema(default = json!(DEFAULT_LISTEN))]
    listen: Option<String>,
    /// Relay threads, each with its own listener and upstream connections.
    #[schema(minimum = 1, extensions(("x-unit" = json!("threads")), ("x-default" = json!("one per core"))))]
    threads: Option<usize>,
    /// The path of a Unix socket at which a successor of this process can take its listeners over.
    #[schema(value_type = Option<String>, max_length = 100, examples("/run/bailian/gateway.sock"))]
    hand_over: Option<PathBuf>,
    /// When the file is read again: when it changes and on SIGHUP, on SIGHUP only, or never.
    #[schema(value_type = Option<ReloadWord>, default = "watch")]
    reload: Option<String>,
    /// Certificates; connections are encrypted if there is one. One table `[tls]`, or several
    /// `[[tls]]`.
    #[serde(default)]
    tls: TlsFiles,
    /// Bounds on what a caller controls.
    #[serde(default)]
    limits: LimitsFile,
    /// How long things may take.
    #[serde(default)]
    timeouts: TimeoutsFile,
    /// The upstream accounts; there is at least one.
    #[serde(default)]
    accounts: Vec<AccountFile>,
    /// Where requests for certain models go.
    #[serde(default)]
    routes: Vec<RouteFile>,
    /// Who may call: keys of the file. With `[data]`, more can be made while the gateway runs.
    #[serde(default)]
    keys: Vec<KeyFile>,
    /// How requests wait for their turn.
    #[serde(default)]
    pacing: PacingFile,
    /// What is mended of requests and answers in passing.
    #[serde(default)]
    repairs: RepairsFile,
    /// Where replicas share what the accounts may use; without it a gateway is alone.
    redis: Option<RedisFile>,
    /// How answers are kept for equal requests; without it none are.
    cache: Option<CacheFile>,
    /// Opens the admin endpoints; without it they are closed.
    admin: Option<AdminFile>,
    /// Where keys, budgets and the ledger are kept; without it nothing is.
    data: Option<DataFile>,
    /// Settings of tenants by `name`, beside those of the administration; needs `[data]`.
    #[serde(default)]
    tenants: Vec<SettingsInput>,
    /// What requests cost.
    #[serde(default)]
    prices: PricesFile,
    /// Where traces and metrics are sent; without it, and without OpenTelemetry's variables, nowhere.
    telemetry: Option<TelemetryFile>,
}

impl ConfigFile {
    /// Checks every setting and collects every problem.
    pub(super) fn resolve(self, environment: &dyn Environment) -> Result<Config, Vec<Problem>> {
        let mut problems = Vec::new();
        let listen = self.listen.as_deref().unwrap_or(DEFAULT_LISTEN);
        let listen = server::parse_listen(listen)
            .map_err(|problem| problems.push(Problem::new("listen", problem)))
            .ok();
        if self.threads == Some(0) {
            problems.push(Problem::new(
                "threads",
                "is 0; leave it out for one per core",
            ));
        }
        let tls = server::resolve_tls(self.tls, environment, &mut problems);
        let hand_over = server::resolve_hand_over(self.hand_over, &mut problems);
        let reload = server::resolve_reload(self.reload.as_deref(), &mut problems);
        let limits = self.limits.resolve(&mut problems);
        let timeouts = self.timeouts.resolve(&mut problems);
        let pacing = self.pacing.resolve(&mut problems);
        let accounts = account::resolve_accounts(self.accounts, environment, &mut problems);
        let has_cache = self.cache.is_some();
        let routes = routing::resolve_routes(self.routes, &accounts, has_cache, &mut problems);
        let repairs = self.repairs.resolve(&mut problems);
        let prices = self.prices.resolve(&mut problems);
        let mut tenants = Vec::new();
        for (index, tenant) in self.tenants.into_iter().enumerate() {
            let place = format!("tenants[{index}]");
            tenants.extend(resolve_settings(
                tenant,
                &place,
                &prices.rates,
                &mut problems,
            ));
        }
        let has_data = self.data.is_some();
        if !has_data && (!tenants.is_empty() || self.keys.iter().any(|key| key.settings.is_some()))
        {
            let problem = "is missing: limits and budgets are kept there; add [data] with a folder";
            problems.push(Problem::new("data", problem));
        }
        let data = self
            .data
            .map(|data| data.resolve(tenants, environment, &mut problems));
        let keys = key::resolve_keys(
            self.keys,
            has_data,
            &prices.rates,
            environment,
            &mut problems,
        );
        let names: Vec<&str> = accounts.iter().map(|account| &*account.name).collect();
        let cache = self.cache.map(|cache| {
            let redis = self.redis.as_ref().map(RedisFile::place);
            cache.resolve(redis, environment, &mut problems)
        });
        let redis = self
            .redis
            .and_then(|redis| redis.resolve(&names.join("+"), environment, &mut problems));
        let admin = self
            .admin
            .map(|admin| admin.resolve(environment, &mut problems));
        let admin = admin.unwrap_or_default();
        let telemetry = telemetry::resolve(self.telemetry, environment, &mut problems);
        match listen {
            Some(listen) if problems.is_empty() => Ok(Config {
                listen,
                threads: self.threads.unwrap_or_else(default_threads),
                tls,
                hand_over,
                reload,
                limits,
                timeouts,
                accounts,
                routes,
                repairs,
                pacing,
                cache,
                redis,
                admin_token: admin.token,
                admin_listen: admin.listen,
                admin_hosts: admin.hosts,
                keys,
                data,
                prices,
                telemetry,
            }),
            _ => Err(problems),
        }
    }
}

pub(super) fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
