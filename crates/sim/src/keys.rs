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

/// The first letters of a key and its length.
pub(crate) fn mask(key: &str) -> String {
    let shown: String = key.chars().take(11).collect();
    format!("{shown}…({})", key.chars().count())
}
