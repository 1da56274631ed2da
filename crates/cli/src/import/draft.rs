//! The configuration that an import makes, before it is text.

use bailian::{Dialect, Endpoint};
use bailian_gateway::{Config, ConfigError};
use secrecy::SecretString;

use super::notes::{Notes, one_line};
use super::render;

/// Where a secret comes from.
#[derive(Clone, Debug)]
pub(super) enum Secret {
    /// The source names an environment variable.
    Variable(String),
    /// The source holds the secret itself; the name is that of the variable it becomes.
    Literal { name: String, value: SecretString },
}

impl Secret {
    pub(super) fn literal(name: impl Into<String>, value: &str) -> Self {
        Self::Literal {
            name: name.into(),
            value: value.into(),
        }
    }
}

/// What is behind an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    DashScope,
    OpenAi,
}

/// What the account may use of one model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lane {
    pub(super) model: String,
    pub(super) requests_per_minute: Option<u64>,
    pub(super) tokens_per_minute: Option<u64>,
    pub(super) running: Option<u64>,
}

#[derive(Clone, Debug)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// Where it is; for the service without one, the region of Beijing.
    pub(super) base_url: Option<String>,
    pub(super) api_keys: Vec<Secret>,
    pub(super) lanes: Vec<Lane>,
    /// What the source says about it for people.
    pub(super) remarks: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) account: String,
    pub(super) model: Option<String>,
    pub(super) dialect: Option<Dialect>,
    pub(super) weight: Option<u32>,
}

impl Target {
    /// Whether both lead to the same place.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        (&self.account, &self.model, self.dialect) == (&other.account, &other.model, other.dialect)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Route {
    pub(super) model: String,
    pub(super) targets: Vec<Target>,
    pub(super) fallbacks: Vec<Target>,
    /// Whether a refusal by the content filter leads on, too.
    pub(super) on_content_filter: bool,
}

impl Route {
    /// Adds a target behind all others, unless the route leads there already.
    pub(super) fn add_fallback(&mut self, target: &Target) {
        let mut known = self.targets.iter().chain(&self.fallbacks);
        if known.all(|other| !other.is_like(target)) {
            // Fallbacks are tried in their order.
            let weight = None;
            self.fallbacks.push(Target {
                weight,
                ..target.clone()
            });
        }
    }
}

/// A key of the gateway's callers.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) secret: Secret,
    pub(super) remark: Option<String>,
}

/// Where replicas share limits.
#[derive(Clone, Debug)]
pub(super) enum Redis {
    Open(String),
    Secret(Secret),
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) accounts: Vec<Account>,
    pub(super) routes: Vec<Route>,
    pub(super) keys: Vec<Key>,
    pub(super) redis: Option<Redis>,
    /// `timeouts.response`, in milliseconds.
    pub(super) response_timeout: Option<u64>,
    pub(super) drop_unsupported: bool,
    pub(super) notes: Notes,
}

impl Draft {
    /// A name that no account has yet, made of `wish`.
    pub(super) fn free_name(&self, wish: &str) -> String {
        let is_free = |name: &str| self.accounts.iter().all(|account| account.name != name);
        let wish = one_line(wish.trim());
        if is_free(&wish) {
            return wish;
        }
        let mut number = 2_usize;
        loop {
            let name = format!("{wish}-{number}");
            if is_free(&name) {
                return name;
            }
            number += 1;
        }
    }

    /// Every secret that the source itself holds, once.
    pub(super) fn literals(&self) -> Vec<(&str, &SecretString)> {
        let accounts = self.accounts.iter().flat_map(|account| &account.api_keys);
        let keys = self.keys.iter().map(|key| &key.secret);
        let redis = self.redis.iter().filter_map(|redis| match redis {
            Redis::Secret(secret) => Some(secret),
            Redis::Open(_) => None,
        });
        let mut literals: Vec<(&str, &SecretString)> = Vec::new();
        for secret in accounts.chain(keys).chain(redis) {
            if let Secret::Literal { name, value } = secret
                && literals.iter().all(|(known, _)| known != name)
            {
                literals.push((name, value));
            }
        }
        literals
    }

    /// Puts exact names before prefixes and long prefixes before short ones: the first route that
    /// fits counts.
    pub(super) fn sort_routes(&mut self) {
        self.routes.sort_by_key(|route| {
            let prefix = route.model.strip_suffix('*').map(str::len);
            prefix.map_or((0, 0), |length| (1, usize::MAX - length))
        });
    }
}

/// A place of the service as the configuration names it: the roots of its protocols are left off,
/// so that one account is recognised under each of them.
pub(super) fn service_root(url: &str) -> Option<String> {
    let endpoint = Endpoint::from_base_url(url).ok()?;
    endpoint.root(Dialect::Native)?;
    let root = endpoint.root(Dialect::OpenAi)?;
    let root = root.strip_suffix(Dialect::OpenAi.root_path())?;
    Some(root.to_owned())
}

/// Whether a URL leads to one of the service's own hosts.
pub(super) fn is_service(url: &str) -> bool {
    Endpoint::from_base_url(url).is_ok_and(|endpoint| endpoint.is_official())
}

/// Whether the gateway would take this account, in the gateway's own words.
pub(super) fn check(account: &Account) -> Result<(), String> {
    let mut draft = Draft {
        accounts: vec![account.clone()],
        ..Draft::default()
    };
    draft.keys.push(placeholder_key());
    parses(&render::toml(&draft, "", render::Secrets::Referenced))
}

/// Whether the gateway takes this configuration once its variables are set.
pub(super) fn parses(text: &str) -> Result<(), String> {
    // A value that serves as key and as address, for what the text asks for: other variables have a
    // meaning of their own.
    let named = |name: &str| {
        let is_named = text.contains(&format!("env:{name}\""));
        is_named.then(|| "redis://127.0.0.1:6379".to_owned())
    };
    match Config::parse(text, "the configuration", &named) {
        Ok(_) => Ok(()),
        Err(ConfigError::Invalid(problems)) => {
            let problems: Vec<String> = problems.into_iter().map(|each| each.problem).collect();
            Err(one_line(&problems.join("; ")))
        }
        Err(error) => Err(one_line(&error.to_string())),
    }
}

/// The key of a gateway whose source has none that could be carried over.
pub(super) fn placeholder_key() -> Key {
    Key {
        name: "app".to_owned(),
        secret: Secret::Variable("BAILIAN_API_KEY".to_owned()),
        remark: Some(
            "the source holds no keys of callers; make one, such as with `openssl rand -hex 24`"
                .to_owned(),
        ),
    }
}
