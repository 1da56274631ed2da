//! Bills that were wrong once.

use bailian_ledger::{Record, Text};
use bailian_wire::Dialect;

use crate::cell::{Cell, Phase};
use crate::entries;
use crate::house::{Behind, House};

/// A cell of a documented error.
fn cell(code: &str, phase: Phase, dialect: Dialect) -> Cell {
    let entry = entries().find(|entry| entry.code.as_deref() == Some(code));
    Cell::new(entry.unwrap(), phase, dialect)
}

/// What the ledger says of the first request of a cell.
async fn record_of(cell: Cell, behind: Behind) -> Record {
    let house = House::new(std::slice::from_ref(&cell), behind);
    let id = house.send(cell.request(0)).await.id();
    house.records().remove(&id).unwrap()
}

/// Input and output tokens, and whether they are guessed.
fn amounts(record: &Record) -> (u64, u64, bool) {
    let end = &record.end;
    (end.tokens.input, end.tokens.output, end.estimated)
}

fn code_of(record: &Record) -> Option<&str> {
    record.end.error_code.as_ref().map(Text::as_str)
}

#[tokio::test]
async fn what_could_not_be_sent_costs_nothing() {
    let cell = Cell::unreachable(Phase::Connect, Dialect::OpenAi);
    let record = record_of(cell, Behind::None).await;
    assert_eq!(amounts(&record), (0, 0, false));
    assert_eq!(record.end.cost, None);
}

#[tokio::test]
async fn an_answer_of_which_nothing_is_reported_is_billed_as_estimated() {
    let cell = cell("InternalError", Phase::End, Dialect::Native);
    let record = record_of(cell, Behind::None).await;
    assert_eq!(record.end.outcome.as_str(), "completed");
    let prompt = record.begin.estimate.input_tokens;
    assert_eq!(amounts(&record), (prompt, 1, true));
    assert!(record.end.cost.is_some());
}

#[tokio::test]
async fn what_anthropics_stream_said_before_it_broke_is_billed_beside_the_prompt_that_it_reported()
{
    let cell = cell("InvalidParameter", Phase::MidStream, Dialect::Anthropic);
    let record = record_of(cell, Behind::Another).await;
    assert_eq!(amounts(&record), (1, 1, true));
}

#[tokio::test]
async fn an_answer_of_two_parts_of_which_one_was_estimated_is_estimated() {
    let cell = cell("InternalError", Phase::MidStream, Dialect::OpenAi);
    let record = record_of(cell, Behind::Another).await;
    assert_eq!(record.end.outcome.as_str(), "completed");
    assert!(record.end.estimated);
}

#[tokio::test]
async fn an_error_inside_a_stream_leaves_its_code() {
    for phase in [Phase::FirstEvent, Phase::MidStream] {
        let record = record_of(
            cell("DataInspectionFailed", phase, Dialect::OpenAi),
            Behind::None,
        )
        .await;
        assert_eq!(code_of(&record), Some("DataInspectionFailed"));
    }
}

#[tokio::test]
async fn an_error_has_one_code_in_the_ledger_whatever_the_dialect_calls_it() {
    for dialect in [Dialect::Native, Dialect::OpenAi] {
        let record = record_of(cell("InvalidApiKey", Phase::Head, dialect), Behind::None).await;
        assert_eq!(code_of(&record), Some("InvalidApiKey"), "{dialect}");
    }
}

#[tokio::test]
async fn an_error_that_says_all_is_well_is_no_answer_and_costs_nothing() {
    let cell = cell("InvalidParameter", Phase::Head, Dialect::Native).inside_success();
    let record = record_of(cell, Behind::None).await;
    assert_eq!(record.end.outcome.as_str(), "upstream_error");
    assert_eq!(code_of(&record), Some("InvalidParameter"));
    assert_eq!(amounts(&record), (0, 0, false));
}

#[tokio::test]
async fn every_try_is_listed_with_what_became_of_it() {
    let record = record_of(
        cell("Throttling.RateQuota", Phase::Head, Dialect::OpenAi),
        Behind::Another,
    )
    .await;
    let tries: Vec<_> = record
        .end
        .attempt_list
        .iter()
        .map(|it| (it.account.as_str(), it.outcome.as_str(), it.status))
        .collect();
    assert_eq!(
        tries,
        [
            ("wrong-0", "upstream_error", Some(429)),
            ("right", "completed", Some(200)),
        ]
    );
}
