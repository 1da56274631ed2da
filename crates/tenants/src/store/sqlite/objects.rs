//! Whose the service's things are.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _};

use crate::object::{Object, ObjectKind};
use crate::store::StoreError;
use crate::store::raw::to_time;

pub(super) fn put(
    connection: &Connection,
    object: &Object,
    now: Timestamp,
) -> Result<(), StoreError> {
    // Whoever made it keeps it: another one's word does not change whose it is.
    let query = "INSERT INTO objects (kind, id, owner, account, until) VALUES (?1, ?2, ?3, ?4, ?5) \
         ON CONFLICT (kind, id) DO UPDATE SET owner = excluded.owner, \
         account = excluded.account, until = excluded.until \
         WHERE objects.until <= ?6 \
         OR (objects.owner = excluded.owner AND objects.until <= excluded.until)";
    let values = (
        object.kind.as_str(),
        &object.id,
        &object.owner,
        &object.account,
        object.until.as_millisecond(),
        now.as_millisecond(),
    );
    connection.prepare_cached(query)?.execute(values)?;
    Ok(())
}

pub(super) fn get(
    connection: &Connection,
    kind: ObjectKind,
    id: &str,
    now: Timestamp,
) -> Result<Option<Object>, StoreError> {
    let query = "SELECT owner, account, until FROM objects \
         WHERE kind = ?1 AND id = ?2 AND until > ?3";
    let values = (kind.as_str(), id, now.as_millisecond());
    let found: Option<(String, String, i64)> = connection
        .prepare_cached(query)?
        .query_row(values, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((owner, account, until)) = found else {
        return Ok(None);
    };
    Ok(Some(Object {
        kind,
        id: id.to_owned(),
        owner,
        account,
        until: to_time(until)?,
    }))
}

pub(super) fn delete(
    connection: &Connection,
    kind: ObjectKind,
    id: &str,
) -> Result<(), StoreError> {
    let query = "DELETE FROM objects WHERE kind = ?1 AND id = ?2";
    connection.execute(query, (kind.as_str(), id))?;
    Ok(())
}

pub(super) fn forget(
    connection: &Connection,
    now: Timestamp,
    limit: u32,
) -> Result<u32, StoreError> {
    let query = "DELETE FROM objects WHERE (kind, id) IN \
         (SELECT kind, id FROM objects WHERE until <= ?1 ORDER BY until LIMIT ?2)";
    let gone = connection.execute(query, (now.as_millisecond(), limit))?;
    Ok(u32::try_from(gone).unwrap_or(u32::MAX))
}
