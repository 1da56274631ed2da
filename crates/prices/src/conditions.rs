//! What prices depend on.

use serde::{Deserialize, Serialize};

use crate::usage::Context;

/// When a tier's prices hold. What is left out does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Conditions {
    /// The request's input, in tokens, is above this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_tokens_gt: Option<u64>,
    /// And at most this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_tokens_lte: Option<u64>,
    /// What was used of the model before in the counting period, in units of the price, is above this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_gt: Option<u64>,
    /// And at most this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_lte: Option<u64>,
    /// The resolution of video (`720P`) or pictures (`2K`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolution: Option<String>,
    /// Whether video has sound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio: Option<bool>,
    /// Whether a video was given as reference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference_video: Option<bool>,
    /// The mode of the service, such as `wan-std`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_mode: Option<String>,
    /// The task, such as `text-to-3d`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// The specification, such as `standard+hd-texture`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spec: Option<String>,
    /// The aspect of video, such as `3:4`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aspect: Option<String>,
    /// Whether the prompt was rewritten before a picture was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_extend: Option<bool>,
    /// How the model thinks (`hybrid`, `thinking_only`, `non_thinking_only`): a description, not a
    /// condition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
}

/// Keys of conditions, but for the input's length.
const KEYS: [&str; 9] = [
    "resolution",
    "audio",
    "reference_video",
    "service_mode",
    "task",
    "spec",
    "aspect",
    "prompt_extend",
    "volume",
];

/// What a condition makes of a context.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fit {
    Yes,
    Unsaid,
    No,
}

impl Conditions {
    fn fit(&self, key: &str, context: &Context) -> Fit {
        let Some(wanted) = self.wanted(key) else {
            return Fit::Yes;
        };
        let fits = match (key, context.volume, context.said(key)) {
            ("volume", Some(volume), _) => {
                self.volume_gt.is_none_or(|bound| volume > bound)
                    && self.volume_lte.is_none_or(|bound| volume <= bound)
            }
            (_, _, Some(said)) => wanted.eq_ignore_ascii_case(&said),
            (_, _, None) => return Fit::Unsaid,
        };
        if fits { Fit::Yes } else { Fit::No }
    }

    /// What it wants of a key, as text; `None` if the key does not matter.
    pub(crate) fn wanted(&self, key: &str) -> Option<String> {
        let flag = |value: Option<bool>| value.map(|value| value.to_string());
        match key {
            "resolution" => self.resolution.clone(),
            "audio" => flag(self.audio),
            "reference_video" => flag(self.reference_video),
            "service_mode" => self.service_mode.clone(),
            "task" => self.task.clone(),
            "spec" => self.spec.clone(),
            "aspect" => self.aspect.clone(),
            "prompt_extend" => flag(self.prompt_extend),
            _ => match (self.volume_gt, self.volume_lte) {
                (None, None) => None,
                (above, most) => Some(format!("{above:?}..{most:?}")),
            },
        }
    }

    fn are_of_length_only(&self) -> bool {
        let of_length = Self {
            input_tokens_gt: self.input_tokens_gt,
            input_tokens_lte: self.input_tokens_lte,
            ..Self::default()
        };
        *self == of_length
    }

    fn keys(&self, context: &Context, wanted: Fit) -> impl Iterator<Item = &'static str> {
        KEYS.into_iter()
            .filter(move |key| self.fit(key, context) == wanted)
    }

    /// Whether nothing that was said speaks against it.
    pub(crate) fn allow(&self, context: &Context) -> bool {
        // Almost all prices of tokens depend on nothing but the input's length.
        self.are_of_length_only() || self.keys(context, Fit::No).next().is_none()
    }

    /// The keys that it depends on and that were not said.
    pub(crate) fn unsaid(&self, context: &Context) -> impl Iterator<Item = &'static str> {
        self.keys(context, Fit::Unsaid)
    }

    /// The keys that speak against it.
    pub(crate) fn refused(&self, context: &Context) -> impl Iterator<Item = &'static str> {
        self.keys(context, Fit::No)
    }

    /// Whether the input is long enough.
    pub(crate) fn is_above_start(&self, input_tokens: u64) -> bool {
        self.input_tokens_gt
            .is_none_or(|bound| input_tokens > bound)
    }

    /// Whether the input is short enough.
    pub(crate) fn is_within_end(&self, input_tokens: u64) -> bool {
        self.input_tokens_lte
            .is_none_or(|bound| input_tokens <= bound)
    }
}

impl Context {
    /// What it says of a key, as text.
    pub(crate) fn said(&self, key: &str) -> Option<String> {
        let flag = |value: Option<bool>| value.map(|value| value.to_string());
        match key {
            "resolution" => self.resolution.clone(),
            "audio" => flag(self.audio),
            "reference_video" => flag(self.reference_video),
            "service_mode" => self.service_mode.clone(),
            "task" => self.task.clone(),
            "spec" => self.spec.clone(),
            "aspect" => self.aspect.clone(),
            "prompt_extend" => flag(self.prompt_extend),
            _ => self.volume.map(|volume| volume.to_string()),
        }
    }
}
