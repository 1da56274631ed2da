//! Why a request was not admitted, and when it would be.

use std::cmp::Ordering;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use thiserror::Error;

use crate::id::{Level, NodeId};
use crate::money::units;
use crate::period::{Now, Period, UtcOffset};
use crate::settings::Unit;

/// Which limit it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum LimitKind {
    /// Requests at once.
    Concurrency,
    /// Requests in any 60 seconds.
    RequestsPerMinute,
    /// Tokens in any 60 seconds.
    TokensPerMinute,
    /// A budget.
    Budget {
        /// For how long.
        period: Period,
        /// Where its midnights are.
        offset: UtcOffset,
        /// What is counted.
        unit: Unit,
    },
}

/// When a refused request would be admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Until {
    /// When a running request ends: sooner or later, nobody knows.
    RunningEnds,
    /// When use has left the last 60 seconds.
    After(Duration),
    /// When the budget's next period begins.
    Reset {
        /// When that is.
        at: Timestamp,
        /// How long that takes.
        after: Duration,
    },
    /// When other replicas give back what they hold and do not use: in a moment, or when they have
    /// used it, never.
    Elsewhere {
        /// Whether they can be asked; if not, this replica has its part of the limit only.
        is_reachable: bool,
    },
    /// Not before the limit is raised: the request alone exceeds it, or it lasts for ever.
    Never,
}

/// A limit stands in the way. Nothing was reserved. Safe to tell the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub struct Refusal {
    /// Whose limit.
    pub node: NodeId,
    /// Which limit.
    pub kind: LimitKind,
    /// What is used; billionths for money.
    pub used: u64,
    /// What running requests have reserved and may give back.
    pub reserved: u64,
    /// What the request would have reserved.
    pub needed: u64,
    /// The limit.
    pub limit: u64,
    /// When the request would be admitted.
    pub until: Until,
    /// Whether other replicas have been asked for what is missing, so that trying again as soon as
    /// they answered may succeed.
    pub may_pass_soon: bool,
}

impl LimitKind {
    /// A word for error codes and metrics, of a small fixed set.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Concurrency => "concurrency",
            Self::RequestsPerMinute => "rpm",
            Self::TokensPerMinute => "tpm",
            Self::Budget { period, unit, .. } => match (unit, period) {
                (Unit::Money(_), Period::Day) => "budget_money_day",
                (Unit::Money(_), Period::Month) => "budget_money_month",
                (Unit::Money(_), Period::Total) => "budget_money_total",
                (Unit::Tokens, Period::Day) => "budget_tokens_day",
                (Unit::Tokens, Period::Month) => "budget_tokens_month",
                (Unit::Tokens, Period::Total) => "budget_tokens_total",
            },
        }
    }

    /// Whether it is a budget, which is about payment, and not a limit of the moment.
    pub fn is_budget(self) -> bool {
        matches!(self, Self::Budget { .. })
    }
}

impl Until {
    /// For a `Retry-After`; `None` when nobody knows or waiting does not help.
    pub fn retry_after(self) -> Option<Duration> {
        match self {
            Self::After(after) | Self::Reset { after, .. } => Some(after),
            Self::Elsewhere { .. } => Some(Duration::from_secs(1)),
            Self::RunningEnds | Self::Never => None,
        }
    }

    pub(super) fn reset(at: Option<Timestamp>, now: Now) -> Self {
        let Some(at) = at else { return Self::Never };
        let after = Duration::try_from(at.duration_since(now.wall)).unwrap_or_default();
        Self::Reset { at, after }
    }

    fn rank(self) -> (u8, Duration) {
        match self {
            Self::RunningEnds => (0, Duration::ZERO),
            Self::Elsewhere { .. } => (0, Duration::from_secs(1)),
            Self::After(after) | Self::Reset { after, .. } => (1, after),
            Self::Never => (2, Duration::ZERO),
        }
    }
}

impl Refusal {
    /// The level of the limit.
    pub fn level(&self) -> Level {
        self.node.level()
    }

    /// When a budget's next period begins.
    pub fn resets_at(&self) -> Option<Timestamp> {
        match self.until {
            Until::Reset { at, .. } => Some(at),
            _ => None,
        }
    }

    /// For a `Retry-After`; `None` when nobody knows or waiting does not help.
    pub fn retry_after(&self) -> Option<Duration> {
        self.until.retry_after()
    }

    /// Whichever stands in the way for longer; the first of equals.
    pub(super) fn or_longer(self, other: Self) -> Self {
        let may_pass_soon = self.may_pass_soon && other.may_pass_soon;
        let longer = match self.until.rank().cmp(&other.until.rank()) {
            Ordering::Less => other,
            Ordering::Equal | Ordering::Greater => self,
        };
        Self {
            may_pass_soon,
            ..longer
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = self.level();
        let Self { limit, .. } = *self;
        match self.kind {
            LimitKind::Concurrency => write!(f, "the {level} may run {limit} requests at once"),
            LimitKind::RequestsPerMinute => {
                write!(f, "the {level} may send {limit} requests a minute")
            }
            LimitKind::TokensPerMinute => write!(f, "the {level} may use {limit} tokens a minute"),
            LimitKind::Budget { period, unit, .. } => {
                let amount = |amount: u64| match unit {
                    Unit::Money(currency) => format!("{} {currency}", units(u128::from(amount))),
                    Unit::Tokens => format!("{amount} tokens"),
                };
                let (used, limit) = (amount(self.used), amount(limit));
                write!(
                    f,
                    "the {level}'s {period} budget is {limit}, of which {used} are used"
                )?;
                if self.reserved > 0 {
                    write!(f, " and {} reserved", amount(self.reserved))?;
                }
                write!(f, "; this request may need {}", amount(self.needed))
            }
        }?;
        match self.until {
            Until::RunningEnds => f.write_str("; try again when a running request has ended"),
            Until::After(after) => {
                let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
                write!(f, "; try again in {seconds} s")
            }
            Until::Reset { at, .. } => write!(f, "; it is renewed at {at}"),
            Until::Elsewhere { is_reachable: true } => {
                f.write_str("; the other replicas of the gateway hold the rest; try again in 1 s")
            }
            Until::Elsewhere {
                is_reachable: false,
            } => f.write_str(
                "; the part of this replica of the gateway is used up, and it cannot reach the \
                 others for more",
            ),
            Until::Never => f.write_str("; waiting does not help"),
        }
    }
}
