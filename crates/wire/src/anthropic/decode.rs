//! Reads Anthropic message requests.

use serde_json::{Map, Value, json};

use crate::chat::{
    ChatRequest, Content, ContentPart, Extra, JsonSchema, Media, MediaKind, Message,
    ResponseFormat, Role, Stop, ToolCall, ToolChoice, ToolDefinition,
};
use crate::translate::{DecodeError, Decoded, Losses};

type Object = Map<String, Value>;

/// The canonical form of an Anthropic request (compat.md §6.1, §8).
///
/// A client that says nothing of thinking expects none, so `enable_thinking` is `false` then
/// (§8.1). Tools may be called in parallel unless the client forbids it (§8.4).
///
/// # Errors
///
/// When a member that has a place in the canonical form has another type.
pub fn decode_request(body: &Value) -> Result<Decoded, DecodeError> {
    let Value::Object(body) = body else {
        return Err(DecodeError::at("body", "is no JSON object"));
    };
    let mut members = body.clone();
    let mut reader = Reader::default();
    let mut request = ChatRequest::default();
    if let Some(Value::String(model)) = members.remove("model") {
        request.model = model;
    }
    members.remove("stream");
    request.max_tokens = number(&mut members, "max_tokens")?;
    request.top_k = number(&mut members, "top_k")?;
    request.temperature = fraction(&mut members, "temperature")?;
    request.top_p = fraction(&mut members, "top_p")?;
    if let Some(words) = present(&mut members, "stop_sequences") {
        let words: Vec<String> = serde_json::from_value(words)
            .map_err(|_| DecodeError::at("stop_sequences", "is no array of strings"))?;
        request.stop = (!words.is_empty()).then_some(Stop::Texts(words));
    }
    if let Some(system) = present(&mut members, "system") {
        let content = reader.text_content(&system, "system")?;
        if !content.is_empty() {
            request.messages.push(Message::system(content));
        }
    }
    match present(&mut members, "messages") {
        Some(Value::Array(messages)) => {
            for (index, message) in messages.iter().enumerate() {
                reader.message(message, index, &mut request.messages)?;
            }
        }
        _ => return Err(DecodeError::at("messages", "is missing or no array")),
    }
    reader.thinking(present(&mut members, "thinking"), &mut request)?;
    if let Some(config) = present(&mut members, "output_config") {
        reader.output_config(&config, &mut request);
    }
    reader.tools(present(&mut members, "tools"), &mut request)?;
    reader.tool_choice(present(&mut members, "tool_choice"), &mut request)?;
    for (name, value) in members {
        if value.is_null() {
            continue;
        }
        match name.as_str() {
            "mcp_servers" | "container" => reader.losses.changed(name),
            _ => reader.losses.dropped(name),
        }
    }
    Ok(Decoded {
        request,
        losses: reader.losses,
    })
}

/// Takes a member that is there and not null.
fn present(members: &mut Object, name: &str) -> Option<Value> {
    members.remove(name).filter(|value| !value.is_null())
}

fn number(members: &mut Object, name: &'static str) -> Result<Option<u64>, DecodeError> {
    present(members, name)
        .map(|value| {
            value
                .as_u64()
                .ok_or_else(|| DecodeError::at(name, "is no whole number"))
        })
        .transpose()
}

fn fraction(members: &mut Object, name: &'static str) -> Result<Option<f64>, DecodeError> {
    present(members, name)
        .map(|value| {
            value
                .as_f64()
                .ok_or_else(|| DecodeError::at(name, "is no number"))
        })
        .transpose()
}

/// Reads the parts of a request and notes what is lost.
#[derive(Default)]
struct Reader {
    losses: Losses,
}

impl Reader {
    /// A string, or text blocks, whose markers are kept.
    fn text_content(&mut self, value: &Value, place: &str) -> Result<Content, DecodeError> {
        match value {
            Value::String(text) => Ok(Content::Text(text.clone())),
            Value::Array(blocks) => {
                let mut parts = Vec::with_capacity(blocks.len());
                for (index, block) in blocks.iter().enumerate() {
                    let place = format!("{place}[{index}]");
                    if block.get("type").and_then(Value::as_str) == Some("text") {
                        parts.push(self.text_part(block, &place)?);
                    } else {
                        self.losses.changed(place);
                    }
                }
                Ok(joined(parts))
            }
            _ => Err(DecodeError::at(
                place,
                "is neither a string nor an array of blocks",
            )),
        }
    }

