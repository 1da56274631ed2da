//! Receives a request body within the bounds that the configuration sets.

use std::io::{self, Write as _};
use std::pin::{Pin, pin};
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use flate2::write::MultiGzDecoder;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, EXPECT};
use http::{HeaderMap, StatusCode};
use http_body::Body;
use http_body_util::BodyExt as _;
use tokio::time::{Instant, Sleep, sleep_until};

use super::BodyError;
use crate::config::{Limits, Timeouts};
use crate::errors::Refusal;

/// How much of an unwanted body is read and thrown away, as a multiple of the largest wanted one.
/// A client that is still writing when the connection closes may lose the answer.
const DRAIN_FACTOR: usize = 4;

/// How long an unwanted body is read and thrown away.
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// How long a body may take before its rate counts.
const RATE_GRACE: Duration = Duration::from_secs(10);

/// Why a body is not served.
enum Failure {
    TooLarge,
    Refused(Refusal),
}

/// Receives the whole body, unpacked.
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
    let limit = limits.max_body_bytes;
    let pace = Pace::new(limits, timeouts);
    let received = if announced_length(headers).is_some_and(|length| length > limit as u64) {
        Err(Failure::TooLarge)
    } else {
        match headers.get(CONTENT_ENCODING) {
            None => gather(body.as_mut(), pace, limit).await,
            Some(_) => match packing_of(headers) {
                Some(Packing::None) => gather(body.as_mut(), pace, limit).await,
                Some(Packing::Gzip) => Box::pin(unpack(body.as_mut(), pace, limit)).await,
                None => Err(Failure::Refused(Refusal::unknown_encoding())),
            },
        }
    };
    let refusal = match received {
        Ok(bytes) => return Ok(bytes),
        Err(Failure::TooLarge) => Refusal::body_too_large(limit),
        Err(Failure::Refused(refusal)) if refusal.status() == StatusCode::REQUEST_TIMEOUT => {
            return Err(refusal);
        }
        Err(Failure::Refused(refusal)) => refusal,
    };
    discard(headers, body, limits).await;
    Err(refusal)
}

/// How a body is packed.
enum Packing {
    None,
    Gzip,
}

/// How the body is packed; `None` when it cannot be unpacked here.
fn packing_of(headers: &HeaderMap) -> Option<Packing> {
    let mut packing = Packing::None;
    let values = headers.get_all(CONTENT_ENCODING).iter();
    for name in values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')) {
        let name = name.trim_ascii();
        let is_gzip = name.eq_ignore_ascii_case(b"gzip") || name.eq_ignore_ascii_case(b"x-gzip");
        match packing {
            Packing::None if is_gzip => packing = Packing::Gzip,
            _ if name.is_empty() || name.eq_ignore_ascii_case(b"identity") => {}
            _ => return None,
        }
    }
    Some(packing)
}

