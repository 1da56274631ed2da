//! What the gateway keeps of its own (keys, budgets, the ledger), and what things cost.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bailian_prices::{PriceBook, PriceOverride};
use bailian_tenants::settings::{Settings, SettingsInput};
use bailian_tenants::{Currency, Rates};
use regex::{Regex, RegexBuilder};
use rust_decimal::Decimal;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use utoipa::ToSchema;

use super::Problem;
use super::secret::{self, Environment};
use super::text::SecretText;

/// Where the gateway keeps what it has to remember.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DataConfig {
    /// The folder, on a local disk: the pepper of keys, the spool of the ledger, and the databases
    /// where these are SQLite's.
    pub folder: PathBuf,
    /// A PostgreSQL address, in the place of SQLite; replicas share it.
    pub database: Option<SecretString>,
    /// Records older than so many days are deleted; `None` keeps them.
    pub keep_days: Option<u32>,
    /// What else is taken out of prompts and answers before they are kept, for tenants that ask
    /// for that.
    pub redact: Vec<RedactPattern>,
    /// Settings of tenants by name, beside those that the administration makes.
    pub tenants: Vec<Settings>,
}

/// Something that is taken out of prompts and answers before they are kept.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RedactPattern {
    /// The word that stands in its place, in brackets.
    pub name: String,
    /// What it looks like.
    pub pattern: Regex,
}

impl PartialEq for RedactPattern {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.pattern.as_str() == other.pattern.as_str()
    }
}

impl Eq for RedactPattern {}

impl DataConfig {
    /// SQLite in a folder, and nothing deleted.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            database: None,
            keep_days: None,
            redact: Vec::new(),
            tenants: Vec::new(),
        }
    }
}

/// What requests cost.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PricesConfig {
    /// The published prices, and the operator's own before them.
    pub book: PriceBook,
    /// Whether published promotions count.
    pub promotions: bool,
    /// What currencies are worth.
    pub rates: Rates,
}

impl Default for PricesConfig {
    fn default() -> Self {
        Self {
            book: PriceBook::embedded().clone(),
            promotions: false,
            rates: Rates::only(Currency::CNY),
        }
    }
}

/// Where keys, budgets and the ledger are kept. Without it nothing is kept.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DataFile {
    /// A folder on a local disk: the pepper of keys, the spool of the ledger, and the SQLite databases
    /// where no `database` is named.
    #[schema(examples("/var/lib/bailian"))]
    folder: String,
    /// `postgres://…`: a PostgreSQL database in the place of SQLite, which replicas share.
    database: Option<SecretText>,
    /// Records of the ledger that are older are deleted.
    #[schema(minimum = 1, extensions(("x-unit" = json!("days")), ("x-default" = json!("kept for ever"))))]
    keep_days: Option<u32>,
    /// What else is taken out of prompts and answers before they are kept, for tenants whose settings
    /// say `keep_content`; up to 50.
    #[serde(default)]
    redact: Vec<RedactFile>,
}

/// Something of yours that is nobody's business, such as the numbers of your customers.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RedactFile {
    /// The word that stands in its place, in brackets: small letters, digits, `_` and `-`.
    #[schema(examples("customer"))]
    name: String,
    /// A regular expression of Rust's `regex` crate, which has no look-around.
    #[schema(examples("KD-[0-9]{8}"))]
    pattern: String,
}

/// The most patterns.
const MOST_PATTERNS: usize = 50;
/// How large a compiled pattern may be, in bytes.
const MAX_PATTERN_BYTES: usize = 1 << 20;

impl RedactFile {
    fn resolve(self, place: &str, problems: &mut Vec<Problem>) -> Option<RedactPattern> {
        let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let is_name = (1..=32).contains(&self.name.len())
            && self
                .name
                .bytes()
                .all(|byte| is_word(byte) || b"_-".contains(&byte));
        if !is_name {
            let problem = "is not 1 to 32 small letters, digits, _ and -";
            problems.push(Problem::new(format!("{place}.name"), problem));
        }
        let compiled = RegexBuilder::new(&self.pattern)
            .size_limit(MAX_PATTERN_BYTES)
            .dfa_size_limit(MAX_PATTERN_BYTES)
            .build();
        let problem = match compiled {
            Ok(pattern) if !pattern.is_match("") => {
                return is_name.then_some(RedactPattern {
                    name: self.name,
                    pattern,
                });
            }
            Ok(_) => "matches nothing at all, everywhere".to_owned(),
            Err(regex::Error::CompiledTooBig(_)) => "is too large".to_owned(),
            Err(error) => {
                let text = error.to_string();
                let last = text.lines().last().unwrap_or_default();
                format!(
                    "is no regular expression: {}",
                    last.trim_start_matches("error: ")
                )
            }
        };
        problems.push(Problem::new(format!("{place}.pattern"), problem));
        None
    }
}

