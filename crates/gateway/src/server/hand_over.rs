//! Passing the listeners to a successor, so that a restart refuses and drops nothing.
//!
//! The running gateway listens at a Unix socket. A successor connects, says what it wants, and is
//! given the listening sockets themselves: connections that wait in them are not lost, whoever
//! accepts them. When it serves, it says so; then the predecessor stops accepting and lets what is
//! open end. A successor that fails on the way changes nothing.

use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::{UnixListener, UnixStream};

/// What a successor says first; the number is the version of what follows.
const HELLO: &[u8] = b"bailian hand-over 1\n";
/// A message with a listener.
const LISTENER: u8 = b'L';
/// There are no more listeners.
const NO_MORE: u8 = b'.';
/// The successor serves.
const SERVES: u8 = b's';
/// The predecessor accepts no more.
const LEAVES: u8 = b'l';

/// How long either side waits for the other's next word. A successor starts its threads meanwhile.
const PATIENCE: Duration = Duration::from_secs(10);

/// The most listeners that are taken over: one per thread, and no machine has more.
const MAX_LISTENERS: usize = 4096;

/// A gateway that offers its listeners.
#[derive(Debug)]
pub(super) struct Predecessor {
    stream: StdUnixStream,
}

/// Whether somebody listens at `path`.
pub(super) fn is_alive(path: &Path) -> bool {
    StdUnixStream::connect(path).is_ok()
}

/// Asks the gateway at `path` for its listeners. `None` when there is none. Blocks the thread.
pub(super) fn ask(path: &Path) -> io::Result<Option<(Predecessor, Vec<TcpListener>)>> {
    ask_patiently(path).map_err(timed_out)
}

/// A socket says of a time-out that the call would block.
fn timed_out(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock {
        return io::Error::new(io::ErrorKind::TimedOut, "it did not answer in time");
    }
    error
}

fn ask_patiently(path: &Path) -> io::Result<Option<(Predecessor, Vec<TcpListener>)>> {
    let mut stream = match StdUnixStream::connect(path) {
        Ok(stream) => stream,
        Err(error) => {
            return match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Ok(None),
                _ => Err(error),
            };
        }
    };
    // What another user put there is not a gateway of ours.
    let owner = std::fs::metadata(path)?.uid();
    if owner != 0 && owner != rustix::process::geteuid().as_raw() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(HELLO)?;
    let mut listeners = Vec::new();
    while let Some(descriptor) = receive(&stream)? {
        if listeners.len() == MAX_LISTENERS {
            return Err(io::Error::other("too many listeners are offered"));
        }
        let listener = TcpListener::from(descriptor);
        listener.set_nonblocking(true)?;
        listeners.push(listener);
    }
    if listeners.is_empty() {
        return Err(io::Error::other("no listener is offered"));
    }
    Ok(Some((Predecessor { stream }, listeners)))
}

impl Predecessor {
    /// Tells the predecessor that its listeners are served, and waits until it leaves them alone.
    pub(super) fn relieve(mut self) -> io::Result<()> {
        self.stream.write_all(&[SERVES])?;
        let mut word = [0];
        self.stream.read_exact(&mut word).map_err(timed_out)?;
        if word == [LEAVES] {
            Ok(())
        } else {
            Err(io::ErrorKind::InvalidData.into())
        }
    }
}

/// The next listener, or `None` after the last.
fn receive(stream: &StdUnixStream) -> io::Result<Option<OwnedFd>> {
    let mut word = [0];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(
        stream,
        &mut [IoSliceMut::new(&mut word)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let descriptor = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    match (received.bytes, word[0], descriptor) {
        (1, LISTENER, Some(descriptor)) => Ok(Some(descriptor)),
        (1, NO_MORE, None) => Ok(None),
        (0, ..) => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Where successors ask.
#[derive(Debug)]
pub(super) struct Offer {
    socket: UnixListener,
    path: PathBuf,
    /// Whether the path is this process's to remove.
    is_ours: bool,
}

impl Offer {
    /// Listens at `path`, in the place of whoever did before.
    pub(super) fn listen(path: &Path) -> io::Result<Self> {
        // Put in place when it is complete: whoever finds it can use it.
        let mut beside = path.as_os_str().to_owned();
        beside.push(format!(".{}", std::process::id()));
        let beside = PathBuf::from(beside);
        match std::fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = UnixListener::bind(&beside)?;
        std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(0o600))?;
        std::fs::rename(&beside, path)?;
        Ok(Self {
            socket,
            path: path.to_owned(),
            is_ours: true,
        })
    }

    /// Waits until a successor serves `listeners`. What is returned tells it, once
    /// [`Relieved::leave`] is called, that this process has left them alone.
    ///
    /// # Cancel safety
    ///
    /// A successor that was not finished with finds the connection closed, and starts nothing.
    pub(super) async fn relieved(&mut self, listeners: &[TcpListener]) -> Relieved {
        loop {
            let stream = match self.socket.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept at the hand-over socket");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    continue;
                }
            };
            match offer(stream, listeners).await {
                Ok(Some(relieved)) => {
                    // The successor's socket stands at the path by now.
                    self.is_ours = false;
                    return relieved;
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, "a hand-over came to nothing; this process serves on");
                }
            }
        }
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        if self.is_ours
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::debug!(%error, "the hand-over socket cannot be removed");
        }
    }
}

/// A successor that serves.
#[derive(Debug)]
pub(super) struct Relieved(UnixStream);

impl Relieved {
    /// Tells the successor that this process accepts no more.
    pub(super) async fn leave(mut self) {
        // It serves in any case; if it is gone, it is the next start that helps.
        if let Err(error) = self.0.write_all(&[LEAVES]).await {
            tracing::warn!(%error, "the successor does not listen");
        }
    }
}

/// Offers the listeners to whoever connected. `None` when it only looked whether anybody is here.
async fn offer(mut stream: UnixStream, listeners: &[TcpListener]) -> io::Result<Option<Relieved>> {
    let peer = stream.peer_cred()?.uid();
    if peer != 0 && peer != rustix::process::geteuid().as_raw() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let mut hello = [0; HELLO.len()];
    match in_time(stream.read_exact(&mut hello)).await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    };
    if hello != HELLO {
        return Err(io::ErrorKind::InvalidData.into());
    }
    for listener in listeners {
        in_time(stream.async_io(Interest::WRITABLE, || send(&stream, listener.as_fd()))).await?;
    }
    stream.write_all(&[NO_MORE]).await?;
    let mut word = [0];
    in_time(stream.read_exact(&mut word)).await?;
    if word == [SERVES] {
        Ok(Some(Relieved(stream)))
    } else {
        Err(io::ErrorKind::InvalidData.into())
    }
}

fn send(stream: &UnixStream, descriptor: BorrowedFd<'_>) -> io::Result<()> {
    let descriptors = [descriptor];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("no room for a descriptor"));
    }
    sendmsg(
        stream,
        &[IoSlice::new(&[LISTENER])],
        &mut control,
        SendFlags::empty(),
    )?;
    Ok(())
}

async fn in_time<T>(step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(PATIENCE, step)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
