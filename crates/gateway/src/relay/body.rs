//! Receives a request body within the bounds that the configuration sets.

use std::pin::pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, EXPECT};
use http_body::Body;
use http_body_util::BodyExt as _;

use super::BodyError;
use crate::config::{Limits, Timeouts};
use crate::errors::Refusal;

/// How much of an unwanted body is read and thrown away, as a multiple of the largest wanted one.
/// A client that is still writing when the connection closes may lose the answer.
const DRAIN_FACTOR: usize = 4;

/// How long an unwanted body is read and thrown away.
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// Receives the whole body.
pub(super) async fn receive<B>(
    headers: &HeaderMap,
    body: B,
    limits: &Limits,
    timeouts: &Timeouts,
) -> Result<Bytes, Refusal>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BodyError>,
{
    let mut body = pin!(body);
    if announced_length(headers).is_some_and(|length| length > limits.max_body_bytes as u64) {
        discard(headers, body, limits).await;
        return Err(Refusal::body_too_large(limits.max_body_bytes));
    }
    let gather = gather(body.as_mut(), limits.max_body_bytes);
    match tokio::time::timeout(timeouts.client_body, gather).await {
        Ok(Ok(Some(bytes))) => Ok(bytes),
        Ok(Ok(None)) => {
            discard(headers, body, limits).await;
            Err(Refusal::body_too_large(limits.max_body_bytes))
        }
        Ok(Err(())) => Err(Refusal::invalid_request("The request body broke off.")),
        Err(_) => Err(Refusal::body_timeout(timeouts.client_body)),
    }
}

/// Collects the frames; `None` when they are more than `limit` bytes.
async fn gather<B>(mut body: std::pin::Pin<&mut B>, limit: usize) -> Result<Option<Bytes>, ()>
where
    B: Body<Data = Bytes>,
{
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(drop)?.into_data() else {
            continue;
        };
        if first.len() + rest.len() + data.len() > limit {
            return Ok(None);
        }
        // A small body arrives in one piece, which is then not copied.
        if first.is_empty() && rest.is_empty() {
            first = data;
        } else {
            if rest.is_empty() {
                let expected = usize::try_from(body.size_hint().lower()).unwrap_or(limit);
                rest.reserve(first.len() + data.len() + expected.min(limit));
                rest.extend_from_slice(&std::mem::take(&mut first));
            }
            rest.extend_from_slice(&data);
        }
    }
    Ok(Some(if rest.is_empty() {
        first
    } else {
        rest.freeze()
    }))
}

/// Reads an unwanted body and throws it away, within bounds, so that its sender can read why.
pub(super) async fn discard<B>(headers: &HeaderMap, body: B, limits: &Limits)
where
    B: Body<Data = Bytes>,
{
    // Who waits for "100 Continue" has sent nothing yet, and will not.
    if headers.contains_key(EXPECT) || body.is_end_stream() {
        return;
    }
    let bound = limits.max_body_bytes.saturating_mul(DRAIN_FACTOR);
    if announced_length(headers).is_some_and(|length| length > bound as u64) {
        return;
    }
    let mut body = pin!(body);
    let drain = async {
        let mut seen = 0usize;
        while let Some(Ok(frame)) = body.frame().await {
            seen = seen.saturating_add(frame.data_ref().map_or(0, Bytes::len));
            if seen > bound {
                break;
            }
        }
    };
    // Whether it ended or time ran out makes no difference: the answer goes out now.
    drop(tokio::time::timeout(DRAIN_TIME, drain).await);
}

fn announced_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;
    use http_body_util::{Full, StreamBody};
    use std::convert::Infallible;

    fn limits(max_body_bytes: usize) -> Limits {
        Limits {
            max_body_bytes,
            ..Limits::default()
        }
    }

    fn pieces(pieces: &[&'static str]) -> impl Body<Data = Bytes, Error = Infallible> + use<> {
        let frames: Vec<_> = pieces
            .iter()
            .map(|piece| Ok(http_body::Frame::data(Bytes::from_static(piece.as_bytes()))))
            .collect();
        StreamBody::new(futures_util::stream::iter(frames))
    }

    #[tokio::test]
    async fn a_body_in_pieces_is_joined() {
        let body = pieces(&["{\"a\":", "\"你", "好\"}"]);
        let bytes = receive(&HeaderMap::new(), body, &limits(64), &Timeouts::default()).await;
        assert_eq!(bytes.unwrap(), "{\"a\":\"你好\"}");
    }

    #[tokio::test]
    async fn more_bytes_than_allowed_are_refused_whether_announced_or_not() {
        let unannounced = receive(
            &HeaderMap::new(),
            pieces(&["12345", "67890"]),
            &limits(9),
            &Timeouts::default(),
        )
        .await;
        assert_eq!(
            unannounced.unwrap_err().status(),
            StatusCode::PAYLOAD_TOO_LARGE
        );

        let headers = HeaderMap::from_iter([(CONTENT_LENGTH, 10.into())]);
        let body = Full::new(Bytes::from_static(b"1234567890"));
        let announced = receive(&headers, body, &limits(9), &Timeouts::default()).await;
        assert_eq!(
            announced.unwrap_err().status(),
            StatusCode::PAYLOAD_TOO_LARGE
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_is_given_up() {
        let endless = StreamBody::new(futures_util::stream::pending::<
            Result<http_body::Frame<Bytes>, Infallible>,
        >());
        let result = receive(&HeaderMap::new(), endless, &limits(9), &Timeouts::default()).await;
        assert_eq!(result.unwrap_err().status(), StatusCode::REQUEST_TIMEOUT);
    }
}
