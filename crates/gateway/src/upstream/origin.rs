//! Where requests go: scheme, host and port, parsed once.

use std::fmt;
use std::sync::Arc;

use http::Uri;
use http::header::HeaderValue;
use http::uri::{Authority, Scheme};

/// A scheme, host and port that requests are sent to. Cheap to clone and to compare.
#[derive(Clone)]
pub struct Origin(Arc<Parts>);

#[derive(PartialEq, Eq)]
struct Parts {
    uri: Uri,
    host: HeaderValue,
}

impl PartialEq for Origin {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl Eq for Origin {}

/// An address that no request can be sent to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OriginError {
    /// Not a URL, or one without a host.
    #[error("`{url}` is not a URL with a host, such as https://dashscope.aliyuncs.com")]
    NotAUrl {
        /// What was given.
        url: String,
    },
    /// A scheme other than `http` and `https`.
    #[error("`{url}` must begin with https:// (or http:// inside your own network)")]
    Scheme {
        /// What was given.
        url: String,
    },
    /// A user name or password in the URL.
    #[error("the URL holds a user name or password; put the key into `api_keys` instead")]
    Credentials,
}

impl Origin {
    /// Takes scheme, host and port of `url`; a path is ignored.
    ///
    /// # Errors
    ///
    /// When there is no host, the scheme is not HTTP, or the URL carries credentials.
    pub fn parse(url: &str) -> Result<Self, OriginError> {
        let not_a_url = || OriginError::NotAUrl {
            url: url.to_owned(),
        };
        let uri: Uri = url.parse().map_err(|_| not_a_url())?;
        let authority = uri.authority().ok_or_else(not_a_url)?;
        if authority.as_str().contains('@') {
            return Err(OriginError::Credentials);
        }
        let scheme = uri.scheme().ok_or_else(not_a_url)?;
        if *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS {
            return Err(OriginError::Scheme {
                url: url.to_owned(),
            });
        }
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| not_a_url())?;
        let uri = Uri::builder()
            .scheme(scheme.clone())
            .authority(authority.clone())
            .path_and_query("/")
            .build()
            .map_err(|_| not_a_url())?;
        Ok(Self(Arc::new(Parts { uri, host })))
    }

    /// The origin as a URI with the path `/`, which connectors take.
    pub fn uri(&self) -> &Uri {
        &self.0.uri
    }

    /// The value of the `Host` header.
    pub fn host_header(&self) -> &HeaderValue {
        &self.0.host
    }

    /// Whether the connection is encrypted.
    pub fn is_https(&self) -> bool {
        self.0.uri.scheme() == Some(&Scheme::HTTPS)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.0.uri.scheme_str().unwrap_or("http");
        let authority = self.0.uri.authority().map_or("", Authority::as_str);
        write!(f, "{scheme}://{authority}")
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_a_base_url_is_left_to_others() {
        let origin = Origin::parse("http://127.0.0.1:8080/compatible-mode/v1").unwrap();
        assert_eq!(origin.to_string(), "http://127.0.0.1:8080");
        assert_eq!(origin.host_header(), "127.0.0.1:8080");
        assert!(!origin.is_https());
    }

    #[test]
    fn what_is_no_address_is_refused_with_a_reason() {
        assert!(matches!(
            Origin::parse("/v1"),
            Err(OriginError::NotAUrl { .. })
        ));
        assert!(matches!(
            Origin::parse("ftp://host/"),
            Err(OriginError::Scheme { .. })
        ));
        let error = Origin::parse("https://user:secret@host/").unwrap_err();
        assert!(!error.to_string().contains("secret"));
    }
}
