//! What is sent to a target: the caller's bytes where the target understands them, else a
//! translation; and what is to be done with the answer.

use std::borrow::Cow;

use bailian_wire::catalog::{Catalog, Model, Thinking};
use bailian_wire::chat::{ChatRequest, Message, ToolChoice};
use bailian_wire::stream::StreamSurface;
use bailian_wire::translate::{DecodeError, Decoded, Losses};
use bailian_wire::{Dialect, anthropic, native, openai, responses};
use bytes::Bytes;
use serde_json::{Value, json};

use super::read::UsageSwitch;
use super::{Call, mend};
use crate::account::Account;
use crate::config::Repairs;
use crate::errors::Refusal;
use crate::record::Record;
use crate::responses::{Turn, items_of};
use crate::route::Target;
use crate::surface::{NATIVE_MULTIMODAL, NATIVE_TEXT, Root, Surface, place_of_chat};

/// A request as it goes out.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) root: Root,
    pub(super) path: Cow<'static, str>,
    pub(super) bytes: Bytes,
    /// Sets the stream switch of a native call; `None` leaves the caller's.
    pub(super) event_stream: Option<bool>,
    pub(super) answering: Answering,
}

/// What is to be done with an answer.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each says something of its own"
)]
pub(super) struct Answering {
    /// What upstream writes.
    pub(super) from: StreamSurface,
    /// What the caller reads.
    pub(super) to: StreamSurface,
    /// Bytes do not pass; the answer is read and written anew.
    pub(super) translate: bool,
    /// Whether the caller wants a stream.
    pub(super) stream: bool,
    /// Upstream repeats everything so far in each frame.
    pub(super) cumulative_from: bool,
    /// So does the caller's stream.
    pub(super) cumulative_to: bool,
    /// The caller's contents are lists of parts.
    pub(super) parts_to: bool,
    /// Whether an OpenAI stream tells the caller its usage.
    pub(super) include_usage: bool,
    /// What of the request was left out.
    pub(super) losses: Losses,
    /// The model's name upstream.
    pub(super) model: Box<str>,
    /// A response that is to be kept, with what led to it.
    pub(super) turn: Option<Box<Turn>>,
    /// The answer is a chat that can go on from where it broke off.
    pub(super) can_continue: bool,
    /// How many answers were asked for.
    pub(super) answers: u32,
    /// One text was asked for, without figures about its tokens.
    pub(super) is_plain: bool,
}

/// How far a stream that broke off had come.
#[derive(Clone, Debug, Default)]
pub(super) struct SoFar {
    /// The text that the client has.
    pub(super) text: String,
    /// What that came to, as reported or estimated.
    pub(super) tokens: u64,
}

/// Makes the request for one target.
pub(super) fn shape(
    call: &Call,
    target: &Target,
    account: &Account,
    record: &Record,
    so_far: Option<&SoFar>,
) -> Result<Outgoing, Refusal> {
    let name = target.model.as_deref().unwrap_or(&call.demand.model);
    let model = account
        .is_service()
        .then(|| Catalog::embedded().model(name))
        .flatten();
    let shaper = Shaper {
        call,
        account,
        repairs: &record.repairs(),
        name,
        model,
        is_alias: target.model.is_some(),
    };
    match &call.surface {
        Surface::Chat(dialect) => shaper.chat(*dialect, false, target.dialect, so_far),
        Surface::NativeMultimodal => shaper.chat(Dialect::Native, true, target.dialect, so_far),
        Surface::Responses if !account.is_service() => shaper.responses(record),
        Surface::Responses => shaper.unchanged(),
        Surface::Embeddings(_) | Surface::Other { .. } => {
            let (root, _) = call.surface.place();
            let understood = account.is_service() || matches!(root, Root::OpenAi | Root::Rerank);
            if !understood {
                return Err(Refusal::not_spoken_there(account.name()));
            }
            shaper.unchanged()
        }
    }
}

fn surface_of(dialect: Dialect) -> StreamSurface {
    match dialect {
        Dialect::Native => StreamSurface::Native,
        Dialect::OpenAi => StreamSurface::OpenAiChat,
        Dialect::Anthropic => StreamSurface::Anthropic,
    }
}

struct Shaper<'a> {
    call: &'a Call,
    account: &'a Account,
    repairs: &'a Repairs,
    /// The model's name at the target.
    name: &'a str,
    /// What the catalogue knows of it.
    model: Option<&'static Model>,
    is_alias: bool,
}

