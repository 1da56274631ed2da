//! What administrators do: every change is checked, written at once or not at all, and noted.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;

use crate::id::{KeyId, NodeId, ProjectId, RandomError, TenantId};
use crate::key::{KeyText, Pepper, check_plain};
use crate::model::{Credential, Project, Revision, Revocation, Row, Tenant, VirtualKey};
use crate::money::Rates;
use crate::settings::{Problem, Settings, SettingsInput};
use crate::store::{Action, Actor, AuditNote, Batch, Store, StoreError, Write};

/// The longest time in which an old secret opens beside a new one.
pub const MAX_OVERLAP: Duration = Duration::from_hours(90 * 24);
/// The most secrets that open a key at once.
pub const MAX_CREDENTIALS: usize = 4;
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

    /// Creates a key of a project and gives its text, which nobody can read again.
    ///
    /// # Errors
    /// [`AdminError`] when the input is wrong, the name is taken, or there is no such project.
    pub fn create_key(
        &self,
        project: ProjectId,
        input: SettingsInput,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<(VirtualKey, KeyText), AdminError> {
        let settings = self.check(input)?;
        let at = to_millis(now);
        let (credential, text) = self.new_secret(at)?;
        let mut key = VirtualKey::new(KeyId::random()?, project, credential, settings, at);
        key.revision = self.create(vec![Row::Key(key.clone())], actor, at)?;
        Ok((key, text))
    }

    /// Creates a key whose text somebody chose.
    ///
    /// # Errors
    /// [`AdminError`] as [`create_key`](Self::create_key), and when the text is no good key.
    pub fn create_chosen_key(
        &self,
        project: ProjectId,
        input: SettingsInput,
        text: &SecretString,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<VirtualKey, AdminError> {
        check_plain(text)
            .map_err(|error| AdminError::Invalid(vec![Problem::new("key", error.to_string())]))?;
        let settings = self.check(input)?;
        let at = to_millis(now);
        let verifier = self.pepper.verifier(text.expose_secret().as_bytes());
        let credential = Credential::new(None, verifier, at);
        let mut key = VirtualKey::new(KeyId::random()?, project, credential, settings, at);
        key.revision = self.create(vec![Row::Key(key.clone())], actor, at)?;
        Ok(key)
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

    /// Gives a key a new secret. The old ones open for `overlap` longer, unless they end sooner.
    ///
    /// # Errors
    /// [`AdminError`] when there is no such key, it is at another revision or revoked, the overlap
    /// is longer than [`MAX_OVERLAP`], or [`MAX_CREDENTIALS`] open it already.
    pub fn rotate(
        &self,
        id: KeyId,
        expected: Revision,
        overlap: Duration,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<(VirtualKey, KeyText), AdminError> {
        let at = to_millis(now);
        let end = at
            .checked_add(overlap)
            .ok()
            .filter(|_| overlap <= MAX_OVERLAP);
        let end = end.ok_or_else(|| invalid("overlap", "is longer than 90 days"))?;
        let before = self.find_key(id)?;
        let mut key = before.clone();
        for credential in &mut key.credentials {
            let until = credential.valid_until.map_or(end, |until| until.min(end));
            credential.valid_until = Some(until);
        }
        key.credentials.retain(|credential| credential.is_valid(at));
        if key.credentials.len() >= MAX_CREDENTIALS {
            let problem = "four secrets open the key already; wait until the oldest ends";
            return Err(invalid("credentials", problem));
        }
        let (credential, text) = self.new_secret(at)?;
        key.credentials.push(credential);
        let action = Action::Rotate;
        let key = self.replace_key(before, key, expected, action, actor, now)?;
        Ok((key, text))
    }

    /// Ends a key for ever; with `cut_streams`, its open streams too.
    ///
    /// Whatever its revision is, since whoever revokes a key is in a hurry. Revoking a revoked key
    /// can add that streams are cut.
    ///
    /// # Errors
    /// [`AdminError`] when there is no such key.
    pub fn revoke(
        &self,
        id: KeyId,
        cut_streams: bool,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<VirtualKey, AdminError> {
        loop {
            let Row::Key(before) = self.find(NodeId::Key(id))? else {
                return Err(AdminError::NotFound(NodeId::Key(id)));
            };
            let mut key = before.clone();
            let revoked = key.revoked.get_or_insert(Revocation {
                at: to_millis(now),
                cut_streams,
            });
            revoked.cut_streams |= cut_streams;
            if key == before {
                return Ok(key);
            }
            let expected = before.revision;
            match self.replace_key(before, key, expected, Action::Revoke, actor, now) {
                // Each conflict is another's progress, so this ends.
                Err(AdminError::Store(StoreError::Conflict { .. })) => {}
                result => return result,
            }
        }
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

    fn find_key(&self, id: KeyId) -> Result<VirtualKey, AdminError> {
        match self.find(NodeId::Key(id))? {
            Row::Key(key) if key.revoked.is_some() => Err(AdminError::Revoked(id)),
            Row::Key(key) => Ok(key),
            Row::Tenant(_) | Row::Project(_) => Err(AdminError::NotFound(NodeId::Key(id))),
        }
    }

    fn new_secret(&self, at: Timestamp) -> Result<(Credential, KeyText), AdminError> {
        let text = KeyText::generate()?;
        let verifier = self.pepper.verifier(text.expose_secret().as_bytes());
        Ok((Credential::new(Some(text.public_id()), verifier, at), text))
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

    fn replace_key(
        &self,
        before: VirtualKey,
        after: VirtualKey,
        expected: Revision,
        action: Action,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<VirtualKey, AdminError> {
        let mut replaced = after.clone();
        let (before, after) = (Row::Key(before), Row::Key(after));
        let row = self.replace(&before, after, expected, action, actor, now)?;
        replaced.revision = row.revision();
        Ok(replaced)
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

fn invalid(path: &str, message: &str) -> AdminError {
    AdminError::Invalid(vec![Problem::new(path, message)])
}

/// What stores keep of a time.
fn to_millis(at: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at)
}
