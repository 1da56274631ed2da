//! Asks for a whole answer.

use std::time::SystemTime;

use bailian_wire::Dialect;
use bailian_wire::chat::ChatResponse;
use bailian_wire::error::error_in_success;
use bailian_wire::{native, openai};
use http::HeaderMap;

use super::plan::Plan;
use super::stream;
use crate::call::{self, AttemptFailure, Cause, Course, Opened};
use crate::client::Client;
use crate::error::{DecodeError, Error, TimeoutPart};
use crate::response::Response;

pub(super) async fn run(client: &Client, plan: &Plan) -> Result<Response<ChatResponse>, Error> {
    if plan.stream {
        return stream::open(client, plan).await?.collect().await;
    }
    let mut course = Course::new(client, &plan.settings, plan.turn.as_ref());
    loop {
        course.may_send().await?;
        match attempt(client, plan).await {
            Ok((answer, headers)) => {
                let request_id = answer.request_id.clone();
                let usage = answer.usage.clone();
                let (attempts, mut spending) = course.succeeded(request_id.clone());
                spending.usage = usage;
                return Ok(Response::new(answer, request_id, headers, attempts));
            }
            Err(failure) => course.failed(failure).await?,
        }
    }
}

async fn attempt(
    client: &Client,
    plan: &Plan,
) -> Result<(ChatResponse, HeaderMap), AttemptFailure> {
    let settings = &plan.settings;
    let limit = settings.limit(TimeoutPart::FirstByte, settings.first_byte);
    let opened = call::open(client, settings, limit, plan.http_request()).await?;
    let Opened { headers, body } = opened;
    let text = call::read_all(settings, body).await;
    match text.and_then(|text| decode(plan.protocol, &text)) {
        Ok(mut answer) => {
            name_request(&mut answer, &headers);
            Ok((answer, headers))
        }
        Err(failure) => Err(failure.with_head(&headers, SystemTime::now())),
    }
}

/// Reads an answer that came with a good status, and may still be an error.
pub(super) fn decode(protocol: Dialect, text: &[u8]) -> Result<ChatResponse, AttemptFailure> {
    let value: serde_json::Value = serde_json::from_slice(text)
        .map_err(|error| AttemptFailure::new(Cause::Decode(DecodeError::Json(error))))?;
    if let Some(error) = error_in_success(&value) {
        return Err(AttemptFailure::new(Cause::Api(error)));
    }
    Ok(match protocol {
        Dialect::Native => native::decode_response(value),
        // Requests of the third protocol are refused before they are sent.
        Dialect::OpenAi | Dialect::Anthropic => openai::decode_response(value),
    })
}

/// The OpenAI protocol names the request in the head only.
pub(super) fn name_request(answer: &mut ChatResponse, headers: &HeaderMap) {
    if answer.request_id.is_none() {
        answer.request_id = call::request_id(headers);
    }
}
