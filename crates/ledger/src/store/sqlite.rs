//! Records in a SQLite file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::functions::{Aggregate, Context, FunctionFlags};
use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{
    CachedStatement, Connection, ErrorCode, OptionalExtension as _, Row, TransactionBehavior,
    params_from_iter,
};
use rust_decimal::Decimal;
use uuid::Uuid;

use super::columns::{COLUMNS, Kind, Part, Value, read_record};
use super::sql::Flavor;
use super::{Change, Connect, Reconciled, Span, Store, StoreError};
use crate::content::{Content, ContentOwner};
use crate::query::{Filter, GroupBy, Page, UsageRow};
use crate::record::{Record, Settlement};
use crate::usage::Groups;

/// Each brings the tables from the version of its index to the next. Never changed, only added to.
const MIGRATIONS: &[&str] = &[
    include_str!("sqlite/001_records.sql"),
    include_str!("sqlite/002_short_ids.sql"),
    include_str!("sqlite/003_content.sql"),
];

const SQL: Flavor = Flavor::Sqlite;

/// How long to wait for another process' transaction.
const BUSY: Duration = Duration::from_secs(5);

/// After so many records whoever shares the core may go first: a relay would else wait for as long as
/// the system lets one thread run, which is milliseconds.
const COURTESY: usize = 8;

/// Statements that stay prepared.
const PREPARED: usize = 32;

/// A SQLite file, shared by all processes of one machine that are given its path.
#[derive(Clone, Debug)]
pub struct Sqlite {
    path: PathBuf,
}

impl Sqlite {
    /// Records in the file at `path`, which is made if it is missing; its folder has to exist.
    /// It must not be on a network's file system.
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self {
            path: path.as_ref().to_owned(),
        }
    }
}

impl Connect for Sqlite {
    fn connect(&self) -> Result<Box<dyn Store>, StoreError> {
        let mut connection = Connection::open(&self.path).map_err(classify)?;
        prepare(&mut connection)?;
        Ok(Box::new(Open { connection }))
    }
}

fn prepare(connection: &mut Connection) -> Result<(), StoreError> {
    connection.busy_timeout(BUSY).map_err(classify)?;
    connection.set_prepared_statement_cache_capacity(PREPARED);
    // Segments are deleted after a commit: it has to be on the disk by then. What was said and is
    // deleted is overwritten.
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON;",
        )
        .map_err(classify)?;
    connection
        .create_aggregate_function(
            "exact_sum",
            1,
            FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC,
            ExactSum,
        )
        .map_err(classify)?;
    migrate(connection)
}

fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let change = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(classify)?;
    change
        .execute_batch("CREATE TABLE IF NOT EXISTS ledger_schema (version INTEGER NOT NULL) STRICT")
        .map_err(classify)?;
    let found: i64 = change
        .query_row(
            "SELECT coalesce(max(version), 0) FROM ledger_schema",
            [],
            |row| row.get(0),
        )
        .map_err(classify)?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    let done = usize::try_from(found).unwrap_or(usize::MAX);
    let Some(missing) = MIGRATIONS.get(done..) else {
        return Err(StoreError::Newer { found, known });
    };
    for migration in missing {
        change.execute_batch(migration).map_err(classify)?;
    }
    if !missing.is_empty() {
        change
            .execute("INSERT INTO ledger_schema (version) VALUES (?1)", [known])
            .map_err(classify)?;
    }
    change.commit().map_err(classify)
}

struct Open {
    connection: Connection,
}

