//! What the file holds, as rows.

use rusqlite::{Connection, Params};

use super::{number, revision};
use crate::id::NodeId;
use crate::model::{Changes, Credential, Revision, Row};
use crate::money::Rates;
use crate::store::raw::{self, RawAudit, RawCredential, RawKey, RawNode, signed};
use crate::store::{AuditEntry, MAX_PAGE, StoreError};

const TENANTS: &str = "SELECT id, revision, created_at, settings FROM tenants";
const PROJECTS: &str = "SELECT id, revision, created_at, settings, tenant FROM projects";
const KEYS: &str =
    "SELECT id, revision, created_at, settings, project, revoked_at, cut_streams FROM keys";

/// A row, or what is wrong with it.
type Found = Result<Row, StoreError>;

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
        let since = signed(if changes.is_whole { 0 } else { since.0 });
        let after = "WHERE revision > ?1";
        let mut found = Vec::new();
        self.tenants(&format!("{TENANTS} {after}"), [since], &mut found)?;
        self.projects(&format!("{PROJECTS} {after}"), [since], &mut found)?;
        self.keys(&format!("{KEYS} {after}"), [since], &mut found)?;
        for row in found {
            changes.take(row)?;
        }
        if !changes.is_whole {
            let query = "SELECT id, cut_streams FROM deleted WHERE revision > ?1";
            let mut statement = self.connection.prepare(query)?;
            let mut rows = statement.query([since])?;
            while let Some(row) = rows.next()? {
                let id: String = row.get(0)?;
                changes.deleted.push(raw::deleted(&id, row.get(1)?)?);
            }
        }
        Ok(changes)
    }

    pub(super) fn row(&self, id: NodeId) -> Result<Option<Row>, StoreError> {
        let mut found = Vec::new();
        let text = id.to_string();
        let by_id = "WHERE id = ?1";
        match id {
            NodeId::Tenant(_) => self.tenants(&format!("{TENANTS} {by_id}"), [text], &mut found)?,
            NodeId::Project(_) => {
                self.projects(&format!("{PROJECTS} {by_id}"), [text], &mut found)?;
            }
            NodeId::Key(_) => self.keys(&format!("{KEYS} {by_id}"), [text], &mut found)?,
        }
        found.pop().transpose()
    }

    pub(super) fn children(
        &self,
        parent: Option<NodeId>,
        after: Option<NodeId>,
        limit: u32,
    ) -> Result<Vec<Row>, StoreError> {
        let mut found = Vec::new();
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        let limit = limit.min(MAX_PAGE);
        let page = "id > ?1 ORDER BY id LIMIT ?2";
        match parent {
            None => {
                let query = format!("{TENANTS} WHERE {page}");
                self.tenants(&query, (after, limit), &mut found)?;
            }
            Some(NodeId::Tenant(id)) => {
                let query = format!("{PROJECTS} WHERE tenant = ?3 AND {page}");
                self.projects(&query, (after, limit, id.to_string()), &mut found)?;
            }
            Some(NodeId::Project(id)) => {
                let query = format!("{KEYS} WHERE project = ?3 AND {page}");
                self.keys(&query, (after, limit, id.to_string()), &mut found)?;
            }
            Some(NodeId::Key(_)) => {}
        }
        found.into_iter().collect()
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

    fn tenants(
        &self,
        query: &str,
        by: impl Params,
        into: &mut Vec<Found>,
    ) -> Result<(), StoreError> {
        let mut statement = self.connection.prepare(query)?;
        let mut rows = statement.query(by)?;
        while let Some(row) = rows.next()? {
            into.push(node(row)?.tenant(self.rates));
        }
        Ok(())
    }

    fn projects(
        &self,
        query: &str,
        by: impl Params,
        into: &mut Vec<Found>,
    ) -> Result<(), StoreError> {
        let mut statement = self.connection.prepare(query)?;
        let mut rows = statement.query(by)?;
        while let Some(row) = rows.next()? {
            let tenant: String = row.get(4)?;
            into.push(node(row)?.project(&tenant, self.rates));
        }
        Ok(())
    }

    fn keys(&self, query: &str, by: impl Params, into: &mut Vec<Found>) -> Result<(), StoreError> {
        let mut statement = self.connection.prepare(query)?;
        let mut rows = statement.query(by)?;
        while let Some(row) = rows.next()? {
            let node = node(row)?;
            let key = RawKey {
                project: row.get(4)?,
                revoked_at: row.get(5)?,
                cut_streams: row.get(6)?,
                credentials: self.credentials(&node.id)?,
            };
            into.push(node.key(key, self.rates));
        }
        Ok(())
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
