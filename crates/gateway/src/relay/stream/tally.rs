//! What a streamed answer cost: as upstream reported, and as estimated where it did not.

use bailian_wire::stream::StreamSurface;
use bailian_wire::tokens;

use super::super::Call;
use super::super::progress::Progress;
use super::StreamBody;
use crate::usage::TokenCounts;

/// What an answer cost.
#[derive(Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) counts: TokenCounts,
    /// Upstream did not report all of it.
    pub(super) is_guessed: bool,
}

impl StreamBody {
    /// What the answer cost, as far as that can be known. `None`: nothing was reported, nor said.
    pub(super) fn tally(&self) -> Option<Tally> {
        let prior = self.writer.prior();
        let has_prior = prior != TokenCounts::default();
        let has_begun = self.progress.as_ref().is_some_and(|it| it.frames() > 0);
        let reported = self.writer.usage();
        let of_resume = self.resume.as_ref();
        match of_resume.filter(|_| reported.is_some() || has_prior || has_begun) {
            Some(resume) => Some(self.spent(&resume.call)),
            // The rest did not come, or nobody follows what is said.
            None => reported.or(has_prior.then_some(prior)).map(|counts| Tally {
                counts,
                is_guessed: self.has_guessed || !self.is_reported(),
            }),
        }
    }

    /// What all parts of the answer cost so far: as reported, else as estimated.
    pub(super) fn spent(&self, call: &Call) -> Tally {
        let reported = self.writer.usage();
        if let Some(counts) = reported.filter(|_| self.is_reported()) {
            let is_guessed = self.has_guessed;
            return Tally { counts, is_guessed };
        }
        let prior = self.writer.prior();
        let text = self
            .progress
            .as_ref()
            .map_or_else(String::new, Progress::text);
        let output = tokens::estimate_text(text.get(self.seam..).unwrap_or(""));
        let output_tokens = prior.output_tokens.saturating_add(output);
        let counts = match reported {
            Some(reported) => TokenCounts {
                output_tokens: output_tokens.max(reported.output_tokens),
                ..reported
            },
            None => {
                let input = tokens::estimate_request(&call.bytes).input_tokens;
                TokenCounts {
                    input_tokens: prior.input_tokens.saturating_add(input),
                    output_tokens,
                    ..prior
                }
            }
        };
        Tally {
            counts,
            is_guessed: true,
        }
    }

    /// Whether the last report counts everything so far. Anthropic's streams report the input when
    /// they begin, and the output not before they end.
    fn is_reported(&self) -> bool {
        self.writer.usage().is_some()
            && (self.answering.from != StreamSurface::Anthropic || self.writer.is_finished())
    }
}
