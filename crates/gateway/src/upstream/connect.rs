//! New connections: DNS, TCP, the environment's proxy, TLS.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_platform_verifier::ConfigVerifierExt as _;
use tokio::net::TcpStream;
use tower::Service as _;

use super::{Origin, UpstreamError};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Opens connections to origins.
#[derive(Clone)]
pub(super) struct Connector {
    tcp: HttpConnector,
    /// Made with the first encrypted connection: reading the machine's certificates takes time.
    tls: Arc<OnceLock<Arc<ClientConfig>>>,
    proxies: Arc<Matcher>,
}

impl Connector {
    /// A connector that reads the proxy variables of the environment now, and only now.
    pub(super) fn new() -> Self {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        tcp.set_keepalive(Some(Duration::from_mins(1)));
        Self {
            tcp,
            tls: Arc::default(),
            proxies: Arc::new(Matcher::from_env()),
        }
    }

    /// A connection within `limit`.
    pub(super) async fn connect(
        &self,
        origin: &Origin,
        limit: Duration,
    ) -> Result<UpstreamIo, UpstreamError> {
        match tokio::time::timeout(limit, self.connect_unbounded(origin)).await {
            Ok(Ok(io)) => Ok(io),
            Ok(Err(source)) => Err(UpstreamError::Connect {
                origin: origin.to_string(),
                source,
            }),
            Err(_) => Err(UpstreamError::ConnectTimeout {
                origin: origin.to_string(),
                limit,
            }),
        }
    }

    async fn connect_unbounded(&self, origin: &Origin) -> Result<UpstreamIo, BoxError> {
        let mut tcp = self.tcp.clone();
        let uri = origin.uri().clone();
        // A proxy is used for encrypted origins only, through a tunnel: the gateway's request line
        // is in origin form, which a forwarding proxy would not understand.
        let proxy = if origin.is_https() {
            self.proxies.intercept(&uri)
        } else {
            None
        };
        match proxy {
            None if !origin.is_https() => Ok(UpstreamIo::Plain(tcp.call(uri).await?)),
            None => self.over_tls(tcp, uri).await,
            Some(proxy) => {
                let mut tunnel = Tunnel::new(proxy.uri().clone(), tcp);
                if let Some(auth) = proxy.basic_auth() {
                    tunnel = tunnel.with_auth(auth.clone());
                }
                self.over_tls(tunnel, uri).await
            }
        }
    }

    async fn over_tls<T>(&self, transport: T, uri: http::Uri) -> Result<UpstreamIo, BoxError>
    where
        T: tower::Service<http::Uri, Response = TokioIo<TcpStream>> + Send,
        T::Future: Send + 'static,
        T::Error: Into<BoxError>,
    {
        let tls = self.tls.get_or_init(|| Arc::new(tls_config()));
        let mut https = HttpsConnector::from((transport, Arc::clone(tls)));
        Ok(UpstreamIo::Tls(Box::new(https.call(uri).await?)))
    }
}

/// Certificates are checked by the machine's own rules (company authorities work); where those
/// cannot be loaded, no certificate is trusted and every TLS connection says so.
fn tls_config() -> ClientConfig {
    ClientConfig::with_platform_verifier().unwrap_or_else(|error| {
        tracing::error!(%error, "the machine's certificate store cannot be used");
        ClientConfig::builder()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth()
    })
}

/// A connected socket. The TLS session is boxed: it is large, and plain connections are many.
pub(super) enum UpstreamIo {
    Plain(TokioIo<TcpStream>),
    Tls(Box<MaybeHttpsStream<TokioIo<TcpStream>>>),
}

impl Read for UpstreamIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_read(cx, buf),
            Self::Tls(io) => Pin::new(io).poll_read(cx, buf),
        }
    }
}

impl Write for UpstreamIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_write(cx, buf),
            Self::Tls(io) => Pin::new(io).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_flush(cx),
            Self::Tls(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_shutdown(cx),
            Self::Tls(io) => Pin::new(io).poll_shutdown(cx),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(io) => io.is_write_vectored(),
            Self::Tls(io) => io.is_write_vectored(),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            Self::Tls(io) => Pin::new(io).poll_write_vectored(cx, bufs),
        }
    }
}
