//! Client of Alibaba Cloud Model Studio (Bailian, DashScope): Qwen and other models.
//!
//! ```no_run
//! use bailian::{ChatRequest, Client, Message};
//!
//! # async fn example() -> Result<(), bailian::Error> {
//! // Reads DASHSCOPE_API_KEY and friends; see the `config` module.
//! let client = Client::from_env()?;
//! let request = ChatRequest::new("qwen-plus", [Message::user("Who are you?")]);
//! let answer = client.chat().create(&request).await?;
//! println!("{}", answer.text());
//! # Ok(())
//! # }
//! ```
//!
//! * [`Client`] is cheap to clone and shares its connection pool, retry budget and request limits.
//! * [`Client::chat`] speaks the native and the OpenAI-compatible protocol with the same types.
//! * [`Error`] says what to do next, and [`Error::retry_advice`] whether to try again.
//! * Calls wait for their turn below the account's limits; [`pacing`] says how, and how to switch it off.
//! * Dropping a future or a stream cancels the request.
//!
//! # Features
//!
//! * `transport-reqwest` (default): sends requests with `reqwest`. Without it, give the builder a
//!   [`Transport`] of your own.
//!
//! Nothing here was measured against the live service yet; the protocol follows its documentation,
//! its official clients and recorded traffic.
#![deny(missing_docs, rustdoc::broken_intra_doc_links, rustdoc::bare_urls)]

mod attempt;
mod call;
pub mod chat;
mod client;
pub mod config;
mod endpoint;
mod error;
mod options;
pub mod pacing;
mod region;
mod response;
mod retry;
mod timeouts;
pub mod transport;

pub use bailian_quota::RetryBudgetLimits;
pub use bailian_wire::chat::{
    ChatEvent, ChatRequest, ChatResponse, Choice, Content, ContentPart, FinishReason, FunctionCall,
    FunctionDefinition, JsonSchema, Logprobs, Media, MediaKind, Message, ResponseFormat, Role,
    Stop, StreamOptions, ToolCall, ToolChoice, ToolDefinition, Usage,
};
pub use bailian_wire::error::{ApiError, ErrorClass, Failover};
pub use bailian_wire::stream::{Accumulator, StreamError};
pub use bailian_wire::validate::Violation;
pub use bailian_wire::{Dialect, catalog};

pub use attempt::{Attempt, Outcome};
pub use chat::{Chat, ChatStream};
pub use client::{Client, ClientBuilder};
pub use config::{ApiKey, Config, ConfigError, ConfigProblem, KeyKind, KeyProblem};
pub use endpoint::{BaseUrlProblem, Endpoint, EndpointError};
pub use error::{
    DecodeError, Error, ErrorKind, Failed, RetryAdvice, StreamFailure, TimeoutError, TimeoutPart,
    ValidationError,
};
pub use options::RequestOptions;
pub use pacing::Pacing;
pub use region::{InvalidWorkspace, Region, UnknownRegion, Workspace};
pub use response::Response;
pub use retry::RetryPolicy;
pub use timeouts::Timeouts;
pub use transport::{Transport, TransportError};

/// The examples of the READMEs compile.
#[cfg(doctest)]
mod readme {
    #[doc = include_str!("../../../README.md")]
    struct English;

    #[doc = include_str!("../../../README.zh-CN.md")]
    struct Chinese;
}
