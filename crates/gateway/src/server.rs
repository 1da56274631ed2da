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

use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::Ordering;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use self::budget::ConnectionBudget;
use self::listener::Sharing;
use self::tls::Certificates;
pub use self::tls::TlsError;
use crate::config::{Config, Limits, ReloadMode};
use crate::gateway::Gateway;
use crate::pacing;
use crate::reload::{self, ConfigFile};

/// A gateway with its address bound. Requests are served once [`run`](Self::run) is called.
pub struct Server {
    gateway: Gateway,
    listeners: Vec<TcpListener>,
    threads: usize,
    address: SocketAddr,
    /// Where the admin paths are, if they have a listener of their own.
    admin: Option<(TcpListener, SocketAddr)>,
    certificates: Option<Certificates>,
    /// What is read again while it serves.
    file: Option<ConfigFile>,
    reload: ReloadMode,
    /// Where a successor asks for the listeners.
    hand_over: Option<PathBuf>,
    /// Whose listeners these are.
    #[cfg(unix)]
    predecessor: Option<hand_over::Predecessor>,
    when_serving: Option<Box<dyn FnOnce() + Send>>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("gateway", &self.gateway)
            .field("address", &self.address)
            .field("certificates", &self.certificates)
            .field("hand_over", &self.hand_over)
            .finish_non_exhaustive()
    }
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
    Runtime(#[source] std::io::Error),
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

impl Serves {
    /// Its share of the limits in force.
    fn limits(self, mut limits: Limits) -> Limits {
        if self == Self::Admin {
            limits.max_connections = MAX_ADMIN_CONNECTIONS;
            limits.max_connections_per_address = MAX_ADMIN_CONNECTIONS;
        }
        limits
    }
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
        let sharing = match config.hand_over {
            Some(_) => Sharing::WithSuccessor,
            None => Sharing::Alone,
        };
        Self::build(config, sharing, || {
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
        let mut server = Self::build(config, Sharing::WithPredecessor, || Ok(listeners))?;
        let theirs = server.address;
        if theirs.ip() != ours.ip() || ![0, theirs.port()].contains(&ours.port()) {
            return Err(ServerError::ListensElsewhere { theirs, ours });
        }
        server.predecessor = Some(predecessor);
        Ok(server)
    }

    fn build(
        config: Config,
        admin_sharing: Sharing,
        listeners: impl FnOnce() -> Result<Vec<TcpListener>, ServerError>,
    ) -> Result<Self, ServerError> {
        let (address, threads) = (config.listen, config.threads);
        let (hand_over, reload) = (config.hand_over.clone(), config.reload);
        let admin_listen = config.admin_listen;
        if let Some(address) = admin_listen
            && !address.ip().is_loopback()
            && config.admin_token.is_none()
        {
            return Err(ServerError::OpenAdmin { address });
        }
        let client_write = config.timeouts.client_write;
        let certificates = Certificates::load(&config.tls)?;
        let gateway = Gateway::builder(config).build()?;
        let listeners = listeners()?;
        let admin = admin_listen.map(|address| {
            let bound = listener::bind_one(address, admin_sharing, client_write);
            let bound = bound.and_then(|listener| Ok((listener.local_addr()?, listener)));
            let bound = bound.map(|(address, listener)| (listener, address));
            bound.map_err(|source| ServerError::Bind { address, source })
        });
        let address = match listeners.first().map(TcpListener::local_addr) {
            Some(bound) => bound.map_err(|source| ServerError::Bind { address, source })?,
            None => address,
        };
        Ok(Self {
            gateway,
            listeners,
            threads,
            address,
            admin: admin.transpose()?,
            certificates,
            file: None,
            reload,
            hand_over,
            #[cfg(unix)]
            predecessor: None,
            when_serving: None,
        })
    }

    /// Reads the configuration again from `file` while it serves, when the configuration's `reload`
    /// says so.
    #[must_use]
    pub fn follow(mut self, file: ConfigFile) -> Self {
        self.file = Some(file);
        self
    }

    /// Where it listens, with the port that was found.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Calls `tell` once requests are served, and before a predecessor is told to leave.
    pub fn when_serving(mut self, tell: impl FnOnce() + Send + 'static) -> Self {
        self.when_serving = Some(Box::new(tell));
        self
    }

    /// Where the admin paths are, with the port that was found; `None` when they are beside all
    /// others.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|(_, address)| *address)
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
        let budget = ConnectionBudget::new();
        let offered = match self.hand_over {
            Some(_) => clones(&self.listeners).map_err(ServerError::Runtime)?,
            None => Vec::new(),
        };
        let dealt = listener::deal(self.listeners, self.threads).map_err(ServerError::Runtime)?;
        for (number, listeners) in dealt.into_iter().enumerate() {
            let worker = listener::Worker {
                gateway: self.gateway.clone(),
                serves: Serves::Calls,
                tls: tls.clone(),
                budget: budget.clone(),
                stops: stops.clone(),
                alive: alive.clone(),
            };
            worker
                .start(format!("relay-{number}"), listeners)
                .map_err(ServerError::Runtime)?;
        }
        if let Some((listener, _)) = self.admin {
            let worker = listener::Worker {
                gateway: self.gateway.clone(),
                serves: Serves::Admin,
                tls: tls.clone(),
                // Calls must not keep the operator out, who may be about to stop them.
                budget: ConnectionBudget::new(),
                stops: stops.clone(),
                alive: alive.clone(),
            };
            worker
                .start("admin".to_owned(), vec![listener])
                .map_err(ServerError::Runtime)?;
        }
        drop(alive);
        let changed = self.gateway.changed.subscribe();
        let asking = pacing::keep_asking(self.gateway.workers(), changed);
        let mut beside = vec![AbortOnDropHandle::new(tokio::spawn(asking))];
        if let Some(file) = self.file
            && self.reload != ReloadMode::Off
        {
            let following = reload::follow(self.gateway.clone(), file, self.reload);
            beside.push(AbortOnDropHandle::new(tokio::spawn(following)));
        }
        if let Some(certificates) = self.certificates {
            beside.push(AbortOnDropHandle::new(tokio::spawn(certificates.follow())));
        }
        let mut shutdown = pin!(shutdown);
        #[cfg(unix)]
        let succession = Succession::begin(self.hand_over, offered)?;
        #[cfg(not(unix))]
        let succession = Succession::begin(self.hand_over, offered);
        if let Some(tell) = self.when_serving {
            tell();
        }
        #[cfg(unix)]
        if let Some(predecessor) = self.predecessor {
            relieve(predecessor).await;
        }
        tokio::select! {
            () = shutdown.as_mut() => {
                drop(beside);
                tracing::info!("draining: open requests may end");
                stops.stop();
            }
            relieved = succession.relieved() => {
                drop(beside);
                tracing::info!("a successor serves; open requests may end");
                self.gateway.state().is_leaving.store(true, Ordering::Relaxed);
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
        if let Some(telemetry) = &self.gateway.state().telemetry {
            telemetry.finish().await;
        }
        // It waits for stores only, and nothing else runs any more.
        let left = tokio::task::spawn_blocking(move || {
            let state = self.gateway.state();
            state.pacing.leave();
            if let Some(accounting) = &state.accounting {
                accounting.finish();
            }
        });
        if let Err(error) = left.await {
            tracing::error!(%error, "limits could not be returned, or the ledger not be brought in");
        }
        Ok(())
    }
}

fn clones(listeners: &[TcpListener]) -> std::io::Result<Vec<TcpListener>> {
    listeners.iter().map(TcpListener::try_clone).collect()
}

/// Tells the predecessor that its listeners are served. This process serves in any case: whether
/// the other has gone can be seen, and ended, from outside.
#[cfg(unix)]
async fn relieve(predecessor: hand_over::Predecessor) {
    let relieving = tokio::task::spawn_blocking(move || predecessor.relieve());
    match relieving.await.map_err(std::io::Error::other) {
        Ok(Ok(())) => tracing::info!("took over from the gateway that ran before"),
        Ok(Err(error)) | Err(error) => {
            tracing::error!(%error, "the gateway that ran before did not say that it leaves");
        }
    }
}

/// Who comes next.
#[cfg(unix)]
struct Succession {
    offer: Option<hand_over::Offer>,
    listeners: Vec<TcpListener>,
}

#[cfg(unix)]
impl Succession {
    /// Takes the place at the socket, in which a predecessor may have been.
    fn begin(path: Option<PathBuf>, listeners: Vec<TcpListener>) -> Result<Self, ServerError> {
        let offer = match path {
            Some(path) => match hand_over::Offer::listen(&path) {
                Ok(offer) => Some(offer),
                Err(source) => return Err(ServerError::HandOver { path, source }),
            },
            None => None,
        };
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
