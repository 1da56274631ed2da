//! An answer on its way to the client who asked first, written down in passing.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;

use super::super::{Call, frames, headers};
use super::complete::{is_whole_answer, is_whole_stream, links_end};
use crate::cache::{Cache, Ending, Entry, Lead, forbids_keeping};
use crate::record::Record;
use crate::surface::Surface;

/// What later clients are told of an answer, of what its first client was told. Timings were those
/// of the first request.
const KEPT_HEADERS: [&str; 6] = [
    "content-type",
    "x-bailian-dropped",
    "x-bailian-translated",
    "x-bailian-upstream-request-id",
    "x-dashscope-call-gateway",
    "x-dashscope-finished",
];

/// Keeps the answer to a request, if it is one that can be kept. Dropped before its end, the next
/// who waits for the answer asks for it.
pub(in super::super) struct Keep {
    cache: Arc<Cache>,
    lead: Lead,
    ttl: Duration,
    surface: Surface,
    stream: bool,
    ending: Arc<Ending>,
    is_forbidden: bool,
}

impl Keep {
    pub(super) fn new(
        cache: Arc<Cache>,
        lead: Lead,
        ttl: Duration,
        call: &Call,
        record: &mut Record,
    ) -> Self {
        let ending = Arc::<Ending>::default();
        record.ending = Some(Arc::clone(&ending));
        Self {
            cache,
            lead,
            ttl,
            surface: call.surface.clone(),
            stream: call.demand.stream,
            ending,
            is_forbidden: false,
        }
    }

    /// Looks at the head of upstream's answer.
    pub(in super::super) fn see(&mut self, upstream: &HeaderMap) {
        self.is_forbidden |= forbids_keeping(upstream);
    }

    /// Writes the client's answer down. A plain one is there already; a stream is followed.
    pub(in super::super) async fn watch(self: Box<Self>, response: Response) -> Response {
        let (head, body) = response.into_parts();
        let is_stream = headers::is_event_stream(&head.headers);
        if head.status != StatusCode::OK
            || self.is_forbidden
            || is_stream != self.stream
            || !head.headers.contains_key(CONTENT_TYPE)
            || head.headers.contains_key(CONTENT_ENCODING)
        {
            self.lead.fail();
            return Response::from_parts(head, body);
        }
        let lines = kept_lines(&head.headers);
        if is_stream {
            let room = Room {
                cache: Arc::clone(&self.cache),
                bytes: 0,
            };
            let recording = Recording {
                keep: self,
                headers: lines,
                body: BytesMut::new(),
                ends: Vec::new(),
                room,
            };
            let body = RecordingBody {
                body,
                recording: Some(recording),
            };
            return Response::from_parts(head, Body::new(body));
        }
        // A longer one is still coming, or too long to be kept.
        let most = self.cache.config.max_entry_bytes as u64;
        if body.size_hint().exact().is_none_or(|length| length > most) {
            self.lead.fail();
            return Response::from_parts(head, body);
        }
        let Ok(whole) = body.collect().await else {
            // A body of known length is in memory and cannot fail.
            self.lead.fail();
            return Response::from_parts(head, Body::empty());
        };
        let bytes = whole.to_bytes();
        if is_whole_answer(&self.surface, &bytes) {
            // A copy, since these bytes may be a part of a larger piece that was read.
            self.finish(lines, Bytes::copy_from_slice(&bytes), None);
        } else {
            self.lead.fail();
        }
        Response::from_parts(head, Body::from(bytes))
    }

    /// Keeps a complete answer and gives it to those who wait.
    fn finish(self, headers: HeaderMap, body: Bytes, ends: Option<Box<[u32]>>) {
        let now = self.cache.now();
        let mut ttl = self.ttl;
        if let Some(end) = links_end(&body) {
            let left = end.saturating_mul(1000).saturating_sub(now);
            ttl = ttl.min(Duration::from_millis(left));
        }
        if ttl.is_zero() || !self.ending.is_whole() {
            self.lead.fail();
            return;
        }
        let entry = Arc::new(Entry {
            headers,
            body,
            ends,
            usage: self.ending.usage(),
            made: now,
        });
        // First, so that who comes when nobody waits any more finds it.
        self.cache.put(self.lead.key(), &entry, ttl);
        self.lead.land(&entry, false);
    }
}

