//! Functions that a model may call, and its calls.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use super::Extra;

/// A function that the model may call.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ToolDefinition {
    /// Always `function` today.
    #[serde(rename = "type", default = "function")]
    pub kind: String,
    /// The function.
    #[serde(default)]
    pub function: FunctionDefinition,
    /// Further members.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A function's name, purpose and parameters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FunctionDefinition {
    /// Up to 64 letters, digits, `_` and `-`; not `search`.
    #[serde(default)]
    pub name: String,
    /// When to call it. The native protocol requires it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// JSON schema of the arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Value>,
    /// Further members, such as `strict`.
    #[serde(flatten)]
    pub extra: Extra,
}

impl ToolDefinition {
    /// A function with a JSON schema of its arguments.
    pub fn function(
        name: impl Into<String>,
        description: impl Into<String>,
        parameters: Value,
    ) -> Self {
        Self {
            kind: function(),
            function: FunctionDefinition {
                name: name.into(),
                description: Some(description.into()),
                parameters: Some(parameters),
                extra: Extra::new(),
            },
            extra: Extra::new(),
        }
    }
}

/// Which functions the model may or must call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum ToolChoice {
    /// `auto`, `none`, or a word that this version does not know.
    Mode(String),
    /// `{"type":"function","function":{"name":…}}`, or another object.
    Specific(Value),
}

impl ToolChoice {
    /// The model decides.
    pub fn auto() -> Self {
        Self::Mode("auto".to_owned())
    }

    /// No function is called.
    pub fn none() -> Self {
        Self::Mode("none".to_owned())
    }

    /// This function is called. Not allowed while thinking.
    pub fn function(name: impl Into<String>) -> Self {
        let name: String = name.into();
        Self::Specific(json!({ "type": "function", "function": { "name": name } }))
    }

    /// The function that must be called, if one must.
    pub fn function_name(&self) -> Option<&str> {
        match self {
            Self::Mode(_) => None,
            Self::Specific(value) => value.pointer("/function/name")?.as_str(),
        }
    }
}

/// A call that the model makes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ToolCall {
    /// What a tool message refers to.
    #[serde(default, deserialize_with = "lenient_text")]
    pub id: String,
    /// Always `function` today.
    #[serde(
        rename = "type",
        default = "function",
        deserialize_with = "lenient_kind"
    )]
    pub kind: String,
    /// Its place among the calls of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
    /// The function and its arguments.
    #[serde(default)]
    pub function: FunctionCall,
    /// Further members.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A function's name and arguments.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FunctionCall {
    /// Which function.
    #[serde(default, deserialize_with = "lenient_text")]
    pub name: String,
    /// The arguments as JSON text. A model can get it wrong, or be cut off: parse with care.
    #[serde(default, deserialize_with = "lenient_text")]
    pub arguments: String,
    /// Further members.
    #[serde(flatten)]
    pub extra: Extra,
}

impl ToolCall {
    /// A call of a function.
    pub fn function(
        id: impl Into<String>,
        name: impl Into<String>,
        arguments: impl Into<String>,
    ) -> Self {
        Self {
            id: id.into(),
            kind: function(),
            index: None,
            function: FunctionCall {
                name: name.into(),
                arguments: arguments.into(),
                extra: Extra::new(),
            },
            extra: Extra::new(),
        }
    }

    /// The arguments as a value.
    ///
    /// # Errors
    ///
    /// When the model wrote something that is not JSON.
    pub fn arguments(&self) -> Result<Value, serde_json::Error> {
        serde_json::from_str(&self.function.arguments)
    }
}

fn function() -> String {
    "function".to_owned()
}

/// A text; `null` is an empty one, and some servers write the arguments as an object.
fn lenient_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(match Option::<Value>::deserialize(deserializer)? {
        None => String::new(),
        Some(Value::String(text)) => text,
        Some(other) => other.to_string(),
    })
}

fn lenient_kind<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_else(function))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_members_of_a_call_are_absent_ones() {
        let call = json!({
            "id": null, "type": null, "index": null,
            "function": { "name": "f", "arguments": null },
        });
        let call: ToolCall = serde_json::from_value(call).unwrap();
        assert_eq!(call, ToolCall::function("", "f", ""));
    }

    #[test]
    fn arguments_given_as_an_object_become_text() {
        let call = json!({ "id": "a", "function": { "name": "f", "arguments": { "x": 1 } } });
        let call: ToolCall = serde_json::from_value(call).unwrap();
        assert_eq!(call.function.arguments, r#"{"x":1}"#);
    }
}
