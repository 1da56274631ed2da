//! The configuration file's form, and how it becomes checked settings.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bailian::{Endpoint, InvalidWorkspace, Region, UnknownRegion, Workspace};
use bailian_quota::Class;
use bailian_tenants::Rates;
use bailian_tenants::settings::{Settings, SettingsInput};
use bailian_wire::Dialect;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::cache::CacheFile;
use super::data::{DataFile, PricesFile, resolve_settings};
use super::lines;
use super::pacing::{self, LaneFile, PacingFile, RedisFile};
use super::routing::{self, RepairsFile, RouteFile};
use super::secret::{self, Environment};
use super::server::{self, TlsFile};
use super::telemetry::{self, TelemetryFile};
use super::{
    AccountConfig, AccountKind, Config, ConfigError, DEFAULT_LISTEN, KeyConfig, KeySecret, Limits,
    PacingConfig, PricesConfig, Problem, ReloadMode, Repairs, Timeouts, key_problem,
};
use crate::keys::VirtualKey;
use crate::upstream::Origin;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConfigFile {
    listen: Option<String>,
    threads: Option<usize>,
    hand_over: Option<PathBuf>,
    reload: Option<String>,
    #[serde(default, deserialize_with = "server::one_or_many")]
    tls: Vec<TlsFile>,
    #[serde(default)]
    limits: LimitsFile,
    #[serde(default)]
    timeouts: TimeoutsFile,
    #[serde(default)]
    pacing: PacingFile,
    redis: Option<RedisFile>,
    cache: Option<CacheFile>,
    admin: Option<AdminFile>,
    #[serde(default)]
    accounts: Vec<AccountFile>,
    #[serde(default)]
    routes: Vec<RouteFile>,
    #[serde(default)]
    repairs: RepairsFile,
    #[serde(default)]
    keys: Vec<KeyFile>,
    data: Option<DataFile>,
    #[serde(default)]
    tenants: Vec<SettingsInput>,
    #[serde(default)]
    prices: PricesFile,
    telemetry: Option<TelemetryFile>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitsFile {
    max_body_bytes: Option<usize>,
    max_header_bytes: Option<usize>,
    max_connections: Option<usize>,
    max_connections_per_address: Option<usize>,
    max_streams_per_connection: Option<u32>,
    min_body_bytes_per_second: Option<usize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct TimeoutsFile {
    connect: Option<String>,
    response: Option<String>,
    idle: Option<String>,
    client_header: Option<String>,
    client_body: Option<String>,
    client_write: Option<String>,
    tls_handshake: Option<String>,
    hand_over: Option<String>,
    drain: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AdminFile {
    token: Option<String>,
    listen: Option<String>,
    #[serde(default)]
    hosts: Vec<String>,
}

impl std::fmt::Debug for AdminFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdminFile").finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountFile {
    name: Option<String>,
    kind: Option<String>,
    #[serde(default)]
    api_keys: Vec<String>,
    base_url: Option<String>,
    region: Option<String>,
    workspace: Option<String>,
    #[serde(default)]
    forward_headers: Vec<String>,
    #[serde(default)]
    limits: Vec<LaneFile>,
    quota_api: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    name: String,
    tenant: Option<String>,
    key: Option<String>,
    key_sha256: Option<String>,
    priority: Option<String>,
    weight: Option<u32>,
    settings: Option<SettingsInput>,
}

impl std::fmt::Debug for AccountFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccountFile")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyFile")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl ConfigFile {
    pub(super) fn parse(text: &str, name: &str) -> Result<Self, ConfigError> {
        let syntax = |place: String, error: &toml::de::Error| {
            // The error's own text quotes the line, and a line may hold a secret.
            let line = error.span().map(|span| lines::line_at(text, span.start));
            ConfigError::Syntax {
                place,
                problem: error.message().to_owned(),
                line,
            }
        };
        let document =
            toml::Deserializer::parse(text).map_err(|error| syntax(name.to_owned(), &error))?;
        serde_path_to_error::deserialize(document).map_err(|error| {
            let path = error.path().to_string();
            let place = if path == "." {
                name.to_owned()
            } else {
                format!("{name}: {path}")
            };
            syntax(place, error.inner())
        })
    }

    /// Checks every setting and collects every problem.
    pub(super) fn resolve(self, environment: &dyn Environment) -> Result<Config, Vec<Problem>> {
        let mut problems = Vec::new();
        let listen = self.listen.as_deref().unwrap_or(DEFAULT_LISTEN);
        let listen = parse_listen(listen)
            .map_err(|problem| problems.push(Problem::new("listen", problem)))
            .ok();
        if self.threads == Some(0) {
            problems.push(Problem::new(
                "threads",
                "is 0; leave it out for one per core",
            ));
        }
        let tls = server::resolve_tls(self.tls, &mut problems);
        let hand_over = server::resolve_hand_over(self.hand_over, &mut problems);
        let reload = server::resolve_reload(self.reload.as_deref(), &mut problems);
        let limits = self.limits.resolve(&mut problems);
        let timeouts = self.timeouts.resolve(&mut problems);
        let pacing = self.pacing.resolve(&mut problems);
        let accounts = resolve_accounts(self.accounts, environment, &mut problems);
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
        let keys = resolve_keys(
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

impl LimitsFile {
    fn resolve(&self, problems: &mut Vec<Problem>) -> Limits {
        let mut positive = |name: &str, value: Option<usize>, default: usize| {
            if value == Some(0) {
                let problem = format!("is 0, which admits nothing; the default is {default}");
                problems.push(Problem::new(format!("limits.{name}"), problem));
            }
            value.unwrap_or(default)
        };
        let default = Limits::default();
        let max_connections = positive(
            "max_connections",
            self.max_connections,
            default.max_connections,
        );
        let streams = positive(
            "max_streams_per_connection",
            self.max_streams_per_connection.map(|most| most as usize),
            default.max_streams_per_connection as usize,
        );
        Limits {
            max_body_bytes: positive(
                "max_body_bytes",
                self.max_body_bytes,
                default.max_body_bytes,
            ),
            max_header_bytes: positive(
                "max_header_bytes",
                self.max_header_bytes,
                default.max_header_bytes,
            ),
            max_connections,
            max_connections_per_address: positive(
                "max_connections_per_address",
                self.max_connections_per_address,
                max_connections.div_ceil(2),
            ),
            max_streams_per_connection: u32::try_from(streams).unwrap_or(u32::MAX),
            // Zero sets no rate.
            min_body_bytes_per_second: self
                .min_body_bytes_per_second
                .unwrap_or(default.min_body_bytes_per_second),
        }
    }
}

impl TimeoutsFile {
    fn resolve(&self, problems: &mut Vec<Problem>) -> Timeouts {
        let mut duration = |name: &str, value: Option<&String>, default: Duration| {
            let Some(text) = value else { return default };
            match humantime::parse_duration(text) {
                Ok(duration) if !duration.is_zero() => duration,
                _ => {
                    let problem = format!("`{text}` is not a duration such as \"30s\" or \"5m\"");
                    problems.push(Problem::new(format!("timeouts.{name}"), problem));
                    default
                }
            }
        };
        let default = Timeouts::default();
        Timeouts {
            connect: duration("connect", self.connect.as_ref(), default.connect),
            response: duration("response", self.response.as_ref(), default.response),
            idle: duration("idle", self.idle.as_ref(), default.idle),
            client_header: duration(
                "client_header",
                self.client_header.as_ref(),
                default.client_header,
            ),
            client_body: duration(
                "client_body",
                self.client_body.as_ref(),
                default.client_body,
            ),
            client_write: duration(
                "client_write",
                self.client_write.as_ref(),
                default.client_write,
            ),
            tls_handshake: duration(
                "tls_handshake",
                self.tls_handshake.as_ref(),
                default.tls_handshake,
            ),
            drain: duration("drain", self.drain.as_ref(), default.drain),
            hand_over: duration("hand_over", self.hand_over.as_ref(), default.hand_over),
        }
    }
}

fn resolve_accounts(
    files: Vec<AccountFile>,
    environment: &dyn Environment,
    problems: &mut Vec<Problem>,
) -> Vec<AccountConfig> {
    if files.is_empty() {
        let problem = "is missing; add [[accounts]] with api_keys = [\"env:DASHSCOPE_API_KEY\"]";
        problems.push(Problem::new("accounts", problem));
    }
    let mut accounts: Vec<AccountConfig> = Vec::with_capacity(files.len());
    let is_only = files.len() == 1;
    for (index, file) in files.into_iter().enumerate() {
        let place = format!("accounts[{index}]");
        if file.name.is_none() && !is_only {
            let problem = "has no `name`, which several accounts need to be told apart";
            problems.push(Problem::new(&place, problem));
        }
        if let Some(account) = resolve_account(file, &place, environment, problems) {
            if accounts.iter().any(|other| other.name == account.name) {
                let problem = format!("has the name `{}`, like another account", account.name);
                problems.push(Problem::new(&place, problem));
            }
            accounts.push(account);
        }
    }
    accounts
}

fn resolve_account(
    account: AccountFile,
    place: &str,
    environment: &dyn Environment,
    problems: &mut Vec<Problem>,
) -> Option<AccountConfig> {
    let mut api_keys = Vec::new();
    for (index, key) in account.api_keys.iter().enumerate() {
        match secret::resolve(key, environment).and_then(checked_api_key) {
            Ok(key) => api_keys.push(key),
            Err(problem) => {
                problems.push(Problem::new(format!("{place}.api_keys[{index}]"), problem));
            }
        }
    }
    let kind = match account.kind.as_deref() {
        None | Some("dashscope") => AccountKind::DashScope,
        Some("openai") => AccountKind::OpenAi,
        Some(other) => {
            let problem = format!("`{other}` is neither dashscope nor openai");
            problems.push(Problem::new(format!("{place}.kind"), problem));
            return None;
        }
    };
    if account.api_keys.is_empty() && kind == AccountKind::DashScope {
        let problem = "is empty; write at least one key, such as \"env:DASHSCOPE_API_KEY\"";
        problems.push(Problem::new(format!("{place}.api_keys"), problem));
    }
    let roots = match kind {
        AccountKind::DashScope => Roots::resolve(
            account.base_url.as_deref(),
            account.region.as_deref(),
            account.workspace.as_deref(),
        ),
        AccountKind::OpenAi => Roots::of_server(account.base_url.as_deref()),
    };
    let limits = pacing::resolve_limits(&account.limits, problems);
    match roots {
        Ok(roots) => {
            let mut config = roots.account(api_keys);
            config.name = account.name.unwrap_or_else(|| "default".to_owned());
            config.kind = kind;
            config.forward_headers = account.forward_headers;
            config.limits = limits;
            let is_service = kind == AccountKind::DashScope;
            config.quota_api = account.quota_api.unwrap_or(is_service) && is_service;
            Some(config)
        }
        Err(problem) => {
            problems.push(Problem::new(place, problem));
            None
        }
    }
}

/// The admin part, checked.
#[derive(Default)]
struct AdminSettings {
    token: Option<SecretString>,
    listen: Option<SocketAddr>,
    hosts: Vec<String>,
}

impl AdminFile {
    fn resolve(self, environment: &dyn Environment, problems: &mut Vec<Problem>) -> AdminSettings {
        if self.token.is_none() && self.listen.is_none() {
            let problem = "is empty; set token = \"env:BAILIAN_ADMIN_TOKEN\", or leave it out";
            problems.push(Problem::new("admin", problem));
        }
        let has_token = self.token.is_some();
        let token = self
            .token
            .and_then(|token| resolve_admin_token(&token, environment, problems));
        let listen = self.listen.and_then(|text| {
            parse_listen(&text)
                .map_err(|problem| problems.push(Problem::new("admin.listen", problem)))
                .ok()
        });
        if listen.is_some_and(|address| !address.ip().is_loopback()) && !has_token {
            let problem = "is reached from other machines, so admin.token has to be set";
            problems.push(Problem::new("admin.listen", problem));
        }
        for (index, host) in self.hosts.iter().enumerate() {
            let is_name = !host.is_empty()
                && host
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
            if !is_name {
                let problem = "is not a host's name such as gateway.internal, without a port";
                problems.push(Problem::new(format!("admin.hosts[{index}]"), problem));
            }
        }
        AdminSettings {
            token,
            listen,
            hosts: self.hosts,
        }
    }
}

fn resolve_admin_token(
    text: &str,
    environment: &dyn Environment,
    problems: &mut Vec<Problem>,
) -> Option<SecretString> {
    let token = secret::resolve(text, environment)
        .and_then(|token| key_problem(&token).map_or(Ok(token), |problem| Err(problem.to_owned())));
    token
        .map_err(|problem| problems.push(Problem::new("admin.token", problem)))
        .ok()
}

fn resolve_keys(
    keys: Vec<KeyFile>,
    has_store: bool,
    rates: &Rates,
    environment: &dyn Environment,
    problems: &mut Vec<Problem>,
) -> Vec<KeyConfig> {
    if keys.is_empty() && !has_store {
        let problem = "is missing, so nobody could call; add [[keys]] with name and key";
        problems.push(Problem::new("keys", problem));
    }
    let mut resolved = Vec::new();
    for (index, key) in keys.into_iter().enumerate() {
        let secret = match (&key.key, &key.key_sha256) {
            (Some(text), None) => secret::resolve(text, environment).and_then(|secret| {
                key_problem(&secret).map_or(Ok(KeySecret::Plain(secret)), |problem| {
                    Err(problem.to_owned())
                })
            }),
            (None, Some(hex)) => parse_sha256(hex).map(KeySecret::Sha256),
            _ => Err("needs either `key` or `key_sha256`".to_owned()),
        };
        match secret {
            Ok(secret) => {
                let tenant = key.tenant.unwrap_or_else(|| key.name.clone());
                let mut owner = VirtualKey::new(key.name, tenant).weight(key.weight.unwrap_or(1));
                if key.weight == Some(0) {
                    let problem = "is 0, which is no share; the default is 1";
                    problems.push(Problem::new(format!("keys[{index}].weight"), problem));
                }
                if let Some(text) = &key.priority {
                    match Class::parse(text) {
                        Some(class) => owner = owner.priority(class),
                        None => problems.push(Problem::new(
                            format!("keys[{index}].priority"),
                            format!("`{text}` is not high, normal or low"),
                        )),
                    }
                }
                let mut input = key.settings.unwrap_or_default();
                input.name.clone_from(&owner.name);
                let place = format!("keys[{index}].settings");
                let settings = resolve_settings(input, &place, rates, problems);
                let mut settings = settings.unwrap_or_else(|| Settings::named(&*owner.name));
                settings.priority = settings.priority.or(Some(owner.priority));
                settings.weight = settings.weight.or(Some(owner.weight));
                resolved.push(KeyConfig {
                    owner,
                    secret,
                    settings,
                });
            }
            Err(problem) => problems.push(Problem::new(format!("keys[{index}]"), problem)),
        }
    }
    resolved
}

fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!("`{text}` is not an address with a port, such as 127.0.0.1:8080 or [::]:8080")
    })
}

fn parse_sha256(hex: &str) -> Result<[u8; 32], String> {
    let problem = || "key_sha256 is not 64 hexadecimal digits".to_owned();
    if hex.len() != 64 || !hex.is_ascii() {
        return Err(problem());
    }
    let mut digest = [0; 32];
    for (byte, pair) in digest.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).map_err(|_| problem())?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| problem())?;
    }
    Ok(digest)
}

