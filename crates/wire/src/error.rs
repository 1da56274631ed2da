//! Errors of the service: reading them in every shape, telling what they mean, writing them.
//!
//! Sources: the error catalogue (`data/errors.json`), http-native.md §1.3 and §3.3, compat.md §7.
//!
//! An HTTP status alone does not say what happened: some 429s are bills that no wait pays, some
//! 500s are the caller's own mistake, and an HTTP 200 can carry an error. [`classify`] decides in
//! the catalogue's order: code with status, then the message, then the status alone.
//!
//! ```
//! use bailian_wire::error::{ErrorClass, parse_error_body};
//!
//! let body = br##"{"error":{"code":"insufficient_quota","type":"insufficient_quota","message":
//! "You exceeded your current quota. See: https://help.example/error-code#token-limit"},"request_id":"r-1"}"##;
//! let error = parse_error_body(429, body);
//! assert_eq!(error.class(), ErrorClass::RateLimitTokens); // not a bill: wait a little
//! assert_eq!(error.request_id(), Some("r-1"));
//! assert!(error.retry().is_some());
//! ```

mod body;
mod classify;
mod encode;
mod fallback;
mod page;
mod phrase;
mod table;

use std::fmt::{self, Write as _};
use std::time::Duration;

pub use self::body::{error_in_success, parse_error_body, parse_error_event};
pub use self::classify::{Classification, Signals, classify};
pub use self::encode::{ErrorView, anthropic_type, encode_error};
pub use self::table::{ErrorEntry, ErrorTable, Surface};

/// What kind of thing went wrong. The twelve classes of the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorClass {
    /// The key is missing, wrong, or of another region.
    Authentication,
    /// The key is good but may not do this.
    Permission,
    /// The request itself is wrong; sending it again changes nothing.
    InvalidRequest,
    /// The model, task or path does not exist.
    NotFound,
    /// Too many requests in a window.
    RateLimitRequests,
    /// Too many tokens in a window.
    RateLimitTokens,
    /// The rate rose too quickly.
    RateLimitBurst,
    /// A free allowance, plan or balance is used up.
    QuotaExhausted,
    /// Content inspection refused the input or the output.
    ContentFilter,
    /// The service, or something that it fetched, was too slow.
    Timeout,
    /// The service failed.
    Server,
    /// The service has no capacity at the moment.
    Unavailable,
}

impl ErrorClass {
    /// Every class.
    pub const ALL: [Self; 12] = [
        Self::Authentication,
        Self::Permission,
        Self::InvalidRequest,
        Self::NotFound,
        Self::RateLimitRequests,
        Self::RateLimitTokens,
        Self::RateLimitBurst,
        Self::QuotaExhausted,
        Self::ContentFilter,
        Self::Timeout,
        Self::Server,
        Self::Unavailable,
    ];

    /// The catalogue's name of the class.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Authentication => "authentication",
            Self::Permission => "permission",
            Self::InvalidRequest => "invalid_request",
            Self::NotFound => "not_found",
            Self::RateLimitRequests => "rate_limit_requests",
            Self::RateLimitTokens => "rate_limit_tokens",
            Self::RateLimitBurst => "rate_limit_burst",
            Self::QuotaExhausted => "quota_exhausted",
            Self::ContentFilter => "content_filter",
            Self::Timeout => "timeout",
            Self::Server => "server",
            Self::Unavailable => "unavailable",
        }
    }

    /// Whether it is one of the three throttles.
    pub fn is_throttle(self) -> bool {
        match self {
            Self::RateLimitRequests | Self::RateLimitTokens | Self::RateLimitBurst => true,
            Self::Authentication
            | Self::Permission
            | Self::InvalidRequest
            | Self::NotFound
            | Self::QuotaExhausted
            | Self::ContentFilter
            | Self::Timeout
            | Self::Server
            | Self::Unavailable => false,
        }
    }

    /// The HTTP status that says it best, for errors that arrive without one.
    pub fn status(self) -> u16 {
        match self {
            Self::Authentication => 401,
            Self::Permission => 403,
            Self::InvalidRequest | Self::ContentFilter => 400,
            Self::NotFound => 404,
            Self::RateLimitRequests
            | Self::RateLimitTokens
            | Self::RateLimitBurst
            | Self::QuotaExhausted => 429,
            Self::Timeout => 504,
            Self::Server => 500,
            Self::Unavailable => 503,
        }
    }

    /// What the person should do next.
    pub fn guidance(self) -> &'static str {
        match self {
            Self::Authentication => {
                "check the key, and that it belongs to the region of the base URL"
            }
            Self::Permission => "check the model, workspace and permissions of the key's account",
            Self::InvalidRequest => "correct the request; sending it again changes nothing",
            Self::NotFound => "check the model's name and that it is offered in this region",
            Self::RateLimitRequests => "send fewer requests per second, or ask for a higher limit",
            Self::RateLimitTokens => {
                "wait for the token window to pass (a minute at most), or ask for a higher limit; \
                 this is not about billing"
            }
            Self::RateLimitBurst => "raise the request rate more slowly",
            Self::QuotaExhausted => "check balance, free allowance and plan in the console",
            Self::ContentFilter => "change the text or media that content inspection refused",
            Self::Timeout => "use streaming, or ask for less at once",
            Self::Server => "try again; if it goes on, report the request id",
            Self::Unavailable => "try again later, or use another region or model",
        }
    }
}

