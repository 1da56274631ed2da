//! What a lane may use: one entry per count that the service keeps.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

/// What a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Measure {
    /// Requests that were sent.
    Requests,
    /// Tokens: input when a request is sent, output as it is produced.
    Tokens,
    /// Requests or tasks that have not ended; such a limit has no period.
    Running,
}

/// Whose count a limit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[non_exhaustive]
pub enum Layer {
    /// The account's count of one model.
    #[default]
    Model,
    /// The account's count of several models together.
    Pool,
    /// A tighter count of one workspace.
    Workspace,
}

/// Where the figure comes from, most trusted first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Source {
    /// The operator's configuration.
    #[default]
    Config,
    /// The service's own quota API.
    QuotaApi,
    /// The published figures.
    Catalogue,
    /// A small figure for a model that nothing is known of.
    Default,
    /// Nothing was told; found out from refusals.
    Learned,
}

/// So much of a measure in every period.
///
/// ```
/// use std::time::Duration;
/// use bailian_quota::{Limit, Measure};
///
/// let limit = Limit::parse(Measure::Requests, "600/60s")?;
/// assert_eq!((limit.amount, limit.period), (600, Duration::from_secs(60)));
/// assert_eq!(limit, Limit::requests(600, Duration::from_secs(60)));
/// # Ok::<(), bailian_quota::LimitError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limit {
    /// What is counted.
    pub measure: Measure,
    /// How much fits into a period.
    pub amount: u64,
    /// The length of the window; zero for [`Measure::Running`].
    pub period: Duration,
    /// Whose count it is.
    pub layer: Layer,
    /// Where the figure comes from.
    pub source: Source,
    /// Never to be exceeded, not even to find out whether the service would allow more.
    pub exact: bool,
}

/// A limit that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{text}` is no limit: write an amount and a period, such as `600/60s` or `500000/6s`")]
pub struct LimitError {
    text: String,
}

impl Limit {
    /// At most `amount` requests in any `period`.
    pub fn requests(amount: u64, period: Duration) -> Self {
        Self::new(Measure::Requests, amount, period)
    }

    /// At most `amount` tokens in any `period`.
    pub fn tokens(amount: u64, period: Duration) -> Self {
        Self::new(Measure::Tokens, amount, period)
    }

    /// At most `amount` requests or tasks at the same time.
    pub fn running(amount: u64) -> Self {
        Self::new(Measure::Running, amount, Duration::ZERO)
    }

    fn new(measure: Measure, amount: u64, period: Duration) -> Self {
        Self {
            measure,
            amount,
            period,
            layer: Layer::default(),
            source: Source::default(),
            exact: false,
        }
    }

    /// Names whose count it is.
    pub fn of(mut self, layer: Layer) -> Self {
        self.layer = layer;
        self
    }

    /// Names where the figure comes from. Figures of the quota API are [exact](Self::exact).
    pub fn from(mut self, source: Source) -> Self {
        self.source = source;
        self.exact |= source == Source::QuotaApi;
        self
    }

    /// Makes the figure one that is never exceeded.
    pub fn exactly(mut self) -> Self {
        self.exact = true;
        self
    }

    /// Reads `600/60s`, `20/1s`, `1000000/1m` or `5000/1d`.
    ///
    /// # Errors
    /// [`LimitError`] unless it is a whole amount above zero, a slash and a whole period above
    /// zero in `ms`, `s`, `m`, `h` or `d`.
    pub fn parse(measure: Measure, text: &str) -> Result<Self, LimitError> {
        let read = || {
            let (amount, period) = text.trim().split_once('/')?;
            let amount = amount.trim().replace('_', "");
            let amount = u64::from_str(&amount).ok().filter(|amount| *amount > 0)?;
            let period = period.trim();
            let digits = period.find(|c: char| !c.is_ascii_digit())?;
            let count = match period.get(..digits)? {
                "" => 1,
                count => u64::from_str(count).ok()?,
            };
            let unit = match period.get(digits..)?.trim() {
                "ms" => 1,
                "s" => 1_000,
                "m" | "min" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                _ => return None,
            };
            let millis = count.checked_mul(unit)?;
            // Longer than a month is a budget, not a rate.
            if millis == 0 || millis > 31 * 86_400_000 {
                return None;
            }
            Some(Self::new(measure, amount, Duration::from_millis(millis)))
        };
        read().ok_or_else(|| LimitError {
            text: text.chars().take(64).collect(),
        })
    }
}

impl Measure {
    /// The word for logs, metrics and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::Running => "running",
        }
    }
}

impl Layer {
    /// The word for logs, metrics and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Pool => "pool",
            Self::Workspace => "workspace",
        }
    }
}

impl Source {
    /// The word for logs, metrics and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::QuotaApi => "quota_api",
            Self::Catalogue => "catalogue",
            Self::Default => "default",
            Self::Learned => "learned",
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.measure {
            Measure::Running => write!(f, "{} running", self.amount),
            measure => {
                let seconds = self.period.as_secs_f64();
                write!(f, "{} {} per {seconds} s", self.amount, measure.as_str())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_and_periods_are_read_in_every_unit() {
        let read = |text| {
            let limit = Limit::parse(Measure::Tokens, text).unwrap();
            (limit.amount, limit.period.as_millis())
        };
        assert_eq!(read("600/60s"), (600, 60_000));
        assert_eq!(read("1_000_000 / 1m"), (1_000_000, 60_000));
        assert_eq!(read("20/s"), (20, 1_000));
        assert_eq!(read("5/250ms"), (5, 250));
        assert_eq!(read("9/1d"), (9, 86_400_000));
    }

    #[test]
    fn what_is_no_limit_is_refused_with_the_text() {
        for text in [
            "",
            "600",
            "0/1s",
            "600/0s",
            "-1/1s",
            "600/60",
            "1/40d",
            "六百/60s",
            "1/9x",
        ] {
            let error = Limit::parse(Measure::Requests, text).unwrap_err();
            assert!(error.to_string().contains(text), "{error}");
        }
    }
}
