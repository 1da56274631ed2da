//! What matters in the frames of a stream, found in one pass and without parsing.
//!
//! Inside a JSON string a quotation mark would be escaped, so words with quotation marks are never
//! found in what a model says.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};
use memchr::memchr2;

/// What was found in frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each word is there or not")]
pub(super) struct Marks {
    /// Where the object of the last report of usage begins.
    pub(super) report: Option<usize>,
    /// There are pieces of tool calls.
    pub(super) calls: bool,
    /// There is a word that errors have. A text may say it, too.
    pub(super) maybe_error: bool,
    /// An answer says why it ends.
    pub(super) finish: bool,
    /// The mark that ends a stream of chat completions.
    pub(super) done: bool,
}

/// A text that was found, as it is spelled in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said<'a> {
    Text(&'a [u8]),
    Thinking(&'a [u8]),
}

const WORDS: [&str; 7] = [
    "\"usage\":",
    // Thinking has a name that ends alike.
    "content\":\"",
    "\"finish_reason\":\"",
    "\"tool_calls\":[",
    "error",
    "\"code\":",
    "[DONE]",
];

static SEARCH: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    AhoCorasick::builder()
        .match_kind(MatchKind::LeftmostFirst)
        .build(WORDS)
        .ok()
});

/// Looks at whole frames; `said` hears every text.
pub(super) fn scan<'a>(frames: &'a [u8], mut said: impl FnMut(Said<'a>)) -> Marks {
    let mut marks = Marks::default();
    // Seven short words always build, so nothing is ever missed for want of a search.
    let Some(search) = &*SEARCH else {
        return marks;
    };
    for found in search.find_iter(frames) {
        let rest = frames.get(found.end()..).unwrap_or_default();
        match found.pattern().as_usize() {
            0 => {
                let blanks = rest.iter().take_while(|byte| byte.is_ascii_whitespace());
                let start = found.end() + blanks.count();
                if frames.get(start) == Some(&b'{') {
                    marks.report = Some(start);
                }
            }
            1 => {
                let spelled = rest.get(..end_of_string(rest)).unwrap_or_default();
                match frames.get(..found.start()).and_then(<[u8]>::last) {
                    Some(b'"') => said(Said::Text(spelled)),
                    Some(b'_') => said(Said::Thinking(spelled)),
                    _ => {}
                }
            }
            2 => marks.finish = true,
            3 => marks.calls = true,
            4 | 5 => marks.maybe_error = true,
            _ => marks.done = true,
        }
    }
    marks
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
            };
            heard.push(format!("{kind} {}", String::from_utf8_lossy(spelled)));
        });
        (marks, heard)
    }

    #[test]
    fn everything_is_found_in_one_pass() {
        let (found, heard) = marks(
            r#"{"delta":{"reasoning_content":"想","content":"a\"b\\"},"usage":null}{"tool_calls":[]}{"finish_reason":"stop","usage": {"x":1}}[DONE]"#,
        );
        assert_eq!(heard, ["thinking 想", r#"text a\"b\\"#]);
        assert!(found.calls && found.finish && found.done && !found.maybe_error);
        assert!(found.report.is_some());
        let (found, heard) = marks("event:error");
        assert!(found.maybe_error && heard.is_empty());
        assert!(marks(r#"{"code":"X"}"#).0.maybe_error);
    }

    #[test]
    fn what_a_model_says_of_such_words_is_not_taken_for_them() {
        let text = r#"{"content":"\"usage\":{ \"tool_calls\":[ \"finish_reason\":\"stop\""}"#;
        let (found, heard) = marks(text);
        assert_eq!(found, Marks::default());
        assert_eq!(heard.len(), 1);
    }
}
