//! `[limits]` and `[timeouts]`: what a caller may send, and how long things may take.

use std::time::Duration;

use serde::Deserialize;
use utoipa::ToSchema;

use super::Problem;
use super::text::DurationText;
use crate::upstream::UpstreamTimeouts;

/// The largest request body by default, in bytes: what the service takes with inline media
/// (catalogue, `request_body_limits`).
pub const DEFAULT_MAX_BODY_BYTES: usize = 64 * 1024 * 1024;

/// The most bytes that the header lines of a request may have by default.
pub const DEFAULT_MAX_HEADER_BYTES: usize = 32 * 1024;

/// The most connections that a gateway holds open by default.
pub const DEFAULT_MAX_CONNECTIONS: usize = 20_000;

/// The most connections that one address may hold by default: half of all, so that nobody can take
/// the whole gateway.
pub const DEFAULT_MAX_CONNECTIONS_PER_ADDRESS: usize = DEFAULT_MAX_CONNECTIONS / 2;

/// The most HTTP/2 streams of one connection by default.
pub const DEFAULT_MAX_STREAMS_PER_CONNECTION: u32 = 256;

/// The slowest request body by default, in bytes per second: slower than any modem.
pub const DEFAULT_MIN_BODY_BYTES_PER_SECOND: usize = 1024;

/// Bounds on what a caller controls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Request body, in bytes; of a compressed one, what it unpacks to.
    pub max_body_bytes: usize,
    /// Names and values of all header lines together, in bytes.
    pub max_header_bytes: usize,
    /// Open client connections of the whole gateway.
    pub max_connections: usize,
    /// Open client connections from one IPv4 address or one IPv6 /64 network; this machine's own
    /// (loopback) are not counted.
    pub max_connections_per_address: usize,
    /// Requests at the same time on one HTTP/2 connection.
    pub max_streams_per_connection: u32,
    /// The slowest rate of a request body, in bytes per second, after its first ten seconds.
    pub min_body_bytes_per_second: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_body_bytes: DEFAULT_MAX_BODY_BYTES,
            max_header_bytes: DEFAULT_MAX_HEADER_BYTES,
            max_connections: DEFAULT_MAX_CONNECTIONS,
            max_connections_per_address: DEFAULT_MAX_CONNECTIONS_PER_ADDRESS,
            max_streams_per_connection: DEFAULT_MAX_STREAMS_PER_CONNECTION,
            min_body_bytes_per_second: DEFAULT_MIN_BODY_BYTES_PER_SECOND,
        }
    }
}

/// How long each part of a request may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// Upstream connection: DNS, TCP and TLS.
    pub connect: Duration,
    /// From the request to the head of upstream's answer.
    pub response: Duration,
    /// Between two pieces of an answer. Checked coarsely: a silence is ended after one to two
    /// times this long.
    pub idle: Duration,
    /// A client's header lines, and an unused client connection.
    pub client_header: Duration,
    /// A client's whole request body.
    pub client_body: Duration,
    /// How long a client may take nothing of what is written to it.
    pub client_write: Duration,
    /// A client's TLS handshake.
    pub tls_handshake: Duration,
    /// How long open streams may go on after the gateway was told to stop.
    pub drain: Duration,
    /// How long open streams may go on after a successor took the listeners over.
    pub hand_over: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let upstream = UpstreamTimeouts::default();
        Self {
            connect: upstream.connect,
            response: upstream.response,
            // A thinking model may be silent for minutes between two frames.
            idle: Duration::from_mins(5),
            // As long as common proxies keep unused connections.
            client_header: Duration::from_secs(75),
            client_body: Duration::from_mins(2),
            client_write: Duration::from_mins(1),
            tls_handshake: Duration::from_secs(10),
            drain: Duration::from_mins(2),
            // Nobody waits for the old process, and answers may take long.
            hand_over: Duration::from_hours(1),
        }
    }
}

/// Bounds on what a caller controls.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitsFile {
    /// The largest request body; a larger one is refused with 413. Of a compressed body it is what it
    /// unpacks to. Each request under way may take as much memory.
    #[schema(minimum = 1, default = json!(DEFAULT_MAX_BODY_BYTES), extensions(("x-unit" = json!("bytes"))))]
    max_body_bytes: Option<usize>,
    /// Names and values of all header lines of a request together; more is refused with 431.
    #[schema(minimum = 1, default = json!(DEFAULT_MAX_HEADER_BYTES), extensions(("x-unit" = json!("bytes"))))]
    max_header_bytes: Option<usize>,
    /// Open client connections of the whole gateway; further ones are closed at once.
    #[schema(minimum = 1, default = json!(DEFAULT_MAX_CONNECTIONS), extensions(("x-unit" = json!("connections"))))]
    max_connections: Option<usize>,
    /// The same for one IPv4 address or one IPv6 /64 network. Loopback is not counted: a proxy on
    /// this machine brings everybody. Behind a proxy elsewhere, set it to `max_connections`.
    #[schema(minimum = 1, extensions(("x-unit" = json!("connections")), ("x-default" = json!("half of `max_connections`"))))]
    max_connections_per_address: Option<usize>,
    /// Requests at the same time on one HTTP/2 connection; more wait at the client.
    #[schema(minimum = 1, default = json!(DEFAULT_MAX_STREAMS_PER_CONNECTION), extensions(("x-unit" = json!("requests"))))]
    max_streams_per_connection: Option<u32>,
    /// The slowest request body: after its first ten seconds, one that comes more slowly is refused
    /// with 408. 0 for any rate.
    #[schema(default = json!(DEFAULT_MIN_BODY_BYTES_PER_SECOND), extensions(("x-unit" = json!("bytes per second"))))]
    min_body_bytes_per_second: Option<usize>,
}

