//! Records in PostgreSQL.

mod tls;
mod values;

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::runtime::Runtime;
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config, NoTls, Row, Statement};
use uuid::Uuid;

use self::values::{parameters, read_value};
use super::columns::{COLUMNS, Part, Value, read_record};
use super::sql::{Bound, Flavor};
use super::{Change, Connect, Reconciled, Span, Store, StoreError};
use crate::content::{Content, ContentOwner};
use crate::query::{Filter, GroupBy, Page, UsageRow};
use crate::record::{Record, Settlement};
use crate::usage::Groups;

/// Each brings the tables from the version of its index to the next. Never changed, only added to.
const MIGRATIONS: &[&str] = &[
    include_str!("postgres/001_records.sql"),
    include_str!("postgres/002_content.sql"),
];

const SQL: Flavor = Flavor::Postgres;

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(5);

/// How long a change may take; a network that swallows packets is then given up.
const CHANGE: Duration = Duration::from_secs(15);

/// How long a question may take.
const QUESTION: Duration = Duration::from_mins(2);

/// Processes that start together migrate one after the other under this number.
const MIGRATION_LOCK: i64 = 0x6261_696c_6961_6e00;

/// A PostgreSQL database, version 12 or later.
#[derive(Clone)]
pub struct Postgres {
    config: Config,
}

/// The address of a database cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PostgresError {
    /// It cannot be read. It is not repeated, since it may hold a password.
    #[error(
        "the PostgreSQL address is not valid: write postgres://USER:PASSWORD@HOST:PORT/DATABASE"
    )]
    Address,
}

impl Postgres {
    /// Records in the database at `address`: a URL or words such as `host=/run/postgresql
    /// dbname=bailian`. With `sslmode=require` the connection is encrypted and the server's
    /// certificate is checked by the machine's own rules; otherwise it is not encrypted.
    ///
    /// # Errors
    /// [`PostgresError::Address`] when the address cannot be read.
    pub fn new(address: &str) -> Result<Self, PostgresError> {
        let mut config: Config = address.parse().map_err(|_| PostgresError::Address)?;
        if config.get_application_name().is_none() {
            config.application_name("bailian-ledger");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT);
        }
        Ok(Self { config })
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres")
            .field("database", &self.config.get_dbname())
            .finish_non_exhaustive()
    }
}

impl Connect for Postgres {
    fn connect(&self) -> Result<Box<dyn Store>, StoreError> {
        let runtime = Background::new().map_err(unavailable)?;
        let (client, statements) = within(runtime.get()?, CHANGE, async {
            let mut client = open(self.config.clone()).await?;
            client.batch_execute(END_IDLE).await.map_err(classify)?;
            migrate(&mut client).await?;
            let statements = Statements {
                insert: client.prepare(&SQL.insert()).await.map_err(classify)?,
                settle: client.prepare(&SQL.settle()).await.map_err(classify)?,
            };
            Ok((client, statements))
        })?;
        Ok(Box::new(Open {
            runtime,
            client,
            statements,
        }))
    }
}

/// Where the network falls silent inside a transaction, the server would keep its locks for hours, and
/// every later connection would wait for them.
const END_IDLE: &str = "SET idle_in_transaction_session_timeout = '5s'";

/// The connection's own task runs whenever the client waits, on the same runtime.
async fn open(mut config: Config) -> Result<Client, StoreError> {
    if config.get_ssl_mode() == SslMode::Require {
        let tls = tls::Rustls::new().map_err(unavailable)?;
        let (client, connection) = config.connect(tls).await.map_err(classify)?;
        // Its error is the client's too.
        tokio::spawn(async { drop(connection.await) });
        return Ok(client);
    }
    config.ssl_mode(SslMode::Disable);
    let (client, connection) = config.connect(NoTls).await.map_err(classify)?;
    tokio::spawn(async { drop(connection.await) });
    Ok(client)
}

async fn migrate(client: &mut Client) -> Result<(), StoreError> {
    let change = client.transaction().await.map_err(classify)?;
    change
        .execute("SELECT pg_advisory_xact_lock($1)", &[&MIGRATION_LOCK])
        .await
        .map_err(classify)?;
    let exists: bool = change
        .query_one("SELECT to_regclass('ledger_schema') IS NOT NULL", &[])
        .await
        .and_then(|row| row.try_get(0))
        .map_err(classify)?;
    let found: i64 = if exists {
        change
            .query_one("SELECT coalesce(max(version), 0) FROM ledger_schema", &[])
            .await
            .and_then(|row| row.try_get(0))
            .map_err(classify)?
    } else {
        change
            .batch_execute("CREATE TABLE ledger_schema (version bigint NOT NULL)")
            .await
            .map_err(classify)?;
        0
    };
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    let done = usize::try_from(found).unwrap_or(usize::MAX);
    let Some(missing) = MIGRATIONS.get(done..) else {
        return Err(StoreError::Newer { found, known });
    };
    for migration in missing {
        change.batch_execute(migration).await.map_err(classify)?;
    }
    if !missing.is_empty() {
        change
            .execute("INSERT INTO ledger_schema (version) VALUES ($1)", &[&known])
            .await
            .map_err(classify)?;
    }
    change.commit().await.map_err(classify)
}

