//! Chat: one request type and one answer type over the native and the OpenAI-compatible protocol.

mod create;
mod plan;
mod request;
mod stream;

use bailian_wire::chat::{ChatRequest, ChatResponse};
use bytes::Bytes;

pub use stream::ChatStream;

use crate::client::Client;
use crate::error::Error;
use crate::options::RequestOptions;
use crate::response::Response;
use plan::Plan;

/// Chat with text and vision models. Borrows the client and adds no state.
#[derive(Debug, Clone, Copy)]
pub struct Chat<'a> {
    client: &'a Client,
}

// === impl Chat ===

impl<'a> Chat<'a> {
    pub(crate) fn new(client: &'a Client) -> Self {
        Self { client }
    }

    /// Asks for an answer and waits for all of it.
    ///
    /// Models that answer in streams only, and thinking that is only offered in streams, are
    /// streamed inside and joined. Such a call is not repeated any more once its first event is there.
    ///
    /// # Errors
    /// Any [`Error`]; see its variants. Failures worth it were retried by then.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the request. The service may bill what it did until then.
    pub async fn create(&self, request: &ChatRequest) -> Result<Response<ChatResponse>, Error> {
        self.create_with(request, &RequestOptions::default()).await
    }

    /// Like [`create`](Self::create), with options for this call.
    ///
    /// # Errors
    /// Any [`Error`].
    pub async fn create_with(
        &self,
        request: &ChatRequest,
        options: &RequestOptions,
    ) -> Result<Response<ChatResponse>, Error> {
        let plan = Plan::new(self.client, request, options, false)?;
        Box::pin(create::run(self.client, &plan)).await
    }

    /// Opens a stream of the answer's parts.
    ///
    /// The call returns when the first event is there, so an error of the service is an error of
    /// this call, and failures until then are retried.
    ///
    /// # Errors
    /// Any [`Error`].
    ///
    /// # Cancel safety
    /// Dropping the future or the stream cancels the request.
    ///
    /// ```no_run
    /// use bailian::{ChatEvent, ChatRequest, Client, Message};
    /// use futures_util::StreamExt as _;
    ///
    /// # async fn example(client: Client) -> Result<(), bailian::Error> {
    /// let request = ChatRequest::new("qwen-plus", [Message::user("Tell me a story.")]);
    /// let mut stream = client.chat().stream(&request).await?;
    /// while let Some(event) = stream.next().await {
    ///     if let ChatEvent::TextDelta { text, .. } = event? {
    ///         print!("{text}");
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn stream(&self, request: &ChatRequest) -> Result<ChatStream, Error> {
        self.stream_with(request, &RequestOptions::default()).await
    }

    /// Like [`stream`](Self::stream), with options for this call.
    ///
    /// # Errors
    /// Any [`Error`].
    pub async fn stream_with(
        &self,
        request: &ChatRequest,
        options: &RequestOptions,
    ) -> Result<ChatStream, Error> {
        let plan = Plan::new(self.client, request, options, true)?;
        Box::pin(stream::open(self.client, &plan)).await
    }

    /// The HTTP request that [`create_with`](Self::create_with) or, with `stream`,
    /// [`stream_with`](Self::stream_with) would send. Sends nothing; the `Authorization` header
    /// holds the key and is marked sensitive.
    ///
    /// # Errors
    /// [`Error::Config`] or [`Error::Validation`].
    pub fn build(
        &self,
        request: &ChatRequest,
        stream: bool,
        options: &RequestOptions,
    ) -> Result<http::Request<Bytes>, Error> {
        Ok(Plan::new(self.client, request, options, stream)?.http_request())
    }
}
