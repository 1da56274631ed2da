//! Who may enter: an immutable picture of all tenants, projects and keys.

mod caller;
mod denied;
mod node;

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use subtle::ConstantTimeEq;

pub use self::caller::{Caller, NotAllowed};
pub use self::denied::{DenialReason, Denied};
pub use self::node::Node;
use crate::id::{KeyId, NodeId, ProjectId, TenantId};
use crate::key::{MAX_KEY_CHARS, Pepper, PublicId, Verifier};
use crate::model::{Changes, Credential, Project, Revision, Row, Tenant, VirtualKey};
use crate::settings::{KeepContent, Settings};

/// All tenants, projects and keys at one revision. Changes make a new one
/// ([`with_changes`](Self::with_changes)), so that it can stand behind an atomic pointer.
#[derive(Clone)]
pub struct Directory {
    pepper: Pepper,
    revision: Revision,
    tenants: HashMap<TenantId, Arc<Node>>,
    projects: HashMap<ProjectId, ProjectEntry>,
    keys: HashMap<KeyId, KeyEntry>,
    by_public_id: HashMap<PublicId, KeyId>,
    by_verifier: HashMap<Verifier, KeyId>,
    /// Rows that come from a configuration and that no store can take away.
    fixed: Arc<[Row]>,
    nobody: Nobody,
}

#[derive(Clone)]
struct ProjectEntry {
    tenant: TenantId,
    node: Arc<Node>,
}

#[derive(Clone)]
struct KeyEntry {
    project: ProjectId,
    node: Arc<Node>,
    credentials: Arc<[Credential]>,
    is_revoked: bool,
}

/// What a wrong key is compared with, so that it takes the way of a right one to its end.
#[derive(Clone)]
struct Nobody {
    tenant: Arc<Node>,
    project: ProjectEntry,
    key: KeyEntry,
}

// === impl Directory ===

impl Directory {
    /// A directory in which nobody is but what a configuration fixes.
    ///
    /// Fixed rows stay whatever a store says, and win over rows of the same id.
    pub fn new(pepper: Pepper, fixed: Vec<Row>) -> Self {
        let empty = Self {
            nobody: Nobody::new(),
            pepper,
            revision: Revision::default(),
            tenants: HashMap::new(),
            projects: HashMap::new(),
            keys: HashMap::new(),
            by_public_id: HashMap::new(),
            by_verifier: HashMap::new(),
            fixed: fixed.into(),
        };
        empty.with_changes(Changes::whole(Revision::default(), Vec::new()))
    }

    /// An empty directory with the same pepper and other fixed rows.
    pub(crate) fn with_fixed(&self, fixed: Vec<Row>) -> Self {
        Self::new(self.pepper.clone(), fixed)
    }

    /// The same, said to be of another revision.
    pub(crate) fn at(self, revision: Revision) -> Self {
        Self { revision, ..self }
    }

    /// The directory after changes to it. Changes that it has already do nothing.
    #[must_use]
    pub fn with_changes(&self, changes: Changes) -> Self {
        let mut next = self.clone();
        if changes.is_whole {
            next.tenants.clear();
            next.projects.clear();
            next.keys.clear();
            next.by_public_id.clear();
            next.by_verifier.clear();
        }
        next.revision = changes.revision;
        for deleted in changes.deleted {
            next.remove(deleted.id);
        }
        for unusable in changes.unusable {
            next.remove(unusable.id);
        }
        for row in changes.rows {
            next.put(row);
        }
        let fixed = Arc::clone(&next.fixed);
        for row in fixed.iter() {
            next.put(row.clone());
        }
        next
    }

