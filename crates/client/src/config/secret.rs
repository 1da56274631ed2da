//! The API key: kept out of `Debug`, logs and errors, and checked for the usual mistakes.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;

/// A DashScope API key.
///
/// `Debug` and `Display` show a mask with the last four characters at most; the key itself leaves
/// only through [`expose`](Self::expose).
#[derive(Clone)]
pub struct ApiKey(SecretString);

/// What kind of key it is, by its prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyKind {
    /// `sk-…`: a normal key of one region.
    Standard,
    /// `st-…`: a temporary key, valid for at most 30 minutes.
    Temporary,
    /// `sk-sp-…`: a key of the Coding Plan or Token Plan; it works on their hosts only.
    Plan,
    /// Anything else, for example the virtual key of a gateway.
    Other,
}

/// Why a text cannot be an API key. Never contains the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyProblem {
    /// Nothing was left after trimming.
    #[error("is empty")]
    Empty,
    /// Quotes were copied along with the key.
    #[error("contains quotation marks")]
    Quoted,
    /// A space, tab or line break stands inside the key.
    #[error("contains whitespace")]
    Whitespace,
    /// A character that no key has, often a dash or space changed by a word processor.
    #[error("contains characters outside printable ASCII")]
    NotAscii,
    /// The header's scheme was copied along with the key.
    #[error("begins with \"Bearer\"")]
    Bearer,
    /// The sample text of a guide.
    #[error("is a placeholder, not a key")]
    Placeholder,
    /// An Alibaba Cloud AccessKey id (`LTAI…`).
    #[error("is an Alibaba Cloud AccessKey id, which Model Studio does not accept")]
    AccessKey,
    /// Neither `sk-…` nor `st-…`, for one of the service's own hosts.
    #[error("does not begin with \"sk-\" or \"st-\", as every key of the service does")]
    UnknownPrefix,
}

// === impl ApiKey ===

impl ApiKey {
    /// Checks the text and wraps it. Surrounding whitespace is dropped, as files end in a newline.
    ///
    /// # Errors
    /// The first [`KeyProblem`] found. A prefix of another kind than the service's own is accepted,
    /// because gateways have keys of their own.
    ///
    /// ```
    /// use bailian::{ApiKey, KeyProblem};
    ///
    /// let key = ApiKey::parse("sk-0123456789abcdef0123456789abcdef").unwrap();
    /// assert_eq!(format!("{key:?}"), "ApiKey(sk-…cdef)");
    /// assert_eq!(ApiKey::parse("sk-your-api-key").unwrap_err(), KeyProblem::Placeholder);
    /// ```
    pub fn parse(text: &str) -> Result<Self, KeyProblem> {
        let text = text.trim();
        if text.is_empty() {
            return Err(KeyProblem::Empty);
        }
        if text.contains(['"', '\'', '`', '“', '”', '‘', '’']) {
            return Err(KeyProblem::Quoted);
        }
        if text.to_ascii_lowercase().starts_with("bearer") {
            return Err(KeyProblem::Bearer);
        }
        if is_placeholder(text) {
            return Err(KeyProblem::Placeholder);
        }
        if text.contains(char::is_whitespace) {
            return Err(KeyProblem::Whitespace);
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(KeyProblem::NotAscii);
        }
        if text.starts_with("LTAI") {
            return Err(KeyProblem::AccessKey);
        }
        Ok(Self(SecretString::from(text)))
    }

    /// The key itself, for the `Authorization` header.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// What kind of key this is.
    pub fn kind(&self) -> KeyKind {
        let text = self.expose();
        if text.starts_with("sk-sp-") {
            KeyKind::Plan
        } else if text.starts_with("sk-") {
            KeyKind::Standard
        } else if text.starts_with("st-") {
            KeyKind::Temporary
        } else {
            KeyKind::Other
        }
    }

