//! Short random ids of tenants, projects and keys.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// Digits of base62, in the order of their value.
pub(crate) const BASE62: &[u8; 62] =
    b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// So many random digits have 59 bits: enough that no two of an installation's ids meet.
const DIGITS: usize = 10;

/// A letter, an underscore and the digits.
const LENGTH: usize = 2 + DIGITS;

/// The operating system gave no random bytes.
#[derive(Debug, Error)]
#[error("the operating system's random source gave nothing")]
pub struct RandomError(#[from] getrandom::Error);

/// The text is not the id of such a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("is not an id such as `{prefix}_4fTz81QwXk`")]
pub struct InvalidId {
    prefix: char,
}

/// Evenly distributed base62 digits of the operating system's random source.
pub(crate) fn random_digits<const N: usize>() -> Result<[u8; N], RandomError> {
    let mut digits = [0; N];
    let mut filled = 0;
    while filled < N {
        let mut bytes = [0; 64];
        getrandom::fill(&mut bytes)?;
        // Bytes above the last multiple of 62 would make some digits likelier than others.
        for byte in bytes.into_iter().filter(|byte| *byte < 248) {
            let Some(place) = digits.get_mut(filled) else {
                break;
            };
            *place = BASE62[usize::from(byte % 62)];
            filled += 1;
        }
    }
    Ok(digits)
}

/// The last `N` base62 digits of a number.
pub(crate) fn digits_of<const N: usize>(mut number: u64) -> [u8; N] {
    let mut digits = [b'0'; N];
    for place in digits.iter_mut().rev() {
        *place = BASE62[usize::try_from(number % 62).unwrap_or(0)];
        number /= 62;
    }
    digits
}

fn as_text(digits: &[u8]) -> &str {
    std::str::from_utf8(digits).unwrap_or_default()
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; LENGTH]);

        impl $name {
            /// A new id of the operating system's random source.
            ///
            /// # Errors
            /// [`RandomError`] when the system has no random bytes.
            pub fn random() -> Result<Self, RandomError> {
                random_digits().map(Self::of_digits)
            }

            /// The id that belongs to a name, for what stands in a configuration and not in the
            /// store: the same after every start.
            pub fn of_name(name: &str) -> Self {
                let digest = Sha256::new()
                    .chain_update(concat!($prefix, "\0"))
                    .chain_update(name)
                    .finalize();
                let mut head = [0; 8];
                head.copy_from_slice(&digest[..8]);
                Self::of_digits(digits_of(u64::from_be_bytes(head)))
            }

            /// The id as it is written.
            pub fn as_str(&self) -> &str {
                as_text(&self.0)
            }

            fn of_digits(digits: [u8; DIGITS]) -> Self {
                let mut text = [b'_'; LENGTH];
                text[0] = u8::try_from($prefix).unwrap_or_default();
                text[2..].copy_from_slice(&digits);
                Self(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let invalid = InvalidId { prefix: $prefix };
                let digits = text
                    .strip_prefix($prefix)
                    .and_then(|rest| rest.strip_prefix('_'))
                    .ok_or(invalid)?;
                let digits: [u8; DIGITS] = digits.as_bytes().try_into().map_err(|_| invalid)?;
                let is_id = digits.iter().all(u8::is_ascii_alphanumeric);
                is_id.then_some(Self::of_digits(digits)).ok_or(invalid)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id! {
    /// The id of a tenant, such as `t_4fTz81QwXk`.
    TenantId, 't'
}
id! {
    /// The id of a project, such as `p_4fTz81QwXk`.
    ProjectId, 'p'
}
id! {
    /// The id of a virtual key, such as `k_4fTz81QwXk`. It stays when the key is rotated.
    KeyId, 'k'
}

/// Which level of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Level {
    /// One virtual key.
    Key,
    /// All keys of a project.
    Project,
    /// All projects of a tenant.
    Tenant,
}

impl Level {
    /// The word for messages, metrics and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Project => "project",
            Self::Tenant => "tenant",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A place in the tree: a tenant, a project or a key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NodeId {
    /// A tenant.
    Tenant(TenantId),
    /// A project of a tenant.
    Project(ProjectId),
    /// A key of a project.
    Key(KeyId),
}

impl NodeId {
    /// The level the node is on.
    pub fn level(self) -> Level {
        match self {
            Self::Tenant(_) => Level::Tenant,
            Self::Project(_) => Level::Project,
            Self::Key(_) => Level::Key,
        }
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tenant(id) => id.fmt(f),
            Self::Project(id) => id.fmt(f),
            Self::Key(id) => id.fmt(f),
        }
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for NodeId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        match text.as_bytes().first() {
            Some(b't') => text.parse().map(Self::Tenant),
            Some(b'p') => text.parse().map(Self::Project),
            _ => text.parse().map(Self::Key),
        }
    }
}

impl Serialize for NodeId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_their_text_and_differ() {
        let id = TenantId::random().unwrap();
        assert_eq!(id.to_string().parse::<TenantId>().unwrap(), id);
        assert_eq!(id.to_string().parse(), Ok(NodeId::Tenant(id)));
        assert_ne!(id, TenantId::random().unwrap());
        assert_eq!(TenantId::of_name("默认"), TenantId::of_name("默认"));
    }

    #[test]
    fn another_kind_of_id_or_anything_else_is_refused() {
        let project = ProjectId::random().unwrap().to_string();
        for wrong in [
            &*project,
            "",
            "t_",
            "t_123",
            "t_12345678901",
            "t_123456789\0",
            "t_甲乙丙1",
        ] {
            assert!(wrong.parse::<TenantId>().is_err(), "{wrong:?}");
        }
    }
}
