//! One runtime: its thread, its listeners, its connections.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::budget::ConnectionBudget;
use super::connection::Connections;
use super::{Serves, Stops};
use crate::gateway::Gateway;

/// Connections that wait to be accepted; the system may cut it down.
const BACKLOG: i32 = 4096;

/// How long a connection may be silent before the system asks whether the client is there.
const KEEPALIVE: Duration = Duration::from_mins(1);

/// How long accepting pauses when the system has no more file descriptors.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

/// Binds `address` once per thread; port 0 takes a free one, the same for all.
pub(super) fn bind_all(
    address: SocketAddr,
    threads: usize,
    client_write: Duration,
) -> io::Result<Vec<std::net::TcpListener>> {
    if threads <= 1 {
        return Ok(vec![bind(address, false, client_write)?]);
    }
    let address = unused(address, client_write)?;
    let shared = (0..threads).map(|_| bind(address, true, client_write));
    shared.collect()
}

/// Who else may be bound to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sharing {
    /// Nobody.
    Alone,
    /// A successor, later.
    WithSuccessor,
    /// The predecessor, which is bound already.
    WithPredecessor,
}

/// Binds `address` once, for a listener that is not handed over: for a moment both processes have
/// one.
pub(super) fn bind_one(
    address: SocketAddr,
    sharing: Sharing,
    client_write: Duration,
) -> io::Result<std::net::TcpListener> {
    match sharing {
        Sharing::Alone => bind(address, false, client_write),
        Sharing::WithSuccessor => bind(unused(address, client_write)?, true, client_write),
        Sharing::WithPredecessor => bind(address, true, client_write),
    }
}

/// Sharing an address means sharing it with any program of this user that wants to, another gateway
/// for instance. So the address is first bound alone, to see that nobody is there.
fn unused(address: SocketAddr, client_write: Duration) -> io::Result<SocketAddr> {
    bind(address, false, client_write)?.local_addr()
}

fn bind(
    address: SocketAddr,
    shared: bool,
    client_write: Duration,
) -> io::Result<std::net::TcpListener> {
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
    // Connections inherit both: clients that have vanished without a word are noticed, in a pause
    // of an answer as while something is sent to them.
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_user_timeout(Some(client_write))?;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = client_write;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Deals listeners out to threads. Each has at least one, and each listener has a thread: the
/// system puts connections into the queue of every one.
pub(super) fn deal(
    listeners: Vec<std::net::TcpListener>,
    threads: usize,
) -> io::Result<Vec<Vec<std::net::TcpListener>>> {
    let threads = threads.max(1);
    let mut dealt: Vec<Vec<_>> = Vec::with_capacity(threads);
    dealt.resize_with(threads, Vec::new);
    let found = listeners.len();
    for (number, listener) in listeners.into_iter().enumerate() {
        dealt[number % threads].push(listener);
    }
    for number in found..threads {
        let shared = dealt[number % found.max(1)].first();
        let shared = shared.map(std::net::TcpListener::try_clone).transpose()?;
        dealt[number].extend(shared);
    }
    Ok(dealt)
}

/// What one runtime needs.
pub(super) struct Worker {
    pub(super) gateway: Gateway,
    pub(super) serves: Serves,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) budget: ConnectionBudget,
    pub(super) stops: Stops,
    /// Dropped when the runtime has ended.
    pub(super) alive: mpsc::Sender<()>,
}

impl Worker {
    /// Starts the runtime on a thread of its own.
    pub(super) fn start(
        self,
        name: String,
        listeners: Vec<std::net::TcpListener>,
    ) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let alive = self.alive.clone();
        std::thread::Builder::new().name(name).spawn(move || {
            runtime.block_on(self.serve(listeners));
            // DNS look-ups run on helper threads; nobody waits for them any more.
            runtime.shutdown_background();
            // What was cut has its end in the ledger now.
            drop(alive);
        })?;
        Ok(())
    }

    async fn serve(self, listeners: Vec<std::net::TcpListener>) {
        let Self {
            gateway,
            serves,
            tls,
            budget,
            stops,
            ..
        } = self;
        let connections = Arc::new(Connections::new(
            &gateway,
            serves,
            tls,
            budget,
            stops.clone(),
        ));
        let mut accepting = JoinSet::new();
        for listener in listeners {
            match TcpListener::from_std(listener) {
                Ok(listener) => {
                    let leave = stops.leave.clone();
                    accepting.spawn(accept(listener, Arc::clone(&connections), leave));
                }
                Err(error) => tracing::error!(%error, "a listener cannot be used"),
            }
        }
        while accepting.join_next().await.is_some() {}
        let tasks = connections.tasks();
        tasks.close();
        let timeouts = gateway.state().timeouts;
        let too_late = async {
            // After a hand-over nobody waits, so streams have longer.
            if tokio::time::timeout(timeouts.hand_over, stops.stop.cancelled())
                .await
                .is_err()
            {
                stops.stop.cancel();
            }
            tokio::time::sleep(timeouts.drain).await;
        };
        tokio::select! {
            () = tasks.wait() => {}
            () = too_late => {
                tracing::warn!(open = tasks.len(), "cutting what did not end in time");
            }
        }
    }
}

/// Accepts connections until there is to be no more.
async fn accept(listener: TcpListener, connections: Arc<Connections>, leave: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = leave.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => connections.begin(stream, peer.ip()),
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections");
                tokio::time::sleep(EXHAUSTED_PAUSE).await;
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn dealt(listeners: usize, threads: usize) -> Vec<Vec<SocketAddr>> {
        let bound = (0..listeners).map(|_| {
            let limit = Duration::from_mins(1);
            bind(([127, 0, 0, 1], 0).into(), false, limit).unwrap()
        });
        let dealt = deal(bound.collect(), threads).unwrap();
        let addresses = dealt
            .iter()
            .map(|part| part.iter().map(|l| l.local_addr().unwrap()).collect());
        addresses.collect()
    }

    #[test]
    fn every_thread_has_a_listener_and_every_listener_a_thread() {
        for (listeners, threads) in [(1, 1), (4, 2), (2, 5), (3, 3), (1, 4)] {
            let dealt = dealt(listeners, threads);
            assert_eq!(dealt.len(), threads);
            assert!(dealt.iter().all(|part| !part.is_empty()));
            let mut all: Vec<_> = dealt.into_iter().flatten().collect();
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), listeners);
        }
    }
}
