//! What the gateway itself says no to, in the caller's dialect.

mod stored;

use std::borrow::Cow;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bailian_quota::Refused;
use bailian_tenants::NotAllowed;
use bailian_wire::Dialect;
use bailian_wire::error::{ApiError, ErrorView, encode_error};
use http::header::{ACCEPT_ENCODING, ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, StatusCode};

use crate::upstream::UpstreamError;

/// Says whether the gateway or the model service refused a request.
pub(crate) const ERROR_SOURCE: HeaderName = HeaderName::from_static("x-bailian-error-source");

/// `Retry-After` in milliseconds, as the official clients read it.
const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");

/// Why the gateway itself refuses requests, in the words of the metrics.
pub(crate) const REFUSAL_KINDS: [&str; 9] = [
    "authentication",
    "permission",
    "budget",
    "rate_limit",
    "invalid_request",
    "too_large",
    "timeout",
    "not_found",
    "unavailable",
];

/// The code of the model service's error as the ledger has it: in the native spelling where the
/// catalogue knows it, so that it is the same in every dialect; else as it was sent.
pub(crate) fn code_of(error: &ApiError) -> &str {
    error
        .native_code()
        .or(error.code())
        .or(error.error_type())
        .unwrap_or(error.class().as_str())
}

/// A request that the gateway does not serve, or could not.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    /// In the native spelling; each dialect has its own for the same thing.
    code: Cow<'static, str>,
    message: String,
    param: Option<&'static str>,
    allow: Option<&'static str>,
    retry_after: Option<Duration>,
    /// Whether the caller is told how a body may be packed.
    accept_encoding: bool,
    /// The model service's id of the request, where it was the service that refused.
    upstream_id: Option<Box<str>>,
    /// The word for the caller's own limit or budget that stood in the way.
    limit: Option<&'static str>,
    /// Whether the model service refused, not the gateway.
    is_upstream: bool,
    /// Whether it may pass as soon as other replicas have answered.
    may_pass_soon: bool,
}

