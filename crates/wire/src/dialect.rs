//! The protocols that clients and upstreams speak.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A protocol that a client or an upstream speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// DashScope's own, under `/api/v1` (http-native.md).
    #[default]
    Native,
    /// OpenAI chat completions, under `/compatible-mode/v1` (compat.md §2).
    OpenAi,
    /// Anthropic messages, under `/apps/anthropic` (compat.md §6).
    Anthropic,
}

impl Dialect {
    /// Every dialect.
    pub const ALL: [Self; 3] = [Self::Native, Self::OpenAi, Self::Anthropic];

    /// The name used in configuration, records and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
        }
    }

    /// The path under a host where the dialect's root is.
    pub fn root_path(self) -> &'static str {
        match self {
            Self::Native => "/api/v1",
            Self::OpenAi => "/compatible-mode/v1",
            Self::Anthropic => "/apps/anthropic",
        }
    }

    /// The path under the root that chat requests of text models are posted to.
    pub fn chat_path(self) -> &'static str {
        match self {
            Self::Native => "/services/aigc/text-generation/generation",
            Self::OpenAi => "/chat/completions",
            Self::Anthropic => "/v1/messages",
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that no dialect has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a protocol; write native, openai or anthropic")]
pub struct UnknownDialect(String);

impl FromStr for Dialect {
    type Err = UnknownDialect;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|dialect| dialect.as_str().eq_ignore_ascii_case(name))
            .ok_or_else(|| UnknownDialect(name.chars().take(40).collect()))
    }
}
