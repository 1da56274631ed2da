//! One runtime: its thread, its listener, its connections.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::Connections;
use super::{ConnectionBudget, Serves};
use crate::gateway::Gateway;

/// Connections that wait to be accepted; the system may cut it down.
const BACKLOG: i32 = 4096;

/// How long accepting pauses when the system has no more file descriptors.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

/// Binds `address` once per thread; port 0 takes a free one, the same for all.
pub(super) fn bind_all(
    address: SocketAddr,
    threads: usize,
) -> io::Result<Vec<std::net::TcpListener>> {
    if threads <= 1 {
        return Ok(vec![bind(address, false)?]);
    }
    // Sharing an address means sharing it with any program of this user that wants to, another
    // gateway for instance. So the address is first bound alone, to see that nobody is there.
    let alone = bind(address, false)?;
    let address = alone.local_addr()?;
    drop(alone);
    (0..threads).map(|_| bind(address, true)).collect()
}

fn bind(address: SocketAddr, shared: bool) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // Not on other systems: there it lets any program take the address.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// What one runtime needs.
pub(super) struct Worker {
    pub(super) gateway: Gateway,
    pub(super) serves: Serves,
    pub(super) budget: ConnectionBudget,
    pub(super) client_header: Duration,
    pub(super) drain: Duration,
    pub(super) stop: CancellationToken,
    /// Dropped when the runtime has ended.
    pub(super) alive: mpsc::Sender<()>,
}

impl Worker {
    /// Starts the runtime on a thread of its own.
    pub(super) fn start(self, name: String, listener: std::net::TcpListener) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        std::thread::Builder::new().name(name).spawn(move || {
            runtime.block_on(self.serve(listener));
            // DNS look-ups run on helper threads; nobody waits for them any more.
            runtime.shutdown_background();
        })?;
        Ok(())
    }

    async fn serve(self, listener: std::net::TcpListener) {
        let Self {
            gateway,
            serves,
            budget,
            client_header,
            drain,
            stop,
            alive,
        } = self;
        let listener = match TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(%error, "a listener cannot be used");
                return;
            }
        };
        let tasks = TaskTracker::new();
        let connections = Connections::new(&gateway, serves, client_header, stop.clone());
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => break,
            };
            match accepted {
                Ok((stream, _)) => match budget.take() {
                    Some(place) => drop(tasks.spawn(connections.serve(stream, place))),
                    None => gateway.state().metrics.refuse_connection(),
                },
                Err(error) if is_about_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections");
                    tokio::time::sleep(EXHAUSTED_PAUSE).await;
                }
            }
        }
        drop(listener);
        tasks.close();
        if tokio::time::timeout(drain, tasks.wait()).await.is_err() {
            tracing::warn!(open = tasks.len(), "cutting what did not end in time");
        }
        drop(alive);
    }
}

/// The connection was gone before it was accepted; the listener is well.
fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    )
}
