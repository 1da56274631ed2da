//! One client connection, in HTTP/1.1 or HTTP/2, encrypted or not.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::header::{CONNECTION, HeaderValue};
use http::{Method, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use super::budget::{ConnectionBudget, ConnectionPlace};
use super::http2::{self, Pieces, Streams};
use super::io::{Guarded, Rewound};
use super::tls;
use super::{Serves, Stops};
use crate::admin;
use crate::config::{Limits, Timeouts};
use crate::gateway::Gateway;
use crate::keys::Peer;
use crate::relay;
use crate::router::{chat_surface, router};
use crate::state::State;
use crate::worker::{Worker, Workers};

/// The most header lines of a request.
const MAX_HEADER_LINES: usize = 128;

/// The most bytes that a connection buffers; a request head must fit. Above what the relay itself
/// accepts, so that it is the relay that refuses, in the caller's dialect.
const MAX_BUFFER_BYTES: usize = 256 * 1024;

/// How connections of one runtime are served.
pub(super) struct Connections {
    serving: Arc<Serving>,
    budget: ConnectionBudget,
}

/// What each connection needs. Behind one pointer, as there are many.
struct Serving {
    workers: Workers,
    router: Router,
    serves: Serves,
    http: http1::Builder,
    tls: Option<TlsAcceptor>,
    stops: Stops,
    tasks: TaskTracker,
}

/// Whose connection it is, and the limits that were in force when it began.
#[derive(Clone, Copy)]
struct Caller {
    peer: Peer,
    limits: Limits,
    timeouts: Timeouts,
}

impl Connections {
    pub(super) fn new(
        gateway: &Gateway,
        serves: Serves,
        tls: Option<TlsAcceptor>,
        budget: ConnectionBudget,
        stops: Stops,
    ) -> Self {
        let workers = gateway.workers();
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .max_headers(MAX_HEADER_LINES)
            .max_buf_size(MAX_BUFFER_BYTES);
        Self {
            serving: Arc::new(Serving {
                router: match serves {
                    Serves::Calls => router(workers.clone()),
                    Serves::Admin => admin::own_router(workers.clone()),
                },
                serves,
                workers,
                http,
                tls,
                stops,
                tasks: TaskTracker::new(),
            }),
            budget,
        }
    }

    /// All connections, and what belongs to them.
    pub(super) fn tasks(&self) -> &TaskTracker {
        &self.serving.tasks
    }

    /// Begins to serve a connection, if there is a place for it.
    pub(super) fn begin(&self, stream: TcpStream, peer: IpAddr) {
        let state = self.serving.workers.state();
        let limits = self.serving.serves.limits(state.limits);
        match self.budget.take(peer, &limits) {
            Some(place) => drop(self.tasks().spawn(self.serve(stream, peer, place, &state))),
            None => state.metrics.refuse_connection(),
        }
    }

    /// Serves a connection to its end; after the stop, to the end of the request under way.
    fn serve(
        &self,
        stream: TcpStream,
        peer: IpAddr,
        place: ConnectionPlace,
        state: &State,
    ) -> impl Future<Output = ()> + Send + 'static {
        let serving = Arc::clone(&self.serving);
        let caller = Caller {
            peer: Peer(Some(peer)),
            limits: state.limits,
            timeouts: state.timeouts,
        };
        let open = state.metrics.begin_connection();
        async move {
            let _held_until_the_end = (place, open);
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "cannot set TCP_NODELAY");
            }
            let stream = Guarded::new(stream, caller.timeouts.client_write);
            if serving.tls.is_some() {
                Box::pin(serving.encrypted(stream, caller)).await;
            } else {
                serving.http1(stream, caller).await;
            }
        }
    }
}

impl Serving {
    fn answer(
        &self,
        request: Request<Incoming>,
        peer: Peer,
    ) -> impl Future<Output = Result<Response, Infallible>> + Send + use<> {
        let (worker, router) = (self.workers.worker(), self.router.clone());
        answer(worker, router, self.serves, request, peer)
    }

