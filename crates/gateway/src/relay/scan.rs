//! What matters in the frames of a stream, found in one pass and without parsing.
//!
//! Inside a JSON string a quotation mark would be escaped, so words with quotation marks are never
//! found in what a model says.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};
use memchr::{memchr, memchr2, memmem};

use crate::finish::FinishReasons;

/// What was found in frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    /// Where the object of the last report of usage begins.
    pub(super) report: Option<usize>,
    /// There are pieces of tool calls, in the form of chat completions.
    pub(super) calls: bool,
    /// There is a word that errors have. A text may say it, too.
    pub(super) maybe_error: bool,
    /// How many answers say why they end.
    pub(super) finishes: u32,
    /// What they say.
    pub(super) reasons: FinishReasons,
    /// The mark that ends a stream of chat completions.
    pub(super) done: bool,
}

/// Something of an answer that was found, texts as they are spelled in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said<'a> {
    Text(&'a [u8]),
    Thinking(&'a [u8]),
    /// What a stream of responses adds: to a text, to its thinking or to a call.
    Delta(&'a [u8]),
    /// What is no text: calls with what of their arguments was found, sound, pictures, contents in
    /// parts.
    Other(&'a [u8]),
}

/// What to look for. A name is followed by its colon; blanks may follow that.
const WORDS: [&str; 16] = [
    "\"usage\":",
    // Thinking has a name that ends alike.
    "content\":",
    // Of Anthropic's texts, and of parts of native contents.
    "\"text\":",
    // A name, or the kind of a block.
    "\"thinking\"",
    "\"finish_reason\":",
    "\"stop_reason\":",
    "\"tool_calls\":",
    "\"partial_json\":",
    "\"audio\":",
    "\"image\":",
    "\"ocr_result\":",
    "error",
    "\"code\":",
    "[DONE]",
    "\"tool_use\"",
    "\"delta\":",
];

static SEARCH: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    AhoCorasick::builder()
        .match_kind(MatchKind::LeftmostFirst)
        .build(WORDS)
        .ok()
});

/// Looks at whole frames; `said` hears everything that an answer says.
pub(super) fn scan<'a>(frames: &'a [u8], mut said: impl FnMut(Said<'a>)) -> Marks {
    let mut marks = Marks::default();
    // So few short words always build, so nothing is ever missed for want of a search.
    let Some(search) = &*SEARCH else {
        return marks;
    };
    for found in search.find_iter(frames) {
        let rest = frames.get(found.end()..).unwrap_or_default();
        let blanks = rest.iter().take_while(|byte| **byte == b' ').count();
        let start = found.end() + blanks;
        let value = frames.get(start..).unwrap_or_default();
        match (found.pattern().as_usize(), string(value)) {
            (0, _) if value.first() == Some(&b'{') => marks.report = Some(start),
            (1, Some(spelled)) => match frames.get(..found.start()).and_then(<[u8]>::last) {
                Some(b'"') => said(Said::Text(spelled)),
                Some(b'_') => said(Said::Thinking(spelled)),
                _ => {}
            },
            (2, Some(spelled)) => said(Said::Text(spelled)),
            (3, None) => said(match value.strip_prefix(b":") {
                Some(value) => Said::Thinking(string(value.trim_ascii_start()).unwrap_or_default()),
                None => Said::Other(b""),
            }),
            // Running native answers end for the reason `"null"` (http-native.md §3).
            (4 | 5, Some(spelled)) if spelled != b"null" => {
                marks.finishes += 1;
                marks.reasons.note(spelled);
            }
            (6, None) if value.starts_with(b"[") && !value.starts_with(b"[]") => {
                marks.calls = true;
                said(Said::Other(arguments(value)));
            }
            (7, Some(spelled)) => said(Said::Other(spelled)),
            (14, _) => said(Said::Other(b"")),
            (15, Some(spelled)) => said(Said::Delta(spelled)),
            (8..=10, _) if !value.starts_with(b"null") => said(Said::Other(b"")),
            (11 | 12, _) => marks.maybe_error = true,
            (13, _) => marks.done = true,
            _ => {}
        }
    }
    marks
}

/// The first arguments in a list of calls, as far as they stand on its line.
fn arguments(calls: &[u8]) -> &[u8] {
    const NAME: &[u8] = b"\"arguments\":";
    let line = memchr(b'\n', calls).map_or(calls, |end| &calls[..end]);
    let value = memmem::find(line, NAME).map(|at| line[at + NAME.len()..].trim_ascii_start());
    value.and_then(string).unwrap_or_default()
}

/// What a value says, if it is a string.
fn string(value: &[u8]) -> Option<&[u8]> {
    let spelled = value.strip_prefix(b"\"")?;
    spelled.get(..end_of_string(spelled))
}

/// Where a string ends, from its first character: before its closing quotation mark.
fn end_of_string(spelled: &[u8]) -> usize {
    let mut at = 0;
    while let Some(next) = memchr2(b'"', b'\\', &spelled[at..]) {
        if spelled[at + next] == b'"' {
            return at + next;
        }
        at = (at + next + 2).min(spelled.len());
    }
    spelled.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(frames: &str) -> (Marks, Vec<String>) {
        let mut heard = Vec::new();
        let marks = scan(frames.as_bytes(), |said| {
            let (kind, spelled) = match said {
                Said::Text(spelled) => ("text", spelled),
                Said::Thinking(spelled) => ("thinking", spelled),
                Said::Delta(spelled) => ("delta", spelled),
                Said::Other(spelled) => ("other", spelled),
            };
            heard.push(format!("{kind} {}", String::from_utf8_lossy(spelled)));
        });
        (marks, heard)
    }

    #[test]
    fn everything_is_found_in_one_pass() {
        let (found, heard) = marks(
            r#"{"delta":{"reasoning_content":"想","content": "a\"b\\"},"usage":null}{"tool_calls":[{}]}{"finish_reason":"stop","usage": {"x":1}}[DONE]"#,
        );
        assert_eq!(heard, ["thinking 想", r#"text a\"b\\"#, "other "]);
        assert!(found.calls && found.done && !found.maybe_error);
        assert_eq!(found.finishes, 1);
        assert_eq!(found.reasons.words().collect::<Vec<_>>(), ["stop"]);
        assert!(found.report.is_some());
        let (found, heard) = marks("event:error");
        assert!(found.maybe_error && heard.is_empty());
        assert!(marks(r#"{"code":"X"}"#).0.maybe_error);
    }

    #[test]
    fn every_dialect_says_its_texts() {
        for (frame, said, finishes) in [
            (
                r#"{"finish_reason":"null","message":{"content":[{"text":"你"}]}}"#,
                "text 你",
                0,
            ),
            (
                r#"{"delta":{"type":"text_delta","text":"你"},"stop_reason":null}"#,
                "text 你",
                0,
            ),
            (
                r#"{"delta":{"type":"thinking_delta","thinking":"想"}}"#,
                "thinking 想",
                0,
            ),
            (
                r#"{"delta":{"type":"input_json_delta","partial_json":"{"}}"#,
                "other {",
                0,
            ),
            (
                r#"{"delta":{"tool_calls":[{"index":0,"function":{"arguments": "{\"城市"}}]}}"#,
                r#"other {\"城市"#,
                0,
            ),
            (
                r#"{"type":"response.output_text.delta","delta":"你"}"#,
                "delta 你",
                0,
            ),
            (
                r#"{"audio":{"data":"AA"},"stop_reason":"end_turn"}"#,
                "other ",
                1,
            ),
        ] {
            let (found, heard) = marks(frame);
            assert_eq!(heard, [said], "{frame}");
            assert_eq!(found.finishes, finishes, "{frame}");
        }
        let nothing = r#"{"content":null,"tool_calls":[],"audio":null,"reasoning_content":null}"#;
        assert_eq!(marks(nothing), (Marks::default(), Vec::new()));
    }

    #[test]
    fn what_a_model_says_of_such_words_is_not_taken_for_them() {
        let text = r#"{"content":"\"usage\":{ \"tool_calls\":[ \"finish_reason\":\"stop\""}"#;
        let (found, heard) = marks(text);
        assert_eq!(found, Marks::default());
        assert_eq!(heard.len(), 1);
    }
}
