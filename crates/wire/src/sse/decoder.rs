//! The incremental decoder.

use std::collections::VecDeque;

use bytes::{Buf as _, BytesMut};
use memchr::memchr2;

/// The largest event by default, in bytes. Inline sound and pictures arrive as one line.
pub const DEFAULT_MAX_EVENT_BYTES: usize = 16 * 1024 * 1024;

/// How many comments an event keeps: heartbeats of a long silence must not pile up.
const KEPT_COMMENTS: usize = 8;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SseEvent {
    /// The `id` line, if there was one.
    pub id: Option<String>,
    /// The `event` line, if there was one.
    pub event: Option<String>,
    /// The status of a `:HTTP_STATUS/…` comment or a `status` line.
    pub status: Option<u16>,
    /// The `data` lines, joined with line feeds.
    pub data: String,
    /// The last few comments before and in the event, without their colon, in order; heartbeats
    /// for instance.
    pub comments: Vec<String>,
}

impl SseEvent {
    /// The event's name; `message` when it has none.
    pub fn name(&self) -> &str {
        self.event.as_deref().unwrap_or("message")
    }

    fn take_comment(&mut self, comment: &str) {
        if let Some(status) = comment.strip_prefix("HTTP_STATUS/") {
            self.status = status.trim().parse().ok().or(self.status);
            return;
        }
        if self.comments.len() == KEPT_COMMENTS {
            self.comments.remove(0);
        }
        self.comments.push(comment.to_owned());
    }
}

/// Bytes that cannot become events.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SseError {
    /// An event is larger than allowed.
    #[error("an event is larger than {limit} bytes; raise the limit if the answer carries media")]
    TooLarge {
        /// The most bytes allowed.
        limit: usize,
    },
    /// A line is not UTF-8.
    #[error("event {event} of the stream is not valid UTF-8")]
    NotUtf8 {
        /// Its place in the stream, from 1.
        event: u64,
    },
}

/// Turns bytes into events.
///
/// Accepts LF, CR LF and CR line ends, a byte-order mark, `field:value` with or without one space,
/// comments, several `data` lines, a new `id` line in place of the blank line, and an unfinished
/// last event (see [`finish`](Self::finish)). A partial line is never scanned twice.
#[derive(Debug)]
pub struct SseDecoder {
    buffer: BytesMut,
    /// How much of `buffer` holds no line end for sure.
    scanned: usize,
    /// A CR ended the last line: an LF right after it belongs to it.
    after_cr: bool,
    /// Nothing was read yet, so a byte-order mark may come.
    at_start: bool,
    pending: Pending,
    ready: VecDeque<SseEvent>,
    max_event_bytes: usize,
    dispatched: u64,
}

/// The event that is being built.
#[derive(Debug, Default)]
struct Pending {
    event: SseEvent,
    has_data: bool,
    bytes: usize,
}

impl Default for SseDecoder {
    fn default() -> Self {
        Self::new()
    }
}

impl SseDecoder {
    /// A decoder with the default size limit.
    pub fn new() -> Self {
        Self::with_max_event_bytes(DEFAULT_MAX_EVENT_BYTES)
    }

