//! What the database holds, as rows.

use std::collections::HashMap;

use tokio_postgres::types::ToSql;
use tokio_postgres::{GenericClient, Row as Columns};

use super::{IsolationLevel, Link, number, revision};
use crate::id::NodeId;
use crate::model::{Changes, Credential, Revision, Row};
use crate::money::Rates;
use crate::store::raw::{self, RawAudit, RawCredential, RawKey, RawNode, signed};
use crate::store::{AuditEntry, MAX_PAGE, StoreError};

const TENANTS: &str = "SELECT id, revision, created_at, settings FROM bailian.tenants";
const PROJECTS: &str = "SELECT id, revision, created_at, settings, tenant FROM bailian.projects";
const KEYS: &str = "SELECT id, revision, created_at, settings, project, revoked_at, cut_streams \
     FROM bailian.keys";

/// A row, or what is wrong with it.
type Found = Result<Row, StoreError>;

type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

impl Link {
    pub(super) async fn changes_since(&self, since: Revision) -> Result<Changes, StoreError> {
        let mut place = self.reader.lock().await;
        let client = self.client(&mut place).await?;
        // One snapshot for all queries, so that all that is read belongs to one revision.
        let transaction = client
            .build_transaction()
            .read_only(true)
            .isolation_level(IsolationLevel::RepeatableRead)
            .start()
            .await?;
        let client = &transaction;
        let known_since = Revision(number(client, "deletions_known_since").await?);
        let mut changes = Changes::begin(revision(client).await?, since, known_since);
        let since = signed(if changes.is_whole { 0 } else { since.0 });
        let rates = &self.rates;
        let after = "revision > $1";
        let mut found = tenants(client, after, &[&since], rates).await?;
        found.extend(projects(client, after, &[&since], rates).await?);
        found.extend(keys(client, after, &[&since], rates).await?);
        for row in found {
            changes.take(row)?;
        }
        if !changes.is_whole {
            let query = "SELECT id, cut_streams FROM bailian.deleted WHERE revision > $1";
            for row in client.query(query, &[&since]).await? {
                let id: String = row.try_get(0)?;
                changes.deleted.push(raw::deleted(&id, row.try_get(1)?)?);
            }
        }
        transaction.commit().await?;
        Ok(changes)
    }

    pub(super) async fn row(&self, id: NodeId) -> Result<Option<Row>, StoreError> {
        let mut place = self.reader.lock().await;
        let client = &*self.client(&mut place).await?;
        let (text, rates) = (id.to_string(), &self.rates);
        let by_id = "id = $1";
        let mut found = match id {
            NodeId::Tenant(_) => tenants(client, by_id, &[&text], rates).await?,
            NodeId::Project(_) => projects(client, by_id, &[&text], rates).await?,
            NodeId::Key(_) => keys(client, by_id, &[&text], rates).await?,
        };
        found.pop().transpose()
    }

    pub(super) async fn children(
        &self,
        parent: Option<NodeId>,
        after: Option<NodeId>,
        limit: u32,
    ) -> Result<Vec<Row>, StoreError> {
        let mut place = self.reader.lock().await;
        let client = &*self.client(&mut place).await?;
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        let (limit, rates) = (i64::from(limit.min(MAX_PAGE)), &self.rates);
        let page = "id > $1 ORDER BY id LIMIT $2";
        let found = match parent {
            None => tenants(client, page, &[&after, &limit], rates).await?,
            Some(NodeId::Tenant(id)) => {
                let (page, id) = (format!("tenant = $3 AND {page}"), id.to_string());
                projects(client, &page, &[&after, &limit, &id], rates).await?
            }
            Some(NodeId::Project(id)) => {
                let (page, id) = (format!("project = $3 AND {page}"), id.to_string());
                keys(client, &page, &[&after, &limit, &id], rates).await?
            }
            Some(NodeId::Key(_)) => Vec::new(),
        };
        found.into_iter().collect()
    }

