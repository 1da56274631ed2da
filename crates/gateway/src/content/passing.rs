//! A request and its answer, written down in passing.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::CONTENT_ENCODING;
use http_body::{Frame, SizeHint};

use super::said::{Form, Passed};
use super::{Contents, Held, MARGIN, MOST_BYTES, MOST_STREAM_BYTES, content_of};
use crate::record::Record;
use crate::relay::Demand;
use crate::state::State;
use crate::surface::Surface;

/// What has passed of a request and its answer so far. Dropped, it goes where it is kept: so does
/// what a client has that left.
pub(crate) struct Passing {
    contents: Arc<Contents>,
    /// `None` once it has gone.
    passed: Option<Passed>,
    most: usize,
}

impl Passing {
    /// Begins, if whose the request is wants it kept.
    pub(crate) fn begin(
        state: &State,
        record: &Record,
        surface: &Surface,
        demand: &Demand,
        body: &Bytes,
    ) -> Option<Self> {
        let caller = record.owner.as_ref()?.caller.as_deref()?;
        let keep = caller.keep_content()?;
        let contents = Arc::clone(&state.accounting.as_ref()?.contents);
        let mut held = Held {
            counts: Arc::clone(&contents.counts),
            bytes: 0,
        };
        let request = body.get(..MOST_BYTES + MARGIN).unwrap_or(body);
        if !held.grow(request.len()) {
            contents.count_dropped();
            return None;
        }
        let mut content = content_of(record.request_id.uuid(), state.clock.unix_millis(), caller);
        content.redacted = keep.redact;
        content.request_cut = request.len() < body.len();
        let passed = Passed {
            content,
            // A copy: the whole may be long, or a part of what a connection read.
            request: request.to_vec(),
            answer: Vec::new(),
            form: Form::Whole,
            surface: surface.clone(),
            model: demand.model.clone(),
            incremental: demand.incremental,
            held,
        };
        Some(Self {
            contents,
            passed: Some(passed),
            most: MOST_BYTES + MARGIN,
        })
    }

    /// Follows the answer to its end.
    pub(crate) fn watch(mut self, response: Response) -> Response {
        let (head, body) = response.into_parts();
        if let Some(passed) = &mut self.passed {
            if head.headers.contains_key(CONTENT_ENCODING) {
                passed.form = Form::Packed;
            } else if crate::relay::is_event_stream(&head.headers) {
                passed.form = Form::Stream;
                self.most = MOST_STREAM_BYTES;
            }
        }
        let body = PassingBody {
            body,
            passing: Some(self),
        };
        Response::from_parts(head, Body::new(body))
    }

    fn push(&mut self, data: &[u8]) {
        let Some(passed) = &mut self.passed else {
            return;
        };
        if passed.content.answer_cut || passed.form == Form::Packed {
            return;
        }
        let left = self.most - passed.answer.len().min(self.most);
        let part = data.get(..left).unwrap_or(data);
        if !passed.held.grow(part.len()) {
            passed.content.answer_cut = true;
            return;
        }
        passed.content.answer_cut = part.len() < data.len();
        passed.answer.extend_from_slice(part);
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        if let Some(passed) = self.passed.take() {
            self.contents.keep(passed);
        }
    }
}

/// An answer on its way to its client.
struct PassingBody {
    body: Body,
    /// `None` once the end has passed.
    passing: Option<Passing>,
}

impl http_body::Body for PassingBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &polled
            && let (Some(data), Some(passing)) = (frame.data_ref(), &mut self.passing)
        {
            passing.push(data);
        }
        // After its last frame a body need not be asked again.
        if !matches!(polled, Some(Ok(_))) || self.body.is_end_stream() {
            drop(self.passing.take());
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
