//! An upstream without a network whose streams break where a test says.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use bailian_gateway::upstream::{Origin, Upstream, UpstreamBody, UpstreamError, UpstreamFuture};
use bailian_gateway::{Config, Gateway};
use bailian_sim::{SimConfig, Simulator};
use bytes::Bytes;
use http::{HeaderValue, Request};
use http_body::Frame;
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use crate::references::Reference;

pub(crate) const KEY: &str = "sk-bl-cuts-0001";
/// Names the case, so that upstream knows what to do to its streams.
const CASE: &str = "x-sim-case";

/// How a connection ends in the middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// With an error.
    Reset,
    /// As if that were all.
    End,
}

/// What happens to the streams of one call: the first breaks so, the second so, and so on; later
/// ones are whole.
#[derive(Clone, Debug)]
pub(crate) struct Break {
    places: VecDeque<(usize, How)>,
    /// Upstream's bytes come in pieces of these lengths, again and again.
    pieces: Vec<usize>,
}

impl Break {
    pub(crate) fn once(at: usize, how: How) -> Self {
        Self {
            places: VecDeque::from([(at, how)]),
            pieces: vec![usize::MAX],
        }
    }

    pub(crate) fn random(random: &mut fastrand::Rng, length: usize) -> Self {
        let how = |random: &mut fastrand::Rng| if random.bool() { How::Reset } else { How::End };
        let places = (0..random.usize(1..=3))
            .map(|_| (random.usize(..=length), how(random)))
            .collect();
        let pieces = (0..random.usize(1..=4))
            .map(|_| random.usize(1..=300))
            .collect();
        Self { places, pieces }
    }
}

/// What a client got.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    /// As it was written, frame by frame.
    pub(crate) frames: Vec<Bytes>,
    /// How many requests upstream saw.
    pub(crate) requests: usize,
}

/// A gateway before such an upstream.
pub(crate) struct Place {
    gateway: Router,
    upstream: Arc<Broken>,
    cases: AtomicU64,
}

impl Place {
    pub(crate) fn new() -> Self {
        let config = format!(
            "threads = 1\n[[accounts]]\napi_keys = [\"sk-upstream-0001\"]\nbase_url = \"http://upstream.test\"\n\
             forward_headers = [\"x-sim-*\"]\n[[keys]]\nname = \"t\"\nkey = \"{KEY}\"\n"
        );
        let config = Config::parse(&config, "test", &|_: &str| None).unwrap();
        let upstream = Arc::new(Broken {
            simulator: Simulator::new(SimConfig::default()).router(),
            cases: Mutex::default(),
        });
        let gateway = Gateway::builder(config)
            .upstream(Arc::clone(&upstream) as Arc<dyn Upstream>)
            .build()
            .unwrap();
        Self {
            gateway: gateway.router(),
            upstream,
            cases: AtomicU64::new(0),
        }
    }

    pub(crate) async fn ask(&self, reference: &Reference, cut: Break) -> Got {
        let case = self.cases.fetch_add(1, Ordering::Relaxed);
        let entry = Case {
            cut,
            requests: 0,
            first: Some(reference.bytes.clone()),
        };
        self.upstream.cases.lock().unwrap().insert(case, entry);
        let mut request = reference.request();
        request.headers_mut().insert(CASE, HeaderValue::from(case));
        let response = self.gateway.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let mut body = response.into_body();
        let mut frames = Vec::new();
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => frames.extend(frame.into_data()),
                Err(error) => panic!("{}: the body failed: {error}", reference.name),
            }
        }
        let case = self.upstream.cases.lock().unwrap().remove(&case).unwrap();
        Got {
            status,
            frames,
            requests: case.requests,
        }
    }
}

struct Case {
    cut: Break,
    requests: usize,
    /// What the first request is answered with, known beforehand.
    first: Option<Bytes>,
}

/// How one request of a case is answered.
struct Turn {
    place: Option<(usize, How)>,
    pieces: Vec<usize>,
    first: Option<Bytes>,
}

/// Answers as the simulator does, up to a point.
struct Broken {
    simulator: Router,
    cases: Mutex<HashMap<u64, Case>>,
}

impl std::fmt::Debug for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Broken")
    }
}

impl Broken {
    /// What becomes of the next stream of a case.
    fn next(&self, case: u64) -> Turn {
        let mut cases = self.cases.lock().unwrap();
        let case = cases.get_mut(&case).unwrap();
        case.requests += 1;
        Turn {
            place: case.cut.places.pop_front(),
            pieces: case.cut.pieces.clone(),
            first: case.first.take(),
        }
    }
}

impl Upstream for Broken {
    fn send<'a>(&'a self, _: &'a Origin, request: Request<Bytes>) -> UpstreamFuture<'a> {
        Box::pin(async move {
            let case = request.headers()[CASE].to_str().unwrap().parse().unwrap();
            let Turn {
                place,
                pieces,
                first,
            } = self.next(case);
            let (head, mut bytes) = match first {
                Some(first) => {
                    let head =
                        http::Response::builder().header("content-type", "text/event-stream");
                    (head.body(()).unwrap().into_parts().0, first)
                }
                None => {
                    let request = request.map(Body::from);
                    let answer: Result<_, Infallible> =
                        self.simulator.clone().oneshot(request).await;
                    let (head, body) = answer.unwrap().into_parts();
                    (head, body.collect().await.unwrap().to_bytes())
                }
            };
            let mut end = None;
            if let Some((at, how)) = place {
                bytes.truncate(at);
                end = (how == How::Reset).then(|| UpstreamError::Cut {
                    source: "connection reset".into(),
                });
            }
            let body: UpstreamBody = Box::pin(Pieces {
                bytes,
                lengths: pieces,
                next: 0,
                end,
            });
            Ok(http::Response::from_parts(head, body))
        })
    }
}

/// A body in pieces.
struct Pieces {
    bytes: Bytes,
    /// Their lengths, which come again and again.
    lengths: Vec<usize>,
    next: usize,
    end: Option<UpstreamError>,
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = UpstreamError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        let this = self.get_mut();
        if this.bytes.is_empty() {
            return Poll::Ready(this.end.take().map(Err));
        }
        let length = this.lengths[this.next % this.lengths.len()].min(this.bytes.len());
        this.next += 1;
        Poll::Ready(Some(Ok(Frame::data(this.bytes.split_to(length)))))
    }
}
