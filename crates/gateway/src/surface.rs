//! What each path serves, and where that is upstream.

use bailian_wire::Dialect;

/// A root of an account, under which paths are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Root {
    /// `/compatible-mode/v1`, or a self-hosted server's `/v1`.
    OpenAi,
    /// `/api/v1`.
    Native,
    /// `/apps/anthropic`.
    Anthropic,
    /// `/compatible-api/v1`, where the flat rerank call is.
    Rerank,
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Surface {
    /// A chat, which can be translated into another dialect.
    Chat(Dialect),
    /// A chat on the native path of models that see and hear.
    NativeMultimodal,
    /// An OpenAI response.
    Responses,
    /// Embeddings of texts, OpenAI's or the native ones; many can be asked for at once.
    Embeddings(Dialect),
    /// A call that is passed on as it is.
    Other {
        /// The root that it is under.
        root: Root,
        /// The path below the root.
        path: Box<str>,
        /// What stands for a model where the body names none.
        model: Option<Box<str>>,
    },
}

/// What stands for a model in calls for what an account has stored.
pub(crate) const STORED: &str = "stored-responses";

/// Native chat, below the root.
pub(crate) const NATIVE_TEXT: &str = "/services/aigc/text-generation/generation";
pub(crate) const NATIVE_MULTIMODAL: &str = "/services/aigc/multimodal-generation/generation";

/// Native embeddings of texts, below the root.
pub(crate) const NATIVE_EMBEDDINGS: &str = "/services/embeddings/text-embedding/text-embedding";

impl Surface {
    /// A call that is passed on as it is.
    pub(crate) fn other(root: Root, path: impl Into<Box<str>>) -> Self {
        Self::Other {
            root,
            path: path.into(),
            model: None,
        }
    }

    /// The dialect in which its caller reads errors and names the model.
    pub(crate) fn dialect(&self) -> Dialect {
        match self {
            Self::Chat(dialect) | Self::Embeddings(dialect) => *dialect,
            Self::NativeMultimodal => Dialect::Native,
            Self::Responses => Dialect::OpenAi,
            Self::Other { root, .. } => match root {
                Root::OpenAi => Dialect::OpenAi,
                Root::Anthropic => Dialect::Anthropic,
                // The flat rerank call answers errors in the native shape (compat.md §3.4).
                Root::Native | Root::Rerank => Dialect::Native,
            },
        }
    }

    /// What keys can be allowed, and the ledger calls it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Chat(_) | Self::NativeMultimodal => "chat",
            Self::Responses => "responses",
            Self::Embeddings(_) => "embeddings",
            Self::Other { root, path, model } => match (root, &**path) {
                (Root::Rerank, _) => "rerank",
                (Root::OpenAi, "/completions") => "completions",
                _ if model.as_deref() == Some(STORED) => "stored",
                _ if path.starts_with("/apps/") => "applications",
                _ => "services",
            },
        }
    }

    /// Whether it is about something that the account keeps between calls.
    pub(crate) fn is_stateful(&self) -> bool {
        match self {
            Self::Responses => true,
            Self::Other { path, model, .. } => {
                model.as_deref() == Some(STORED) || path.starts_with("/apps/")
            }
            _ => false,
        }
    }

    /// Whether the stream switch is a header, not a member of the body.
    pub(crate) fn streams_by_header(&self) -> bool {
        matches!(
            self,
            Self::Chat(Dialect::Native)
                | Self::NativeMultimodal
                | Self::Embeddings(Dialect::Native)
                | Self::Other {
                    root: Root::Native,
                    ..
                }
        )
    }

    /// Where the call is upstream when it is passed on as it is.
    pub(crate) fn place(&self) -> (Root, &str) {
        match self {
            Self::Chat(dialect) => place_of_chat(*dialect),
            Self::NativeMultimodal => (Root::Native, NATIVE_MULTIMODAL),
            Self::Responses => (Root::OpenAi, "/responses"),
            Self::Embeddings(Dialect::Native) => (Root::Native, NATIVE_EMBEDDINGS),
            Self::Embeddings(_) => (Root::OpenAi, "/embeddings"),
            Self::Other { root, path, .. } => (*root, path),
        }
    }
}

/// Where chat of a dialect is.
pub(crate) fn place_of_chat(dialect: Dialect) -> (Root, &'static str) {
    match dialect {
        Dialect::Native => (Root::Native, NATIVE_TEXT),
        Dialect::OpenAi => (Root::OpenAi, "/chat/completions"),
        Dialect::Anthropic => (Root::Anthropic, "/v1/messages"),
    }
}
