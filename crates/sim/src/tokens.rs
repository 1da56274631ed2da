//! Plausible tokens: about 0.6 per Chinese character, about one per four Latin letters.

use std::ops::Range;

/// Text, cut into tokens. Any run of tokens is a slice of the text, so that frames copy nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tokens {
    text: String,
    /// Where each token ends.
    ends: Vec<usize>,
}

impl Tokens {
    /// Cuts text into tokens.
    pub(crate) fn split(text: impl Into<String>) -> Self {
        let text = text.into();
        let mut ends = Vec::new();
        each_end(&text, |end| ends.push(end));
        Self { text, ends }
    }

    /// Tokens that are given.
    pub(crate) fn from_words(words: impl Iterator<Item = &'static str>) -> Self {
        let mut tokens = Self::default();
        for word in words {
            tokens.text.push_str(word);
            tokens.ends.push(tokens.text.len());
        }
        tokens
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// The text of these tokens; what does not exist is left out.
    pub(crate) fn slice(&self, range: Range<usize>) -> &str {
        &self.text[self.end(range.start)..self.end(range.end.max(range.start))]
    }

    /// Keeps the first `length` tokens.
    pub(crate) fn truncate(&mut self, length: usize) {
        self.text.truncate(self.end(length));
        self.ends.truncate(length);
    }

    /// Where the first `count` tokens end.
    fn end(&self, count: usize) -> usize {
        match count.min(self.ends.len()) {
            0 => 0,
            count => self.ends[count - 1],
        }
    }
}

/// How many tokens a text has.
pub(crate) fn count(text: &str) -> u64 {
    let mut count = 0;
    each_end(text, |_| count += 1);
    count
}

/// Calls `found` with the end of each token.
fn each_end(text: &str, mut found: impl FnMut(usize)) {
    let mut wide_run = 0usize;
    let mut length = 0;
    for (at, c) in text.char_indices() {
        let wide = is_wide(c);
        let starts = if wide {
            // Of five wide characters the first two, the next two and the last are a token each.
            (wide_run % 5).is_multiple_of(2)
        } else {
            wide_run > 0 || length >= 5 || c == ' ' || c == '\n'
        };
        if starts && length > 0 {
            found(at);
            length = 0;
        }
        wide_run = if wide { wide_run + 1 } else { 0 };
        length += 1;
    }
    if length > 0 {
        found(text.len());
    }
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
            let tokens = Tokens::split(text);
            let joined: String = (0..tokens.len())
                .map(|at| tokens.slice(at..at + 1))
                .collect();
            assert_eq!(joined, text);
            assert_eq!(tokens.slice(0..usize::MAX), text);
            assert_eq!(tokens.len() as u64, count(text));
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

    #[test]
    fn a_shortened_text_ends_with_a_whole_token() {
        let mut tokens = Tokens::split("你好，世界 and more");
        tokens.truncate(2);
        assert_eq!((tokens.as_str(), tokens.len()), ("你好，世", 2));
        tokens.truncate(9);
        assert_eq!(tokens.len(), 2);
    }
}
