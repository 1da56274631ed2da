//! Who may come in at all: the operator, and nobody whom a web page sent.

use std::net::IpAddr;

use axum::extract::{Request, State as Shared};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::header::{AUTHORIZATION, CACHE_CONTROL, HOST, HeaderValue, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, StatusCode, Uri};
use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;

use super::fault::Fault;
use crate::keys::{KeyDigest, digest};
use crate::record::RequestId;
use crate::relay;
use crate::worker::Worker;

/// The digest of the operator's token.
pub(crate) struct AdminToken(KeyDigest);

impl AdminToken {
    pub(crate) fn new(token: &SecretString) -> Self {
        Self(digest(token.expose_secret().as_bytes()))
    }

    fn opens(&self, presented: &[u8]) -> bool {
        digest(presented).ct_eq(&self.0).into()
    }
}

/// Lets the operator's token through and nothing else: no virtual key, no `x-api-key`.
pub(super) async fn operator(
    Shared(worker): Shared<Worker>,
    request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    let presented = headers
        .contains_key(AUTHORIZATION)
        .then(|| relay::presented_key(headers))
        .flatten();
    let token = worker.state.admin.as_ref();
    let is_operator = token
        .zip(presented)
        .is_some_and(|(token, key)| token.opens(key));
    if is_operator {
        next.run(request).await
    } else {
        Fault::not_the_operator().into_response()
    }
}

/// What every answer has: an id, and word that nobody keeps it.
pub(super) async fn stamp(
    Shared(worker): Shared<Worker>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = next.run(request).await;
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        let allow = response.headers_mut().remove(http::header::ALLOW);
        response = Fault::wrong_method().into_response();
        if let Some(allow) = allow {
            response.headers_mut().insert(http::header::ALLOW, allow);
        }
    }
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    relay::stamp(headers, RequestId::new(worker.state.clock.unix_millis()));
    response
}

/// Refuses what a browser sends on behalf of a page from elsewhere: a name that somebody pointed at
/// this address (DNS rebinding), and a page of another origin.
pub(super) async fn host(Shared(worker): Shared<Worker>, request: Request, next: Next) -> Response {
    let Some(host) = host_of(request.uri(), request.headers()) else {
        return refused("The request does not say for which host it is.");
    };
    if !is_known(&host, &worker.state.admin_hosts) {
        return refused(
            "The host is neither an address nor `localhost`; add its name to `[admin] hosts` if \
             it is right.",
        );
    }
    if !is_same_origin(request.headers(), &host) {
        return refused("The request comes from a page of another origin.");
    }
    next.run(request).await
}

fn refused(message: &str) -> Response {
    Fault::new(StatusCode::FORBIDDEN, "host_refused", message).into_response()
}

/// The one host that a request names.
fn host_of(uri: &Uri, headers: &HeaderMap) -> Option<Authority> {
    let mut named = headers.get_all(HOST).iter();
    let header = named.next().map(HeaderValue::as_bytes);
    if named.next().is_some() {
        return None;
    }
    if let Some(authority) = uri.authority() {
        return Some(authority.clone());
    }
    let authority = Authority::try_from(header?).ok()?;
    (!authority.as_str().contains('@')).then_some(authority)
}

fn is_known(authority: &Authority, configured: &[String]) -> bool {
    let host = authority.host();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let name = host.trim_end_matches('.');
    bare.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || configured.iter().any(|it| it.eq_ignore_ascii_case(name))
}

/// Whether no page sent it, or one of this very host.
fn is_same_origin(headers: &HeaderMap, host: &Authority) -> bool {
    let mut origins = headers.get_all(ORIGIN).iter();
    let Some(origin) = origins.next() else {
        return true;
    };
    let authority = origin.to_str().ok().and_then(|origin| {
        let (_, authority) = origin.split_once("://")?;
        Authority::try_from(authority).ok()
    });
    origins.next().is_none() && authority.is_some_and(|authority| authority == *host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_anybody_can_point_here_is_not_known() {
        let configured = ["gateway.internal".to_owned()];
        for known in [
            "127.0.0.1:9090",
            "[::1]:9090",
            "10.0.0.7",
            "localhost:9090",
            "LOCALHOST.",
            "Gateway.Internal:80",
        ] {
            let authority = Authority::try_from(known).unwrap();
            assert!(is_known(&authority, &configured), "{known}");
        }
        for unknown in [
            "evil.example:9090",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "xgateway.internal",
        ] {
            let authority = Authority::try_from(unknown).unwrap();
            assert!(!is_known(&authority, &configured), "{unknown}");
        }
    }

    #[test]
    fn a_page_of_another_origin_is_told_from_ones_own() {
        let host = Authority::from_static("127.0.0.1:9090");
        let with = |origin: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(ORIGIN, HeaderValue::from_static(origin));
            headers
        };
        assert!(is_same_origin(&HeaderMap::new(), &host));
        assert!(is_same_origin(&with("http://127.0.0.1:9090"), &host));
        for other in ["http://127.0.0.1:8080", "https://evil.example", "null"] {
            assert!(!is_same_origin(&with(other), &host), "{other}");
        }
    }
}
