//! How much accounts may use, as the configuration says it.

use std::fmt;
use std::time::Duration;

use bailian_wire::catalog::{self, ModelLimits};
use serde::{Deserialize, Serialize};

use crate::throttle::{BurstRule, Check, Measure, Rule, WindowRule};

/// From so many tokens per minute on, they are counted in short windows.
const SHORT_WINDOW_FROM: u64 = 600_000;
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);

/// How much every account that the rule is about may use of every model that it is about, each pair
/// by itself. Beyond it the service's 429 is answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct LimitRule {
    /// For this account only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// For this model only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// For these models, which share one count.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    /// A workspace's own limit beside the account's; the request names its workspace in
    /// `X-DashScope-WorkSpace`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
    /// Requests per minute. 60 and more are counted by the second, fewer by the minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u64>,
    /// Input and output tokens per minute. 600,000 and more are counted in 6 seconds, fewer by the
    /// minute. The input counts at admission, the output as it is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_minute: Option<u64>,
    /// Requests in any number of windows, such as `600/60s`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<Rate>,
    /// Tokens in any number of windows, such as `1000000/60s`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<Rate>,
    /// How windows are laid.
    pub window: WindowKind,
    /// When the first fixed window begins, in milliseconds after the simulator's start.
    pub phase_ms: u64,
    /// Charge input and `max_tokens` when a request begins, and refuse what does not fit.
    pub reserve_tokens: bool,
    /// Requests that may run at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u64>,
    /// Tokens that may be used beyond the limit, all in all, as with models whose limit is dynamic.
    pub spare_tokens: u64,
    /// Whether a rate that rises too quickly is refused, below the limit too. Needs a limit of at
    /// least one request per second.
    pub burst_protection: bool,
    /// When a rise is too quick; switches the protection on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<BurstRule>,
    /// Which limit is looked at first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<Vec<Check>>,
}

/// How windows are laid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WindowKind {
    /// One after the other.
    #[default]
    Fixed,
    /// Every stretch as long as the period.
    Sliding,
}

/// So much per period, written `600/60s`; units are `ms`, `s`, `m`, `h` and `d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rate {
    /// How much.
    pub amount: u64,
    /// The period.
    pub period: Duration,
}

/// A second program that uses the same account: it sends evenly, and what is refused it drops.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct OtherProgram {
    /// Its account; every one when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Its model; every one when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Requests per second.
    pub requests_per_second: f64,
    /// Tokens of each request.
    #[serde(default)]
    pub tokens_per_request: u64,
    /// When it begins, in seconds after the simulator's start.
    #[serde(default)]
    pub from_s: f64,
    /// When it ends; never when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_s: Option<f64>,
}

/// Whether the quota API answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum QuotaApi {
    /// As documented.
    #[default]
    On,
    /// There is none: 404.
    Off,
    /// It fails: 500.
    Failing,
}

/// Whether a name is the wanted one, if one is wanted.
fn fits(wanted: Option<&str>, name: &str) -> bool {
    wanted.is_none_or(|wanted| wanted == name)
}

impl OtherProgram {
    pub(crate) fn is_about(&self, account: &str, model: &str) -> bool {
        fits(self.account.as_deref(), account) && fits(self.model.as_deref(), model)
    }
}

impl LimitRule {
    pub(crate) fn is_about(&self, account: &str, model: &str) -> bool {
        let listed = self.models.is_empty() || self.models.iter().any(|known| known == model);
        fits(self.account.as_deref(), account) && fits(self.model.as_deref(), model) && listed
    }

    fn rule(&self) -> Rule {
        let mut rates: Vec<(Measure, u64, Duration)> = Vec::new();
        for rate in &self.requests {
            rates.push((Measure::Requests, rate.amount, rate.period));
        }
        if let Some(rpm) = self.requests_per_minute {
            let (amount, period) = if rpm >= 60 {
                (rpm / 60, SECOND)
            } else {
                (rpm, MINUTE)
            };
            rates.push((Measure::Requests, amount, period));
        }
        for rate in &self.tokens {
            rates.push((Measure::Tokens, rate.amount, rate.period));
        }
        if let Some(tpm) = self.tokens_per_minute {
            let (amount, period) = if tpm >= SHORT_WINDOW_FROM {
                (tpm / 10, 6 * SECOND)
            } else {
                (tpm, MINUTE)
            };
            rates.push((Measure::Tokens, amount, period));
        }
        let windows = rates.into_iter().map(|(measure, amount, period)| {
            let mut window = WindowRule::new(measure, amount, period);
            window.sliding = self.window == WindowKind::Sliding;
            window.phase = Duration::from_millis(self.phase_ms);
            window
        });
        let mut rule = Rule {
            windows: windows.collect(),
            burst: self
                .burst
                .or_else(|| self.burst_protection.then(BurstRule::default)),
            concurrency: self.concurrency,
            reserve_tokens: self.reserve_tokens,
            spare_tokens: self.spare_tokens,
            ..Rule::default()
        };
        if let Some(order) = &self.order {
            rule.order.clone_from(order);
        }
        rule
    }
}

/// Where a limit stands. Found for every request, and made into a [`Rule`] only for a new count.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LimitSource<'a> {
    /// In the configuration.
    Told(&'a LimitRule),
    /// In the catalogue.
    Published(&'static ModelLimits),
    /// Set by call.
    Overlay(&'a Rule),
}

impl LimitSource<'_> {
    /// The name of the count: the model's, or that of all models which share it.
    pub(crate) fn count_name(self, model: &str) -> String {
        match self {
            Self::Told(rule) if !rule.models.is_empty() => rule.models.join("+"),
            Self::Published(ModelLimits {
                pool: Some(pool), ..
            }) => pool.name.clone(),
            _ => model.to_owned(),
        }
    }

    pub(crate) fn rule(self) -> Rule {
        match self {
            Self::Told(rule) => rule.rule(),
            Self::Published(entry) => published(entry),
            Self::Overlay(rule) => rule.clone(),
        }
    }
}

fn published(entry: &ModelLimits) -> Rule {
    let mut rule = Rule::default();
    for window in entry.windows() {
        match (window.measure, window.period) {
            (catalog::Measure::Requests, Some(period)) => {
                let window = WindowRule::new(Measure::Requests, window.amount, period);
                rule.windows.push(window);
            }
            (catalog::Measure::Tokens, Some(period)) => {
                let window = WindowRule::new(Measure::Tokens, window.amount, period);
                rule.windows.push(window);
            }
            (catalog::Measure::Running, _) => rule.concurrency = Some(window.amount),
            _ => {}
        }
    }
    rule
}

impl TryFrom<String> for Rate {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let read = || {
            let (amount, period) = text.split_once('/')?;
            let period = period.trim();
            let digits = period.find(|c: char| !c.is_ascii_digit())?;
            let count: u64 = match period.get(..digits)? {
                "" => 1,
                digits => digits.parse().ok()?,
            };
            let unit = match period.get(digits..)? {
                "ms" => 1,
                "s" => 1_000,
                "m" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                _ => return None,
            };
            let millis = count.checked_mul(unit).filter(|millis| *millis > 0)?;
            Some(Self {
                amount: amount.trim().replace('_', "").parse().ok()?,
                period: Duration::from_millis(millis),
            })
        };
        read().ok_or_else(|| format!("`{text}` is no rate such as 600/60s"))
    }
}

impl From<Rate> for String {
    fn from(rate: Rate) -> Self {
        rate.to_string()
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}ms", self.amount, self.period.as_millis())
    }
}
