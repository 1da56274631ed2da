//! Writes Anthropic message requests.

use serde_json::{Map, Value, json};

use crate::chat::{
    ChatRequest, Content, ContentPart, Media, MediaKind, Message, ResponseFormat, Role, Stop,
    ToolCall, ToolChoice, ToolDefinition,
};
use crate::translate::Losses;

/// What `max_tokens`, which the dialect requires, is when nobody said anything: the official
/// client's figure (compat.md §8.1).
pub const DEFAULT_MAX_TOKENS: u64 = 4096;

/// The Anthropic body of `request`, and what it cannot say (compat.md §8.1 to §8.5, §8.11).
pub fn encode_request(request: &ChatRequest, stream: bool) -> (Value, Losses) {
    let mut writer = Writer::default();
    let mut body = Map::new();
    body.insert("model".to_owned(), request.model.as_str().into());
    let most = request.max_completion_tokens.or(request.max_tokens);
    body.insert(
        "max_tokens".to_owned(),
        most.unwrap_or(DEFAULT_MAX_TOKENS).into(),
    );
    let (system, messages) = writer.messages(&request.messages);
    if let Some(system) = system {
        body.insert("system".to_owned(), system);
    }
    body.insert("messages".to_owned(), messages.into());
    if stream {
        body.insert("stream".to_owned(), true.into());
    }
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            body.insert(name.to_owned(), value);
        }
    };
    set("temperature", request.temperature.map(Value::from));
    set("top_p", request.top_p.map(Value::from));
    set("top_k", request.top_k.map(Value::from));
    set("stop_sequences", writer.stop(request.stop.as_ref()));
    set("thinking", thinking(request));
    set("output_config", writer.output_config(request));
    set(
        "tools",
        request.tools.as_deref().map(|tools| writer.tools(tools)),
    );
    set("tool_choice", writer.tool_choice(request));
    writer.parameters(request);
    (Value::Object(body), writer.losses)
}

fn thinking(request: &ChatRequest) -> Option<Value> {
    match (request.enable_thinking, request.thinking_budget) {
        (Some(false), _) => Some(json!({ "type": "disabled" })),
        (Some(true), None) => Some(json!({ "type": "enabled" })),
        (_, Some(budget)) => Some(json!({ "type": "enabled", "budget_tokens": budget })),
        (None, None) => None,
    }
}

#[derive(Default)]
struct Writer {
    losses: Losses,
}

impl Writer {
    /// Instructions at the beginning, and the turns.
    fn messages(&mut self, messages: &[Message]) -> (Option<Value>, Vec<Value>) {
        let leading = messages
            .iter()
            .take_while(|message| message.role == Role::System)
            .count();
        let system = self.system(&messages[..leading]);
        let mut turns: Vec<Value> = Vec::new();
        // Whether the last turn holds results of tools, so that what follows joins it (§8.2).
        let mut after_results = false;
        for (index, message) in messages.iter().enumerate().skip(leading) {
            let place = format!("messages[{index}]");
            self.lost_members(message, &place);
            match message.role {
                Role::Tool => {
                    let result = self.tool_result(message, &place);
                    match turns.last_mut().filter(|_| after_results) {
                        Some(turn) => push_block(turn, result),
                        None => turns.push(json!({ "role": "user", "content": [result] })),
                    }
                    after_results = true;
                    continue;
                }
                Role::User if after_results => {
                    for block in self.blocks(message, &place) {
                        if let Some(turn) = turns.last_mut() {
                            push_block(turn, block);
                        }
                    }
                }
                Role::Assistant => turns.push(self.assistant(message, &place)),
                _ => {
                    let content = match &message.content {
                        Some(Content::Text(text)) => json!(text),
                        _ => self.blocks(message, &place).into(),
                    };
                    turns.push(json!({ "role": message.role.as_str(), "content": content }));
                }
            }
            after_results = false;
        }
        (system, turns)
    }

    /// Several instructions are joined by blank lines; markers keep them apart (§8.2).
    fn system(&mut self, messages: &[Message]) -> Option<Value> {
        let has_marker = |message: &Message| {
            matches!(&message.content, Some(Content::Parts(parts)) if parts.iter().any(
                |part| matches!(part, ContentPart::Text { extra, .. } if !extra.is_empty())))
        };
        if messages.is_empty() {
            return None;
        }
        if messages.iter().any(has_marker) {
            let blocks: Vec<Value> = messages
                .iter()
                .enumerate()
                .flat_map(|(index, message)| self.blocks(message, &format!("messages[{index}]")))
                .collect();
            return Some(blocks.into());
        }
        let texts: Vec<String> = messages.iter().map(Message::text).collect();
        Some(texts.join("\n\n").into())
    }

