//! The native text-generation protocol (http-native.md §1 to §6): canonical types ⇄ its JSON.

mod answer;
mod decode;
mod request;
mod response;

pub use self::answer::encode_response;
pub(crate) use self::answer::{text_parts, usage_to_value};
pub use self::decode::decode_request;
pub(crate) use self::request::encode_multimodal_part as multimodal_part;
pub use self::request::{encode_request, media_uses_multimodal_path};
pub use self::response::{NativeFrame, decode_response};
