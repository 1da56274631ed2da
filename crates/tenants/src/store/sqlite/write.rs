//! Changes, inside a transaction of their own.

use rusqlite::{OptionalExtension, Transaction};

use super::{number, revision, set_meta};
use crate::id::NodeId;
use crate::model::{Revision, Row, VirtualKey};
use crate::store::raw::{signed, stored, to_revision};
use crate::store::{AuditNote, Batch, MAX_DELETED, StoreError, Write};

pub(super) fn commit(transaction: &Transaction<'_>, batch: &Batch) -> Result<Revision, StoreError> {
    let next = Revision(revision(transaction)?.0 + 1);
    let writer = Writer {
        transaction,
        revision: signed(next.0),
        at: batch.at.as_millisecond(),
    };
    for write in &batch.writes {
        match write {
            Write::Put { row, expected } => {
                writer.expect(row.id(), *expected)?;
                writer.put(row)?;
            }
            Write::Delete {
                id,
                expected,
                cut_streams,
            } => {
                writer.expect(*id, Some(*expected))?;
                writer.delete(*id, *cut_streams)?;
            }
        }
    }
    for note in &batch.audit {
        writer.note(note)?;
    }
    writer.forget_old_deletions()?;
    set_meta(transaction, "revision", &next.0.to_string())?;
    Ok(next)
}

struct Writer<'a> {
    transaction: &'a Transaction<'a>,
    revision: i64,
    at: i64,
}

