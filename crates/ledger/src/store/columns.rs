//! The columns of a record: one list for both databases and for every export.

use std::borrow::Cow;

use rust_decimal::Decimal;
use uuid::Uuid;

use super::StoreError;
use crate::record::{Attempt, MOST_ATTEMPTS, MOST_UNITS, Record};
use crate::text::{Currency, Text};

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Id,
    Text,
    Int,
    Bool,
    Money,
}

/// A value of a column, or of a parameter.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Null,
    Id(Uuid),
    Text(Cow<'a, str>),
    Int(i64),
    Bool(bool),
    Money(Decimal),
}

/// Whether a column is known at the beginning or at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Begin,
    End,
}

/// One column.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) part: Part,
    /// May be empty.
    pub(crate) optional: bool,
    pub(crate) get: for<'r> fn(&'r Record) -> Value<'r>,
    /// `None` when the value is not of the column's kind.
    pub(crate) set: fn(&mut Record, Value<'_>) -> Option<()>,
}

impl Value<'_> {
    /// A count as databases hold it.
    pub(crate) fn count(count: u64) -> Self {
        Self::Int(i64::try_from(count.min(MOST_UNITS)).unwrap_or(i64::MAX))
    }

    /// A moment as databases hold it.
    pub(crate) fn moment(unix_ms: u64) -> Self {
        Self::Int(i64::try_from(unix_ms).unwrap_or(i64::MAX))
    }

    fn into_text(self) -> Option<Text<'static>> {
        match self {
            Self::Text(text) => Some(Text::from(text.into_owned())),
            _ => None,
        }
    }

    fn into_number<T: TryFrom<i64>>(self) -> Option<T> {
        match self {
            Self::Int(number) => T::try_from(number).ok(),
            _ => None,
        }
    }

    fn into_bool(self) -> Option<bool> {
        match self {
            Self::Bool(truth) => Some(truth),
            _ => None,
        }
    }

    fn into_id(self) -> Option<Uuid> {
        match self {
            Self::Id(id) => Some(id),
            _ => None,
        }
    }

    fn into_money(self) -> Option<Decimal> {
        match self {
            Self::Money(money) => Some(money),
            _ => None,
        }
    }

    /// `Some(None)` for nothing, `None` for something of another kind.
    #[expect(clippy::option_option, reason = "nothing is a value, and no error")]
    fn if_any<T>(self, read: impl FnOnce(Self) -> Option<T>) -> Option<Option<T>>
    where
        Self: Sized,
    {
        match self {
            Self::Null => Some(None),
            value => read(value).map(Some),
        }
    }
}

/// Reads a record from its values, which come in the order of [`COLUMNS`].
pub(crate) fn read_record<'v>(
    mut value: impl FnMut(usize, &Column) -> Result<Value<'v>, StoreError>,
) -> Result<Record, StoreError> {
    let mut record = Record::default();
    for (index, column) in COLUMNS.iter().enumerate() {
        let value = value(index, column)?;
        (column.set)(&mut record, value).ok_or(StoreError::Unreadable(column.name))?;
    }
    Ok(record)
}

fn maybe_text<'r>(text: Option<&'r Text<'_>>) -> Value<'r> {
    text.map_or(Value::Null, |text| Value::Text(text.as_str().into()))
}

fn maybe_currency(currency: Option<&Currency>) -> Value<'_> {
    currency.map_or(Value::Null, |currency| {
        Value::Text(currency.as_str().into())
    })
}

fn read_currency(value: Value<'_>) -> Option<Currency> {
    Currency::from_code(value.into_text()?.as_str())
}

fn attempts_as_json(record: &Record) -> Value<'_> {
    let attempts = &record.end.attempt_list;
    if attempts.is_empty() {
        return Value::Null;
    }
    let few = &attempts[..attempts.len().min(MOST_ATTEMPTS)];
    serde_json::to_string(few).map_or(Value::Null, |json| Value::Text(json.into()))
}

