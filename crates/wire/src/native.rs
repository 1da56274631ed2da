//! The native text-generation protocol (http-native.md §1 to §6): canonical types ⇄ its JSON.

mod decode;
mod request;
mod response;

pub use self::decode::decode_request;
pub use self::request::{encode_request, media_uses_multimodal_path};
pub use self::response::{NativeFrame, decode_response};
