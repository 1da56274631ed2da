//! What the file holds, as rows.

use rusqlite::{Connection, ToSql};

use super::{number, revision};
use crate::id::{Level, NodeId};
use crate::model::{Changes, Credential, Revision, Row};
use crate::money::Rates;
use crate::store::raw::{self, RawAudit, RawCredential, RawKey, RawNode, signed};
use crate::store::select::{Found, Select, Value};
use crate::store::{AuditEntry, MAX_PAGE, StoreError};

/// One transaction's view.
pub(super) struct Reader<'a> {
    pub(super) connection: &'a Connection,
    pub(super) rates: &'a Rates,
}

impl Reader<'_> {
    pub(super) fn changes_since(&self, since: Revision) -> Result<Changes, StoreError> {
        let revision = revision(self.connection)?;
        let known_since = number(self.connection, "deletions_known_since")?;
        let mut changes = Changes::begin(revision, since, Revision(known_since));
        let since = if changes.is_whole { Revision(0) } else { since };
        for select in Select::changed(since) {
            for row in self.rows(&select)? {
                changes.take(row)?;
            }
        }
        if !changes.is_whole {
            let query = "SELECT id, cut_streams FROM deleted WHERE revision > ?1";
            let mut statement = self.connection.prepare(query)?;
            let mut rows = statement.query([signed(since.0)])?;
            while let Some(row) = rows.next()? {
                let id: String = row.get(0)?;
                changes.deleted.push(raw::deleted(&id, row.get(1)?)?);
            }
        }
        Ok(changes)
    }

    pub(super) fn row(&self, id: NodeId) -> Result<Option<Row>, StoreError> {
        self.rows(&Select::one(id))?.pop().transpose()
    }

    pub(super) fn children(
        &self,
        parent: Option<NodeId>,
        after: Option<NodeId>,
        limit: u32,
    ) -> Result<Vec<Row>, StoreError> {
        match Select::children(parent, after, limit) {
            Some(select) => self.rows(&select)?.into_iter().collect(),
            None => Ok(Vec::new()),
        }
    }

    pub(super) fn audit(
        &self,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        let before = signed(before.unwrap_or(u64::MAX));
        let query = "SELECT number, revision, at, who, address, action, target, before, after \
             FROM audit WHERE number < ?1 ORDER BY number DESC LIMIT ?2";
        let mut statement = self.connection.prepare(query)?;
        let mut rows = statement.query((before, limit.min(MAX_PAGE)))?;
        let mut entries = Vec::new();
        while let Some(row) = rows.next()? {
            let entry = RawAudit {
                number: row.get(0)?,
                revision: row.get(1)?,
                at: row.get(2)?,
                who: row.get(3)?,
                address: row.get(4)?,
                action: row.get(5)?,
                target: row.get(6)?,
                before: row.get(7)?,
                after: row.get(8)?,
            };
            entries.push(entry.check()?);
        }
        Ok(entries)
    }

    fn rows(&self, select: &Select) -> Result<Vec<Found>, StoreError> {
        let by = select.by.iter().map(|value| match value {
            Value::Text(text) => text as &dyn ToSql,
            Value::Number(number) => number,
        });
        let by: Vec<&dyn ToSql> = by.collect();
        let mut statement = self.connection.prepare(&select.sql("", "?"))?;
        let mut rows = statement.query(&*by)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let node = node(row)?;
            found.push(match select.level {
                Level::Tenant => node.tenant(self.rates),
                Level::Project => node.project(&row.get::<_, String>(4)?, self.rates),
                Level::Key => {
                    let key = RawKey {
                        project: row.get(4)?,
                        revoked_at: row.get(5)?,
                        cut_streams: row.get(6)?,
                        credentials: self.credentials(&node.id)?,
                    };
                    node.key(key, self.rates)
                }
            });
        }
        Ok(found)
    }

    fn credentials(&self, key: &str) -> Result<Vec<Credential>, StoreError> {
        let query = "SELECT verifier, public_id, created_at, valid_until \
             FROM credentials WHERE key = ?1 ORDER BY place";
        let mut statement = self.connection.prepare(query)?;
        let mut rows = statement.query([key])?;
        let mut credentials = Vec::new();
        while let Some(row) = rows.next()? {
            let credential = RawCredential {
                verifier: row.get(0)?,
                public_id: row.get(1)?,
                created_at: row.get(2)?,
                valid_until: row.get(3)?,
            };
            credentials.push(credential.check()?);
        }
        Ok(credentials)
    }
}

fn node(row: &rusqlite::Row<'_>) -> Result<RawNode, rusqlite::Error> {
    Ok(RawNode {
        id: row.get(0)?,
        revision: row.get(1)?,
        created_at: row.get(2)?,
        settings: row.get(3)?,
    })
}
