//! An answer with what came around it.

use std::ops::Deref;

use http::HeaderMap;

use crate::attempt::Attempt;

/// An answer, the head it came with, and what it took to get it. Dereferences to the answer.
#[derive(Debug, Clone)]
pub struct Response<T> {
    value: T,
    request_id: Option<String>,
    headers: HeaderMap,
    attempts: Vec<Attempt>,
}

// === impl Response ===

impl<T> Response<T> {
    pub(crate) fn new(
        value: T,
        request_id: Option<String>,
        headers: HeaderMap,
        attempts: Vec<Attempt>,
    ) -> Self {
        Self {
            value,
            request_id,
            headers,
            attempts,
        }
    }

    /// The service's id of the request, for its support.
    pub fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }

    /// The headers of the response.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Everything that was tried, the successful attempt last.
    pub fn attempts(&self) -> &[Attempt] {
        &self.attempts
    }

    /// The answer alone.
    pub fn into_inner(self) -> T {
        self.value
    }
}

impl<T> Deref for Response<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}
