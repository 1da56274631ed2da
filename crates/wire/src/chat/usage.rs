//! What an answer cost, in tokens.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Token counts of an answer, in one vocabulary for all dialects (compat.md §8.8).
///
/// In a stream every report is a running total: the last one counts, they are not added.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Usage {
    /// All input, cached input included.
    pub input_tokens: u64,
    /// All output, thinking included.
    pub output_tokens: u64,
    /// Input and output; computed where the service leaves it out.
    pub total_tokens: u64,
    /// Input read from the cache.
    pub cached_tokens: Option<u64>,
    /// Input written to the explicit cache.
    pub cache_creation_tokens: Option<u64>,
    /// `implicit` or `ephemeral` (explicit).
    pub cache_type: Option<String>,
    /// Output spent on thinking.
    pub reasoning_tokens: Option<u64>,
    /// Text among the input.
    pub input_text_tokens: Option<u64>,
    /// Pictures among the input.
    pub input_image_tokens: Option<u64>,
    /// Video among the input.
    pub input_video_tokens: Option<u64>,
    /// Sound among the input.
    pub input_audio_tokens: Option<u64>,
    /// Text among the output.
    pub output_text_tokens: Option<u64>,
    /// Sound among the output.
    pub output_audio_tokens: Option<u64>,
    /// Web searches, billed apart.
    pub searches: Option<u64>,
    /// The report as received, with everything that has no field here.
    pub raw: Value,
}

impl Usage {
    /// Reads a usage object of any dialect. Counts that are `null` or no numbers are left out.
    pub fn from_value(raw: Value) -> Self {
        // One look-up a name: an answer has one report, and a gateway reads it for every request.
        let of = |places: &[Option<&Value>], name: &str| {
            let mut counts = places.iter().map(|place| (*place)?.get(name)?.as_u64());
            counts.find_map(|count| count)
        };
        let top = Some(&raw);
        let sent = [
            raw.get("prompt_tokens_details"),
            raw.get("input_tokens_details"),
        ];
        let written = [
            raw.get("output_tokens_details"),
            raw.get("completion_tokens_details"),
        ];
        let either = |first, second| of(&[top], first).or_else(|| of(&[top], second));
        let input_tokens = either("input_tokens", "prompt_tokens").unwrap_or(0);
        let output_tokens = either("output_tokens", "completion_tokens").unwrap_or(0);
        let media = |name| of(&[sent[0], sent[1], top], name);
        Self {
            input_tokens,
            output_tokens,
            total_tokens: of(&[top], "total_tokens")
                .unwrap_or_else(|| input_tokens.saturating_add(output_tokens)),
            cached_tokens: of(&sent, "cached_tokens")
                .or_else(|| either("cache_read_input_tokens", "cached_tokens")),
            cache_creation_tokens: of(&[sent[0], top], "cache_creation_input_tokens"),
            cache_type: sent[0]
                .and_then(|details| details.get("cache_type")?.as_str())
                .map(str::to_owned),
            reasoning_tokens: of(&written, "reasoning_tokens"),
            input_text_tokens: of(&sent, "text_tokens"),
            input_image_tokens: media("image_tokens"),
            input_video_tokens: media("video_tokens"),
            input_audio_tokens: media("audio_tokens"),
            output_text_tokens: of(&written, "text_tokens"),
            output_audio_tokens: of(&written, "audio_tokens"),
            searches: raw
                .get("plugins")
                .and_then(|plugins| plugins.get("search")?.get("count")?.as_u64()),
            raw,
        }
    }

    /// Reads a usage member; `null`, an empty object and anything else say nothing.
    pub fn from_member(member: Option<&Value>) -> Option<Self> {
        member
            .filter(|member| says_something(member))
            .cloned()
            .map(Self::from_value)
    }

    /// The same for a member that nobody needs any more.
    pub fn from_report(report: Value) -> Option<Self> {
        says_something(&report).then(|| Self::from_value(report))
    }
}

fn says_something(member: &Value) -> bool {
    member.as_object().is_some_and(|object| !object.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn both_vocabularies_give_the_same_counts() {
        let native = Usage::from_value(json!({
            "input_tokens": 16, "output_tokens": 53, "output_tokens_details": { "reasoning_tokens": 10 },
            "prompt_tokens_details": { "cached_tokens": 4 }, "plugins": { "search": { "count": 1 } },
        }));
        let openai = Usage::from_value(json!({
            "prompt_tokens": 16, "completion_tokens": 53, "total_tokens": 69,
            "completion_tokens_details": { "reasoning_tokens": 10 },
            "prompt_tokens_details": { "cached_tokens": 4, "audio_tokens": null },
        }));
        for usage in [&native, &openai] {
            assert_eq!(
                (usage.input_tokens, usage.output_tokens, usage.total_tokens),
                (16, 53, 69)
            );
            assert_eq!(
                (usage.reasoning_tokens, usage.cached_tokens),
                (Some(10), Some(4))
            );
        }
        assert_eq!(native.searches, Some(1));
    }

    #[test]
    fn an_empty_or_null_report_says_nothing() {
        assert_eq!(Usage::from_member(Some(&json!({}))), None);
        assert_eq!(Usage::from_member(Some(&Value::Null)), None);
        assert_eq!(Usage::from_member(None), None);
    }
}
