//! One record per request of the `bailian` gateway: never lost, never doubled, never in the way.
//!
//! A request's beginning and its end are each one `write` to a file of the spool, on the thread
//! that serves the request. A thread of the ledger's own brings them into the store, exactly once.
//! While the store is away they stay in the spool; while the disk is full they stay in memory.
//!
//! * [`Ledger`] takes requests: [`Ledger::begin`], then [`Entry::settle`].
//! * [`Sqlite`] and, with the feature `postgres`, `Postgres` are where records go.
//! * [`Reader`] answers what was used, lists records, settles what nobody settled and exports.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! use bailian_ledger::{Begin, Filter, GroupBy, Ledger, Settings, Settlement, Sqlite, Tokens};
//!
//! let store = Sqlite::new(folder.path().join("ledger.db"));
//! let ledger = Ledger::open(Settings::new(folder.path().join("spool")), store)?;
//!
//! let mut begin = Begin::new(uuid::Uuid::now_v7(), 1_800_000_000_000);
//! begin.tenant = Some("研发部".into());
//! let entry = ledger.begin(&begin);
//!
//! let mut end = Settlement::new("completed");
//! end.tokens = Tokens::new(120, 40);
//! entry.settle(&end);
//!
//! ledger.flush(std::time::Duration::from_secs(5));
//! let usage = ledger.reader().usage(&Filter::default(), &[GroupBy::Tenant])?;
//! assert_eq!(usage[0].tokens.input, 120);
//! # Ok(())
//! # }
//! ```
#![deny(missing_docs, rustdoc::broken_intra_doc_links, rustdoc::bare_urls)]

mod cbor;
mod content;
mod export;
mod frame;
mod ledger;
mod query;
mod reader;
mod record;
mod spool;
mod status;
mod store;
mod text;
mod usage;
mod writer;

pub use content::{Content, ContentOwner};
pub use export::{ExportError, Format};
pub use ledger::{Entry, Ledger, OpenError, Settings};
pub use query::{Cursor, Filter, GroupBy, Page, UsageRow};
pub use reader::Reader;
pub use record::{
    Attempt, Begin, Estimate, MOST_ATTEMPTS, MOST_UNITS, Record, Settlement, Tokens, outcome,
};
pub use rust_decimal::Decimal;
pub use status::Status;
pub use store::{Change, Connect, MOST_GROUPS, Reconciled, Span, Sqlite, Store, StoreError};
#[cfg(feature = "postgres")]
pub use store::{Postgres, PostgresError};
pub use text::{Currency, Text};
