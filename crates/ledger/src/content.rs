//! What was asked and what was answered, for those who want it kept.

use uuid::Uuid;

use crate::store::Value;

/// What a request said and what it was answered, as it is kept. The caller has cut it, and taken
/// out what nobody is to read. Prints without its text.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Content {
    /// The id of the request's record.
    pub id: Uuid,
    /// When it was kept, in milliseconds since the Unix epoch.
    pub kept_unix_ms: u64,
    /// Whose it is.
    pub owner: ContentOwner,
    /// Whether secrets and persons were taken out.
    pub redacted: bool,
    /// What was asked; `None` where there is no text.
    pub request: Option<String>,
    /// Whether that is its beginning only.
    pub request_cut: bool,
    /// What was answered; `None` where there is no text.
    pub answer: Option<String>,
    /// Whether that is its beginning only.
    pub answer_cut: bool,
}

/// Whose content is, by the ids of a record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ContentOwner {
    /// The tenant's id.
    pub tenant: String,
    /// The project's id.
    pub project: String,
    /// The key's id.
    pub key_id: String,
}

impl Content {
    /// Content without text.
    pub fn new(id: Uuid, kept_unix_ms: u64, owner: ContentOwner) -> Self {
        Self {
            id,
            kept_unix_ms,
            owner,
            redacted: false,
            request: None,
            request_cut: false,
            answer: None,
            answer_cut: false,
        }
    }

    /// The values of the statement that writes it.
    pub(crate) fn values(&self) -> [Value<'_>; 10] {
        let text = |text: &'_ Option<String>| match text {
            // PostgreSQL keeps no NUL in text.
            Some(text) => Value::Text(text.replace('\0', "\u{fffd}").into()),
            None => Value::Null,
        };
        [
            Value::Id(self.id),
            Value::moment(self.kept_unix_ms),
            Value::Text(self.owner.tenant.as_str().into()),
            Value::Text(self.owner.project.as_str().into()),
            Value::Text(self.owner.key_id.as_str().into()),
            Value::Bool(self.redacted),
            text(&self.request),
            Value::Bool(self.request_cut),
            text(&self.answer),
            Value::Bool(self.answer_cut),
        ]
    }
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Content")
            .field("id", &self.id)
            .field("owner", &self.owner)
            .field("redacted", &self.redacted)
            .finish_non_exhaustive()
    }
}

impl ContentOwner {
    /// A key of a project of a tenant.
    pub fn new(
        tenant: impl Into<String>,
        project: impl Into<String>,
        key_id: impl Into<String>,
    ) -> Self {
        Self {
            tenant: tenant.into(),
            project: project.into(),
            key_id: key_id.into(),
        }
    }

    pub(crate) fn values(&self) -> [Value<'_>; 3] {
        [
            Value::Text(self.tenant.as_str().into()),
            Value::Text(self.project.as_str().into()),
            Value::Text(self.key_id.as_str().into()),
        ]
    }
}