    /// Members of a turn that the dialect does not have.
    fn lost_members(&mut self, message: &Message, place: &str) {
        if message.partial == Some(true) {
            self.losses.changed(format!("{place}.partial"));
        }
        if message.name.is_some() {
            self.losses.dropped(format!("{place}.name"));
        }
        // Thinking is replayed with a signature only, and none is known (compat.md §8.6).
        if message.reasoning_content.is_some() {
            self.losses.dropped(format!("{place}.reasoning_content"));
        }
        for (name, value) in &message.extra {
            if !value.is_null() {
                self.losses.dropped(format!("{place}.{name}"));
            }
        }
    }

    fn blocks(&mut self, message: &Message, place: &str) -> Vec<Value> {
        match &message.content {
            None => Vec::new(),
            Some(Content::Text(text)) if text.is_empty() => Vec::new(),
            Some(Content::Text(text)) => vec![json!({ "type": "text", "text": text })],
            Some(Content::Parts(parts)) => parts
                .iter()
                .enumerate()
                .filter_map(|(index, part)| self.part(part, &format!("{place}.content[{index}]")))
                .collect(),
        }
    }

    fn part(&mut self, part: &ContentPart, place: &str) -> Option<Value> {
        let (mut block, extra) = match part {
            ContentPart::Text { text, extra } => (json!({ "type": "text", "text": text }), extra),
            ContentPart::Media(media) => match media_block(media) {
                Some(block) => {
                    for name in media.options.keys() {
                        self.losses.dropped(format!("{place}.{name}"));
                    }
                    (block, &media.extra)
                }
                None => {
                    self.losses.changed(place.to_owned());
                    return None;
                }
            },
            ContentPart::Other(_) => {
                self.losses.changed(place.to_owned());
                return None;
            }
        };
        for (name, value) in extra {
            if name == "cache_control" {
                block["cache_control"] = value.clone();
            } else if !value.is_null() {
                self.losses.dropped(format!("{place}.{name}"));
            }
        }
        Some(block)
    }

    fn tool_result(&mut self, message: &Message, place: &str) -> Value {
        let mut block = json!({
            "type": "tool_result",
            "tool_use_id": message.tool_call_id.as_deref().unwrap_or_default(),
            "content": message.text(),
        });
        if let Some(Content::Parts(parts)) = &message.content {
            for (index, part) in parts.iter().enumerate() {
                match part {
                    ContentPart::Text { extra, .. } => {
                        if let Some(marker) = extra.get("cache_control") {
                            block["cache_control"] = marker.clone();
                        }
                    }
                    _ => self.losses.changed(format!("{place}.content[{index}]")),
                }
            }
        }
        block
    }

    fn assistant(&mut self, message: &Message, place: &str) -> Value {
        let Some(calls) = &message.tool_calls else {
            if let Some(Content::Text(text)) = &message.content {
                return json!({ "role": "assistant", "content": text });
            }
            return json!({ "role": "assistant", "content": self.blocks(message, place) });
        };
        let mut blocks = self.blocks(message, place);
        blocks.extend(calls.iter().map(tool_use));
        json!({ "role": "assistant", "content": blocks })
    }

    fn stop(&mut self, stop: Option<&Stop>) -> Option<Value> {
        match stop? {
            Stop::Text(text) => Some(json!([text])),
            Stop::Texts(texts) => Some(json!(texts)),
            _ => {
                self.losses.changed("stop");
                None
            }
        }
    }

    fn output_config(&mut self, request: &ChatRequest) -> Option<Value> {
        let mut config = Map::new();
        if let Some(effort) = &request.reasoning_effort {
            config.insert("effort".to_owned(), effort.as_str().into());
        }
        match &request.response_format {
            None | Some(ResponseFormat::Text) => {}
            Some(ResponseFormat::JsonSchema { json_schema }) => match &json_schema.schema {
                Some(schema) => {
                    let format = json!({ "type": "json_schema", "schema": schema });
                    config.insert("format".to_owned(), format);
                }
                None => self.losses.changed("response_format"),
            },
            Some(_) => self.losses.changed("response_format"),
        }
        (!config.is_empty()).then_some(Value::Object(config))
    }