struct Open {
    runtime: Background,
    client: Client,
    statements: Statements,
}

/// A runtime that may be dropped anywhere. The plain way waits, which a thread that serves another
/// runtime must not.
struct Background(Option<Runtime>);

struct Statements {
    insert: Statement,
    settle: Statement,
}

impl Store for Open {
    fn apply(&mut self, changes: &[Change], span: Option<&Span>) -> Result<(), StoreError> {
        let Self {
            runtime,
            client,
            statements,
        } = self;
        within(runtime.get()?, CHANGE, async {
            let transaction = client.transaction().await.map_err(classify)?;
            if let Some(span) = span {
                let name = Value::Text(span.segment.as_str().into());
                if span.from == 0 {
                    transaction
                        .execute(&SQL.add_segment(), &[&name])
                        .await
                        .map_err(classify)?;
                }
                let (from, to) = (Value::moment(span.from), Value::moment(span.to));
                let advanced = transaction
                    .execute(&SQL.advance(), &[&name, &from, &to])
                    .await
                    .map_err(classify)?;
                if advanced != 1 {
                    return Err(StoreError::Overtaken);
                }
            }
            // All are sent before the first is answered. No two concern the same record, so that
            // their order does not matter.
            let (sender, statements) = (&transaction, &*statements);
            try_join_all(changes.iter().map(|change| async move {
                let statement = match change {
                    Change::Begin(_) => &statements.insert,
                    Change::Settle(_) => &statements.settle,
                };
                let record = change.record();
                let values: Vec<_> = COLUMNS.iter().map(|column| (column.get)(record)).collect();
                sender.execute(statement, &parameters(&values)).await
            }))
            .await
            .map_err(classify)?;
            transaction.commit().await.map_err(classify)
        })
    }

    fn ingested(&mut self, segment: &str) -> Result<u64, StoreError> {
        let name = Value::Text(segment.into());
        let rows = self.ask(&SQL.ingested(), &[name])?;
        let Some(row) = rows.first() else {
            return Ok(0);
        };
        let ingested: i64 = row.try_get(0).map_err(classify)?;
        u64::try_from(ingested).map_err(|_| StoreError::Unreadable("ingested"))
    }

    fn forget(&mut self, segment: &str) -> Result<(), StoreError> {
        self.change(&SQL.forget(), &[Value::Text(segment.into())])
            .map(drop)
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
        let rows = self.ask(&SQL.state_of(), &[Value::Id(id)])?;
        let Some(row) = rows.first() else {
            return Ok(Reconciled::NotFound);
        };
        let settled: bool = row.try_get(0).map_err(classify)?;
        Ok(if settled {
            Reconciled::AlreadySettled
        } else {
            Reconciled::Running
        })
    }

    fn usage(&mut self, filter: &Filter, by: &[GroupBy]) -> Result<Vec<UsageRow>, StoreError> {
        let Bound { sql, values } = SQL.usage(filter, by);
        let mut groups = Groups::default();
        for row in self.ask(&sql, &values)? {
            groups.read(
                by.len(),
                |index| row.try_get(index).map_err(classify),
                |index| row.try_get(index).map_err(classify),
            )?;
        }
        Ok(groups.into_rows())
    }

    fn records(&mut self, filter: &Filter, page: Page) -> Result<Vec<Record>, StoreError> {
        let Bound { sql, values } = SQL.records(filter, page);
        let rows = self.ask(&sql, &values)?;
        rows.iter()
            .map(|row| {
                read_record(|index, column| {
                    read_value(row, index, column.kind)
                        .map_err(classify)?
                        .ok_or(StoreError::Unreadable(column.name))
                })
            })
            .collect()
    }

    fn delete_before(&mut self, before_unix_ms: u64, most: u32) -> Result<u64, StoreError> {
        self.change(
            &SQL.delete_before(),
            &[Value::moment(before_unix_ms), Value::Int(most.into())],
        )
    }

