//! The default transport.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::Uri;

use super::{Body, BoxFuture, Sent, Transport, TransportError, TransportErrorKind};
use crate::config::{ConfigError, ConfigProblem};

/// How long an unused connection is kept. Below the minute after which load balancers commonly
/// close one, so that requests rarely run into a connection that is being closed.
const POOL_IDLE: Duration = Duration::from_secs(50);
/// Notices a peer that vanished without closing, within a few minutes of a silent stream.
const TCP_KEEPALIVE: Duration = Duration::from_mins(1);

/// Sends requests with `reqwest`: a pool with keep-alive, TCP_NODELAY, HTTP/2 where the server
/// offers it, proxies from the environment, rustls with the platform's root certificates.
#[derive(Debug, Clone)]
pub struct ReqwestTransport {
    client: ::reqwest::Client,
}

// === impl ReqwestTransport ===

impl ReqwestTransport {
    /// A transport with its own connection pool.
    ///
    /// # Errors
    /// [`ConfigError`] when the TLS library or the proxy settings of the environment cannot be used.
    pub fn new(connect_timeout: Duration) -> Result<Self, ConfigError> {
        Self::build(::reqwest::Client::builder(), connect_timeout)
    }

    /// A transport that uses no proxy, whatever the environment says. For servers on this machine,
    /// which a proxy would look for on its own.
    ///
    /// # Errors
    /// [`ConfigError`] when the TLS library cannot be used.
    pub fn direct(connect_timeout: Duration) -> Result<Self, ConfigError> {
        Self::build(::reqwest::Client::builder().no_proxy(), connect_timeout)
    }

    fn build(
        builder: ::reqwest::ClientBuilder,
        connect_timeout: Duration,
    ) -> Result<Self, ConfigError> {
        let client = builder
            .connect_timeout(connect_timeout)
            .pool_idle_timeout(POOL_IDLE)
            .tcp_keepalive(TCP_KEEPALIVE)
            .tcp_nodelay(true)
            // A redirect would carry the key to a host that nobody named.
            .redirect(::reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| {
                ConfigError::one(ConfigProblem::new(
                    None,
                    format!("the HTTP client cannot be built: {error}"),
                    "check the proxy variables and the system's root certificates",
                ))
            })?;
        Ok(Self { client })
    }
}

impl Transport for ReqwestTransport {
    fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'_, Result<http::Response<Body>, TransportError>> {
        Box::pin(async move {
            let url = request.uri().clone();
            let request = ::reqwest::Request::try_from(request)
                .map_err(|error| translate(error, &url, Stage::Before))?;
            let response = self
                .client
                .execute(request)
                .await
                .map_err(|error| translate(error, &url, Stage::Before))?;
            let mut head = http::Response::new(());
            *head.status_mut() = response.status();
            *head.version_mut() = response.version();
            *head.headers_mut() = response.headers().clone();
            let body = response
                .bytes_stream()
                .map(move |part| part.map_err(|error| translate(error, &url, Stage::Body)));
            Ok(head.map(|()| Body::from_stream(body)))
        })
    }
}

/// Where in the exchange an error appeared.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Before,
    Body,
}

fn translate(error: ::reqwest::Error, url: &Uri, stage: Stage) -> TransportError {
    // The library's own text repeats the URL, whose query may be private.
    let error = error.without_url();
    let facts = Facts::gather(&error);
    let connecting = stage == Stage::Before && error.is_connect();
    let kind = if error.is_builder() {
        TransportErrorKind::Request
    } else if connecting && error.is_timeout() {
        TransportErrorKind::ConnectTimeout
    } else if connecting && facts.tls {
        TransportErrorKind::Tls
    } else if connecting && error.is_dns() {
        TransportErrorKind::Dns
    } else if connecting {
        TransportErrorKind::Connect
    } else if facts.reset {
        TransportErrorKind::Reset
    } else if facts.closed {
        TransportErrorKind::Closed
    } else {
        TransportErrorKind::Other
    };
    let unsent =
        connecting || error.is_builder() || (stage == Stage::Before && facts.never_started);
    let sent = if unsent { Sent::No } else { Sent::Maybe };
    TransportError::new(kind, sent, url).with_source(error)
}

/// What the chain of causes says; the HTTP library's own questions are too coarse.
#[derive(Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, not a state"
)]
struct Facts {
    tls: bool,
    reset: bool,
    closed: bool,
    never_started: bool,
}

impl Facts {
    fn gather(error: &(dyn StdError + 'static)) -> Self {
        let mut facts = Self::default();
        let mut next = Some(error);
        while let Some(cause) = next {
            next = cause.source();
            if let Some(hyper) = cause.downcast_ref::<hyper::Error>() {
                facts.never_started |= hyper.is_canceled();
                facts.closed |= hyper.is_incomplete_message();
            }
            facts.tls |= cause.is::<rustls::Error>();
            if let Some(io) = cause.downcast_ref::<io::Error>() {
                facts.note_io(io);
                // `source()` of an I/O error skips the error inside it.
                if let Some(inner) = io.get_ref() {
                    next = Some(inner);
                }
            }
        }
        facts
    }

    fn note_io(&mut self, error: &io::Error) {
        self.reset |= matches!(
            error.kind(),
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted
        );
        self.closed |= matches!(
            error.kind(),
            io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe
        );
    }
}
