//! Plausible tokens: about 0.6 per Chinese character, about one per four Latin letters.

/// Cuts text into tokens. Joined, they give the text again.
pub(crate) fn split(text: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut wide_run = 0usize;
    let mut current = String::new();
    let mut limit = 0usize;
    for c in text.chars() {
        let wide = is_wide(c);
        // Of five wide characters the first two, the next two and the last are a token each.
        let starts = if wide {
            (wide_run % 5).is_multiple_of(2)
        } else {
            limit == 0 || current.chars().count() >= limit || c == ' ' || c == '\n'
        };
        if (starts || wide != (wide_run > 0)) && !current.is_empty() {
            tokens.push(std::mem::take(&mut current));
        }
        if wide {
            wide_run += 1;
            limit = 0;
        } else {
            wide_run = 0;
            limit = 5;
        }
        current.push(c);
    }
    if !current.is_empty() {
        tokens.push(current);
    }
    tokens
}

/// How many tokens a text has.
pub(crate) fn count(text: &str) -> u64 {
    split(text).len() as u64
}

fn is_wide(c: char) -> bool {
    matches!(u32::from(c), 0x2E80..=0x9FFF | 0xAC00..=0xD7A3 | 0xF900..=0xFAFF | 0xFF00..=0xFFEF | 0x1_F000..=0x3_FFFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_joined_give_the_text_again() {
        for text in [
            "",
            "a",
            "Hello, world! 你好，我是通义千问😀。👩‍👩‍👧‍👦é𠮷野家",
            "  \n\n x",
        ] {
            assert_eq!(split(text).concat(), text);
        }
    }

    #[test]
    fn counts_are_plausible() {
        let chinese = "春眠不觉晓处处闻啼鸟".repeat(10);
        assert_eq!(count(&chinese), 60);
        let english = "The quick brown fox jumps over the lazy dog. ".repeat(10);
        let per_letter = english.len() as f64 / count(&english) as f64;
        assert!((3.0..5.0).contains(&per_letter), "{per_letter}");
    }
}