impl Refusal {
    fn new(
        status: StatusCode,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            status,
            code: code.into(),
            message: message.into(),
            param: None,
            allow: None,
            retry_after: None,
            accept_encoding: false,
            upstream_id: None,
            limit: None,
            is_upstream: false,
            may_pass_soon: false,
        }
    }

    /// Which of [`REFUSAL_KINDS`] it is.
    pub(crate) fn kind(&self) -> &'static str {
        match self.status.as_u16() {
            401 => "authentication",
            403 => "permission",
            404 | 405 => "not_found",
            408 => "timeout",
            413 | 431 => "too_large",
            429 if self.code == "BudgetExceeded" => "budget",
            429 => "rate_limit",
            400..=499 => "invalid_request",
            _ => "unavailable",
        }
    }

    /// The code in the native spelling.
    pub(crate) fn code(&self) -> &str {
        &self.code
    }

    pub(crate) fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "InvalidParameter", message)
    }

    /// The same answer for a missing, a wrong and a disabled key.
    pub(crate) fn unauthenticated() -> Self {
        let message = "Incorrect API key provided. Send a key of this gateway as \
                       `Authorization: Bearer <key>`.";
        Self::new(StatusCode::UNAUTHORIZED, "InvalidApiKey", message)
    }

    pub(crate) fn unknown_route(path: &str) -> Self {
        let path: String = path.chars().filter(|c| !c.is_control()).take(200).collect();
        let message = format!(
            "There is nothing at {path}. This gateway serves OpenAI's protocol under /v1 and \
             /compatible-mode/v1, Anthropic's under /anthropic and /apps/anthropic, and the \
             service's own under /api/v1."
        );
        Self::new(StatusCode::NOT_FOUND, "NotFound", message)
    }

    pub(crate) fn unknown_model(model: &str) -> Self {
        let model: String = model
            .chars()
            .filter(|c| !c.is_control())
            .take(200)
            .collect();
        let message =
            format!("The model `{model}` is not in the catalogue; GET /v1/models lists it.");
        Self::new(StatusCode::NOT_FOUND, "ModelNotFound", message)
    }

    pub(crate) fn method_not_allowed(allow: &'static str) -> Self {
        let message = format!("This path takes {allow} only.");
        let mut refusal = Self::new(StatusCode::METHOD_NOT_ALLOWED, "InvalidParameter", message);
        refusal.allow = Some(allow);
        refusal
    }

    pub(crate) fn body_too_large(limit: usize) -> Self {
        let message = format!(
            "The request body is larger than {limit} bytes, the most that this gateway takes. \
             Send files by URL instead of inline."
        );
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "BadRequest.TooLarge",
            message,
        )
    }

    pub(crate) fn headers_too_large(limit: usize) -> Self {
        let message = format!("The header lines are larger than {limit} bytes together.");
        Self::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "BadRequest.TooLarge",
            message,
        )
    }

    /// A body in a form that cannot be unpacked.
    pub(crate) fn unknown_encoding() -> Self {
        let message = "The request body has a Content-Encoding other than gzip, the only one that \
                       this gateway unpacks. Send it as it is, or with gzip.";
        let mut refusal = Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "InvalidParameter",
            message,
        );
        refusal.accept_encoding = true;
        refusal
    }

    /// A body that did not come at a reasonable pace.
    pub(crate) fn body_too_slow(rate: usize) -> Self {
        let message = format!(
            "The request body came more slowly than {rate} bytes per second, the least that this \
             gateway waits for."
        );
        Self::new(StatusCode::REQUEST_TIMEOUT, "RequestTimeOut", message)
    }

    pub(crate) fn body_timeout(limit: Duration) -> Self {
        let message = format!(
            "The request body did not arrive within {} seconds.",
            limit.as_secs()
        );
        Self::new(StatusCode::REQUEST_TIMEOUT, "RequestTimeOut", message)
    }

    pub(crate) fn internal() -> Self {
        let message = "The gateway failed on this request; its log says why, by the request id.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message)
    }

    pub(crate) fn redirected() -> Self {
        let message = "The model service answered with a redirect, which the gateway does not \
                       follow; check the account's base URL.";
        Self::new(StatusCode::BAD_GATEWAY, "InternalError", message)
    }

    /// No answer, or none that could be used, from upstream.
    pub(crate) fn upstream(error: &UpstreamError) -> Self {
        match error {
            UpstreamError::Connect { .. } | UpstreamError::ConnectTimeout { .. } => Self::new(
                StatusCode::BAD_GATEWAY,
                "ServiceUnavailable",
                "The gateway cannot reach the model service. Nothing was sent; try again.",
            ),
            UpstreamError::ResponseTimeout { .. } | UpstreamError::Idle { .. } => Self::new(
                StatusCode::GATEWAY_TIMEOUT,
                "RequestTimeOut",
                "The model service did not answer in time. The call may have been billed; \
                 streaming avoids long waits.",
            ),
            UpstreamError::Closed { .. } | UpstreamError::Cut { .. } => Self::new(
                StatusCode::BAD_GATEWAY,
                "ServiceUnavailable",
                "The model service broke the connection before its answer was complete. The call \
                 may have been billed.",
            ),
        }
    }

    /// No permit: nothing was sent.
    pub(crate) fn paced(refused: &Refused, model: &str) -> Self {
        let wait = refused.retry_after();
        let seconds = wait.map_or(0.0, |wait| wait.as_secs_f64());
        let throttled = |message: String| {
            Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "Throttling.RateQuota",
                message,
            )
        };
        let mut refusal = match refused {
            Refused::TooLate { .. } => throttled(format!(
                "The line for {model} is {seconds:.1} s long, longer than this request would wait. \
                 Nothing was sent; try again in {seconds:.1} s."
            )),
            Refused::TimedOut { .. } => throttled(format!(
                "The request waited for {model} as long as it would. Nothing was sent; it could \
                 go in about {seconds:.1} s."
            )),
            Refused::TenantLineFull { .. } => throttled(format!(
                "Too many requests of this tenant wait for {model}. Nothing was sent; try again \
                 in {seconds:.1} s."
            )),
            Refused::LineFull { .. } => throttled(format!(
                "Too many requests wait for {model}. Nothing was sent; try again in {seconds:.1} s."
            )),
            Refused::Stopped {
                code,
                message,
                status,
                ..
            } => {
                let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::FORBIDDEN);
                Self::new(status, code.to_string(), message.to_string())
            }
            _ => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "ServiceUnavailable",
                "The gateway is closing. Nothing was sent; try again.",
            ),
        };
        refusal.retry_after = wait;
        refusal
    }

    /// Whether other replicas were asked for what is missing, so that it may pass in a moment.
    pub(crate) fn may_pass_soon(&self) -> bool {
        self.may_pass_soon
    }

    /// The word for the limit or budget that stood in the way, of a small fixed set.
    pub(crate) fn limit(&self) -> Option<&'static str> {
        self.limit
    }

    pub(crate) fn with_param(mut self, param: &'static str) -> Self {
        self.param = Some(param);
        self
    }

    /// Whether upstream, not the caller, is why nothing was served.
    pub(crate) fn is_upstream_fault(&self) -> bool {
        self.status == StatusCode::BAD_GATEWAY || self.status == StatusCode::GATEWAY_TIMEOUT
    }

    /// Whether the model service itself refused.
    pub(crate) fn is_of_upstream(&self) -> bool {
        self.is_upstream
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    #[cfg(test)]
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// What upstream said, for those who read it in another dialect.
    pub(crate) fn of_api(error: &ApiError) -> Self {
        let code = error
            .native_code()
            .or(error.code())
            .unwrap_or(error.class().as_str());
        let status = StatusCode::from_u16(error.status())
            .ok()
            .filter(|status| status.is_client_error() || status.is_server_error());
        let status = status.or_else(|| StatusCode::from_u16(error.class().status()).ok());
        let status = status.unwrap_or(StatusCode::BAD_GATEWAY);
        let mut refusal = Self::new(status, code.to_owned(), error.message());
        refusal.upstream_id = error.request_id().map(Box::from);
        refusal.is_upstream = true;
        refusal
    }

    /// The same in other words.
    pub(crate) fn shown_by(mut self, show: impl FnOnce(&str) -> String) -> Self {
        self.message = show(&self.message);
        self
    }

    /// A translation that would change what the answer means.
    pub(crate) fn not_translatable(members: &str, to: Dialect) -> Self {
        Self::invalid_request(format!(
            "The model behind this name is asked in the {to} protocol, which has no place for: \
             {members}. Leave them out, or let the gateway drop them with `[repairs] \
             unsupported = \"drop\"`."
        ))
    }

    /// A key that may not use this model or endpoint.
    pub(crate) fn not_allowed(why: NotAllowed, what: &str) -> Self {
        let what: String = what.chars().filter(|c| !c.is_control()).take(100).collect();
        let message = format!("This API key cannot use `{what}`: {why}. Ask your operator for it.");
        Self::new(StatusCode::FORBIDDEN, "Model.AccessDenied", message)
    }

    /// A limit or a budget of the caller's own stands in the way.
    pub(crate) fn limited(refused: &bailian_tenants::budget::Refusal) -> Self {
        let code = if refused.kind.is_budget() {
            // OpenAI's clients do not try again what they are told so.
            "BudgetExceeded"
        } else {
            "Throttling.RateQuota"
        };
        let message = format!("Nothing was sent: {refused}.");
        let mut refusal = Self::new(StatusCode::TOO_MANY_REQUESTS, code, message);
        refusal.retry_after = refused.retry_after();
        refusal.limit = Some(refused.kind.as_str());
        refusal.may_pass_soon = refused.may_pass_soon;
        refusal
    }

    /// A model whose price nobody knows, for a caller whose money is counted.
    pub(crate) fn unpriced(model: &str) -> Self {
        let model: String = model
            .chars()
            .filter(|c| !c.is_control())
            .take(100)
            .collect();
        let message = format!(
            "Nothing was sent: this API key has a budget in money, and the price of `{model}` is \
             not known. The operator can state it under `[[prices.overrides]]`."
        );
        Self::new(StatusCode::FORBIDDEN, "Model.AccessDenied", message)
    }

    /// A call that only the model service understands, for a server that is not it.
    pub(crate) fn not_spoken_there(account: &str) -> Self {
        Self::invalid_request(format!(
            "This model is served by `{account}`, which speaks OpenAI's protocol only; call it \
             under /v1."
        ))
    }

    /// An answer that is not what the protocol says.
    pub(crate) fn unreadable() -> Self {
        Self::new(
            StatusCode::BAD_GATEWAY,
            "InternalError",
            "The model service answered with something that the gateway cannot read. The call may \
             have been billed.",
        )
    }

    /// A call whose result would be fetched later.
    pub(crate) fn no_tasks() -> Self {
        Self::invalid_request(
            "This gateway does not serve asynchronous tasks yet; leave out X-DashScope-Async, or \
             call the model service itself for this.",
        )
    }

    /// For those who write it themselves.
    pub(crate) fn view<'a>(&'a self, request_id: &'a str) -> ErrorView<'a> {
        let mut view = ErrorView::new(self.status.as_u16(), &self.code, &self.message);
        view.request_id = Some(self.upstream_id.as_deref().unwrap_or(request_id));
        view.param = self.param;
        view
    }

    /// The error object of `dialect`.
    pub(crate) fn to_body(&self, dialect: Dialect, request_id: &str) -> String {
        let (_, body) = encode_error(dialect, &self.view(request_id));
        body.to_string()
    }

    /// The error as an event that can end a stream of `dialect`.
    pub(crate) fn to_event(&self, dialect: Dialect, request_id: &str) -> String {
        error_event(dialect, self.status, &self.to_body(dialect, request_id))
    }

    pub(crate) fn to_response(&self, dialect: Dialect, request_id: &str) -> Response {
        let (status, body) = encode_error(dialect, &self.view(request_id));
        let mut response = Response::new(Body::from(body.to_string()));
        // One surface has a status of its own for a bad key.
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(self.status);
        let headers: &mut HeaderMap = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let source = if self.is_upstream {
            "upstream"
        } else {
            "gateway"
        };
        headers.insert(ERROR_SOURCE, HeaderValue::from_static(source));
        if let Some(wait) = self.retry_after {
            // Whole seconds for everybody, rounded up; milliseconds for those who read them.
            let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
            headers.insert(RETRY_AFTER, millis.div_ceil(1000).into());
            headers.insert(RETRY_AFTER_MS, millis.into());
        }
        if self.accept_encoding {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        }
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        response
    }
}

/// An error object of `dialect`, on one line, as an event that can end a stream.
pub(crate) fn error_event(dialect: Dialect, status: StatusCode, body: &str) -> String {
    match dialect {
        Dialect::Native => {
            let status = status.as_u16();
            format!("event:error\n:HTTP_STATUS/{status}\ndata:{body}\n\n")
        }
        Dialect::Anthropic => format!("event: error\ndata: {body}\n\n"),
        Dialect::OpenAi => format!("data: {body}\n\n"),
    }
}
