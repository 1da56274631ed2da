//! The gateway as a part of another axum application, with its parts replaced.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at what it did not expect"
)]

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use bailian_gateway::upstream::{Origin, Upstream, UpstreamBody, UpstreamError, UpstreamFuture};
use bailian_gateway::{Clock, Config, Gateway, KeyStore, VirtualKey};
use bytes::Bytes;
use http::Request;
use http_body::{Body as HttpBody, Frame};
use http_body_util::BodyExt as _;
use parking_lot::Mutex;
use tower::ServiceExt as _;

/// Answers everything by itself and remembers what it was asked.
#[derive(Debug, Default)]
struct Echo {
    seen: Mutex<Vec<(String, Request<Bytes>)>>,
}

struct Once(Option<Bytes>);

impl HttpBody for Once {
    type Data = Bytes;
    type Error = UpstreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        std::task::Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }
}

impl Upstream for Echo {
    fn send<'a>(&'a self, origin: &'a Origin, request: Request<Bytes>) -> UpstreamFuture<'a> {
        let body: UpstreamBody = Box::pin(Once(Some(request.body().clone())));
        self.seen.lock().push((origin.to_string(), request));
        Box::pin(async move { Ok(http::Response::new(body)) })
    }
}

#[derive(Debug)]
struct OneKey;

impl KeyStore for OneKey {
    fn authenticate(&self, presented: &[u8]) -> Option<Arc<VirtualKey>> {
        (presented == b"from-our-own-store").then(|| Arc::new(VirtualKey::new("app", "us")))
    }
}

#[derive(Debug)]
struct StoppedClock(Instant);

impl Clock for StoppedClock {
    fn now(&self) -> Instant {
        self.0
    }

    fn unix_millis(&self) -> u64 {
        1_700_000_000_000
    }
}

#[tokio::test]
async fn a_nested_gateway_uses_the_parts_that_it_is_given() {
    let upstream = Arc::new(Echo::default());
    let config = Config::for_base_url(
        "https://upstream.test/prefix/compatible-mode/v1",
        "sk-account".into(),
        "not-used-here".into(),
    );
    let gateway = Gateway::builder(config.unwrap())
        .upstream(Arc::clone(&upstream) as Arc<dyn Upstream>)
        .key_store(Arc::new(OneKey))
        .clock(Arc::new(StoppedClock(Instant::now())))
        .build()
        .unwrap();
    let app = axum::Router::new().nest("/ai", gateway.router());

    let body = "{ \"model\" : \"qwen-plus\",\n  \"messages\": [], \"unknown\": \"保留\" }";
    let request = Request::post("/ai/v1/chat/completions?trace=1")
        .header("authorization", "Bearer from-our-own-store")
        .body(Body::from(body))
        .unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let id = response.headers()["x-request-id"].to_str().unwrap();
    // The first 48 bits of a version 7 UUID are the time.
    assert!(id.starts_with("018bcfe5-6800-7"), "{id}");
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        body
    );

    let seen = upstream.seen.lock();
    let (origin, request) = &seen[0];
    assert_eq!(origin, "https://upstream.test");
    assert_eq!(
        request.uri(),
        "/prefix/compatible-mode/v1/chat/completions?trace=1"
    );
    assert_eq!(request.headers()["authorization"], "Bearer sk-account");
    assert_eq!(request.body(), body);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_stands_still_is_ended() {
    /// Begins an answer and never goes on.
    #[derive(Debug)]
    struct Silent;
    struct Never;
    impl HttpBody for Never {
        type Data = Bytes;
        type Error = UpstreamError;
        fn poll_frame(
            self: Pin<&mut Self>,
            _cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
            std::task::Poll::Pending
        }
    }
    impl Upstream for Silent {
        fn send<'a>(&'a self, _origin: &'a Origin, _request: Request<Bytes>) -> UpstreamFuture<'a> {
            let body: UpstreamBody = Box::pin(Never);
            let response = http::Response::builder().header("content-type", "text/event-stream");
            Box::pin(async move { Ok(response.body(body).unwrap()) })
        }
    }
    let mut config = Config::for_base_url(
        "http://127.0.0.1:1",
        "sk-account".into(),
        "sk-of-the-app".into(),
    )
    .unwrap();
    config.timeouts.idle = Duration::from_secs(7);
    let gateway = Gateway::builder(config)
        .upstream(Arc::new(Silent))
        .build()
        .unwrap();
    let request = Request::post("/v1/chat/completions")
        .header("authorization", "Bearer sk-of-the-app")
        .body(Body::from(r#"{"model":"m","stream":true}"#))
        .unwrap();
    let began = tokio::time::Instant::now();
    let response = gateway.router().oneshot(request).await.unwrap();
    let text = response.into_body().collect().await.unwrap().to_bytes();
    assert!(
        text.starts_with(b"data: {\"error\":{\"code\":\"request_timeout\""),
        "{text:?}"
    );
    assert!((7..=14).contains(&began.elapsed().as_secs()));
}
