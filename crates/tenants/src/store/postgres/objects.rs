//! Whose the service's things are.

use jiff::Timestamp;

use super::Link;
use crate::object::{Object, ObjectKind};
use crate::store::StoreError;
use crate::store::raw::to_time;

impl Link {
    pub(super) async fn put_object(
        &self,
        object: &Object,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        // Whoever made it keeps it: another one's word does not change whose it is.
        let query = "INSERT INTO bailian.objects AS known (kind, id, owner, account, until) \
             VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (kind, id) DO UPDATE SET owner = excluded.owner, \
             account = excluded.account, until = excluded.until \
             WHERE known.until <= $6 \
             OR (known.owner = excluded.owner AND known.until <= excluded.until)";
        let mut place = self.writer.lock().await;
        let client = self.client(&mut place).await?;
        client
            .execute(
                query,
                &[
                    &object.kind.as_str(),
                    &object.id,
                    &object.owner,
                    &object.account,
                    &object.until.as_millisecond(),
                    &now.as_millisecond(),
                ],
            )
            .await?;
        Ok(())
    }

    pub(super) async fn object(
        &self,
        kind: ObjectKind,
        id: &str,
        now: Timestamp,
    ) -> Result<Option<Object>, StoreError> {
        let query = "SELECT owner, account, until FROM bailian.objects \
             WHERE kind = $1 AND id = $2 AND until > $3";
        let mut place = self.reader.lock().await;
        let client = self.client(&mut place).await?;
        let row = client
            .query_opt(query, &[&kind.as_str(), &id, &now.as_millisecond()])
            .await?;
        let Some(row) = row else {
            return Ok(None);
        };
        Ok(Some(Object {
            kind,
            id: id.to_owned(),
            owner: row.try_get(0)?,
            account: row.try_get(1)?,
            until: to_time(row.try_get(2)?)?,
        }))
    }

    pub(super) async fn delete_object(&self, kind: ObjectKind, id: &str) -> Result<(), StoreError> {
        let query = "DELETE FROM bailian.objects WHERE kind = $1 AND id = $2";
        let mut place = self.writer.lock().await;
        let client = self.client(&mut place).await?;
        client.execute(query, &[&kind.as_str(), &id]).await?;
        Ok(())
    }

    pub(super) async fn forget_objects(
        &self,
        now: Timestamp,
        limit: u32,
    ) -> Result<u32, StoreError> {
        let query = "DELETE FROM bailian.objects WHERE (kind, id) IN \
             (SELECT kind, id FROM bailian.objects WHERE until <= $1 ORDER BY until LIMIT $2)";
        let mut place = self.writer.lock().await;
        let client = self.client(&mut place).await?;
        let gone = client
            .execute(query, &[&now.as_millisecond(), &i64::from(limit)])
            .await?;
        Ok(u32::try_from(gone).unwrap_or(u32::MAX))
    }
}
