//! One client connection, in HTTP/1.1 or HTTP/2, encrypted or not.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::{Pin, pin};
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

use super::Stops;
use super::budget::{ConnectionBudget, ConnectionPlace};
use super::http2::{self, Pieces, Streams};
use super::io::{Guarded, Rewound};
use super::tls;
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
    serving: Serving,
    tls: Option<TlsAcceptor>,
    budget: ConnectionBudget,
    tasks: TaskTracker,
}

/// What each connection needs.
#[derive(Clone)]
struct Serving {
    workers: Workers,
    router: Router,
    http: http1::Builder,
    stops: Stops,
    tasks: TaskTracker,
    /// Whose connection it is.
    peer: Peer,
    /// In force when it began.
    limits: Limits,
    timeouts: Timeouts,
}

impl Connections {
    pub(super) fn new(
        gateway: &Gateway,
        tls: Option<TlsAcceptor>,
        budget: ConnectionBudget,
        stops: Stops,
    ) -> Self {
        let workers = gateway.workers();
        let state = workers.state();
        let tasks = TaskTracker::new();
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .max_headers(MAX_HEADER_LINES)
            .max_buf_size(MAX_BUFFER_BYTES);
        Self {
            serving: Serving {
                router: router(workers.clone()),
                workers,
                http,
                stops,
                tasks: tasks.clone(),
                peer: Peer::default(),
                limits: state.limits,
                timeouts: state.timeouts,
            },
            tls,
            budget,
            tasks,
        }
    }

    /// All connections, and what belongs to them.
    pub(super) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Begins to serve a connection, if there is a place for it.
    pub(super) fn begin(&self, stream: TcpStream, peer: IpAddr) {
        let state = self.serving.workers.state();
        match self.budget.take(peer, &state.limits) {
            Some(place) => {
                let peer = Peer(Some(peer));
                drop(self.tasks.spawn(self.serve(stream, place, peer, &state)));
            }
            None => state.metrics.refuse_connection(),
        }
    }

    /// Serves a connection to its end; after the stop, to the end of the request under way.
    fn serve(
        &self,
        stream: TcpStream,
        place: ConnectionPlace,
        peer: Peer,
        state: &State,
    ) -> impl Future<Output = ()> + Send + 'static {
        let mut serving = Serving {
            peer,
            limits: state.limits,
            timeouts: state.timeouts,
            ..self.serving.clone()
        };
        let client_header = state.timeouts.client_header;
        serving.http.header_read_timeout(client_header);
        let tls = self.tls.clone();
        let open = state.metrics.begin_connection();
        async move {
            let _held_until_the_end = (place, open);
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "cannot set TCP_NODELAY");
            }
            let stream = Guarded::new(stream, serving.timeouts.client_write);
            match tls {
                None => serving.http1(stream).await,
                Some(tls) => Box::pin(serving.encrypted(tls, stream)).await,
            }
        }
    }
}

impl Serving {
    async fn encrypted(self, tls: TlsAcceptor, stream: Guarded<TcpStream>) {
        let handshake = tokio::time::timeout(self.timeouts.tls_handshake, tls.accept(stream));
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
            self.http2(stream).await;
        } else {
            self.http1(stream).await;
        }
    }

    /// Serves HTTP/1.1, and HTTP/2 to a client that begins with it unasked.
    async fn http1<I>(self, io: I)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (workers, router, peer) = (self.workers.clone(), self.router.clone(), self.peer);
        let service =
            service_fn(move |request| answer(workers.worker(), router.clone(), request, peer));
        let mut connection = self.http.serve_connection(TokioIo::new(io), service);
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
                Box::pin(self.http2(io)).await;
            }
            // Clients leave in many ways; what matters is counted with the request.
            Err(error) => tracing::trace!(%error, "a client connection ended"),
            Ok(()) => {}
        }
    }

    async fn http2<I>(self, io: I)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Timeouts {
            client_header,
            client_write,
            ..
        } = self.timeouts;
        let streams = Streams::new(self.tasks.clone(), client_write);
        let (workers, router, peer) = (self.workers.clone(), self.router.clone(), self.peer);
        let service = service_fn(move |request| {
            let answer = answer(workers.worker(), router.clone(), request, peer);
            async move { answer.await.map(|response| response.map(Pieces::new)) }
        });
        let builder = http2::builder(&self.limits, streams.clone());
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
    request: Request<Incoming>,
    peer: Peer,
) -> Result<Response, Infallible> {
    // The next request shall find the successor. Closing an unused connection instead could meet
    // a request that is on its way. HTTP/2 has words of its own for this.
    let is_last = worker.state.is_leaving.load(Ordering::Relaxed)
        && request.version() <= http::Version::HTTP_11;
    let mut response = match chat_surface(request.uri().path()) {
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
