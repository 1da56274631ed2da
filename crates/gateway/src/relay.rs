//! A request's way through the gateway, one step a module.
//!
//! authenticate → read → wait for a permit → attempt → relay, tapping usage. [`handle`] is the way as a whole.

mod answer;
mod body;
mod cached;
mod embeddings;
mod exchange;
mod frames;
mod headers;
mod mend;
mod plain;
mod progress;
mod read;
mod resume;
mod scan;
mod shape;
mod stored;
mod stream;
mod tap;
mod translate;
mod waiting;

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::HeaderValue;
use http::request::Parts;
use http::{HeaderMap, Method};

use self::cached::Keep;
use self::exchange::Exchange;
use self::headers::total_bytes;
pub(crate) use self::headers::{is_event_stream, presented_key, stamp};
pub(crate) use self::read::Demand;
use crate::content::Passing;
use crate::errors::Refusal;
use crate::keys::Peer;
use crate::metrics::Outcome;
use crate::record::Record;
use crate::surface::Surface;
use crate::worker::Worker;

/// What can go wrong inside a request body, whichever stack it comes from.
pub(crate) type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// Serves one request, from its head to the body of its answer.
///
/// # Cancel safety
///
/// Dropping the future, or the body of the response, ends the upstream request at once.
pub(crate) async fn handle<B>(
    worker: Worker,
    surface: Surface,
    request: http::Request<B>,
    peer: Peer,
) -> Response<Body>
where
    B: http_body::Body<Data = Bytes> + Send,
    B::Error: Into<BodyError>,
{
    let mut record = Record::begin(&worker.state, surface.dialect());
    record.surface = surface.name();
    let request_id = record.request_id;
    let (head, body) = request.into_parts();
    record.begin_trace(&head.headers);
    let prepared = Box::pin(prepare(&worker, &surface, &head, body, peer, &mut record)).await;
    let (mut response, queued) = match prepared {
        Ok((bytes, demand)) => {
            let passing = Passing::begin(&worker.state, &record, &surface, &demand, &bytes);
            let call = Box::new(Call {
                surface,
                method: head.method,
                query: head.uri.query().map(Box::from),
                headers: headers::needed(&head.headers, &worker.state.accounts),
                bytes,
                demand,
            });
            let (response, queued) = match worker.state.cache.clone() {
                None => send(worker, call, record, None).await,
                Some(cache) => {
                    Box::pin(cached::serve(worker, cache, &head.headers, call, record)).await
                }
            };
            match passing {
                Some(passing) => (passing.watch(response), queued),
                None => (response, queued),
            }
        }
        Err(refusal) => (refuse(&refusal, record), Duration::ZERO),
    };
    stamp(response.headers_mut(), request_id);
    headers::stamp_queued(response.headers_mut(), queued);
    response
}

/// Asks upstream. `keep`: what keeps the answer for others.
async fn send(
    worker: Worker,
    call: Box<Call>,
    record: Box<Record>,
    keep: Option<Box<Keep>>,
) -> (Response, Duration) {
    match call.surface {
        Surface::Embeddings(_) => Box::pin(embed(worker, call, record, keep)).await,
        _ => {
            Exchange::new(worker, call, record)
                .kept(keep)
                .respond()
                .await
        }
    }
}

/// Embeddings, in several requests if need be.
async fn embed(
    worker: Worker,
    call: Box<Call>,
    record: Box<Record>,
    keep: Option<Box<Keep>>,
) -> (Response, Duration) {
    match embeddings::too_many(&worker, &call) {
        Some((body, batch)) => {
            let response = embeddings::serve(worker, call, body, batch, record).await;
            let response = match keep {
                Some(keep) => keep.watch(response).await,
                None => response,
            };
            (response, Duration::ZERO)
        }
        None => {
            Exchange::new(worker, call, record)
                .kept(keep)
                .respond()
                .await
        }
    }
}

/// A request as its caller sent it, as far as it is needed again. A stream keeps it to its end.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) surface: Surface,
    pub(crate) method: Method,
    pub(crate) query: Option<Box<str>>,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Bytes,
    pub(crate) demand: Demand,
}

/// Bodies up to here may be a slice of what one read of the connection brought.
const SLICED_BYTES: usize = 8 * 1024;

impl Call {
    /// Copies what may be a slice of the connection's read buffer. To keep the call for as long as
    /// its answer streams would keep the whole buffer, and the connection would take another one.
    fn detach(&mut self) {
        if self.bytes.len() <= SLICED_BYTES {
            self.bytes = Bytes::copy_from_slice(&self.bytes);
        }
        for value in self.headers.values_mut() {
            // What was a value is one.
            if let Ok(mut copy) = HeaderValue::from_bytes(value.as_bytes()) {
                copy.set_sensitive(value.is_sensitive());
                *value = copy;
            }
        }
    }
}

/// The gateway's own no.
fn refuse(refusal: &Refusal, mut record: Box<Record>) -> Response {
    record.status = refusal.status();
    record.error_code = Some(refusal.code().into());
    record.note_refusal(refusal);
    record.end_as(refusal.outcome());
    refusal.to_response(record.dialect, record.request_id.as_str())
}

/// The way to a request that may stand in line.
async fn prepare<B>(
    worker: &Worker,
    surface: &Surface,
    head: &Parts,
    body: B,
    peer: Peer,
    record: &mut Record,
) -> Result<(Bytes, Demand), Refusal>
where
    B: http_body::Body<Data = Bytes> + Send,
    B::Error: Into<BodyError>,
{
    let state = &*worker.state;
    let owner = state.authenticate(presented_key(&head.headers), peer, record.request_id);
    let Some(owner) = owner else {
        body::discard(&head.headers, body, &state.limits).await;
        return Err(Refusal::unauthenticated());
    };
    record.owner = Some(owner);
    if total_bytes(&head.headers) > state.limits.max_header_bytes {
        body::discard(&head.headers, body, &state.limits).await;
        return Err(Refusal::headers_too_large(state.limits.max_header_bytes));
    }
    record.leave();
    let received = body::receive(&head.headers, body, &state.limits, &state.timeouts).await;
    record.come_back();
    let bytes = received?;
    let mut demand = if head.method == Method::POST {
        read::read(surface, &head.headers, &bytes)?
    } else {
        read::without_body(surface)
    };
    record.model = Some(demand.model.clone());
    record.may_use()?;
    if surface.is_stateful()
        && let Some(owner) = &record.owner
    {
        demand.holder = Box::pin(stored::find(worker, surface, &bytes, owner)).await?;
    }
    Ok((bytes, demand))
}

/// Estimates what a request of Anthropic's dialect has as input.
pub(crate) async fn count_tokens<B>(
    worker: &Worker,
    headers: &HeaderMap,
    body: B,
) -> Result<u64, Refusal>
where
    B: http_body::Body<Data = Bytes> + Send,
    B::Error: Into<BodyError>,
{
    let state = &*worker.state;
    let bytes = body::receive(headers, body, &state.limits, &state.timeouts).await?;
    read::read(
        &Surface::Chat(bailian_wire::Dialect::Anthropic),
        headers,
        &bytes,
    )?;
    Ok(bailian_wire::tokens::estimate_request(&bytes).input_tokens)
}

impl Refusal {
    /// Who is to blame, in the words of the metrics.
    fn outcome(&self) -> Outcome {
        if self.is_of_upstream() {
            Outcome::UpstreamError
        } else if self.is_upstream_fault() {
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
