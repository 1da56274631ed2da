//! Serves a simulator on a listener.

use std::convert::Infallible;
use std::fmt;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::simulator::Simulator;

/// How long open requests may go on after the stop.
const DRAIN: Duration = Duration::from_secs(30);

/// Marks a response that must not be sent: the connection is closed instead.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResetConnection;

/// Why a connection was closed without an answer.
#[derive(Debug)]
struct ResetOnPurpose;

impl fmt::Display for ResetOnPurpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("reset on purpose")
    }
}

impl std::error::Error for ResetOnPurpose {}

/// Serves `simulator` until `shutdown` is ready, then lets open requests end for up to 30 seconds.
///
/// # Cancel safety
///
/// Dropping the future stops accepting and cuts what is open.
pub async fn serve(
    listener: TcpListener,
    simulator: Simulator,
    shutdown: impl Future<Output = ()> + Send,
) {
    let router = simulator.router();
    let tasks = TaskTracker::new();
    let stop = CancellationToken::new();
    // Connections end with this future, however it ends.
    let cut = CancellationToken::new();
    let _cuts_when_dropped = cut.clone().drop_guard();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut shutdown => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let connection = serve_connection(stream, router.clone(), stop.clone());
                let cut = cut.clone();
                tasks.spawn(async move {
                    tokio::select! {
                        () = connection => {}
                        () = cut.cancelled() => {}
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    stop.cancel();
    tasks.close();
    if tokio::time::timeout(DRAIN, tasks.wait()).await.is_err() {
        tracing::warn!(open = tasks.len(), "cutting what did not end in time");
    }
}

async fn serve_connection(stream: TcpStream, router: Router, stop: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let service = service_fn(move |request| answer(router.clone(), request));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(Duration::from_mins(2));
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.as_mut().await
        }
    };
    if let Err(error) = ended {
        tracing::trace!(%error, "a client connection ended");
    }
}

async fn answer(router: Router, request: Request<Incoming>) -> Result<Response, ResetOnPurpose> {
    let result: Result<Response, Infallible> = router.oneshot(request.map(Body::new)).await;
    let Ok(response) = result;
    if response.extensions().get::<ResetConnection>().is_some() {
        return Err(ResetOnPurpose);
    }
    Ok(response)
}
