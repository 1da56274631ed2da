//! A message out of a page or a plain line.

/// How much of it is shown.
const SHOWN_CHARS: usize = 300;

/// The text of a page without its markup, short and on one line.
pub(super) fn readable(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if shown.len() >= 4 * SHOWN_CHARS {
            break;
        }
        if let Some(after) = skip_markup(rest) {
            rest = after;
            shown.push(' ');
            continue;
        }
        shown.push(if c.is_control() { ' ' } else { c });
        rest = &rest[c.len_utf8()..];
    }
    let words: Vec<&str> = shown.split_whitespace().collect();
    words.join(" ").chars().take(SHOWN_CHARS).collect()
}

/// What comes after the tag, comment, style or script that `text` begins with.
fn skip_markup(text: &str) -> Option<&str> {
    let tag = text.strip_prefix('<')?;
    if !tag.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '!') {
        return None;
    }
    for element in ["style", "script"] {
        let is_element = tag
            .get(..element.len())
            .is_some_and(|name| name.eq_ignore_ascii_case(element));
        if is_element && let Some(end) = tag.find("</") {
            return Some(after_bracket(&tag[end..]));
        }
    }
    Some(after_bracket(tag))
}

fn after_bracket(text: &str) -> &str {
    text.split_once('>').map_or("", |(_, after)| after)
}
