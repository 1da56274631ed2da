//! Server-sent events: bytes in, events out, no I/O.
//!
//! The service's framing differs from the standard in small ways (http-native.md §3): the status of
//! an event stands in a comment, frames may lack the blank line between them, the last frame may
//! lack the one after it. [`SseDecoder`] takes all of that, cut at any byte.
//!
//! ```
//! use bailian_wire::sse::SseDecoder;
//!
//! let mut decoder = SseDecoder::new();
//! decoder.feed(b"id:1\nevent:error\n:HTTP_STATUS/429\ndata:{\"code\":\"Throt")?;
//! assert!(decoder.next_event().is_none());
//! decoder.feed(b"tling\"}\n\n")?;
//! let event = decoder.next_event().unwrap();
//! assert_eq!((event.name(), event.status, event.data.as_str()),
//!            ("error", Some(429), "{\"code\":\"Throttling\"}"));
//! # Ok::<(), bailian_wire::sse::SseError>(())
//! ```

mod decoder;
mod encode;

pub use self::decoder::{DEFAULT_MAX_EVENT_BYTES, SseDecoder, SseError, SseEvent};
pub use self::encode::{write_data_frame, write_native_frame};
