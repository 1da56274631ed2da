//! What systemd is told (`sd_notify`): that this process serves, and that it is the main one.

use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixDatagram;

/// Tells the service manager, if there is one that wants to know. After a take-over it so follows
/// the new process, and the end of the old one is not the end of the service.
pub(crate) fn notify() {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let message = format!("READY=1\nMAINPID={}\n", std::process::id());
    if let Err(error) = send(socket.as_bytes(), message.as_bytes()) {
        tracing::warn!(%error, "the service manager cannot be told that this process serves");
    }
}

fn send(socket: &[u8], message: &[u8]) -> io::Result<()> {
    let sender = UnixDatagram::unbound()?;
    if let Some(name) = socket.strip_prefix(b"@") {
        return send_abstract(&sender, name, message);
    }
    sender.send_to(message, std::ffi::OsStr::from_bytes(socket))?;
    Ok(())
}

/// A socket without a file, as only Linux has.
#[cfg(target_os = "linux")]
fn send_abstract(sender: &UnixDatagram, name: &[u8], message: &[u8]) -> io::Result<()> {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::SocketAddr;

    let address = SocketAddr::from_abstract_name(name)?;
    sender.send_to_addr(message, &address)?;
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn send_abstract(_: &UnixDatagram, _: &[u8], _: &[u8]) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::SocketAddr;

    #[test]
    fn sockets_with_and_without_a_file_are_reached() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let name = format!("bailian-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        for (receiver, socket) in [
            (
                UnixDatagram::bind(&path).unwrap(),
                path.as_os_str().as_bytes().to_vec(),
            ),
            (
                UnixDatagram::bind_addr(&address).unwrap(),
                format!("@{name}").into_bytes(),
            ),
        ] {
            send(&socket, b"READY=1").unwrap();
            let mut seen = [0; 16];
            let length = receiver.recv(&mut seen).unwrap();
            assert_eq!(&seen[..length], b"READY=1");
        }
    }
}
