//! Upstream accounts as the relay uses them: addresses and keys made ready once.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use bailian_wire::Dialect;
use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{HeaderMap, Uri};
use memchr::memmem;
use secrecy::ExposeSecret;

use crate::config::{AccountConfig, AccountKind};
use crate::surface::{Root, place_of_chat};
use crate::upstream::{Origin, OriginError};

const WORKSPACE: HeaderName = HeaderName::from_static("x-dashscope-workspace");

/// An upstream credential set whose keys share one quota.
pub(crate) struct Account {
    name: String,
    kind: AccountKind,
    native: Endpoint,
    openai: Endpoint,
    anthropic: Endpoint,
    rerank: Endpoint,
    authorization: Vec<HeaderValue>,
    /// Looks for its keys in texts.
    keys: Vec<memmem::Finder<'static>>,
    next_key: AtomicUsize,
    workspace: Option<HeaderValue>,
    /// Where it is, for prices; `None` where nothing is paid.
    pub(crate) region: Option<String>,
    forward_headers: Vec<String>,
    /// Whether the service is asked for the account's limits.
    pub(crate) quota_api: bool,
}

/// One root of the account.
pub(crate) struct Endpoint {
    pub(crate) origin: Origin,
    /// The root's path, without a slash at the end.
    root: String,
    /// The path of chat, which is asked for most.
    chat: &'static str,
    chat_target: PathAndQuery,
}

/// What stands in the place of a key.
const HIDDEN: &[u8] = b"(key hidden)";

/// Shorter ones, such as a server of one's own takes, are words that texts have anyway. In bytes.
const SHORTEST_HIDDEN_KEY: usize = 12;

/// An account that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccountError {
    /// The base URL is no address.
    #[error("account {account}: {source}")]
    Origin {
        /// The account's name.
        account: String,
        /// Why not.
        source: OriginError,
    },
    /// The base URL's path cannot be sent.
    #[error("account {account}: the path of the base URL holds characters that a path cannot")]
    Path {
        /// The account's name.
        account: String,
    },
    /// A key or the workspace cannot stand in a header.
    #[error("account {account}: {what} holds characters that a header cannot")]
    Header {
        /// The account's name.
        account: String,
        /// Which value; never the value itself.
        what: &'static str,
    },
    /// There is no key.
    #[error("account {account} has no API key")]
    NoKey {
        /// The account's name.
        account: String,
    },
}

impl Account {
    pub(crate) fn new(config: &AccountConfig) -> Result<Self, AccountError> {
        let account = || config.name.clone();
        let endpoint = |root: &str, dialect: Dialect| {
            Endpoint::new(root, dialect).map_err(|error| match error {
                EndpointError::Origin(source) => AccountError::Origin {
                    account: account(),
                    source,
                },
                EndpointError::Path => AccountError::Path { account: account() },
            })
        };
        let authorization = config
            .api_keys
            .iter()
            .map(|key| {
                let mut value = HeaderValue::try_from(format!("Bearer {}", key.expose_secret()))
                    .map_err(|_| AccountError::Header {
                        account: account(),
                        what: "an API key",
                    })?;
                value.set_sensitive(true);
                Ok(value)
            })
            .collect::<Result<Vec<_>, AccountError>>()?;
        if authorization.is_empty() && config.kind == AccountKind::DashScope {
            return Err(AccountError::NoKey { account: account() });
        }
        let keys = config.api_keys.iter().map(ExposeSecret::expose_secret);
        let keys = keys.filter(|key| key.len() >= SHORTEST_HIDDEN_KEY);
        let keys = keys.map(|key| memmem::Finder::new(key).into_owned());
        let workspace = config
            .workspace
            .as_deref()
            .map(HeaderValue::try_from)
            .transpose();
        let workspace = workspace.map_err(|_| AccountError::Header {
            account: account(),
            what: "the workspace",
        })?;
        Ok(Self {
            name: account(),
            kind: config.kind,
            native: endpoint(&config.native_root, Dialect::Native)?,
            openai: endpoint(&config.openai_root, Dialect::OpenAi)?,
            anthropic: endpoint(&config.anthropic_root, Dialect::Anthropic)?,
            rerank: endpoint(&config.rerank_root, Dialect::OpenAi)?,
            authorization,
            keys: keys.collect(),
            next_key: AtomicUsize::new(0),
            workspace,
            region: config.region.clone(),
            forward_headers: config.forward_headers.clone(),
            quota_api: config.quota_api,
        })
    }

