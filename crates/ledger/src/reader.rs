//! Questions to the store, and the few changes that operators make.

use std::io::Write;
use std::sync::Arc;

use uuid::Uuid;

use crate::content::{Content, ContentOwner};
use crate::export::{ExportError, Format, Sheet};
use crate::query::{Filter, GroupBy, Page, UsageRow};
use crate::record::{Record, Settlement};
use crate::store::{Connect, Reconciled, Store, StoreError};

/// Records that are deleted in one transaction, so that nobody waits long for its end.
const DELETE: u32 = 1000;

/// Milliseconds of a day.
const DAY_MS: u64 = 86_400_000;

/// A connection to the store for questions. It connects when it is first asked, and again after an
/// error. Every call blocks: from asynchronous code, call it on a thread where blocking is allowed.
#[derive(Debug)]
pub struct Reader {
    connect: Arc<dyn Connect>,
    store: Connection,
}

/// The connection, if there is one.
struct Connection(Option<Box<dyn Store>>);

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "open" } else { "closed" })
    }
}

impl Reader {
    /// Questions to a store without a ledger of one's own.
    pub fn new(connect: impl Connect + 'static) -> Self {
        Self::over(Arc::new(connect))
    }

    pub(crate) fn over(connect: Arc<dyn Connect>) -> Self {
        Self {
            connect,
            store: Connection(None),
        }
    }

    /// Exact sums by group. With no group, one row for all, or none if there is no record.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot say, or there are more than
    /// [`MOST_GROUPS`](crate::MOST_GROUPS).
    pub fn usage(&mut self, filter: &Filter, by: &[GroupBy]) -> Result<Vec<UsageRow>, StoreError> {
        self.with(|store| store.usage(filter, by))
    }

    /// One page of records. The next one is behind the last record's [`cursor`](Record::cursor).
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot say.
    pub fn records(&mut self, filter: &Filter, page: Page) -> Result<Vec<Record>, StoreError> {
        self.with(|store| store.records(filter, page))
    }

    /// Writes records in the order of their beginning; answers how many. What is begun or settled
    /// meanwhile may be in it or not.
    ///
    /// # Errors
    /// [`ExportError`] when the store cannot say, or the output takes no more.
    pub fn export(
        &mut self,
        format: Format,
        filter: &Filter,
        output: impl Write + Send,
    ) -> Result<u64, ExportError> {
        let mut page = Page::first(Page::MOST);
        let mut sheet = Sheet::begin(format, output)?;
        let mut count = 0;
        loop {
            let records = self.records(filter, page)?;
            let Some(last) = records.last() else {
                sheet.end()?;
                return Ok(count);
            };
            page = page.after(last.cursor());
            count += records.len() as u64;
            sheet.write(&records)?;
        }
    }

    /// Settles a record with the outcome `unknown`, exactly once.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot.
    pub fn reconcile(&mut self, id: Uuid, end: &Settlement<'_>) -> Result<Reconciled, StoreError> {
        self.with(|store| store.reconcile(id, end))
    }

    /// Gives all records that are `running` and began before a moment the outcome `unknown`. For
    /// processes whose spool is lost; those whose spool is there are found by themselves. A request
    /// that is in flight after all can still settle its record.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot.
    pub fn bury_before(&mut self, before_unix_ms: u64) -> Result<u64, StoreError> {
        self.with(|store| store.bury_before(before_unix_ms))
    }

    /// Deletes records older than `days` before `now_unix_ms`, a few at a time; answers how many.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot; some records may be deleted by then.
    pub fn retain_days(&mut self, days: u32, now_unix_ms: u64) -> Result<u64, StoreError> {
        let before = now_unix_ms.saturating_sub(u64::from(days) * DAY_MS);
        let mut deleted = 0;
        loop {
            let some = self.with(|store| store.delete_before(before, DELETE))?;
            deleted += some;
            if some < u64::from(DELETE) {
                return Ok(deleted);
            }
        }
    }

    /// Keeps what requests said and were answered, all or nothing.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot.
    pub fn keep(&mut self, contents: &[Content]) -> Result<(), StoreError> {
        self.with(|store| store.keep(contents))
    }

    /// What is kept of a request.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot say.
    pub fn content(&mut self, id: Uuid) -> Result<Option<Content>, StoreError> {
        self.with(|store| store.content(id))
    }

    /// Deletes what is kept of a request; answers whether there was something.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot.
    pub fn delete_content(&mut self, id: Uuid) -> Result<bool, StoreError> {
        self.with(|store| store.delete_content(id))
    }

    /// Deletes the content that nobody wants kept any longer, a few at a time; answers how many.
    /// `days` says for how many days an owner's is kept; `None` deletes all of it.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot; some may be deleted by then.
    pub fn retain_contents(
        &mut self,
        now_unix_ms: u64,
        days: impl Fn(&ContentOwner) -> Option<u32>,
    ) -> Result<u64, StoreError> {
        let mut deleted = 0;
        for owner in self.with(|store| store.content_owners())? {
            let before = days(&owner).map_or(u64::MAX, |days| {
                now_unix_ms.saturating_sub(u64::from(days) * DAY_MS)
            });
            loop {
                let some = self.with(|store| store.delete_contents(&owner, before, DELETE))?;
                deleted += some;
                if some < u64::from(DELETE) {
                    break;
                }
            }
        }
        Ok(deleted)
    }

    fn with<T>(
        &mut self,
        ask: impl FnOnce(&mut dyn Store) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut store = match self.store.0.take() {
            Some(store) => store,
            None => self.connect.connect()?,
        };
        let answer = ask(&mut *store);
        // After an error of the connection another one is made.
        if !matches!(answer, Err(StoreError::Unavailable(_))) {
            self.store.0 = Some(store);
        }
        answer
    }
}
