//! The canonical chat types: one request, one response, one stream event for every dialect.
//!
//! [`native`](crate::native) and [`openai`](crate::openai) write and read them in their own JSON.
//! Whatever a dialect says that has no field here is kept in `extra`.
//!
//! ```
//! use bailian_wire::chat::{ChatRequest, Message};
//!
//! let request = ChatRequest::new("qwen-plus", [Message::user("你好")]).temperature(0.7);
//! assert_eq!(request.messages[0].text(), "你好");
//! ```

mod content;
mod event;
mod message;
mod request;
mod response;
mod tool;
mod usage;

/// Members that have no field of their own, by name.
pub type Extra = serde_json::Map<String, serde_json::Value>;

pub use self::content::{Content, ContentPart, Media, MediaKind};
pub use self::event::ChatEvent;
pub use self::message::{Message, Role};
pub use self::request::{ChatRequest, JsonSchema, ResponseFormat, Stop, StreamOptions};
pub use self::response::{ChatResponse, Choice, FinishReason, Logprobs, TokenLogprob, TopLogprob};
pub use self::tool::{FunctionCall, FunctionDefinition, ToolCall, ToolChoice, ToolDefinition};
pub use self::usage::Usage;
