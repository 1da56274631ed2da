//! Text and currencies of a record, bounded by their types.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A bounded piece of text: a name, a code, an id.
///
/// Longer text is cut at a character's end, so that no caller and no upstream can make a record
/// large. NUL, which PostgreSQL cannot hold, becomes U+FFFD.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String")]
pub struct Text<'a>(Cow<'a, str>);

impl Text<'_> {
    /// The most bytes that are kept.
    pub const MOST_BYTES: usize = 256;

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same text, independent of where it came from.
    pub fn into_owned(self) -> Text<'static> {
        Text(Cow::Owned(self.0.into_owned()))
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        let text = &text[..text.floor_char_boundary(Self::MOST_BYTES)];
        if memchr::memchr(0, text.as_bytes()).is_some() {
            // A replacement is longer than what it replaces.
            let replaced = text.replace('\0', "\u{fffd}");
            let end = replaced.floor_char_boundary(Self::MOST_BYTES);
            return Self(Cow::Owned(replaced[..end].to_owned()));
        }
        Self(Cow::Borrowed(text))
    }
}

impl From<String> for Text<'static> {
    fn from(text: String) -> Self {
        if text.len() > Self::MOST_BYTES || text.contains('\0') {
            return Text::from(text.as_str()).into_owned();
        }
        Self(Cow::Owned(text))
    }
}

impl AsRef<str> for Text<'_> {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for Text<'_> {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl PartialEq<&str> for Text<'_> {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A currency by its ISO 4217 code.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency([u8; 3]);

impl Currency {
    /// The yuan, in which the service's mainland sites bill.
    pub const CNY: Self = Self(*b"CNY");
    /// The US dollar, in which its international site bills.
    pub const USD: Self = Self(*b"USD");
    /// No currency: what a cost without one is summed up under.
    pub const NONE: Self = Self(*b"XXX");

    /// Reads a code of three capital letters; `None` when it is none.
    pub fn from_code(code: &str) -> Option<Self> {
        let bytes: [u8; 3] = code.as_bytes().try_into().ok()?;
        bytes
            .iter()
            .all(u8::is_ascii_uppercase)
            .then_some(Self(bytes))
    }

    /// The code, such as `CNY`.
    pub fn as_str(&self) -> &str {
        // Capital letters are UTF-8, so the fallback is never taken.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl TryFrom<String> for Currency {
    type Error = &'static str;

    fn try_from(code: String) -> Result<Self, Self::Error> {
        Self::from_code(&code).ok_or("a currency is three capital letters")
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.as_str().to_owned()
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_cut_at_the_end_of_a_character() {
        let long = "通义千问".repeat(100);
        let text = Text::from(long.as_str());
        assert_eq!(text.as_str().len(), 255);
        assert_eq!(Text::from(long.clone()), text);
        assert!(long.starts_with(text.as_str()));
    }

    #[test]
    fn nul_is_replaced_and_the_bound_still_holds() {
        assert_eq!(Text::from("a\0b"), "a\u{fffd}b");
        let text = Text::from("\0".repeat(300));
        assert!(text.as_str().len() <= Text::MOST_BYTES);
        assert!(!text.as_str().contains('\0'));
    }

    #[test]
    fn a_currency_is_three_capital_letters() {
        assert_eq!(Currency::from_code("CNY"), Some(Currency::CNY));
        for wrong in ["cny", "CN", "CNYY", "人"] {
            assert_eq!(Currency::from_code(wrong), None, "{wrong}");
        }
    }
}
