//! A store that fails when it is told to.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bailian_ledger::{
    Change, Connect, Content, ContentOwner, Filter, GroupBy, Page, Reconciled, Record, Settlement,
    Span, Sqlite, Store, StoreError, Text, UsageRow,
};
use uuid::Uuid;

/// The same store behind every clone.
#[derive(Clone, Debug)]
pub(crate) struct Failing {
    inner: Sqlite,
    orders: Arc<Orders>,
    poison: Option<&'static str>,
}

#[derive(Debug, Default)]
struct Orders {
    is_away: AtomicBool,
    loses_answer: AtomicBool,
    /// The most changes that a transaction may have; 0 for any number.
    most_changes: AtomicUsize,
}

struct Open {
    store: Box<dyn Store>,
    orders: Arc<Orders>,
    poison: Option<&'static str>,
}

impl Failing {
    pub(crate) fn new(inner: Sqlite) -> Self {
        Self {
            inner,
            orders: Arc::default(),
            poison: None,
        }
    }

    pub(crate) fn go_away(&self) {
        self.orders.is_away.store(true, Ordering::Relaxed);
    }

    pub(crate) fn come_back(&self) {
        self.orders.is_away.store(false, Ordering::Relaxed);
    }

    /// The next transaction is committed, and answered by an error.
    pub(crate) fn lose_the_answer(&self) {
        self.orders.loses_answer.store(true, Ordering::Relaxed);
    }

    /// Fails at transactions of more changes, as a store does that is too slow for them.
    pub(crate) fn take_at_most(&self, changes: usize) {
        self.orders.most_changes.store(changes, Ordering::Relaxed);
    }

    pub(crate) fn refuse_tenant(&mut self, tenant: &'static str) {
        self.poison = Some(tenant);
    }
}

fn away() -> StoreError {
    StoreError::Unavailable(Box::new(io::Error::other("away on purpose")))
}

impl Connect for Failing {
    fn connect(&self) -> Result<Box<dyn Store>, StoreError> {
        if self.orders.is_away.load(Ordering::Relaxed) {
            return Err(away());
        }
        Ok(Box::new(Open {
            store: self.inner.connect()?,
            orders: Arc::clone(&self.orders),
            poison: self.poison,
        }))
    }
}

impl Open {
    fn ask(&mut self) -> Result<&mut dyn Store, StoreError> {
        if self.orders.is_away.load(Ordering::Relaxed) {
            return Err(away());
        }
        Ok(&mut *self.store)
    }
}

impl Store for Open {
    fn apply(&mut self, changes: &[Change], span: Option<&Span>) -> Result<(), StoreError> {
        let is_poison = |change: &Change| {
            let tenant = change.record().begin.tenant.as_ref();
            tenant.map(Text::as_str) == self.poison && self.poison.is_some()
        };
        if changes.iter().any(is_poison) {
            return Err(StoreError::Refused(Box::new(io::Error::other("poison"))));
        }
        let most = self.orders.most_changes.load(Ordering::Relaxed);
        if most > 0 && changes.len() > most {
            return Err(away());
        }
        self.ask()?.apply(changes, span)?;
        if self.orders.loses_answer.swap(false, Ordering::Relaxed) {
            return Err(away());
        }
        Ok(())
    }

    fn ingested(&mut self, segment: &str) -> Result<u64, StoreError> {
        self.ask()?.ingested(segment)
    }

    fn forget(&mut self, segment: &str) -> Result<(), StoreError> {
        self.ask()?.forget(segment)
    }

    fn bury(&mut self, process: Uuid) -> Result<u64, StoreError> {
        self.ask()?.bury(process)
    }

    fn bury_before(&mut self, before_unix_ms: u64) -> Result<u64, StoreError> {
        self.ask()?.bury_before(before_unix_ms)
    }

    fn reconcile(&mut self, id: Uuid, end: &Settlement<'_>) -> Result<Reconciled, StoreError> {
        self.ask()?.reconcile(id, end)
    }

    fn usage(&mut self, filter: &Filter, by: &[GroupBy]) -> Result<Vec<UsageRow>, StoreError> {
        self.ask()?.usage(filter, by)
    }

    fn records(&mut self, filter: &Filter, page: Page) -> Result<Vec<Record>, StoreError> {
        self.ask()?.records(filter, page)
    }

    fn delete_before(&mut self, before_unix_ms: u64, most: u32) -> Result<u64, StoreError> {
        self.ask()?.delete_before(before_unix_ms, most)
    }

    fn keep(&mut self, contents: &[Content]) -> Result<(), StoreError> {
        self.ask()?.keep(contents)
    }

    fn content(&mut self, id: Uuid) -> Result<Option<Content>, StoreError> {
        self.ask()?.content(id)
    }

    fn delete_content(&mut self, id: Uuid) -> Result<bool, StoreError> {
        self.ask()?.delete_content(id)
    }

    fn content_owners(&mut self) -> Result<Vec<ContentOwner>, StoreError> {
        self.ask()?.content_owners()
    }

    fn delete_contents(
        &mut self,
        owner: &ContentOwner,
        before_unix_ms: u64,
        most: u32,
    ) -> Result<u64, StoreError> {
        self.ask()?.delete_contents(owner, before_unix_ms, most)
    }
}
