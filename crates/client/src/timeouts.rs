//! How long the client waits for what.

use std::time::Duration;

/// The client's timeouts. Each is a limit on silence or on the whole, never on amounts of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// To a connection, TLS included. Default 10 s: a host that is reachable answers in one.
    pub connect: Duration,
    /// From the request sent to the first byte of the answer; for a stream to its first event.
    /// Default 300 s, as in the official clients: a call without streaming answers only when all
    /// of the text is there, and the service itself gives up after about that time.
    pub first_byte: Duration,
    /// Between two parts of an answer. Default 300 s, as in the official clients: tool calls and
    /// searches can keep a stream silent for minutes.
    pub idle: Duration,
    /// For everything together: waiting for the client's own limits, all attempts, the pauses
    /// between them and the reading of the stream. Default one hour; `None` for no limit.
    pub total: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            first_byte: Duration::from_mins(5),
            idle: Duration::from_mins(5),
            total: Some(Duration::from_hours(1)),
        }
    }
}

impl Timeouts {
    /// Timeouts for a service that may be silent for at most this long; what `DASHSCOPE_TIMEOUT` sets.
    pub fn of_silence(silence: Duration) -> Self {
        let default = Self::default();
        Self {
            connect: default.connect.min(silence),
            first_byte: silence,
            idle: silence,
            ..default
        }
    }

    /// Replaces the connect timeout.
    pub fn with_connect(mut self, connect: Duration) -> Self {
        self.connect = connect;
        self
    }

    /// Replaces the time to the first byte or event.
    pub fn with_first_byte(mut self, first_byte: Duration) -> Self {
        self.first_byte = first_byte;
        self
    }

    /// Replaces the time between two parts of an answer.
    pub fn with_idle(mut self, idle: Duration) -> Self {
        self.idle = idle;
        self
    }

    /// Replaces the time for everything together.
    pub fn with_total(mut self, total: impl Into<Option<Duration>>) -> Self {
        self.total = total.into();
        self
    }
}