/// How long things may take.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TimeoutsFile {
    /// To reach upstream: DNS, TCP and TLS.
    #[schema(default = "10s")]
    connect: Option<DurationText>,
    /// From the request to the head of upstream's answer.
    #[schema(default = "620s")]
    response: Option<DurationText>,
    /// The longest silence within an answer. Checked coarsely: it is ended after one to two times
    /// this.
    #[schema(default = "5m")]
    idle: Option<DurationText>,
    /// For a client's header lines, and for an unused client connection.
    #[schema(default = "75s")]
    client_header: Option<DurationText>,
    /// For a client's whole request body.
    #[schema(default = "2m")]
    client_body: Option<DurationText>,
    /// A client that takes nothing of what is written to it for so long, or has vanished, is cut off,
    /// and its upstream request ends.
    #[schema(default = "1m")]
    client_write: Option<DurationText>,
    /// For a client's TLS handshake.
    #[schema(default = "10s")]
    tls_handshake: Option<DurationText>,
    /// For open requests after a successor took over.
    #[schema(default = "1h")]
    hand_over: Option<DurationText>,
    /// For open requests after the gateway was told to stop. The supervisor's own patience has to be
    /// longer.
    #[schema(default = "2m")]
    drain: Option<DurationText>,
}

impl LimitsFile {
    pub(super) fn resolve(&self, problems: &mut Vec<Problem>) -> Limits {
        let mut positive = |name: &str, value: Option<usize>, default: usize| {
            if value == Some(0) {
                let problem = format!("is 0, which admits nothing; the default is {default}");
                problems.push(Problem::new(format!("limits.{name}"), problem));
            }
            value.unwrap_or(default)
        };
        let default = Limits::default();
        let max_connections = positive(
            "max_connections",
            self.max_connections,
            default.max_connections,
        );
        let streams = positive(
            "max_streams_per_connection",
            self.max_streams_per_connection.map(|most| most as usize),
            default.max_streams_per_connection as usize,
        );
        Limits {
            max_body_bytes: positive(
                "max_body_bytes",
                self.max_body_bytes,
                default.max_body_bytes,
            ),
            max_header_bytes: positive(
                "max_header_bytes",
                self.max_header_bytes,
                default.max_header_bytes,
            ),
            max_connections,
            max_connections_per_address: positive(
                "max_connections_per_address",
                self.max_connections_per_address,
                max_connections.div_ceil(2),
            ),
            max_streams_per_connection: u32::try_from(streams).unwrap_or(u32::MAX),
            // Zero sets no rate.
            min_body_bytes_per_second: self
                .min_body_bytes_per_second
                .unwrap_or(default.min_body_bytes_per_second),
        }
    }
}

impl TimeoutsFile {
    pub(super) fn resolve(&self, problems: &mut Vec<Problem>) -> Timeouts {
        let mut duration = |name: &str, value: Option<&DurationText>, default: Duration| {
            let Some(text) = value else { return default };
            match text.parse() {
                Some(duration) if !duration.is_zero() => duration,
                _ => {
                    let problem = format!("`{text}` is not a duration such as \"30s\" or \"5m\"");
                    problems.push(Problem::new(format!("timeouts.{name}"), problem));
                    default
                }
            }
        };
        let default = Timeouts::default();
        Timeouts {
            connect: duration("connect", self.connect.as_ref(), default.connect),
            response: duration("response", self.response.as_ref(), default.response),
            idle: duration("idle", self.idle.as_ref(), default.idle),
            client_header: duration(
                "client_header",
                self.client_header.as_ref(),
                default.client_header,
            ),
            client_body: duration(
                "client_body",
                self.client_body.as_ref(),
                default.client_body,
            ),
            client_write: duration(
                "client_write",
                self.client_write.as_ref(),
                default.client_write,
            ),
            tls_handshake: duration(
                "tls_handshake",
                self.tls_handshake.as_ref(),
                default.tls_handshake,
            ),
            drain: duration("drain", self.drain.as_ref(), default.drain),
            hand_over: duration("hand_over", self.hand_over.as_ref(), default.hand_over),
        }
    }
}
