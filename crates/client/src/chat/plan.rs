//! Decides how a chat request is sent, before anything is.

use std::borrow::Cow;

use bailian_wire::Dialect;
use bailian_wire::catalog::{Catalog, Model, Thinking};
use bailian_wire::chat::ChatRequest;
use bailian_wire::tokens::estimate_request;
use bailian_wire::validate::validate_chat;
use bytes::Bytes;

use super::request;
use crate::call::Settings;
use crate::client::Client;
use crate::config::{Config, ConfigError, ConfigProblem};
use crate::error::{Error, ValidationError};
use crate::options::RequestOptions;
use crate::pacing::Turn;

/// A request that was checked and encoded, ready to be sent any number of times.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) settings: Settings,
    pub(super) protocol: Dialect,
    /// Whether the answer is asked for as a stream, even if the caller did not.
    pub(super) stream: bool,
    /// Whether frames repeat the whole text so far.
    pub(super) cumulative: bool,
    /// Its place in the model's lane; `None` without pacing.
    pub(super) turn: Option<Turn>,
    encoded: http::Request<Bytes>,
}

// === impl Plan ===

impl Plan {
    pub(super) fn new(
        client: &Client,
        request: &ChatRequest,
        options: &RequestOptions,
        stream: bool,
    ) -> Result<Self, Error> {
        let config = client.config();
        let options = options.over(&client.options);
        options.check()?;
        let request = with_defaults(request, config);
        let model = Catalog::embedded().model(&request.model);
        let stream = stream || model.is_some_and(|model| must_stream(&request, model));
        if request.model.is_empty() {
            return Err(problem(
                "the request names no model",
                "give ChatRequest::new a model, or set DASHSCOPE_DEFAULT_MODEL",
            ));
        }
        if let Some(model) = model.filter(|_| options.validate.unwrap_or(true)) {
            validate_chat(&request, model, stream).map_err(|violations| ValidationError {
                model: request.model.clone(),
                violations,
            })?;
        }
        let protocol = options.protocol.unwrap_or(config.protocol);
        let multimodal = protocol == Dialect::Native
            && (request.has_media() || model.is_some_and(Model::uses_multimodal_path));
        let cumulative = protocol == Dialect::Native && stream && is_cumulative(&request, model);
        let encoded = request::build(
            config,
            &options,
            &request,
            request::Form {
                protocol,
                multimodal,
                stream,
            },
        )?;
        let lane = client
            .shared
            .pacing
            .lane(&request.model, client.shared.region);
        let turn = lane.map(|lane| Turn {
            lane,
            class: options.priority.unwrap_or_default(),
            input_tokens: estimate_request(encoded.body()).input_tokens,
            max_output: request.max_completion_tokens.or(request.max_tokens),
        });
        Ok(Self {
            turn,
            settings: Settings::of_call(client, &options),
            protocol,
            stream,
            cumulative,
            encoded,
        })
    }

    pub(super) fn http_request(&self) -> http::Request<Bytes> {
        self.encoded.clone()
    }
}

/// Fills in what the user configured and the request leaves open.
fn with_defaults<'a>(request: &'a ChatRequest, config: &Config) -> Cow<'a, ChatRequest> {
    let mut request = Cow::Borrowed(request);
    if let Some(model) = config
        .default_model
        .as_ref()
        .filter(|_| request.model.is_empty())
    {
        request.to_mut().model.clone_from(model);
    }
    if let Some(tokens) = config.max_tokens
        && request.max_tokens.is_none()
        && request.max_completion_tokens.is_none()
    {
        request.to_mut().max_tokens = Some(u64::from(tokens.get()));
    }
    if let Some(temperature) = config.temperature.filter(|_| request.temperature.is_none()) {
        request.to_mut().temperature = Some(temperature);
    }
    if let Some(top_p) = config.top_p.filter(|_| request.top_p.is_none()) {
        request.to_mut().top_p = Some(top_p);
    }
    request
}

/// Whether the request is better a stream, or refused unless it is one.
fn must_stream(request: &ChatRequest, model: &Model) -> bool {
    let thinks = request
        .enable_thinking
        .unwrap_or_else(|| model.thinks_by_default());
    // Thinking-only models take long enough to run into time limits on the way.
    model.is_stream_only()
        || model.thinking == Thinking::Only
        || (thinks && model.thinks_in_streams_only())
}

/// Whether the stream's frames repeat the whole text: by the request, or by the model's nature.
fn is_cumulative(request: &ChatRequest, model: Option<&Model>) -> bool {
    request.incremental_output == Some(false) || model.is_some_and(Model::streams_cumulatively)
}

fn problem(problem: &str, fix: &str) -> Error {
    Error::Config(ConfigError::one(ConfigProblem::new(None, problem, fix)))
}
