//! Turns of a conversation.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Content, Extra, ToolCall};

/// Who speaks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Role {
    /// Instructions for the whole conversation.
    System,
    /// The person.
    #[default]
    User,
    /// The model.
    Assistant,
    /// The result of a tool call.
    Tool,
    /// A role that this version does not know.
    #[serde(untagged)]
    Other(String),
}

impl Role {
    /// The role's name on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
            Self::Other(name) => name,
        }
    }
}

/// One turn.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Message {
    /// Who speaks.
    #[serde(default)]
    pub role: Role,
    /// What is said; `None` where only tools are called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    /// The model's thinking before its answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<String>,
    /// Calls that the model makes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_calls: Option<Vec<ToolCall>>,
    /// The call that a tool message answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
    /// A name of the speaker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// On the last, assistant message: continue this text (http-native.md §5.9).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partial: Option<bool>,
    /// Further members.
    #[serde(flatten)]
    pub extra: Extra,
}

impl Message {
    /// A message of any role.
    pub fn new(role: Role, content: impl Into<Content>) -> Self {
        Self {
            role,
            content: Some(content.into()),
            ..Self::default()
        }
    }

    /// Instructions.
    pub fn system(content: impl Into<Content>) -> Self {
        Self::new(Role::System, content)
    }

    /// What the person says.
    pub fn user(content: impl Into<Content>) -> Self {
        Self::new(Role::User, content)
    }

    /// What the model said.
    pub fn assistant(content: impl Into<Content>) -> Self {
        Self::new(Role::Assistant, content)
    }

    /// The result of the tool call `tool_call_id`.
    pub fn tool(tool_call_id: impl Into<String>, content: impl Into<Content>) -> Self {
        let message = Self::new(Role::Tool, content);
        Self {
            tool_call_id: Some(tool_call_id.into()),
            ..message
        }
    }

    /// The beginning of an answer that the model shall go on with.
    pub fn partial(content: impl Into<Content>) -> Self {
        Self {
            partial: Some(true),
            ..Self::assistant(content)
        }
    }

    /// Adds tool calls to an assistant message.
    #[must_use]
    pub fn with_tool_calls(mut self, calls: Vec<ToolCall>) -> Self {
        self.tool_calls = Some(calls);
        self
    }

    /// Reads what answers of both protocols say alike: role, thinking, calls, and every further
    /// member but those named in `read`.
    pub(crate) fn from_answer(message: &Value, content: Content, read: &[&str]) -> Self {
        let member = |name: &str| message.get(name).cloned().unwrap_or_default();
        let calls = member("tool_calls").as_array().cloned().unwrap_or_default();
        let calls: Vec<ToolCall> = calls
            .into_iter()
            .filter_map(|call| serde_json::from_value(call).ok())
            .collect();
        let reasoning = member("reasoning_content")
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let known = ["content", "reasoning_content", "role", "tool_calls"];
        let further = message
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(name, value)| {
                let name = name.as_str();
                !known.contains(&name) && !read.contains(&name) && !value.is_null()
            });
        Self {
            role: serde_json::from_value(member("role")).unwrap_or(Role::Assistant),
            content: Some(content),
            reasoning_content: (!reasoning.is_empty()).then_some(reasoning),
            tool_calls: (!calls.is_empty()).then_some(calls),
            extra: further
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
            ..Self::default()
        }
    }

    /// All text of the message, parts joined.
    pub fn text(&self) -> String {
        self.content.as_ref().map(Content::text).unwrap_or_default()
    }

    /// Whether it carries a picture, sound or video.
    pub fn has_media(&self) -> bool {
        self.content.as_ref().is_some_and(Content::has_media)
    }
}