impl Shaper<'_> {
    fn answering(&self, from: StreamSurface, to: StreamSurface) -> Answering {
        Answering {
            from,
            to,
            translate: false,
            stream: self.call.demand.stream,
            cumulative_from: false,
            cumulative_to: false,
            parts_to: false,
            include_usage: self.call.demand.usage == UsageSwitch::Asked,
            losses: Losses::new(),
            model: self.name.into(),
            turn: None,
            can_continue: false,
            answers: self.call.demand.answers,
            is_plain: self.call.demand.is_plain,
        }
    }

    /// The call as it is, but for the model's name.
    fn unchanged(&self) -> Result<Outgoing, Refusal> {
        let (root, path) = self.call.surface.place();
        let (root, path) = match (self.account.is_service(), root) {
            // Self-hosted servers have it beside the others, under another name.
            (false, Root::Rerank) => (Root::OpenAi, "/rerank"),
            _ => (root, path),
        };
        let surface = match &self.call.surface {
            Surface::Responses => StreamSurface::Responses,
            surface => surface_of(surface.dialect()),
        };
        Ok(Outgoing {
            root,
            path: Cow::Owned(path.to_owned()),
            bytes: self.renamed(self.call.bytes.clone())?,
            event_stream: None,
            answering: self.answering(surface, surface),
        })
    }

    /// Puts the target's name of the model in the place of the caller's.
    fn renamed(&self, bytes: Bytes) -> Result<Bytes, Refusal> {
        if !self.is_alias {
            return Ok(bytes);
        }
        let name = json!(self.name).to_string();
        match &self.call.demand.model_span {
            Some(span) => Ok(mend::splice(&bytes, span.clone(), name.as_bytes())),
            None => {
                let mut body = self.body()?;
                body["model"] = self.name.into();
                Ok(Bytes::from(body.to_string()))
            }
        }
    }

    fn body(&self) -> Result<Value, Refusal> {
        serde_json::from_slice(&self.call.bytes)
            .map_err(|error| Refusal::invalid_request(format!("Required body invalid: {error}")))
    }

    fn chat(
        &self,
        dialect: Dialect,
        on_multimodal_path: bool,
        wanted: Option<Dialect>,
        so_far: Option<&SoFar>,
    ) -> Result<Outgoing, Refusal> {
        let to = wanted
            .or_else(|| self.account.speaks(dialect).then_some(dialect))
            .unwrap_or(Dialect::OpenAi);
        // The service continues a text on its other surfaces only (compat.md §2.10, §8.1).
        let has_text = so_far.is_some_and(|so_far| !so_far.text.is_empty());
        let to = if has_text && to == Dialect::Anthropic {
            Dialect::OpenAi
        } else {
            to
        };
        let stream = self.call.demand.stream;
        let needs_multimodal = self.model.is_some_and(Model::uses_multimodal_path);
        let serves_text_only = self
            .model
            .is_some_and(|model| model.serves_text_path() && !model.serves_multimodal_path());
        let is_on_wrong_path = self.repairs.native_path
            && to == Dialect::Native
            && ((needs_multimodal && !on_multimodal_path)
                || (serves_text_only && on_multimodal_path));
        let is_cumulative =
            to == Dialect::OpenAi && stream && self.model.is_some_and(Model::streams_cumulatively);
        let must_stream = !stream && self.must_stream(dialect)?;
        let translate = to != dialect
            || (dialect == Dialect::Native && is_on_wrong_path)
            || is_cumulative
            || must_stream
            || so_far.is_some();
        if !translate {
            return self.relayed(dialect, on_multimodal_path);
        }
        let Decoded {
            mut request,
            mut losses,
            ..
        } = self.decode(dialect)?;
        self.adapt(&mut request, dialect, to, &mut losses);
        if let Some(so_far) = so_far.filter(|so_far| !so_far.text.is_empty()) {
            request
                .messages
                .push(Message::partial(so_far.text.as_str()));
            // What was said already counts against the length that the caller allows.
            for most in [&mut request.max_tokens, &mut request.max_completion_tokens] {
                *most = most.map(|most| most.saturating_sub(so_far.tokens).max(1));
            }
            if request.enable_thinking.is_some() || self.thinks_unless_told() {
                request.enable_thinking = Some(false);
            }
        }
        let upstream_stream = stream || must_stream;
        let multimodal = needs_multimodal
            || (on_multimodal_path && dialect == Dialect::Native && !is_on_wrong_path)
            || request.has_media();
        let (body, more) = match to {
            Dialect::OpenAi => (
                openai::encode_request(&request, upstream_stream),
                Losses::new(),
            ),
            Dialect::Native => (
                native::encode_request(&request, upstream_stream, multimodal),
                Losses::new(),
            ),
            Dialect::Anthropic => anthropic::encode_request(&request, upstream_stream),
        };
        losses.extend(more);
        self.refuse_losses(&losses, to)?;
        let (root, path) = match to {
            Dialect::Native if multimodal => (Root::Native, NATIVE_MULTIMODAL),
            Dialect::Native => (Root::Native, NATIVE_TEXT),
            to => place_of_chat(to),
        };
        let mut answering = self.answering(surface_of(to), surface_of(dialect));
        answering.translate = true;
        answering.cumulative_from = is_cumulative;
        answering.cumulative_to = dialect == Dialect::Native && self.is_cumulative();
        answering.parts_to = dialect == Dialect::Native && on_multimodal_path;
        answering.losses = losses;
        answering.can_continue = self.can_continue();
        Ok(Outgoing {
            root,
            path: Cow::Borrowed(path),
            bytes: Bytes::from(body.to_string()),
            event_stream: (to == Dialect::Native).then_some(upstream_stream),
            answering,
        })
    }

    /// The caller's own bytes, mended where that is asked for.
    fn relayed(&self, dialect: Dialect, on_multimodal_path: bool) -> Result<Outgoing, Refusal> {
        let (root, path) = if on_multimodal_path {
            (Root::Native, NATIVE_MULTIMODAL)
        } else {
            place_of_chat(dialect)
        };
        let surface = surface_of(dialect);
        let mut answering = self.answering(surface, surface);
        answering.parts_to = on_multimodal_path;
        answering.cumulative_to = dialect == Dialect::Native && self.is_cumulative();
        answering.can_continue = self.can_continue();
        let mut bytes = self.call.bytes.clone();
        let mut renamed = !self.is_alias;
        if dialect == Dialect::OpenAi {
            if let Some(mut mended) = mend::request(&bytes, self.repairs) {
                if self.is_alias {
                    mended["model"] = self.name.into();
                    renamed = true;
                }
                if self.asks_usage() {
                    mended["stream_options"]["include_usage"] = true.into();
                }
                bytes = Bytes::from(mended.to_string());
            } else if self.asks_usage() {
                // The name's place is known before anything is put in front of it.
                bytes = self.renamed(bytes)?;
                renamed = true;
                bytes = match self.call.demand.usage {
                    UsageSwitch::Absent => mend::ask_usage(&bytes),
                    _ => {
                        let mut body: Value = serde_json::from_slice(&bytes)
                            .map_err(|error| Refusal::invalid_request(error.to_string()))?;
                        body["stream_options"]["include_usage"] = true.into();
                        Bytes::from(body.to_string())
                    }
                };
            }
        }
        if !renamed {
            bytes = self.renamed(bytes)?;
        }
        Ok(Outgoing {
            root,
            path: Cow::Borrowed(path),
            bytes,
            event_stream: None,
            answering,
        })
    }

    /// Whether each frame of a native stream repeats everything so far (http-native.md §3.6).
    fn is_cumulative(&self) -> bool {
        let by_default = self
            .model
            .is_some_and(Model::native_frames_are_cumulative_by_default);
        let incremental = self.call.demand.incremental;
        incremental.map_or(by_default, |incremental| !incremental)
    }

    /// Whether usage is asked for that the caller did not ask for.
    fn asks_usage(&self) -> bool {
        self.repairs.usage
            && self.call.demand.stream
            && self.call.demand.usage != UsageSwitch::Asked
    }

    /// Whether the model answers this call as a stream only.
    fn must_stream(&self, dialect: Dialect) -> Result<bool, Refusal> {
        let Some(model) = self.model.filter(|_| self.repairs.stream_only) else {
            return Ok(false);
        };
        if model.is_stream_only() {
            return Ok(true);
        }
        if !model.thinks_in_streams_only() {
            return Ok(false);
        }
        let thinking = self.decode(dialect)?.request.enable_thinking;
        Ok(thinking.unwrap_or_else(|| model.thinks_by_default()))
    }

    fn thinks_unless_told(&self) -> bool {
        self.model.is_some_and(Model::thinks_by_default)
    }

    fn can_continue(&self) -> bool {
        self.repairs.resume
            && self.call.demand.stream
            && self
                .model
                .is_some_and(|model| model.features.partial == Some(true))
    }

    fn decode(&self, dialect: Dialect) -> Result<Decoded, Refusal> {
        let body = self.body()?;
        let decoded = match dialect {
            Dialect::OpenAi => openai::decode_request(&body),
            Dialect::Anthropic => anthropic::decode_request(&body),
            Dialect::Native => native::decode_request(&body)
                .map(|request| {
                    let mut decoded = Decoded::default();
                    decoded.request = request;
                    decoded
                })
                .map_err(DecodeError::from),
        };
        decoded.map_err(|error| Refusal::invalid_request(format!("Required body invalid: {error}")))
    }

    /// Says the request in the words of the target.
    fn adapt(&self, request: &mut ChatRequest, from: Dialect, to: Dialect, losses: &mut Losses) {
        self.name.clone_into(&mut request.model);
        // Usage is always wanted, and increments are what can be translated.
        request.stream_options = None;
        if to == Dialect::Native && request.incremental_output.is_some() {
            request.incremental_output = Some(true);
        }
        request.result_format = None;
        if !self.account.is_service() {
            adapt_to_server(request, losses);
            return;
        }
        // Models without the switch do not know the word; those that always think ignore it.
        if from == Dialect::Anthropic
            && request.enable_thinking == Some(false)
            && self
                .model
                .is_some_and(|model| model.thinking != Thinking::Hybrid)
        {
            request.enable_thinking = None;
        }
        if to != Dialect::Anthropic {
            adapt_tool_choice(request, self.thinks_unless_told(), losses);
        }
    }

    fn refuse_losses(&self, losses: &Losses, to: Dialect) -> Result<(), Refusal> {
        if self.repairs.drop_unsupported {
            return Ok(());
        }
        let names: Vec<&str> = losses
            .that_matter()
            .map(|loss| loss.member.as_ref())
            .collect();
        if names.is_empty() {
            return Ok(());
        }
        Err(Refusal::not_translatable(&names.join(", "), to))
    }

    /// A response over chat, for servers that know nothing else.
    fn responses(&self, record: &Record) -> Result<Outgoing, Refusal> {
        let mut body = self.body()?;
        let is_kept = body.get("store") != Some(&Value::Bool(false));
        let mut input = Vec::new();
        if let Some(previous) = body.get("previous_response_id").and_then(Value::as_str) {
            input = record
                .conversation(previous)
                .ok_or_else(|| Refusal::unknown_response(previous))?;
            body["previous_response_id"] = Value::Null;
        }
        input.extend(items_of(&body["input"]));
        if !input.is_empty() {
            body["input"] = Value::from(input.clone());
        }
        let Decoded {
            mut request,
            mut losses,
            ..
        } = responses::decode_request(&body)
            .map_err(|error| Refusal::invalid_request(format!("Required body invalid: {error}")))?;
        self.adapt(&mut request, Dialect::OpenAi, Dialect::OpenAi, &mut losses);
        self.refuse_losses(&losses, Dialect::OpenAi)?;
        let (root, path) = place_of_chat(Dialect::OpenAi);
        let body = openai::encode_request(&request, self.call.demand.stream);
        let mut answering = self.answering(StreamSurface::OpenAiChat, StreamSurface::Responses);
        let tenant = record.owner.as_ref().map(crate::keys::Owner::tenant_key);
        answering.turn = tenant
            .filter(|_| is_kept)
            .map(|tenant| Box::new(Turn { tenant, input }));
        answering.translate = true;
        answering.losses = losses;
        Ok(Outgoing {
            root,
            path: Cow::Borrowed(path),
            bytes: Bytes::from(body.to_string()),
            event_stream: None,
            answering,
        })
    }
}

