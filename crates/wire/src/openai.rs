//! The OpenAI-compatible chat protocol (compat.md §2): canonical types ⇄ its JSON.

mod answer;
mod decode;
mod request;
mod response;

pub use self::answer::encode_response;
pub(crate) use self::answer::{finish_reason, usage_to_value};
pub use self::decode::{decode_request, unwrap_extra_body};
pub use self::request::encode_request;
pub use self::response::{OpenAiFrame, decode_response};
