//! What a tenant, a project or a key is set to: as it is written, and as it was checked.

mod input;

use std::collections::BTreeMap;
use std::fmt;

use bailian_quota::Class;
use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Serialize, Serializer};

pub use self::input::{BudgetInput, KeepContentInput, LimitsInput, MoneyInput, SettingsInput};
use crate::money::{Currency, Money};
use crate::pattern::Pattern;
use crate::period::{Period, UtcOffset};

/// One thing that is wrong with an input, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Problem {
    /// The field, such as `budgets[0].money.currency`.
    pub path: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl Problem {
    /// Says what is wrong with a field.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            message: message.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// Checked settings; the same for tenants, projects and keys. Serializes to what
/// [`SettingsInput`] reads.
///
/// What the levels allow is what all of them allow; their limits and budgets all hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Settings {
    /// What people call it; unique among its siblings.
    pub name: String,
    /// Lets nobody in, until it is enabled again.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
    /// From when on it lets nobody in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The models that may be asked for, as clients name them; `None` for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<Pattern>>,
    /// The endpoints that may be called, as the gateway names them; `None` for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Vec<Pattern>>,
    /// From where one may call; `None` for everywhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_ranges: Option<Vec<IpNet>>,
    /// Limits of the moment.
    #[serde(skip_serializing_if = "Limits::is_unlimited")]
    pub limits: Limits,
    /// How urgent its requests are at most; `None` leaves it to the other levels.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "class_as_text"
    )]
    pub priority: Option<Class>,
    /// Its share beside others of the same priority; `None` leaves it to the level above.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// What may be spent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub budgets: Vec<Budget>,
    /// Whether prompts and answers are kept; `None` leaves it to the level above, and where no level
    /// says anything, nothing is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_content: Option<KeepContent>,
    /// Whatever the operator wants to remember.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

impl Settings {
    /// A name, and nothing limited.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }
}

/// Limits of the moment; `None` means unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Limits {
    /// Requests that may begin in any 60 seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rpm: Option<u64>,
    /// Tokens, prompts and answers together, of any 60 seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tpm: Option<u64>,
    /// Requests that run at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u64>,
}

impl Limits {
    /// Whether nothing is limited.
    pub fn is_unlimited(&self) -> bool {
        *self == Self::default()
    }
}

/// How long prompts and answers are kept, and in what form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct KeepContent {
    /// For so many days; 0 keeps nothing, whatever the levels above say.
    pub days: u32,
    /// Whether keys, addresses and numbers of persons are taken out before anything is written.
    pub redact: bool,
}

impl KeepContent {
    /// Kept for so many days, redacted.
    pub fn for_days(days: u32) -> Self {
        Self { days, redact: true }
    }

    /// What the lowest level says of those that say anything, from the lowest to the highest;
    /// `None` where nothing is to be kept.
    pub(crate) fn of<'a>(levels: impl Iterator<Item = &'a Settings>) -> Option<Self> {
        let mut said = levels.filter_map(|settings| settings.keep_content);
        said.next().filter(|keep| keep.days > 0)
    }
}

/// What may be spent in a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Budget {
    /// For how long.
    pub period: Period,
    /// Where the period's midnights are.
    pub offset: UtcOffset,
    /// How much money.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "money_as_input"
    )]
    pub money: Option<Money>,
    /// How many tokens, prompts and answers together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
}

/// What an account counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Unit {
    /// Billionths of a currency's unit.
    Money(Currency),
    /// Tokens.
    Tokens,
}

impl Budget {
    /// The one or two amounts of the budget: billionths of a currency, tokens.
    pub fn amounts(&self) -> impl Iterator<Item = (Unit, u64)> {
        let money = self
            .money
            .map(|money| (Unit::Money(money.currency), money.nanos));
        let tokens = self.tokens.map(|tokens| (Unit::Tokens, tokens));
        money.into_iter().chain(tokens)
    }
}

#[expect(
    clippy::ref_option,
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes the field by reference"
)]
fn class_as_text<S: Serializer>(class: &Option<Class>, serializer: S) -> Result<S::Ok, S::Error> {
    class.map(Class::as_str).serialize(serializer)
}

#[derive(Serialize)]
struct MoneyText {
    amount: String,
    currency: Currency,
}

#[expect(clippy::ref_option, reason = "serde passes the field by reference")]
fn money_as_input<S: Serializer>(money: &Option<Money>, serializer: S) -> Result<S::Ok, S::Error> {
    money
        .map(|money| MoneyText {
            amount: money.to_decimal().to_string(),
            currency: money.currency,
        })
        .serialize(serializer)
}