/// What requests cost: docs/prices.md.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PricesFile {
    /// Whether published promotions count.
    #[schema(default = false)]
    promotions: Option<bool>,
    /// What a currency is worth in CNY, in quotes; needed for budgets in it.
    #[serde(default)]
    #[schema(examples(json!({ "USD": "7.2" })))]
    rates: BTreeMap<String, String>,
    /// Prices of your own, by date, before the published ones.
    #[serde(default)]
    overrides: Vec<PriceOverride>,
}

impl DataFile {
    pub(super) fn resolve(
        self,
        tenants: Vec<Settings>,
        environment: &dyn Environment,
        problems: &mut Vec<Problem>,
    ) -> DataConfig {
        let database = self.database.and_then(|text| {
            let resolved = secret::resolve(text.expose(), environment).and_then(|address| {
                let scheme = address.expose_secret().split("://").next();
                match scheme {
                    Some("postgres" | "postgresql") => Ok(address),
                    _ => Err("is no address that begins with postgres://".to_owned()),
                }
            });
            resolved
                .map_err(|problem| problems.push(Problem::new("data.database", problem)))
                .ok()
        });
        if self.keep_days == Some(0) {
            let problem = "is 0, which keeps nothing; leave it out to keep everything";
            problems.push(Problem::new("data.keep_days", problem));
        }
        if self.redact.len() > MOST_PATTERNS {
            let problem = format!("has more than {MOST_PATTERNS} entries");
            problems.push(Problem::new("data.redact", problem));
        }
        let patterns = self.redact.into_iter().take(MOST_PATTERNS).enumerate();
        let redact = patterns
            .filter_map(|(index, it)| it.resolve(&format!("data.redact[{index}]"), problems))
            .collect();
        if self.folder.trim().is_empty() {
            problems.push(Problem::new("data.folder", "is empty"));
        }
        DataConfig {
            folder: PathBuf::from(self.folder),
            database,
            keep_days: self.keep_days,
            redact,
            tenants,
        }
    }
}

impl PricesFile {
    pub(super) fn resolve(self, problems: &mut Vec<Problem>) -> PricesConfig {
        let mut prices = PricesConfig {
            promotions: self.promotions.unwrap_or(false),
            ..PricesConfig::default()
        };
        let mut rates = Vec::new();
        for (code, rate) in &self.rates {
            let place = format!("prices.rates.{code}");
            match (code.parse::<Currency>(), rate.parse::<Decimal>()) {
                (Ok(currency), Ok(rate)) => rates.push((currency, rate)),
                (Err(error), _) => problems.push(Problem::new(place, error.to_string())),
                (_, Err(_)) => problems.push(Problem::new(
                    place,
                    "is no amount of CNY in quotes, such as \"7.2\"",
                )),
            }
        }
        match Rates::new(Currency::CNY, rates) {
            Ok(rates) => prices.rates = rates,
            Err(error) => problems.push(Problem::new("prices.rates", error.to_string())),
        }
        if !self.overrides.is_empty() {
            match prices.book.with_overrides(self.overrides) {
                Ok(book) => prices.book = book,
                Err(error) => problems.push(Problem::new("prices.overrides", error.to_string())),
            }
        }
        prices
    }
}

/// Checks the settings of a tenant or key.
pub(super) fn resolve_settings(
    input: SettingsInput,
    place: &str,
    rates: &Rates,
    problems: &mut Vec<Problem>,
) -> Option<Settings> {
    input
        .check(rates)
        .map_err(|found| {
            let found = found.into_iter();
            problems
                .extend(found.map(|it| Problem::new(format!("{place}.{}", it.path), it.message)));
        })
        .ok()
}
