//! What only keys have: secrets that open them, and an end that is no deletion.

use std::time::Duration;

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};

use super::{Admin, AdminError, to_millis};
use crate::id::{KeyId, NodeId, ProjectId};
use crate::key::{KeyText, check_plain};
use crate::model::{Credential, Revision, Revocation, Row, VirtualKey};
use crate::settings::{Problem, SettingsInput};
use crate::store::{Action, Actor, StoreError};

/// The longest time in which an old secret opens beside a new one.
pub const MAX_OVERLAP: Duration = Duration::from_hours(90 * 24);
/// The most secrets that open a key at once.
pub const MAX_CREDENTIALS: usize = 4;

impl Admin {
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
        let key = VirtualKey::new(KeyId::random()?, project, credential, settings, at);
        Ok((self.put_key(key, actor, at)?, text))
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
        let key = VirtualKey::new(KeyId::random()?, project, credential, settings, at);
        self.put_key(key, actor, at)
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

    fn find_key(&self, id: KeyId) -> Result<VirtualKey, AdminError> {
        match self.find(NodeId::Key(id))? {
            Row::Key(key) if key.revoked.is_some() => Err(AdminError::Revoked(id)),
            Row::Key(key) => Ok(key),
            Row::Tenant(_) | Row::Project(_) => Err(AdminError::NotFound(NodeId::Key(id))),
        }
    }

    fn put_key(
        &self,
        mut key: VirtualKey,
        actor: &Actor,
        at: Timestamp,
    ) -> Result<VirtualKey, AdminError> {
        key.revision = self.create(vec![Row::Key(key.clone())], actor, at)?;
        Ok(key)
    }

    pub(super) fn new_secret(&self, at: Timestamp) -> Result<(Credential, KeyText), AdminError> {
        let text = KeyText::generate()?;
        let verifier = self.pepper.verifier(text.expose_secret().as_bytes());
        Ok((Credential::new(Some(text.public_id()), verifier, at), text))
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

fn invalid(path: &str, message: &str) -> AdminError {
    AdminError::Invalid(vec![Problem::new(path, message)])
}
