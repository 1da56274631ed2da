//! Virtual keys as text, and what of them is kept.
//!
//! A key reads `bl-` + public id + `-` + secret + checksum, for example
//! `bl-k7Qp2mXa-…`. The public id recognises the key in lists and logs. The secret has 43 base62
//! digits, 256 bits of the operating system's random source. The checksum tells a key that was
//! copied badly from a wrong one, and lets scanners find keys that leaked.
//!
//! At rest a key is its public id and HMAC-SHA-256(pepper, SHA-256(key)). The pepper is one secret
//! of the installation that stands outside the database, so that whoever reads the database alone
//! cannot even try short keys that people chose.

mod pepper;

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use thiserror::Error;

pub use self::pepper::{Pepper, PepperError, Verifier};
use crate::id::{RandomError, digits_of, random_digits};

const PREFIX: &str = "bl-";
const PUBLIC_DIGITS: usize = 8;
const SECRET_DIGITS: usize = 43;
const CHECKSUM_DIGITS: usize = 6;
const PUBLIC_END: usize = PREFIX.len() + PUBLIC_DIGITS;
const BODY_LEN: usize = PUBLIC_END + 1 + SECRET_DIGITS;
/// How long the text of a generated key is, in bytes.
const KEY_LEN: usize = BODY_LEN + CHECKSUM_DIGITS;

/// The fewest characters of a key that somebody chose.
pub const MIN_PLAIN_CHARS: usize = 8;
/// The most characters of a key; longer texts open nothing.
pub const MAX_KEY_CHARS: usize = 512;

/// The part of a key that everybody may see, such as `bl-k7Qp2mXa`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicId([u8; PUBLIC_DIGITS]);

/// The text of a virtual key. Only [`expose_secret`](Self::expose_secret) shows it.
#[derive(Clone)]
pub struct KeyText {
    public_id: PublicId,
    text: SecretString,
}

/// The text is no key of this form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MalformedKey {
    /// It has another form than `bl-` keys.
    #[error("is not a key of the form bl-…; copy it again")]
    Form,
    /// Some character is wrong.
    #[error("is a bl- key with a wrong or missing character; copy it again")]
    Checksum,
}

/// Why a text cannot be a key that somebody chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidPlainKey {
    /// It could be guessed.
    #[error("a key has at least {MIN_PLAIN_CHARS} characters")]
    Short,
    /// It would not be read.
    #[error("a key has at most {MAX_KEY_CHARS} characters")]
    Long,
    /// It would not pass through a header.
    #[error("a key has printable ASCII characters without spaces only")]
    Characters,
}

// === impl PublicId ===

impl PublicId {
    /// The id in a key's text, whatever else the text holds. Says nothing about whether it is right.
    pub(crate) fn in_text(key: &[u8]) -> Option<Self> {
        let digits = key.strip_prefix(PREFIX.as_bytes())?.get(..PUBLIC_DIGITS)?;
        let digits: [u8; PUBLIC_DIGITS] = digits.try_into().ok()?;
        digits
            .iter()
            .all(u8::is_ascii_alphanumeric)
            .then_some(Self(digits))
    }

    /// Reads what [`Display`](fmt::Display) writes, such as `bl-k7Qp2mXa`.
    pub fn parse(text: &str) -> Option<Self> {
        Self::in_text(text.as_bytes()).filter(|_| text.len() == PUBLIC_END)
    }
}

impl fmt::Display for PublicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{PREFIX}{}",
            std::str::from_utf8(&self.0).unwrap_or_default()
        )
    }
}

impl fmt::Debug for PublicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for PublicId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

// === impl KeyText ===

impl KeyText {
    /// A new key of the operating system's random source.
    ///
    /// # Errors
    /// [`RandomError`] when the system has no random bytes.
    pub fn generate() -> Result<Self, RandomError> {
        let public_id = PublicId(random_digits()?);
        let secret: [u8; SECRET_DIGITS] = random_digits()?;
        let mut text = String::with_capacity(KEY_LEN);
        text.push_str(PREFIX);
        text.extend(public_id.0.map(char::from));
        text.push('-');
        text.extend(secret.map(char::from));
        let checksum = checksum(text.as_bytes());
        text.extend(checksum.map(char::from));
        Ok(Self {
            public_id,
            text: text.into(),
        })
    }

