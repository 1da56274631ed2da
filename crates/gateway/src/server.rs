//! The gateway as a product: one single-threaded runtime per core.
//!
//! Each runtime has its own listener on the same address (`SO_REUSEPORT`) and its own upstream
//! connections, so that a request never changes core and no lock is shared on its way.

mod connection;
mod listener;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::config::Config;
use crate::gateway::Gateway;
use crate::pacing;

/// A gateway with its address bound. Requests are served once [`run`](Self::run) is called.
#[derive(Debug)]
pub struct Server {
    gateway: Gateway,
    listeners: Vec<std::net::TcpListener>,
    address: SocketAddr,
    admin: Option<(std::net::TcpListener, SocketAddr)>,
    max_connections: usize,
    client_header: Duration,
    drain: Duration,
}

/// Why a server cannot start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The settings cannot be used.
    #[error(transparent)]
    Build(#[from] crate::BuildError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}; is another program there?")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// An admin address that other machines reach, and no token.
    #[error(
        "the admin address {address} is reached from other machines, so a token has to be set: \
         `[admin] token`"
    )]
    OpenAdmin {
        /// The address.
        address: SocketAddr,
    },
    /// A runtime could not be started.
    #[error("cannot start a runtime thread")]
    Runtime(#[source] io::Error),
}

/// The most connections that the admin listener holds open.
const MAX_ADMIN_CONNECTIONS: usize = 100;

/// What a listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Serves {
    /// Everything, without the admin paths where these have a listener of their own.
    Calls,
    /// The admin paths alone.
    Admin,
}

/// Shared by the runtimes: how many client connections are open.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionBudget {
    open: Arc<AtomicUsize>,
    max: usize,
}

impl ConnectionBudget {
    fn new(max: usize) -> Self {
        Self {
            open: Arc::default(),
            max,
        }
    }

    /// A place for one more connection, given back when dropped.
    fn take(&self) -> Option<ConnectionPlace> {
        let before = self.open.fetch_add(1, Ordering::Relaxed);
        let place = ConnectionPlace(Arc::clone(&self.open));
        (before < self.max).then_some(place)
    }
}

#[derive(Debug)]
pub(crate) struct ConnectionPlace(Arc<AtomicUsize>);

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Server {
    /// Binds the address of the configuration, once per thread.
    ///
    /// # Errors
    ///
    /// When the account cannot be used, an address is taken, or an admin address that other machines
    /// reach has no token.
    pub fn bind(config: Config) -> Result<Self, ServerError> {
        let (listen, threads) = (config.listen, config.threads);
        let admin_listen = config.admin_listen;
        if let Some(address) = admin_listen
            && !address.ip().is_loopback()
            && config.admin_token.is_none()
        {
            return Err(ServerError::OpenAdmin { address });
        }
        let (limits, timeouts) = (config.limits, config.timeouts);
        let gateway = Gateway::builder(config).build()?;
        let failed = |source| ServerError::Bind {
            address: listen,
            source,
        };
        let listeners = listener::bind_all(listen, threads).map_err(failed)?;
        let address = match listeners.first() {
            Some(first) => first.local_addr().map_err(failed)?,
            None => listen,
        };
        let admin = admin_listen.map(|address| {
            let bound = listener::bind_all(address, 1).and_then(|mut listeners| {
                let listener = listeners.pop().ok_or(io::ErrorKind::AddrNotAvailable)?;
                let address = listener.local_addr()?;
                Ok((listener, address))
            });
            bound.map_err(|source| ServerError::Bind { address, source })
        });
        Ok(Self {
            gateway,
            listeners,
            address,
            admin: admin.transpose()?,
            max_connections: limits.max_connections,
            client_header: timeouts.client_header,
            drain: timeouts.drain,
        })
    }

    /// Where it listens, with the port that was found.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Where the admin paths are, with the port that was found; `None` when they are beside all
    /// others.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|(_, address)| *address)
    }

    /// The gateway that is served.
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// Serves until `shutdown` is ready, then lets open requests and streams end, for as long as
    /// the configuration allows.
    ///
    /// # Errors
    ///
    /// When a runtime cannot be started.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future begins the shutdown, too, but waits for nothing.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), ServerError> {
        let stop = CancellationToken::new();
        let _stops_when_dropped = stop.clone().drop_guard();
        let (alive, mut all_gone) = mpsc::channel::<()>(1);
        let budget = ConnectionBudget::new(self.max_connections);
        let worker = |serves| listener::Worker {
            gateway: self.gateway.clone(),
            serves,
            budget: match serves {
                Serves::Calls => budget.clone(),
                // Calls must not keep the operator out, who may be about to stop them.
                Serves::Admin => ConnectionBudget::new(MAX_ADMIN_CONNECTIONS),
            },
            client_header: self.client_header,
            drain: self.drain,
            stop: stop.clone(),
            alive: alive.clone(),
        };
        for (number, listener) in self.listeners.into_iter().enumerate() {
            let started = worker(Serves::Calls).start(format!("relay-{number}"), listener);
            started.map_err(ServerError::Runtime)?;
        }
        if let Some((listener, _)) = self.admin {
            let started = worker(Serves::Admin).start("admin".to_owned(), listener);
            started.map_err(ServerError::Runtime)?;
        }
        drop(alive);
        let state = Arc::clone(self.gateway.state());
        let asked = (0..state.accounts.len()).filter(|index| state.accounts[*index].quota_api);
        let refresh: Vec<_> = asked
            .map(|account| {
                let worker = self.gateway.worker();
                let asking = pacing::refresh(worker.state, worker.upstream, account);
                AbortOnDropHandle::new(tokio::spawn(asking))
            })
            .collect();
        shutdown.await;
        drop(refresh);
        tracing::info!("draining: open requests may end");
        stop.cancel();
        // Every runtime has ended when the last sender is gone; nobody ever sends.
        let _none = all_gone.recv().await;
        // It only waits for Redis, and nothing else runs any more.
        let left = tokio::task::spawn_blocking(move || state.pacing.leave()).await;
        if let Err(error) = left {
            tracing::error!(%error, "the limits that this replica held could not be returned");
        }
        Ok(())
    }
}
