//! An upstream that a test plays, and a clock that it turns.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use bailian_gateway::upstream::{Origin, Upstream, UpstreamBody, UpstreamFuture};
use bailian_gateway::{Clock, Config, Gateway};
use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, oneshot};
use tower::ServiceExt as _;

use super::support::{KEY, OPENAI, post};

/// The next frames of a stream; dropping it ends the stream.
pub(crate) type Frames = mpsc::UnboundedSender<&'static str>;

pub(crate) const FRAME: &str =
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"你\"},\"finish_reason\":null}]}\n\n";
pub(crate) const FINISH: &str =
    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
pub(crate) const DONE: &str = "data: [DONE]\n\n";

#[derive(Default)]
struct Played {
    /// Requests that wait for their answer.
    asked: Mutex<VecDeque<oneshot::Sender<http::Response<UpstreamBody>>>>,
    arrived: Notify,
    count: AtomicU64,
}

impl std::fmt::Debug for Played {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Played")
    }
}

impl Upstream for Played {
    fn send<'a>(&'a self, _: &'a Origin, _: Request<Bytes>) -> UpstreamFuture<'a> {
        let (sender, receiver) = oneshot::channel();
        self.asked.lock().push_back(sender);
        self.count.fetch_add(1, Ordering::SeqCst);
        self.arrived.notify_one();
        Box::pin(async move { Ok(receiver.await.unwrap()) })
    }
}

#[derive(Debug)]
struct Turned {
    started: Instant,
    millis: AtomicU64,
}

impl Clock for Turned {
    fn now(&self) -> Instant {
        self.started + Duration::from_millis(self.millis.load(Ordering::SeqCst))
    }

    fn unix_millis(&self) -> u64 {
        1_700_000_000_000 + self.millis.load(Ordering::SeqCst)
    }
}

/// A gateway whose upstream and clock the test plays.
pub(crate) struct Stage {
    app: Router,
    upstream: Arc<Played>,
    clock: Arc<Turned>,
}

impl Stage {
    pub(crate) fn new(cache: &str) -> Self {
        // The clock stands still, so that nothing may have to wait for it.
        Self::with(cache, "requests = [\"1000000/1s\"]\nramp = false")
    }

    /// `limits`: of every model.
    pub(crate) fn with(cache: &str, limits: &str) -> Self {
        let text = format!(
            r#"
            [pacing]
            keep_alive = "5s"
            [cache]
            {cache}
            [[routes]]
            model = "*"
            targets = [{{}}]
            cache = true
            [[accounts]]
            api_keys = ["sk-upstream-0001"]
            base_url = "http://upstream.test"
            quota_api = false
            [[accounts.limits]]
            model = "*"
            {limits}
            [[keys]]
            name = "test"
            key = "{KEY}"
            "#
        );
        let config = Config::parse(&text, "test", &|_: &str| None).unwrap();
        let upstream = Arc::new(Played::default());
        let clock = Arc::new(Turned {
            started: Instant::now(),
            millis: AtomicU64::new(0),
        });
        let gateway = Gateway::builder(config)
            .upstream(Arc::clone(&upstream) as Arc<dyn Upstream>)
            .clock(Arc::clone(&clock) as Arc<dyn Clock>)
            .build()
            .unwrap();
        Self {
            app: gateway.router(),
            upstream,
            clock,
        }
    }

    pub(crate) fn turn(&self, by: Duration) {
        let millis = u64::try_from(by.as_millis()).unwrap();
        self.clock.millis.fetch_add(millis, Ordering::SeqCst);
    }

    /// How many requests upstream has seen.
    pub(crate) fn asked(&self) -> u64 {
        self.upstream.count.load(Ordering::SeqCst)
    }

    pub(crate) fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> impl Future<Output = Response> + Send + use<> {
        let app = self.app.clone();
        async move { app.oneshot(request.map(Body::new)).await.unwrap() }
    }

    /// The head and the body of an answer.
    pub(crate) fn ask(
        &self,
        request: Request<Full<Bytes>>,
    ) -> impl Future<Output = (HeaderMap, String)> + Send + use<> {
        let response = self.send(request);
        async move { whole(response.await).await }
    }

    /// Waits for a request, and answers it.
    pub(crate) async fn answer(&self, response: http::Response<UpstreamBody>) {
        loop {
            let next = self.upstream.asked.lock().pop_front();
            // Who has left needs no answer.
            if let Some(next) = next.filter(|next| !next.is_closed()) {
                assert!(next.send(response).is_ok());
                return;
            }
            self.upstream.arrived.notified().await;
        }
    }

    /// A request that goes upstream, and its answer.
    pub(crate) async fn miss(
        &self,
        request: Request<Full<Bytes>>,
        response: http::Response<UpstreamBody>,
    ) -> (HeaderMap, String) {
        let (got, ()) = tokio::join!(self.ask(request), self.answer(response));
        assert_eq!(super::result(&got.0), Some("miss"));
        got
    }
}

pub(crate) async fn whole(response: Response) -> (HeaderMap, String) {
    let (head, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    (head.headers, String::from_utf8(bytes.to_vec()).unwrap())
}

/// A question, different for each number.
pub(crate) fn question(number: usize, stream: bool) -> Request<Full<Bytes>> {
    let content = format!("问题{number}");
    let body = serde_json::json!({ "model": "qwen-plus", "stream": stream,
        "messages": [{ "role": "user", "content": content }],
        "stream_options": { "include_usage": true } });
    post(OPENAI, body.to_string())
}

/// A plain answer.
pub(crate) fn plain(text: &str) -> http::Response<UpstreamBody> {
    let body = serde_json::json!({ "id": "c-1", "object": "chat.completion", "model": "qwen-plus",
        "choices": [{ "index": 0, "finish_reason": "stop",
            "message": { "role": "assistant", "content": text } }],
        "usage": { "prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12 } });
    json(body.to_string())
}

/// A JSON answer.
pub(crate) fn json(text: impl Into<Bytes>) -> http::Response<UpstreamBody> {
    let body: UpstreamBody = Box::pin(Full::new(text.into()).map_err(|never| match never {}));
    http::Response::builder()
        .header("content-type", "application/json")
        .body(body)
        .unwrap()
}

/// A stream that the test feeds.
pub(crate) fn stream() -> (Frames, http::Response<UpstreamBody>) {
    let (frames, receiver) = mpsc::unbounded_channel::<&'static str>();
    let frames_of = futures_util::stream::unfold(receiver, async |mut receiver| {
        let frame = receiver.recv().await?;
        Some((
            Ok(Frame::data(Bytes::from_static(frame.as_bytes()))),
            receiver,
        ))
    });
    let body: UpstreamBody = Box::pin(StreamBody::new(frames_of));
    let response = http::Response::builder()
        .header("content-type", "text/event-stream")
        .body(body)
        .unwrap();
    (frames, response)
}

/// A stream that is there already.
pub(crate) fn streamed(pieces: &[&'static str]) -> http::Response<UpstreamBody> {
    let (frames, response) = stream();
    for piece in pieces {
        frames.send(piece).unwrap();
    }
    response
}