fn checked_api_key(key: SecretString) -> Result<SecretString, String> {
    if key
        .expose_secret()
        .bytes()
        .all(|byte| byte.is_ascii_graphic())
    {
        Ok(key)
    } else {
        Err("the key holds blanks or characters that no key has; copy it again".to_owned())
    }
}

fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

pub(super) fn from_environment(
    environment: &dyn Environment,
    make_key: impl FnOnce() -> SecretString,
) -> Result<Config, Vec<Problem>> {
    let mut problems = Vec::new();
    let api_key = match environment.setting("DASHSCOPE_API_KEY") {
        Some(key) => checked_api_key(key.into())
            .map_err(|problem| problems.push(Problem::new("DASHSCOPE_API_KEY", problem)))
            .ok(),
        None => {
            let problem = "is not set; get a key in the Model Studio console and set it, or try \
                           `bailian demo`, which needs none";
            problems.push(Problem::new("DASHSCOPE_API_KEY", problem));
            None
        }
    };
    let workspace = environment
        .setting("DASHSCOPE_WORKSPACE")
        .or_else(|| environment.setting("DASHSCOPE_WORKSPACE_ID"));
    let base_url = environment
        .setting("DASHSCOPE_BASE_URL")
        .or_else(|| environment.setting("DASHSCOPE_HTTP_BASE_URL"));
    let region = environment
        .setting("DASHSCOPE_REGION")
        .or_else(|| environment.setting("DASHSCOPE_API_REGION"));
    let roots = Roots::resolve(base_url.as_deref(), region.as_deref(), workspace.as_deref())
        .map_err(|problem| problems.push(Problem::new("DASHSCOPE_BASE_URL", problem)))
        .ok();
    let virtual_key = environment
        .setting("BAILIAN_API_KEY")
        .map_or_else(make_key, SecretString::from);
    if let Some(problem) = key_problem(&virtual_key) {
        problems.push(Problem::new("BAILIAN_API_KEY", problem));
    }
    let redis = environment
        .setting("BAILIAN_REDIS_URL")
        .map(RedisFile::of_variable)
        .and_then(|redis| redis.resolve("default", environment, &mut problems));
    let admin_token = environment
        .setting("BAILIAN_ADMIN_TOKEN")
        .and_then(|token| resolve_admin_token(&token, environment, &mut problems));
    let telemetry = telemetry::resolve(None, environment, &mut problems);
    match (api_key, roots) {
        (Some(api_key), Some(roots)) if problems.is_empty() => {
            let mut config = minimal(roots, api_key, virtual_key)?;
            config.redis = redis;
            config.admin_token = admin_token;
            config.telemetry = telemetry;
            Ok(config)
        }
        _ => Err(problems),
    }
}

