//! `GET /records`: single requests.

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use bailian_ledger::{Page as LedgerPage, Record};
use serde_json::{Map, Value};
use utoipa::openapi::{ArrayBuilder, ObjectBuilder, RefOr, Schema, schema::Type};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use super::fault::{Fault, Faults};
use super::input::Act;
use super::names::Names;
use super::nodes::Page;
use super::query::{Fields, FilterQuery, cursor, cursor_text};

/// The most records of a page.
const MOST_RECORDS: u32 = 1_000;
/// The records of a page by default.
const USUAL_RECORDS: u32 = 100;

/// Which page of the records.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "for the document alone")]
pub(super) struct PageQuery {
    /// Only what is behind this place, which `next` of the page before said.
    after: Option<String>,
    /// The most records, up to 1000; 100 if left out.
    limit: Option<u32>,
    /// `newest` (if left out) or `oldest` first.
    order: Option<String>,
}

/// A record with the columns of the ledger's store, and names.
#[derive(Debug)]
pub(super) struct RecordOf;

impl PartialSchema for RecordOf {
    fn schema() -> RefOr<Schema> {
        let mut object = ObjectBuilder::new();
        for (name, kind, is_optional) in Record::column_types() {
            let kind = match kind {
                "integer" => Type::Integer,
                "boolean" => Type::Boolean,
                "array" => {
                    object = object.property(name, ArrayBuilder::new().items(ObjectBuilder::new()));
                    continue;
                }
                _ => Type::String,
            };
            let kinds = [kind].into_iter().chain(is_optional.then_some(Type::Null));
            let kinds: utoipa::openapi::schema::SchemaType = kinds.collect();
            object = object.property(name, ObjectBuilder::new().schema_type(kinds));
        }
        let names = ObjectBuilder::new()
            .description(Some(
                "The names of tenant, project and key, as far as they are there still.",
            ))
            .additional_properties(Some(ObjectBuilder::new().schema_type(Type::String)));
        let object = object.property("names", names);
        object.description(Some("See docs/ledger.md.")).into()
    }
}

impl ToSchema for RecordOf {
    fn name() -> std::borrow::Cow<'static, str> {
        "Record".into()
    }
}

/// Records, the newest first.
#[utoipa::path(
    get, path = "/records", tag = "usage",
    params(FilterQuery, PageQuery),
    responses(
        (status = 200, body = Page<RecordOf>),
        Faults,
    )
)]
pub(super) async fn records(act: Act, mut fields: Fields) -> Result<Response, Fault> {
    let directory = act.accounting.live.current();
    let filter = fields.filter(&directory);
    let limit = fields.limit(USUAL_RECORDS, MOST_RECORDS);
    let oldest = fields.read("order", "newest or oldest", |order| match order {
        "newest" => Some(false),
        "oldest" => Some(true),
        _ => None,
    });
    let after = fields.read("after", "a place that `next` said", cursor);
    fields.end()?;
    let mut page = if oldest == Some(true) {
        LedgerPage::first(limit)
    } else {
        LedgerPage::newest(limit)
    };
    page.after = after;
    let page = act
        .run(move |act| {
            let records = act.accounting.ledger.reader().records(&filter, page)?;
            let is_full = records.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
            let last = records.last().filter(|_| is_full);
            let next = last.map(|last| cursor_text(last.cursor()));
            let names = Names::of(&directory);
            let rows: Result<Vec<Value>, Fault> =
                records.iter().map(|record| row(record, &names)).collect();
            let rows = rows?;
            Ok(Page::new(rows, next))
        })
        .await?;
    Ok(Json(page).into_response())
}

fn row(record: &Record, names: &Names) -> Result<Value, Fault> {
    let mut row = serde_json::to_value(record.columns()).map_err(|_| Fault::internal())?;
    let mut known_as = Map::new();
    for (word, column) in [
        ("tenant", "tenant"),
        ("project", "project"),
        ("key", "key_id"),
    ] {
        if let Some(name) = row[column].as_str().and_then(|id| names.get(id)) {
            known_as.insert(word.to_owned(), name.into());
        }
    }
    row["names"] = Value::Object(known_as);
    Ok(row)
}
