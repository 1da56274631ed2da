//! From the line to the head of upstream's answer.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bailian::pacing::throttle_of;
use bailian_quota::{Throttle, Wait};
use bytes::Bytes;
use http::StatusCode;
use http::request::Parts;

use super::waiting::WaitingBody;
use super::{Chain, answer, headers, refuse};
use crate::errors::Refusal;
use crate::record::Record;
use crate::upstream::{UpstreamBody, UpstreamError};
use crate::worker::Worker;

/// How often a request that upstream throttled is sent again. Throttled requests were not begun
/// and are not billed.
const MOST_REQUEUES: u32 = 5;

/// One request that may be sent, with everything that it needs.
pub(super) struct Exchange {
    worker: Worker,
    head: Parts,
    bytes: Bytes,
    record: Record,
}

/// A request that stands in line after all of its patience.
struct StillWaits(Wait);

impl Exchange {
    pub(super) fn new(worker: Worker, head: Parts, bytes: Bytes, record: Record) -> Self {
        Self {
            worker,
            head,
            bytes,
            record,
        }
    }

    /// Waits, sends, and makes the client's response; says how long it waited. The client of a
    /// stream that stands in line for long is answered at once, and hears while it waits that the
    /// connection lives.
    pub(super) async fn respond(
        mut self,
        max_output: Option<u64>,
        stream: bool,
    ) -> (Response, Duration) {
        let Some(wait) = self.join(max_output) else {
            return (refuse(&Refusal::internal(), self.record), Duration::ZERO);
        };
        let keep_alive = self.worker.state.pacing.keep_alive();
        match self.exchange(wait, stream.then_some(keep_alive)).await {
            Ok(result) => self.conclude(result).await,
            Err(StillWaits(wait)) => {
                let dialect = self.record.dialect;
                let request_id = self.record.request_id;
                let rest = Box::pin(async move {
                    match self.exchange(wait, None).await {
                        Ok(result) => self.conclude(result).await,
                        // Without an end to its patience nobody is left waiting.
                        Err(StillWaits(_)) => self.conclude(Err(Refusal::internal())).await,
                    }
                });
                let body = WaitingBody::new(rest, keep_alive, dialect, request_id);
                let mut response = Response::new(Body::new(body));
                *response.headers_mut() = headers::of_event_stream();
                (response, keep_alive)
            }
        }
    }

    async fn conclude(
        self,
        result: Result<http::Response<UpstreamBody>, Refusal>,
    ) -> (Response, Duration) {
        let queued = self.record.queued;
        let response = match result {
            Ok(answer) => answer::relay(answer, self.record).await,
            Err(refusal) => refuse(&refusal, self.record),
        };
        (response, queued)
    }

    /// Takes a place in the model's line.
    fn join(&self, max_output: Option<u64>) -> Option<Wait> {
        let owner = self.record.owner.as_deref()?;
        let model = self.record.model.as_deref()?;
        let pacing = &self.worker.state.pacing;
        let lane = pacing.lane(model);
        let demand = pacing.demand(&lane, owner, &self.head.headers, &self.bytes, max_output);
        Some(lane.acquire(demand))
    }

    /// Waits for a permit and sends; what upstream refuses for its limits goes back in line. Gives
    /// up after `patience` if the request stands in line then.
    async fn exchange(
        &mut self,
        mut wait: Wait,
        patience: Option<Duration>,
    ) -> Result<Result<http::Response<UpstreamBody>, Refusal>, StillWaits> {
        loop {
            let permit = match patience {
                Some(patience) if wait.is_queued() => {
                    // Seldom needed, and it would make every request's future larger.
                    match Box::pin(tokio::time::timeout(patience, &mut wait)).await {
                        Ok(permit) => permit,
                        Err(_) => return Err(StillWaits(wait)),
                    }
                }
                _ => wait.await,
            };
            let permit = match permit {
                Ok(permit) => permit,
                Err(refused) => {
                    let model = self.record.model.as_deref().unwrap_or_default();
                    return Ok(Err(Refusal::paced(&refused, model)));
                }
            };
            let attempt = permit.attempt();
            self.record.queued = permit.waited();
            self.record.permit = Some(permit);
            let answer = match self.send().await {
                Ok(answer) => answer,
                Err(error) => {
                    if error.sent_nothing()
                        && let Some(permit) = self.record.permit.take()
                    {
                        permit.give_back();
                    }
                    return Ok(Err(Refusal::upstream(&error)));
                }
            };
            self.worker.state.pacing.note_answer(answer.headers());
            if answer.status().is_success() {
                if let Some(permit) = &self.record.permit {
                    permit.admitted();
                }
                return Ok(Ok(answer));
            }
            let look = answer::look_at_error(answer, self.record.idle_limit());
            let (answer, error) = Box::pin(look).await;
            // An error about the request itself is settled with the record, at no cost.
            let Some(throttle) = throttle_of(&error) else {
                return Ok(Ok(answer));
            };
            let Some(permit) = self.record.permit.take() else {
                return Ok(Ok(answer));
            };
            let hint = headers::retry_after(answer.headers());
            let again = answer.status() == StatusCode::TOO_MANY_REQUESTS
                && !matches!(throttle, Throttle::Exhausted(_))
                && attempt < MOST_REQUEUES
                && permit.is_worth_waiting();
            if !again {
                permit.refused(&throttle, hint);
                return Ok(Ok(answer));
            }
            tracing::info!(
                request_id = self.record.request_id.as_str(),
                model = self.record.model.as_deref(),
                reason = throttle.as_str(),
                attempt,
                "upstream throttled a request; it goes back in line"
            );
            wait = permit.requeue(&throttle, hint);
        }
    }

    /// One attempt.
    async fn send(&self) -> Result<http::Response<UpstreamBody>, UpstreamError> {
        let account = &self.worker.state.account;
        let endpoint = account.chat_endpoint(self.record.dialect);
        let mut request = http::Request::new(self.bytes.clone());
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = endpoint.target(self.head.uri.query());
        *request.headers_mut() = headers::to_upstream(&self.head.headers, account, endpoint);
        self.worker
            .upstream
            .send(&endpoint.origin, request)
            .await
            .inspect_err(|error| {
                tracing::warn!(
                    request_id = self.record.request_id.as_str(),
                    error = %Chain(error),
                    "no answer from upstream"
                );
            })
    }
}