impl Writer<'_> {
    /// Makes sure that a row is what whoever changes it believes.
    fn expect(&self, id: NodeId, expected: Option<Revision>) -> Result<(), StoreError> {
        let query = match id {
            NodeId::Tenant(_) => "SELECT revision FROM tenants WHERE id = ?1",
            NodeId::Project(_) => "SELECT revision FROM projects WHERE id = ?1",
            NodeId::Key(_) => "SELECT revision FROM keys WHERE id = ?1",
        };
        let current: Option<i64> = self
            .transaction
            .query_row(query, [id.to_string()], |row| row.get(0))
            .optional()?;
        let current = current.map(to_revision).transpose()?;
        if current == expected {
            Ok(())
        } else {
            Err(StoreError::Conflict { id, current })
        }
    }

    fn put(&self, row: &Row) -> Result<(), StoreError> {
        match row {
            Row::Tenant(tenant) => {
                let query = "INSERT INTO tenants (id, revision, created_at, name, settings) \
                     VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (id) DO UPDATE SET \
                     revision = excluded.revision, name = excluded.name, \
                     settings = excluded.settings";
                let (name, settings) = stored(&tenant.settings)?;
                let created_at = tenant.created_at.as_millisecond();
                let id = tenant.id.to_string();
                let values = (id, self.revision, created_at, name, settings);
                self.transaction.execute(query, values)?;
            }
            Row::Project(project) => {
                let query = "INSERT INTO projects \
                     (id, tenant, revision, created_at, name, settings) \
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (id) DO UPDATE SET \
                     revision = excluded.revision, name = excluded.name, \
                     settings = excluded.settings";
                let (name, settings) = stored(&project.settings)?;
                let created_at = project.created_at.as_millisecond();
                let (id, tenant) = (project.id.to_string(), project.tenant.to_string());
                let values = (id, tenant, self.revision, created_at, name, settings);
                self.transaction.execute(query, values)?;
            }
            Row::Key(key) => self.put_key(key)?,
        }
        Ok(())
    }

    fn put_key(&self, key: &VirtualKey) -> Result<(), StoreError> {
        let query = "INSERT INTO keys \
             (id, project, revision, created_at, name, settings, revoked_at, cut_streams) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (id) DO UPDATE SET \
             revision = excluded.revision, name = excluded.name, settings = excluded.settings, \
             revoked_at = excluded.revoked_at, cut_streams = excluded.cut_streams";
        let (name, settings) = stored(&key.settings)?;
        let id = key.id.to_string();
        self.transaction.execute(
            query,
            (
                &id,
                key.project.to_string(),
                self.revision,
                key.created_at.as_millisecond(),
                name,
                settings,
                key.revoked.map(|revoked| revoked.at.as_millisecond()),
                key.revoked.is_some_and(|revoked| revoked.cut_streams),
            ),
        )?;
        let query = "DELETE FROM credentials WHERE key = ?1";
        self.transaction.execute(query, [&id])?;
        for (place, credential) in key.credentials.iter().enumerate() {
            let query = "INSERT INTO credentials \
                 (verifier, key, place, public_id, created_at, valid_until) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            let values = (
                credential.verifier.as_bytes(),
                &id,
                i64::try_from(place).unwrap_or(i64::MAX),
                credential.public_id.map(|public_id| public_id.to_string()),
                credential.created_at.as_millisecond(),
                credential.valid_until.map(jiff::Timestamp::as_millisecond),
            );
            self.transaction.execute(query, values)?;
        }
        Ok(())
    }

    /// Deletes a row and everything below it, and remembers all of it for the replicas.
    fn delete(&self, id: NodeId, cut_streams: bool) -> Result<(), StoreError> {
        let text = id.to_string();
        let keys = match id {
            NodeId::Tenant(_) => "project IN (SELECT id FROM projects WHERE tenant = ?1)",
            NodeId::Project(_) => "project = ?1",
            NodeId::Key(_) => "id = ?1",
        };
        // A key that was revoked with its streams a moment ago must not lose that on the way.
        let remember = format!(
            "INSERT OR REPLACE INTO deleted (id, revision, cut_streams) \
             SELECT id, ?2, max(cut_streams, ?3) FROM keys WHERE {keys}"
        );
        let values = (&text, self.revision, cut_streams);
        self.transaction.execute(&remember, values)?;
        self.transaction
            .execute(&format!("DELETE FROM keys WHERE {keys}"), [&text])?;
        let projects = match id {
            NodeId::Tenant(_) => "tenant = ?1",
            NodeId::Project(_) => "id = ?1",
            NodeId::Key(_) => return Ok(()),
        };
        let remember = format!(
            "INSERT OR REPLACE INTO deleted (id, revision, cut_streams) \
             SELECT id, ?2, 0 FROM projects WHERE {projects}"
        );
        self.transaction
            .execute(&remember, (&text, self.revision))?;
        self.transaction
            .execute(&format!("DELETE FROM projects WHERE {projects}"), [&text])?;
        if matches!(id, NodeId::Tenant(_)) {
            let remember =
                "INSERT OR REPLACE INTO deleted (id, revision, cut_streams) VALUES (?1, ?2, 0)";
            self.transaction.execute(remember, (&text, self.revision))?;
            self.transaction
                .execute("DELETE FROM tenants WHERE id = ?1", [&text])?;
        }
        Ok(())
    }

    fn note(&self, note: &AuditNote) -> Result<(), StoreError> {
        let query = "INSERT INTO audit \
             (revision, at, who, address, action, target, before, after) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        let values = (
            self.revision,
            self.at,
            &note.actor.who,
            note.actor.from.map(|address| address.to_string()),
            note.action.as_str(),
            note.target.to_string(),
            note.before.as_ref().map(ToString::to_string),
            note.after.as_ref().map(ToString::to_string),
        );
        self.transaction.execute(query, values)?;
        Ok(())
    }

    fn forget_old_deletions(&self) -> Result<(), StoreError> {
        let query = "SELECT revision FROM deleted ORDER BY revision DESC LIMIT 1 OFFSET ?1";
        let oldest: Option<i64> = self
            .transaction
            .query_row(query, [MAX_DELETED], |row| row.get(0))
            .optional()?;
        let Some(oldest) = oldest else {
            return Ok(());
        };
        let query = "DELETE FROM deleted WHERE revision <= ?1";
        self.transaction.execute(query, [oldest])?;
        let horizon = number(self.transaction, "deletions_known_since")?;
        let horizon = horizon.max(u64::try_from(oldest).unwrap_or(0));
        set_meta(
            self.transaction,
            "deletions_known_since",
            &horizon.to_string(),
        )
    }
}
