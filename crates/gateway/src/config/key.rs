//! `[[keys]]`: who may call.

use std::fmt;

use bailian_quota::Class;
use bailian_tenants::Rates;
use bailian_tenants::settings::{Settings, SettingsInput};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use utoipa::ToSchema;

use super::Problem;
use super::data::resolve_settings;
use super::secret::{self, Environment};
use super::text::{PriorityWord, SecretText};
use crate::keys::VirtualKey;

/// The shortest virtual key that is accepted, in characters.
pub const MIN_KEY_CHARS: usize = 8;

/// One virtual key.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KeyConfig {
    /// Whom the key belongs to.
    pub owner: VirtualKey,
    /// What the caller presents.
    pub secret: KeySecret,
    /// What it may use and spend.
    pub settings: Settings,
}

/// A virtual key as the configuration knows it.
#[derive(Clone)]
pub enum KeySecret {
    /// The key itself.
    Plain(SecretString),
    /// Its SHA-256 digest, so that the file holds no secret.
    Sha256([u8; 32]),
}

impl fmt::Debug for KeySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain(***)",
            Self::Sha256(_) => "Sha256(***)",
        })
    }
}

/// A virtual key: what a caller presents, and whom it belongs to.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyFile {
    /// For logs and records.
    name: String,
    /// Whom requests with it are counted for.
    #[schema(extensions(("x-default" = json!("the key's `name`"))))]
    tenant: Option<String>,
    /// The key itself: 8 or more printable characters. Either this or `key_sha256`.
    key: Option<SecretText>,
    /// The SHA-256 digest of the key in hexadecimal, so that the file holds no secret.
    #[schema(min_length = 64, max_length = 64)]
    key_sha256: Option<String>,
    /// How its requests stand beside others that wait.
    #[schema(value_type = Option<PriorityWord>, default = "normal")]
    priority: Option<String>,
    /// The tenant's share beside others of the same priority.
    #[schema(minimum = 1, default = 1)]
    weight: Option<u32>,
    /// What the key may use and spend, as docs/keys.md has it; needs `[data]`. Its `name` here is that
    /// of the key.
    pub(super) settings: Option<SettingsInput>,
}

pub(super) fn resolve_keys(
    keys: Vec<KeyFile>,
    has_store: bool,
    rates: &Rates,
    environment: &dyn Environment,
    problems: &mut Vec<Problem>,
) -> Vec<KeyConfig> {
    if keys.is_empty() && !has_store {
        let problem = "is missing, so nobody could call; add [[keys]] with name and key";
        problems.push(Problem::new("keys", problem));
    }
    let mut resolved = Vec::new();
    for (index, key) in keys.into_iter().enumerate() {
        let secret = match (&key.key, &key.key_sha256) {
            (Some(text), None) => secret::resolve(text.expose(), environment)
                .and_then(|secret| match key_problem(&secret) {
                    Some(problem) => Err(problem.to_owned()),
                    None => Ok(KeySecret::Plain(secret)),
                })
                .map_err(|problem| (".key", problem)),
            (None, Some(hex)) => parse_sha256(hex)
                .map(KeySecret::Sha256)
                .map_err(|problem| (".key_sha256", problem)),
            _ => Err(("", "needs either `key` or `key_sha256`".to_owned())),
        };
        match secret {
            Ok(secret) => {
                let tenant = key.tenant.unwrap_or_else(|| key.name.clone());
                let mut owner = VirtualKey::new(key.name, tenant).weight(key.weight.unwrap_or(1));
                if key.weight == Some(0) {
                    let problem = "is 0, which is no share; the default is 1";
                    problems.push(Problem::new(format!("keys[{index}].weight"), problem));
                }
                if let Some(text) = &key.priority {
                    match Class::parse(text) {
                        Some(class) => owner = owner.priority(class),
                        None => problems.push(Problem::new(
                            format!("keys[{index}].priority"),
                            format!("`{text}` is not high, normal or low"),
                        )),
                    }
                }
                let mut input = key.settings.unwrap_or_default();
                input.name.clone_from(&owner.name);
                let place = format!("keys[{index}].settings");
                let settings = resolve_settings(input, &place, rates, problems);
                let mut settings = settings.unwrap_or_else(|| Settings::named(&*owner.name));
                settings.priority = settings.priority.or(Some(owner.priority));
                settings.weight = settings.weight.or(Some(owner.weight));
                resolved.push(KeyConfig {
                    owner,
                    secret,
                    settings,
                });
            }
            Err((setting, problem)) => {
                problems.push(Problem::new(format!("keys[{index}]{setting}"), problem));
            }
        }
    }
    resolved
}

fn parse_sha256(hex: &str) -> Result<[u8; 32], String> {
    let problem = || "is not 64 hexadecimal digits".to_owned();
    if hex.len() != 64 || !hex.is_ascii() {
        return Err(problem());
    }
    let mut digest = [0; 32];
    for (byte, pair) in digest.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).map_err(|_| problem())?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| problem())?;
    }
    Ok(digest)
}

/// Why a text cannot be a virtual key, or `None` when it can.
pub(super) fn key_problem(key: &SecretString) -> Option<&'static str> {
    let key = key.expose_secret();
    if key.chars().count() < MIN_KEY_CHARS {
        Some("a key has at least 8 characters; `openssl rand -hex 24` makes a good one")
    } else if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        Some("a key has printable ASCII characters without spaces only")
    } else {
        None
    }
}
