//! What the service keeps for its callers, and whose it is.
//!
//! The service knows accounts, not tenants: whoever knows the id of a response reads it with any key
//! of the account. So who made a thing is remembered here, and nobody else gets at it.

use std::time::Duration;

use jiff::Timestamp;

const DAY: u64 = 24 * 60 * 60;

/// The longest id that is remembered, in bytes. The longest published one has 64.
pub const MAX_OBJECT_ID: usize = 200;

/// A kind of things that the service keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ObjectKind {
    /// An OpenAI response.
    Response,
    /// An OpenAI conversation.
    Conversation,
    /// A session of an application.
    Session,
    /// An asynchronous task.
    Task,
    /// A file.
    File,
    /// A batch of requests.
    Batch,
}

/// Something that the service keeps, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Object {
    /// Its kind.
    pub kind: ObjectKind,
    /// The service's id of it, up to [`MAX_OBJECT_ID`] bytes.
    pub id: String,
    /// Who made it: a tenant's id.
    pub owner: String,
    /// The name of the account that holds it.
    pub account: String,
    /// Until when it is remembered.
    pub until: Timestamp,
}

// === impl ObjectKind ===

impl ObjectKind {
    const ALL: [Self; 6] = [
        Self::Response,
        Self::Conversation,
        Self::Session,
        Self::Task,
        Self::File,
        Self::Batch,
    ];

    /// The word for it in stores.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Response => "response",
            Self::Conversation => "conversation",
            Self::Session => "session",
            Self::Task => "task",
            Self::File => "file",
            Self::Batch => "batch",
        }
    }

    /// Reads what [`as_str`](Self::as_str) writes.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// For how long its owner is remembered after it was used last: longer than the service keeps it
    /// (responses 7 days, sessions an hour, results of tasks a day), so that it is the service that
    /// says that it is gone. Of what the service keeps for ever, so long that nobody misses it.
    pub fn life(self) -> Duration {
        Duration::from_secs(match self {
            Self::Session | Self::Task => 2 * DAY,
            Self::Response => 8 * DAY,
            Self::Conversation | Self::File | Self::Batch => 400 * DAY,
        })
    }
}

impl Object {
    /// A thing that was made or used now.
    pub fn new(
        kind: ObjectKind,
        id: impl Into<String>,
        owner: impl Into<String>,
        account: impl Into<String>,
        now: Timestamp,
    ) -> Self {
        Self {
            kind,
            id: id.into(),
            owner: owner.into(),
            account: account.into(),
            until: now.checked_add(kind.life()).unwrap_or(Timestamp::MAX),
        }
    }
}
