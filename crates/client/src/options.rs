//! What one call, or a derived client, does differently.

use std::time::Duration;

use bailian_quota::Class;
use bailian_wire::Dialect;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::config::{ApiKey, ConfigError, ConfigProblem, Source};
use crate::region::Workspace;
use crate::retry::RetryPolicy;

/// Settings of one call, stronger than the client's. Setters never fail; a value that cannot be
/// used is reported by the call.
///
/// ```
/// use std::time::Duration;
/// use bailian::RequestOptions;
///
/// let options = RequestOptions::new()
///     .total_timeout(Duration::from_secs(20))
///     .header("X-DashScope-DataInspection", "enable");
/// # let _ = options;
/// ```
#[derive(Debug, Clone, Default)]
pub struct RequestOptions {
    pub(crate) first_byte: Option<Duration>,
    pub(crate) idle: Option<Duration>,
    #[expect(
        clippy::option_option,
        reason = "unset, and set to no limit, are two things"
    )]
    pub(crate) total: Option<Option<Duration>>,
    pub(crate) headers: HeaderMap,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) workspace: Option<Workspace>,
    pub(crate) api_key: Option<ApiKey>,
    pub(crate) protocol: Option<Dialect>,
    pub(crate) retry: Option<RetryPolicy>,
    pub(crate) validate: Option<bool>,
    pub(crate) priority: Option<Class>,
    problems: Vec<ConfigProblem>,
}

// === impl RequestOptions ===

impl RequestOptions {
    /// Options that change nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Limits the time to the first byte of the answer, or to the first event of a stream.
    pub fn first_byte_timeout(mut self, limit: Duration) -> Self {
        self.first_byte = Some(limit);
        self
    }

    /// Limits the time between two parts of an answer.
    pub fn idle_timeout(mut self, limit: Duration) -> Self {
        self.idle = Some(limit);
        self
    }

    /// Limits the whole call with all its attempts and the reading of a stream; `None` for no limit.
    pub fn total_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.total = Some(limit.into());
        self
    }

    /// How urgent the call is beside others that wait in the client's own [pacing](crate::pacing).
    pub fn priority(mut self, class: Class) -> Self {
        self.priority = Some(class);
        self
    }

    /// Adds a header, in place of the client's own header of that name.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let parsed = (HeaderName::try_from(name), HeaderValue::try_from(value));
        if let (Ok(name), Ok(mut value)) = parsed {
            // `Debug` of a header map hides sensitive values.
            value.set_sensitive(name == http::header::AUTHORIZATION || name == "x-api-key");
            self.headers.insert(name, value);
        } else {
            self.note(
                "header",
                "is not a header that HTTP allows",
                "use plain ASCII without line breaks",
            );
        }
        self
    }

    /// Adds a parameter to the query of the URL.
    pub fn query(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.query.push((name.into(), value.into()));
        self
    }

    /// Sends `X-DashScope-WorkSpace` with this id. The host stays the client's.
    pub fn workspace(mut self, workspace: &str) -> Self {
        match workspace.parse() {
            Ok(workspace) => self.workspace = Some(workspace),
            Err(_) => self.note(
                "workspace",
                "is not a workspace id",
                "copy the id from the console: letters, digits, - and _, at most 64",
            ),
        }
        self
    }

    /// Uses this API key.
    pub fn api_key(mut self, key: &str) -> Self {
        match ApiKey::parse(key) {
            Ok(key) => self.api_key = Some(key),
            Err(problem) => self.note("api_key", &problem.to_string(), problem.fix()),
        }
        self
    }

    /// Writes the request in this protocol.
    pub fn protocol(mut self, protocol: Dialect) -> Self {
        self.protocol = Some(protocol);
        self
    }

    /// Replaces the retry policy.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = Some(policy);
        self
    }

    /// Whether the request is checked against the model's catalogue entry before it is sent. On at
    /// first; models that the catalogue does not know always pass.
    pub fn validate(mut self, validate: bool) -> Self {
        self.validate = Some(validate);
        self
    }

    /// These options, with `weaker` where they say nothing.
    pub(crate) fn over(&self, weaker: &Self) -> Self {
        let mut headers = weaker.headers.clone();
        for (name, value) in &self.headers {
            headers.insert(name.clone(), value.clone());
        }
        let mut query = weaker.query.clone();
        query.extend(self.query.iter().cloned());
        let mut problems = weaker.problems.clone();
        problems.extend(self.problems.iter().cloned());
        Self {
            first_byte: self.first_byte.or(weaker.first_byte),
            idle: self.idle.or(weaker.idle),
            total: self.total.or(weaker.total),
            headers,
            query,
            workspace: self.workspace.clone().or_else(|| weaker.workspace.clone()),
            api_key: self.api_key.clone().or_else(|| weaker.api_key.clone()),
            protocol: self.protocol.or(weaker.protocol),
            retry: self.retry.clone().or_else(|| weaker.retry.clone()),
            validate: self.validate.or(weaker.validate),
            priority: self.priority.or(weaker.priority),
            problems,
        }
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        match ConfigError::from_problems(self.problems.clone()) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    fn note(&mut self, name: &'static str, problem: &str, fix: &str) {
        self.problems.push(ConfigProblem::new(
            Some(Source::Argument(name)),
            problem,
            fix,
        ));
    }
}
