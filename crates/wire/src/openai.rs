//! The OpenAI-compatible chat protocol (compat.md §2): canonical types ⇄ its JSON.

mod request;
mod response;

pub use self::request::encode_request;
pub use self::response::{OpenAiFrame, decode_response};
