//! Settings as administrators write them, and how they are checked.

use std::collections::BTreeMap;

use bailian_quota::Class;
use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer};

use super::{Budget, KeepContent, Limits, Problem, Settings, Unit};
use crate::money::{Currency, Money, Rates};
use crate::pattern::{Pattern, parse_range};
use crate::period::{Period, UtcOffset};

const MAX_NAME_CHARS: usize = 100;
/// The most entries of any list: more than anybody needs, few enough to look through per request.
const MAX_ENTRIES: usize = 200;
const MAX_BUDGETS: usize = 16;
const MAX_METADATA: usize = 50;
const MAX_METADATA_KEY_CHARS: usize = 64;
const MAX_METADATA_CHARS: usize = 500;
/// Above it a limit is a slip of the pen, and arithmetic could saturate.
const MAX_LIMIT: u64 = 1_000_000_000_000_000;

/// The longest that content can be asked to be kept, in days: ten years.
const MAX_KEEP_DAYS: u32 = 3_660;

/// The greatest budget in units: half of what amounts can hold, so that sums stay exact.
const MAX_MONEY: u64 = 9_000_000_000;

/// Settings of a tenant, a project or a key as JSON or TOML. An unknown field is refused, because
/// a slip in the name of a limit must not remove the limit.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SettingsInput {
    /// What people call it: up to 100 characters, unique among its siblings.
    #[serde(default)]
    pub name: String,
    /// Lets nobody in, until it is enabled again.
    #[serde(default)]
    pub disabled: bool,
    /// The moment at which it ends, such as `2026-12-31T16:00:00Z`.
    pub expires_at: Option<String>,
    /// Names of models or `prefix*`; left out for all.
    pub models: Option<Vec<String>>,
    /// Names of endpoints or `prefix*`; left out for all.
    pub endpoints: Option<Vec<String>>,
    /// Addresses and ranges; left out for everywhere.
    pub ip_ranges: Option<Vec<String>>,
    /// Limits of the moment.
    #[serde(default)]
    pub limits: LimitsInput,
    /// How requests stand beside others that wait: `high`, `normal` or `low`.
    pub priority: Option<String>,
    /// The share beside others of the same priority; at least 1.
    #[cfg_attr(feature = "openapi", schema(minimum = 1))]
    pub weight: Option<u32>,
    /// What may be spent.
    #[serde(default)]
    pub budgets: Vec<BudgetInput>,
    /// Keeps prompts and answers: what the lowest level says that says anything. Left out
    /// everywhere, nothing is kept.
    pub keep_content: Option<KeepContentInput>,
    /// Whatever the operator wants to remember.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
}

/// How long prompts and answers are kept, and in what form.
#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct KeepContentInput {
    /// For so many days, up to 3660; 0 keeps nothing, whatever the levels above say.
    #[cfg_attr(feature = "openapi", schema(maximum = 3660))]
    pub days: u32,
    /// Whether keys, addresses and numbers of persons are taken out before anything is written.
    #[cfg_attr(feature = "openapi", schema(default = true))]
    #[serde(default = "yes")]
    pub redact: bool,
}

fn yes() -> bool {
    true
}

/// Limits of the moment; what is left out is unlimited.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct LimitsInput {
    /// Requests in any 60 seconds.
    #[cfg_attr(feature = "openapi", schema(minimum = 1))]
    pub rpm: Option<u64>,
    /// Tokens in any 60 seconds.
    #[cfg_attr(feature = "openapi", schema(minimum = 1))]
    pub tpm: Option<u64>,
    /// Requests at once.
    #[cfg_attr(feature = "openapi", schema(minimum = 1))]
    pub concurrency: Option<u64>,
}

/// What may be spent in a period: money, tokens, or both.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct BudgetInput {
    /// `day`, `month` or `total`.
    pub period: String,
    /// Where midnight is, such as `+08:00`, which is the default.
    pub offset: Option<String>,
    /// How much money.
    pub money: Option<MoneyInput>,
    /// How many tokens.
    pub tokens: Option<u64>,
}

/// An amount of money.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct MoneyInput {
    /// Units with up to nine decimals, as a number or as text: `"12.50"`.
    #[cfg_attr(feature = "openapi", schema(schema_with = amount_schema))]
    #[serde(deserialize_with = "number_or_text")]
    pub amount: String,
    /// Three capital letters.
    pub currency: String,
}

impl SettingsInput {
    /// Reads JSON.
    ///
    /// # Errors
    /// The first [`Problem`] of the form, with its path.
    pub fn from_json(json: &[u8]) -> Result<Self, Vec<Problem>> {
        let deserializer = &mut serde_json::Deserializer::from_slice(json);
        serde_path_to_error::deserialize(deserializer).map_err(|error| {
            let path = error.path().to_string();
            vec![Problem::new(path, error.into_inner().to_string())]
        })
    }