    fn tools(&mut self, tools: &[ToolDefinition]) -> Value {
        tools
            .iter()
            .enumerate()
            .map(|(index, tool)| {
                let function = &tool.function;
                if tool.kind != "function" {
                    self.losses.changed(format!("tools[{index}]"));
                }
                for name in function.extra.keys().chain(tool.extra.keys()) {
                    self.losses.dropped(format!("tools[{index}].{name}"));
                }
                let empty = || json!({ "type": "object", "properties": {} });
                let mut value = json!({
                    "name": function.name,
                    "input_schema": function.parameters.clone().unwrap_or_else(empty),
                });
                if let Some(description) = &function.description {
                    value["description"] = description.as_str().into();
                }
                value
            })
            .collect()
    }

    fn tool_choice(&mut self, request: &ChatRequest) -> Option<Value> {
        let has_tools = request
            .tools
            .as_ref()
            .is_some_and(|tools| !tools.is_empty());
        let mut choice = match &request.tool_choice {
            None => None,
            Some(ToolChoice::Mode(mode)) => match mode.as_str() {
                "auto" | "none" => Some(json!({ "type": mode })),
                "required" => Some(json!({ "type": "any" })),
                _ => {
                    self.losses.changed("tool_choice");
                    None
                }
            },
            Some(specific) => match specific.function_name() {
                Some(name) => Some(json!({ "type": "tool", "name": name })),
                None => {
                    self.losses.changed("tool_choice");
                    None
                }
            },
        };
        // Parallel calls are off by default there and on here (§8.4).
        let parallel = request.parallel_tool_calls.unwrap_or(false);
        let is_none =
            matches!(&request.tool_choice, Some(ToolChoice::Mode(mode)) if mode == "none");
        if has_tools && !parallel && !is_none {
            let choice = choice.get_or_insert_with(|| json!({ "type": "auto" }));
            choice["disable_parallel_tool_use"] = true.into();
        }
        choice
    }

    /// Notes parameters without a place, the serious ones apart (§8.1, §8.11).
    fn parameters(&mut self, request: &ChatRequest) {
        let losses = &mut self.losses;
        if request.n.is_some_and(|n| n > 1) {
            losses.changed("n");
        }
        if request.logprobs == Some(true) {
            losses.changed("logprobs");
        }
        if request.top_logprobs.is_some_and(|count| count > 0) {
            losses.changed("top_logprobs");
        }
        if request.translation_options.is_some() {
            losses.changed("translation_options");
        }
        if request.max_completion_tokens.is_some() && request.max_tokens.is_some() {
            losses.dropped("max_tokens");
        }
        let mut dropped = |is_set: bool, name: &'static str| {
            if is_set {
                losses.dropped(name);
            }
        };
        dropped(request.seed.is_some(), "seed");
        dropped(request.repetition_penalty.is_some(), "repetition_penalty");
        dropped(request.presence_penalty.is_some(), "presence_penalty");
        dropped(request.tool_stream.is_some(), "tool_stream");
        dropped(request.preserve_thinking.is_some(), "preserve_thinking");
        dropped(request.enable_search == Some(true), "enable_search");
        dropped(request.search_options.is_some(), "search_options");
        for (name, value) in &request.extra {
            let matters = match name.as_str() {
                "asr_options" | "ocr_options" | "skill" => true,
                "modalities" => value.as_array().is_some_and(|kinds| kinds.len() > 1),
                _ => false,
            };
            if matters {
                losses.changed(name.clone());
            } else if !value.is_null() {
                losses.dropped(name.clone());
            }
        }
    }
}

fn push_block(turn: &mut Value, block: Value) {
    if let Some(blocks) = turn.get_mut("content").and_then(Value::as_array_mut) {
        blocks.push(block);
    }
}

/// A picture or a video file; the dialect has no sound and no single frames.
fn media_block(media: &Media) -> Option<Value> {
    let kind = match media.kind {
        MediaKind::Image => "image",
        MediaKind::Video => "video",
        MediaKind::Audio | MediaKind::VideoFrames => return None,
    };
    let url = media.urls.first()?;
    let inline = url
        .strip_prefix("data:")
        .and_then(|rest| rest.split_once(";base64,"));
    let source = match inline {
        Some((media_type, data)) => {
            json!({ "type": "base64", "media_type": media_type, "data": data })
        }
        None => json!({ "type": "url", "url": url }),
    };
    Some(json!({ "type": kind, "source": source }))
}

/// A call as a block. Arguments that are no JSON object are wrapped (§8.5).
pub(super) fn tool_use(call: &ToolCall) -> Value {
    let input = match call.arguments() {
        Ok(Value::Object(object)) => Value::Object(object),
        _ if call.function.arguments.trim().is_empty() => json!({}),
        _ => json!({ "_raw": call.function.arguments }),
    };
    json!({
        "type": "tool_use",
        "id": call.id,
        "name": call.function.name,
        "input": input,
    })
}
