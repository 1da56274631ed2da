//! Whether a message is one of the documented ones.

use super::{ErrorClass, ErrorEntry};

/// What stands in documented messages for something that varies.
const PLACEHOLDERS: [&str; 7] = [
    "xxx",
    "yyy",
    "{parameter}",
    "<time>",
    "<inner message>",
    "%s",
    "**********",
];

/// A first sentence shorter than this stands in messages of many kinds.
const TELLING_SENTENCE: usize = 20;

/// How many characters of one of the entry's messages stand in `message`; 0 when none of them fits.
pub(super) fn match_length(entry: &ErrorEntry, message: &str) -> usize {
    if entry.class == ErrorClass::RateLimitTokens {
        if message.contains("#token-limit") {
            return usize::MAX;
        }
        // The throttle's own text stands inside the one of a free allowance that is used up.
        if find_ignore_case(message, "free allocated quota").is_some() {
            return 0;
        }
    }
    let lengths = entry.messages.iter().map(|known| {
        let whole = fit(known, message);
        if whole == 0 {
            first_sentence(known).map_or(0, |sentence| fit(sentence, message))
        } else {
            whole
        }
    });
    lengths.max().unwrap_or(0)
}

/// Some surfaces send the first sentence only.
fn first_sentence(known: &str) -> Option<&str> {
    let (sentence, _) = known.split_once(". ")?;
    (sentence.len() >= TELLING_SENTENCE).then_some(sentence)
}

/// The length of the fixed parts of a documented message, if they stand in `message` in order.
fn fit(known: &str, message: &str) -> usize {
    let mut rest = message;
    let mut matched = 0;
    let mut known = known;
    while !known.is_empty() {
        let (part, after) = next_part(known);
        known = after;
        let part = part.trim().trim_end_matches(['.', '!']);
        if part.is_empty() {
            continue;
        }
        let Some(at) = find_ignore_case(rest, part) else {
            return 0;
        };
        matched += part.len();
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
    matched
}

/// The text before the first placeholder, and the text after it.
fn next_part(known: &str) -> (&str, &str) {
    PLACEHOLDERS
        .iter()
        .filter_map(|placeholder| known.split_once(placeholder))
        .min_by_key(|(before, _)| before.len())
        .unwrap_or((known, ""))
}

/// Compares only where the first letter fits: a long message is held against hundreds of texts.
fn find_ignore_case(text: &str, part: &str) -> Option<usize> {
    let (text, part) = (text.as_bytes(), part.as_bytes());
    let first = part.first()?;
    let starts = text.get(..(text.len() + 1).checked_sub(part.len())?)?;
    memchr::memchr2_iter(
        first.to_ascii_lowercase(),
        first.to_ascii_uppercase(),
        starts,
    )
    .find(|at| text[*at..at + part.len()].eq_ignore_ascii_case(part))
}
