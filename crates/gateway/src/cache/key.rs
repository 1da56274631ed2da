//! What makes two requests equal.

use std::fmt;

use http::HeaderMap;
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use sha2::{Digest as _, Sha256};

use crate::account::Account;
use crate::surface::{Root, Surface};

/// The longest body that is looked at, in bytes: an equal request with more than a few inline
/// images is unlikely to come again.
const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;

/// The service's own header lines of a request that change its answer. Those that an account
/// forwards are among them, too, since nobody knows what they do.
const CHANGING: [&str; 8] = [
    "anthropic-beta",
    "anthropic-version",
    "x-dashscope-cachecontrol",
    "x-dashscope-datainspection",
    "x-dashscope-encryptionkey",
    "x-dashscope-ossresourceresolve",
    "x-dashscope-plugin",
    "x-dashscope-session-cache",
];

/// A digest of all that an answer depends on. Nothing of the request can be read from it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key([u8; 32]);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

/// A request, as far as its answer depends on it.
pub(crate) struct Asked<'a> {
    /// Whose it is; `None` where tenants get each other's answers.
    pub(crate) tenant: Option<&'a str>,
    pub(crate) surface: &'a Surface,
    /// A stream and a plain answer to the same question are two things.
    pub(crate) stream: bool,
    pub(crate) query: Option<&'a str>,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) accounts: &'a [Account],
    pub(crate) body: &'a [u8],
}

/// Members at the top of a body that cannot change the answer. Whether it streams is said
/// otherwise.
fn left_out(surface: &Surface) -> &'static [&'static str] {
    const OPENAI: &[&str] = &[
        "metadata",
        "prompt_cache_key",
        "safety_identifier",
        "store",
        "stream",
        "user",
    ];
    match surface {
        Surface::Chat(bailian_wire::Dialect::OpenAi)
        | Surface::Embeddings(_)
        | Surface::Other {
            root: Root::OpenAi, ..
        } => OPENAI,
        Surface::Chat(bailian_wire::Dialect::Anthropic) => &["metadata", "stream"],
        _ => &[],
    }
}

impl Key {
    /// `None` for a request that cannot be compared: too long, nested too deeply, or with a member
    /// that stands twice, since readers disagree on which of the two counts.
    pub(crate) fn of(scope: &[u8; 32], asked: &Asked<'_>) -> Option<Self> {
        if asked.body.len() > MAX_BODY_BYTES {
            return None;
        }
        let mut hasher = Sha256::new();
        hasher.update(scope);
        text(&mut hasher, asked.tenant.unwrap_or_default());
        let (root, path) = asked.surface.place();
        let root = match root {
            Root::OpenAi => "openai",
            Root::Native => "native",
            Root::Anthropic => "anthropic",
            Root::Rerank => "rerank",
        };
        text(&mut hasher, root);
        text(&mut hasher, path);
        hasher.update([
            u8::from(asked.tenant.is_some()),
            u8::from(asked.stream),
            u8::from(asked.query.is_some()),
        ]);
        text(&mut hasher, asked.query.unwrap_or_default());
        let mut lines: Vec<(&str, &[u8])> = asked
            .headers
            .iter()
            .filter(|(name, _)| {
                CHANGING.contains(&name.as_str())
                    || asked.accounts.iter().any(|account| account.forwards(name))
            })
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect();
        // Stable, so that lines of the same name keep their order.
        lines.sort_by_key(|(name, _)| *name);
        hasher.update((lines.len() as u64).to_le_bytes());
        for (name, value) in lines {
            text(&mut hasher, name);
            bytes(&mut hasher, value);
        }
        let canonical = Canonical {
            hasher: &mut hasher,
            left_out: left_out(asked.surface),
        };
        let mut json = serde_json::Deserializer::from_slice(asked.body);
        canonical.deserialize(&mut json).ok()?;
        json.end().ok()?;
        Some(Self(hasher.finalize().into()))
    }