    fn text_part(&mut self, block: &Value, place: &str) -> Result<ContentPart, DecodeError> {
        let text = block.get("text").and_then(Value::as_str);
        let text = text.ok_or_else(|| DecodeError::at(place, "has no `text`"))?;
        Ok(ContentPart::Text {
            text: text.to_owned(),
            extra: self.siblings(block, &["type", "text"], place),
        })
    }

    /// Members of a block that its kind does not name: the cache marker stays, others are lost.
    fn siblings(&mut self, block: &Value, read: &[&str], place: &str) -> Extra {
        let mut kept = Extra::new();
        for (name, value) in block.as_object().into_iter().flatten() {
            if read.contains(&name.as_str()) || value.is_null() {
                continue;
            }
            if name == "cache_control" {
                kept.insert(name.clone(), value.clone());
            } else {
                self.losses.dropped(format!("{place}.{name}"));
            }
        }
        kept
    }

    fn message(
        &mut self,
        message: &Value,
        index: usize,
        messages: &mut Vec<Message>,
    ) -> Result<(), DecodeError> {
        let place = format!("messages[{index}]");
        let role = message.get("role").and_then(Value::as_str);
        let role = role.ok_or_else(|| DecodeError::at(&place, "has no `role`"))?;
        let content = message
            .get("content")
            .filter(|content| !content.is_null())
            .ok_or_else(|| DecodeError::at(&place, "has no `content`"))?;
        let place = format!("{place}.content");
        match (role, content) {
            ("assistant", Value::Array(blocks)) => {
                messages.push(self.assistant(blocks, &place)?);
            }
            ("assistant", Value::String(text)) => messages.push(Message::assistant(text.as_str())),
            ("user", Value::Array(blocks)) => self.user(blocks, &place, messages)?,
            ("user", Value::String(text)) => messages.push(Message::user(text.as_str())),
            ("system", content) => {
                let content = self.text_content(content, &place)?;
                messages.push(Message::system(content));
            }
            ("assistant" | "user", _) => {
                return Err(DecodeError::at(
                    place,
                    "is neither a string nor an array of blocks",
                ));
            }
            (other, content) => {
                let content = self.text_content(content, &place)?;
                messages.push(Message::new(Role::Other(other.to_owned()), content));
            }
        }
        Ok(())
    }

    /// Results of tools become messages of their own, in order; what else the turn says follows
    /// them (compat.md §8.2).
    fn user(
        &mut self,
        blocks: &[Value],
        place: &str,
        messages: &mut Vec<Message>,
    ) -> Result<(), DecodeError> {
        let mut parts = Vec::new();
        let mut from_results = Vec::new();
        for (index, block) in blocks.iter().enumerate() {
            let place = format!("{place}[{index}]");
            match block.get("type").and_then(Value::as_str) {
                Some("tool_result") => {
                    messages.push(self.tool_result(block, &place, &mut from_results)?);
                }
                Some("text") => parts.push(self.text_part(block, &place)?),
                Some(kind @ ("image" | "video")) => {
                    parts.extend(self.media(block, kind, &place));
                }
                Some(_) => self.losses.changed(place),
                None => return Err(DecodeError::at(place, "has no `type`")),
            }
        }
        from_results.append(&mut parts);
        if !from_results.is_empty() {
            messages.push(Message::user(joined(from_results)));
        }
        Ok(())
    }

