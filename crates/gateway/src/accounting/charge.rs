//! One request from its admission to its bill: what is held in budgets, and its entry in the ledger.

use std::sync::Arc;
use std::time::Duration;

use bailian_ledger::{
    Attempt, Begin, Currency as LedgerCurrency, Entry, Estimate as LedgerEstimate, Settlement,
    Tokens,
};
use bailian_tenants::budget::{Estimate, Reservation, Spent};
use bailian_tenants::{Caller, Currency, Money};
use bailian_wire::chat::Usage;
use rust_decimal::Decimal;
use serde_json::json;
use uuid::Uuid;

use super::Accounting;
use super::cost::{Place, Price};
use super::sendings::Sendings;
use crate::errors::Refusal;

/// Output that is reserved for a request that does not say how much it allows, in tokens. An answer
/// that is longer is counted in full, and is then the only way to overspend.
pub(crate) const EXPECTED_OUTPUT: u64 = 4_096;

/// What a request wants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) id: Uuid,
    pub(crate) started_unix_ms: u64,
    pub(crate) key_name: &'a str,
    pub(crate) tenant_name: &'a str,
    pub(crate) caller: Option<&'a Caller>,
    pub(crate) surface: &'a str,
    pub(crate) dialect: &'a str,
    /// The model as the caller named it, and as the first target does.
    pub(crate) model: &'a str,
    pub(crate) upstream_model: &'a str,
    pub(crate) region: Option<&'a str>,
    /// Whether any level limits what the caller does.
    pub(crate) is_limited: bool,
    pub(crate) input_tokens: u64,
    pub(crate) max_output: Option<u64>,
}

/// How a request ended.
#[derive(Clone, Debug)]
pub(crate) struct Done<'a> {
    pub(crate) account: Option<&'a str>,
    pub(crate) region: Option<&'a str>,
    pub(crate) upstream_model: &'a str,
    pub(crate) attempts: u32,
    pub(crate) attempt_list: Vec<Attempt<'a>>,
    pub(crate) usage: Option<&'a Usage>,
    /// The usage is a guess: upstream did not report it.
    pub(crate) is_estimated: bool,
    /// What upstream may have read is paid for, though it reported nothing.
    pub(crate) owes_its_prompt: bool,
    pub(crate) outcome: &'static str,
    pub(crate) status: u16,
    pub(crate) queued: Duration,
    pub(crate) first_token: Option<Duration>,
    pub(crate) total: Duration,
    pub(crate) is_stream: bool,
    pub(crate) upstream_id: Option<&'a str>,
    pub(crate) error_code: Option<&'a str>,
}

/// What a running request holds.
#[derive(Debug)]
pub(crate) struct Charge {
    accounting: Arc<Accounting>,
    reservation: Option<Reservation>,
    entry: Option<Entry>,
    started_unix_ms: u64,
    input_tokens: u64,
    sendings: Sendings,
}

impl Accounting {
    /// Lets a request in, or says which limit stands in the way.
    pub(crate) fn admit(self: &Arc<Self>, asked: &Asked<'_>) -> Result<Charge, Refusal> {
        let output = asked.max_output.unwrap_or(EXPECTED_OUTPUT);
        let place = Place {
            model: asked.upstream_model,
            region: asked.region,
            unix_ms: asked.started_unix_ms,
            promotions: self.promotions,
        };
        let price = place.estimate(&self.prices, asked.input_tokens, output);
        let reservation = match asked.caller {
            Some(caller) if asked.is_limited => {
                let spent = self.spent(&price, asked.input_tokens.saturating_add(output));
                if matches!(price, Price::Unpriced(_)) && pays_money(caller) {
                    return Err(Refusal::unpriced(asked.model));
                }
                let estimate = Estimate::of_request(spent);
                let held = self.budgets.reserve(caller, &estimate, self.now());
                Some(held.map_err(|refused| Refusal::limited(&refused))?)
            }
            _ => None,
        };
        let mut begin = Begin::new(asked.id, asked.started_unix_ms);
        let ids = asked
            .caller
            .map(|caller| (caller.tenant_id(), caller.project_id(), caller.key_id()));
        match &ids {
            Some((tenant, project, key)) => {
                begin.tenant = Some(tenant.as_str().into());
                begin.project = Some(project.as_str().into());
                begin.key_id = Some(key.as_str().into());
            }
            None => {
                begin.tenant = Some(asked.tenant_name.into());
                begin.key_id = Some(asked.key_name.into());
            }
        }
        begin.surface = Some(asked.surface.into());
        begin.dialect = Some(asked.dialect.into());
        begin.model = Some(asked.model.into());
        begin.estimate = LedgerEstimate::of_tokens(asked.input_tokens, output);
        if let Some((total, currency)) = paid(&price) {
            begin.estimate = begin.estimate.with_cost(total, currency);
        }
        Ok(Charge {
            entry: Some(self.ledger.begin(&begin)),
            reservation,
            accounting: Arc::clone(self),
            started_unix_ms: asked.started_unix_ms,
            input_tokens: asked.input_tokens,
            sendings: Sendings::default(),
        })
    }

