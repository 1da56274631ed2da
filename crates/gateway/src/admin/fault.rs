//! What the admin API says when it does not do what was asked: one form for all of it.

use std::collections::BTreeMap;

use axum::response::{IntoResponse, Response};
use bailian_ledger::StoreError as LedgerError;
use bailian_tenants::settings::Problem;
use bailian_tenants::store::StoreError;
use bailian_tenants::{AdminError, NodeId};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderName, StatusCode};
use serde::Serialize;
use utoipa::openapi::{self, ContentBuilder, Ref, RefOr, ResponseBuilder};
use utoipa::{IntoResponses, ToSchema};

use crate::errors::ERROR_SOURCE;

/// An answer that is an error.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ErrorBody {
    error: Fault,
}

/// The answers that are errors, of every path, for the document.
pub(super) struct Faults;

impl IntoResponses for Faults {
    fn responses() -> BTreeMap<String, RefOr<openapi::Response>> {
        ["4XX", "5XX"]
            .into_iter()
            .map(|status| (status.to_owned(), described("")))
            .collect()
    }
}

/// The answer to a change that came too late, for the document.
pub(super) struct Overtaken;

impl IntoResponses for Overtaken {
    fn responses() -> BTreeMap<String, RefOr<openapi::Response>> {
        let fault = described("Somebody else was faster");
        BTreeMap::from([("412".to_owned(), fault)])
    }
}

fn described(what: &str) -> RefOr<openapi::Response> {
    let schema = Ref::from_schema_name(ErrorBody::name());
    let content = ContentBuilder::new().schema(Some(schema)).build();
    let response = ResponseBuilder::new().description(what);
    response.content("application/json", content).build().into()
}

/// What went wrong.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Error)]
pub(super) struct Fault {
    #[serde(skip)]
    #[schema(ignore)]
    status: StatusCode,
    /// A word for programs.
    #[schema(example = "invalid")]
    code: &'static str,
    /// A sentence for people, with what to do next.
    message: String,
    /// Every problem of the input, with its place.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<FaultPlace>)]
    problems: Vec<Problem>,
    /// Where somebody else was faster: the revision that it is at now.
    #[serde(skip_serializing_if = "Option::is_none")]
    current_revision: Option<u64>,
    #[serde(skip)]
    #[schema(ignore)]
    header: Option<(HeaderName, HeaderValue)>,
}

/// One problem of an input.
#[derive(Debug, ToSchema)]
#[schema(as = Problem)]
#[expect(dead_code, reason = "the form of `Problem`, for the document alone")]
pub(super) struct FaultPlace {
    /// The member, such as `budgets[0].money.currency`; `body` or `query` for the whole.
    path: String,
    /// What is wrong and what would be right.
    message: String,
}