    /// A decoder that refuses events of more than `max_event_bytes`.
    pub fn with_max_event_bytes(max_event_bytes: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            scanned: 0,
            after_cr: false,
            at_start: true,
            pending: Pending::default(),
            ready: VecDeque::new(),
            max_event_bytes,
            dispatched: 0,
        }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    ///
    /// When an event grows beyond the limit or a line is not UTF-8. Events before it stay
    /// available; the decoder must not be fed again.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), SseError> {
        self.buffer.extend_from_slice(bytes);
        if self.at_start {
            const MARK: &[u8] = b"\xEF\xBB\xBF";
            if self.buffer.len() < MARK.len() && MARK.starts_with(&self.buffer) {
                return Ok(());
            }
            if self.buffer.starts_with(MARK) {
                self.buffer.advance(MARK.len());
            }
            self.at_start = false;
        }
        while let Some(line) = self.next_line() {
            self.take_line(&line)?;
        }
        if self.pending.bytes + self.buffer.len() > self.max_event_bytes {
            return Err(SseError::TooLarge {
                limit: self.max_event_bytes,
            });
        }
        Ok(())
    }

    /// The next complete event.
    pub fn next_event(&mut self) -> Option<SseEvent> {
        self.ready.pop_front()
    }

    /// Ends the stream: an event that lacks its blank line is delivered, since it may carry the
    /// finish reason. Where the stream stops inside a line, that needs the data to be complete
    /// JSON. `Ok(true)` says that something unfinished was left over and dropped: the stream was
    /// cut.
    ///
    /// # Errors
    ///
    /// When what is left is not UTF-8. A character that was cut at the end is no error but a cut.
    pub fn finish(&mut self) -> Result<bool, SseError> {
        self.at_start = false;
        // Of a CR LF, only the first may have been looked at.
        if self.after_cr && self.buffer.first() == Some(&b'\n') {
            self.buffer.advance(1);
        }
        self.after_cr = false;
        self.scanned = 0;
        let rest = self.buffer.split();
        let cut = match std::str::from_utf8(&rest) {
            Ok("") => false,
            Ok(line) if self.completes(line) => {
                self.take_line(&rest)?;
                false
            }
            Ok(_) => true,
            Err(error) if error.error_len().is_none() => true,
            Err(_) => {
                return Err(SseError::NotUtf8 {
                    event: self.dispatched + 1,
                });
            }
        };
        // A cut in a line after the data does not make the data any less complete.
        let keep = !cut || (!rest.starts_with(b"data") && is_complete(&self.pending.event.data));
        if keep {
            self.dispatch();
        }
        self.pending = Pending::default();
        Ok(cut)
    }

    /// Whether a last line without its end can be believed: it makes the data complete.
    fn completes(&self, line: &str) -> bool {
        let Some(value) = line.strip_prefix("data:") else {
            return false;
        };
        if self.pending.has_data {
            is_complete(&format!("{}\n{value}", self.pending.event.data))
        } else {
            is_complete(value)
        }
    }

    fn next_line(&mut self) -> Option<BytesMut> {
        if self.after_cr {
            match self.buffer.first() {
                None => return None,
                Some(b'\n') => self.buffer.advance(1),
                Some(_) => {}
            }
            self.after_cr = false;
            self.scanned = 0;
        }
        match memchr2(b'\n', b'\r', &self.buffer[self.scanned..]) {
            None => {
                self.scanned = self.buffer.len();
                None
            }
            Some(at) => {
                let end = self.scanned + at;
                self.scanned = 0;
                let mut line = self.buffer.split_to(end + 1);
                self.after_cr = line[end] == b'\r';
                line.truncate(end);
                Some(line)
            }
        }
    }

    fn take_line(&mut self, line: &[u8]) -> Result<(), SseError> {
        if line.is_empty() {
            self.dispatch();
            return Ok(());
        }
        let line = std::str::from_utf8(line).map_err(|_| SseError::NotUtf8 {
            event: self.dispatched + 1,
        })?;
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        // Older gateways leave out the blank line: a new id begins a new event.
        if field == "id" && self.pending.has_data {
            self.dispatch();
        }
        if !field.is_empty() {
            self.pending.bytes += line.len() + 1;
        }
        if self.pending.bytes > self.max_event_bytes {
            return Err(SseError::TooLarge {
                limit: self.max_event_bytes,
            });
        }
        let event = &mut self.pending.event;
        match field {
            "" => event.take_comment(value),
            "data" => {
                if self.pending.has_data {
                    event.data.push('\n');
                }
                self.pending.has_data = true;
                event.data.push_str(value);
            }
            "event" => event.event = Some(value.to_owned()),
            "id" => event.id = Some(value.to_owned()),
            "status" => event.status = value.trim().parse().ok().or(event.status),
            _ => {}
        }
        Ok(())
    }

    /// Delivers the event that was built, if it has data. What has none is no event, but its
    /// comments are kept for the next one.
    fn dispatch(&mut self) {
        if !self.pending.has_data {
            let comments = std::mem::take(&mut self.pending.event.comments);
            self.pending = Pending::default();
            self.pending.event.comments = comments;
            return;
        }
        let pending = std::mem::take(&mut self.pending);
        self.dispatched += 1;
        self.ready.push_back(pending.event);
    }
}

/// Whether data is all there: JSON, or the end mark.
fn is_complete(data: &str) -> bool {
    let data = data.trim();
    data == "[DONE]" || serde_json::from_str::<serde::de::IgnoredAny>(data).is_ok()
}

#[cfg(test)]
mod tests;