    /// Checks every field.
    ///
    /// # Errors
    /// Every [`Problem`] that there is, each with its path.
    pub fn check(self, rates: &Rates) -> Result<Settings, Vec<Problem>> {
        let mut problems = Vec::new();
        if let Some(problem) = text_problem(&self.name, MAX_NAME_CHARS) {
            problems.push(Problem::new("name", problem));
        }
        let expires_at = self.expires_at.and_then(|text| {
            let parsed: Result<Timestamp, _> = text.parse();
            if parsed.is_err() {
                let problem = "is not a moment such as 2026-12-31T16:00:00Z";
                problems.push(Problem::new("expires_at", problem));
            }
            parsed.ok()
        });
        let models = check_list("models", self.models, Pattern::parse, &mut problems);
        let endpoints = check_list("endpoints", self.endpoints, Pattern::parse, &mut problems);
        let ip_ranges = check_list("ip_ranges", self.ip_ranges, parse_range, &mut problems);
        let limits = self.limits.check(&mut problems);
        let priority = self.priority.and_then(|text| {
            let class = Class::parse(&text);
            if class.is_none() {
                problems.push(Problem::new("priority", "is not high, normal or low"));
            }
            class
        });
        if self.weight == Some(0) {
            problems.push(Problem::new(
                "weight",
                "is 0, which is no share; the default is 1",
            ));
        }
        let budgets = check_budgets(self.budgets, rates, &mut problems);
        let keep_content = self.keep_content.and_then(|keep| keep.check(&mut problems));
        check_metadata(&self.metadata, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Settings {
            name: self.name,
            disabled: self.disabled,
            expires_at,
            models,
            endpoints,
            ip_ranges,
            limits,
            priority,
            weight: self.weight,
            budgets,
            keep_content,
            metadata: self.metadata,
        })
    }
}

impl KeepContentInput {
    fn check(self, problems: &mut Vec<Problem>) -> Option<KeepContent> {
        if self.days > MAX_KEEP_DAYS {
            let problem = format!("is more than {MAX_KEEP_DAYS}");
            problems.push(Problem::new("keep_content.days", problem));
            return None;
        }
        Some(KeepContent {
            days: self.days,
            redact: self.redact,
        })
    }
}

impl LimitsInput {
    fn check(self, problems: &mut Vec<Problem>) -> Limits {
        let mut check =
            |name: &str, limit: Option<u64>| {
                let path = format!("limits.{name}");
                match limit {
                Some(0) => problems.push(Problem::new(
                    path,
                    "is 0, which admits nothing; leave it out for no limit, or disable the whole",
                )),
                Some(limit) if limit > MAX_LIMIT => {
                    problems.push(Problem::new(path, "is too large; leave it out for no limit"));
                }
                _ => {}
            }
                limit
            };
        Limits {
            rpm: check("rpm", self.rpm),
            tpm: check("tpm", self.tpm),
            concurrency: check("concurrency", self.concurrency),
        }
    }
}

impl BudgetInput {
    fn check(self, path: &str, rates: &Rates, problems: &mut Vec<Problem>) -> Option<Budget> {
        let before = problems.len();
        let period = Period::parse(&self.period);
        if period.is_none() {
            let problem = "is not day, month or total";
            problems.push(Problem::new(format!("{path}.period"), problem));
        }
        let offset = match self.offset.as_deref().map(str::parse::<UtcOffset>) {
            None => UtcOffset::default(),
            Some(Ok(offset)) => offset,
            Some(Err(error)) => {
                problems.push(Problem::new(format!("{path}.offset"), error.to_string()));
                UtcOffset::default()
            }
        };
        if self.money.is_none() && self.tokens.is_none() {
            problems.push(Problem::new(path, "has neither money nor tokens"));
        }
        if self.tokens.is_some_and(|tokens| tokens > MAX_LIMIT) {
            let problem = "is too large; leave it out for no limit";
            problems.push(Problem::new(format!("{path}.tokens"), problem));
        }
        let money = self
            .money
            .and_then(|money| money.check(&format!("{path}.money"), rates, problems));
        (problems.len() == before).then_some(Budget {
            period: period?,
            offset,
            money,
            tokens: self.tokens,
        })
    }
}