    fn keep(&mut self, contents: &[Content]) -> Result<(), StoreError> {
        let Self {
            runtime, client, ..
        } = self;
        within(runtime.get()?, CHANGE, async {
            let transaction = client.transaction().await.map_err(classify)?;
            let keep = transaction.prepare(&SQL.keep()).await.map_err(classify)?;
            for content in contents {
                let values = content.values();
                let values = parameters(&values);
                transaction
                    .execute(&keep, &values)
                    .await
                    .map_err(classify)?;
            }
            transaction.commit().await.map_err(classify)
        })
    }

    fn content(&mut self, id: Uuid) -> Result<Option<Content>, StoreError> {
        let rows = self.ask(&SQL.content(), &[Value::Id(id)])?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        let read = || -> Result<Content, tokio_postgres::Error> {
            let owner = ContentOwner::new(
                row.try_get::<_, String>(1)?,
                row.try_get::<_, String>(2)?,
                row.try_get::<_, String>(3)?,
            );
            let kept = u64::try_from(row.try_get::<_, i64>(0)?).unwrap_or_default();
            let mut content = Content::new(id, kept, owner);
            content.redacted = row.try_get(4)?;
            content.request = row.try_get(5)?;
            content.request_cut = row.try_get(6)?;
            content.answer = row.try_get(7)?;
            content.answer_cut = row.try_get(8)?;
            Ok(content)
        };
        read().map(Some).map_err(classify)
    }

    fn delete_content(&mut self, id: Uuid) -> Result<bool, StoreError> {
        let deleted = self.change(&SQL.delete_content(), &[Value::Id(id)])?;
        Ok(deleted > 0)
    }

    fn content_owners(&mut self) -> Result<Vec<ContentOwner>, StoreError> {
        let read = |row: &Row| -> Result<ContentOwner, tokio_postgres::Error> {
            Ok(ContentOwner::new(
                row.try_get::<_, String>(0)?,
                row.try_get::<_, String>(1)?,
                row.try_get::<_, String>(2)?,
            ))
        };
        let rows = self.ask(SQL.content_owners(), &[])?;
        let owners: Result<_, _> = rows.iter().map(read).collect();
        owners.map_err(classify)
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

impl Background {
    fn new() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        Ok(Self(Some(runtime)))
    }

    /// The runtime, which is there until it is dropped.
    fn get(&self) -> Result<&Runtime, StoreError> {
        let closed = || unavailable(io::Error::other("the connection is closed"));
        self.0.as_ref().ok_or_else(closed)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Open {
    fn change(&self, sql: &str, values: &[Value<'_>]) -> Result<u64, StoreError> {
        within(self.runtime.get()?, CHANGE, async {
            let values = parameters(values);
            self.client.execute(sql, &values).await.map_err(classify)
        })
    }

    fn ask(&self, sql: &str, values: &[Value<'_>]) -> Result<Vec<Row>, StoreError> {
        within(self.runtime.get()?, QUESTION, async {
            let values = parameters(values);
            self.client.query(sql, &values).await.map_err(classify)
        })
    }
}

/// Waits for at most `limit`, on whatever thread.
fn within<T: Send>(
    runtime: &Runtime,
    limit: Duration,
    work: impl Future<Output = Result<T, StoreError>> + Send,
) -> Result<T, StoreError> {
    let wait = || {
        // The timer belongs to the runtime, so it is made on it.
        runtime
            .block_on(async { tokio::time::timeout(limit, work).await })
            .unwrap_or_else(|_| Err(unavailable(io::Error::from(io::ErrorKind::TimedOut))))
    };
    if tokio::runtime::Handle::try_current().is_err() {
        return wait();
    }
    // A thread that may be serving a runtime must not enter another.
    std::thread::scope(|scope| scope.spawn(wait).join())
        .unwrap_or_else(|_| Err(unavailable(io::Error::other("the connection panicked"))))
}

fn classify(error: tokio_postgres::Error) -> StoreError {
    // Class 22 is about data, 23 about constraints.
    let refused = error
        .code()
        .is_some_and(|state| state.code().starts_with("22") || state.code().starts_with("23"));
    if refused {
        StoreError::Refused(Box::new(error))
    } else {
        StoreError::Unavailable(Box::new(error))
    }
}

fn unavailable(error: impl Error + Send + Sync + 'static) -> StoreError {
    StoreError::Unavailable(Box::new(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_cannot_be_read_is_refused_without_repeating_its_password() {
        let error = Postgres::new("postgres://user:secret@host:port/").unwrap_err();
        assert!(!error.to_string().contains("secret"));
        let store = Postgres::new("postgres://user:secret@localhost/bailian").unwrap();
        assert!(!format!("{store:?}").contains("secret"));
    }
}