pub(super) fn for_base_url(
    base_url: &str,
    api_key: SecretString,
    virtual_key: SecretString,
) -> Result<Config, Vec<Problem>> {
    if let Some(problem) = key_problem(&virtual_key) {
        return Err(vec![Problem::new("virtual_key", problem)]);
    }
    let roots = Roots::resolve(Some(base_url), None, None)
        .map_err(|problem| vec![Problem::new("base_url", problem)])?;
    minimal(roots, api_key, virtual_key)
}

fn minimal(
    roots: Roots,
    api_key: SecretString,
    virtual_key: SecretString,
) -> Result<Config, Vec<Problem>> {
    let listen =
        parse_listen(DEFAULT_LISTEN).map_err(|problem| vec![Problem::new("listen", problem)])?;
    Ok(Config {
        listen,
        threads: default_threads(),
        tls: Vec::new(),
        hand_over: None,
        reload: ReloadMode::default(),
        limits: Limits::default(),
        timeouts: Timeouts::default(),
        accounts: vec![roots.account(vec![api_key])],
        routes: Vec::new(),
        repairs: Repairs::default(),
        pacing: PacingConfig::default(),
        cache: None,
        redis: None,
        admin_token: None,
        admin_listen: None,
        admin_hosts: Vec::new(),
        keys: vec![KeyConfig {
            owner: VirtualKey::new("default", "default"),
            secret: KeySecret::Plain(virtual_key),
            settings: Settings::named("default"),
        }],
        data: None,
        prices: PricesConfig::default(),
        telemetry: None,
    })
}

