//! What is not certain of the service, or not the same everywhere, as switches.

use serde::{Deserialize, Serialize};

/// Switches for what is reported of the service in more than one form. Each has the documented
/// form, or the likelier one, as its default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a form of its own, whatever the others are"
)]
#[non_exhaustive]
pub struct Quirks {
    /// Long beginnings that were sent before count as cached though nobody asked (compat.md §2.9).
    pub implicit_cache: bool,
    /// How the compatible surface writes what usage consists of (compat.md §2.13).
    pub usage_details: UsageDetails,
    /// How compatible streams write the member of a delta that has nothing (compat.md §2.14).
    pub unused_delta: UnusedDelta,
    /// `input_tokens` of Anthropic messages has what was cached in it, as on the other surfaces;
    /// the pages do not say (compat.md §6.2).
    pub anthropic_input_has_cached: bool,
    /// Errors of Anthropic messages with HTTP 400 have their message at the top level, as one client
    /// reports (compat.md §6.4).
    pub anthropic_plain_errors: bool,
    /// `stop_reason` of Anthropic messages is `stop_sequence` where a stop text ended them, and
    /// names it; the pages say both that and that it never is (compat.md §6.2).
    pub anthropic_stop_sequence: bool,
    /// Pieces of a call in a stream of a response are `response.custom_tool_call_input.*`, as the
    /// pages list them, in place of `response.function_call_arguments.*` (compat.md §5.3).
    pub custom_tool_call_input: bool,
    /// Streams of responses have the irregularities of the published samples (compat.md §5.3):
    /// thinking is added at place 0 and done at place 1, the last event has no
    /// `sequence_number`, `created_at` is a float.
    pub irregular_responses: bool,
    /// Errors that `sse_framed_errors` frames are said to be JSON.
    pub framed_errors_as_json: bool,
    /// After so many milliseconds a plain answer ends (compat.md §1.5); 0 means never.
    pub plain_answer_limit_ms: u64,
    /// Such an answer is a 500 `RequestTimeOut`, as of older models, in place of what was made so
    /// far.
    pub plain_answer_limit_fails: bool,
}

impl Default for Quirks {
    fn default() -> Self {
        Self {
            implicit_cache: true,
            usage_details: UsageDetails::default(),
            unused_delta: UnusedDelta::default(),
            anthropic_input_has_cached: false,
            anthropic_plain_errors: false,
            anthropic_stop_sequence: false,
            framed_errors_as_json: false,
            custom_tool_call_input: false,
            irregular_responses: false,
            plain_answer_limit_ms: 300_000,
            plain_answer_limit_fails: false,
        }
    }
}

/// How usage of the compatible surface tells what it consists of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum UsageDetails {
    /// What is there.
    #[default]
    Full,
    /// What is not there is null.
    NullMembers,
    /// The objects are null.
    Null,
    /// The objects are not there.
    Absent,
}

/// How the text of a delta that thinks, and the thinking of one that speaks, is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum UnusedDelta {
    /// As null.
    #[default]
    Null,
    /// As an empty text.
    Empty,
    /// Not at all.
    Absent,
}
