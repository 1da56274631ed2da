//! Anthropic messages, as DashScope speaks them (compat.md §6), to and from the canonical types.
//!
//! The tables of compat.md §8 say what becomes of each member.

mod answer;
mod decode;
mod request;

pub use self::answer::{decode_response, encode_response};
pub(crate) use self::answer::{
    finish_reason, note_own_members, stop_reason, usage_of, usage_to_value,
};
pub use self::decode::decode_request;
pub use self::request::{DEFAULT_MAX_TOKENS, encode_request};

use serde_json::Value;

use crate::chat::Usage;

/// The report of usage in an Anthropic message, in the vocabulary of all dialects: input counts what
/// the cache read and wrote (compat.md §8.8).
pub fn decode_usage(usage: &Value) -> Option<Usage> {
    usage_of(Some(usage))
}
