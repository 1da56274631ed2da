//! Where tenants, projects, keys and the audit log are kept.

#[cfg(feature = "postgres")]
mod postgres;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod raw;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod select;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::fmt;
use std::net::IpAddr;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use thiserror::Error;

#[cfg(feature = "postgres")]
pub use self::postgres::PostgresStore;
#[cfg(feature = "sqlite")]
pub use self::sqlite::SqliteStore;
use crate::id::{KeyId, NodeId};
use crate::model::{Changes, Revision, Row};
use crate::object::{Object, ObjectKind};
use crate::settings::Problem;

/// The most rows of one page of a list or of the audit log.
pub const MAX_PAGE: u32 = 1_000;

/// So many deletions are remembered; a replica that missed more reads everything again.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
const MAX_DELETED: i64 = 10_000;

/// A database of tenants, projects and keys, which several replicas may share.
///
/// Calls may wait for a disk or a network: they belong on a thread that may block. Everything that
/// is more than storing is in [`Admin`](crate::Admin), so that a database has little to implement.
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// The revision of the latest change. Cheap enough to be asked several times a second.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    fn revision(&self) -> Result<Revision, StoreError>;

    /// What changed after a revision; all there is after revision 0, after one that the store does
    /// not have, or after one so old that it no longer knows what was deleted since.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer. Rows that do not fit the configuration,
    /// such as a budget in a currency without a rate, are no error but [`Changes::unusable`].
    fn changes_since(&self, since: Revision) -> Result<Changes, StoreError>;

    /// One row as it is now.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer, or the row does not fit the configuration.
    fn row(&self, id: NodeId) -> Result<Option<Row>, StoreError>;

    /// The tenants, or the projects or keys of a parent, in the order of their ids and after one of
    /// them; at most `limit` and [`MAX_PAGE`].
    ///
    /// # Errors
    /// As [`row`](Self::row).
    fn children(
        &self,
        parent: Option<NodeId>,
        after: Option<NodeId>,
        limit: u32,
    ) -> Result<Vec<Row>, StoreError>;

    /// Makes all changes of a batch and writes its audit entries, or nothing.
    ///
    /// # Errors
    /// [`StoreError`], also when a row is not at the revision that was expected.
    fn commit(&self, batch: &Batch) -> Result<Revision, StoreError>;

    /// The audit log, newest first, before an entry's number; at most `limit` and [`MAX_PAGE`].
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    fn audit(&self, before: Option<u64>, limit: u32) -> Result<Vec<AuditEntry>, StoreError>;

    /// Remembers whose a thing of the service is, or for longer. What belongs to another one stays
    /// that one's, until it is forgotten.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    fn put_object(&self, object: &Object, now: Timestamp) -> Result<(), StoreError>;

    /// Whose a thing is; `None` when nobody made it, or when that was forgotten.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    fn object(
        &self,
        kind: ObjectKind,
        id: &str,
        now: Timestamp,
    ) -> Result<Option<Object>, StoreError>;

    /// Forgets a thing that is gone.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    fn delete_object(&self, kind: ObjectKind, id: &str) -> Result<(), StoreError>;

    /// Forgets what nobody used for too long; at most so many, and says how many these were.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    fn forget_objects(&self, now: Timestamp, limit: u32) -> Result<u32, StoreError>;
}

/// Changes that are made together.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Batch {
    /// When, to the millisecond.
    pub at: Timestamp,
    /// The changes, parents before children.
    pub writes: Vec<Write>,
    /// What the audit log says of them.
    pub audit: Vec<AuditNote>,
}

/// One change.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[expect(
    clippy::large_enum_variant,
    reason = "a batch has a handful of changes, nearly all of the large kind"
)]
pub enum Write {
    /// Creates a row, or replaces one that is at a revision.
    Put {
        /// The row; its own revision is ignored.
        row: Row,
        /// The revision that it replaces; `None` to create.
        expected: Option<Revision>,
    },
    /// Deletes a row and everything below it.
    Delete {
        /// Which one.
        id: NodeId,
        /// The revision that is deleted.
        expected: Revision,
        /// Whether open streams of its keys end at once, too.
        cut_streams: bool,
    },
}

/// Who changes something, and from where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Actor {
    /// A name for the log; at most 200 characters are kept, and no control characters.
    pub who: String,
    /// The address that the request came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<IpAddr>,
}

