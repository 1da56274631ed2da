//! Tenants, keys and the audit log in one SQLite file, shared by all replicas on a machine.

mod objects;
mod read;
mod write;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};

use super::{AuditEntry, Batch, Store, StoreError, raw};
use crate::id::NodeId;
use crate::key::Pepper;
use crate::model::{Changes, Revision, Row};
use crate::money::Rates;
use crate::object::{Object, ObjectKind};

/// The steps from an empty file to the schema of this program; a step is never changed once it was
/// released.
const MIGRATIONS: [&str; 2] = [
    include_str!("sqlite/0001_tenants.sql"),
    include_str!("sqlite/0002_objects.sql"),
];

/// How long to wait for another process that writes.
const BUSY: Duration = Duration::from_secs(5);

/// A [`Store`] in an SQLite file, in its write-ahead mode, so that reading never waits for writing.
pub struct SqliteStore {
    path: PathBuf,
    rates: Rates,
    writer: Mutex<Connection>,
    /// Polls several times a second; has a connection of its own.
    reader: Mutex<Connection>,
}

impl SqliteStore {
    /// Opens a file, or makes it, readable by its owner only, and brings it to the newest schema.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be used, was written by a newer program, or holds keys
    /// of another pepper.
    pub fn open(path: &Path, pepper: &Pepper, rates: Rates) -> Result<Self, StoreError> {
        create_private(path)?;
        let mut writer = connect(path)?;
        migrate(&mut writer)?;
        check_pepper(&mut writer, pepper)?;
        let reader = connect(path)?;
        Ok(Self {
            path: path.to_owned(),
            rates,
            writer: Mutex::new(writer),
            reader: Mutex::new(reader),
        })
    }

    /// Reads in one transaction, so that all that is read belongs to one revision.
    fn read<T>(
        &self,
        read: impl FnOnce(&read::Reader<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut connection = self.reader.lock();
        let transaction = connection.transaction()?;
        read(&read::Reader {
            connection: &transaction,
            rates: &self.rates,
        })
    }
}

impl Store for SqliteStore {
    fn revision(&self) -> Result<Revision, StoreError> {
        revision(&self.reader.lock())
    }

    fn changes_since(&self, since: Revision) -> Result<Changes, StoreError> {
        self.read(|reader| reader.changes_since(since))
    }

    fn row(&self, id: NodeId) -> Result<Option<Row>, StoreError> {
        self.read(|reader| reader.row(id))
    }

    fn children(
        &self,
        parent: Option<NodeId>,
        after: Option<NodeId>,
        limit: u32,
    ) -> Result<Vec<Row>, StoreError> {
        self.read(|reader| reader.children(parent, after, limit))
    }

    fn commit(&self, batch: &Batch) -> Result<Revision, StoreError> {
        let mut writer = self.writer.lock();
        let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let revision = write::commit(&transaction, batch)?;
        transaction.commit()?;
        Ok(revision)
    }

    fn audit(&self, before: Option<u64>, limit: u32) -> Result<Vec<AuditEntry>, StoreError> {
        self.read(|reader| reader.audit(before, limit))
    }

    fn put_object(&self, object: &Object, now: Timestamp) -> Result<(), StoreError> {
        objects::put(&self.writer.lock(), object, now)
    }

    fn object(
        &self,
        kind: ObjectKind,
        id: &str,
        now: Timestamp,
    ) -> Result<Option<Object>, StoreError> {
        objects::get(&self.reader.lock(), kind, id, now)
    }

    fn delete_object(&self, kind: ObjectKind, id: &str) -> Result<(), StoreError> {
        objects::delete(&self.writer.lock(), kind, id)
    }

    fn forget_objects(&self, now: Timestamp, limit: u32) -> Result<u32, StoreError> {
        objects::forget(&self.writer.lock(), now, limit)
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ffi;
        if let rusqlite::Error::SqliteFailure(failure, message) = &error {
            let message = message.as_deref().unwrap_or_default();
            match failure.extended_code {
                ffi::SQLITE_CONSTRAINT_FOREIGNKEY => return Self::ParentMissing,
                ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY => {
                    if message.contains("credentials.") {
                        return Self::KeyTaken;
                    } else if message.contains(".name") {
                        return Self::NameTaken;
                    }
                }
                _ => {}
            }
        }
        Self::Database(Box::new(error))
    }
}

fn create_private(path: &Path) -> Result<(), StoreError> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(false);
    // The files beside it, for write-ahead, take its permissions.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
        .open(path)
        .map(|_| ())
        .map_err(|error| StoreError::Database(Box::new(error)))
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    // A revoked key stays revoked when the power fails.
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    Ok(connection)
}

fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: i64 = transaction.query_row("PRAGMA user_version", (), |row| row.get(0))?;
    if found > known || found < 0 {
        return Err(StoreError::NewerSchema { found, known });
    }
    let done = usize::try_from(found).unwrap_or(0);
    for step in MIGRATIONS.iter().skip(done) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", known)?;
    transaction.commit()?;
    Ok(())
}

fn check_pepper(connection: &mut Connection, pepper: &Pepper) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let fingerprint = pepper.fingerprint();
    match meta(&transaction, "pepper")? {
        Some(stored) if stored != fingerprint => return Err(StoreError::WrongPepper),
        Some(_) => {}
        None => set_meta(&transaction, "pepper", &fingerprint)?,
    }
    transaction.commit()?;
    Ok(())
}

fn meta(connection: &Connection, name: &str) -> Result<Option<String>, StoreError> {
    let query = "SELECT value FROM meta WHERE name = ?1";
    Ok(connection
        .query_row(query, [name], |row| row.get(0))
        .optional()?)
}

fn set_meta(transaction: &Transaction<'_>, name: &str, value: &str) -> Result<(), StoreError> {
    let query = "INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)";
    transaction.execute(query, (name, value))?;
    Ok(())
}

/// A number that is kept as text; 0 where there is none.
fn number(connection: &Connection, name: &str) -> Result<u64, StoreError> {
    raw::number(name, meta(connection, name)?.as_deref())
}

fn revision(connection: &Connection) -> Result<Revision, StoreError> {
    number(connection, "revision").map(Revision)
}
