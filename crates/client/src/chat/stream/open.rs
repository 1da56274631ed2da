//! Opens a stream: everything up to its first event, which may be repeated.

use std::collections::VecDeque;
use std::time::SystemTime;

use bailian_wire::Dialect;
use bailian_wire::chat::ChatEvent;
use bailian_wire::stream::{StreamDecoder, StreamError, StreamSurface};
use futures_util::StreamExt as _;
use http::HeaderMap;
use http::header::CONTENT_TYPE;

use super::whole::events_of;
use super::{ChatStream, Head};
use crate::call::{self, AttemptFailure, Cause, Course, Limit, Opened};
use crate::chat::create::{decode, name_request};
use crate::chat::plan::Plan;
use crate::client::Client;
use crate::error::{Error, TimeoutPart};
use crate::transport::Body;

/// A stream with its first events.
struct Begun {
    ready: VecDeque<Result<ChatEvent, StreamError>>,
    decoder: StreamDecoder,
    body: Option<Body>,
    headers: HeaderMap,
}

pub(in crate::chat) async fn open(client: &Client, plan: &Plan) -> Result<ChatStream, Error> {
    let settings = &plan.settings;
    let mut course = Course::new(client, settings, plan.turn.as_ref());
    loop {
        course.may_send().await?;
        match attempt(client, plan).await {
            Ok(begun) => {
                let Begun {
                    ready,
                    decoder,
                    body,
                    headers,
                } = begun;
                let named = ready.iter().find_map(|event| match event {
                    Ok(ChatEvent::Started { request_id, .. }) => request_id.clone(),
                    _ => None,
                });
                let request_id = call::request_id(&headers).or(named);
                let (attempts, spending) = course.succeeded(request_id.clone());
                let head = Head {
                    headers,
                    request_id,
                    attempts,
                };
                return Ok(ChatStream::new(
                    ready, decoder, body, settings, head, spending,
                ));
            }
            Err(failure) => course.failed(failure).await?,
        }
    }
}

async fn attempt(client: &Client, plan: &Plan) -> Result<Begun, AttemptFailure> {
    let settings = &plan.settings;
    let limit = settings.limit(TimeoutPart::FirstByte, settings.first_byte);
    let opened = call::open(client, settings, limit, plan.http_request()).await?;
    let Opened { headers, body } = opened;
    let begun = if is_event_stream(&headers) {
        begin(plan, limit, body).await
    } else {
        begin_whole(plan, &headers, body).await
    };
    match begun {
        Ok((ready, decoder, body)) => Ok(Begun {
            ready,
            decoder,
            body,
            headers,
        }),
        Err(failure) => Err(failure.with_head(&headers, SystemTime::now())),
    }
}

type First = (
    VecDeque<Result<ChatEvent, StreamError>>,
    StreamDecoder,
    Option<Body>,
);

/// Reads up to the first event. An error in its place is a failure of the attempt.
async fn begin(plan: &Plan, limit: Limit, mut body: Body) -> Result<First, AttemptFailure> {
    let mut decoder = decoder(plan);
    let mut ready = VecDeque::new();
    while ready.is_empty() {
        match limit.over(body.next()).await? {
            Some(Ok(bytes)) => decoder.feed(&bytes),
            Some(Err(error)) => return Err(AttemptFailure::new(Cause::Transport(error))),
            None => decoder.finish(),
        }
        while let Some(event) = decoder.next_event() {
            match event {
                // The decoder names the request before its error; that alone is no answer.
                Err(error) if !ready.iter().any(says_something) => {
                    return Err(AttemptFailure::new(error));
                }
                event => ready.push_back(event),
            }
        }
        if ready.is_empty() && decoder.is_closed() {
            return Err(AttemptFailure::new(StreamError::Truncated));
        }
    }
    Ok((ready, decoder, Some(body)))
}

/// Takes a complete answer in place of a stream: some models ignore the wish for one.
async fn begin_whole(
    plan: &Plan,
    headers: &HeaderMap,
    body: Body,
) -> Result<First, AttemptFailure> {
    let text = call::read_all(&plan.settings, body).await?;
    let mut decoder = decoder(plan);
    let ready = match decode(plan.protocol, &text) {
        Ok(mut answer) => {
            name_request(&mut answer, headers);
            events_of(answer).into_iter().map(Ok).collect()
        }
        // An event stream under another name.
        Err(failure) if matches!(failure.cause, Cause::Decode(_)) => {
            decoder.feed(&text);
            decoder.finish();
            let events: VecDeque<_> = std::iter::from_fn(|| decoder.next_event()).collect();
            if !events.iter().any(says_something) {
                return Err(failure);
            }
            events
        }
        Err(failure) => return Err(failure),
    };
    Ok((ready, decoder, None))
}

fn says_something(event: &Result<ChatEvent, StreamError>) -> bool {
    matches!(event, Ok(event) if !matches!(event, ChatEvent::Started { .. }))
}

fn decoder(plan: &Plan) -> StreamDecoder {
    let surface = match plan.protocol {
        Dialect::Native => StreamSurface::Native,
        Dialect::OpenAi => StreamSurface::OpenAiChat,
        Dialect::Anthropic => StreamSurface::Anthropic,
    };
    StreamDecoder::new(surface).cumulative(plan.cumulative)
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    kind.trim_start()
        .to_ascii_lowercase()
        .starts_with("text/event-stream")
}
