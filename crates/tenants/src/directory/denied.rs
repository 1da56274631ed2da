//! A caller that was not let in.

use std::fmt;

use thiserror::Error;

use crate::id::{KeyId, Level};

/// The caller may not enter.
///
/// What the caller is told is the same whatever the reason; [`reason`](Self::reason) is for the
/// operator's logs only.
#[derive(Clone, Copy, Error)]
#[error("the API key is not valid")]
pub struct Denied {
    pub(super) reason: DenialReason,
    pub(super) key: Option<KeyId>,
}

/// Why a caller was denied, for logs and metrics, never for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DenialReason {
    /// Nothing was presented.
    Missing,
    /// No key is like it.
    Unknown,
    /// The public part is known, the secret is wrong.
    WrongSecret,
    /// The key was revoked.
    Revoked,
    /// The key was rotated and the overlap is over.
    RotatedAway,
    /// The key, its project or its tenant is disabled.
    Disabled(Level),
    /// The key, its project or its tenant has ended.
    Expired(Level),
    /// The caller's address is in none of the ranges.
    Address(Level),
}

impl DenialReason {
    /// A word for logs and metrics, of a small fixed set.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Unknown => "unknown",
            Self::WrongSecret => "wrong_secret",
            Self::Revoked => "revoked",
            Self::RotatedAway => "rotated_away",
            Self::Disabled(_) => "disabled",
            Self::Expired(_) => "expired",
            Self::Address(_) => "address",
        }
    }
}

impl Denied {
    /// Why, for the operator.
    pub fn reason(&self) -> DenialReason {
        self.reason
    }

    /// The key that was meant, as far as the public part or the secret tells, for the operator.
    pub fn key(&self) -> Option<KeyId> {
        self.key
    }
}

impl fmt::Debug for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Errors are printed into answers by mistake sooner or later; the reason is asked for.
        f.debug_struct("Denied").finish_non_exhaustive()
    }
}
