//! The address that a server listens on, and the line that says it accepts.

use std::net::SocketAddr;

/// Says that connections are accepted. Scripts wait for this line, so its form is fixed.
pub(crate) fn announce(address: SocketAddr) {
    eprintln!("listening on {}", url(address));
}

/// The same of a server whose connections are encrypted.
pub(crate) fn announce_encrypted(address: SocketAddr) {
    eprintln!("listening on https://{address}");
}

/// The URL of a listening address. One that means "every interface" is reached on this machine
/// through the loopback address.
pub(crate) fn local_url(address: SocketAddr) -> String {
    let mut address = address;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    url(address)
}

fn url(address: SocketAddr) -> String {
    format!("http://{address}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_every_interface_is_reached_through_loopback() {
        assert_eq!(
            local_url("0.0.0.0:81".parse().unwrap()),
            "http://127.0.0.1:81"
        );
        assert_eq!(local_url("[::]:81".parse().unwrap()), "http://[::1]:81");
        assert_eq!(
            local_url("10.0.0.7:81".parse().unwrap()),
            "http://10.0.0.7:81"
        );
    }
}
