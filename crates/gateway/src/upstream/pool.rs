//! Idle connections, and the upstream that uses them.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http_body_util::Full;
use parking_lot::Mutex;

use super::connect::Connector;
use super::exchange::{Carrier, ExchangeBody};
use super::{Origin, Upstream, UpstreamError, UpstreamFuture, UpstreamTimeouts};

/// Idle connections kept per origin; more are closed. One runtime seldom has more requests end
/// at the same moment than it then needs again.
const MAX_IDLE_PER_ORIGIN: usize = 256;

/// How long an unused connection is kept. Shorter than the idle limit of common load balancers
/// (60 s), so that the gateway closes first and does not send into a closing connection.
const IDLE_LIMIT: Duration = Duration::from_secs(50);

/// HTTP/1.1 to any origin over a pool of connections.
///
/// One stream uses one connection: no stream waits behind another, and giving a request up is
/// closing its connection. Each runtime of the gateway has its own pool.
#[derive(Clone)]
pub struct HttpUpstream {
    connector: Connector,
    pool: Arc<Pool>,
    /// Shared by all that were made of one.
    timeouts: Arc<ArcSwap<UpstreamTimeouts>>,
}

impl HttpUpstream {
    /// An upstream with an empty pool. Reads proxy variables and the machine's certificates.
    pub fn new(timeouts: UpstreamTimeouts) -> Self {
        Self {
            connector: Connector::new(),
            pool: Arc::default(),
            timeouts: Arc::new(ArcSwap::from_pointee(timeouts)),
        }
    }

    /// The same settings with a pool of its own, for another runtime.
    #[must_use]
    pub fn with_new_pool(&self) -> Self {
        Self {
            pool: Arc::default(),
            ..self.clone()
        }
    }

    /// Allows other times for requests to come, here and in all that
    /// [`with_new_pool`](Self::with_new_pool) made.
    pub fn set_timeouts(&self, timeouts: UpstreamTimeouts) {
        self.timeouts.store(Arc::new(timeouts));
    }

    async fn exchange(
        &self,
        origin: &Origin,
        request: http::Request<Full<Bytes>>,
        connect: Duration,
    ) -> Result<http::Response<super::UpstreamBody>, UpstreamError> {
        let mut request = request;
        loop {
            let pooled = self.pool.take(origin);
            let was_pooled = pooled.is_some();
            let carrier = match pooled {
                Some(carrier) => carrier,
                None => self.open(origin, connect).await?,
            };
            match carrier.send(request).await {
                Ok((response, carrier)) => {
                    let (head, incoming) = response.into_parts();
                    let pool = Arc::clone(&self.pool);
                    let body = ExchangeBody::new(incoming, carrier, pool, origin.clone());
                    return Ok(http::Response::from_parts(head, Box::pin(body)));
                }
                Err(failure) => match failure.unsent {
                    // The peer had closed a pooled connection and read nothing of the request, so
                    // sending it again cannot run it twice.
                    Some(unsent) if was_pooled => request = unsent,
                    _ => {
                        return Err(UpstreamError::Closed {
                            origin: origin.to_string(),
                            source: failure.error.into(),
                        });
                    }
                },
            }
        }
    }

    async fn open(&self, origin: &Origin, limit: Duration) -> Result<Box<Carrier>, UpstreamError> {
        let io = self.connector.connect(origin, limit).await?;
        let carrier = Carrier::handshake(io)
            .await
            .map_err(|source| UpstreamError::Connect {
                origin: origin.to_string(),
                source: source.into(),
            })?;
        Ok(Box::new(carrier))
    }
}

impl Upstream for HttpUpstream {
    fn send<'a>(&'a self, origin: &'a Origin, request: http::Request<Bytes>) -> UpstreamFuture<'a> {
        Box::pin(async move {
            let UpstreamTimeouts { connect, response } = **self.timeouts.load();
            let exchange = self.exchange(origin, request.map(Full::new), connect);
            match tokio::time::timeout(response, exchange).await {
                Ok(result) => result,
                Err(_) => Err(UpstreamError::ResponseTimeout {
                    origin: origin.to_string(),
                    limit: response,
                }),
            }
        })
    }
}

impl fmt::Debug for HttpUpstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpUpstream")
            .field("timeouts", &**self.timeouts.load())
            .finish_non_exhaustive()
    }
}

/// Idle connections by origin, the one used last first. Origins are few, so they are searched.
#[derive(Default)]
pub(super) struct Pool {
    idle: Mutex<Vec<(Origin, Vec<Idle>)>>,
}

struct Idle {
    carrier: Box<Carrier>,
    since: Instant,
}

impl Pool {
    /// A connection that is open and waits for a request.
    pub(super) fn take(&self, origin: &Origin) -> Option<Box<Carrier>> {
        let mut idle = self.idle.lock();
        let (_, stack) = idle.iter_mut().find(|(known, _)| known == origin)?;
        while let Some(mut candidate) = stack.pop() {
            if candidate.since.elapsed() < IDLE_LIMIT && candidate.carrier.is_usable() {
                return Some(candidate.carrier);
            }
        }
        None
    }

    /// Keeps a connection for the next request.
    pub(super) fn put(&self, origin: &Origin, carrier: Box<Carrier>) {
        let now = Instant::now();
        let mut idle = self.idle.lock();
        let kept = Idle {
            carrier,
            since: now,
        };
        let Some((_, stack)) = idle.iter_mut().find(|(known, _)| known == origin) else {
            idle.push((origin.clone(), vec![kept]));
            return;
        };
        // The oldest stand first: what has idled too long is closed as others come back.
        let stale = stack
            .iter()
            .take_while(|old| now - old.since >= IDLE_LIMIT)
            .count();
        stack.drain(..stale);
        if stack.len() < MAX_IDLE_PER_ORIGIN {
            stack.push(kept);
        }
    }
}