    fn tool_result(
        &mut self,
        block: &Value,
        place: &str,
        pictures: &mut Vec<ContentPart>,
    ) -> Result<Message, DecodeError> {
        let id = block.get("tool_use_id").and_then(Value::as_str);
        let id = id.ok_or_else(|| DecodeError::at(place, "has no `tool_use_id`"))?;
        let mut text = String::new();
        match block.get("content") {
            None | Some(Value::Null) => {}
            Some(Value::String(content)) => text.push_str(content),
            Some(Value::Array(blocks)) => {
                for (index, inner) in blocks.iter().enumerate() {
                    let place = format!("{place}.content[{index}]");
                    match inner.get("type").and_then(Value::as_str) {
                        Some("text") => {
                            text.push_str(inner["text"].as_str().unwrap_or_default());
                        }
                        Some(kind @ ("image" | "video")) => {
                            pictures.extend(self.media(inner, kind, &place));
                        }
                        _ => self.losses.changed(place),
                    }
                }
            }
            Some(_) => {
                return Err(DecodeError::at(
                    format!("{place}.content"),
                    "is neither a string nor an array of blocks",
                ));
            }
        }
        // The others have no mark for a failed tool: the text says it (compat.md §8.5).
        if block.get("is_error") == Some(&Value::Bool(true)) && !text.starts_with("Error") {
            text.insert_str(0, "Error: ");
        }
        let read = ["type", "tool_use_id", "content", "is_error"];
        let extra = self.siblings(block, &read, place);
        let content = if extra.is_empty() {
            Content::Text(text)
        } else {
            Content::Parts(vec![ContentPart::Text { text, extra }])
        };
        Ok(Message::tool(id, content))
    }

    /// A picture or video by URL or inline.
    fn media(&mut self, block: &Value, kind: &str, place: &str) -> Option<ContentPart> {
        let source = block.get("source");
        let text = |name: &str| source?.get(name)?.as_str();
        let url = match text("type") {
            Some("url") => text("url").map(str::to_owned),
            Some("base64") => text("data").map(|data| {
                let kind = text("media_type").unwrap_or("image/png");
                format!("data:{kind};base64,{data}")
            }),
            _ => None,
        };
        let Some(url) = url else {
            self.losses.changed(place.to_owned());
            return None;
        };
        let media = if kind == "video" {
            MediaKind::Video
        } else {
            MediaKind::Image
        };
        let mut media = Media::new(media, [url]);
        media.extra = self.siblings(block, &["type", "source"], place);
        Some(ContentPart::Media(media))
    }

    fn assistant(&mut self, blocks: &[Value], place: &str) -> Result<Message, DecodeError> {
        let mut parts = Vec::new();
        let mut thinking = String::new();
        let mut calls = Vec::new();
        for (index, block) in blocks.iter().enumerate() {
            let place = format!("{place}[{index}]");
            let text = |name: &str| block.get(name).and_then(Value::as_str);
            match text("type") {
                Some("text") => parts.push(self.text_part(block, &place)?),
                Some("thinking") => {
                    thinking.push_str(text("thinking").unwrap_or_default());
                    if text("signature").is_some_and(|signature| !signature.is_empty()) {
                        self.losses.dropped(format!("{place}.signature"));
                    }
                }
                Some("tool_use") => {
                    let name = text("name").unwrap_or_default();
                    let arguments = arguments_of(block.get("input"));
                    let id = text("id").unwrap_or_default();
                    self.siblings(block, &["type", "id", "name", "input"], &place);
                    calls.push(ToolCall::function(id, name, arguments));
                }
                // What the provider's own tools did cannot be replayed; its outcome stands in the
                // text that follows.
                Some(_) => self.losses.dropped(place),
                None => return Err(DecodeError::at(place, "has no `type`")),
            }
        }
        let mut message = Message::assistant(joined(parts));
        if !thinking.is_empty() {
            message.reasoning_content = Some(thinking);
        }
        if !calls.is_empty() {
            message.tool_calls = Some(calls);
        }
        Ok(message)
    }

    fn thinking(
        &mut self,
        thinking: Option<Value>,
        request: &mut ChatRequest,
    ) -> Result<(), DecodeError> {
        let Some(thinking) = thinking else {
            request.enable_thinking = Some(false);
            return Ok(());
        };
        match thinking.get("type").and_then(Value::as_str) {
            Some("disabled") => request.enable_thinking = Some(false),
            Some("enabled" | "adaptive") => {
                request.enable_thinking = Some(true);
                request.thinking_budget = thinking.get("budget_tokens").and_then(Value::as_u64);
            }
            _ => {
                return Err(DecodeError::at(
                    "thinking.type",
                    "is neither enabled, adaptive nor disabled",
                ));
            }
        }
        self.siblings(&thinking, &["type", "budget_tokens"], "thinking");
        Ok(())
    }

