//! One model.

use serde::{Deserialize, Deserializer};

/// A model and what is known of it.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Model {
    /// The id, as requests name it.
    pub id: String,
    /// Models of one family behave alike.
    #[serde(default, deserialize_with = "null_as_default")]
    pub family: String,
    /// `text`, `vision`, `image`, …
    #[serde(default, deserialize_with = "null_as_default")]
    pub category: String,
    /// `text`, `image`, `video`, `audio`, … that it reads.
    #[serde(default, deserialize_with = "null_as_default")]
    pub modality_in: Vec<String>,
    /// What it writes.
    #[serde(default, deserialize_with = "null_as_default")]
    pub modality_out: Vec<String>,
    /// Where it can be called: `chat`, `text_generation`, `multimodal_generation`, …
    #[serde(default, deserialize_with = "null_as_default")]
    pub endpoints: Vec<String>,
    /// Input and output together, in tokens.
    #[serde(default)]
    pub context_window: Option<u64>,
    /// The longest input, in tokens.
    #[serde(default)]
    pub max_input: Option<u64>,
    /// The longest input when thinking, where that differs.
    #[serde(default)]
    pub max_input_thinking: Option<u64>,
    /// The longest answer, in tokens.
    #[serde(default)]
    pub max_output: Option<u64>,
    /// The longest answer when thinking, where that differs.
    #[serde(default)]
    pub max_output_thinking: Option<u64>,
    /// The longest thinking, in tokens.
    #[serde(default)]
    pub max_thinking: Option<u64>,
    /// Whether it thinks.
    #[serde(default, deserialize_with = "null_as_default")]
    pub thinking: Thinking,
    /// Whether a hybrid model thinks when the request does not say.
    #[serde(default)]
    pub thinking_default: Option<bool>,
    /// What it can do.
    #[serde(default, deserialize_with = "null_as_default")]
    pub features: Features,
    /// Other ids of the same model.
    #[serde(default, deserialize_with = "null_as_default")]
    pub aliases: Vec<String>,
    /// Whether it is offered.
    #[serde(default, deserialize_with = "null_as_default")]
    pub status: Status,
    /// The day it was or will be taken away, as `YYYY-MM-DD`.
    #[serde(default)]
    pub retired: Option<String>,
    /// The day it came out, as `YYYY-MM-DD`.
    #[serde(default)]
    pub release: Option<String>,
    /// Where it is offered.
    #[serde(default, deserialize_with = "null_as_default")]
    pub regions: Vec<Region>,
}

/// Whether a model thinks before it answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Thinking {
    /// Never.
    None,
    /// As the request says.
    Hybrid,
    /// Always.
    Only,
    /// Not known.
    #[default]
    #[serde(other)]
    Unknown,
}

/// Whether a model is offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Status {
    /// Offered.
    Active,
    /// Offered for trial.
    Preview,
    /// Taken away; answers 403 `Endpoint.AccessDenied`.
    Retired,
    /// Absent from the newest pages, not known to be gone.
    Unlisted,
    /// Not known.
    #[default]
    #[serde(other)]
    Unknown,
}

/// What a model can do; `None` is "not known".
#[derive(Clone, Debug, Default, Deserialize)]
#[non_exhaustive]
pub struct Features {
    /// Calls functions.
    #[serde(default)]
    pub tools: Option<bool>,
    /// Answers in JSON.
    #[serde(default)]
    pub json_object: Option<bool>,
    /// Answers in JSON with thinking off only.
    #[serde(default)]
    pub json_only_without_thinking: Option<bool>,
    /// Answers in JSON of a schema.
    #[serde(default)]
    pub json_schema: Option<bool>,
    /// Searches the web.
    #[serde(default)]
    pub search: Option<bool>,
    /// Reads pictures.
    #[serde(default)]
    pub vision: Option<bool>,
    /// Answers in streams only.
    #[serde(default)]
    pub stream_only: Option<bool>,
    /// Thinks in streams only.
    #[serde(default)]
    pub thinking_stream_only: Option<bool>,
    /// Continues a given beginning, with thinking off.
    #[serde(default)]
    pub partial: Option<bool>,
    /// Takes `reasoning_effort` or `thinking_budget`, not both.
    #[serde(default)]
    pub reasoning_effort_excludes_thinking_budget: Option<bool>,
}

/// A place where a model is offered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Region {
    /// Such as `cn-beijing`.
    #[serde(default)]
    pub region: String,
    /// Such as `china-mainland`.
    #[serde(default)]
    pub scope: String,
}

impl Model {
    /// Whether it was taken away.
    pub fn is_retired(&self) -> bool {
        self.status == Status::Retired
    }

    /// Whether chat requests can name it.
    pub fn serves_chat(&self) -> bool {
        self.has_endpoint("chat")
            || self.has_endpoint("text_generation")
            || (self.has_endpoint("multimodal_generation")
                && self.modality_out.iter().any(|out| out == "text"))
    }

    /// Whether a call must be a stream.
    pub fn is_stream_only(&self) -> bool {
        self.features.stream_only == Some(true)
    }

    /// Whether a request that does not say thinks.
    pub fn thinks_by_default(&self) -> bool {
        match self.thinking {
            Thinking::Only => true,
            Thinking::Hybrid => self.thinking_default == Some(true),
            Thinking::None | Thinking::Unknown => false,
        }
    }

    /// Whether thinking works in streams only.
    pub fn thinks_in_streams_only(&self) -> bool {
        self.features.thinking_stream_only == Some(true)
    }

    /// Whether the native text path serves it.
    pub fn serves_text_path(&self) -> bool {
        self.has_endpoint("text_generation")
    }

    /// Whether the native multimodal path serves it.
    pub fn serves_multimodal_path(&self) -> bool {
        self.has_endpoint("multimodal_generation")
    }

    /// Whether native calls go to the multimodal path even for plain text (http-native.md §2).
    pub fn uses_multimodal_path(&self) -> bool {
        self.has_endpoint("multimodal_generation") && !self.has_endpoint("text_generation")
    }

    /// Whether its streams repeat the whole text in every frame, whatever the request says
    /// (compat.md §2.11).
    pub fn streams_cumulatively(&self) -> bool {
        matches!(self.id.as_str(), "qwen-mt-plus" | "qwen-mt-turbo")
    }

    /// Whether native frames are cumulative when the request does not say (http-native.md §3.6).
    pub fn native_frames_are_cumulative_by_default(&self) -> bool {
        let incremental = ["qwen3-max", "qwen3-vl", "qwq", "qvq"]
            .iter()
            .any(|prefix| self.id.starts_with(prefix));
        let open_qwen3 = self.id.starts_with("qwen3-") && self.id.contains('b');
        !(incremental || open_qwen3)
    }

    /// Whether it is offered in `region`.
    pub fn is_in_region(&self, region: &str) -> bool {
        self.regions.iter().any(|place| place.region == region)
    }

    fn has_endpoint(&self, name: &str) -> bool {
        self.endpoints.iter().any(|endpoint| endpoint == name)
    }
}

/// The catalogue writes `null` for what does not apply.
fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
