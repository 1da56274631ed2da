//! Reading what the operator sends: bodies within bounds, and every problem with its place.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use bailian_tenants::Now;
use bailian_tenants::settings::Problem;
use bailian_tenants::store::Actor;
use bytes::Bytes;
use http::header::IF_MATCH;
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::fault::Fault;
use crate::accounting::Accounting;
use crate::keys::Peer;
use crate::worker::Workers;

/// The most bytes of a body: settings with every list full of long names are smaller.
pub(super) const MAX_BODY: usize = 256 * 1024;

/// Who changes something, and what it is changed in.
#[derive(Debug)]
pub(super) struct Act {
    pub(super) accounting: Arc<Accounting>,
    pub(super) actor: Actor,
}

impl Act {
    pub(super) fn now(&self) -> Now {
        self.accounting.now()
    }

    /// Does something that waits for a disk or a database, where that is allowed.
    pub(super) async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce(&Self) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        blocking(move || work(&self)).await
    }

    /// The same for a change, which is in force when this ends.
    pub(super) async fn change<T: Send + 'static>(
        self,
        work: impl FnOnce(&Self) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        // A change goes on when the client leaves: it may be written already.
        blocking(move || {
            let result = work(&self);
            self.accounting.refresh();
            result
        })
        .await
    }
}

/// Runs on a thread that may wait.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => {
            tracing::error!(%error, "an admin request failed");
            Err(Fault::internal())
        }
    }
}

impl FromRequestParts<Workers> for Act {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, workers: &Workers) -> Result<Self, Fault> {
        let Ok(peer) = Peer::from_request_parts(parts, workers).await;
        let accounting = workers.state().accounting.clone();
        Ok(Self {
            accounting: accounting.ok_or_else(Fault::no_data)?,
            actor: Actor::new("operator", peer.0),
        })
    }
}

/// What can be read from a body.
pub(super) trait FromBody: Sized {
    fn from_body(body: &[u8]) -> Result<Self, Vec<Problem>>;
}

/// A body that was read.
#[derive(Debug)]
pub(super) struct Input<T>(pub(super) T);

impl<T: FromBody> FromRequest<Workers> for Input<T> {
    type Rejection = Fault;

    async fn from_request(request: Request, workers: &Workers) -> Result<Self, Fault> {
        let body = read(request, workers.state().timeouts.client_body).await?;
        T::from_body(&body).map(Self).map_err(Fault::invalid)
    }
}

async fn read(request: Request, limit: Duration) -> Result<Bytes, Fault> {
    let body = Limited::new(request.into_body(), MAX_BODY).collect();
    match tokio::time::timeout(limit, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Fault::too_large(MAX_BODY)),
        Ok(Err(_)) => Err(Fault::new(
            StatusCode::BAD_REQUEST,
            "incomplete",
            "The body broke off.",
        )),
        Err(_) => Err(Fault::too_slow()),
    }
}

/// Reads JSON of one type; the one problem that serde finds has its path.
pub(super) fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Vec<Problem>> {
    let deserializer = &mut serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut *deserializer).map_err(problem)?;
    let end = deserializer.end();
    end.map_err(|error| vec![Problem::new("body", error.to_string())])?;
    Ok(value)
}

fn problem(error: serde_path_to_error::Error<serde_json::Error>) -> Vec<Problem> {
    let path = error.path().to_string();
    let path = if path == "." { "body".to_owned() } else { path };
    let message: String = error.into_inner().to_string();
    vec![Problem::new(
        path,
        message.chars().take(300).collect::<String>(),
    )]
}

/// An object whose members are taken one by one; what is wrong with them is collected.
pub(super) struct Members {
    left: Map<String, Value>,
    problems: Vec<Problem>,
}

impl Members {
    pub(super) fn read(body: &[u8]) -> Result<Self, Vec<Problem>> {
        Ok(Self {
            left: json(body)?,
            problems: Vec::new(),
        })
    }

    /// Takes a member that may be missing.
    pub(super) fn optional<T: DeserializeOwned>(&mut self, name: &str) -> Option<T> {
        let value = self.left.remove(name).filter(|value| !value.is_null())?;
        serde_json::from_value(value)
            .map_err(|error| self.problems.push(Problem::new(name, error.to_string())))
            .ok()
    }

    /// Takes a member that has to be there.
    pub(super) fn required<T: DeserializeOwned>(&mut self, name: &str) -> Option<T> {
        if !self.left.contains_key(name) {
            self.problems.push(Problem::new(name, "is missing"));
        }
        self.optional(name)
    }

    /// All that is left.
    pub(super) fn rest(self) -> Result<Map<String, Value>, Vec<Problem>> {
        if self.problems.is_empty() {
            Ok(self.left)
        } else {
            Err(self.problems)
        }
    }

    /// All that is left, as one type.
    pub(super) fn rest_as<T: DeserializeOwned>(mut self) -> Result<T, Vec<Problem>> {
        let rest = Value::Object(std::mem::take(&mut self.left));
        match serde_path_to_error::deserialize(rest) {
            Ok(value) if self.problems.is_empty() => Ok(value),
            Ok(_) => Err(self.problems),
            Err(error) => {
                self.problems.extend(problem(error));
                Err(self.problems)
            }
        }
    }
}

/// A query that was read.
#[derive(Debug)]
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<Workers> for Params<T> {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, _: &Workers) -> Result<Self, Fault> {
        let query: Result<Query<T>, QueryRejection> = Query::try_from_uri(&parts.uri);
        query.map(|Query(value)| Self(value)).map_err(|error| {
            let message = std::error::Error::source(&error)
                .map_or_else(|| error.to_string(), ToString::to_string);
            Fault::of_place("query", message.chars().take(300).collect::<String>())
        })
    }
}

/// The id of a path. One that is none is not there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Id<T>(pub(super) T);

impl<T: FromStr> FromRequestParts<Workers> for Id<T> {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, workers: &Workers) -> Result<Self, Fault> {
        let text: Result<Path<String>, _> = Path::from_request_parts(parts, workers).await;
        let Path(text) = text.map_err(|_| Fault::unknown_path())?;
        text.parse().map(Self).map_err(|_| Fault::no_such(&text))
    }
}

/// The revision of `If-Match`.
#[derive(Clone, Copy, Debug)]
pub(super) struct IfMatch(pub(super) Option<u64>);

impl FromRequestParts<Workers> for IfMatch {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, _: &Workers) -> Result<Self, Fault> {
        Self::of(&parts.headers)
    }
}

impl IfMatch {
    fn of(headers: &HeaderMap) -> Result<Self, Fault> {
        let Some(value) = headers.get(IF_MATCH) else {
            return Ok(Self(None));
        };
        let revision = value.to_str().ok().and_then(|value| {
            let value = value.trim();
            value.trim_matches('"').parse().ok()
        });
        match revision {
            Some(revision) => Ok(Self(Some(revision))),
            None => Err(Fault::of_place(
                "If-Match",
                "is not the ETag of what was read, such as \"17\"",
            )),
        }
    }

    /// The revision, here or in the input.
    pub(super) fn or(self, member: Option<u64>) -> Result<bailian_tenants::model::Revision, Fault> {
        let revision = self.0.or(member).ok_or_else(Fault::no_revision)?;
        Ok(bailian_tenants::model::Revision(revision))
    }
}
