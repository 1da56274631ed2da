//! What the simulated service says no with.

use bailian_wire::Dialect;
use bailian_wire::error::{ErrorView, encode_error};

/// An error answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rejection {
    pub(crate) status: u16,
    /// In the native spelling.
    pub(crate) code: String,
    pub(crate) message: String,
    /// Where the compatible surface says it in other words.
    compat_message: Option<String>,
    pub(crate) param: Option<&'static str>,
}

impl Rejection {
    pub(crate) fn new(status: u16, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            status,
            code: code.into(),
            message: message.into(),
            compat_message: None,
            param: None,
        }
    }

    /// A 400 `InvalidParameter`.
    pub(crate) fn parameter(message: impl Into<String>) -> Self {
        Self::new(400, "InvalidParameter", message)
    }

    pub(crate) fn compat_message(mut self, message: impl Into<String>) -> Self {
        self.compat_message = Some(message.into());
        self
    }

    /// The body in the dialect that was called.
    pub(crate) fn body(&self, dialect: Dialect, request_id: &str) -> String {
        let message = match dialect {
            Dialect::Native => &self.message,
            _ => self.compat_message.as_ref().unwrap_or(&self.message),
        };
        let mut view = ErrorView::new(self.status, &self.code, message);
        view.request_id = Some(request_id);
        view.param = self.param;
        let (_, body) = encode_error(dialect, &view);
        body.to_string()
    }
}