fn read_attempts(value: Value<'_>) -> Option<Vec<Attempt<'static>>> {
    match value {
        Value::Text(json) => serde_json::from_str(&json).ok(),
        _ => None,
    }
}

/// One line for each column, by the kind of the field that it stands for.
macro_rules! column {
    ($part:ident, $name:literal, text, $($field:ident).+) => {
        column!($part, $name, Text, true, |r| maybe_text(r.$($field).+.as_ref()),
            |r, v| { r.$($field).+ = v.if_any(Value::into_text)?; Some(()) })
    };
    ($part:ident, $name:literal, word, $($field:ident).+) => {
        column!($part, $name, Text, false, |r| Value::Text(r.$($field).+.as_str().into()),
            |r, v| { r.$($field).+ = v.into_text()?; Some(()) })
    };
    ($part:ident, $name:literal, currency, $($field:ident).+) => {
        column!($part, $name, Text, true, |r| maybe_currency(r.$($field).+.as_ref()),
            |r, v| { r.$($field).+ = v.if_any(read_currency)?; Some(()) })
    };
    ($part:ident, $name:literal, count, $($field:ident).+) => {
        column!($part, $name, Int, false, |r| Value::count(r.$($field).+.into()),
            |r, v| { r.$($field).+ = v.into_number()?; Some(()) })
    };
    ($part:ident, $name:literal, maybe_count, $($field:ident).+) => {
        column!($part, $name, Int, true,
            |r| r.$($field).+.map_or(Value::Null, |n| Value::count(n.into())),
            |r, v| { r.$($field).+ = v.if_any(Value::into_number)?; Some(()) })
    };
    ($part:ident, $name:literal, moment, $($field:ident).+) => {
        column!($part, $name, Int, false, |r| Value::moment(r.$($field).+),
            |r, v| { r.$($field).+ = v.into_number()?; Some(()) })
    };
    ($part:ident, $name:literal, money, $($field:ident).+) => {
        column!($part, $name, Money, true, |r| r.$($field).+.map_or(Value::Null, Value::Money),
            |r, v| { r.$($field).+ = v.if_any(Value::into_money)?; Some(()) })
    };
    ($part:ident, $name:literal, bool, $($field:ident).+) => {
        column!($part, $name, Bool, false, |r| Value::Bool(r.$($field).+),
            |r, v| { r.$($field).+ = v.into_bool()?; Some(()) })
    };
    ($part:ident, $name:literal, id, $($field:ident).+) => {
        column!($part, $name, Id, false, |r| Value::Id(r.$($field).+),
            |r, v| { r.$($field).+ = v.into_id()?; Some(()) })
    };
    ($part:ident, $name:literal, $kind:ident, $optional:literal, $get:expr, $set:expr) => {
        Column {
            name: $name,
            kind: Kind::$kind,
            part: Part::$part,
            optional: $optional,
            get: $get,
            set: $set,
        }
    };
}

/// All columns, in the order of tables and exports. A new one comes with a migration.
pub(crate) const COLUMNS: &[Column] = &[
    column!(Begin, "id", id, begin.id),
    column!(Begin, "started_unix_ms", moment, begin.started_unix_ms),
    column!(Begin, "tenant", text, begin.tenant),
    column!(Begin, "project", text, begin.project),
    column!(Begin, "key_id", text, begin.key_id),
    column!(Begin, "surface", text, begin.surface),
    column!(Begin, "dialect", text, begin.dialect),
    column!(Begin, "model", text, begin.model),
    column!(
        Begin,
        "est_input_tokens",
        count,
        begin.estimate.input_tokens
    ),
    column!(
        Begin,
        "est_output_tokens",
        count,
        begin.estimate.output_tokens
    ),
    column!(Begin, "est_cost", money, begin.estimate.cost),
    column!(Begin, "est_currency", currency, begin.estimate.currency),
    column!(Begin, "process", id, process),
    column!(End, "account", text, end.account),
    column!(End, "region", text, end.region),
    column!(End, "upstream_model", text, end.upstream_model),
    column!(End, "attempts", count, end.attempts),
    column!(End, "attempt_list", Text, true, attempts_as_json, |r, v| {
        r.end.attempt_list = v.if_any(read_attempts)?.unwrap_or_default();
        Some(())
    }),
    column!(End, "input_tokens", count, end.tokens.input),
    column!(End, "cached_tokens", count, end.tokens.cached),
    column!(End, "cache_created_tokens", count, end.tokens.cache_created),
    column!(End, "output_tokens", count, end.tokens.output),
    column!(End, "reasoning_tokens", count, end.tokens.reasoning),
    column!(End, "images", count, end.images),
    column!(End, "media_ms", count, end.media_ms),
    column!(End, "characters", count, end.characters),
    column!(End, "cost", money, end.cost),
    column!(End, "currency", currency, end.currency),
    column!(End, "price_version", text, end.price_version),
    column!(End, "unpriced", text, end.unpriced),
    column!(End, "queued_ms", maybe_count, end.queued_ms),
    column!(End, "first_token_ms", maybe_count, end.first_token_ms),
    column!(End, "total_ms", maybe_count, end.total_ms),
    column!(End, "http_status", maybe_count, end.http_status),
    column!(End, "outcome", word, end.outcome),
    column!(End, "error_code", text, end.error_code),
    column!(End, "upstream_request_id", text, end.upstream_request_id),
    column!(End, "stream", bool, end.stream),
    column!(End, "estimated", bool, end.estimated),
    column!(End, "settled", bool, settled),
];
