//! Data only: what Alibaba Cloud Model Studio (DashScope) speaks on the wire.
//!
//! Types of the dialects, the codec of server-sent events, errors and the model catalogue. Nothing
//! here does I/O, so everything here can be tested with plain bytes and used by anyone.
//!
//! | module | holds |
//! |---|---|
//! | [`chat`] | the canonical chat request, response and stream event |
//! | [`native`], [`openai`], [`anthropic`] | the same in each dialect's own JSON |
//! | [`translate`] | what a translation between dialects loses |
//! | [`sse`] | bytes ⇄ server-sent events |
//! | [`stream`] | events → answers, for every surface |
//! | [`error`] | reading, classifying and writing errors |
//! | [`catalog`] | models, their limits and abilities |
//! | [`responses`] | OpenAI responses over chat |
//! | [`quota`] | the answer of the quota API |
//! | [`validate`] | checks a request against a model before it is sent |

pub mod anthropic;
pub mod catalog;
pub mod chat;
mod dialect;
pub mod error;
pub mod native;
pub mod openai;
pub mod quota;
pub mod responses;
pub mod sse;
pub mod stream;
pub mod tokens;
pub mod translate;
pub mod validate;

pub use self::dialect::{Dialect, UnknownDialect};
