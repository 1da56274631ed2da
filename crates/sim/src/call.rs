//! A chat request in the words of either dialect, seen the same way.

use bailian_wire::Dialect;
use bailian_wire::catalog::{Catalog, Model, Thinking};
use serde_json::{Map, Value};

/// A chat request.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) dialect: Dialect,
    /// Whether it came to the native multimodal path.
    pub(crate) multimodal: bool,
    pub(crate) stream: bool,
    pub(crate) model_id: String,
    pub(crate) model: &'static Model,
    pub(crate) messages: Vec<Value>,
    /// The form of the answer.
    pub(crate) wrap: Wrap,
    /// Native `parameters`, or all top-level members of the other dialect.
    pub(crate) parameters: Map<String, Value>,
}

/// The form of an answer, where it is not that of the dialect's chat.
#[derive(Clone, Debug, Default)]
pub(crate) enum Wrap {
    #[default]
    Chat,
    /// A text completion.
    Completion,
    /// An application's answer.
    Application(Box<ApplicationAsk>),
    /// A response.
    Response(Box<ResponseAsk>),
}

/// What is asked of an application.
#[derive(Clone, Debug)]
pub(crate) struct ApplicationAsk {
    pub(crate) session_id: String,
    /// Documents were asked for.
    pub(crate) has_sources: bool,
    /// What was done before the answer is told, too.
    pub(crate) has_thoughts: bool,
    /// Frames have what is new only.
    pub(crate) incremental: bool,
    /// How a workflow streams; `None` for an agent.
    pub(crate) flow: Option<FlowMode>,
}

/// How the nodes of a workflow are told in a stream (apps-files-misc.md §1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FlowMode {
    FullThoughts,
    MessageFormat,
    MessageFormatPlus,
}

/// What is asked of a response, and what is kept of it.
#[derive(Clone, Debug)]
pub(crate) struct ResponseAsk {
    /// Items with ids.
    pub(crate) input: Vec<Value>,
    /// All turns but the instructions.
    pub(crate) turns: Vec<Value>,
    pub(crate) conversation: Option<String>,
    pub(crate) store: bool,
    /// Everything so far is kept in the context cache (compat.md §2.9).
    pub(crate) session_cache: bool,
    /// As they were given.
    pub(crate) tools: Vec<Value>,
    pub(crate) tool_choice: Value,
}

impl ResponseAsk {
    /// Whether the service's own tools may be used.
    pub(crate) fn uses_tools(&self) -> bool {
        self.tool_choice != "none"
    }
}

impl Call {
    pub(crate) fn number(&self, name: &str) -> Option<f64> {
        self.parameters.get(name)?.as_f64()
    }

    pub(crate) fn count(&self, name: &str) -> Option<u64> {
        self.parameters.get(name)?.as_u64()
    }

    pub(crate) fn flag(&self, name: &str) -> Option<bool> {
        self.parameters.get(name)?.as_bool()
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.parameters.get(name)?.as_str()
    }

    /// Whether the answer is preceded by thinking.
    pub(crate) fn thinks(&self) -> bool {
        match self.model.thinking {
            Thinking::Only => true,
            Thinking::None => false,
            _ => match (self.flag("enable_thinking"), self.effort()) {
                (Some(asked), _) => asked,
                (None, Some(effort)) => effort != "none",
                (None, None) => self.model.thinks_by_default(),
            },
        }
    }

    /// How much is to be thought, where the model is known to mind it (compat.md §2.5).
    fn effort(&self) -> Option<&str> {
        let minds = ["qwen3.8", "deepseek-v4", "glm"];
        let effort = self.text("reasoning_effort")?;
        minds
            .iter()
            .any(|prefix| self.model_id.starts_with(prefix))
            .then_some(effort)
    }

    /// The most thinking that it allows: as it says, or as much as its effort means
    /// (compat.md §2.5).
    pub(crate) fn thinking_budget(&self) -> Option<u64> {
        self.count("thinking_budget").or_else(|| {
            let is_graded = self.model_id.starts_with("qwen3.8");
            match self.effort().filter(|_| is_graded)? {
                "low" | "minimal" => Some(4_096),
                "medium" => Some(16_384),
                _ => Some(262_144),
            }
        })
    }

    /// The most output tokens that it allows.
    pub(crate) fn most_output(&self) -> u64 {
        let asked = self.count("max_completion_tokens");
        let asked = asked.or_else(|| self.count("max_tokens"));
        asked.or(self.model.max_output).unwrap_or(0)
    }

    /// Whether it is a translation (compat.md §2.11).
    pub(crate) fn translates(&self) -> bool {
        self.model_id.starts_with("qwen-mt-")
    }

    /// The last message.
    pub(crate) fn last(&self) -> &Value {
        self.messages.last().unwrap_or(&Value::Null)
    }

    /// What the person said last.
    pub(crate) fn prompt(&self) -> String {
        let user = self
            .messages
            .iter()
            .rev()
            .find(|message| message["role"] == "user");
        user.map(message_text).unwrap_or_default()
    }

    /// The functions that may be called now.
    pub(crate) fn tools(&self) -> &[Value] {
        if self.parameters.get("tool_choice").and_then(Value::as_str) == Some("none") {
            return &[];
        }
        self.parameters
            .get("tools")
            .and_then(Value::as_array)
            .map_or(&[], Vec::as_slice)
    }

    /// The function that must be called.
    pub(crate) fn forced_tool(&self) -> Option<&str> {
        self.parameters
            .get("tool_choice")?
            .pointer("/function/name")?
            .as_str()
    }

    /// `json_object` or `json_schema`.
    pub(crate) fn json_mode(&self) -> Option<&str> {
        let kind = self
            .parameters
            .get("response_format")?
            .get("type")?
            .as_str()?;
        (kind != "text").then_some(kind)
    }

    /// Whether native answers are `output.text` instead of `output.choices`.
    pub(crate) fn wants_text_format(&self) -> bool {
        let message_by_default = self.multimodal
            || self.thinks()
            || ["qwen3", "qwq", "qvq", "qwen-long"]
                .iter()
                .any(|p| self.model_id.starts_with(p));
        match self.text("result_format") {
            Some(format) => format == "text" && !self.multimodal,
            None => !message_by_default,
        }
    }

    /// Whether every frame repeats everything so far.
    pub(crate) fn is_cumulative(&self) -> bool {
        if self.model.streams_cumulatively() {
            return true;
        }
        self.dialect == Dialect::Native
            && !self
                .flag("incremental_output")
                .unwrap_or(self.thinks() || !self.model.native_frames_are_cumulative_by_default())
    }
}

/// The text of a message, parts of either dialect joined.
pub(crate) fn message_text(message: &Value) -> String {
    match &message["content"] {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts
            .iter()
            .filter_map(|part| part.get("text")?.as_str())
            .collect(),
        _ => String::new(),
    }
}

/// The model of that id; configured extra ones behave like `qwen-plus`.
pub(crate) fn find_model(id: &str, extra: &[String]) -> Option<&'static Model> {
    let catalog = Catalog::embedded();
    match catalog.model(id) {
        Some(model) => Some(model),
        None if extra.iter().any(|known| known == id) => catalog.model("qwen-plus"),
        None => None,
    }
}
