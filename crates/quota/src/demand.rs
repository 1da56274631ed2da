//! What a request asks of a lane, what it cost in the end, and why it may not go.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::class::Class;

/// A request's demand on a lane.
///
/// ```
/// use std::time::Duration;
/// use bailian_quota::{Class, Demand};
///
/// let demand = Demand::new("search", 1_200)
///     .class(Class::High)
///     .max_output_tokens(Some(500))
///     .patience(Some(Duration::from_secs(25)));
/// assert_eq!(demand.input_tokens, 1_200);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Demand {
    /// Whose turn it uses. Tenants share a class by their weights.
    pub tenant: Arc<str>,
    /// The tenant's weight; 0 counts as 1.
    pub weight: u32,
    /// How urgent it is.
    pub class: Class,
    /// Estimated input tokens.
    pub input_tokens: u64,
    /// The most output tokens that the request allows.
    pub max_output_tokens: Option<u64>,
    /// Whether the answer costs output tokens at all; embeddings do not.
    pub produces: bool,
    /// How long it would wait at most; `None` waits as long as it takes.
    pub patience: Option<Duration>,
}

/// What a request cost, as the service reported it; `None` where it did not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Usage {
    /// Input tokens.
    pub input_tokens: Option<u64>,
    /// Output tokens.
    pub output_tokens: Option<u64>,
}

/// Why a request may not be sent. Nothing was sent, and nothing was billed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refused {
    /// It could not have gone before its patience ended.
    #[error("the line is longer than the request would wait: {retry_after:?}")]
    TooLate {
        /// When it could have gone.
        retry_after: Duration,
    },
    /// It waited as long as it would, in a line that became slower.
    #[error("the request waited as long as it would; the line needs {retry_after:?} more")]
    TimedOut {
        /// When it could have gone.
        retry_after: Duration,
    },
    /// Too many requests of this tenant wait.
    #[error("too many requests of this tenant wait")]
    TenantLineFull {
        /// When a new request could go.
        retry_after: Duration,
    },
    /// Too many requests wait.
    #[error("too many requests wait")]
    LineFull {
        /// When a new request could go.
        retry_after: Duration,
    },
    /// The service said that nothing more will be answered until somebody acts.
    #[error("the service stopped this lane: {code}: {message}")]
    Stopped {
        /// The service's code.
        code: Arc<str>,
        /// The service's message.
        message: Arc<str>,
        /// The HTTP status that came with it.
        status: u16,
        /// When one request will be let through to see whether it goes on.
        retry_after: Duration,
    },
    /// The lane is no longer driven: the program is ending.
    #[error("the lane is closed")]
    Closed,
}

impl Demand {
    /// A demand of one tenant, with estimated input tokens.
    pub fn new(tenant: impl Into<Arc<str>>, input_tokens: u64) -> Self {
        Self {
            tenant: tenant.into(),
            weight: 1,
            class: Class::default(),
            input_tokens,
            max_output_tokens: None,
            produces: true,
            patience: None,
        }
    }

    /// Sets the tenant's weight.
    pub fn weight(mut self, weight: u32) -> Self {
        self.weight = weight;
        self
    }

    /// Sets the class.
    pub fn class(mut self, class: Class) -> Self {
        self.class = class;
        self
    }

    /// Sets the most output tokens.
    pub fn max_output_tokens(mut self, most: Option<u64>) -> Self {
        self.max_output_tokens = most;
        self
    }

    /// Says that the answer costs no output tokens.
    pub fn without_output(mut self) -> Self {
        self.produces = false;
        self
    }

    /// Sets how long it would wait at most.
    pub fn patience(mut self, patience: Option<Duration>) -> Self {
        self.patience = patience;
        self
    }
}

impl Usage {
    /// Both figures as reported.
    pub fn new(input_tokens: u64, output_tokens: u64) -> Self {
        Self {
            input_tokens: Some(input_tokens),
            output_tokens: Some(output_tokens),
        }
    }

    /// Nothing was reported: the estimates stand.
    pub fn unknown() -> Self {
        Self::default()
    }
}

impl Refused {
    /// When the same request could go; `None` when nobody knows.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooLate { retry_after }
            | Self::TimedOut { retry_after }
            | Self::TenantLineFull { retry_after }
            | Self::LineFull { retry_after }
            | Self::Stopped { retry_after, .. } => Some(*retry_after),
            Self::Closed => None,
        }
    }

    /// The word for logs, metrics and JSON.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::TooLate { .. } => "too_late",
            Self::TimedOut { .. } => "timed_out",
            Self::TenantLineFull { .. } => "tenant_line_full",
            Self::LineFull { .. } => "line_full",
            Self::Stopped { .. } => "stopped",
            Self::Closed => "closed",
        }
    }
}
