//! The published limits: what an account may ask of a model in a region.
//!
//! A starting point only: what the quota API answers at run time goes before it.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

static EMBEDDED: LazyLock<LimitTable> =
    LazyLock::new(|| LimitTable::parse(include_str!("../../data/limits.json")));

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);

/// Limits of tokens per minute from here on are enforced in windows of [`SHORT_TOKEN_WINDOW`].
/// An assumption that fits the documented examples.
const SHORT_WINDOW_FROM_TPM: u64 = 600_000;

const SHORT_TOKEN_WINDOW: Duration = Duration::from_secs(6);

/// How a model is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LimitKind {
    /// The answer comes with the call.
    Sync,
    /// The call submits a task.
    Async,
    /// Both ways are offered.
    SyncOrAsync,
    /// A long-running job, such as fine-tuning.
    Job,
    /// A kind that this version does not know.
    #[serde(other)]
    Other,
}

/// Which tokens count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[non_exhaustive]
pub enum TokenBasis {
    /// Only what is sent, as with embeddings.
    #[serde(rename = "input")]
    Input,
    /// What is sent and what is answered.
    #[serde(rename = "input+output")]
    InputAndOutput,
    /// A basis that this version does not know.
    #[serde(other)]
    Other,
}

/// Limits of asynchronous tasks.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct AsyncLimits {
    /// Tasks that may be submitted per [`submit_period_s`](Self::submit_period_s).
    pub submit_count: Option<u64>,
    /// In seconds.
    pub submit_period_s: Option<u64>,
    /// Tasks that run at once.
    pub max_running_tasks: Option<u64>,
    /// What happens beyond that, in the documentation's words.
    pub over_limit: Option<String>,
}

/// Several models that share one count.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Pool {
    /// The same for all its models.
    pub name: String,
    /// `account` or `api_key`.
    pub counted_per: Option<String>,
}

/// The token limit of a dynamic model at one level of spending.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct SpendTier {
    /// Last month's bill in CNY is above this.
    pub monthly_spend_cny_gt: Option<f64>,
    /// And at most this; `None` has no end.
    pub monthly_spend_cny_lte: Option<f64>,
    /// Tokens per minute.
    pub tpm: Option<u64>,
}

/// The published limits of one model in one region and deployment scope. `None` is unknown, never
/// zero and never "unlimited".
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct ModelLimits {
    /// The model's id.
    pub model: String,
    /// Such as `cn-beijing`.
    pub region: String,
    /// The deployment scope, such as `china-mainland` or `global`.
    pub scope: Option<String>,
    /// How the model is called.
    pub kind: LimitKind,
    /// Requests per minute.
    pub rpm: Option<u64>,
    /// Tokens per minute.
    pub tpm: Option<u64>,
    /// Requests per second.
    pub rps: Option<f64>,
    /// Characters per minute, for speech.
    pub characters_per_minute: Option<u64>,
    /// Limits of tasks.
    #[serde(rename = "async")]
    pub tasks: Option<AsyncLimits>,
    /// Which tokens count.
    pub token_basis: Option<TokenBasis>,
    /// Whether the token limit is soft and follows last month's bill.
    #[serde(default)]
    pub dynamic: bool,
    /// The token limits of a dynamic model, lowest spending first.
    #[serde(default)]
    pub tpm_by_spend: Vec<SpendTier>,
    /// The pool that the model's count is part of.
    pub pool: Option<Pool>,
    /// Where the figures were read.
    pub source: Option<String>,
    /// The day of that, `YYYY-MM-DD`.
    pub source_date: Option<String>,
    /// Whether the figures are in doubt.
    #[serde(default)]
    pub unverified: bool,
}

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Measure {
    /// Calls, or submitted tasks.
    Requests,
    /// Tokens, of the entry's [`TokenBasis`].
    Tokens,
    /// Characters of text to speak.
    Characters,
    /// Tasks that run at once.
    Running,
}

/// One limit in the window in which the service is expected to enforce it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimitWindow {
    /// What is counted.
    pub measure: Measure,
    /// The most there may be.
    pub amount: u64,
    /// The length of the window; `None` for what is counted at every moment.
    pub period: Option<Duration>,
}

