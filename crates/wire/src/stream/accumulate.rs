//! Joins events into the answer that the same call without streaming would have given.

use super::base64;
use crate::chat::{
    ChatEvent, ChatResponse, Choice, Content, ContentPart, FunctionCall, Logprobs, ToolCall,
};

/// Joins the events of one stream.
#[derive(Clone, Debug, Default)]
pub struct Accumulator {
    response: ChatResponse,
}

impl Accumulator {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what an event says.
    pub fn push(&mut self, event: ChatEvent) {
        let response = &mut self.response;
        match event {
            ChatEvent::Started {
                id,
                request_id,
                model,
                created,
            } => {
                response.id = id;
                response.request_id = request_id;
                response.model = model;
                response.created = created;
            }
            ChatEvent::TextDelta { choice, text } => {
                match &mut response.choice_mut(choice).message.content {
                    Some(Content::Text(known)) => known.push_str(&text),
                    Some(Content::Parts(parts)) => push_part(parts, ContentPart::new_text(text)),
                    content @ None => *content = Some(Content::Text(text)),
                }
            }
            ChatEvent::Part { choice, part } => {
                let content = &mut response.choice_mut(choice).message.content;
                let mut parts = match content.take() {
                    Some(Content::Parts(parts)) => parts,
                    Some(Content::Text(text)) => vec![ContentPart::new_text(text)],
                    None => Vec::new(),
                };
                push_part(&mut parts, part);
                *content = Some(Content::Parts(parts));
            }
            ChatEvent::ReasoningDelta { choice, text } => {
                let message = &mut response.choice_mut(choice).message;
                message
                    .reasoning_content
                    .get_or_insert_default()
                    .push_str(&text);
            }
            ChatEvent::ToolCallDelta {
                choice,
                index,
                id,
                name,
                arguments,
            } => {
                let call = tool_call(response.choice_mut(choice), index);
                if let Some(id) = id {
                    call.id = id;
                }
                if let Some(name) = name {
                    call.function.name = name;
                }
                call.function.arguments.push_str(&arguments);
            }
            ChatEvent::AudioDelta { data, .. } => {
                base64::append(response.audio.get_or_insert_default(), &data);
            }
            ChatEvent::AudioUrl(url) => response.audio_url = Some(url),
            ChatEvent::Logprobs { choice, logprobs } => {
                let known: &mut Logprobs =
                    response.choice_mut(choice).logprobs.get_or_insert_default();
                known.content.extend(logprobs.content);
            }
            ChatEvent::SearchInfo(info) => response.search_info = Some(info),
            // A running total: the last one counts.
            ChatEvent::Usage(usage) => response.usage = Some(usage),
            ChatEvent::Finished { choice, reason } => {
                response.choice_mut(choice).finish_reason = Some(reason);
            }
            ChatEvent::Extra { name, value } => drop(response.extra.insert(name, value)),
            ChatEvent::Unknown(_) => {}
        }
    }

    /// The answer so far.
    pub fn response(&self) -> &ChatResponse {
        &self.response
    }

    /// The answer. A choice without text has empty text, as in an answer that was not streamed.
    pub fn finish(mut self) -> ChatResponse {
        for choice in &mut self.response.choices {
            choice.message.content.get_or_insert_default();
        }
        self.response
    }
}

/// Adds a part; texts that follow each other are one.
fn push_part(parts: &mut Vec<ContentPart>, part: ContentPart) {
    match (parts.last_mut(), part) {
        (
            Some(ContentPart::Text { text, extra }),
            ContentPart::Text {
                text: more,
                extra: siblings,
            },
        ) => {
            text.push_str(&more);
            extra.extend(siblings);
        }
        (_, part) => parts.push(part),
    }
}

/// The call of that index, made if it is new; calls stay in the order of their index.
fn tool_call(choice: &mut Choice, index: u64) -> &mut ToolCall {
    let calls = choice.message.tool_calls.get_or_insert_default();
    let at = match calls.binary_search_by_key(&Some(index), |call| call.index) {
        Ok(at) => at,
        Err(at) => {
            let mut call = ToolCall::function("", "", "");
            call.index = Some(index);
            call.function = FunctionCall::default();
            calls.insert(at, call);
            at
        }
    };
    &mut calls[at]
}
