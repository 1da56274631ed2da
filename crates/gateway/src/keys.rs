//! Virtual keys: who may call the gateway.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts};

use bailian_quota::Class;
use bailian_tenants::Caller;
use http::request::Parts;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Whom a key belongs to. Holds nothing secret.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VirtualKey {
    /// The key's name in the configuration, for logs and records.
    pub name: String,
    /// The tenant that owns the key.
    pub tenant: Arc<str>,
    /// How urgent its requests are; a caller may only lower it.
    pub priority: Class,
    /// The tenant's share beside others of the same priority.
    pub weight: u32,
}

impl VirtualKey {
    /// Names a key and its tenant.
    pub fn new(name: impl Into<String>, tenant: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            tenant: tenant.into(),
            priority: Class::Normal,
            weight: 1,
        }
    }

    /// Sets how urgent the key's requests are.
    #[must_use]
    pub fn priority(mut self, priority: Class) -> Self {
        self.priority = priority;
        self
    }

    /// Sets the tenant's share beside others of the same priority.
    #[must_use]
    pub fn weight(mut self, weight: u32) -> Self {
        self.weight = weight.max(1);
        self
    }
}

/// Whoever calls: the key's names for the relay, and its place in the tree of tenants where there is
/// one.
#[derive(Clone, Debug)]
pub(crate) struct Owner {
    pub(crate) key: Arc<VirtualKey>,
    pub(crate) caller: Option<Box<Caller>>,
}

impl Owner {
    pub(crate) fn of_key(key: Arc<VirtualKey>) -> Self {
        Self { key, caller: None }
    }

    pub(crate) fn of_caller(caller: Caller) -> Self {
        let key = VirtualKey::new(caller.key().name(), caller.tenant().name())
            .priority(caller.priority())
            .weight(caller.weight());
        Self {
            key: Arc::new(key),
            caller: Some(Box::new(caller)),
        }
    }

    /// What tells its tenant from all others, also from one of the same name: for what belongs to a
    /// tenant.
    pub(crate) fn tenant_key(&self) -> Arc<str> {
        match &self.caller {
            Some(caller) => caller.tenant_id().to_string().into(),
            None => Arc::clone(&self.key.tenant),
        }
    }
}

impl std::ops::Deref for Owner {
    type Target = VirtualKey;

    fn deref(&self) -> &VirtualKey {
        &self.key
    }
}

/// From where a request comes, where that is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Peer(pub(crate) Option<IpAddr>);

impl Peer {
    /// As the connection, or whoever mounts the router, tells.
    pub(crate) fn of<B>(request: &http::Request<B>) -> Self {
        Self::in_extensions(request.extensions())
    }

    fn in_extensions(extensions: &http::Extensions) -> Self {
        let told = extensions.get::<ConnectInfo<SocketAddr>>();
        let peer = extensions.get::<Self>().copied();
        peer.unwrap_or(Self(told.map(|ConnectInfo(address)| address.ip())))
    }

    /// The address; of a peer that nobody knows one that is in no range.
    pub(crate) fn address(self) -> IpAddr {
        self.0.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }
}

impl<S: Sync> FromRequestParts<S> for Peer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::in_extensions(&parts.extensions))
    }
}

/// Finds the virtual key behind what a caller presents.
///
/// Implementations must take the same time for wrong, missing, disabled and expired keys, and must
/// not keep what was presented.
pub trait KeyStore: fmt::Debug + Send + Sync + 'static {
    /// The key's owner, or `None` when the key opens nothing.
    fn authenticate(&self, presented: &[u8]) -> Option<Arc<VirtualKey>>;
}

/// The SHA-256 digest of a key. Keys are long and random, so a fast digest is enough.
pub(crate) type KeyDigest = [u8; 32];

/// Digests what stands in a configuration or arrives in a request.
pub(crate) fn digest(key: &[u8]) -> KeyDigest {
    Sha256::digest(key).into()
}

/// The keys of the configuration file, held as digests only.
#[derive(Default)]
pub struct StaticKeys {
    /// By the digest's first eight bytes: reaching a bucket tells a caller nothing about a key,
    /// since it would have to invert the digest to choose one.
    buckets: HashMap<u64, Vec<(KeyDigest, Arc<VirtualKey>)>>,
}

impl StaticKeys {
    /// An empty store, which admits nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// Admits `key` as `owner`.
    #[must_use]
    pub fn with_key(self, key: &SecretString, owner: VirtualKey) -> Self {
        self.with_digest(digest(key.expose_secret().as_bytes()), owner)
    }

    /// Admits the key whose SHA-256 digest is `key_sha256`.
    #[must_use]
    pub fn with_digest(mut self, key_sha256: [u8; 32], owner: VirtualKey) -> Self {
        let bucket = self.buckets.entry(bucket_of(&key_sha256)).or_default();
        bucket.push((key_sha256, Arc::new(owner)));
        self
    }
}

impl KeyStore for StaticKeys {
    fn authenticate(&self, presented: &[u8]) -> Option<Arc<VirtualKey>> {
        let presented = digest(presented);
        let bucket = self.buckets.get(&bucket_of(&presented))?;
        bucket
            .iter()
            .find(|(stored, _)| bool::from(stored.ct_eq(&presented)))
            .map(|(_, owner)| Arc::clone(owner))
    }
}

impl fmt::Debug for StaticKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: usize = self.buckets.values().map(Vec::len).sum();
        f.debug_struct("StaticKeys").field("keys", &keys).finish()
    }
}

fn bucket_of(digest: &KeyDigest) -> u64 {
    let mut head = [0; 8];
    head.copy_from_slice(&digest[..8]);
    u64::from_le_bytes(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> StaticKeys {
        StaticKeys::new()
            .with_key(
                &"sk-bl-alpha-0001".into(),
                VirtualKey::new("alpha", "team-a"),
            )
            .with_digest(
                digest(b"sk-bl-beta-0002"),
                VirtualKey::new("beta", "team-b"),
            )
    }

    #[test]
    fn a_key_opens_for_its_owner_only() {
        let keys = store();
        assert_eq!(
            &*keys.authenticate(b"sk-bl-alpha-0001").unwrap().tenant,
            "team-a"
        );
        assert_eq!(keys.authenticate(b"sk-bl-beta-0002").unwrap().name, "beta");
        for wrong in [
            "",
            "sk-bl-alpha-000",
            "sk-bl-alpha-00011",
            "SK-BL-ALPHA-0001",
        ] {
            assert!(keys.authenticate(wrong.as_bytes()).is_none(), "{wrong:?}");
        }
    }

    #[test]
    fn debug_output_shows_no_key_and_no_digest() {
        assert_eq!(format!("{:?}", store()), "StaticKeys { keys: 2 }");
    }
}