impl MoneyInput {
    fn check(self, path: &str, rates: &Rates, problems: &mut Vec<Problem>) -> Option<Money> {
        let currency: Option<Currency> = match self.currency.parse() {
            Err(error) => {
                problems.push(Problem::new(format!("{path}.currency"), format!("{error}")));
                None
            }
            Ok(currency) => {
                if let Err(error) = rates.require(currency) {
                    problems.push(Problem::new(format!("{path}.currency"), error.to_string()));
                }
                Some(currency)
            }
        };
        let amount = Decimal::from_str_exact(&self.amount).ok().filter(|amount| {
            amount.normalize().scale() <= 9 && *amount <= Decimal::from(MAX_MONEY)
        });
        let money = amount.and_then(|amount| {
            Money::from_decimal_up(amount, currency.unwrap_or(Currency::CNY)).ok()
        });
        if money.is_none() {
            let problem = "is not an amount from 0 to 9 billion with up to nine decimals";
            problems.push(Problem::new(format!("{path}.amount"), problem));
        }
        money.filter(|_| currency.is_some())
    }
}

fn check_list<T>(
    name: &str,
    list: Option<Vec<String>>,
    parse: impl Fn(&str) -> Result<T, &'static str>,
    problems: &mut Vec<Problem>,
) -> Option<Vec<T>> {
    let list = list?;
    if list.is_empty() {
        let problem = "is empty, which allows nothing; leave it out to allow all";
        problems.push(Problem::new(name, problem));
    }
    if list.len() > MAX_ENTRIES {
        problems.push(Problem::new(
            name,
            format!("has more than {MAX_ENTRIES} entries"),
        ));
        return None;
    }
    let mut parsed = Vec::with_capacity(list.len());
    for (index, text) in list.iter().enumerate() {
        match parse(text) {
            Ok(entry) => parsed.push(entry),
            Err(problem) => problems.push(Problem::new(format!("{name}[{index}]"), problem)),
        }
    }
    Some(parsed)
}

fn check_budgets(
    inputs: Vec<BudgetInput>,
    rates: &Rates,
    problems: &mut Vec<Problem>,
) -> Vec<Budget> {
    if inputs.len() > MAX_BUDGETS {
        problems.push(Problem::new(
            "budgets",
            format!("has more than {MAX_BUDGETS} entries"),
        ));
        return Vec::new();
    }
    let mut budgets = Vec::with_capacity(inputs.len());
    let mut seen: Vec<(Period, UtcOffset, Unit)> = Vec::new();
    for (index, input) in inputs.into_iter().enumerate() {
        let path = format!("budgets[{index}]");
        let Some(budget) = input.check(&path, rates, problems) else {
            continue;
        };
        for (unit, _) in budget.amounts() {
            let account = (budget.period, budget.offset, unit);
            if seen.contains(&account) {
                let problem = "limits what another entry limits already";
                problems.push(Problem::new(&path, problem));
            }
            seen.push(account);
        }
        budgets.push(budget);
    }
    budgets
}

fn check_metadata(metadata: &BTreeMap<String, String>, problems: &mut Vec<Problem>) {
    if metadata.len() > MAX_METADATA {
        problems.push(Problem::new(
            "metadata",
            format!("has more than {MAX_METADATA} entries"),
        ));
        return;
    }
    for (index, (key, value)) in metadata.iter().enumerate() {
        if let Some(problem) = text_problem(key, MAX_METADATA_KEY_CHARS) {
            // A key that is wrong is not repeated: it may be long, or not printable.
            problems.push(Problem::new(
                format!("metadata, key {}", index + 1),
                problem,
            ));
        } else if value.chars().count() > MAX_METADATA_CHARS || value.contains('\0') {
            let problem = format!("holds NUL or more than {MAX_METADATA_CHARS} characters");
            problems.push(Problem::new(format!("metadata.{key}"), problem));
        }
    }
}

/// Why a text cannot be a name.
fn text_problem(text: &str, most: usize) -> Option<String> {
    if text.trim().is_empty() {
        Some("is empty".to_owned())
    } else if text.trim() != text {
        Some("begins or ends with blanks".to_owned())
    } else if text.chars().any(char::is_control) {
        Some("holds control characters".to_owned())
    } else if text.chars().count() > most {
        Some(format!("has more than {most} characters"))
    } else {
        None
    }
}

/// The schema of an amount.
#[cfg(feature = "openapi")]
fn amount_schema() -> utoipa::openapi::schema::Schema {
    use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Type};

    let of = |kind: Type| ObjectBuilder::new().schema_type(kind);
    let text = "Units with up to nine decimals, as a number or as text: `\"12.50\"`.";
    OneOfBuilder::new()
        .item(of(Type::String))
        .item(of(Type::Number))
        .description(Some(text))
        .into()
}

/// Reads a decimal number without going through binary fractions further than the shortest text
/// that means the same.
fn number_or_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(
        untagged,
        expecting = "a number, or a number as text such as \"12.50\""
    )]
    enum Number {
        Whole(u64),
        Fraction(f64),
        Text(String),
    }
    Ok(match Number::deserialize(deserializer)? {
        Number::Whole(number) => number.to_string(),
        Number::Fraction(number) => number.to_string(),
        Number::Text(text) => text,
    })
}
