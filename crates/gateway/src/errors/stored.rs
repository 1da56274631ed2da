//! What is said of things that the service keeps.

use std::time::Duration;

use bailian_tenants::ObjectKind;
use http::StatusCode;

use super::Refusal;

impl Refusal {
    /// A response that nobody knows, or that is another tenant's (compat.md §5.2).
    pub(crate) fn unknown_response(id: &str) -> Self {
        let shown: String = id.chars().take(100).collect();
        Self::new(
            StatusCode::NOT_FOUND,
            "InvalidParameter",
            format!("Response with id '{shown}' not found."),
        )
    }

    /// A thing of the service that nobody knows, or that is another tenant's.
    pub(crate) fn unknown_object(kind: ObjectKind, id: &str) -> Self {
        let shown: String = id.chars().filter(|c| !c.is_control()).take(100).collect();
        let what = match kind {
            ObjectKind::Response => return Self::unknown_response(&shown),
            ObjectKind::Conversation => "Conversation",
            ObjectKind::Session => "Session",
            ObjectKind::Task => "Task",
            ObjectKind::File => "File",
            ObjectKind::Batch => "Batch",
            _ => "Object",
        };
        Self::new(
            StatusCode::NOT_FOUND,
            "InvalidParameter",
            format!("{what} with id '{shown}' not found."),
        )
    }

    /// A thing of the service whose owner cannot be looked up now.
    pub(crate) fn owner_unknown() -> Self {
        let mut refusal = Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "ServiceUnavailable",
            "The gateway cannot find out whose this is, since its store of keys does not answer. \
             Nothing was sent; try again.",
        );
        refusal.retry_after = Some(Duration::from_secs(1));
        refusal
    }

    /// A thing of the service that its owner uses with a model which is not where the thing is.
    pub(crate) fn held_elsewhere() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "InvalidParameter",
            "What this request goes on from is kept by an account that does not serve this model. \
             Name the model that made it.",
        )
    }
}
