//! What administrators do: every change is checked, written at once or not at all, and noted.

mod keys;

use std::sync::Arc;

use jiff::Timestamp;
use thiserror::Error;

pub use self::keys::{MAX_CREDENTIALS, MAX_OVERLAP};
use crate::id::{KeyId, NodeId, ProjectId, RandomError, TenantId};
use crate::key::{KeyText, Pepper};
use crate::model::{Project, Revision, Row, Tenant, VirtualKey};
use crate::money::Rates;
use crate::settings::{Problem, Settings, SettingsInput};
use crate::store::{Action, Actor, AuditNote, Batch, Store, StoreError, Write};

/// The name of the tenant and of the project that the first start makes.
const DEFAULT_NAME: &str = "default";

/// Changes tenants, projects and keys. Cheap to clone. Calls may block, as the store's.
#[derive(Clone, Debug)]
pub struct Admin {
    store: Arc<dyn Store>,
    pepper: Pepper,
    rates: Rates,
}

/// A change was not made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AdminError {
    /// The input is wrong; here is all that is.
    #[error("the input has {} problem(s)", .0.len())]
    Invalid(Vec<Problem>),
    /// There is no such thing.
    #[error("there is no {0}")]
    NotFound(NodeId),
    /// A revoked key can only be deleted.
    #[error("the key {0} was revoked; make a new one")]
    Revoked(KeyId),
    /// No random bytes for a new secret.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The store could not; also when somebody else was faster.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Admin {
    /// Works on a store with the installation's pepper and rates.
    pub fn new(store: Arc<dyn Store>, pepper: Pepper, rates: Rates) -> Self {
        Self {
            store,
            pepper,
            rates,
        }
    }

    /// The store, for reading.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Makes tenant `default`, project `default` and one key in a store that was never used, and
    /// gives the key's text, which nobody can read again. `None` at every later start.
    ///
    /// # Errors
    /// [`AdminError`] when the store or the random source fails.
    pub fn first_start(&self, now: Timestamp) -> Result<Option<KeyText>, AdminError> {
        if self.store.revision()? != Revision::default() {
            return Ok(None);
        }
        let at = to_millis(now);
        let settings = || Settings::named(DEFAULT_NAME);
        let tenant = Tenant::new(TenantId::random()?, settings(), at);
        let project = Project::new(ProjectId::random()?, tenant.id, settings(), at);
        let (credential, text) = self.new_secret(at)?;
        let key = VirtualKey::new(KeyId::random()?, project.id, credential, settings(), at);
        let actor = Actor::new("first start", None);
        let rows = [Row::Tenant(tenant), Row::Project(project), Row::Key(key)];
        match self.create(rows.into(), &actor, at) {
            Ok(_) => Ok(Some(text)),
            // Another replica starts for the first time in this moment, and prints its key.
            Err(AdminError::Store(StoreError::NameTaken | StoreError::Conflict { .. })) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates a tenant.
    ///
    /// # Errors
    /// [`AdminError`] when the input is wrong or the name is taken.
    pub fn create_tenant(
        &self,
        input: SettingsInput,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<Tenant, AdminError> {
        let settings = self.check(input)?;
        let at = to_millis(now);
        let mut tenant = Tenant::new(TenantId::random()?, settings, at);
        tenant.revision = self.create(vec![Row::Tenant(tenant.clone())], actor, at)?;
        Ok(tenant)
    }

    /// Creates a project of a tenant.
    ///
    /// # Errors
    /// [`AdminError`] when the input is wrong, the name is taken, or there is no such tenant.
    pub fn create_project(
        &self,
        tenant: TenantId,
        input: SettingsInput,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<Project, AdminError> {
        let settings = self.check(input)?;
        let at = to_millis(now);
        let mut project = Project::new(ProjectId::random()?, tenant, settings, at);
        project.revision = self.create(vec![Row::Project(project.clone())], actor, at)?;
        Ok(project)
    }

    /// Replaces the settings of a tenant, project or key that is at a revision.
    ///
    /// # Errors
    /// [`AdminError`] when the input is wrong, there is no such thing, it is at another revision,
    /// or it is a revoked key.
    pub fn update(
        &self,
        id: NodeId,
        expected: Revision,
        input: SettingsInput,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<Row, AdminError> {
        let settings = self.check(input)?;
        let before = self.find(id)?;
        let mut after = before.clone();
        match &mut after {
            Row::Tenant(tenant) => tenant.settings = settings,
            Row::Project(project) => project.settings = settings,
            Row::Key(key) if key.revoked.is_some() => return Err(AdminError::Revoked(key.id)),
            Row::Key(key) => key.settings = settings,
        }
        self.replace(&before, after, expected, Action::Update, actor, now)
    }

    /// Deletes a tenant, project or key that is at a revision, and everything below it. What it
    /// used stays in the ledger, what was done to it in the audit log.
    ///
    /// # Errors
    /// [`AdminError`] when there is no such thing or it is at another revision.
    pub fn delete(
        &self,
        id: NodeId,
        expected: Revision,
        cut_streams: bool,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<(), AdminError> {
        let before = self.find(id)?;
        same_revision(&before, expected)?;
        let batch = Batch {
            at: to_millis(now),
            writes: vec![Write::Delete {
                id,
                expected,
                cut_streams,
            }],
            audit: Vec::from_iter(AuditNote::new(actor, Action::Delete, Some(&before), None)),
        };
        self.store.commit(&batch)?;
        Ok(())
    }

    /// Notes in the audit log that the content of a request was read
    /// ([`Action::ReadContent`]) or deleted ([`Action::DeleteContent`]), before that is done.
    ///
    /// # Errors
    /// [`AdminError`] when the store cannot; then it must not be done either.
    pub fn note_content(
        &self,
        action: Action,
        key: KeyId,
        record: &str,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<(), AdminError> {
        let batch = Batch {
            at: to_millis(now),
            writes: Vec::new(),
            audit: vec![AuditNote::of_content(actor, action, key, record)],
        };
        self.store.commit(&batch)?;
        Ok(())
    }

    fn check(&self, input: SettingsInput) -> Result<Settings, AdminError> {
        input.check(&self.rates).map_err(AdminError::Invalid)
    }

    fn find(&self, id: NodeId) -> Result<Row, AdminError> {
        self.store.row(id)?.ok_or(AdminError::NotFound(id))
    }

    fn create(&self, rows: Vec<Row>, actor: &Actor, at: Timestamp) -> Result<Revision, AdminError> {
        let notes = rows
            .iter()
            .filter_map(|row| AuditNote::new(actor, Action::Create, None, Some(row)));
        let audit = notes.collect();
        let put = |row| Write::Put {
            row,
            expected: None,
        };
        let writes = rows.into_iter().map(put).collect();
        Ok(self.store.commit(&Batch { at, writes, audit })?)
    }

    fn replace(
        &self,
        before: &Row,
        mut after: Row,
        expected: Revision,
        action: Action,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<Row, AdminError> {
        same_revision(before, expected)?;
        let batch = Batch {
            at: to_millis(now),
            writes: vec![Write::Put {
                row: after.clone(),
                expected: Some(expected),
            }],
            audit: Vec::from_iter(AuditNote::new(actor, action, Some(before), Some(&after))),
        };
        let revision = self.store.commit(&batch)?;
        match &mut after {
            Row::Tenant(tenant) => tenant.revision = revision,
            Row::Project(project) => project.revision = revision,
            Row::Key(key) => key.revision = revision,
        }
        Ok(after)
    }
}

/// Makes sure that what the audit log will call "before" is what the change is made to; the store
/// then makes sure that it still is.
fn same_revision(before: &Row, expected: Revision) -> Result<(), AdminError> {
    if before.revision() == expected {
        return Ok(());
    }
    Err(AdminError::Store(StoreError::Conflict {
        id: before.id(),
        current: Some(before.revision()),
    }))
}

/// What stores keep of a time.
fn to_millis(at: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at)
}