impl Store for Open {
    fn apply(&mut self, changes: &[Change], span: Option<&Span>) -> Result<(), StoreError> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(classify)?;
        if let Some(span) = span {
            if span.from == 0 {
                transaction
                    .prepare_cached(&SQL.add_segment())
                    .and_then(|mut add| add.execute([&span.segment]))
                    .map_err(classify)?;
            }
            let advanced = transaction
                .prepare_cached(&SQL.advance())
                .and_then(|mut advance| {
                    advance.execute(params_from_iter([
                        Value::Text(span.segment.as_str().into()),
                        Value::moment(span.from),
                        Value::moment(span.to),
                    ]))
                })
                .map_err(classify)?;
            if advanced != 1 {
                return Err(StoreError::Overtaken);
            }
        }
        {
            let prepare = |sql: &str| transaction.prepare_cached(sql).map_err(classify);
            let mut insert = Filled::new(prepare(&SQL.insert())?);
            let mut settle = Filled::new(prepare(&SQL.settle())?);
            for (index, change) in changes.iter().enumerate() {
                if index % COURTESY == COURTESY - 1 {
                    std::thread::yield_now();
                }
                let statement = match change {
                    Change::Begin(_) => &mut insert,
                    Change::Settle(_) => &mut settle,
                };
                statement.execute(change.record()).map_err(classify)?;
            }
        }
        transaction.commit().map_err(classify)
    }

    fn ingested(&mut self, segment: &str) -> Result<u64, StoreError> {
        let ingested: Option<i64> = self
            .connection
            .prepare_cached(&SQL.ingested())
            .and_then(|mut statement| statement.query_row([segment], |row| row.get(0)).optional())
            .map_err(classify)?;
        u64::try_from(ingested.unwrap_or(0)).map_err(|_| StoreError::Unreadable("ingested"))
    }

    fn forget(&mut self, segment: &str) -> Result<(), StoreError> {
        self.connection
            .execute(&SQL.forget(), [segment])
            .map(drop)
            .map_err(classify)
    }

    fn bury(&mut self, process: Uuid) -> Result<u64, StoreError> {
        self.change(&SQL.bury(), &[Value::Id(process)])
    }

    fn bury_before(&mut self, before_unix_ms: u64) -> Result<u64, StoreError> {
        self.change(&SQL.bury_before(), &[Value::moment(before_unix_ms)])
    }

    fn reconcile(&mut self, id: Uuid, end: &Settlement<'_>) -> Result<Reconciled, StoreError> {
        let record = Record::settled_as(end);
        let mut values: Vec<_> = COLUMNS
            .iter()
            .filter(|column| column.part == Part::End)
            .map(|column| (column.get)(&record))
            .collect();
        values.push(Value::Id(id));
        if self.change(&SQL.reconcile(), &values)? == 1 {
            return Ok(Reconciled::Settled);
        }
        let settled: Option<bool> = self
            .connection
            .query_row(&SQL.state_of(), [Value::Id(id)], |row| row.get(0))
            .optional()
            .map_err(classify)?;
        Ok(match settled {
            Some(true) => Reconciled::AlreadySettled,
            Some(false) => Reconciled::Running,
            None => Reconciled::NotFound,
        })
    }

    fn usage(&mut self, filter: &Filter, by: &[GroupBy]) -> Result<Vec<UsageRow>, StoreError> {
        let bound = SQL.usage(filter, by);
        let mut statement = self.connection.prepare(&bound.sql).map_err(classify)?;
        let mut rows = statement
            .query(params_from_iter(bound.values))
            .map_err(classify)?;
        let mut groups = Groups::default();
        while let Some(row) = rows.next().map_err(classify)? {
            groups.read(
                by.len(),
                |index| row.get(index).map_err(classify),
                |index| row.get(index).map_err(classify),
            )?;
        }
        Ok(groups.into_rows())
    }

    fn records(&mut self, filter: &Filter, page: Page) -> Result<Vec<Record>, StoreError> {
        let bound = SQL.records(filter, page);
        let mut statement = self
            .connection
            .prepare_cached(&bound.sql)
            .map_err(classify)?;
        let mut rows = statement
            .query(params_from_iter(bound.values))
            .map_err(classify)?;
        let mut records = Vec::new();
        while let Some(row) = rows.next().map_err(classify)? {
            let record = read_record(|index, column| {
                read_value(row, index, column.kind)
                    .map_err(classify)?
                    .ok_or(StoreError::Unreadable(column.name))
            })?;
            records.push(record);
        }
        Ok(records)
    }

    fn delete_before(&mut self, before_unix_ms: u64, most: u32) -> Result<u64, StoreError> {
        self.change(
            &SQL.delete_before(),
            &[Value::moment(before_unix_ms), Value::Int(most.into())],
        )
    }

    fn keep(&mut self, contents: &[Content]) -> Result<(), StoreError> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(classify)?;
        for content in contents {
            transaction
                .prepare_cached(&SQL.keep())
                .and_then(|mut keep| keep.execute(params_from_iter(content.values())))
                .map_err(classify)?;
        }
        transaction.commit().map_err(classify)
    }

    fn content(&mut self, id: Uuid) -> Result<Option<Content>, StoreError> {
        self.connection
            .prepare_cached(&SQL.content())
            .and_then(|mut statement| {
                let read = |row: &Row<'_>| {
                    let owner = ContentOwner::new(
                        row.get::<_, String>(1)?,
                        row.get::<_, String>(2)?,
                        row.get::<_, String>(3)?,
                    );
                    let kept = u64::try_from(row.get::<_, i64>(0)?).unwrap_or_default();
                    let mut content = Content::new(id, kept, owner);
                    content.redacted = row.get(4)?;
                    content.request = row.get(5)?;
                    content.request_cut = row.get(6)?;
                    content.answer = row.get(7)?;
                    content.answer_cut = row.get(8)?;
                    Ok(content)
                };
                statement.query_row([Value::Id(id)], read).optional()
            })
            .map_err(classify)
    }

    fn delete_content(&mut self, id: Uuid) -> Result<bool, StoreError> {
        let deleted = self.change(&SQL.delete_content(), &[Value::Id(id)])?;
        Ok(deleted > 0)
    }

    fn content_owners(&mut self) -> Result<Vec<ContentOwner>, StoreError> {
        let read = |row: &Row<'_>| {
            Ok(ContentOwner::new(
                row.get::<_, String>(0)?,
                row.get::<_, String>(1)?,
                row.get::<_, String>(2)?,
            ))
        };
        self.connection
            .prepare_cached(SQL.content_owners())
            .and_then(|mut statement| statement.query_map([], read)?.collect())
            .map_err(classify)
    }

    fn delete_contents(
        &mut self,
        owner: &ContentOwner,
        before_unix_ms: u64,
        most: u32,
    ) -> Result<u64, StoreError> {
        let [tenant, project, key] = owner.values();
        let before = Value::moment(before_unix_ms);
        let values = [tenant, project, key, before, Value::Int(most.into())];
        self.change(&SQL.delete_contents(), &values)
    }
}

