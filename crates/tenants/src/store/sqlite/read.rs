//! What the file holds, as rows.

use std::str::FromStr;

use jiff::Timestamp;
use rusqlite::{Connection, Params};
use serde_json::Value;

use super::{number, revision};
use crate::id::NodeId;
use crate::key::{PublicId, Verifier};
use crate::model::{
    Changes, Credential, Deleted, Project, Revision, Revocation, Row, Tenant, VirtualKey,
};
use crate::money::Rates;
use crate::settings::{Problem, Settings, SettingsInput};
use crate::store::{Action, Actor, AuditEntry, AuditNote, MAX_PAGE, StoreError};

const TENANTS: &str = "SELECT id, revision, created_at, settings FROM tenants";
const PROJECTS: &str = "SELECT id, revision, created_at, settings, tenant FROM projects";
const KEYS: &str =
    "SELECT id, revision, created_at, settings, project, revoked_at, cut_streams FROM keys";

/// One transaction's view.
pub(super) struct Reader<'a> {
    pub(super) connection: &'a Connection,
    pub(super) rates: &'a Rates,
}

impl Reader<'_> {
    pub(super) fn changes_since(&self, since: Revision) -> Result<Changes, StoreError> {
        let revision = revision(self.connection)?;
        let known_since = number(self.connection, "deletions_known_since")?;
        let is_whole = since.0 == 0 || since > revision || since.0 < known_since;
        let since = if is_whole { 0 } else { since.0 };
        let since = i64::try_from(since).unwrap_or(i64::MAX);
        let mut changes = Changes {
            revision,
            is_whole,
            ..Changes::default()
        };
        let after = "WHERE revision > ?1";
        self.tenants(&format!("{TENANTS} {after}"), [since], &mut changes.rows)?;
        self.projects(&format!("{PROJECTS} {after}"), [since], &mut changes.rows)?;
        self.keys(&format!("{KEYS} {after}"), [since], &mut changes.rows)?;
        if !is_whole {
            let query = "SELECT id, cut_streams FROM deleted WHERE revision > ?1";
            let mut statement = self.connection.prepare(query)?;
            let mut rows = statement.query([since])?;
            while let Some(row) = rows.next()? {
                changes.deleted.push(Deleted {
                    id: parse(&row.get::<_, String>(0)?)?,
                    cut_streams: row.get(1)?,
                });
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
        Ok(found.pop())
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
        Ok(found)
    }

    pub(super) fn audit(
        &self,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        let before = before.map_or(i64::MAX, |it| i64::try_from(it).unwrap_or(i64::MAX));
        let query = "SELECT number, revision, at, who, address, action, target, before, after \
             FROM audit WHERE number < ?1 ORDER BY number DESC LIMIT ?2";
        let mut statement = self.connection.prepare(query)?;
        let mut rows = statement.query((before, limit.min(MAX_PAGE)))?;
        let mut entries = Vec::new();
        while let Some(row) = rows.next()? {
            let number: i64 = row.get(0)?;
            let unusable = || unusable(&format!("audit entry {number}"));
            let address: Option<String> = row.get(4)?;
            let address = address.map(|text| text.parse()).transpose();
            let action: String = row.get(5)?;
            let json = |place| -> Result<Option<Value>, StoreError> {
                let text: Option<String> = row.get(place)?;
                let value = text.map(|text| serde_json::from_str(&text)).transpose();
                value.map_err(|_| unusable())
            };
            entries.push(AuditEntry {
                number: u64::try_from(number).map_err(|_| unusable())?,
                revision: to_revision(row.get(1)?)?,
                at: to_time(row.get(2)?)?,
                note: AuditNote {
                    actor: Actor {
                        who: row.get(3)?,
                        from: address.map_err(|_| unusable())?,
                    },
                    action: Action::parse(&action).ok_or_else(unusable)?,
                    target: parse(&row.get::<_, String>(6)?)?,
                    before: json(7)?,
                    after: json(8)?,
                },
            });
        }
        Ok(entries)
    }

    fn tenants(&self, query: &str, by: impl Params, into: &mut Vec<Row>) -> Result<(), StoreError> {
        let mut statement = self.connection.prepare(query)?;
        let mut rows = statement.query(by)?;
        while let Some(row) = rows.next()? {
            let id: String = row.get(0)?;
            into.push(Row::Tenant(Tenant {
                id: parse(&id)?,
                revision: to_revision(row.get(1)?)?,
                created_at: to_time(row.get(2)?)?,
                settings: self.settings(&id, &row.get::<_, String>(3)?)?,
            }));
        }
        Ok(())
    }

    fn projects(
        &self,
        query: &str,
        by: impl Params,
        into: &mut Vec<Row>,
    ) -> Result<(), StoreError> {
        let mut statement = self.connection.prepare(query)?;
        let mut rows = statement.query(by)?;
        while let Some(row) = rows.next()? {
            let id: String = row.get(0)?;
            into.push(Row::Project(Project {
                id: parse(&id)?,
                revision: to_revision(row.get(1)?)?,
                created_at: to_time(row.get(2)?)?,
                settings: self.settings(&id, &row.get::<_, String>(3)?)?,
                tenant: parse(&row.get::<_, String>(4)?)?,
            }));
        }
        Ok(())
    }

    fn keys(&self, query: &str, by: impl Params, into: &mut Vec<Row>) -> Result<(), StoreError> {
        let mut statement = self.connection.prepare(query)?;
        let mut rows = statement.query(by)?;
        while let Some(row) = rows.next()? {
            let id: String = row.get(0)?;
            let revoked_at: Option<i64> = row.get(5)?;
            let cut_streams = row.get(6)?;
            let revoked = revoked_at.map(|at| to_time(at).map(|at| Revocation { at, cut_streams }));
            into.push(Row::Key(VirtualKey {
                id: parse(&id)?,
                revision: to_revision(row.get(1)?)?,
                created_at: to_time(row.get(2)?)?,
                settings: self.settings(&id, &row.get::<_, String>(3)?)?,
                project: parse(&row.get::<_, String>(4)?)?,
                credentials: self.credentials(&id)?,
                revoked: revoked.transpose()?,
            }));
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
            let public_id: Option<String> = row.get(1)?;
            let public_id = public_id
                .map(|text| PublicId::parse(&text).ok_or_else(|| unusable(key)))
                .transpose()?;
            let valid_until: Option<i64> = row.get(3)?;
            credentials.push(Credential {
                public_id,
                verifier: Verifier::from_bytes(row.get(0)?),
                created_at: to_time(row.get(2)?)?,
                valid_until: valid_until.map(to_time).transpose()?,
            });
        }
        Ok(credentials)
    }

    /// Settings are checked again, since the configuration may have changed since they were stored.
    fn settings(&self, id: &str, json: &str) -> Result<Settings, StoreError> {
        let checked =
            SettingsInput::from_json(json.as_bytes()).and_then(|input| input.check(self.rates));
        checked.map_err(|problems| StoreError::Unusable {
            what: id.to_owned(),
            problems,
        })
    }
}

fn unusable(what: &str) -> StoreError {
    StoreError::Unusable {
        what: what.to_owned(),
        problems: Vec::<Problem>::new(),
    }
}

fn parse<T: FromStr>(id: &str) -> Result<T, StoreError> {
    id.parse().map_err(|_| unusable("an id"))
}

fn to_revision(number: i64) -> Result<Revision, StoreError> {
    let number = u64::try_from(number).map_err(|_| unusable("a revision"))?;
    Ok(Revision(number))
}

fn to_time(milliseconds: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_millisecond(milliseconds).map_err(|_| unusable("a time"))
}