    pub(crate) fn to_hex(self) -> String {
        use fmt::Write as _;
        self.0
            .iter()
            .fold(String::with_capacity(64), |mut hex, byte| {
                let _infallible = write!(hex, "{byte:02x}");
                hex
            })
    }

    #[cfg(test)]
    pub(crate) fn numbered(number: u8) -> Self {
        Self([number; 32])
    }
}

fn bytes(hasher: &mut Sha256, value: &[u8]) {
    hasher.update((value.len() as u64).to_le_bytes());
    hasher.update(value);
}

fn text(hasher: &mut Sha256, value: &str) {
    bytes(hasher, value.as_bytes());
}

/// Feeds a JSON value to a hasher: the same bytes for the same value, whatever the order of members,
/// the blanks and the escapes. No byte of the value is read twice; members are sorted by the digests
/// of their values.
struct Canonical<'a> {
    hasher: &'a mut Sha256,
    left_out: &'static [&'static str],
}

impl<'de> DeserializeSeed<'de> for Canonical<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Canonical<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.hasher.update(b"n");
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.hasher.update(if value { b"t" } else { b"f" });
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.hasher.update(b"u");
        self.hasher.update(value.to_le_bytes());
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.hasher.update(b"i");
        self.hasher.update(value.to_le_bytes());
        Ok(())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        // Beyond this, different integers become the same number here, and not for every reader.
        const EXACT: f64 = (1u64 << 53) as f64;
        if value.abs() > EXACT {
            return Err(E::custom("a number that cannot be compared"));
        }
        self.hasher.update(b"d");
        self.hasher.update(value.to_bits().to_le_bytes());
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.hasher.update(b"s");
        text(self.hasher, value);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        self.hasher.update(b"[");
        loop {
            let element = Canonical {
                hasher: &mut *self.hasher,
                left_out: &[],
            };
            if elements.next_element_seed(element)?.is_none() {
                break;
            }
        }
        self.hasher.update(b"]");
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut members: Vec<(String, [u8; 32])> = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if self.left_out.contains(&name.as_str()) {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let mut hasher = Sha256::new();
            map.next_value_seed(Canonical {
                hasher: &mut hasher,
                left_out: &[],
            })?;
            members.push((name, hasher.finalize().into()));
        }
        members.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        if members.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(A::Error::custom("a member stands twice"));
        }
        self.hasher.update(b"{");
        self.hasher.update((members.len() as u64).to_le_bytes());
        for (name, digest) in members {
            text(self.hasher, &name);
            self.hasher.update(digest);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bailian_wire::Dialect;

    use super::*;

    fn key_of(surface: &Surface, stream: bool, body: &str) -> Option<Key> {
        let asked = Asked {
            tenant: Some("a"),
            surface,
            stream,
            query: None,
            headers: &HeaderMap::new(),
            accounts: &[],
            body: body.as_bytes(),
        };
        Key::of(&[0; 32], &asked)
    }

    fn key(body: &str) -> Option<Key> {
        key_of(&Surface::Chat(Dialect::OpenAi), false, body)
    }

    #[test]
    fn order_blanks_and_escapes_make_no_difference() {
        let one = key(r#"{"model":"m","messages":[{"role":"user","content":"你好 \/"}],"n":1}"#);
        let other = key(
            "{ \"n\": 1, \"messages\":\n[ { \"content\": \"\\u4f60好 /\", \"role\" : \"user\" } ], \"model\": \"m\" }",
        );
        assert!(one.is_some());
        assert_eq!(one, other);
    }

    #[test]
    fn what_may_change_the_answer_makes_a_difference() {
        let bodies = [
            r#"{"a":1}"#,
            r#"{"a":2}"#,
            r#"{"a":"1"}"#,
            r#"{"a":-1}"#,
            r#"{"a":1.0}"#,
            r#"{"a":1.5}"#,
            r#"{"a":null}"#,
            r#"{"a":true}"#,
            r#"{"a":false}"#,
            r#"{"a":[1]}"#,
            r#"{"a":[[1]]}"#,
            r#"{"a":[1,1]}"#,
            r#"{"a":[]}"#,
            r#"{"a":{}}"#,
            r#"{"a":{"a":1}}"#,
            r#"{"a":{"b":{"c":1}}}"#,
            r#"{"a":{"b":{}},"c":1}"#,
            r#"{"b":1}"#,
            r#"{"a":1,"b":1}"#,
            "{}",
            r#"{"a":["x","y"]}"#,
            r#"{"a":["xy"]}"#,
            r#"{"a":["y","x"]}"#,
        ];
        let keys: std::collections::HashSet<Key> =
            bodies.iter().map(|body| key(body).unwrap()).collect();
        assert_eq!(keys.len(), bodies.len());
    }

    #[test]
    fn what_cannot_change_the_answer_is_left_out_at_the_top_only() {
        let plain = key(r#"{"model":"m"}"#);
        let marked = r#"{"model":"m","user":"u","metadata":{"k":"v"},"stream":false,"store":true}"#;
        assert_eq!(key(marked), plain);
        assert_ne!(
            key(r#"{"model":"m","x":{"user":"u"}}"#),
            key(r#"{"model":"m","x":{}}"#)
        );
        let native = |body| key_of(&Surface::Chat(Dialect::Native), false, body);
        assert_ne!(
            native(r#"{"model":"m","user":"u"}"#),
            native(r#"{"model":"m"}"#)
        );
    }

    #[test]
    fn bodies_that_readers_may_understand_differently_have_no_key() {
        for body in [
            r#"{"temperature":0,"temperature":1}"#,
            r#"{"x":[{"a":1,"\u0061":1}]}"#,
            r#"{"seed":18446744073709551617}"#,
            r#"{"seed":1e300}"#,
            r#"{"a":1} {"#,
            "no json",
            r#"{"a":"\ud800"}"#,
        ] {
            assert_eq!(key(body), None, "{body}");
        }
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
        assert_eq!(key(&deep), None);
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_BODY_BYTES));
        assert_eq!(key(&long), None);
    }

    #[test]
    fn tenant_scope_surface_query_headers_and_form_make_a_difference() {
        let chat = Surface::Chat(Dialect::OpenAi);
        let native = Surface::Chat(Dialect::Native);
        let beta = HeaderMap::from_iter([(
            http::HeaderName::from_static("anthropic-beta"),
            http::HeaderValue::from_static("b"),
        )]);
        let agent = HeaderMap::from_iter([(
            http::header::USER_AGENT,
            http::HeaderValue::from_static("curl"),
        )]);
        let none = HeaderMap::new();
        let key = |scope: u8, tenant, surface, stream, query, headers| {
            let asked = Asked {
                tenant,
                surface,
                stream,
                query,
                headers,
                accounts: &[],
                body: br#"{"model":"m"}"#,
            };
            Key::of(&[scope; 32], &asked).unwrap()
        };
        let keys = [
            key(0, Some("a"), &chat, false, None, &none),
            key(1, Some("a"), &chat, false, None, &none),
            key(0, Some("b"), &chat, false, None, &none),
            key(0, Some(""), &chat, false, None, &none),
            key(0, None, &chat, false, None, &none),
            key(0, Some("a"), &native, false, None, &none),
            key(0, Some("a"), &chat, true, None, &none),
            key(0, Some("a"), &chat, false, Some(""), &none),
            key(0, Some("a"), &chat, false, Some("q"), &none),
            key(0, Some("a"), &chat, false, None, &beta),
        ];
        let distinct: std::collections::HashSet<Key> = keys.into_iter().collect();
        assert_eq!(distinct.len(), keys.len());
        assert_eq!(keys[0], key(0, Some("a"), &chat, false, None, &agent));
        assert!(!format!("{:?}", keys[0]).contains("model"));
    }
}
