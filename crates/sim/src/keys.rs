//! Which key opens what.

use crate::config::{SimConfig, default_account};
use crate::rejection::Rejection;

/// Whom a request is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) account: String,
    /// The key, recognisable but useless.
    pub(crate) masked: String,
    pub(crate) state: KeyState,
}

/// What a key's first letters say of its account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyState {
    Good,
    Limited,
    InArrears,
    Denied,
}

/// Finds the caller behind the `Authorization` header.
pub(crate) fn identify(config: &SimConfig, key: Option<&str>) -> Result<Caller, Rejection> {
    let Some(key) = key.filter(|key| !key.is_empty()) else {
        return Err(
            Rejection::new(401, "InvalidApiKey", "No API-key provided.").compat_message(
                "You didn't provide an API key. You need to provide your API key in \
                             an Authorization header using Bearer auth.",
            ),
        );
    };
    let unknown = || {
        Rejection::new(401, "InvalidApiKey", "Invalid API-key provided.")
            .compat_message("Incorrect API key provided. ")
    };
    let account = if config.keys.is_empty() {
        let good = key.starts_with("sk-") && key.len() > 3 && !key.starts_with("sk-expired-");
        good.then(default_account)
    } else {
        config
            .keys
            .iter()
            .find(|rule| rule.key == key)
            .map(|rule| rule.account.clone())
    };
    let account = account.ok_or_else(unknown)?;
    let state = if key.starts_with("sk-limited-") {
        KeyState::Limited
    } else if key.starts_with("sk-arrears-") {
        KeyState::InArrears
    } else if key.starts_with("sk-denied-") {
        KeyState::Denied
    } else {
        KeyState::Good
    };
    Ok(Caller {
        account,
        masked: mask(key),
        state,
    })
}

/// The first letters of a key, never more than half of it, and a fingerprint that tells keys of one
/// test apart.
pub(crate) fn mask(key: &str) -> String {
    let shown = (key.chars().count() / 2).min(11);
    let shown: String = key.chars().take(shown).collect();
    // FNV-1a, 16 bits of it: enough to tell apart, too little to find a key by.
    let hash = key.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    format!("{shown}…{:04x}", (hash ^ (hash >> 16)) & 0xffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_tell_keys_apart_and_do_not_show_them() {
        let masks = ["sk-team-a", "sk-team-b", "sk-limited-0123456789ab"].map(mask);
        assert!(masks[0].starts_with("sk-t…") && masks[2].starts_with("sk-limited-…"));
        assert_ne!(masks[0], masks[1]);
        assert_eq!(mask("sk-team-a"), masks[0]);
    }
}
