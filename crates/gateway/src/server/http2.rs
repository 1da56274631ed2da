//! HTTP/2 on the client's side: its bounds, and the streams of a connection.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::{Buf as _, Bytes};
use http_body::{Frame, SizeHint};
use hyper::rt::Executor;
use hyper::server::conn::http2::Builder;
use hyper_util::rt::TokioTimer;
use tokio_util::task::TaskTracker;

use crate::config::Limits;

/// How much of a request body may be under way to the gateway, per stream and per connection, in
/// bytes. Nothing is reserved for it.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// How much of an answer is held for a client that takes it slowly, per stream, in bytes.
const SEND_BUFFER: usize = 64 * 1024;

/// An answer is handed over in pieces of at most so many bytes, each when the client has room.
const PIECE: usize = 16 * 1024;

/// What a header line counts beside its bytes (RFC 9113, 6.5.2), for as many as HTTP/1.1 takes.
const LINES_OVERHEAD: usize = 32 * 128;

/// Streams that a client resets before they were looked at; more end the connection (rapid reset,
/// CVE-2023-44487).
const MAX_EARLY_RESETS: usize = 20;

/// Streams that the gateway resets for what the client did wrong; more end the connection.
const MAX_ERROR_RESETS: usize = 100;

/// How often a client is asked whether it is still there, and how long it may take to say so.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// How connections are served whose streams run as `streams` says.
pub(super) fn builder(limits: &Limits, streams: Streams) -> Builder<Streams> {
    // Twice what the relay accepts, so that it is the relay that refuses, in the caller's dialect.
    let headers = limits.max_header_bytes.saturating_mul(2) + LINES_OVERHEAD;
    let mut builder = Builder::new(streams);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.max_streams_per_connection)
        .max_header_list_size(u32::try_from(headers).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(MAX_EARLY_RESETS)
        .max_local_error_reset_streams(MAX_ERROR_RESETS)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

/// Runs the streams of one connection, and ends those whose client takes nothing for too long.
#[derive(Clone)]
pub(super) struct Streams {
    tasks: TaskTracker,
    write_limit: Duration,
    activity: Arc<Activity>,
}

/// How busy a connection is.
#[derive(Default)]
struct Activity {
    open: AtomicUsize,
    begun: AtomicUsize,
}

impl Streams {
    pub(super) fn new(tasks: TaskTracker, write_limit: Duration) -> Self {
        Self {
            tasks,
            write_limit,
            activity: Arc::default(),
        }
    }

    /// How many streams have begun so far, if none is open.
    pub(super) fn idle(&self) -> Option<usize> {
        let open = self.activity.open.load(Ordering::Relaxed);
        (open == 0).then(|| self.activity.begun.load(Ordering::Relaxed))
    }
}

impl<F> Executor<F> for Streams
where
    F: Future + Send + 'static,
{
    fn execute(&self, stream: F) {
        self.activity.begun.fetch_add(1, Ordering::Relaxed);
        self.activity.open.fetch_add(1, Ordering::Relaxed);
        let open = OpenStream(Arc::clone(&self.activity));
        let limit = self.write_limit;
        self.tasks.spawn(async move {
            let _held_until_the_end = open;
            watched(stream, limit).await;
        });
    }
}

struct OpenStream(Arc<Activity>);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

tokio::task_local! {
    /// The watch of the stream whose request is being answered.
    static WATCH: Arc<Watch>;
}

/// Runs one stream until it ends, or until its client has taken nothing for `limit`. Then it is
/// dropped, which resets it and ends its upstream request.
async fn watched<F: Future>(stream: F, limit: Duration) {
    let watch = Arc::new(Watch::default());
    let mut stream = pin!(WATCH.scope(Arc::clone(&watch), stream));
    let mut held_up: Option<(usize, Pin<Box<tokio::time::Sleep>>)> = None;
    std::future::poll_fn(|cx| {
        if stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let Some(taken) = watch.taken_when_held_up() else {
            held_up = None;
            return Poll::Pending;
        };
        let begins_now = held_up.as_ref().is_none_or(|(before, _)| *before != taken);
        if begins_now {
            held_up = Some((taken, Box::pin(tokio::time::sleep(limit))));
        }
        match &mut held_up {
            Some((_, timer)) => timer.as_mut().poll(cx),
            None => Poll::Pending,
        }
    })
    .await;
}

/// What a stream waits for.
#[derive(Default)]
struct Watch {
    waits_for: AtomicU8,
    /// Pieces of the answer that were taken.
    taken: AtomicUsize,
}

/// The answer has not begun, or nothing new of it is there: it is not the client that is waited for.
const OURSELVES: u8 = 0;
/// The client has room for no more.
const CLIENT: u8 = 1;

impl Watch {
    fn waits_for(&self, whom: u8) {
        self.waits_for.store(whom, Ordering::Relaxed);
    }

    /// How many pieces the client has taken, if it is the client that does not take more.
    fn taken_when_held_up(&self) -> Option<usize> {
        let is_held_up = self.waits_for.load(Ordering::Relaxed) == CLIENT;
        is_held_up.then(|| self.taken.load(Ordering::Relaxed))
    }
}

/// An answer's body, given out in small pieces. It is asked for the next one only when the client
/// has room.
pub(super) struct Pieces {
    body: Body,
    /// What is left of a large frame.
    rest: Bytes,
    watch: Option<Arc<Watch>>,
}

impl Pieces {
    /// The body of the answer that the current stream gives.
    pub(super) fn new(body: Body) -> Self {
        let watch = WATCH.try_with(Arc::clone).ok();
        if let Some(watch) = &watch {
            watch.waits_for(CLIENT);
        }
        Self {
            body,
            rest: Bytes::new(),
            watch,
        }
    }

    fn give(&mut self, mut data: Bytes) -> Frame<Bytes> {
        if data.len() > PIECE {
            self.rest = data.split_off(PIECE);
        }
        if let Some(watch) = &self.watch {
            watch.taken.fetch_add(1, Ordering::Relaxed);
            watch.waits_for(CLIENT);
        }
        Frame::data(data)
    }
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        if this.rest.has_remaining() {
            let rest = std::mem::take(&mut this.rest);
            return Poll::Ready(Some(Ok(this.give(rest))));
        }
        if let Some(watch) = &this.watch {
            watch.waits_for(OURSELVES);
        }
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        Poll::Ready(match frame {
            Some(Ok(frame)) => Some(Ok(match frame.into_data() {
                Ok(data) => this.give(data),
                Err(trailers) => trailers,
            })),
            end => end,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let inner = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower().saturating_add(rest));
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint
    }
}