    /// The revision of the store that it shows.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// How many keys there are, of whatever state.
    pub fn key_count(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn has_key(&self, id: KeyId) -> bool {
        self.keys.contains_key(&id)
    }

    pub(crate) fn key_ids(&self) -> impl Iterator<Item = KeyId> {
        self.keys.keys().copied()
    }

    /// Finds the caller behind what was presented as a key.
    ///
    /// Takes one MAC, the same look-ups and the same checks whether a key is right, wrong, missing,
    /// disabled, expired, revoked or used from elsewhere; only the length of the text counts.
    ///
    /// # Errors
    /// [`Denied`], which looks alike for every reason.
    pub fn authenticate(
        &self,
        presented: &[u8],
        now: Timestamp,
        address: IpAddr,
    ) -> Result<Caller, Denied> {
        // A longer text is no key; its beginning is digested so that time does not tell.
        let is_too_long = presented.len() > MAX_KEY_CHARS;
        let text = presented.get(..MAX_KEY_CHARS).unwrap_or(presented);
        let verifier = self.pepper.verifier(text);

        // Both look-ups are always made. The first finds generated keys by their public part; the
        // second finds chosen keys by a digest that nobody without the pepper can aim at.
        let by_public_id =
            PublicId::in_text(text).and_then(|public_id| self.by_public_id.get(&public_id));
        let by_verifier = self.by_verifier.get(&verifier);
        let meant = by_public_id.or(by_verifier).copied();
        let entry = meant.and_then(|id| self.keys.get(&id));
        let entry = entry.unwrap_or(&self.nobody.key);
        let project = self.projects.get(&entry.project);
        let tenant_id = project.map_or(self.nobody.project.tenant, |it| it.tenant);
        let tenant = self.tenants.get(&tenant_id);
        // A key without its project or tenant has lost what limits it, and opens nothing.
        let is_complete = project.is_some() && tenant.is_some();
        let project = project.unwrap_or(&self.nobody.project);
        let tenant = tenant.unwrap_or(&self.nobody.tenant);

        let mut matching = None;
        for credential in entry.credentials.iter() {
            if bool::from(credential.verifier.ct_eq(&verifier)) {
                matching = Some(credential);
            }
        }
        let is_open = matching.is_some_and(|credential| credential.is_valid(now));

        // Every check is made and the first that fails is kept, so that none ends the way early.
        let mut reason = None;
        let mut check = |fails: bool, why: DenialReason| {
            if fails && reason.is_none() {
                reason = Some(why);
            }
        };
        check(presented.is_empty(), DenialReason::Missing);
        check(is_too_long || meant.is_none(), DenialReason::Unknown);
        check(meant.is_some() && !is_complete, DenialReason::Unknown);
        check(matching.is_none(), DenialReason::WrongSecret);
        check(entry.is_revoked, DenialReason::Revoked);
        check(!is_open, DenialReason::RotatedAway);
        for node in [&entry.node, &project.node, tenant] {
            let level = node.id().level();
            check(node.settings().disabled, DenialReason::Disabled(level));
            check(node.is_expired(now), DenialReason::Expired(level));
            check(!node.allows_address(address), DenialReason::Address(level));
        }
        match (reason, meant, matching) {
            (None, Some(key), Some(credential)) => Ok(Caller::new(
                [&entry.node, &project.node, tenant].map(Arc::clone),
                (key, entry.project, project.tenant),
                credential.public_id,
            )),
            (reason, key, _) => Err(Denied {
                reason: reason.unwrap_or(DenialReason::Unknown),
                key,
            }),
        }
    }

    /// The chain of a key, whatever its state; for reports and for settling what is left.
    pub fn caller_of(&self, key: KeyId) -> Option<Caller> {
        let entry = self.keys.get(&key)?;
        let project = self.projects.get(&entry.project)?;
        let tenant = self.tenants.get(&project.tenant)?;
        let public_id = entry.credentials.last().and_then(|it| it.public_id);
        Some(Caller::new(
            [&entry.node, &project.node, tenant].map(Arc::clone),
            (key, entry.project, project.tenant),
            public_id,
        ))
    }

    /// How what a key said and heard is kept now. What is left of the tree counts: a key or project
    /// that is gone leaves it to the levels above, and without its tenant nothing is kept.
    pub fn keep_content_of(
        &self,
        tenant: TenantId,
        project: ProjectId,
        key: KeyId,
    ) -> Option<KeepContent> {
        let tenant = self.tenants.get(&tenant)?;
        let key = self.keys.get(&key).map(|it| &it.node);
        let project = self.projects.get(&project).map(|it| &it.node);
        let levels = key.into_iter().chain(project).chain([tenant]);
        KeepContent::of(levels.map(|node| node.settings()))
    }

    /// Every place in the tree with the tenant that it belongs to.
    pub fn nodes(&self) -> impl Iterator<Item = (TenantId, &Arc<Node>)> {
        let tenants = self.tenants.iter().map(|(id, node)| (*id, node));
        let projects = self.projects.values().map(|it| (it.tenant, &it.node));
        let keys = self.keys.values().filter_map(|entry| {
            let project = self.projects.get(&entry.project)?;
            Some((project.tenant, &entry.node))
        });
        tenants.chain(projects).chain(keys)
    }

    fn put(&mut self, row: Row) {
        match row {
            Row::Tenant(Tenant { id, settings, .. }) => {
                let node = Arc::new(Node::new(NodeId::Tenant(id), settings));
                self.tenants.insert(id, node);
            }
            Row::Project(Project {
                id,
                tenant,
                settings,
                ..
            }) => {
                let node = Arc::new(Node::new(NodeId::Project(id), settings));
                self.projects.insert(id, ProjectEntry { tenant, node });
            }
            Row::Key(key) => self.put_key(key),
        }
    }

    fn put_key(&mut self, key: VirtualKey) {
        self.remove(NodeId::Key(key.id));
        for credential in &key.credentials {
            match credential.public_id {
                Some(public_id) => self.by_public_id.insert(public_id, key.id),
                None => self.by_verifier.insert(credential.verifier, key.id),
            };
        }
        let entry = KeyEntry {
            project: key.project,
            node: Arc::new(Node::new(NodeId::Key(key.id), key.settings)),
            credentials: key.credentials.into(),
            is_revoked: key.revoked.is_some(),
        };
        self.keys.insert(key.id, entry);
    }

    fn remove(&mut self, id: NodeId) {
        match id {
            NodeId::Tenant(id) => {
                self.tenants.remove(&id);
            }
            NodeId::Project(id) => {
                self.projects.remove(&id);
            }
            NodeId::Key(id) => {
                let Some(entry) = self.keys.remove(&id) else {
                    return;
                };
                for credential in entry.credentials.iter() {
                    if let Some(public_id) = credential.public_id {
                        self.by_public_id.remove(&public_id);
                    } else if self.by_verifier.get(&credential.verifier) == Some(&id) {
                        self.by_verifier.remove(&credential.verifier);
                    }
                }
            }
        }
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directory")
            .field("revision", &self.revision)
            .field("tenants", &self.tenants.len())
            .field("projects", &self.projects.len())
            .field("keys", &self.keys.len())
            .finish_non_exhaustive()
    }
}

impl Nobody {
    fn new() -> Self {
        // No id of another kind is made of this name, since names of keys are no empty ones.
        let (tenant, project, key) = (
            TenantId::of_name(""),
            ProjectId::of_name(""),
            KeyId::of_name(""),
        );
        let node = |id| Arc::new(Node::new(id, Settings::default()));
        // All zeros are no MAC that anybody will ever meet.
        let credential =
            Credential::new(None, Verifier::from_bytes([0; 32]), Timestamp::UNIX_EPOCH);
        Self {
            tenant: node(NodeId::Tenant(tenant)),
            project: ProjectEntry {
                tenant,
                node: node(NodeId::Project(project)),
            },
            key: KeyEntry {
                project,
                node: node(NodeId::Key(key)),
                credentials: Arc::new([credential]),
                is_revoked: false,
            },
        }
    }
}
