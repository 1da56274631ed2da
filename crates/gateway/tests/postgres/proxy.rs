//! A way to the database that the test cuts, and mends again.

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

/// Takes connections on a free port and passes them on to a socket. Its threads end with the test.
#[derive(Clone)]
pub(crate) struct Proxy {
    address: SocketAddr,
    way: Arc<Way>,
}

struct Way {
    socket: PathBuf,
    state: Mutex<State>,
}

struct State {
    mode: Mode,
    open: Vec<Link>,
}

/// A connection on its way, with its two ends.
struct Link {
    near: TcpStream,
    far: UnixStream,
    /// What comes is thrown away from now on.
    is_silent: Arc<AtomicBool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Open,
    /// Connections are closed at once, as by a server that is down.
    Cut,
    /// Nothing passes, and nobody says so: a network that swallows packets.
    Silent,
}

impl Proxy {
    pub(crate) fn start(socket: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = State {
            mode: Mode::Open,
            open: Vec::new(),
        };
        let way = Arc::new(Way {
            socket,
            state: Mutex::new(state),
        });
        let accepting = Arc::clone(&way);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                accepting.accept(stream.unwrap());
            }
        });
        Self { address, way }
    }

    /// The database as those behind the proxy see it.
    pub(crate) fn url(&self) -> String {
        format!(
            "postgres://bailian@{}/postgres?sslmode=disable",
            self.address
        )
    }

    /// Breaks every connection, wherever it is, and refuses others.
    pub(crate) fn cut(&self) {
        let mut state = self.way.state.lock();
        state.mode = Mode::Cut;
        for link in state.open.drain(..) {
            // It may have been closed by its owner.
            drop(link.near.shutdown(Shutdown::Both));
            drop(link.far.shutdown(Shutdown::Both));
        }
    }

    /// Passes nothing on, and says nothing. Connections of now stay silent for ever.
    pub(crate) fn fall_silent(&self) {
        let mut state = self.way.state.lock();
        state.mode = Mode::Silent;
        for link in &state.open {
            link.is_silent.store(true, Ordering::SeqCst);
        }
    }

    /// Passes on what connections bring that are made from now on.
    pub(crate) fn mend(&self) {
        self.way.state.lock().mode = Mode::Open;
    }
}

impl Way {
    fn accept(&self, near: TcpStream) {
        let mut state = self.state.lock();
        if state.mode == Mode::Cut {
            return;
        }
        let Ok(far) = UnixStream::connect(&self.socket) else {
            return;
        };
        let is_silent = Arc::new(AtomicBool::new(state.mode == Mode::Silent));
        pass(
            near.try_clone().unwrap(),
            far.try_clone().unwrap(),
            &is_silent,
        );
        pass(
            far.try_clone().unwrap(),
            near.try_clone().unwrap(),
            &is_silent,
        );
        state.open.push(Link {
            near,
            far,
            is_silent,
        });
    }
}

/// Passes on in one direction, on a thread of its own.
fn pass(
    mut from: impl std::io::Read + Send + 'static,
    mut to: impl std::io::Write + Send + 'static,
    is_silent: &Arc<AtomicBool>,
) {
    let is_silent = Arc::clone(is_silent);
    std::thread::spawn(move || {
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            if !is_silent.load(Ordering::SeqCst) && to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
    });
}