    /// One of its roots.
    pub(crate) fn endpoint(&self, root: Root) -> &Endpoint {
        match root {
            Root::Native => &self.native,
            Root::OpenAi => &self.openai,
            Root::Anthropic => &self.anthropic,
            Root::Rerank => &self.rerank,
        }
    }

    /// Whether it understands chat in `dialect`.
    pub(crate) fn speaks(&self, dialect: Dialect) -> bool {
        self.is_service() || dialect == Dialect::OpenAi
    }

    /// Whether the model service, or what stands for it, is behind it.
    pub(crate) fn is_service(&self) -> bool {
        self.kind == AccountKind::DashScope
    }

    /// The account's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Names the workspace, if there is one.
    pub(crate) fn add_workspace(&self, headers: &mut HeaderMap) {
        if let Some(workspace) = &self.workspace {
            headers.insert(WORKSPACE, workspace.clone());
        }
    }

    /// The next key, in turn.
    pub(crate) fn authorization(&self) -> Option<HeaderValue> {
        let count = self.authorization.len();
        if count == 0 {
            return None;
        }
        let turn = self.next_key.fetch_add(1, Ordering::Relaxed);
        self.authorization.get(turn % count).cloned()
    }

    /// An error's text without the account's keys: an upstream may quote the one that it refuses.
    pub(crate) fn without_keys(&self, text: Bytes) -> Bytes {
        let mut text = text;
        for key in &self.keys {
            let mut shown = Vec::new();
            let mut from = 0;
            for at in key.find_iter(&text) {
                shown.extend_from_slice(&text[from..at]);
                shown.extend_from_slice(HIDDEN);
                from = at + key.needle().len();
            }
            if from > 0 {
                shown.extend_from_slice(&text[from..]);
                text = shown.into();
            }
        }
        text
    }

    /// Whether the operator wants this header of a caller to go upstream.
    pub(crate) fn forwards(&self, name: &HeaderName) -> bool {
        self.forward_headers
            .iter()
            .any(|pattern| match pattern.strip_suffix('*') {
                Some(prefix) => name.as_str().starts_with(prefix),
                None => name.as_str() == pattern,
            })
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("native", &self.native.origin)
            .field("openai", &self.openai.origin)
            .field("keys", &self.authorization.len())
            .finish_non_exhaustive()
    }
}

enum EndpointError {
    Origin(OriginError),
    Path,
}

impl Endpoint {
    fn new(root: &str, dialect: Dialect) -> Result<Self, EndpointError> {
        let origin = Origin::parse(root).map_err(EndpointError::Origin)?;
        let root: Uri = root.parse().map_err(|_| EndpointError::Path)?;
        let root = root.path().trim_end_matches('/').to_owned();
        let (_, chat) = place_of_chat(dialect);
        let chat_target =
            PathAndQuery::try_from(format!("{root}{chat}")).map_err(|_| EndpointError::Path)?;
        Ok(Self {
            origin,
            root,
            chat,
            chat_target,
        })
    }

    /// A target below the root, with a query. `None` when they hold what a target cannot.
    pub(crate) fn below(&self, path: &str, query: Option<&str>) -> Option<Uri> {
        let target = match query {
            None if path == self.chat => return Some(Uri::from(self.chat_target.clone())),
            None => format!("{}{path}", self.root),
            Some(query) => format!("{}{path}?{query}", self.root),
        };
        PathAndQuery::try_from(target).ok().map(Uri::from)
    }
}
