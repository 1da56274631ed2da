//! Why answers ended, in a few known words.

/// The words of all dialects. Whatever else upstream says is the last of them, so that nothing it
/// makes up is passed on to a collector.
const WORDS: [&str; 12] = [
    "stop",
    "length",
    "tool_calls",
    "function_call",
    "content_filter",
    "end_turn",
    "max_tokens",
    "stop_sequence",
    "tool_use",
    "pause_turn",
    "refusal",
    "other",
];

/// The most answers to one request that are told of.
const MOST: usize = 8;

/// The reasons of a request's answers, in the order in which they came. Needs no memory of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FinishReasons {
    words: [u8; MOST],
    count: u8,
}

impl FinishReasons {
    /// One more answer has ended.
    pub(crate) fn note(&mut self, reason: &[u8]) {
        let known = WORDS.iter().position(|word| word.as_bytes() == reason);
        let word = known.unwrap_or(WORDS.len() - 1);
        if let Some(place) = self.words.get_mut(usize::from(self.count)) {
            *place = u8::try_from(word).unwrap_or(u8::MAX);
            self.count += 1;
        }
    }

    /// Those of `others` follow.
    pub(crate) fn extend(&mut self, others: Self) {
        for word in others.words() {
            self.note(word.as_bytes());
        }
    }

    pub(crate) fn words(&self) -> impl Iterator<Item = &'static str> {
        let words = self.words.iter().take(usize::from(self.count));
        words.filter_map(|word| WORDS.get(usize::from(*word)).copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_few_words_and_bounded_in_number() {
        let mut reasons = FinishReasons::default();
        assert_eq!(reasons.words().count(), 0);
        reasons.note(b"stop");
        let mut more = FinishReasons::default();
        more.note(b"end_turn");
        more.note("秘密\r\n".as_bytes());
        reasons.extend(more);
        let words: Vec<_> = reasons.words().collect();
        assert_eq!(words, ["stop", "end_turn", "other"]);
        for _ in 0..100 {
            reasons.note(b"length");
        }
        assert_eq!(reasons.words().count(), MOST);
    }
}