    /// Checks the form and the checksum of a text, to tell somebody that it was copied badly.
    ///
    /// Not for deciding whether a caller may enter: that takes the same time for every text.
    ///
    /// # Errors
    /// [`MalformedKey`] when the text is no `bl-` key.
    pub fn parse(text: &str) -> Result<Self, MalformedKey> {
        let bytes = text.as_bytes();
        let public_id = PublicId::in_text(bytes).ok_or(MalformedKey::Form)?;
        if bytes.len() != KEY_LEN {
            return Err(MalformedKey::Checksum);
        }
        let (body, sum) = bytes.split_at(BODY_LEN);
        if !bool::from(checksum(body).ct_eq(sum)) {
            return Err(MalformedKey::Checksum);
        }
        Ok(Self {
            public_id,
            text: text.into(),
        })
    }

    /// The part that everybody may see.
    pub fn public_id(&self) -> PublicId {
        self.public_id
    }
}

impl ExposeSecret<str> for KeyText {
    /// The whole key, to be shown once to whom it belongs.
    fn expose_secret(&self) -> &str {
        self.text.expose_secret()
    }
}

impl fmt::Debug for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyText({}-…)", self.public_id)
    }
}

fn checksum(body: &[u8]) -> [u8; CHECKSUM_DIGITS] {
    let digest = Sha256::digest(body);
    let mut head = [0; 8];
    head.copy_from_slice(&digest[..8]);
    digits_of(u64::from_be_bytes(head))
}

/// Checks a key that somebody chose, as configurations and `BAILIAN_API_KEY` may hold.
///
/// # Errors
/// [`InvalidPlainKey`] says what is wrong, without the key.
pub fn check_plain(key: &SecretString) -> Result<(), InvalidPlainKey> {
    let key = key.expose_secret();
    if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        Err(InvalidPlainKey::Characters)
    } else if key.len() < MIN_PLAIN_CHARS {
        Err(InvalidPlainKey::Short)
    } else if key.len() > MAX_KEY_CHARS {
        Err(InvalidPlainKey::Long)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_key_has_its_form_and_no_two_are_alike() {
        let key = KeyText::generate().unwrap();
        let text = key.expose_secret();
        assert_eq!(text.len(), KEY_LEN);
        assert!(text.starts_with(&format!("{}-", key.public_id())));
        assert!(check_plain(&text.into()).is_ok());
        assert_eq!(KeyText::parse(text).unwrap().public_id(), key.public_id());
        let other = KeyText::generate().unwrap();
        assert_ne!(text, other.expose_secret());
        assert_ne!(key.public_id(), other.public_id());
    }

    #[test]
    fn every_wrong_character_is_noticed() {
        let key = KeyText::generate().unwrap();
        let text = key.expose_secret();
        for place in 3..KEY_LEN {
            let mut wrong = text.as_bytes().to_vec();
            wrong[place] = if wrong[place] == b'a' { b'b' } else { b'a' };
            let wrong = String::from_utf8(wrong).unwrap();
            assert!(KeyText::parse(&wrong).is_err(), "place {place}");
        }
        assert!(matches!(
            KeyText::parse(&text[..60]),
            Err(MalformedKey::Checksum)
        ));
        for wrong in ["", "bl-", "sk-1234", "bl-通义千问通义", "bl-a\0"] {
            assert!(matches!(KeyText::parse(wrong), Err(MalformedKey::Form)));
        }
    }

    #[test]
    fn debug_output_shows_the_public_part_only() {
        let key = KeyText::generate().unwrap();
        let shown = format!("{key:?}");
        assert_eq!(shown, format!("KeyText({}-…)", key.public_id()));
        let pepper = Pepper::from_bytes(&[7; 32]);
        assert_eq!(format!("{pepper:?}"), "Pepper { .. }");
        assert_eq!(format!("{:?}", pepper.verifier(b"x")), "Verifier { .. }");
    }

    #[test]
    fn chosen_keys_are_long_enough_and_printable() {
        let check = |text: &str| check_plain(&text.into());
        assert_eq!(check("12345678"), Ok(()));
        assert_eq!(check("1234567"), Err(InvalidPlainKey::Short));
        assert_eq!(check("1234 678"), Err(InvalidPlainKey::Characters));
        assert_eq!(check("通义千问通义千问"), Err(InvalidPlainKey::Characters));
        assert_eq!(check(&"x".repeat(513)), Err(InvalidPlainKey::Long));
    }
}