    fn spent(&self, price: &Price, tokens: u64) -> Spent {
        let mut spent = Spent {
            tokens,
            ..Spent::default()
        };
        if let Price::Paid { total, currency } = price {
            let money = currency
                .parse::<Currency>()
                .ok()
                .and_then(|currency| Money::from_decimal_up(*total, currency).ok());
            match self.rates.cost(money) {
                Ok(cost) => spent.cost = cost,
                Err(error) => tracing::error!(%error, "a price cannot be counted in budgets"),
            }
        }
        spent
    }
}

impl Charge {
    /// What the request's input was estimated to be when it was let in.
    pub(crate) fn input_tokens(&self) -> u64 {
        self.input_tokens
    }

    /// The request goes out: from now on it counts, whatever becomes of it.
    pub(crate) fn sent(&mut self) {
        self.sendings.out();
        if let Some(reservation) = &mut self.reservation {
            reservation.observe(Spent::default());
        }
    }

    /// Nothing of it went out after all.
    pub(crate) fn not_sent(&mut self) {
        self.sendings.back();
        let is_unsent = !self.sendings.any();
        if let Some(reservation) = self.reservation.as_mut().filter(|_| is_unsent) {
            reservation.forget();
        }
    }

    /// An error came in the place of an answer, which costs nothing.
    pub(crate) fn refused(&mut self) {
        self.sendings.refused();
    }

    /// Puts what the request cost in the place of what was held.
    pub(crate) fn settle(mut self, done: &Done<'_>) {
        let accounting = Arc::clone(&self.accounting);
        let place = Place {
            model: done.upstream_model,
            region: done.region,
            unix_ms: self.started_unix_ms,
            promotions: accounting.promotions,
        };
        // Whoever leaves, or is cut off, before upstream reports pays for the prompt at least.
        let guess = (self.sendings.may_be_billed() && done.owes_its_prompt).then(|| {
            Usage::from_value(json!({ "input_tokens": self.input_tokens, "output_tokens": 0 }))
        });
        let usage = done.usage.or(guess.as_ref());
        let is_estimated = done.is_estimated || (done.usage.is_none() && guess.is_some());
        let price = usage.map(|usage| place.cost(&accounting.prices, usage));
        let total = usage.map_or(0, |usage| usage.total_tokens);
        // Dropped, it gives back the place in the minute, too: no request was sent.
        let is_sent = self.sendings.any();
        let reservation = self.reservation.take().filter(|_| is_sent);
        if let Some(reservation) = reservation {
            let nothing = Price::Paid {
                total: Decimal::ZERO,
                currency: "CNY",
            };
            let spent = accounting.spent(price.as_ref().unwrap_or(&nothing), total);
            reservation.settle(&spent, accounting.now().monotonic);
        }
        let Some(entry) = self.entry.take() else {
            return;
        };
        let mut end = Settlement::new(done.outcome);
        if let Some(usage) = usage {
            end.tokens = Tokens::new(usage.input_tokens, usage.output_tokens);
            end.tokens.cached = usage.cached_tokens.unwrap_or(0);
            end.tokens.cache_created = usage.cache_creation_tokens.unwrap_or(0);
            end.tokens.reasoning = usage.reasoning_tokens.unwrap_or(0);
            let seconds = usage.raw.get("seconds").and_then(serde_json::Value::as_u64);
            end.media_ms = seconds.unwrap_or(0).saturating_mul(1000);
        }
        match &price {
            Some(Price::Unpriced(why)) => end.unpriced = Some(why.as_str().into()),
            Some(price) => {
                if let Some((total, currency)) = paid(price) {
                    end.cost = Some(total);
                    end.currency = Some(currency);
                    end.price_version = Some(accounting.prices.version().into());
                }
            }
            None => {}
        }
        end.account = done.account.map(Into::into);
        end.region = done.region.map(Into::into);
        end.upstream_model = Some(done.upstream_model.into());
        end.attempts = done.attempts;
        end.attempt_list.clone_from(&done.attempt_list);
        end.queued_ms = Some(millis(done.queued));
        end.first_token_ms = done.first_token.map(millis);
        end.total_ms = Some(millis(done.total));
        end.http_status = Some(done.status);
        end.stream = done.is_stream;
        end.upstream_request_id = done.upstream_id.map(Into::into);
        end.error_code = done.error_code.map(Into::into);
        end.estimated = is_estimated;
        entry.settle(&end);
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn paid(price: &Price) -> Option<(Decimal, LedgerCurrency)> {
    match price {
        Price::Paid { total, currency } => Some((*total, LedgerCurrency::from_code(currency)?)),
        Price::Unpriced(_) => None,
    }
}

/// Whether any level limits what the caller does.
pub(crate) fn is_limited(caller: &Caller) -> bool {
    caller.chain().iter().any(|node| {
        let settings = node.settings();
        !settings.limits.is_unlimited() || !settings.budgets.is_empty()
    })
}

/// Whether any level has a budget in money.
fn pays_money(caller: &Caller) -> bool {
    let mut budgets = caller
        .chain()
        .iter()
        .flat_map(|node| &node.settings().budgets);
    budgets.any(|budget| {
        budget
            .amounts()
            .any(|(unit, _)| matches!(unit, bailian_tenants::settings::Unit::Money(_)))
    })
}