impl fmt::Display for ErrorClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How to wait before the same request is sent again.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Backoff {
    /// The first wait.
    pub initial: Duration,
    /// What each further wait is multiplied by.
    pub factor: f64,
    /// The longest wait.
    pub max: Duration,
    /// The most retries that make sense, where the catalogue says one.
    pub max_attempts: Option<u32>,
    /// How far a wait may be moved at random, as a part of itself (0.25: by a quarter).
    pub jitter: Option<f64>,
    /// What the rate of requests should be multiplied by before the next one.
    pub rate_cut: Option<f64>,
    /// What the number of requests at once should be multiplied by.
    pub concurrency_cut: Option<f64>,
}

/// Where else the request may succeed when it fails here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Failover {
    /// Nowhere: the request itself is at fault.
    Nowhere,
    /// With another key or workspace.
    OtherKey,
    /// With another account, or in another region.
    OtherAccountOrRegion,
    /// In another region, or with another model.
    OtherRegionOrModel,
}

/// An error that the service answered with. Small to move; the facts are boxed.
#[derive(Clone, PartialEq, thiserror::Error)]
pub struct ApiError(Box<Facts>);

#[derive(Clone, Debug, PartialEq)]
struct Facts {
    status: u16,
    code: Option<String>,
    kind: Option<String>,
    message: String,
    param: Option<String>,
    request_id: Option<String>,
    classification: Classification,
    body: String,
}

impl ApiError {
    /// The HTTP status; inside an HTTP 200, the status that the event or the code stands for.
    pub fn status(&self) -> u16 {
        self.0.status
    }

    /// The code as received, such as `Throttling.RateQuota` or `limit_requests`.
    pub fn code(&self) -> Option<&str> {
        self.0.code.as_deref()
    }

    /// The native spelling of the code, where the catalogue knows it.
    pub fn native_code(&self) -> Option<&'static str> {
        self.0.classification.native_code
    }

    /// `error.type` of the OpenAI and Anthropic shapes.
    pub fn error_type(&self) -> Option<&str> {
        self.0.kind.as_deref()
    }

    /// What the service said.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The parameter that is at fault, where the service names one.
    pub fn param(&self) -> Option<&str> {
        self.0.param.as_deref()
    }

    /// The service's id of the request, for its support.
    pub fn request_id(&self) -> Option<&str> {
        self.0.request_id.as_deref()
    }

    /// What kind of error it is.
    pub fn class(&self) -> ErrorClass {
        self.0.classification.class
    }

    /// The class, its finer case and what follows from it.
    pub fn classification(&self) -> &Classification {
        &self.0.classification
    }

    /// How to wait before sending the same request again, or `None` when that is useless.
    pub fn retry(&self) -> Option<Backoff> {
        self.0.classification.retry
    }

    /// The body as received, cut at 8 KiB.
    pub fn body(&self) -> &str {
        &self.0.body
    }

    /// Fills in what the body did not say and the response head did.
    #[must_use]
    pub fn with_request_id(mut self, request_id: Option<&str>) -> Self {
        if self.0.request_id.is_none() {
            self.0.request_id = request_id.map(str::to_owned);
        }
        self
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let facts = &*self.0;
        write!(f, "HTTP {}", facts.status)?;
        if let Some(code) = &facts.code {
            write!(f, " {}", Printable(code))?;
        }
        write!(f, ": {}", Printable(&facts.message))?;
        if let Some(id) = &facts.request_id {
            write!(f, " (request id {})", Printable(id))?;
        }
        write!(f, "; {}", facts.classification.class.guidance())
    }
}

/// Text of somebody else on its way to a terminal or a log.
struct Printable<'a>(&'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, line) in self.0.split(char::is_control).enumerate() {
            if place > 0 {
                f.write_char(' ')?;
            }
            f.write_str(line)?;
        }
        Ok(())
    }
}

impl fmt::Debug for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The body may quote the prompt, so it is left out.
        f.debug_struct("ApiError")
            .field("status", &self.0.status)
            .field("code", &self.0.code)
            .field("message", &self.0.message)
            .field("request_id", &self.0.request_id)
            .field("class", &self.class())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
