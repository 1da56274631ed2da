//! One client connection.

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::{Method, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::{ConnectionPlace, Serves};
use crate::admin;
use crate::gateway::Gateway;
use crate::keys::Peer;
use crate::relay;
use crate::router::{chat_surface, router};
use crate::worker::Worker;

/// The most header lines of a request.
const MAX_HEADER_LINES: usize = 128;

/// The most bytes that a connection buffers; a request head must fit. Above what the relay itself
/// accepts, so that it is the relay that refuses, in the caller's dialect.
const MAX_BUFFER_BYTES: usize = 256 * 1024;

/// How connections of one runtime are served.
pub(super) struct Connections {
    worker: Worker,
    router: Router,
    serves: Serves,
    http: http1::Builder,
    stop: CancellationToken,
}

impl Connections {
    pub(super) fn new(
        gateway: &Gateway,
        serves: Serves,
        client_header: Duration,
        stop: CancellationToken,
    ) -> Self {
        let worker = gateway.worker();
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(client_header)
            .max_headers(MAX_HEADER_LINES)
            .max_buf_size(MAX_BUFFER_BYTES);
        Self {
            router: match serves {
                Serves::Calls => router(worker.clone()),
                Serves::Admin => admin::own_router(worker.clone()),
            },
            serves,
            worker,
            http,
            stop,
        }
    }

    /// Serves a connection to its end; after the stop, to the end of the request under way.
    pub(super) fn serve(
        &self,
        stream: TcpStream,
        place: ConnectionPlace,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (worker, router) = (self.worker.clone(), self.router.clone());
        let open = worker.state.metrics.begin_connection();
        let stop = self.stop.clone();
        let (http, serves) = (self.http.clone(), self.serves);
        let peer = Peer(stream.peer_addr().ok().map(|address| address.ip()));
        async move {
            let _held_until_the_end = (place, open);
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "cannot set TCP_NODELAY");
            }
            let service = service_fn(move |request| {
                answer(worker.clone(), router.clone(), serves, request, peer)
            });
            let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.as_mut().await
                }
            };
            if let Err(error) = ended {
                // Clients leave in many ways; what matters is counted with the request.
                tracing::trace!(%error, "a client connection ended");
            }
        }
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
    let surface = match serves {
        Serves::Calls => chat_surface(request.uri().path()),
        Serves::Admin => None,
    };
    match surface {
        Some(surface) if request.method() == Method::POST => {
            // hyper keeps room for this future as long as the connection lives, which for a stream
            // is long after the future has ended: boxed, the room is small.
            Ok(Box::pin(relay::handle(worker, surface, request, peer)).await)
        }
        // Boxed, so that the future of a chat request is not larger for it.
        _ => {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(peer);
            Box::pin(router.oneshot(request)).await
        }
    }
}
