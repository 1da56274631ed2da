//! Tokens as the model service reports them.

use serde::{Deserialize, Deserializer, Serialize};

/// Tokens that upstream reported, in the words of either dialect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct TokenCounts {
    /// All input, cached input included.
    #[serde(alias = "prompt_tokens", default, deserialize_with = "lenient")]
    pub(crate) input_tokens: u64,
    /// All output, thinking included.
    #[serde(alias = "completion_tokens", default, deserialize_with = "lenient")]
    pub(crate) output_tokens: u64,
}

/// `null`, a fraction or a word in place of a count is no reason to lose the other count.
fn lenient<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let value = <&serde_json::value::RawValue>::deserialize(deserializer)?;
    Ok(value.get().parse().unwrap_or(0))
}
