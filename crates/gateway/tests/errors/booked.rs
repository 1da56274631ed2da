//! What the ledger has to say of a cell, by rules of its own: where the error came, and whether
//! another answered.

use std::collections::HashMap;

use bailian_ledger::{Attempt, Decimal, Record};
use serde_json::Value;
use uuid::Uuid;

use crate::cell::{Cell, Phase, ensure};
use crate::house::{Behind, account_of};

/// Where the amounts of a record come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Amounts {
    /// There are none: nothing is billed.
    None,
    /// Upstream reported all of them.
    Reported,
    /// The prompt, as estimated.
    Prompt,
    /// The prompt and what the caller has got of the answer, as far as that is known; estimated.
    Heard,
}

impl Amounts {
    /// In words, for the guide.
    pub(crate) fn as_words(self, phase: Phase, tries: usize) -> &'static str {
        match (self, phase) {
            (Self::None, _) => "nothing | no",
            (Self::Reported, _) => "as reported by who answered | no",
            (Self::Prompt, _) => "the prompt, since upstream may have read it | yes",
            (Self::Heard, Phase::End) => {
                "as reported; else the prompt and what was said | unless reported"
            }
            (Self::Heard, _) if tries > 1 => {
                "both parts: the first as estimated, the rest as reported | yes"
            }
            (Self::Heard, _) => "the prompt and what was said before | yes",
        }
    }
}

/// How the ledger tells of a request.
#[derive(Debug)]
pub(crate) struct Booked {
    pub(crate) outcome: &'static str,
    pub(crate) status: u16,
    pub(crate) has_code: bool,
    /// How each try ended, and with which status.
    pub(crate) tries: Vec<(&'static str, Option<u16>)>,
    pub(crate) amounts: Amounts,
}

impl Booked {
    /// `is_mended`: the error is not what the caller got.
    pub(crate) fn of(phase: Phase, status: u16, is_mended: bool, behind: Behind) -> Self {
        let first = match phase {
            Phase::Connect | Phase::Closed => ("upstream_lost", None),
            Phase::Head => ("upstream_error", Some(status)),
            Phase::FirstEvent | Phase::MidStream => ("upstream_error", Some(200)),
            Phase::End => ("completed", Some(200)),
        };
        let mut tries = vec![first];
        let is_replaced = is_mended && phase != Phase::End && behind == Behind::Another;
        if is_replaced {
            tries.push(("completed", Some(200)));
        }
        let is_completed = is_replaced || phase == Phase::End;
        Self {
            outcome: if is_completed { "completed" } else { first.0 },
            status: match phase {
                _ if is_completed => 200,
                Phase::Connect | Phase::Closed => 502,
                _ => first.1.unwrap(),
            },
            has_code: !is_completed,
            tries,
            amounts: match phase {
                // What was said before is paid for, beside the rest or without it.
                Phase::MidStream | Phase::End => Amounts::Heard,
                _ if is_replaced => Amounts::Reported,
                // It may have been read.
                Phase::Closed => Amounts::Prompt,
                Phase::Connect | Phase::Head | Phase::FirstEvent => Amounts::None,
            },
        }
    }
}

/// The requests of a cell to one gateway, in their order, and how its key stood after them.
pub(crate) struct Asked {
    pub(crate) behind: Behind,
    pub(crate) ids: Vec<Uuid>,
    pub(crate) standing: Value,
}

impl Asked {
    /// Holds the ledger against what it has to say.
    pub(crate) fn check(
        &self,
        cell: &Cell,
        place: usize,
        ledger: &HashMap<Uuid, Record>,
    ) -> Result<(), String> {
        let booked = cell.booked(self.behind);
        let records: Vec<&Record> = self.ids.iter().filter_map(|id| ledger.get(id)).collect();
        ensure(records.len() == self.ids.len(), || {
            format!("{} records", records.len())
        })?;
        for (record, number) in records.iter().zip(0..) {
            let problem = check_record(record, &booked, cell, place, number == 0);
            problem.map_err(|what| format!("{what}: {booked:?} is not {record:?}"))?;
        }
        self.check_budgets(cell, &records)
    }