/// The protocol roots of an account, without a trailing slash.
struct Roots {
    native: String,
    openai: String,
    anthropic: String,
    rerank: String,
    workspace: Option<String>,
    region: Option<String>,
}

/// Where an account is, for its prices: as the file says, else as the host's name tells.
fn region_of(region: Option<&str>, native_root: &str) -> String {
    let by_host = || {
        let of_host = Region::ALL
            .into_iter()
            .find(|region| native_root.contains(region.as_str()));
        match of_host {
            _ if native_root.contains("dashscope-intl.") => Region::ApSoutheast1.as_str(),
            _ if native_root.contains("dashscope-us.") => Region::UsEast1.as_str(),
            Some(region) => region.as_str(),
            None => Region::default().as_str(),
        }
    };
    region.unwrap_or_else(by_host).to_owned()
}

impl Roots {
    /// A server that speaks OpenAI's protocol under one root.
    fn of_server(base_url: Option<&str>) -> Result<Self, String> {
        let Some(root) = base_url else {
            return Err("an account of kind openai needs a base_url, such as \
                        http://127.0.0.1:8000/v1"
                .to_owned());
        };
        Origin::parse(root).map_err(|error| error.to_string())?;
        let root = root.trim_end_matches('/').to_owned();
        Ok(Self {
            native: root.clone(),
            openai: root.clone(),
            anthropic: root.clone(),
            rerank: root,
            workspace: None,
            region: None,
        })
    }