    fn output_config(&mut self, config: &Value, request: &mut ChatRequest) {
        let effort = config.get("effort").and_then(Value::as_str);
        request.reasoning_effort = effort.map(str::to_owned);
        if let Some(format) = config.get("format").filter(|format| !format.is_null()) {
            match format.get("schema") {
                Some(schema) => {
                    let json_schema = JsonSchema::new("output", schema.clone());
                    request.response_format = Some(ResponseFormat::JsonSchema { json_schema });
                }
                None => self.losses.changed("output_config.format"),
            }
        }
        self.siblings(config, &["effort", "format"], "output_config");
    }

    fn tools(
        &mut self,
        tools: Option<Value>,
        request: &mut ChatRequest,
    ) -> Result<(), DecodeError> {
        let Some(tools) = tools else { return Ok(()) };
        let Value::Array(tools) = tools else {
            return Err(DecodeError::at("tools", "is no array"));
        };
        let mut functions = Vec::new();
        for (index, tool) in tools.iter().enumerate() {
            let place = format!("tools[{index}]");
            let text = |name: &str| tool.get(name).and_then(Value::as_str);
            match text("type") {
                None | Some("custom") => {
                    let name = text("name");
                    let name = name.ok_or_else(|| DecodeError::at(&place, "has no `name`"))?;
                    let schema = tool.get("input_schema").cloned();
                    let schema = schema.unwrap_or_else(|| json!({ "type": "object" }));
                    let description = text("description").unwrap_or_default();
                    let mut function = ToolDefinition::function(name, description, schema);
                    if description.is_empty() {
                        function.function.description = None;
                    }
                    let read = ["type", "name", "description", "input_schema"];
                    // A marker on a tool has no effect on either surface (compat.md §8.4).
                    self.siblings(tool, &read, &place);
                    functions.push(function);
                }
                Some(kind) if kind.starts_with("web_search") => {
                    request.enable_search = Some(true);
                    self.siblings(tool, &["type", "name"], &place);
                }
                Some(_) => self.losses.changed(place),
            }
        }
        if !functions.is_empty() {
            request.parallel_tool_calls = Some(true);
            request.tools = Some(functions);
        }
        Ok(())
    }

    fn tool_choice(
        &mut self,
        choice: Option<Value>,
        request: &mut ChatRequest,
    ) -> Result<(), DecodeError> {
        let Some(choice) = choice else { return Ok(()) };
        request.tool_choice = Some(match choice.get("type").and_then(Value::as_str) {
            Some("auto") => ToolChoice::auto(),
            Some("none") => ToolChoice::none(),
            Some("any") => ToolChoice::Mode("required".to_owned()),
            Some("tool") => {
                let name = choice.get("name").and_then(Value::as_str);
                let name = name.ok_or_else(|| DecodeError::at("tool_choice", "has no `name`"))?;
                ToolChoice::function(name)
            }
            _ => {
                return Err(DecodeError::at(
                    "tool_choice.type",
                    "is neither auto, any, none nor tool",
                ));
            }
        });
        if choice.get("disable_parallel_tool_use") == Some(&Value::Bool(true))
            && request.parallel_tool_calls.is_some()
        {
            request.parallel_tool_calls = Some(false);
        }
        let read = ["type", "name", "disable_parallel_tool_use"];
        self.siblings(&choice, &read, "tool_choice");
        Ok(())
    }
}

/// Arguments as text. What was no JSON when it went the other way is unwrapped (compat.md §8.5).
fn arguments_of(input: Option<&Value>) -> String {
    match input {
        None | Some(Value::Null) => "{}".to_owned(),
        Some(Value::Object(object)) => match (object.len(), object.get("_raw")) {
            (1, Some(Value::String(raw))) => raw.clone(),
            _ => Value::Object(object.clone()).to_string(),
        },
        Some(other) => other.to_string(),
    }
}

/// Plain texts in one string; parts as soon as one of them is more.
fn joined(parts: Vec<ContentPart>) -> Content {
    let is_plain =
        |part: &ContentPart| matches!(part, ContentPart::Text { extra, .. } if extra.is_empty());
    if parts.len() <= 1 && parts.iter().all(is_plain) {
        Content::Text(parts.iter().filter_map(ContentPart::text).collect())
    } else {
        Content::Parts(parts)
    }
}
