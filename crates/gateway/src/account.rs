//! The upstream account as the relay uses it: addresses and keys made ready once.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use bailian_wire::Dialect;
use http::header::{HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{HeaderMap, Uri};
use secrecy::ExposeSecret;

use crate::config::AccountConfig;
use crate::upstream::{Origin, OriginError};

const WORKSPACE: HeaderName = HeaderName::from_static("x-dashscope-workspace");

/// An upstream credential set whose keys share one quota.
pub(crate) struct Account {
    name: String,
    native: Endpoint,
    openai: Endpoint,
    authorization: Vec<HeaderValue>,
    next_key: AtomicUsize,
    workspace: Option<HeaderValue>,
    forward_headers: Vec<String>,
}

/// One address of the account.
pub(crate) struct Endpoint {
    pub(crate) origin: Origin,
    /// The root's path, without a slash at the end.
    root: String,
    path: PathAndQuery,
}

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
        if authorization.is_empty() {
            return Err(AccountError::NoKey { account: account() });
        }
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
            native: endpoint(&config.native_root, Dialect::Native)?,
            openai: endpoint(&config.openai_root, Dialect::OpenAi)?,
            authorization,
            next_key: AtomicUsize::new(0),
            workspace,
            forward_headers: config.forward_headers.clone(),
        })
    }

    /// Where chat requests of `dialect` go.
    pub(crate) fn chat_endpoint(&self, dialect: Dialect) -> &Endpoint {
        match dialect {
            Dialect::Native => &self.native,
            _ => &self.openai,
        }
    }

    /// The service's own protocol, for calls that are no chat.
    pub(crate) fn native_endpoint(&self) -> &Endpoint {
        &self.native
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
        let turn = self.next_key.fetch_add(1, Ordering::Relaxed);
        self.authorization
            .get(turn % self.authorization.len())
            .cloned()
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
        let path = match dialect {
            Dialect::Native => "/services/aigc/text-generation/generation",
            _ => "/chat/completions",
        };
        let root = root.path().trim_end_matches('/').to_owned();
        let path = format!("{root}{path}");
        let path = PathAndQuery::try_from(path).map_err(|_| EndpointError::Path)?;
        Ok(Self { origin, root, path })
    }

    /// Another target below the same root.
    pub(crate) fn below(&self, path: &str, query: &str) -> Option<Uri> {
        let target = format!("{}{path}?{query}", self.root);
        PathAndQuery::try_from(target).ok().map(Uri::from)
    }

    /// The request target, with the caller's query.
    pub(crate) fn target(&self, query: Option<&str>) -> Uri {
        let Some(query) = query else {
            return Uri::from(self.path.clone());
        };
        PathAndQuery::try_from(format!("{}?{query}", self.path.path()))
            .map_or_else(|_| Uri::from(self.path.clone()), Uri::from)
    }
}