    /// The key with all but its prefix and last four characters hidden; short keys are hidden whole.
    pub fn masked(&self) -> String {
        let text = self.expose();
        // A short key would be half given away by four characters.
        if text.len() < 20 {
            return "…".to_owned();
        }
        let prefix = match self.kind() {
            KeyKind::Plan => "sk-sp-",
            KeyKind::Standard => "sk-",
            KeyKind::Temporary => "st-",
            KeyKind::Other => "",
        };
        format!(
            "{prefix}…{}",
            text.get(text.len() - 4..).unwrap_or_default()
        )
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({})", self.masked())
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

// === impl KeyProblem ===

impl KeyProblem {
    /// What to do about it.
    pub fn fix(self) -> &'static str {
        match self {
            Self::Empty | Self::Placeholder => {
                "put a key made in the Model Studio console (API keys page) there"
            }
            Self::Quoted => "remove the quotation marks",
            Self::Whitespace => "copy the key again, as one word without spaces or line breaks",
            Self::NotAscii => "copy the key again from the console, not from a document",
            Self::Bearer => "leave \"Bearer\" out; it is added to the header by itself",
            Self::AccessKey => {
                "make an API key (sk-…) in the Model Studio console; an AccessKey is another thing"
            }
            Self::UnknownPrefix => {
                "copy the whole key from the Model Studio console (API keys page)"
            }
        }
    }
}

fn is_placeholder(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let body = lower
        .strip_prefix("sk-")
        .or_else(|| lower.strip_prefix("st-"))
        .unwrap_or(&lower);
    let body = body.strip_prefix("sp-").unwrap_or(body);
    let filler = |letter: char| matches!(letter, 'x' | '*' | '.' | '…' | '-' | '_');
    body.is_empty()
        || body.chars().all(filler)
        || [
            "<",
            "${",
            "{{",
            "your",
            "api-key",
            "api_key",
            "apikey",
            "placeholder",
            "changeme",
        ]
        .iter()
        .any(|sign| body.contains(sign))
}

/// Whether a value looks like a key of the service, wherever it stands.
pub(crate) fn is_like_a_key(value: &str) -> bool {
    let value = value.trim();
    value.starts_with("sk-") || value.starts_with("st-") || value.starts_with("LTAI")
}

/// Shows a rejected value, unless it might be a key that was put into the wrong place.
pub(crate) fn shown(value: &str) -> String {
    const LONGEST: usize = 60;
    let lower = value.to_ascii_lowercase();
    let long_word = value
        .split(|letter: char| !letter.is_ascii_alphanumeric())
        .any(|word| {
            word.len() >= 24 || (word.len() >= 16 && word.bytes().any(|b| b.is_ascii_digit()))
        });
    let secret = long_word
        || ["sk-", "st-", "ltai", "bearer", "@"]
            .iter()
            .any(|sign| lower.contains(sign));
    if secret {
        "(not shown: it may be a secret)".to_owned()
    } else if value.chars().count() > LONGEST {
        let head: String = value.chars().take(LONGEST).collect();
        format!("{head:?}…")
    } else {
        format!("{value:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_usual_mistake_with_a_key_is_named() {
        for (text, problem) in [
            ("  \n", KeyProblem::Empty),
            ("\"sk-0123456789abcdef\"", KeyProblem::Quoted),
            ("Bearer sk-0123456789abcdef", KeyProblem::Bearer),
            ("sk-xxxxxxxx", KeyProblem::Placeholder),
            ("sk-***", KeyProblem::Placeholder),
            ("sk-", KeyProblem::Placeholder),
            ("<your key>", KeyProblem::Placeholder),
            ("${DASHSCOPE_API_KEY}", KeyProblem::Placeholder),
            ("YOUR_API_KEY", KeyProblem::Placeholder),
            ("sk-0123 4567", KeyProblem::Whitespace),
            ("sk-0123–4567", KeyProblem::NotAscii),
            ("LTAI5tExample1234", KeyProblem::AccessKey),
        ] {
            assert_eq!(ApiKey::parse(text).err(), Some(problem), "{text}");
        }
    }

    #[test]
    fn a_trailing_newline_is_dropped_and_the_kind_is_known() {
        let kind = |text| ApiKey::parse(text).unwrap().kind();
        assert_eq!(ApiKey::parse("sk-abc123\n").unwrap().expose(), "sk-abc123");
        assert_eq!(kind("sk-abc123"), KeyKind::Standard);
        assert_eq!(kind("st-abc123"), KeyKind::Temporary);
        assert_eq!(kind("sk-sp-abc123"), KeyKind::Plan);
        assert_eq!(kind("local-key-1"), KeyKind::Other);
    }

    #[test]
    fn short_keys_are_masked_whole() {
        assert_eq!(ApiKey::parse("sk-1234").unwrap().masked(), "…");
    }

    #[test]
    fn values_that_may_be_secrets_are_not_shown() {
        for value in [
            "sk-1",
            "https://u:p@host",
            "0123456789abcdef0123456789",
            "abcdefgh12345678",
        ] {
            assert!(shown(value).starts_with("(not shown"), "{value}");
        }
        assert_eq!(shown("mars-1"), "\"mars-1\"");
    }
}