/// A statement that takes all columns of a record. Of two records that follow each other most
/// columns are equal, and what is bound already is not bound again: that is most of an insert's cost.
struct Filled<'c, 'r> {
    statement: CachedStatement<'c>,
    bound: Vec<Option<Value<'r>>>,
}

impl<'c, 'r> Filled<'c, 'r> {
    fn new(statement: CachedStatement<'c>) -> Self {
        Self {
            statement,
            bound: vec![None; COLUMNS.len()],
        }
    }

    fn execute(&mut self, record: &'r Record) -> rusqlite::Result<()> {
        for (index, (column, bound)) in COLUMNS.iter().zip(&mut self.bound).enumerate() {
            let value = Some((column.get)(record));
            if *bound != value {
                self.statement.raw_bind_parameter(index + 1, &value)?;
                *bound = value;
            }
        }
        self.statement.raw_execute().map(drop)
    }
}

impl Open {
    fn change(&self, sql: &str, values: &[Value<'_>]) -> Result<u64, StoreError> {
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(params_from_iter(values)))
            .map(|changed| changed as u64)
            .map_err(classify)
    }
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Null => ToSqlOutput::Borrowed(ValueRef::Null),
            Self::Id(id) => ToSqlOutput::Borrowed(ValueRef::Blob(id.as_bytes())),
            Self::Text(text) => ToSqlOutput::from(text.as_ref()),
            Self::Int(number) => ToSqlOutput::from(*number),
            Self::Bool(truth) => ToSqlOutput::from(*truth),
            Self::Money(money) => ToSqlOutput::from(money.to_string()),
        })
    }
}

/// A column's value; `None` when what is stored is not of its kind.
fn read_value<'r>(
    row: &'r Row<'_>,
    index: usize,
    kind: Kind,
) -> rusqlite::Result<Option<Value<'r>>> {
    Ok(match (row.get_ref(index)?, kind) {
        (ValueRef::Null, _) => Some(Value::Null),
        (ValueRef::Integer(number), Kind::Int) => Some(Value::Int(number)),
        (ValueRef::Integer(number), Kind::Bool) => Some(Value::Bool(number != 0)),
        (ValueRef::Blob(id), Kind::Id) => Uuid::from_slice(id).ok().map(Value::Id),
        (ValueRef::Text(text), kind) => {
            std::str::from_utf8(text).ok().and_then(|text| match kind {
                Kind::Text => Some(Value::Text(text.into())),
                Kind::Money => text.parse().ok().map(Value::Money),
                Kind::Id | Kind::Int | Kind::Bool => None,
            })
        }
        _ => None,
    })
}

fn classify(error: rusqlite::Error) -> StoreError {
    let refused = match &error {
        rusqlite::Error::SqliteFailure(failure, _) => matches!(
            failure.code,
            ErrorCode::ConstraintViolation
                | ErrorCode::TypeMismatch
                | ErrorCode::TooBig
                | ErrorCode::ParameterOutOfRange
        ),
        rusqlite::Error::ToSqlConversionFailure(_) => true,
        _ => false,
    };
    if refused {
        StoreError::Refused(Box::new(error))
    } else {
        StoreError::Unavailable(Box::new(error))
    }
}

/// Adds up money that is kept as text, without rounding.
struct ExactSum;

impl Aggregate<Option<Decimal>, Option<String>> for ExactSum {
    fn init(&self, _: &mut Context<'_>) -> rusqlite::Result<Option<Decimal>> {
        Ok(None)
    }

    fn step(&self, context: &mut Context<'_>, sum: &mut Option<Decimal>) -> rusqlite::Result<()> {
        let Some(text) = context.get::<Option<String>>(0)? else {
            return Ok(());
        };
        let failed = |error: rust_decimal::Error| rusqlite::Error::UserFunctionError(error.into());
        let money = Decimal::from_str_exact(&text).map_err(failed)?;
        let added = crate::usage::add_exactly(sum.unwrap_or_default(), money)
            .ok_or(rust_decimal::Error::ExceedsMaximumPossibleValue)
            .map_err(failed)?;
        *sum = Some(added);
        Ok(())
    }

    fn finalize(
        &self,
        _: &mut Context<'_>,
        sum: Option<Option<Decimal>>,
    ) -> rusqlite::Result<Option<String>> {
        Ok(sum.flatten().map(|sum| sum.to_string()))
    }
}
