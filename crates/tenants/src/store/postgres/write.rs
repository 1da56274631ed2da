//! Changes, inside a transaction of their own.

use tokio_postgres::Transaction;

use super::{number, revision, set_meta};
use crate::id::NodeId;
use crate::model::{Revision, Row, VirtualKey};
use crate::store::raw::{signed, stored, to_revision};
use crate::store::{AuditNote, Batch, MAX_DELETED, StoreError, Write};

pub(super) async fn commit(
    transaction: &Transaction<'_>,
    batch: &Batch,
) -> Result<Revision, StoreError> {
    // Writers go one after another, so that a later revision is never seen before an earlier one.
    let lock = "SELECT value FROM bailian.meta WHERE name = 'revision' FOR UPDATE";
    transaction.query(lock, &[]).await?;
    let next = Revision(revision(transaction).await?.0 + 1);
    let writer = Writer {
        transaction,
        revision: signed(next.0),
        at: batch.at.as_millisecond(),
    };
    for write in &batch.writes {
        match write {
            Write::Put { row, expected } => {
                writer.expect(row.id(), *expected).await?;
                writer.put(row).await?;
            }
            Write::Delete {
                id,
                expected,
                cut_streams,
            } => {
                writer.expect(*id, Some(*expected)).await?;
                writer.delete(*id, *cut_streams).await?;
            }
        }
    }
    for note in &batch.audit {
        writer.note(note).await?;
    }
    writer.forget_old_deletions().await?;
    set_meta(transaction, "revision", &next.0.to_string()).await?;
    Ok(next)
}

struct Writer<'a> {
    transaction: &'a Transaction<'a>,
    revision: i64,
    at: i64,
}

