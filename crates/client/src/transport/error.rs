//! What can go wrong below HTTP, and whether the request may have been sent by then.

use std::error::Error as StdError;

use thiserror::Error;

/// A failure of the connection. Small to move; holds the address without query and credentials.
#[derive(Debug, Error)]
#[error("{kind} ({url})")]
pub struct TransportError {
    kind: TransportErrorKind,
    sent: Sent,
    url: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// Whether the request may have reached the server. A request that did may have been billed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sent {
    /// Certainly not: there was no connection.
    No,
    /// At least a part may have.
    Maybe,
}

/// What failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TransportErrorKind {
    /// The host name could not be resolved.
    #[error("the host name could not be resolved")]
    Dns,
    /// The connection was refused or the host was not reachable.
    #[error("the connection could not be made")]
    Connect,
    /// The connection, TLS included, took too long.
    #[error("the connection was not made in time")]
    ConnectTimeout,
    /// The TLS handshake failed.
    #[error("the TLS handshake failed")]
    Tls,
    /// The peer reset the connection.
    #[error("the connection was reset")]
    Reset,
    /// The peer closed the connection before the answer was complete.
    #[error("the connection was closed before the answer was complete")]
    Closed,
    /// The request cannot be sent as it is, for example because of a malformed header.
    #[error("the request is malformed")]
    Request,
    /// Another failure of the protocol or the network.
    #[error("the exchange failed")]
    Other,
}

// === impl TransportError ===

impl TransportError {
    /// An error about the exchange with `url`, of which the query and credentials are dropped.
    pub fn new(kind: TransportErrorKind, sent: Sent, url: &http::Uri) -> Self {
        let host = url.authority().map_or("", |authority| {
            let text = authority.as_str();
            text.rsplit_once('@').map_or(text, |(_, host)| host)
        });
        let url = format!(
            "{}://{host}{}",
            url.scheme_str().unwrap_or("http"),
            url.path()
        );
        Self {
            kind,
            sent,
            url,
            source: None,
        }
    }

    /// Adds the cause. It must not contain secrets: it is shown to users.
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What failed.
    pub fn kind(&self) -> TransportErrorKind {
        self.kind
    }

    /// Whether the request may have reached the server.
    pub fn sent(&self) -> Sent {
        self.sent
    }

    /// The address, without query and credentials.
    pub fn url(&self) -> &str {
        &self.url
    }
}

// === impl TransportErrorKind ===

impl TransportErrorKind {
    /// What to do about it.
    pub fn guidance(self) -> &'static str {
        match self {
            Self::Dns => "check the base URL, the network and the name server",
            Self::Connect | Self::ConnectTimeout => {
                "check the base URL, the network, and the proxy variables (HTTPS_PROXY, NO_PROXY)"
            }
            Self::Tls => "check the machine's clock and its root certificates",
            Self::Reset | Self::Closed | Self::Other => "try again",
            Self::Request => "correct the headers or the address",
        }
    }

    /// Whether sending the same request again may help.
    pub fn is_transient(self) -> bool {
        match self {
            Self::Dns
            | Self::Connect
            | Self::ConnectTimeout
            | Self::Reset
            | Self::Closed
            | Self::Other => true,
            // A certificate does not become good and a header well-formed by asking again.
            Self::Tls | Self::Request => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_and_credentials_do_not_get_into_the_message() {
        let url = "https://user:secret@host.example/api/v1?key=secret"
            .parse()
            .unwrap();
        let error = TransportError::new(TransportErrorKind::Reset, Sent::Maybe, &url);
        assert_eq!(
            error.to_string(),
            "the connection was reset (https://host.example/api/v1)"
        );
    }
}
