//! Tenants, projects and virtual keys as they are stored.

use jiff::Timestamp;
use serde::Serialize;

use crate::id::{KeyId, NodeId, ProjectId, TenantId};
use crate::key::{PublicId, Verifier};
use crate::settings::{Problem, Settings};
#[cfg(any(feature = "postgres", feature = "sqlite"))]
use crate::store::StoreError;

/// The number of a change to the store; every change has a greater one than all before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Revision(pub u64);

/// Whoever pays: the root of a tree of projects and keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// The change that made it what it is.
    pub revision: Revision,
    /// When it was created.
    pub created_at: Timestamp,
    /// What it is set to.
    #[serde(flatten)]
    pub settings: Settings,
}

/// A part of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Project {
    /// Its id.
    pub id: ProjectId,
    /// The tenant that it belongs to.
    pub tenant: TenantId,
    /// The change that made it what it is.
    pub revision: Revision,
    /// When it was created.
    pub created_at: Timestamp,
    /// What it is set to.
    #[serde(flatten)]
    pub settings: Settings,
}

/// What one caller presents, with its own limits. Its secret can change while it stays the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct VirtualKey {
    /// Its id; rotation keeps it.
    pub id: KeyId,
    /// The project that it belongs to.
    pub project: ProjectId,
    /// The change that made it what it is.
    pub revision: Revision,
    /// When it was created.
    pub created_at: Timestamp,
    /// The secrets that open it, the newest last.
    pub credentials: Vec<Credential>,
    /// Set when it was revoked, for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Revocation>,
    /// What it is set to.
    #[serde(flatten)]
    pub settings: Settings,
}

/// One secret of a key. Serializes without what could be tried against.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Credential {
    /// What recognises a generated key; `None` for a key that somebody chose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_id: Option<PublicId>,
    /// What is kept of the key.
    #[serde(skip)]
    pub verifier: Verifier,
    /// Since when it opens.
    pub created_at: Timestamp,
    /// When it stops to open, after another took its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Timestamp>,
}

/// That a key was revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Revocation {
    /// When.
    pub at: Timestamp,
    /// Whether its open streams end at once, too.
    pub cut_streams: bool,
}

/// One stored thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Row {
    /// A tenant.
    Tenant(Tenant),
    /// A project.
    Project(Project),
    /// A virtual key.
    Key(VirtualKey),
}

/// A deleted thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deleted {
    /// What was deleted.
    pub id: NodeId,
    /// Whether open streams end at once, too; for keys.
    pub cut_streams: bool,
}

/// What changed in a store after some revision, or all that it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Changes {
    /// The revision up to which this reaches.
    pub revision: Revision,
    /// Whether this is all there is, so that what is missing is gone.
    pub is_whole: bool,
    /// Tenants, then projects, then keys, as they are now.
    pub rows: Vec<Row>,
    /// What is gone.
    pub deleted: Vec<Deleted>,
    /// What is there and cannot be understood. It opens nothing, and everything else goes on: a
    /// setting that a newer program wrote must not keep an older one from hearing of a revoked key.
    pub unusable: Vec<Unusable>,
}

/// A row that cannot be understood: a newer program wrote it, or it does not fit the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unusable {
    /// Which place in the tree.
    pub id: NodeId,
    /// What is wrong with it.
    pub problems: Vec<Problem>,
}

// === impl Tenant, Project, VirtualKey ===

impl Tenant {
    /// A tenant that no store holds, for what stands in a configuration.
    pub fn new(id: TenantId, settings: Settings, created_at: Timestamp) -> Self {
        Self {
            id,
            revision: Revision::default(),
            created_at,
            settings,
        }
    }
}

impl Project {
    /// A project that no store holds, for what stands in a configuration.
    pub fn new(id: ProjectId, tenant: TenantId, settings: Settings, created_at: Timestamp) -> Self {
        Self {
            id,
            tenant,
            revision: Revision::default(),
            created_at,
            settings,
        }
    }
}

impl VirtualKey {
    /// A key that no store holds, for what stands in a configuration.
    pub fn new(
        id: KeyId,
        project: ProjectId,
        credential: Credential,
        settings: Settings,
        created_at: Timestamp,
    ) -> Self {
        Self {
            id,
            project,
            revision: Revision::default(),
            created_at,
            credentials: vec![credential],
            revoked: None,
            settings,
        }
    }
}

impl Credential {
    /// A secret that opens from now on.
    pub fn new(public_id: Option<PublicId>, verifier: Verifier, created_at: Timestamp) -> Self {
        Self {
            public_id,
            verifier,
            created_at,
            valid_until: None,
        }
    }

    /// Whether it opens at an instant.
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.valid_until.is_none_or(|until| now < until)
    }
}

// === impl Row ===

impl Row {
    /// Which place in the tree it is.
    pub fn id(&self) -> NodeId {
        match self {
            Self::Tenant(tenant) => NodeId::Tenant(tenant.id),
            Self::Project(project) => NodeId::Project(project.id),
            Self::Key(key) => NodeId::Key(key.id),
        }
    }

    /// The change that made it what it is.
    pub fn revision(&self) -> Revision {
        match self {
            Self::Tenant(tenant) => tenant.revision,
            Self::Project(project) => project.revision,
            Self::Key(key) => key.revision,
        }
    }

    /// What it is set to.
    pub fn settings(&self) -> &Settings {
        match self {
            Self::Tenant(tenant) => &tenant.settings,
            Self::Project(project) => &project.settings,
            Self::Key(key) => &key.settings,
        }
    }
}

impl Changes {
    /// Rows of a configuration, as if a store held them and nothing else.
    pub fn whole(revision: Revision, rows: Vec<Row>) -> Self {
        Self {
            revision,
            is_whole: true,
            rows,
            ..Self::default()
        }
    }

    /// What a store with this revision will tell of the time after another: all there is when that
    /// is the beginning, another store's, or before the deletions that are remembered.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    pub(crate) fn begin(revision: Revision, since: Revision, known_since: Revision) -> Self {
        Self {
            revision,
            is_whole: since == Revision(0) || since > revision || since < known_since,
            ..Self::default()
        }
    }

    /// Takes a row, also one that cannot be understood.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    pub(crate) fn take(&mut self, row: Result<Row, StoreError>) -> Result<(), StoreError> {
        match row {
            Ok(row) => self.rows.push(row),
            Err(StoreError::Unusable { what, problems }) => match what.parse() {
                Ok(id) => self.unusable.push(Unusable { id, problems }),
                Err(_) => return Err(StoreError::Unusable { what, problems }),
            },
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// The keys whose open streams are to end at once.
    pub fn cut(&self) -> impl Iterator<Item = KeyId> {
        let revoked = self.rows.iter().filter_map(|row| match row {
            Row::Key(key) => key.revoked.filter(|it| it.cut_streams).map(|_| key.id),
            _ => None,
        });
        let deleted = self.deleted.iter().filter_map(|deleted| match deleted.id {
            NodeId::Key(id) if deleted.cut_streams => Some(id),
            _ => None,
        });
        revoked.chain(deleted)
    }
}
