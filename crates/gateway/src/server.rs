//! The gateway as a product: one single-threaded runtime per core.
//!
//! Each runtime has its own listener on the same address (`SO_REUSEPORT`) and its own upstream
//! connections, so that a request never changes core and no lock is shared on its way.

mod budget;
mod connection;
#[cfg(unix)]
mod hand_over;
mod http2;
mod io;
mod listener;
mod tls;

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use self::budget::ConnectionBudget;
use self::tls::Certificates;
pub use self::tls::TlsError;
use crate::config::Config;
use crate::gateway::Gateway;
use crate::pacing;

/// A gateway with its address bound. Requests are served once [`run`](Self::run) is called.
#[derive(Debug)]
pub struct Server {
    gateway: Gateway,
    listeners: Vec<TcpListener>,
    threads: usize,
    address: SocketAddr,
    certificates: Option<Certificates>,
    /// Where a successor asks for the listeners.
    hand_over: Option<PathBuf>,
    /// Whose listeners these are.
    #[cfg(unix)]
    predecessor: Option<hand_over::Predecessor>,
}

/// Why a server cannot start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The settings cannot be used.
    #[error(transparent)]
    Build(#[from] crate::BuildError),
    /// The certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    TlsSetup(#[source] rustls::Error),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}; is another program there?")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another gateway offers its listeners at the configured socket, and was not to be replaced.
    #[error("a gateway runs already and can be taken over from, at {}", path.display())]
    AlreadyRuns {
        /// The socket.
        path: PathBuf,
    },
    /// The gateway that was to be taken over listens elsewhere than the configuration says.
    #[error("the running gateway listens on {theirs}, not on {ours}; stop it instead")]
    ListensElsewhere {
        /// Where it listens.
        theirs: SocketAddr,
        /// Where this one shall listen.
        ours: SocketAddr,
    },
    /// Listeners could not be taken over, or cannot be offered to a successor.
    #[error("the hand-over over {} failed", path.display())]
    HandOver {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A runtime could not be started.
    #[error("cannot start a runtime thread")]
    Runtime(#[source] std::io::Error),
}

/// The two steps of an end.
#[derive(Clone, Debug, Default)]
struct Stops {
    /// Accept nothing more. It goes before every stop.
    leave: CancellationToken,
    /// End connections, each after the request under way.
    stop: CancellationToken,
}

/// Ends everything when dropped.
struct StopsWhenDropped(Stops);

impl Stops {
    fn stop(&self) {
        self.leave.cancel();
        self.stop.cancel();
    }
}

impl Drop for StopsWhenDropped {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl Server {
    /// Binds the address of the configuration, once per thread.
    ///
    /// # Errors
    ///
    /// When the account or a certificate cannot be used, the address is taken, or a gateway runs
    /// whose listeners could be taken over.
    pub fn bind(config: Config) -> Result<Self, ServerError> {
        #[cfg(unix)]
        if let Some(path) = &config.hand_over
            && hand_over::is_alive(path)
        {
            return Err(ServerError::AlreadyRuns { path: path.clone() });
        }
        let (address, threads) = (config.listen, config.threads);
        let client_write = config.timeouts.client_write;
        Self::build(config, || {
            listener::bind_all(address, threads, client_write)
                .map_err(|source| ServerError::Bind { address, source })
        })
    }

    /// Takes the listeners of the gateway over that offers them at the configured socket, or binds
    /// the address where there is none. That gateway goes on until [`run`](Self::run) has begun to
    /// serve; then it accepts no more and lets its streams end.
    ///
    /// # Errors
    ///
    /// As [`Server::bind`], and when the other gateway listens elsewhere or does not hand over.
    #[cfg(unix)]
    pub fn take_over(config: Config) -> Result<Self, ServerError> {
        let Some(path) = config.hand_over.clone() else {
            return Self::bind(config);
        };
        let asked = hand_over::ask(&path);
        let Some((predecessor, listeners)) =
            asked.map_err(|source| ServerError::HandOver { path, source })?
        else {
            return Self::bind(config);
        };
        let ours = config.listen;
        let mut server = Self::build(config, || Ok(listeners))?;
        let theirs = server.address;
        if theirs.ip() != ours.ip() || ![0, theirs.port()].contains(&ours.port()) {
            return Err(ServerError::ListensElsewhere { theirs, ours });
        }
        server.predecessor = Some(predecessor);
        Ok(server)
    }

    fn build(
        config: Config,
        listeners: impl FnOnce() -> Result<Vec<TcpListener>, ServerError>,
    ) -> Result<Self, ServerError> {
        let (address, threads) = (config.listen, config.threads);
        let hand_over = config.hand_over.clone();
        let certificates = Certificates::load(&config.tls)?;
        let gateway = Gateway::builder(config).build()?;
        let listeners = listeners()?;
        let address = match listeners.first().map(TcpListener::local_addr) {
            Some(bound) => bound.map_err(|source| ServerError::Bind { address, source })?,
            None => address,
        };
        Ok(Self {
            gateway,
            listeners,
            threads,
            address,
            certificates,
            hand_over,
            #[cfg(unix)]
            predecessor: None,
        })
    }

    /// Where it listens, with the port that was found.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Whether connections are encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.certificates.is_some()
    }

    /// The gateway that is served.
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// Serves until `shutdown` is ready or a successor has taken the listeners over, then lets open
    /// requests and streams end, for as long as the configuration allows.
    ///
    /// # Errors
    ///
    /// When a runtime cannot be started, or the hand-over fails.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future begins the shutdown, too, but waits for nothing.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), ServerError> {
        let stops = Stops::default();
        let _stops_when_dropped = StopsWhenDropped(stops.clone());
        let tls = self.certificates.as_ref().map(Certificates::acceptor);
        let tls = tls.transpose().map_err(ServerError::TlsSetup)?;
        let (alive, mut all_gone) = mpsc::channel::<()>(1);
        let state = Arc::clone(self.gateway.state());
        let budget = ConnectionBudget::new(&state.limits);
        let offered = match self.hand_over {
            Some(_) => clones(&self.listeners).map_err(ServerError::Runtime)?,
            None => Vec::new(),
        };
        let dealt = listener::deal(self.listeners, self.threads).map_err(ServerError::Runtime)?;
        for (number, listeners) in dealt.into_iter().enumerate() {
            let worker = listener::Worker {
                gateway: self.gateway.clone(),
                tls: tls.clone(),
                budget: budget.clone(),
                stops: stops.clone(),
                alive: alive.clone(),
            };
            worker
                .start(number, listeners)
                .map_err(ServerError::Runtime)?;
        }
        drop(alive);
        let asked = (0..state.accounts.len()).filter(|index| state.accounts[*index].quota_api);
        let mut beside: Vec<_> = asked
            .map(|account| {
                let worker = self.gateway.worker();
                let asking = pacing::refresh(worker.state, worker.upstream, account);
                AbortOnDropHandle::new(tokio::spawn(asking))
            })
            .collect();
        if let Some(certificates) = self.certificates {
            beside.push(AbortOnDropHandle::new(tokio::spawn(certificates.follow())));
        }
        let mut shutdown = pin!(shutdown);
        #[cfg(unix)]
        let succession = Succession::begin(self.hand_over, self.predecessor, offered).await?;
        #[cfg(not(unix))]
        let succession = Succession::begin(self.hand_over, offered);
        tokio::select! {
            () = shutdown.as_mut() => {
                drop(beside);
                tracing::info!("draining: open requests may end");
                stops.stop();
            }
            relieved = succession.relieved() => {
                drop(beside);
                tracing::info!("a successor serves; open requests may end");
                state.is_leaving.store(true, Ordering::Relaxed);
                stops.leave.cancel();
                relieved.leave().await;
            }
        }
        // Every runtime has ended when the last sender is gone; nobody ever sends.
        tokio::select! {
            _none = all_gone.recv() => {}
            () = shutdown.as_mut(), if !stops.stop.is_cancelled() => {
                stops.stop();
                let _none = all_gone.recv().await;
            }
        }
        if let Some(telemetry) = &state.telemetry {
            telemetry.finish().await;
        }
        // It only waits for Redis, and nothing else runs any more.
        let left = tokio::task::spawn_blocking(move || state.pacing.leave()).await;
        if let Err(error) = left {
            tracing::error!(%error, "the limits that this replica held could not be returned");
        }
        Ok(())
    }
}

fn clones(listeners: &[TcpListener]) -> std::io::Result<Vec<TcpListener>> {
    listeners.iter().map(TcpListener::try_clone).collect()
}

/// Who came before, and who comes next.
#[cfg(unix)]
struct Succession {
    offer: Option<hand_over::Offer>,
    listeners: Vec<TcpListener>,
}

#[cfg(unix)]
impl Succession {
    /// Takes the predecessor's place at the socket, then relieves it.
    async fn begin(
        path: Option<PathBuf>,
        predecessor: Option<hand_over::Predecessor>,
        listeners: Vec<TcpListener>,
    ) -> Result<Self, ServerError> {
        let Some(path) = path else {
            let offer = None;
            return Ok(Self { offer, listeners });
        };
        let failed = |source| ServerError::HandOver {
            path: path.clone(),
            source,
        };
        let offer = hand_over::Offer::listen(&path).map_err(failed)?;
        if let Some(predecessor) = predecessor {
            let relieving = tokio::task::spawn_blocking(move || predecessor.relieve());
            // This one serves. Whether the other has gone can be seen, and ended, from outside.
            match relieving.await.map_err(std::io::Error::other) {
                Ok(Ok(())) => tracing::info!("took over from the gateway that ran before"),
                Ok(Err(error)) | Err(error) => {
                    tracing::error!(%error, "the gateway that ran before did not say that it leaves");
                }
            }
        }
        let offer = Some(offer);
        Ok(Self { offer, listeners })
    }

    /// Waits for a successor; for ever where none can come. Dropping it closes the listeners here.
    async fn relieved(mut self) -> hand_over::Relieved {
        match &mut self.offer {
            Some(offer) => offer.relieved(&self.listeners).await,
            None => std::future::pending().await,
        }
    }
}

/// There is no hand-over on this system.
#[cfg(not(unix))]
struct Succession;

#[cfg(not(unix))]
impl Succession {
    fn begin(_: Option<PathBuf>, _: Vec<TcpListener>) -> Self {
        Self
    }

    async fn relieved(self) -> Never {
        std::future::pending().await
    }
}

/// Nobody.
#[cfg(not(unix))]
enum Never {}

#[cfg(not(unix))]
impl Never {
    async fn leave(self) {
        match self {}
    }
}