/// Bounds how long a body may take: as a whole, and by its rate.
struct Pace {
    begun: Instant,
    whole: Duration,
    /// Bytes per second; zero for any.
    rate: usize,
    received: usize,
    /// Made when the body has to be waited for.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    fn new(limits: &Limits, timeouts: &Timeouts) -> Self {
        Self {
            begun: Instant::now(),
            whole: timeouts.client_body,
            rate: limits.min_body_bytes_per_second,
            received: 0,
            alarm: None,
        }
    }

    /// How long after its begin the next piece must have come.
    fn due(&self) -> Duration {
        if self.rate == 0 {
            return self.whole;
        }
        let earned = Duration::from_secs_f64(self.received as f64 / self.rate as f64);
        self.whole.min(RATE_GRACE.saturating_add(earned))
    }

    /// The next piece; `None` at the end.
    async fn next<B>(&mut self, mut body: Pin<&mut B>) -> Result<Option<Bytes>, Failure>
    where
        B: Body<Data = Bytes>,
    {
        std::future::poll_fn(|cx| {
            loop {
                match body.as_mut().poll_frame(cx) {
                    Poll::Ready(None) => return Poll::Ready(Ok(None)),
                    Poll::Ready(Some(Ok(frame))) => {
                        if let Ok(data) = frame.into_data() {
                            self.received = self.received.saturating_add(data.len());
                            return Poll::Ready(Ok(Some(data)));
                        }
                    }
                    Poll::Ready(Some(Err(_))) => {
                        let refusal = Refusal::invalid_request("The request body broke off.");
                        return Poll::Ready(Err(Failure::Refused(refusal)));
                    }
                    Poll::Pending => {
                        let due = self.due();
                        let at = self.begun + due;
                        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(at)));
                        ready!(alarm.as_mut().poll(cx));
                        // It may be that more has come since the alarm was set.
                        if Instant::now() < at {
                            alarm.as_mut().reset(at);
                            continue;
                        }
                        let refusal = if due == self.whole {
                            Refusal::body_timeout(self.whole)
                        } else {
                            Refusal::body_too_slow(self.rate)
                        };
                        return Poll::Ready(Err(Failure::Refused(refusal)));
                    }
                }
            }
        })
        .await
    }
}