    pub(super) async fn audit(
        &self,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        let mut place = self.reader.lock().await;
        let client = self.client(&mut place).await?;
        let before = signed(before.unwrap_or(u64::MAX));
        let limit = i64::from(limit.min(MAX_PAGE));
        let query = "SELECT number, revision, at, who, address, action, target, before, after \
             FROM bailian.audit WHERE number < $1 ORDER BY number DESC LIMIT $2";
        let mut entries = Vec::new();
        for row in client.query(query, &[&before, &limit]).await? {
            let entry = RawAudit {
                number: row.try_get(0)?,
                revision: row.try_get(1)?,
                at: row.try_get(2)?,
                who: row.try_get(3)?,
                address: row.try_get(4)?,
                action: row.try_get(5)?,
                target: row.try_get(6)?,
                before: row.try_get(7)?,
                after: row.try_get(8)?,
            };
            entries.push(entry.check()?);
        }
        Ok(entries)
    }
}

async fn tenants(
    client: &impl GenericClient,
    which: &str,
    by: Parameters<'_>,
    rates: &Rates,
) -> Result<Vec<Found>, StoreError> {
    let rows = client
        .query(&format!("{TENANTS} WHERE {which}"), by)
        .await?;
    let tenant = |row: &Columns| Ok(node(row)?.tenant(rates));
    rows.iter().map(tenant).collect()
}

async fn projects(
    client: &impl GenericClient,
    which: &str,
    by: Parameters<'_>,
    rates: &Rates,
) -> Result<Vec<Found>, StoreError> {
    let rows = client
        .query(&format!("{PROJECTS} WHERE {which}"), by)
        .await?;
    let project = |row: &Columns| {
        let tenant: String = row.try_get(4)?;
        Ok(node(row)?.project(&tenant, rates))
    };
    rows.iter().map(project).collect()
}

async fn keys(
    client: &impl GenericClient,
    which: &str,
    by: Parameters<'_>,
    rates: &Rates,
) -> Result<Vec<Found>, StoreError> {
    let rows = client.query(&format!("{KEYS} WHERE {which}"), by).await?;
    let mut credentials = credentials(client, &rows).await?;
    let mut keys = Vec::with_capacity(rows.len());
    for row in &rows {
        let node = node(row)?;
        let key = RawKey {
            project: row.try_get(4)?,
            revoked_at: row.try_get(5)?,
            cut_streams: row.try_get(6)?,
            credentials: credentials.remove(&node.id).unwrap_or_default(),
        };
        keys.push(node.key(key, rates));
    }
    Ok(keys)
}

/// The credentials of all keys in one query, since each query is a way to another machine.
async fn credentials(
    client: &impl GenericClient,
    keys: &[Columns],
) -> Result<HashMap<String, Vec<Credential>>, StoreError> {
    let ids: Result<Vec<String>, _> = keys.iter().map(|row| row.try_get(0)).collect();
    let ids = ids?;
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let query = "SELECT key, verifier, public_id, created_at, valid_until \
         FROM bailian.credentials WHERE key = ANY($1) ORDER BY key, place";
    let mut found: HashMap<String, Vec<Credential>> = HashMap::new();
    for row in client.query(query, &[&ids]).await? {
        let credential = RawCredential {
            verifier: row.try_get(1)?,
            public_id: row.try_get(2)?,
            created_at: row.try_get(3)?,
            valid_until: row.try_get(4)?,
        };
        let key = found.entry(row.try_get(0)?).or_default();
        key.push(credential.check()?);
    }
    Ok(found)
}

fn node(row: &Columns) -> Result<RawNode, tokio_postgres::Error> {
    Ok(RawNode {
        id: row.try_get(0)?,
        revision: row.try_get(1)?,
        created_at: row.try_get(2)?,
        settings: row.try_get(3)?,
    })
}