impl Writer<'_> {
    /// Makes sure that a row is what whoever changes it believes.
    async fn expect(&self, id: NodeId, expected: Option<Revision>) -> Result<(), StoreError> {
        let query = match id {
            NodeId::Tenant(_) => "SELECT revision FROM bailian.tenants WHERE id = $1",
            NodeId::Project(_) => "SELECT revision FROM bailian.projects WHERE id = $1",
            NodeId::Key(_) => "SELECT revision FROM bailian.keys WHERE id = $1",
        };
        let row = self
            .transaction
            .query_opt(query, &[&id.to_string()])
            .await?;
        let current: Option<i64> = row.map(|row| row.try_get(0)).transpose()?;
        let current = current.map(to_revision).transpose()?;
        if current == expected {
            Ok(())
        } else {
            Err(StoreError::Conflict { id, current })
        }
    }

    async fn put(&self, row: &Row) -> Result<(), StoreError> {
        let (name, settings) = stored(row.settings())?;
        let id = row.id().to_string();
        match row {
            Row::Tenant(tenant) => {
                let query = "INSERT INTO bailian.tenants \
                     (id, revision, created_at, name, settings) VALUES ($1, $2, $3, $4, $5) \
                     ON CONFLICT (id) DO UPDATE SET revision = excluded.revision, \
                     name = excluded.name, settings = excluded.settings";
                let created_at = tenant.created_at.as_millisecond();
                self.transaction
                    .execute(query, &[&id, &self.revision, &created_at, &name, &settings])
                    .await?;
            }
            Row::Project(project) => {
                let query = "INSERT INTO bailian.projects \
                     (id, tenant, revision, created_at, name, settings) \
                     VALUES ($1, $2, $3, $4, $5, $6) \
                     ON CONFLICT (id) DO UPDATE SET revision = excluded.revision, \
                     name = excluded.name, settings = excluded.settings";
                let created_at = project.created_at.as_millisecond();
                let tenant = project.tenant.to_string();
                self.transaction
                    .execute(
                        query,
                        &[&id, &tenant, &self.revision, &created_at, &name, &settings],
                    )
                    .await?;
            }
            Row::Key(key) => {
                let query = "INSERT INTO bailian.keys (id, project, revision, created_at, name, \
                     settings, revoked_at, cut_streams) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
                     ON CONFLICT (id) DO UPDATE SET revision = excluded.revision, \
                     name = excluded.name, settings = excluded.settings, \
                     revoked_at = excluded.revoked_at, cut_streams = excluded.cut_streams";
                let created_at = key.created_at.as_millisecond();
                let project = key.project.to_string();
                let revoked_at = key.revoked.map(|revoked| revoked.at.as_millisecond());
                let cut_streams = key.revoked.is_some_and(|revoked| revoked.cut_streams);
                self.transaction
                    .execute(
                        query,
                        &[
                            &id,
                            &project,
                            &self.revision,
                            &created_at,
                            &name,
                            &settings,
                            &revoked_at,
                            &cut_streams,
                        ],
                    )
                    .await?;
                self.put_credentials(&id, key).await?;
            }
        }
        Ok(())
    }

    async fn put_credentials(&self, id: &str, key: &VirtualKey) -> Result<(), StoreError> {
        let query = "DELETE FROM bailian.credentials WHERE key = $1";
        self.transaction.execute(query, &[&id]).await?;
        for (place, credential) in (0i64..).zip(&key.credentials) {
            let query = "INSERT INTO bailian.credentials \
                 (verifier, key, place, public_id, created_at, valid_until) \
                 VALUES ($1, $2, $3, $4, $5, $6)";
            let verifier = credential.verifier.as_bytes().as_slice();
            let public_id = credential.public_id.map(|public_id| public_id.to_string());
            let created_at = credential.created_at.as_millisecond();
            let valid_until = credential.valid_until.map(jiff::Timestamp::as_millisecond);
            self.transaction
                .execute(
                    query,
                    &[
                        &verifier,
                        &id,
                        &place,
                        &public_id,
                        &created_at,
                        &valid_until,
                    ],
                )
                .await?;
        }
        Ok(())
    }

    /// Deletes a row and everything below it, and remembers all of it for the replicas.
    async fn delete(&self, id: NodeId, cut_streams: bool) -> Result<(), StoreError> {
        let text = id.to_string();
        let (keys, projects, tenants) = match id {
            NodeId::Tenant(_) => (
                "project IN (SELECT id FROM bailian.projects WHERE tenant = $1)",
                Some("tenant = $1"),
                Some("id = $1"),
            ),
            NodeId::Project(_) => ("project = $1", Some("id = $1"), None),
            NodeId::Key(_) => ("id = $1", None, None),
        };
        // A key that was revoked with its streams a moment ago must not lose that on the way.
        let query = format!(
            "WITH gone AS (DELETE FROM bailian.keys WHERE {keys} RETURNING id, cut_streams) \
             INSERT INTO bailian.deleted (id, revision, cut_streams) \
             SELECT id, $2, cut_streams OR $3 FROM gone"
        );
        self.transaction
            .execute(&query, &[&text, &self.revision, &cut_streams])
            .await?;
        let above = [("projects", projects), ("tenants", tenants)];
        for (table, which) in above {
            let Some(which) = which else { continue };
            let query = format!(
                "WITH gone AS (DELETE FROM bailian.{table} WHERE {which} RETURNING id) \
                 INSERT INTO bailian.deleted (id, revision, cut_streams) \
                 SELECT id, $2, FALSE FROM gone"
            );
            self.transaction
                .execute(&query, &[&text, &self.revision])
                .await?;
        }
        Ok(())
    }

    async fn note(&self, note: &AuditNote) -> Result<(), StoreError> {
        let query = "INSERT INTO bailian.audit \
             (revision, at, who, address, action, target, before, after) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
        let address = note.actor.from.map(|address| address.to_string());
        let (action, target) = (note.action.as_str(), note.target.to_string());
        let before = note.before.as_ref().map(ToString::to_string);
        let after = note.after.as_ref().map(ToString::to_string);
        self.transaction
            .execute(
                query,
                &[
                    &self.revision,
                    &self.at,
                    &note.actor.who,
                    &address,
                    &action,
                    &target,
                    &before,
                    &after,
                ],
            )
            .await?;
        Ok(())
    }

    async fn forget_old_deletions(&self) -> Result<(), StoreError> {
        let query = "SELECT revision FROM bailian.deleted ORDER BY revision DESC LIMIT 1 OFFSET $1";
        let Some(row) = self.transaction.query_opt(query, &[&MAX_DELETED]).await? else {
            return Ok(());
        };
        let oldest: i64 = row.try_get(0)?;
        let query = "DELETE FROM bailian.deleted WHERE revision <= $1";
        self.transaction.execute(query, &[&oldest]).await?;
        let horizon = number(self.transaction, "deletions_known_since").await?;
        let horizon = horizon.max(to_revision(oldest)?.0);
        set_meta(
            self.transaction,
            "deletions_known_since",
            &horizon.to_string(),
        )
        .await
    }
}