    async fn encrypted(self: Arc<Self>, stream: Guarded<TcpStream>, caller: Caller) {
        let Some(tls) = &self.tls else { return };
        let handshake = tokio::time::timeout(caller.timeouts.tls_handshake, tls.accept(stream));
        let stream = match handshake.await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::debug!(%error, "a TLS handshake failed");
                return;
            }
            Err(_) => {
                tracing::debug!("a TLS handshake did not end in time");
                return;
            }
        };
        if stream.get_ref().1.alpn_protocol() == Some(tls::H2) {
            self.http2(stream, caller).await;
        } else {
            self.http1(stream, caller).await;
        }
    }

    /// Serves HTTP/1.1, and HTTP/2 to a client that begins with it unasked.
    async fn http1<I>(self: Arc<Self>, io: I, caller: Caller)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let serving = Arc::clone(&self);
        let service = service_fn(move |request| serving.answer(request, caller.peer));
        let mut http = self.http.clone();
        http.header_read_timeout(caller.timeouts.client_header);
        let mut connection = http.serve_connection(TokioIo::new(io), service);
        let mut pinned = Pin::new(&mut connection);
        let ended = tokio::select! {
            ended = pinned.as_mut() => ended,
            () = self.stops.stop.cancelled() => {
                pinned.as_mut().graceful_shutdown();
                pinned.await
            }
        };
        match ended {
            Err(error) if error.is_parse_version_h2() => {
                let parts = connection.into_parts();
                let io = Rewound::new(parts.read_buf, parts.io.into_inner());
                Box::pin(self.http2(io, caller)).await;
            }
            // Clients leave in many ways; what matters is counted with the request.
            Err(error) => tracing::trace!(%error, "a client connection ended"),
            Ok(()) => {}
        }
    }

    async fn http2<I>(self: Arc<Self>, io: I, caller: Caller)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Timeouts {
            client_header,
            client_write,
            ..
        } = caller.timeouts;
        let streams = Streams::new(self.tasks.clone(), client_write);
        let serving = Arc::clone(&self);
        let service = service_fn(move |request| {
            let answer = serving.answer(request, caller.peer);
            async move { answer.await.map(|response| response.map(Pieces::new)) }
        });
        let builder = http2::builder(&caller.limits, streams.clone());
        let mut connection = pin!(builder.serve_connection(TokioIo::new(io), service));
        let ended = tokio::select! {
            ended = connection.as_mut() => Some(ended),
            // The client is told, and what it still sends before it knows is served.
            () = self.stops.leave.cancelled() => {
                connection.as_mut().graceful_shutdown();
                Some(connection.as_mut().await)
            }
            () = unused(&streams, client_header) => {
                connection.as_mut().graceful_shutdown();
                tokio::time::timeout(client_write, connection.as_mut()).await.ok()
            }
        };
        if let Some(Err(error)) = ended {
            tracing::trace!(%error, "a client connection ended");
        }
    }
}

/// Returns when no stream was open for one to two times `limit`.
async fn unused(streams: &Streams, limit: Duration) {
    let mut before = None;
    loop {
        tokio::time::sleep(limit).await;
        let now = streams.idle();
        if now.is_some() && now == before {
            return;
        }
        before = now;
    }
}

/// Chat requests, which are nearly all, go straight to the relay; the router has the rest.
async fn answer(
    worker: Worker,
    router: Router,
    serves: Serves,
    request: Request<Incoming>,
    peer: Peer,
) -> Result<Response, Infallible> {
    // The next request shall find the successor. Closing an unused connection instead could meet
    // a request that is on its way. HTTP/2 has words of its own for this.
    let is_last = worker.state.is_leaving.load(Ordering::Relaxed)
        && request.version() <= http::Version::HTTP_11;
    let surface = match serves {
        Serves::Calls => chat_surface(request.uri().path()),
        Serves::Admin => None,
    };
    let mut response = match surface {
        Some(surface) if request.method() == Method::POST => {
            // hyper keeps room for this future as long as the connection lives, which for a stream
            // is long after the future has ended: boxed, the room is small.
            Box::pin(relay::handle(worker, surface, request, peer)).await
        }
        // Boxed, so that the future of a chat request is not larger for it.
        _ => {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(peer);
            Box::pin(router.oneshot(request)).await?
        }
    };
    if is_last {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    Ok(response)
}
