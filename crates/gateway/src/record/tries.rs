//! What became of each time that a request was sent, for its entry in the ledger.

use bailian_ledger::{Attempt, MOST_ATTEMPTS};
use http::StatusCode;

use crate::account::Account;
use crate::metrics::Outcome;
use crate::route::Target;

/// The first times, as many as the ledger lists.
#[derive(Debug, Default)]
pub(super) struct Tries {
    list: Vec<Try>,
    /// The last of the list runs.
    is_open: bool,
}

#[derive(Debug)]
struct Try {
    target: Target,
    /// Of the answer's head; `None` where none came.
    status: Option<StatusCode>,
    outcome: Outcome,
}

impl Tries {
    /// It goes out.
    pub(super) fn begin(&mut self, target: &Target) {
        // What goes on without having failed is one part of several.
        self.end(Outcome::Completed);
        if self.list.len() == MOST_ATTEMPTS {
            return;
        }
        self.is_open = true;
        self.list.push(Try {
            target: target.clone(),
            status: None,
            outcome: Outcome::Completed,
        });
    }

    /// The head of its answer came.
    pub(super) fn note_status(&mut self, status: StatusCode) {
        if let Some(last) = self.list.last_mut().filter(|_| self.is_open) {
            last.status = Some(status);
        }
    }

    /// It ended, unless that was said before.
    pub(super) fn end(&mut self, outcome: Outcome) {
        if let Some(last) = self.list.last_mut().filter(|_| self.is_open) {
            last.outcome = outcome;
            self.is_open = false;
        }
    }

    /// In the ledger's words. `model`: as the caller names it.
    pub(super) fn listed<'a>(
        &'a self,
        accounts: &'a [Account],
        model: &'a str,
    ) -> Vec<Attempt<'a>> {
        let attempt = |it: &'a Try| {
            Attempt::new(
                accounts.get(it.target.account).map_or("", Account::name),
                it.target.model.as_deref().unwrap_or(model),
                it.outcome.as_str(),
                it.status.map(|status| status.as_u16()),
            )
        };
        self.list.iter().map(attempt).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_times_are_listed_and_a_later_one_changes_none_of_them() {
        let mut tries = Tries::default();
        let target = Target::in_account(0);
        for _ in 0..MOST_ATTEMPTS {
            tries.begin(&target);
            tries.note_status(StatusCode::TOO_MANY_REQUESTS);
            tries.end(Outcome::UpstreamError);
        }
        tries.begin(&target);
        tries.note_status(StatusCode::OK);
        tries.end(Outcome::Completed);
        let listed = tries.listed(&[], "qwen-plus");
        assert_eq!(listed.len(), MOST_ATTEMPTS);
        assert!(
            listed
                .iter()
                .all(|it| it.outcome.as_str() == "upstream_error" && it.status == Some(429))
        );
    }
}
