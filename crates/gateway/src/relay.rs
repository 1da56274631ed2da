//! A chat request's way through the gateway, one step a module.
//!
//! authenticate → read → wait for a permit → attempt → relay, tapping usage. [`handle`] is the way as a whole.

mod answer;
mod body;
mod headers;
mod plain;
mod read;
mod stream;
mod tap;

use axum::body::Body;
use axum::response::Response;
use bailian_quota::Throttle;
use bailian_wire::Dialect;
use bytes::Bytes;
use http::request::Parts;

use self::headers::total_bytes;
pub(crate) use self::headers::{presented_key, stamp};
use crate::errors::Refusal;
use crate::metrics::Outcome;
use crate::pacing::throttle_of;
use crate::record::Record;
use crate::upstream::{UpstreamBody, UpstreamError};
use crate::worker::Worker;

/// How often a request that upstream throttled is sent again. Throttled requests were not begun
/// and are not billed.
const MOST_REQUEUES: u32 = 5;

/// What can go wrong inside a request body, whichever stack it comes from.
pub(crate) type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// Serves one chat request of `dialect`, from its head to the body of its answer.
///
/// # Cancel safety
///
/// Dropping the future, or the body of the response, ends the upstream request at once.
pub(crate) async fn handle<B>(
    worker: Worker,
    dialect: Dialect,
    request: http::Request<B>,
) -> Response<Body>
where
    B: http_body::Body<Data = Bytes> + Send,
    B::Error: Into<BodyError>,
{
    let mut record = Record::begin(&worker.state, dialect);
    let request_id = record.request_id;
    let (head, body) = request.into_parts();
    let result = attempt(&worker, dialect, &head, body, &mut record).await;
    let queued = record.queued;
    let mut response = match result {
        Ok(answer) => answer::relay(answer, record).await,
        Err(refusal) => {
            record.status = refusal.status();
            record.end_as(refusal.outcome());
            refusal.to_response(dialect, request_id.as_str())
        }
    };
    stamp(response.headers_mut(), request_id);
    headers::stamp_queued(response.headers_mut(), queued);
    response
}

/// The way to the head of upstream's answer.
async fn attempt<B>(
    worker: &Worker,
    dialect: Dialect,
    head: &Parts,
    body: B,
    record: &mut Record,
) -> Result<http::Response<UpstreamBody>, Refusal>
where
    B: http_body::Body<Data = Bytes> + Send,
    B::Error: Into<BodyError>,
{
    let state = &*worker.state;
    let owner = presented_key(&head.headers).and_then(|key| state.keys.authenticate(key));
    let Some(owner) = owner else {
        body::discard(&head.headers, body, &state.limits).await;
        return Err(Refusal::unauthenticated());
    };
    record.owner = Some(owner);
    if total_bytes(&head.headers) > state.limits.max_header_bytes {
        body::discard(&head.headers, body, &state.limits).await;
        return Err(Refusal::headers_too_large(state.limits.max_header_bytes));
    }
    let bytes = body::receive(&head.headers, body, &state.limits, &state.timeouts).await?;
    let demand = read::read(dialect, &head.headers, &bytes)?;
    record.model = Some(demand.model);
    exchange(worker, dialect, head, bytes, demand.max_output, record).await
}

/// Waits for a permit and sends; what upstream refuses for its limits goes back in line.
async fn exchange(
    worker: &Worker,
    dialect: Dialect,
    head: &Parts,
    bytes: Bytes,
    max_output: Option<u64>,
    record: &mut Record,
) -> Result<http::Response<UpstreamBody>, Refusal> {
    let state = &*worker.state;
    let (Some(owner), Some(model)) = (record.owner.as_deref(), record.model.as_deref()) else {
        return Err(Refusal::internal());
    };
    let demand = state
        .pacing
        .demand(owner, &head.headers, &bytes, max_output);
    let mut wait = state.pacing.lane(model).acquire(demand);
    loop {
        let permit = wait.await.map_err(|refused| {
            Refusal::paced(&refused, record.model.as_deref().unwrap_or_default())
        })?;
        let attempt = permit.attempt();
        record.queued = permit.waited();
        record.permit = Some(permit);
        let answer = send(worker, dialect, head, bytes.clone(), record).await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                if error.sent_nothing()
                    && let Some(permit) = record.permit.take()
                {
                    permit.give_back();
                }
                return Err(Refusal::upstream(&error));
            }
        };
        if answer.status().is_success() {
            if let Some(permit) = &record.permit {
                permit.admitted();
            }
            return Ok(answer);
        }
        let (answer, error) = answer::look_at_error(answer, record.idle_limit()).await;
        // An error about the request itself is settled with the record, at no cost.
        let Some(throttle) = throttle_of(&error) else {
            return Ok(answer);
        };
        let Some(permit) = record.permit.take() else {
            return Ok(answer);
        };
        let hint = headers::retry_after(answer.headers());
        let again = answer.status() == http::StatusCode::TOO_MANY_REQUESTS
            && !matches!(throttle, Throttle::Exhausted(_))
            && attempt < MOST_REQUEUES
            && permit.is_worth_waiting();
        if !again {
            permit.refused(&throttle, hint);
            return Ok(answer);
        }
        tracing::info!(
            request_id = record.request_id.as_str(),
            model = record.model.as_deref(),
            reason = throttle.as_str(),
            attempt,
            "upstream throttled a request; it goes back in line"
        );
        wait = permit.requeue(&throttle, hint);
    }
}

/// One attempt.
async fn send(
    worker: &Worker,
    dialect: Dialect,
    head: &Parts,
    bytes: Bytes,
    record: &Record,
) -> Result<http::Response<UpstreamBody>, UpstreamError> {
    let account = &worker.state.account;
    let endpoint = account.chat_endpoint(dialect);
    let mut request = http::Request::new(bytes);
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = endpoint.target(head.uri.query());
    *request.headers_mut() = headers::to_upstream(&head.headers, account, endpoint);
    worker
        .upstream
        .send(&endpoint.origin, request)
        .await
        .inspect_err(|error| {
            tracing::warn!(
                request_id = record.request_id.as_str(),
                error = %Chain(error),
                "no answer from upstream"
            );
        })
}

impl Refusal {
    /// Who is to blame, in the words of the metrics.
    fn outcome(&self) -> Outcome {
        if self.is_upstream_fault() {
            Outcome::UpstreamLost
        } else {
            Outcome::Refused
        }
    }
}

/// An error with all its causes, on one line.
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn std::error::Error + 'static));

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