impl Fault {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            problems: Vec::new(),
            current_revision: None,
            header: None,
        }
    }

    pub(super) fn invalid(problems: Vec<Problem>) -> Self {
        let message = match problems.as_slice() {
            [only] => format!("The input cannot be used: {only}."),
            all => format!("The input has {} problems.", all.len()),
        };
        Self {
            problems,
            ..Self::new(StatusCode::BAD_REQUEST, "invalid", message)
        }
    }

    /// One problem.
    pub(super) fn of_place(path: &str, message: impl Into<String>) -> Self {
        Self::invalid(vec![Problem::new(path, message)])
    }

    pub(super) fn not_the_operator() -> Self {
        let message = "This path needs the operator's token as `Authorization: Bearer <token>`: \
                       what `[admin] token` of the configuration or BAILIAN_ADMIN_TOKEN says.";
        let mut fault = Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message);
        fault.header = Some((
            http::header::WWW_AUTHENTICATE,
            HeaderValue::from_static("Bearer"),
        ));
        fault
    }

    pub(super) fn unknown_path() -> Self {
        let message = "There is nothing at this path; GET /admin/v1/openapi.json lists all.";
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    pub(super) fn no_such(id: &str) -> Self {
        let shown: String = id.chars().filter(|c| !c.is_control()).take(100).collect();
        let message = format!("There is no `{shown}`.");
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    pub(super) fn wrong_method() -> Self {
        let message = "This path does not take this method; GET /admin/v1/openapi.json lists all.";
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            message,
        )
    }

    /// A gateway without a data folder.
    pub(super) fn no_data() -> Self {
        let message = "This gateway keeps nothing: set `[data] folder`, or BAILIAN_DATA.";
        Self::new(StatusCode::CONFLICT, "no_data", message)
    }

    /// Something of the configuration, which nobody can change from here.
    pub(super) fn fixed(id: NodeId) -> Self {
        let message = format!("{id} stands in the configuration; change it there.");
        Self::new(StatusCode::CONFLICT, "fixed", message)
    }

    pub(super) fn no_revision() -> Self {
        let message = "Say which revision is to be changed, as `If-Match` or as the member \
                       `revision`, so that nobody's change is overwritten.";
        Self::new(
            StatusCode::PRECONDITION_REQUIRED,
            "revision_required",
            message,
        )
    }

    pub(super) fn too_large(limit: usize) -> Self {
        let message = format!("The body is larger than {limit} bytes.");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
    }

    pub(super) fn too_slow() -> Self {
        let message = "The body did not arrive in time.";
        Self::new(StatusCode::REQUEST_TIMEOUT, "too_slow", message)
    }

    pub(super) fn busy(message: &'static str) -> Self {
        let mut fault = Self::new(StatusCode::TOO_MANY_REQUESTS, "busy", message);
        fault.header = Some((http::header::RETRY_AFTER, HeaderValue::from_static("5")));
        fault
    }

    pub(super) fn internal() -> Self {
        let message = "The gateway failed on this request; its log says why.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }

    fn unavailable(what: &str) -> Self {
        let message = format!("{what} does not answer; the gateway's log says why.");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
    }
}

impl From<AdminError> for Fault {
    fn from(error: AdminError) -> Self {
        match error {
            AdminError::Invalid(problems) => Self::invalid(problems),
            AdminError::NotFound(id) => Self::no_such(&id.to_string()),
            AdminError::Revoked(_) => Self::new(StatusCode::CONFLICT, "revoked", sentence(&error)),
            AdminError::Store(error) => error.into(),
            error => {
                tracing::error!(%error, "an admin request failed");
                Self::internal()
            }
        }
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        let taken = |code| Self::new(StatusCode::CONFLICT, code, sentence(&error));
        match &error {
            StoreError::Conflict { id, current: None } => Self::no_such(&id.to_string()),
            StoreError::Conflict { current, .. } => {
                let status = StatusCode::PRECONDITION_FAILED;
                let mut fault = Self::new(status, "revision_conflict", sentence(&error));
                fault.current_revision = current.map(|revision| revision.0);
                fault
            }
            StoreError::NameTaken => taken("name_taken"),
            StoreError::KeyTaken => taken("key_taken"),
            StoreError::ParentMissing => taken("parent_missing"),
            StoreError::Unusable { .. } => taken("unusable"),
            _ => {
                log("the store of keys failed", &error);
                Self::unavailable("The store of keys")
            }
        }
    }
}

impl From<LedgerError> for Fault {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::TooManyGroups => Self::of_place("group_by", error.to_string()),
            error => {
                log("the ledger's store failed", &error);
                Self::unavailable("The ledger's store")
            }
        }
    }
}

fn log(what: &str, error: &dyn std::error::Error) {
    let cause = error.source().map(ToString::to_string);
    tracing::error!(%error, cause, "{what}");
}

/// The error's text as a sentence.
fn sentence(error: &dyn std::error::Error) -> String {
    let text = error.to_string();
    let mut chars = text.chars();
    let first = chars.next().map(|first| first.to_uppercase().to_string());
    format!("{}{}.", first.unwrap_or_default(), chars.as_str())
}

impl IntoResponse for Fault {
    fn into_response(mut self) -> Response {
        let status = self.status;
        let header = self.header.take();
        let body = serde_json::to_string(&ErrorBody { error: self });
        let mut response = Response::new(body.unwrap_or_default().into());
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ERROR_SOURCE, HeaderValue::from_static("gateway"));
        if let Some((name, value)) = header {
            headers.insert(name, value);
        }
        response
    }
}