impl Actor {
    /// Somebody at an address.
    pub fn new(who: &str, from: Option<IpAddr>) -> Self {
        Self {
            who: who.chars().filter(|c| !c.is_control()).take(200).collect(),
            from,
        }
    }
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Action {
    /// Something new.
    Create,
    /// Other settings.
    Update,
    /// A new secret for a key.
    Rotate,
    /// The end of a key.
    Revoke,
    /// The end of a thing and of all below it.
    Delete,
    /// Somebody read what a request said and what it was answered.
    ReadContent,
    /// Somebody deleted that.
    DeleteContent,
}

impl Action {
    const ALL: [Self; 7] = [
        Self::Create,
        Self::Update,
        Self::Rotate,
        Self::Revoke,
        Self::Delete,
        Self::ReadContent,
        Self::DeleteContent,
    ];

    /// The word for logs and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Rotate => "rotate",
            Self::Revoke => "revoke",
            Self::Delete => "delete",
            Self::ReadContent => "read_content",
            Self::DeleteContent => "delete_content",
        }
    }

    /// Reads what [`as_str`](Self::as_str) writes.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == text)
    }
}

/// What is to be written into the audit log. Holds no secret and nothing to try secrets against.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct AuditNote {
    /// Who did it.
    #[serde(flatten)]
    pub actor: Actor,
    /// What was done.
    pub action: Action,
    /// To what.
    pub target: NodeId,
    /// How it was before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// How it is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

impl AuditNote {
    /// Notes a change of a row.
    pub fn new(
        actor: &Actor,
        action: Action,
        before: Option<&Row>,
        after: Option<&Row>,
    ) -> Option<Self> {
        Some(Self {
            actor: actor.clone(),
            action,
            target: after.or(before)?.id(),
            before: before.map(without_revision),
            after: after.map(without_revision),
        })
    }
}

impl AuditNote {
    /// Notes that somebody read or deleted the content of a request of a key.
    pub(crate) fn of_content(actor: &Actor, action: Action, key: KeyId, record: &str) -> Self {
        Self {
            actor: actor.clone(),
            action,
            target: NodeId::Key(key),
            before: None,
            after: Some(json!({ "record": record })),
        }
    }
}

/// An entry of the audit log, which is never changed and never deleted.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct AuditEntry {
    /// Greater than those of all entries before.
    pub number: u64,
    /// The change that it tells of.
    pub revision: Revision,
    /// When.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub note: AuditNote,
}

/// The store could not do what was asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Somebody else changed it meanwhile, or it exists already or no longer.
    #[error("{id} was changed meanwhile; read it again")]
    Conflict {
        /// What was to be changed.
        id: NodeId,
        /// The revision that it is at; `None` when it does not exist.
        current: Option<Revision>,
    },
    /// A sibling has this name.
    #[error("the name is taken by another one beside it")]
    NameTaken,
    /// Another key has this text.
    #[error("the key's text is in use already")]
    KeyTaken,
    /// What it would belong to does not exist.
    #[error("what it belongs to does not exist")]
    ParentMissing,
    /// The keys in the store were digested with another pepper.
    #[error("the store was made with another pepper; give the gateway the pepper it was made with")]
    WrongPepper,
    /// A newer program wrote it.
    #[error("the database has schema {found}, this program knows {known}; use the newer program")]
    NewerSchema {
        /// The schema of the database.
        found: i64,
        /// The schema of this program.
        known: i64,
    },
    /// A row does not fit the configuration, or was not written by this program.
    #[error("{what} in the store cannot be used{}", list(.problems))]
    Unusable {
        /// Which row.
        what: String,
        /// What is wrong with it.
        problems: Vec<Problem>,
    },
    /// The database failed.
    #[error("the database failed")]
    Database(#[source] Box<dyn std::error::Error + Send + Sync>),
}

fn list(problems: &[Problem]) -> String {
    let mut text = String::new();
    for problem in problems {
        text.push_str("; ");
        text.push_str(&problem.to_string());
    }
    text
}

fn without_revision(row: &Row) -> Value {
    let mut value = serde_json::to_value(row).unwrap_or(Value::Null);
    if let Value::Object(fields) = &mut value {
        // The entry has the number of the change; the row's own is that of the change before.
        fields.remove("revision");
    }
    value
}