    /// Nothing is held any more, and what is used is what the ledger says.
    fn check_budgets(&self, cell: &Cell, records: &[&Record]) -> Result<(), String> {
        let standing = &self.standing;
        let wrong = |what: &str| format!("{what}: {standing}");
        ensure(standing["running"]["used"] == 0, || wrong("running"))?;
        // What could not be sent takes no place in the minute.
        let is_sent = cell.phase != Phase::Connect || self.behind == Behind::Another;
        let sent = if is_sent { records.len() } else { 0 };
        ensure(standing["requests_per_minute"]["used"] == sent, || {
            wrong("requests")
        })?;
        let tokens = records.iter().map(|record| &record.end.tokens);
        let tokens: u64 = tokens.map(|tokens| tokens.input + tokens.output).sum();
        let cost: Decimal = records.iter().filter_map(|record| record.end.cost).sum();
        let mut units = 0;
        for budget in standing["budgets"].as_array().unwrap() {
            units += 1;
            ensure(budget["reserved"] == "0", || wrong("reserved"))?;
            let used: Decimal = budget["used"].as_str().unwrap().parse().unwrap();
            let expected = match budget["unit"].as_str().unwrap() {
                "tokens" => tokens.into(),
                _ => cost,
            };
            ensure(used == expected, || wrong("used"))?;
        }
        ensure(units == 2, || wrong("budgets"))
    }
}

fn check_record(
    record: &Record,
    booked: &Booked,
    cell: &Cell,
    place: usize,
    is_first: bool,
) -> Result<(), &'static str> {
    let is = |holds: bool, what: &'static str| if holds { Ok(()) } else { Err(what) };
    let end = &record.end;
    is(record.settled, "settled")?;
    is(end.outcome.as_str() == booked.outcome, "outcome")?;
    is(end.http_status == Some(booked.status), "http_status")?;
    is(end.stream == cell.phase.is_in_stream(), "stream")?;
    match &end.error_code {
        None => is(!booked.has_code, "error_code is missing")?,
        Some(code) => is(
            booked.has_code && cell.is_known_as(code.as_str()),
            "error_code",
        )?,
    }
    let tries: Vec<Attempt<'_>> = booked
        .tries
        .iter()
        .zip([account_of(place), "right".to_owned()])
        .map(|((outcome, status), account)| Attempt::new(account, "qwen-plus", *outcome, *status))
        .collect();
    // A line that was told to wait is not joined again by a request that does not wait.
    let may_pass_over = !is_first && cell.phase == Phase::Head && tries.len() > 1;
    let is_passed_over = may_pass_over && end.attempt_list.as_slice() == &tries[1..];
    is(end.attempt_list == tries || is_passed_over, "attempt_list")?;
    is(
        usize::try_from(end.attempts) == Ok(end.attempt_list.len()),
        "attempts",
    )?;
    let last = tries.last().map(|attempt| attempt.account.as_str());
    is(
        end.account.as_ref().map(bailian_ledger::Text::as_str) == last,
        "account",
    )?;
    check_amounts(record, booked.amounts, cell)
}

fn check_amounts(record: &Record, amounts: Amounts, cell: &Cell) -> Result<(), &'static str> {
    let is = |holds: bool, what: &'static str| if holds { Ok(()) } else { Err(what) };
    let end = &record.end;
    let prompt = record.begin.estimate.input_tokens;
    is(end.unpriced.is_none(), "unpriced")?;
    let (input, output) = (end.tokens.input, end.tokens.output);
    // Anthropic's streams report the prompt when they begin.
    let told = cell.tells_its_prompt();
    let is_guessed = match amounts {
        Amounts::None => {
            is(end.tokens == bailian_ledger::Tokens::default(), "tokens")?;
            is(end.cost.is_none() && end.currency.is_none(), "cost")?;
            return is(!end.estimated, "estimated");
        }
        Amounts::Reported => {
            is(input > 0 && output > 0, "tokens")?;
            false
        }
        Amounts::Prompt => {
            is((input, output) == (prompt, 0), "tokens")?;
            true
        }
        // Its end reports the rest.
        Amounts::Heard if told && cell.phase == Phase::End => {
            is((input, output) == (1, 1), "tokens")?;
            false
        }
        Amounts::Heard => {
            let least = if told { 1 } else { prompt };
            is(
                input >= least && (end.attempts > 1 || input == least),
                "tokens",
            )?;
            true
        }
    };
    is(end.estimated == is_guessed, "estimated")?;
    // qwen-plus in Beijing: 0.8 and 2 CNY per million, a fifth for what is read from the cache.
    let uncached = Decimal::from(input - end.tokens.cached);
    let exact = (uncached * Decimal::new(8, 1)
        + Decimal::from(end.tokens.cached) * Decimal::new(16, 2)
        + Decimal::from(output * 2))
        / Decimal::from(1_000_000);
    is(end.cost == Some(exact), "cost")?;
    is(
        end.currency.is_some() && end.price_version.is_some(),
        "price",
    )
}
