//! Tokens as the model service reports them.

use bailian_wire::chat::Usage;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

/// Tokens that upstream reported, in the words of either dialect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[expect(clippy::struct_field_names, reason = "the words that the service uses")]
pub(crate) struct TokenCounts {
    /// All input, cached input included.
    pub(crate) input_tokens: u64,
    /// All output, thinking included.
    pub(crate) output_tokens: u64,
    /// Input that was read from the provider's cache.
    pub(crate) cached_tokens: u64,
    /// Output that was spent on thinking.
    pub(crate) reasoning_tokens: u64,
}

impl TokenCounts {
    /// The counts of a report of OpenAI's or the service's own form that was read whole.
    pub(crate) fn of(report: &Usage) -> Self {
        Self {
            input_tokens: report.input_tokens,
            output_tokens: report.output_tokens,
            cached_tokens: report.cached_tokens.unwrap_or(0),
            reasoning_tokens: report.reasoning_tokens.unwrap_or(0),
        }
    }
}

/// A report as it stands in an answer. Reports may name the same detail in both dialects' words, so
/// that each word has a field.
#[derive(Deserialize)]
struct Report<'a> {
    #[serde(alias = "prompt_tokens", default, deserialize_with = "lenient")]
    input_tokens: u64,
    #[serde(alias = "completion_tokens", default, deserialize_with = "lenient")]
    output_tokens: u64,
    #[serde(default, deserialize_with = "lenient")]
    cache_read_input_tokens: u64,
    #[serde(default, deserialize_with = "lenient")]
    cached_tokens: u64,
    #[serde(default, deserialize_with = "lenient")]
    reasoning_tokens: u64,
    #[serde(borrow, default)]
    prompt_tokens_details: Option<&'a RawValue>,
    #[serde(borrow, default)]
    input_tokens_details: Option<&'a RawValue>,
    #[serde(borrow, default)]
    completion_tokens_details: Option<&'a RawValue>,
    #[serde(borrow, default)]
    output_tokens_details: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Details {
    #[serde(default, deserialize_with = "lenient")]
    cached_tokens: u64,
    #[serde(default, deserialize_with = "lenient")]
    reasoning_tokens: u64,
}

impl<'de> Deserialize<'de> for TokenCounts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let report = Report::deserialize(deserializer)?;
        let input = details(report.prompt_tokens_details, report.input_tokens_details);
        let output = details(
            report.completion_tokens_details,
            report.output_tokens_details,
        );
        Ok(Self {
            input_tokens: report.input_tokens,
            output_tokens: report.output_tokens,
            cached_tokens: input
                .cached_tokens
                .max(report.cache_read_input_tokens)
                .max(report.cached_tokens),
            reasoning_tokens: output.reasoning_tokens.max(report.reasoning_tokens),
        })
    }
}

/// The first of these that is there and is an object.
fn details(one: Option<&RawValue>, other: Option<&RawValue>) -> Details {
    let parse = |raw: &RawValue| serde_json::from_str(raw.get()).ok();
    one.and_then(parse)
        .or_else(|| other.and_then(parse))
        .unwrap_or_default()
}

/// `null`, a fraction or a word in place of a count is no reason to lose the other count.
fn lenient<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let value = <&RawValue>::deserialize(deserializer)?;
    Ok(value.get().parse().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_read_in_the_words_of_every_dialect() {
        let expected = TokenCounts {
            input_tokens: 16,
            output_tokens: 53,
            cached_tokens: 4,
            reasoning_tokens: 10,
        };
        for text in [
            r#"{"prompt_tokens":16,"completion_tokens":53,"prompt_tokens_details":{"cached_tokens":4,"audio_tokens":null},"completion_tokens_details":{"reasoning_tokens":10}}"#,
            r#"{"input_tokens":16,"output_tokens":53,"input_tokens_details":null,"prompt_tokens_details":{"cached_tokens":4},"output_tokens_details":{"reasoning_tokens":10}}"#,
        ] {
            assert_eq!(serde_json::from_str::<TokenCounts>(text).unwrap(), expected);
            let whole = Usage::from_value(serde_json::from_str(text).unwrap());
            assert_eq!(TokenCounts::of(&whole), expected);
        }
        let anthropic = r#"{"input_tokens":12,"output_tokens":53,"cache_read_input_tokens":4}"#;
        let counts: TokenCounts = serde_json::from_str(anthropic).unwrap();
        assert_eq!((counts.cached_tokens, counts.reasoning_tokens), (4, 0));
    }

    #[test]
    fn details_that_are_none_lose_no_count() {
        let text = r#"{"input_tokens":3,"output_tokens":null,"prompt_tokens_details":"x","output_tokens_details":[1]}"#;
        let counts: TokenCounts = serde_json::from_str(text).unwrap();
        assert_eq!((counts.input_tokens, counts.output_tokens), (3, 0));
    }
}
