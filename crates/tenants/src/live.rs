//! The directory that requests read, kept up with the store.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::directory::Directory;
use crate::id::KeyId;
use crate::key::Pepper;
use crate::model::{Revision, Row, Unusable};
use crate::store::{Store, StoreError};

/// The current [`Directory`] behind an atomic pointer.
///
/// Requests take [`current`](Self::current), which never waits. Something calls
/// [`refresh`](Self::refresh) every 250 ms or so, on a thread that may block; after a change made by
/// this process, at once. So a revoked key stops to open on all replicas within a second.
pub struct Live {
    directory: ArcSwap<Directory>,
    store: Arc<dyn Store>,
    refreshing: Mutex<()>,
}

/// That the directory changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refreshed {
    /// The revision that it shows now.
    pub revision: Revision,
    /// The keys whose open streams are to end at once.
    pub cut: Vec<KeyId>,
    /// What changed and cannot be understood, so that it opens nothing now. For the operator's log.
    pub unusable: Vec<Unusable>,
}

impl Live {
    /// Loads a store, beside rows that a configuration fixes.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read, or holds what cannot be understood: while it
    /// starts, a gateway can still say so.
    pub fn load(
        store: Arc<dyn Store>,
        pepper: Pepper,
        fixed: Vec<Row>,
    ) -> Result<Self, StoreError> {
        let changes = store.changes_since(Revision::default())?;
        if let Some(unusable) = changes.unusable.first() {
            return Err(StoreError::Unusable {
                what: unusable.id.to_string(),
                problems: unusable.problems.clone(),
            });
        }
        let directory = Directory::new(pepper, fixed).with_changes(changes);
        Ok(Self {
            directory: ArcSwap::from_pointee(directory),
            store,
            refreshing: Mutex::new(()),
        })
    }

    /// The directory of this moment.
    pub fn current(&self) -> Arc<Directory> {
        self.directory.load_full()
    }

    /// Takes over what changed in the store; `None` when nothing did.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer or cannot be used. The directory stays as it
    /// is, and the next call tries again.
    pub fn refresh(&self) -> Result<Option<Refreshed>, StoreError> {
        let _alone = self.refreshing.lock();
        let before = self.directory.load_full();
        if self.store.revision()? == before.revision() {
            return Ok(None);
        }
        let changes = self.store.changes_since(before.revision())?;
        let mut cut: Vec<KeyId> = changes.cut().collect();
        let is_whole = changes.is_whole;
        let unusable = changes.unusable.clone();
        let after = before.with_changes(changes);
        if is_whole {
            // Of what is gone nobody knows how it went, so it goes at once.
            cut.extend(before.key_ids().filter(|id| !after.has_key(*id)));
        }
        let revision = after.revision();
        self.directory.store(Arc::new(after));
        Ok(Some(Refreshed {
            revision,
            cut,
            unusable,
        }))
    }
}

impl Live {
    /// Shows other rows of a configuration from now on. Reads the whole store, so that a row which a
    /// fixed one hid is seen again. Open streams of keys that are gone go on.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer. The directory stays as it is.
    pub fn set_fixed(&self, fixed: Vec<Row>) -> Result<(), StoreError> {
        let _alone = self.refreshing.lock();
        let before = self.directory.load_full();
        let changes = self.store.changes_since(Revision::default())?;
        // The next refresh takes the changes since then once more, and learns from them whom to cut.
        let after = before
            .with_fixed(fixed)
            .with_changes(changes)
            .at(before.revision());
        self.directory.store(Arc::new(after));
        Ok(())
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live")
            .field("directory", &self.directory.load())
            .finish_non_exhaustive()
    }
}
