//! What the database holds, as rows.

use std::collections::HashMap;

use tokio_postgres::types::ToSql;
use tokio_postgres::{GenericClient, Row as Columns};

use super::{IsolationLevel, Link, number, revision};
use crate::id::{Level, NodeId};
use crate::model::{Changes, Credential, Revision, Row};
use crate::money::Rates;
use crate::store::raw::{self, RawAudit, RawCredential, RawKey, RawNode, signed};
use crate::store::select::{Found, Select, Value};
use crate::store::{AuditEntry, MAX_PAGE, StoreError};

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
        let since = if changes.is_whole { Revision(0) } else { since };
        for select in Select::changed(since) {
            for row in rows(client, &select, &self.rates).await? {
                changes.take(row)?;
            }
        }
        if !changes.is_whole {
            let query = "SELECT id, cut_streams FROM bailian.deleted WHERE revision > $1";
            for row in client.query(query, &[&signed(since.0)]).await? {
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
        let mut found = rows(client, &Select::one(id), &self.rates).await?;
        found.pop().transpose()
    }

    pub(super) async fn children(
        &self,
        parent: Option<NodeId>,
        after: Option<NodeId>,
        limit: u32,
    ) -> Result<Vec<Row>, StoreError> {
        let Some(select) = Select::children(parent, after, limit) else {
            return Ok(Vec::new());
        };
        let mut place = self.reader.lock().await;
        let client = &*self.client(&mut place).await?;
        let found = rows(client, &select, &self.rates).await?;
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

async fn rows(
    client: &impl GenericClient,
    select: &Select,
    rates: &Rates,
) -> Result<Vec<Found>, StoreError> {
    let by = select.by.iter().map(|value| match value {
        Value::Text(text) => text as &(dyn ToSql + Sync),
        Value::Number(number) => number,
    });
    let by: Vec<&(dyn ToSql + Sync)> = by.collect();
    let rows = client.query(&select.sql("bailian.", "$"), &by).await?;
    let mut credentials = match select.level {
        Level::Key => credentials(client, &rows).await?,
        Level::Tenant | Level::Project => HashMap::new(),
    };
    let mut found = Vec::with_capacity(rows.len());
    for row in &rows {
        let node = node(row)?;
        found.push(match select.level {
            Level::Tenant => node.tenant(rates),
            Level::Project => node.project(&row.try_get::<_, String>(4)?, rates),
            Level::Key => {
                let key = RawKey {
                    project: row.try_get(4)?,
                    revoked_at: row.try_get(5)?,
                    cut_streams: row.try_get(6)?,
                    credentials: credentials.remove(&node.id).unwrap_or_default(),
                };
                node.key(key, rates)
            }
        });
    }
    Ok(found)
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