fn kept_lines(from: &HeaderMap) -> HeaderMap {
    let lines = from
        .iter()
        .filter(|(name, _)| KEPT_HEADERS.contains(&name.as_str()));
    lines
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// Room in the cache's bound on answers that are still coming.
struct Room {
    cache: Arc<Cache>,
    bytes: usize,
}

impl Room {
    fn grow(&mut self, bytes: usize) -> bool {
        let has_grown = self.cache.take_room(bytes);
        if has_grown {
            self.bytes += bytes;
        }
        has_grown
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.cache.leave_room(self.bytes);
    }
}

/// A stream as far as it has come.
struct Recording {
    keep: Box<Keep>,
    headers: HeaderMap,
    body: BytesMut,
    ends: Vec<u32>,
    room: Room,
}

impl Recording {
    /// Writes down what goes to the client. Says whether the stream can still be kept: not if it is
    /// too long, or passes in pieces of frames, as only such ones do that are too long for any cache.
    fn push(&mut self, frames: &[u8]) -> bool {
        let most = self.keep.cache.config.max_entry_bytes;
        let is_whole = frames.ends_with(b"\n\n") || frames.ends_with(b"\n\r\n");
        if !is_whole || self.body.len() + frames.len() > most || !self.room.grow(frames.len()) {
            return false;
        }
        for frame in frames::split(frames).filter(|frame| !is_comment(frame)) {
            self.body.extend_from_slice(frame);
            let Ok(end) = u32::try_from(self.body.len()) else {
                return false;
            };
            self.ends.push(end);
        }
        true
    }

    /// The stream ended.
    fn finish(self) {
        let start = self.ends.iter().rev().nth(1);
        let last = self.body.get(start.map_or(0, |end| *end as usize)..);
        if last.is_some_and(|last| is_whole_stream(&self.keep.surface, last)) {
            // Copied once, so that nothing is left over from growing.
            let body = Bytes::copy_from_slice(&self.body);
            let ends = self.ends.into_boxed_slice();
            self.keep.finish(self.headers, body, Some(ends));
        } else {
            self.fail();
        }
    }

    fn fail(self) {
        self.keep.lead.fail();
    }
}

/// A comment says something of the first client's connection, nothing of the answer.
fn is_comment(frame: &[u8]) -> bool {
    frame
        .split(|byte| *byte == b'\n')
        .all(|line| line.is_empty() || line == b"\r" || line.starts_with(b":"))
}

/// A stream on its way to its first client.
struct RecordingBody {
    body: Body,
    /// `None` once it is kept, or will not be.
    recording: Option<Recording>,
}

impl RecordingBody {
    fn give_up(&mut self) {
        if let Some(recording) = self.recording.take() {
            recording.fail();
        }
    }
}

impl http_body::Body for RecordingBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &polled {
            Some(Ok(frame)) => {
                if let (Some(data), Some(recording)) = (frame.data_ref(), &mut self.recording)
                    && !recording.push(data)
                {
                    self.give_up();
                }
            }
            Some(Err(_)) => self.give_up(),
            None => {}
        }
        // After its last frame a body need not be asked again.
        if (polled.is_none() || self.body.is_end_stream())
            && let Some(recording) = self.recording.take()
        {
            recording.finish();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_told_from_events() {
        for frame in [
            ": keep-alive\n\n",
            ": x-bailian-queue-ms 5\n\n",
            ":\r\n\r\n",
        ] {
            assert!(is_comment(frame.as_bytes()), "{frame}");
        }
        for frame in [
            "data: {}\n\n",
            "id:1\nevent:result\n:HTTP_STATUS/200\ndata:{}\n\n",
            "event: ping\ndata: {\"type\":\"ping\"}\n\n",
        ] {
            assert!(!is_comment(frame.as_bytes()), "{frame}");
        }
    }
}
