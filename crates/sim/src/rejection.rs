//! What the simulated service says no with.

use bailian_wire::Dialect;
use bailian_wire::error::{ErrorTable, ErrorView, encode_error};
use serde_json::json;

use crate::faults::Fault;

/// What compatible messages about limits end with (compat.md §7.1).
macro_rules! more_at {
    ($message:literal, $anchor:literal) => {
        concat!(
            $message,
            " For details, see: https://help.aliyun.com/zh/model-studio/error-code#",
            $anchor
        )
    };
}

/// An error answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rejection {
    pub(crate) status: u16,
    /// In the native spelling.
    pub(crate) code: String,
    pub(crate) message: String,
    /// Where the compatible surface says it in other words.
    compat_message: Option<String>,
    /// Where the compatible surface has a code that the catalogue has under another name.
    compat_code: Option<&'static str>,
    pub(crate) param: Option<&'static str>,
    compat_form: CompatForm,
}

/// Which members an error of the compatible surface has (compat.md §7.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum CompatForm {
    /// All of them.
    #[default]
    Full,
    /// Message and type: what the entrance says before a model is asked.
    Bare,
    /// Message and the native code as the type: of stored responses.
    TypedByCode,
}

impl Rejection {
    pub(crate) fn new(status: u16, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            status,
            code: code.into(),
            message: message.into(),
            compat_message: None,
            compat_code: None,
            param: None,
            compat_form: CompatForm::default(),
        }
    }

    /// A 400 `InvalidParameter`.
    pub(crate) fn parameter(message: impl Into<String>) -> Self {
        Self::new(400, "InvalidParameter", message)
    }

    /// The error that the catalogue documents for a native code.
    pub(crate) fn documented(code: &str) -> Self {
        let entries = ErrorTable::embedded().entries();
        let named = || {
            entries
                .iter()
                .filter(|entry| entry.code.as_deref() == Some(code))
        };
        // Codes of limits are there with another status too, for exhausted free quotas.
        let entry = named()
            .find(|entry| entry.status == Some(429))
            .or_else(|| named().next());
        let message = entry.and_then(|entry| entry.messages.first());
        let rejection = Self::new(
            entry.and_then(|entry| entry.status).unwrap_or(500),
            code,
            message.map_or("Simulated fault.", |message| message),
        );
        match code {
            "Throttling.RateQuota" => Self {
                message: "Requests rate limit exceeded, please try again later.".to_owned(),
                ..rejection
            }
            .compat_message(more_at!(
                "You exceeded your current requests list.",
                "rate-limit"
            )),
            "Throttling.AllocationQuota" => rejection.compat_message(more_at!(
                "You exceeded your current quota, please check your plan and billing details.",
                "token-limit"
            )),
            _ => rejection,
        }
    }

    /// The first error that the catalogue documents for an HTTP status.
    fn of_status(status: u16) -> Self {
        let entry = ErrorTable::embedded()
            .entries()
            .iter()
            .find(|entry| entry.status == Some(status) && entry.code.is_some());
        let code = entry.and_then(|entry| entry.code.as_deref());
        Self {
            status,
            ..Self::documented(code.unwrap_or("InternalError"))
        }
    }

    /// The error that a fault asks for.
    pub(crate) fn of_fault(fault: &Fault) -> Option<Self> {
        match fault {
            Fault::Status(status) => Some(Self::of_status(*status)),
            Fault::Code(code) | Fault::CodeIn200(code) => Some(Self::documented(code)),
            _ => None,
        }
    }

    /// The error of an error frame.
    pub(crate) fn of_late_fault(faults: &[Fault]) -> Self {
        let mut asked = faults.iter().filter_map(Self::of_fault);
        asked.next().unwrap_or_else(|| Self::of_status(500))
    }

    pub(crate) fn compat_message(mut self, message: impl Into<String>) -> Self {
        self.compat_message = Some(message.into());
        self
    }

    /// Only message and type on the compatible surface.
    pub(crate) fn bare(mut self) -> Self {
        self.compat_form = CompatForm::Bare;
        self
    }

    /// The native code as the type, and no code, on the compatible surface.
    pub(crate) fn typed_by_code(mut self) -> Self {
        self.compat_form = CompatForm::TypedByCode;
        self
    }

    pub(crate) fn compat_code(mut self, code: &'static str) -> Self {
        self.compat_code = Some(code);
        self
    }

    /// Code and message as the compatible surface has them.
    pub(crate) fn compat_words(&self) -> (&str, &str) {
        let code = self.compat_code.unwrap_or(&self.code);
        (code, self.compat_message.as_ref().unwrap_or(&self.message))
    }

    /// The body in the dialect that was called.
    pub(crate) fn body(&self, dialect: Dialect, request_id: &str) -> String {
        let (code, message) = match dialect {
            Dialect::Native => (self.code.as_str(), self.message.as_str()),
            _ => self.compat_words(),
        };
        let kind = match (dialect, self.compat_form) {
            (Dialect::OpenAi, CompatForm::Bare) => Some("invalid_request_error"),
            (Dialect::OpenAi, CompatForm::TypedByCode) => Some(self.code.as_str()),
            _ => None,
        };
        if let Some(kind) = kind {
            return json!({ "error": { "message": message, "type": kind } }).to_string();
        }
        let mut view = ErrorView::new(self.status, code, message);
        view.request_id = Some(request_id);
        view.param = self.param;
        let (_, body) = encode_error(dialect, &view);
        body.to_string()
    }
}
