//! The end of a request in budgets and in the ledger.

use std::time::Duration;

use bailian_wire::chat::Usage;
use serde_json::json;

use super::Record;
use crate::account::Account;
use crate::accounting::{Asked, Done};
use crate::metrics::Outcome;

impl Record {
    pub(super) fn settle_charge(&mut self, elapsed: Duration) {
        if self.from_cache {
            self.book_hit(elapsed);
            return;
        }
        let Some(charge) = self.charge.take() else {
            return;
        };
        let guessed;
        let report = match (self.report.as_deref(), self.usage) {
            (Some(report), _) => Some(report),
            (None, Some(counts)) => {
                guessed = Usage::from_value(json!({
                    "input_tokens": counts.input_tokens,
                    "output_tokens": counts.output_tokens,
                    "prompt_tokens_details": { "cached_tokens": counts.cached_tokens },
                }));
                Some(&guessed)
            }
            (None, None) => None,
        };
        let target = self.target.as_ref();
        let account = target.and_then(|target| self.state.accounts.get(target.account));
        let asked = self.model.as_deref().unwrap_or_default();
        let upstream_model = target
            .and_then(|target| target.model.as_deref())
            .unwrap_or(asked);
        charge.settle(&Done {
            account: account.map(Account::name),
            region: account.and_then(|account| account.region.as_deref()),
            upstream_model,
            attempts: self.attempts,
            attempt_list: self.tries.listed(&self.state.accounts, asked),
            usage: report,
            is_estimated: self.is_estimated,
            owes_its_prompt: self.owes_its_prompt(),
            outcome: self.outcome.as_str(),
            status: self.status.as_u16(),
            queued: self.queued,
            first_token: self.first_byte,
            total: elapsed,
            is_stream: self.stream.is_some(),
            upstream_id: self.upstream_id.as_deref(),
            error_code: self.error_code.as_deref(),
        });
    }

    /// Whether what upstream may have read is to be paid for, though it reported nothing.
    fn owes_its_prompt(&self) -> bool {
        match self.outcome {
            Outcome::ClientLeft | Outcome::UpstreamLost => true,
            // An error instead of an answer costs nothing; one that ends an answer does not make
            // what was said free.
            Outcome::UpstreamError | Outcome::Refused => self.first_byte.is_some(),
            // Of other calls nobody knows that they cost tokens.
            Outcome::Completed => matches!(
                self.surface,
                "chat" | "responses" | "completions" | "embeddings"
            ),
        }
    }

    /// An answer out of the cache cost nothing, and is in the ledger all the same.
    fn book_hit(&mut self, elapsed: Duration) {
        let (Some(accounting), Some(owner), Some(model)) =
            (&self.state.accounting, &self.owner, &self.model)
        else {
            return;
        };
        let charge = accounting.admit(&Asked {
            id: self.request_id.uuid(),
            started_unix_ms: self.state.clock.unix_millis(),
            key_name: &owner.name,
            tenant_name: &owner.tenant,
            caller: owner.caller.as_deref(),
            surface: self.surface,
            dialect: self.dialect.as_str(),
            model,
            upstream_model: model,
            region: None,
            is_limited: false,
            input_tokens: 0,
            max_output: Some(0),
        });
        // Nothing limits what costs nothing.
        let Ok(charge) = charge else { return };
        charge.settle(&Done {
            account: Some("cache"),
            region: None,
            upstream_model: model,
            attempts: 0,
            attempt_list: Vec::new(),
            usage: None,
            is_estimated: false,
            owes_its_prompt: false,
            outcome: self.outcome.as_str(),
            status: self.status.as_u16(),
            queued: self.queued,
            first_token: self.first_byte,
            total: elapsed,
            is_stream: self.stream.is_some(),
            upstream_id: None,
            error_code: None,
        });
    }
}
