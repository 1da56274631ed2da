//! A reverse proxy of hyper's server and pooled client, with no policy at all.
//!
//! What it costs is the floor for a gateway built on these parts: the rest is our own doing.

use std::net::SocketAddr;

use anyhow::Context as _;
use http::uri::{Authority, Scheme};
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};

type Upstream = Client<HttpConnector, Incoming>;

/// Relays until the process ends.
pub(crate) async fn serve(listen: SocketAddr, upstream: SocketAddr) -> anyhow::Result<()> {
    let listener = crate::upstream::bind(listen)?;
    let authority: Authority = upstream.to_string().parse()?;
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Upstream = Client::builder(TokioExecutor::new()).build(connector);
    loop {
        let (stream, _) = listener.accept().await.context("cannot accept")?;
        stream.set_nodelay(true)?;
        let (client, authority) = (client.clone(), authority.clone());
        tokio::spawn(async move {
            let service = service_fn(|request| relay(&client, &authority, request));
            // A client that leaves ends its connection only.
            drop(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await,
            );
        });
    }
}

async fn relay(
    client: &Upstream,
    authority: &Authority,
    mut request: Request<Incoming>,
) -> anyhow::Result<Response<Incoming>> {
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(authority.clone());
    *request.uri_mut() = Uri::from_parts(parts)?;
    Ok(client.request(request).await?)
}
