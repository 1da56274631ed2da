//! `[[accounts]]`: where upstream is, and the keys for it.

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use utoipa::ToSchema;

use super::Problem;
use super::pacing::{self, LaneFile, LaneRule};
use super::roots::Roots;
use super::secret::{self, Environment};
use super::text::{KindWord, SecretText};

/// What is behind an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AccountKind {
    /// The model service, which speaks every dialect.
    #[default]
    DashScope,
    /// A server that speaks OpenAI's protocol only, such as vLLM, SGLang or Ollama.
    OpenAi,
}

/// An upstream account: its place and its keys, which share one quota.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AccountConfig {
    /// For routes, logs and records.
    pub name: String,
    /// What is behind it.
    pub kind: AccountKind,
    /// The keys, used in turn.
    pub api_keys: Vec<SecretString>,
    /// Root of the native protocol, such as `https://dashscope.aliyuncs.com/api/v1`.
    pub native_root: String,
    /// Root of the OpenAI-compatible protocol.
    pub openai_root: String,
    /// Root of the Anthropic-compatible protocol.
    pub anthropic_root: String,
    /// Root of the flat rerank call.
    pub rerank_root: String,
    /// Sent as `X-DashScope-WorkSpace`.
    pub workspace: Option<String>,
    /// Where it is, for prices; `None` where nothing is paid.
    pub region: Option<String>,
    /// Further header lines of callers that go upstream, in lower case; a `*` at the end stands
    /// for anything.
    pub forward_headers: Vec<String>,
    /// What the account may use, model by model; the first entry that fits a model counts.
    pub limits: Vec<LaneRule>,
    /// Whether the service is asked what the account may use.
    pub quota_api: bool,
}

/// An upstream account: a place and its keys, which share one quota.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AccountFile {
    /// For routes, logs and records; several accounts need one each. Replicas that share limits must
    /// call an account the same.
    #[schema(default = "default")]
    name: Option<String>,
    /// What is behind it: the model service, or a server that speaks OpenAI's protocol only (vLLM,
    /// SGLang, Ollama), which is reached by routes.
    #[schema(value_type = Option<KindWord>, default = "dashscope")]
    kind: Option<String>,
    /// The keys, used in turn. They share the account's limits. An `openai` account may have none.
    #[serde(default)]
    api_keys: Vec<SecretText>,
    /// Where upstream is, in place of `region`: a host, or a URL that ends in one of the service's own
    /// roots; for `openai` the root, such as `http://127.0.0.1:8000/v1`.
    #[schema(examples("https://dashscope-intl.aliyuncs.com"))]
    base_url: Option<String>,
    /// The service's region, where there is no `base_url`; prices are those of the region.
    #[schema(examples("ap-southeast-1"), extensions(("x-default" = json!("`cn-beijing`"))))]
    region: Option<String>,
    /// The workspace that requests belong to, sent as `X-DashScope-WorkSpace`.
    workspace: Option<String>,
    /// Further header lines of callers that go upstream; `x-mine-*` stands for all that begin so.
    #[serde(default)]
    forward_headers: Vec<String>,
    /// What the account may use, model by model; the first entry that fits a model counts. A model
    /// without an entry has what the service tells, else the published figures: docs/pacing.md.
    #[serde(default)]
    limits: Vec<LaneFile>,
    /// Whether the service is asked what the account may use, at the start and every five minutes;
    /// under another host's name once its first answer shows that it is the service.
    #[schema(extensions(("x-default" = json!("`true`; `false` for `openai`"))))]
    quota_api: Option<bool>,
}

pub(super) fn resolve_accounts(
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
        match secret::resolve(key.expose(), environment).and_then(checked_api_key) {
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
    let limits = pacing::resolve_limits(&account.limits, place, problems);
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
        Err((setting, problem)) => {
            problems.push(Problem::new(format!("{place}.{setting}"), problem));
            None
        }
    }
}

pub(super) fn checked_api_key(key: SecretString) -> Result<SecretString, String> {
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