/// The service refuses `required`, and a named function while it thinks (compat.md §2.6, §8.4): one
/// function is named, of several the model chooses.
fn adapt_tool_choice(request: &mut ChatRequest, thinks_unless_told: bool, losses: &mut Losses) {
    let thinks = request.enable_thinking.unwrap_or(thinks_unless_told);
    let is_required =
        matches!(&request.tool_choice, Some(ToolChoice::Mode(mode)) if mode == "required");
    if is_required {
        request.tool_choice = match request.tools.as_deref() {
            Some([only]) if !thinks => Some(ToolChoice::function(only.function.name.as_str())),
            _ => {
                losses.dropped("tool_choice");
                Some(ToolChoice::auto())
            }
        };
    } else if thinks && matches!(&request.tool_choice, Some(ToolChoice::Specific(_))) {
        losses.dropped("tool_choice");
        request.tool_choice = Some(ToolChoice::auto());
    }
}

/// Self-hosted servers take the thinking switch as an argument of the chat template.
fn adapt_to_server(request: &mut ChatRequest, losses: &mut Losses) {
    if let Some(thinking) = request.enable_thinking.take() {
        let arguments = request
            .extra
            .entry("chat_template_kwargs")
            .or_insert_with(|| json!({}));
        arguments["enable_thinking"] = thinking.into();
    }
    if request.thinking_budget.take().is_some() {
        losses.dropped("thinking_budget");
    }
    if request.enable_search.take() == Some(true) {
        losses.dropped("enable_search");
    }
    request.search_options = None;
}
