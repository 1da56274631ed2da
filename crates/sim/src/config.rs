//! What a simulator can be told: by file, by `PUT /__sim/config`, in code.

mod quirks;

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

pub use self::quirks::{Quirks, UnusedDelta, UsageDetails};
use crate::faults::FaultRule;
pub use crate::limits::{LimitRule, OtherProgram, QuotaApi, Rate, WindowKind};

/// Settings of a simulator. The JSON of `/__sim/config` and the TOML of a file have these members.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct SimConfig {
    /// Answers depend on the request and on this number.
    pub seed: u64,
    /// How fast answers come.
    pub speed: Speed,
    /// Good keys; when empty, every key that begins with `sk-` is good.
    pub keys: Vec<KeyRule>,
    /// Models beside those of the catalogue; they behave like `qwen-plus`.
    pub models: Vec<String>,
    /// Larger request bodies are refused with 413, in bytes.
    pub max_body_bytes: usize,
    /// Requests that the journal keeps; older ones are dropped and counted.
    pub journal_capacity: usize,
    /// How much accounts may use, first match first.
    pub limits: Vec<LimitRule>,
    /// Where no rule is about a model, its published limits in this region hold.
    pub catalogue_limits: Option<String>,
    /// Second programs on the same accounts.
    pub other_programs: Vec<OtherProgram>,
    /// Whether the quota API answers.
    pub quota_api: QuotaApi,
    /// What goes wrong, first match first.
    pub faults: Vec<FaultRule>,
    /// Scripted answers, first match first.
    pub answers: Vec<AnswerRule>,
    /// How compatible streams write the pieces of a tool call.
    pub call_fragments: CallFragments,
    /// Frames errors of requests for a stream as an event, as was reported of the service: those of
    /// the OpenAI-compatible surface, and native ones that are found before the stream is opened.
    pub sse_framed_errors: bool,
    /// Sent as `Retry-After` with every 429, in seconds. The service is not known to send any.
    pub retry_after: Option<u64>,
    /// Forms of the service that are not certain or not the same everywhere.
    pub quirks: Quirks,
}

impl Default for SimConfig {
    fn default() -> Self {
        Self {
            seed: 1234,
            speed: Speed::default(),
            keys: Vec::new(),
            models: Vec::new(),
            max_body_bytes: 64 * 1024 * 1024,
            journal_capacity: 100_000,
            limits: Vec::new(),
            catalogue_limits: None,
            other_programs: Vec::new(),
            quota_api: QuotaApi::default(),
            faults: Vec::new(),
            answers: Vec::new(),
            call_fragments: CallFragments::default(),
            sse_framed_errors: false,
            retry_after: None,
            quirks: Quirks::default(),
        }
    }
}

/// How fast answers come. Also written as the name of a preset: `"instant"` or `"like-a-model"`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Speed {
    /// Milliseconds to the first token.
    pub ttft_ms: u64,
    /// Tokens per second after it; 0 means as fast as possible.
    pub tokens_per_second: f64,
    /// Tokens per frame.
    pub chunk_tokens: usize,
}

impl Default for Speed {
    fn default() -> Self {
        Self {
            ttft_ms: 0,
            tokens_per_second: 0.0,
            chunk_tokens: 1,
        }
    }
}

impl Speed {
    /// As fast as a person expects a model to be.
    pub fn like_a_model() -> Self {
        Self {
            ttft_ms: 200,
            tokens_per_second: 60.0,
            chunk_tokens: 1,
        }
    }
}

impl<'de> Deserialize<'de> for Speed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SpeedVisitor)
    }
}

/// Reads members or the name of a preset.
struct SpeedVisitor;

impl<'de> Visitor<'de> for SpeedVisitor {
    type Value = Speed;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a table with ttft_ms, tokens_per_second and chunk_tokens, or the name of a preset",
        )
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Speed, E> {
        match name {
            "instant" => Ok(Speed::default()),
            "like-a-model" => Ok(Speed::like_a_model()),
            _ => Err(E::unknown_variant(name, &["instant", "like-a-model"])),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Speed, A::Error> {
        const NAMES: &[&str] = &["ttft_ms", "tokens_per_second", "chunk_tokens"];
        let mut speed = Speed::default();
        while let Some(name) = members.next_key::<String>()? {
            match name.as_str() {
                "ttft_ms" => speed.ttft_ms = members.next_value()?,
                "tokens_per_second" => speed.tokens_per_second = members.next_value()?,
                "chunk_tokens" => speed.chunk_tokens = members.next_value()?,
                unknown => return Err(serde::de::Error::unknown_field(unknown, NAMES)),
            }
        }
        Ok(speed)
    }
}

/// A good key and the account that it belongs to.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct KeyRule {
    /// The key.
    pub key: String,
    /// The account; keys of one account share its limits.
    #[serde(default = "default_account")]
    pub account: String,
}

