//! A kept answer on its way to another client.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http_body::Frame;

use super::super::headers;
use crate::cache::Entry;
use crate::metrics::Outcome;
use crate::record::Record;

/// The response: a stream as a stream, each frame whole.
pub(super) fn response(entry: &Arc<Entry>, mut record: Box<Record>) -> Response {
    let mut lines = entry.headers.clone();
    let body = if entry.ends.is_some() {
        headers::unbuffered(&mut lines);
        record.begin_stream();
        Body::new(ReplayBody {
            entry: Arc::clone(entry),
            next: 0,
            record,
        })
    } else {
        record.note_first_byte();
        record.end_as(Outcome::Completed);
        Body::from(entry.body.clone())
    };
    let mut response = Response::new(body);
    *response.headers_mut() = lines;
    response
}

/// The frames of a kept stream, one after the other.
struct ReplayBody {
    entry: Arc<Entry>,
    next: usize,
    /// Says that the client left if it is dropped before the last frame.
    record: Box<Record>,
}

impl http_body::Body for ReplayBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let frame = self.entry.frame(self.next);
        if frame.is_some() {
            self.next += 1;
            self.record.note_first_byte();
        }
        if self.is_end_stream() {
            self.record.end_as(Outcome::Completed);
        }
        Poll::Ready(frame.map(|frame| Ok(Frame::data(frame))))
    }

    fn is_end_stream(&self) -> bool {
        let frames = self.entry.ends.as_ref().map_or(0, |ends| ends.len());
        self.next >= frames
    }
}