    /// An account with these roots, all else by default.
    fn account(self, api_keys: Vec<SecretString>) -> AccountConfig {
        AccountConfig {
            name: "default".to_owned(),
            kind: AccountKind::DashScope,
            api_keys,
            native_root: self.native,
            openai_root: self.openai,
            anthropic_root: self.anthropic,
            rerank_root: self.rerank,
            workspace: self.workspace,
            region: self.region,
            forward_headers: Vec::new(),
            limits: Vec::new(),
            quota_api: true,
        }
    }

    fn resolve(
        base_url: Option<&str>,
        region: Option<&str>,
        workspace: Option<&str>,
    ) -> Result<Self, String> {
        let workspace: Option<Workspace> = workspace
            .map(str::parse)
            .transpose()
            .map_err(|error: InvalidWorkspace| error.to_string())?;
        let endpoint = match base_url {
            Some(url) => Endpoint::from_base_url(url),
            None => {
                let region = region.map(str::parse).transpose();
                let region: Option<Region> =
                    region.map_err(|error: UnknownRegion| error.to_string())?;
                Endpoint::of_region(region.unwrap_or_default(), workspace.as_ref())
            }
        };
        let endpoint = endpoint.map_err(|error| format!("{error}; {}", error.fix()))?;
        let root = |dialect: Dialect| {
            let root = endpoint.root(dialect).ok_or_else(|| {
                format!(
                    "the base URL leads to no place where {dialect} is spoken; give the host alone"
                )
            })?;
            Origin::parse(root).map_err(|error| error.to_string())?;
            Ok::<_, String>(root.trim_end_matches('/').to_owned())
        };
        let openai = root(Dialect::OpenAi)?;
        // The flat rerank call stands beside the other compatible ones (compat.md §3.4).
        let rerank = openai
            .strip_suffix(Dialect::OpenAi.root_path())
            .map_or_else(
                || openai.clone(),
                |host| format!("{host}/compatible-api/v1"),
            );
        let native = root(Dialect::Native)?;
        Ok(Self {
            region: Some(region_of(region, &native)),
            native,
            anthropic: root(Dialect::Anthropic)?,
            openai,
            rerank,
            workspace: workspace.map(|workspace| workspace.as_str().to_owned()),
        })
    }
}