impl ModelLimits {
    /// The enforced windows. Published minutes are enforced in shorter windows: requests by the
    /// second from 60 per minute on, tokens by six seconds from 600,000 per minute on.
    pub fn windows(&self) -> Vec<LimitWindow> {
        let mut windows = Vec::new();
        let mut add = |measure, amount, period| {
            let window = LimitWindow {
                measure,
                amount,
                period,
            };
            // A submit rate is often published a second time as a rate per second.
            if !windows.contains(&window) {
                windows.push(window);
            }
        };
        if let Some(rpm) = self.rpm {
            let (amount, period) = if rpm >= 60 {
                (rpm / 60, SECOND)
            } else {
                (rpm, MINUTE)
            };
            add(Measure::Requests, amount, Some(period));
        }
        if let Some((amount, period)) = self.rps.and_then(per_second) {
            add(Measure::Requests, amount, Some(period));
        }
        if let Some(tpm) = self.tpm {
            let (amount, period) = if tpm >= SHORT_WINDOW_FROM_TPM {
                (tpm / 10, SHORT_TOKEN_WINDOW)
            } else {
                (tpm, MINUTE)
            };
            add(Measure::Tokens, amount, Some(period));
        }
        if let Some(characters) = self.characters_per_minute {
            add(Measure::Characters, characters, Some(MINUTE));
        }
        if let Some(tasks) = &self.tasks {
            if let (Some(count), Some(seconds)) = (tasks.submit_count, tasks.submit_period_s) {
                let period = Duration::from_secs(seconds);
                add(Measure::Requests, count, Some(period));
            }
            if let Some(running) = tasks.max_running_tasks {
                add(Measure::Running, running, None);
            }
        }
        windows
    }
}

/// A rate below one per second is one request in a longer window.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be at least one; a float cast saturates"
)]
fn per_second(rate: f64) -> Option<(u64, Duration)> {
    if rate >= 1.0 {
        return Some((rate as u64, SECOND));
    }
    let period = Duration::try_from_secs_f64(rate.recip()).ok()?;
    Some((1, period))
}

/// All published limits.
#[derive(Debug, Default)]
pub struct LimitTable {
    entries: Vec<ModelLimits>,
    by_model: HashMap<String, Vec<usize>>,
    skipped: usize,
}

#[derive(Default, Deserialize)]
struct File<'a> {
    #[serde(borrow)]
    entries: Vec<&'a RawValue>,
}

impl LimitTable {
    /// The limits of this version.
    pub fn embedded() -> &'static Self {
        &EMBEDDED
    }

    /// Reads a table. An entry that cannot be read is left out and counted.
    pub fn parse(json: &str) -> Self {
        let file: File<'_> = serde_json::from_str(json).unwrap_or_default();
        let mut table = Self::default();
        for entry in file.entries {
            match serde_json::from_str::<ModelLimits>(entry.get()) {
                Ok(limits) => {
                    let places = table.by_model.entry(limits.model.clone()).or_default();
                    places.push(table.entries.len());
                    table.entries.push(limits);
                }
                Err(_) => table.skipped += 1,
            }
        }
        table
    }

    /// The limits of a model in a region, one per deployment scope.
    pub fn of<'a>(&'a self, model: &str, region: &str) -> impl Iterator<Item = &'a ModelLimits> {
        let places = self.by_model.get(model).into_iter().flatten();
        places
            .filter_map(|place| self.entries.get(*place))
            .filter(move |limits| limits.region == region)
    }

    /// Of these the one with the fewest requests per minute: the scope of a key is not known, and
    /// too little is made good by learning while too much is refused.
    pub fn tightest<'a>(&'a self, model: &str, region: &str) -> Option<&'a ModelLimits> {
        let tightness = |limits: &&ModelLimits| {
            (
                limits.rpm.unwrap_or(u64::MAX),
                limits.tpm.unwrap_or(u64::MAX),
            )
        };
        self.of(model, region).min_by_key(tightness)
    }

    /// All entries, in the catalogue's order.
    pub fn entries(&self) -> &[ModelLimits] {
        &self.entries
    }

    /// Entries that could not be read.
    pub fn skipped(&self) -> usize {
        self.skipped
    }
}