/// Collects the pieces.
async fn gather<B>(mut body: Pin<&mut B>, mut pace: Pace, limit: usize) -> Result<Bytes, Failure>
where
    B: Body<Data = Bytes>,
{
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(data) = pace.next(body.as_mut()).await? {
        if first.len() + rest.len() + data.len() > limit {
            return Err(Failure::TooLarge);
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
    Ok(if rest.is_empty() {
        first
    } else {
        rest.freeze()
    })
}

/// How much is unpacked before other requests have their turn, in bytes.
const UNPACK_TURN: usize = 256 * 1024;

/// Collects and unpacks the pieces. Not more is ever unpacked than is allowed.
async fn unpack<B>(mut body: Pin<&mut B>, mut pace: Pace, limit: usize) -> Result<Bytes, Failure>
where
    B: Body<Data = Bytes>,
{
    let broken = || {
        Failure::Refused(Refusal::invalid_request(
            "The request body says that it is gzip, and is not, or is cut off.",
        ))
    };
    let mut gunzip = MultiGzDecoder::new(Bounded::new(limit));
    let (mut packed, mut turn) = (0, UNPACK_TURN);
    while let Some(data) = pace.next(body.as_mut()).await? {
        packed += data.len();
        if packed > limit {
            return Err(Failure::TooLarge);
        }
        let mut data = &data[..];
        while !data.is_empty() {
            // Each call unpacks 32 KiB at most.
            match gunzip.write(data) {
                Ok(0) => return Err(broken()),
                Ok(taken) => data = &data[taken..],
                Err(_) if gunzip.get_ref().is_overfull => return Err(Failure::TooLarge),
                Err(_) => return Err(broken()),
            }
            if gunzip.get_ref().bytes.len() >= turn {
                turn = gunzip.get_ref().bytes.len() + UNPACK_TURN;
                tokio::task::yield_now().await;
            }
        }
    }
    if packed == 0 {
        return Ok(Bytes::new());
    }
    match gunzip.try_finish() {
        Ok(()) => Ok(std::mem::take(&mut gunzip.get_mut().bytes).freeze()),
        Err(_) if gunzip.get_ref().is_overfull => Err(Failure::TooLarge),
        Err(_) => Err(broken()),
    }
}

/// Takes so many bytes and no more.
struct Bounded {
    bytes: BytesMut,
    limit: usize,
    is_overfull: bool,
}

impl Bounded {
    fn new(limit: usize) -> Self {
        Self {
            bytes: BytesMut::new(),
            limit,
            is_overfull: false,
        }
    }
}

impl io::Write for Bounded {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + data.len() > self.limit {
            self.is_overfull = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
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
    use flate2::Compression;
    use flate2::write::GzEncoder;
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

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    async fn receive_packed(
        name: &'static str,
        bytes: Vec<u8>,
        limit: usize,
    ) -> Result<Bytes, Refusal> {
        let headers =
            HeaderMap::from_iter([(CONTENT_ENCODING, http::HeaderValue::from_static(name))]);
        // In pieces that fit nothing.
        let frames: Vec<_> = bytes
            .chunks(7)
            .map(|piece| Ok::<_, Infallible>(http_body::Frame::data(Bytes::copy_from_slice(piece))))
            .collect();
        let body = StreamBody::new(futures_util::stream::iter(frames));
        receive(&headers, body, &limits(limit), &Timeouts::default()).await
    }

    #[tokio::test]
    async fn a_packed_body_is_unpacked() {
        let text = "{\"a\":\"你好\"}".repeat(10_000);
        for name in ["gzip", "x-gzip", "GZIP", "identity, gzip"] {
            let bytes = receive_packed(name, gzip(text.as_bytes()), text.len()).await;
            assert_eq!(bytes.unwrap(), text);
        }
        let plain = receive_packed("identity", b"{}".to_vec(), 9).await;
        assert_eq!(plain.unwrap(), "{}");
        let mut twice = gzip(b"first ");
        twice.extend(gzip(b"second"));
        let bytes = receive_packed("gzip", twice, 99).await;
        assert_eq!(bytes.unwrap(), "first second");
    }

    #[tokio::test]
    async fn what_unpacks_to_more_than_allowed_is_refused_early() {
        let bomb = gzip(&vec![b' '; 10_000_000]);
        assert!(bomb.len() < 20_000);
        let refusal = receive_packed("gzip", bomb, 1_000_000).await.unwrap_err();
        assert_eq!(refusal.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }

    #[tokio::test]
    async fn what_says_that_it_is_packed_and_is_not_is_refused() {
        let cut = gzip(b"{\"a\":1}");
        let cut = cut[..cut.len() - 5].to_vec();
        let mut followed = gzip(b"{}");
        followed.extend(b"no gzip");
        for bytes in [b"{}".to_vec(), cut, followed] {
            let refusal = receive_packed("gzip", bytes, 999).await.unwrap_err();
            assert_eq!(refusal.status(), StatusCode::BAD_REQUEST);
        }
        for name in ["br", "zstd", "deflate", "gzip, gzip", "gzip, br"] {
            let refusal = receive_packed(name, gzip(b"{}"), 999).await.unwrap_err();
            assert_eq!(
                refusal.status(),
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "{name}"
            );
        }
    }

    /// A body of one byte per second.
    fn dripping(bytes: u64) -> impl Body<Data = Bytes, Error = Infallible> {
        StreamBody::new(futures_util::stream::unfold(0, move |sent| async move {
            if sent == bytes {
                return None;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            let frame = http_body::Frame::data(Bytes::from_static(b"x"));
            Some((Ok(frame), sent + 1))
        }))
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_drips_is_given_up_before_its_whole_time() {
        let begun = Instant::now();
        let refusal = receive(
            &HeaderMap::new(),
            dripping(100),
            &limits(999),
            &Timeouts::default(),
        )
        .await
        .unwrap_err();
        assert_eq!(refusal.status(), StatusCode::REQUEST_TIMEOUT);
        assert!(refusal.message().contains("1024 bytes per second"));
        assert!(begun.elapsed() < Duration::from_secs(12));
        let soon = receive(
            &HeaderMap::new(),
            dripping(8),
            &limits(999),
            &Timeouts::default(),
        )
        .await;
        assert_eq!(soon.unwrap().len(), 8);
        let any_rate = Limits {
            min_body_bytes_per_second: 0,
            ..limits(999)
        };
        let slow = receive(
            &HeaderMap::new(),
            dripping(100),
            &any_rate,
            &Timeouts::default(),
        )
        .await;
        assert_eq!(slow.unwrap().len(), 100);
    }
}
