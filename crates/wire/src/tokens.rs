//! How many tokens a request's input is, before anybody has counted.
//!
//! Without a vocabulary: words, characters and signs cost what they cost on average in Qwen's. Good
//! to a tenth or so; pacing corrects the rest per model from reported usage.

mod body;
mod text;

pub use self::body::{ByteCount, RequestEstimate, estimate_bytes, estimate_request};
pub use self::text::estimate_text;
