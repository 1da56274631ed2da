//! A scripted transport without sockets, for tests with paused time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bailian::transport::{Body, BoxFuture, Sent, Transport, TransportError, TransportErrorKind};
use bailian::{Client, ClientBuilder, Pacing};
use bytes::Bytes;
use futures_util::StreamExt as _;
use parking_lot::Mutex;
use tokio::time::Instant;

pub(crate) const ANSWER: &str = r#"{"output":{"choices":[{"finish_reason":"stop","message":{"role":"assistant","content":"hi"}}]},"usage":{"input_tokens":1,"output_tokens":1,"total_tokens":2},"request_id":"r-ok"}"#;
pub(crate) const FRAME: &str = "id:1\nevent:result\n:HTTP_STATUS/200\ndata:{\"output\":{\"choices\":[{\"finish_reason\":\"null\",\"message\":{\"role\":\"assistant\",\"content\":\"h\"}}]},\"usage\":{\"input_tokens\":1,\"output_tokens\":1},\"request_id\":\"r-s\"}\n\n";
pub(crate) const LAST_FRAME: &str = "id:2\nevent:result\n:HTTP_STATUS/200\ndata:{\"output\":{\"choices\":[{\"finish_reason\":\"stop\",\"message\":{\"role\":\"assistant\",\"content\":\"i\"}}]},\"usage\":{\"input_tokens\":1,\"output_tokens\":2},\"request_id\":\"r-s\"}\n\n";

/// What happens to one request.
#[derive(Debug, Clone)]
pub(crate) enum Script {
    Fail(TransportErrorKind, Sent),
    Answer {
        after: Duration,
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: Vec<Piece>,
    },
    Hang,
}

/// A piece of a body.
#[derive(Debug, Clone)]
pub(crate) enum Piece {
    Text(String),
    Wait(Duration),
    Fail(TransportErrorKind),
    Hang,
}

#[derive(Debug, Clone)]
pub(crate) struct Fake {
    scripts: Arc<Mutex<VecDeque<Script>>>,
    /// When each request arrived.
    pub(crate) arrivals: Arc<Mutex<Vec<Instant>>>,
    pub(crate) requests: Arc<Mutex<Vec<http::Request<Bytes>>>>,
}

impl Script {
    pub(crate) fn ok() -> Self {
        Self::json(200, &[], ANSWER)
    }

    pub(crate) fn json(status: u16, headers: &[(&'static str, &str)], body: &str) -> Self {
        Self::reply(
            status,
            "application/json",
            headers,
            vec![Piece::Text(body.to_owned())],
        )
    }

    pub(crate) fn error(status: u16, code: &str, headers: &[(&'static str, &str)]) -> Self {
        let body = format!(r#"{{"code":"{code}","message":"m","request_id":"r-err"}}"#);
        Self::json(status, headers, &body)
    }

    pub(crate) fn events(body: Vec<Piece>) -> Self {
        Self::reply(200, "text/event-stream;charset=UTF-8", &[], body)
    }

    fn reply(status: u16, kind: &str, headers: &[(&'static str, &str)], body: Vec<Piece>) -> Self {
        let mut headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect();
        headers.push(("content-type", kind.to_owned()));
        Self::Answer {
            after: Duration::from_millis(1),
            status,
            headers,
            body,
        }
    }

    pub(crate) fn after(mut self, delay: Duration) -> Self {
        if let Self::Answer { after, .. } = &mut self {
            *after = delay;
        }
        self
    }
}

impl From<&str> for Piece {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl Fake {
    pub(crate) fn new(scripts: impl IntoIterator<Item = Script>) -> Self {
        Self {
            scripts: Arc::new(Mutex::new(scripts.into_iter().collect())),
            arrivals: Arc::default(),
            requests: Arc::default(),
        }
    }

    /// A builder with this transport and nothing from the machine's own environment.
    pub(crate) fn builder(&self) -> ClientBuilder {
        Client::builder()
            .environment(())
            .home_files(false)
            .api_key("sk-0123456789abcdef")
            .seed(1)
            // These tests are about single calls on a clock that pacing does not know.
            .pacing(Pacing::off())
            .transport(self.clone())
    }

    pub(crate) fn client(&self) -> Client {
        self.builder().build().unwrap()
    }

    pub(crate) fn calls(&self) -> usize {
        self.arrivals.lock().len()
    }

    /// The pauses between requests.
    pub(crate) fn gaps(&self) -> Vec<Duration> {
        self.arrivals
            .lock()
            .windows(2)
            .map(|pair| pair[1] - pair[0])
            .collect()
    }
}

impl Transport for Fake {
    fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'_, Result<http::Response<Body>, TransportError>> {
        self.arrivals.lock().push(Instant::now());
        let url = request.uri().clone();
        self.requests.lock().push(request);
        let script = self
            .scripts
            .lock()
            .pop_front()
            .expect("no answer is left in the script");
        Box::pin(async move {
            match script {
                Script::Hang => std::future::pending().await,
                Script::Fail(kind, sent) => Err(TransportError::new(kind, sent, &url)),
                Script::Answer {
                    after,
                    status,
                    headers,
                    body,
                } => {
                    tokio::time::sleep(after).await;
                    let mut response = http::Response::builder().status(status);
                    for (name, value) in headers {
                        response = response.header(name, value);
                    }
                    Ok(response.body(body_of(body, url)).unwrap())
                }
            }
        })
    }
}

fn body_of(pieces: Vec<Piece>, url: http::Uri) -> Body {
    let stream = futures_util::stream::iter(pieces).filter_map(move |piece| {
        let url = url.clone();
        async move {
            match piece {
                Piece::Text(text) => Some(Ok(Bytes::from(text))),
                Piece::Wait(time) => {
                    tokio::time::sleep(time).await;
                    None
                }
                Piece::Fail(kind) => Some(Err(TransportError::new(kind, Sent::Maybe, &url))),
                Piece::Hang => std::future::pending().await,
            }
        }
    });
    Body::from_stream(stream)
}
