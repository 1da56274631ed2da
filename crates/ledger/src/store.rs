//! Where records end up.

mod columns;
#[cfg(feature = "postgres")]
mod postgres;
mod sql;
mod sqlite;

use std::fmt;

use uuid::Uuid;

pub(crate) use self::columns::{COLUMNS, Column, Kind, Value};
#[cfg(feature = "postgres")]
pub use self::postgres::{Postgres, PostgresError};
pub(crate) use self::sql::SUMS;
pub use self::sqlite::Sqlite;
use crate::content::{Content, ContentOwner};
use crate::query::{Filter, GroupBy, Page, UsageRow};
use crate::record::{Record, Settlement};

/// The most groups of one answer about usage.
pub const MOST_GROUPS: usize = 100_000;

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// It is away, full, or busy: the same may succeed later.
    #[error("the ledger's store is not available")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It refuses what it was given; the same fails again.
    #[error("the ledger's store refuses a record")]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A later version of the program has changed its tables.
    #[error("the ledger's store has version {found} of the tables, this program knows {known}")]
    Newer {
        /// The version it has.
        found: i64,
        /// The latest this program knows.
        known: i64,
    },
    /// Another process has ingested the same frames meanwhile.
    #[error("these frames were ingested by another process")]
    Overtaken,
    /// More groups than one answer may have.
    #[error("more than {MOST_GROUPS} groups: narrow the filter or group by less")]
    TooManyGroups,
    /// What is stored cannot be read as a record.
    #[error("the column {0} of the ledger's store holds what no record has")]
    Unreadable(&'static str),
}

/// A change of one record. No two changes of a batch concern the same one.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Change {
    /// A request began. It is ignored if the record exists.
    Begin(Box<Record>),
    /// A request ended. The end is written unless the record is settled; a record that does not
    /// exist is made of what is here.
    Settle(Box<Record>),
}

impl Change {
    /// The record, or what is known of it.
    pub fn record(&self) -> &Record {
        match self {
            Self::Begin(record) | Self::Settle(record) => record,
        }
    }
}

/// The part of a spool segment from which changes come.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Span {
    /// The segment's name, unique for ever.
    pub segment: String,
    /// How far it was ingested before.
    pub from: u64,
    /// How far it is ingested with these changes.
    pub to: u64,
}

/// What became of a reconciliation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reconciled {
    /// The record is settled now.
    Settled,
    /// It was settled before, and stays as it was.
    AlreadySettled,
    /// Its process has not been found dead: it may still settle the record itself.
    Running,
    /// There is no such record.
    NotFound,
}

/// A connection to where records are kept. Every call blocks.
pub trait Store: Send {
    /// Makes the changes and notes how far the segment is ingested, both or neither. Without a span
    /// the changes come from memory, and are safe to repeat.
    ///
    /// # Errors
    /// [`StoreError::Overtaken`] when the segment is not ingested to exactly `span.from`; other
    /// errors as they come. After any error nothing is known of whether it was done.
    fn apply(&mut self, changes: &[Change], span: Option<&Span>) -> Result<(), StoreError>;

    /// How far a segment is ingested; 0 when it is unknown.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot say.
    fn ingested(&mut self, segment: &str) -> Result<u64, StoreError>;

    /// Forgets a segment whose file is gone.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot.
    fn forget(&mut self, segment: &str) -> Result<(), StoreError>;

    /// Gives the running records of a dead process the outcome `unknown`; answers how many.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot.
    fn bury(&mut self, process: Uuid) -> Result<u64, StoreError>;

    /// The same for all records that began before a moment: for processes whose folder is lost.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot.
    fn bury_before(&mut self, before_unix_ms: u64) -> Result<u64, StoreError>;

    /// Settles a record with the outcome `unknown`, once.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot.
    fn reconcile(&mut self, id: Uuid, end: &Settlement<'_>) -> Result<Reconciled, StoreError>;

    /// Sums by group, in the order of the groups.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot say.
    fn usage(&mut self, filter: &Filter, by: &[GroupBy]) -> Result<Vec<UsageRow>, StoreError>;

    /// Records in the order of their beginning.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot say.
    fn records(&mut self, filter: &Filter, page: Page) -> Result<Vec<Record>, StoreError>;

    /// Deletes at most `most` records that began before a moment; answers how many.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot.
    fn delete_before(&mut self, before_unix_ms: u64, most: u32) -> Result<u64, StoreError>;

    /// Keeps contents, all or none. One that is kept already stays as it is.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot.
    fn keep(&mut self, contents: &[Content]) -> Result<(), StoreError>;

    /// What is kept of a request.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot say.
    fn content(&mut self, id: Uuid) -> Result<Option<Content>, StoreError>;

    /// Deletes what is kept of a request; answers whether there was something.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot.
    fn delete_content(&mut self, id: Uuid) -> Result<bool, StoreError>;

    /// All of whom something is kept.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot say.
    fn content_owners(&mut self) -> Result<Vec<ContentOwner>, StoreError>;

    /// Deletes at most `most` contents of an owner that were kept before a moment; answers how
    /// many.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot.
    fn delete_contents(
        &mut self,
        owner: &ContentOwner,
        before_unix_ms: u64,
        most: u32,
    ) -> Result<u64, StoreError>;
}

/// How to reach a store. The ledger connects again after every error.
pub trait Connect: fmt::Debug + Send + Sync {
    /// Connects, and brings the tables to this program's version.
    ///
    /// # Errors
    /// [`StoreError`] when it is not reachable or of a later version.
    fn connect(&self) -> Result<Box<dyn Store>, StoreError>;
}
