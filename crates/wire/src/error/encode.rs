//! Writes errors in each dialect's own shape and spelling.

use serde_json::{Value, json};

use super::{ErrorClass, ErrorTable, Signals, classify};
use crate::Dialect;

/// An error to be written. The code is in the native spelling; each dialect gets its own.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ErrorView<'a> {
    /// HTTP status.
    pub status: u16,
    /// Native code, such as `InvalidApiKey`.
    pub code: &'a str,
    /// The text.
    pub message: &'a str,
    /// Id of the request.
    pub request_id: Option<&'a str>,
    /// The parameter at fault.
    pub param: Option<&'a str>,
}

impl<'a> ErrorView<'a> {
    /// An error without request id and parameter.
    pub fn new(status: u16, code: &'a str, message: &'a str) -> Self {
        Self {
            status,
            code,
            message,
            request_id: None,
            param: None,
        }
    }
}

/// The status and the JSON body of the error in `dialect` (compat.md §7.1, §6.4).
pub fn encode_error(dialect: Dialect, error: &ErrorView<'_>) -> (u16, Value) {
    match dialect {
        Dialect::Native => {
            let mut body = json!({ "code": error.code, "message": error.message });
            add_request_id(&mut body, error.request_id);
            (error.status, body)
        }
        Dialect::OpenAi => {
            let (code, kind) = compat_spelling(error);
            let mut body = json!({
                "error": {
                    "message": error.message,
                    "type": kind,
                    "param": error.param,
                    "code": code,
                },
            });
            add_request_id(&mut body, error.request_id);
            (error.status, body)
        }
        Dialect::Anthropic => {
            let signals = Signals::new(Some(error.status), Some(error.code), error.message);
            let kind = match error.status {
                413 => "request_too_large",
                _ => anthropic_type(classify(&signals).class),
            };
            let mut body =
                json!({ "type": "error", "error": { "type": kind, "message": error.message } });
            add_request_id(&mut body, error.request_id);
            // A bad key is 403 on this surface only (errors.json, `anthropic_endpoint`).
            let status = if error.status == 401 {
                403
            } else {
                error.status
            };
            (status, body)
        }
    }
}

fn add_request_id(body: &mut Value, request_id: Option<&str>) {
    if let (Some(id), Some(object)) = (request_id, body.as_object_mut()) {
        object.insert("request_id".to_owned(), Value::from(id));
    }
}

/// `error.code` and `error.type` of the OpenAI-compatible surface.
fn compat_spelling<'a>(error: &ErrorView<'a>) -> (&'a str, &'a str) {
    let entry = ErrorTable::embedded()
        .entries()
        .iter()
        .filter(|entry| entry.code.as_deref() == Some(error.code) && entry.compat_code.is_some())
        .max_by_key(|entry| entry.status == Some(error.status));
    let code = entry
        .and_then(|entry| entry.compat_code.as_deref())
        .unwrap_or(error.code);
    let kind = entry
        .and_then(|entry| entry.compat_type.as_deref())
        .unwrap_or({
            match error.status {
                400..=428 | 430..=499 => "invalid_request_error",
                _ => code,
            }
        });
    (code, kind)
}

/// `error.type` of the Anthropic-compatible surface.
pub fn anthropic_type(class: ErrorClass) -> &'static str {
    match class {
        ErrorClass::Authentication => "authentication_error",
        ErrorClass::Permission => "permission_error",
        ErrorClass::InvalidRequest | ErrorClass::ContentFilter => "invalid_request_error",
        ErrorClass::NotFound => "not_found_error",
        ErrorClass::RateLimitRequests
        | ErrorClass::RateLimitTokens
        | ErrorClass::RateLimitBurst => "rate_limit_error",
        ErrorClass::QuotaExhausted => "billing_error",
        ErrorClass::Timeout => "timeout_error",
        ErrorClass::Server => "api_error",
        ErrorClass::Unavailable => "overloaded_error",
    }
}
