//! What a streamed answer cost: as upstream reported, and as estimated where it did not.

use bailian_wire::stream::StreamSurface;
use bailian_wire::tokens;

use super::super::Call;
use super::StreamBody;
use crate::usage::TokenCounts;

/// What an answer cost.
#[derive(Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) counts: TokenCounts,
    /// Upstream did not report all of it.
    pub(super) is_guessed: bool,
}

/// What a call's input comes to.
pub(super) fn input_of(call: &Call) -> u64 {
    tokens::estimate_request(&call.bytes).input_tokens
}

impl StreamBody {
    /// What the answer cost, as far as that can be known. `None`: nothing was reported, nor said.
    pub(super) fn tally(&self) -> Option<Tally> {
        let prior = self.writer.prior();
        let has_prior = prior != TokenCounts::default();
        let has_begun = self.progress.as_ref().is_some_and(|it| it.frames() > 0);
        let reported = self.writer.usage();
        let call = self.resume.as_ref().map(|resume| &resume.call);
        let estimated = self.record.as_ref().and_then(|it| it.estimated_input());
        match (call, estimated) {
            (Some(call), _) if reported.is_some() || has_prior || has_begun => {
                Some(self.spent(|| input_of(call)))
            }
            (None, Some(input)) if has_begun && !has_prior => Some(self.spent(|| input)),
            // The rest did not come, or nobody follows what is said.
            _ => reported.or(has_prior.then_some(prior)).map(|counts| Tally {
                counts,
                is_guessed: self.has_guessed || !self.is_reported(),
            }),
        }
    }

    /// What all parts of the answer cost so far: as reported, else as estimated.
    /// `input`: an estimate of what was sent.
    pub(super) fn spent(&self, input: impl FnOnce() -> u64) -> Tally {
        let reported = self.writer.usage();
        if let Some(counts) = reported.filter(|_| self.is_reported()) {
            let is_guessed = self.has_guessed;
            return Tally { counts, is_guessed };
        }
        let prior = self.writer.prior();
        let progress = self.progress.as_ref();
        let output = progress.map_or(0, |progress| progress.tokens(self.seam));
        let output_tokens = prior.output_tokens.saturating_add(output);
        let counts = match reported {
            Some(reported) => TokenCounts {
                output_tokens: output_tokens.max(reported.output_tokens),
                ..reported
            },
            None => TokenCounts {
                input_tokens: prior.input_tokens.saturating_add(input()),
                output_tokens,
                ..prior
            },
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