impl fmt::Debug for KeyRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRule")
            .field("account", &self.account)
            .finish_non_exhaustive()
    }
}

pub(crate) fn default_account() -> String {
    "default".to_owned()
}

/// A scripted answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct AnswerRule {
    /// Applies when the last message holds this text; to every request when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
    /// Applies to this model only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The answer.
    #[serde(default)]
    pub text: String,
    /// The thinking before it, where the model thinks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
    /// The calls that are made instead of a text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ScriptedCall>,
}

/// The spellings of tool call pieces that were seen on the compatible surface (compat.md §2.14).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum CallFragments {
    /// Pieces that go on have an empty id, as most models write them.
    #[default]
    EmptyId,
    /// They repeat the id.
    SameId,
    /// They have no id.
    NoId,
    /// As `EmptyId`, and the first piece has null for arguments.
    NullArguments,
}

/// A scripted tool call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ScriptedCall {
    /// The function.
    pub name: String,
    /// Its arguments: a JSON value, or their exact text, which need not be JSON.
    #[serde(default)]
    pub arguments: Value,
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimConfigError {
    /// Not TOML, or a member is unknown or of the wrong kind.
    #[error("{path}: {problem}")]
    Toml {
        /// Where in the document.
        path: String,
        /// What is wrong.
        problem: String,
    },
    /// Not JSON, or a member is unknown or of the wrong kind.
    #[error("{path}: {problem}")]
    Json {
        /// Where in the document.
        path: String,
        /// What is wrong.
        problem: String,
    },
}

impl SimConfig {
    /// Reads a TOML document.
    ///
    /// # Errors
    ///
    /// With the path of the member that is wrong.
    pub fn from_toml(text: &str) -> Result<Self, SimConfigError> {
        let document = toml::Deserializer::parse(text).map_err(|error| SimConfigError::Toml {
            path: "document".to_owned(),
            problem: error.message().to_owned(),
        })?;
        serde_path_to_error::deserialize(document).map_err(|error| SimConfigError::Toml {
            path: error.path().to_string(),
            problem: error.inner().message().to_owned(),
        })
    }

    /// These settings with the members of `patch` put over them; `null` resets a member.
    ///
    /// # Errors
    ///
    /// With the path of the member that is wrong; nothing has changed then.
    pub fn patched(&self, patch: &Value) -> Result<Self, SimConfigError> {
        let json = |path: String, problem: String| SimConfigError::Json { path, problem };
        let mut merged =
            serde_json::to_value(self).map_err(|e| json("document".into(), e.to_string()))?;
        merge(&mut merged, patch);
        serde_path_to_error::deserialize(merged)
            .map_err(|error| json(error.path().to_string(), error.inner().to_string()))
    }
}

/// JSON merge patch (RFC 7396).
fn merge(target: &mut Value, patch: &Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (name, value) in patch {
                if value.is_null() {
                    target.remove(name);
                } else {
                    merge(target.entry(name.clone()).or_insert(Value::Null), value);
                }
            }
        }
        (target, patch) => *target = patch.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_patch_changes_its_members_only_and_null_resets() {
        let config = SimConfig {
            seed: 7,
            ..SimConfig::default()
        };
        let patched = config
            .patched(&json!({ "speed": { "ttft_ms": 50 } }))
            .unwrap();
        assert_eq!(
            (
                patched.seed,
                patched.speed.ttft_ms,
                patched.speed.chunk_tokens
            ),
            (7, 50, 1)
        );
        assert_eq!(patched.patched(&json!({ "speed": null })).unwrap(), config);
        let model = config.patched(&json!({ "speed": "like-a-model" })).unwrap();
        assert_eq!(model.speed, Speed::like_a_model());
    }

    #[test]
    fn the_example_of_the_book_is_a_configuration() {
        let book = include_str!("../../../docs/simulator.md");
        let example = book.split("```toml").nth(1).unwrap();
        let config = SimConfig::from_toml(example.split("```").next().unwrap()).unwrap();
        assert_eq!(config.speed, Speed::like_a_model());
        assert_eq!((config.faults.len(), config.answers.len()), (1, 2));
        assert_eq!(config.quirks, Quirks::default());
    }

    #[test]
    fn an_unknown_member_is_refused_with_its_path() {
        let error = SimConfig::default()
            .patched(&json!({ "speed": { "tps": 1 } }))
            .unwrap_err();
        assert!(error.to_string().starts_with("speed"), "{error}");
        assert!(SimConfig::from_toml("speed = \"slow\"").is_err());
        let error = SimConfig::from_toml("[speed]\nttft_ms = \"fast\"").unwrap_err();
        assert!(error.to_string().starts_with("speed.ttft_ms"), "{error}");
    }
}
