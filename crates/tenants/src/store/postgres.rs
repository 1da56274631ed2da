//! Tenants, keys and the audit log in a PostgreSQL database, for replicas on several machines.

mod objects;
mod read;
mod write;

use std::fmt;
use std::future::Future;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use jiff::Timestamp;
use rustls::ClientConfig;
use rustls_platform_verifier::ConfigVerifierExt as _;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Mutex;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, GenericClient, IsolationLevel};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{AuditEntry, Batch, Store, StoreError, raw};
use crate::id::NodeId;
use crate::key::Pepper;
use crate::model::{Changes, Revision, Row};
use crate::money::Rates;
use crate::object::{Object, ObjectKind};

/// The steps from an empty database to the schema of this program; a step is never changed once it
/// was released.
const MIGRATIONS: [&str; 2] = [
    include_str!("postgres/0001_tenants.sql"),
    include_str!("postgres/0002_objects.sql"),
];

/// Any number that no other program locks by; the letters of the project's name.
const MIGRATION_LOCK: i64 = 0x0062_6169_6c69_616e;

/// How long the database may take for one call: longer than a disturbance, shorter than patience.
const PATIENCE: Duration = Duration::from_secs(10);

/// A [`Store`] in the schema `bailian` of a PostgreSQL database.
///
/// It has a thread and two connections of its own, one to read and one to write, and connects again
/// when they are lost. Calls wait for that thread, on whatever thread they are made.
pub struct PostgresStore {
    link: Arc<Link>,
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
}

struct Link {
    config: Config,
    tls: MakeRustlsConnect,
    rates: Rates,
    reader: Mutex<Place>,
    writer: Mutex<Place>,
    /// Counts calls that took too long. Connections that are older than the last of them may be
    /// dead without a word, and are not used again.
    late: AtomicU64,
}

/// A connection, if there is one, and the count of late calls when it was made.
type Place = Option<(u64, Client)>;

impl PostgresStore {
    /// Opens a database by its URL, such as `postgres://user:password@host/name?sslmode=require`,
    /// and brings it to the newest schema. TLS is verified by the machine's own rules; `sslmode`
    /// says whether there is any.
    ///
    /// # Errors
    /// [`StoreError`] when the URL is none, the database does not answer, was written by a newer
    /// program, or holds keys of another pepper.
    pub fn open(url: &str, pepper: &Pepper, rates: Rates) -> Result<Self, StoreError> {
        let mut config = Config::from_str(url)?;
        config.connect_timeout(PATIENCE);
        // A connection whose other end is gone without a word is noticed as soon.
        config.tcp_user_timeout(PATIENCE);
        let tls = ClientConfig::with_platform_verifier().map_err(database)?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("tenants-store")
            .enable_all()
            .build()
            .map_err(database)?;
        let store = Self {
            link: Arc::new(Link {
                config,
                tls: MakeRustlsConnect::new(tls),
                rates,
                reader: Mutex::default(),
                writer: Mutex::default(),
                late: AtomicU64::new(0),
            }),
            runtime: Some(runtime),
        };
        let fingerprint = pepper.fingerprint();
        store.call(|link| async move { link.prepare(&fingerprint).await })?;
        Ok(store)
    }

    /// Runs a call on the store's own thread, which knows no caller's runtime.
    fn call<T, F>(&self, call: impl FnOnce(Arc<Link>) -> F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let Some(runtime) = &self.runtime else {
            return Err(database(mpsc::RecvError));
        };
        let (sender, receiver) = mpsc::sync_channel(1);
        let link = Arc::clone(&self.link);
        let future = call(Arc::clone(&link));
        runtime.spawn(async move {
            let result = tokio::time::timeout(PATIENCE, future).await;
            let result = result.unwrap_or_else(|late| {
                link.late.fetch_add(1, Ordering::Relaxed);
                Err(database(late))
            });
            // Nobody listens any more only when the caller's thread is gone.
            let _ = sender.send(result);
        });
        receiver.recv().map_err(database)?
    }
}

impl Store for PostgresStore {
    fn revision(&self) -> Result<Revision, StoreError> {
        self.call(|link| async move {
            let mut place = link.reader.lock().await;
            let client = link.client(&mut place).await?;
            revision(client).await
        })
    }

    fn changes_since(&self, since: Revision) -> Result<Changes, StoreError> {
        self.call(move |link| async move { link.changes_since(since).await })
    }

    fn row(&self, id: NodeId) -> Result<Option<Row>, StoreError> {
        self.call(move |link| async move { link.row(id).await })
    }

    fn children(
        &self,
        parent: Option<NodeId>,
        after: Option<NodeId>,
        limit: u32,
    ) -> Result<Vec<Row>, StoreError> {
        self.call(move |link| async move { link.children(parent, after, limit).await })
    }

    fn commit(&self, batch: &Batch) -> Result<Revision, StoreError> {
        let batch = batch.clone();
        self.call(move |link| async move {
            let mut place = link.writer.lock().await;
            let client = link.client(&mut place).await?;
            let transaction = client.transaction().await?;
            let revision = write::commit(&transaction, &batch).await?;
            transaction.commit().await?;
            Ok(revision)
        })
    }

    fn audit(&self, before: Option<u64>, limit: u32) -> Result<Vec<AuditEntry>, StoreError> {
        self.call(move |link| async move { link.audit(before, limit).await })
    }

    fn put_object(&self, object: &Object, now: Timestamp) -> Result<(), StoreError> {
        let object = object.clone();
        self.call(move |link| async move { link.put_object(&object, now).await })
    }

    fn object(
        &self,
        kind: ObjectKind,
        id: &str,
        now: Timestamp,
    ) -> Result<Option<Object>, StoreError> {
        let id = id.to_owned();
        self.call(move |link| async move { link.object(kind, &id, now).await })
    }

    fn delete_object(&self, kind: ObjectKind, id: &str) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.call(move |link| async move { link.delete_object(kind, &id).await })
    }

    fn forget_objects(&self, now: Timestamp, limit: u32) -> Result<u32, StoreError> {
        self.call(move |link| async move { link.forget_objects(now, limit).await })
    }
}

impl Drop for PostgresStore {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Waiting for it would block, which is not allowed where a runtime may drop this.
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore")
            .field("hosts", &self.link.config.get_hosts())
            .field("database", &self.link.config.get_dbname())
            .finish_non_exhaustive()
    }
}

impl Link {
    /// The connection in a place, or a new one when it was lost.
    async fn client<'a>(&self, place: &'a mut Place) -> Result<&'a mut Client, StoreError> {
        let late = self.late.load(Ordering::Relaxed);
        let usable = place
            .take()
            .filter(|(made, client)| *made == late && !client.is_closed());
        let made = match usable {
            Some(made) => made,
            None => {
                let (client, connection) = self.config.connect(self.tls.clone()).await?;
                // Ends by itself when the client is dropped or the connection is lost, which the
                // next call notices.
                tokio::spawn(async move { connection.await.ok() });
                (late, client)
            }
        };
        Ok(&mut place.insert(made).1)
    }

    async fn prepare(&self, fingerprint: &str) -> Result<(), StoreError> {
        let mut place = self.writer.lock().await;
        let client = self.client(&mut place).await?;
        let transaction = client.transaction().await?;
        let lock = "SELECT pg_advisory_xact_lock($1)";
        transaction.execute(lock, &[&MIGRATION_LOCK]).await?;
        transaction
            .batch_execute(
                "CREATE SCHEMA IF NOT EXISTS bailian; CREATE TABLE IF NOT EXISTS bailian.meta \
                 (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
            )
            .await?;
        let known = raw::signed(u64::try_from(MIGRATIONS.len()).unwrap_or(u64::MAX));
        let found = raw::signed(number(&transaction, "schema").await?);
        if found > known {
            return Err(StoreError::NewerSchema { found, known });
        }
        let done = usize::try_from(found).unwrap_or(usize::MAX);
        for step in MIGRATIONS.iter().skip(done) {
            transaction.batch_execute(step).await?;
        }
        set_meta(&transaction, "schema", &known.to_string()).await?;
        match meta(&transaction, "pepper").await? {
            Some(stored) if stored != fingerprint => return Err(StoreError::WrongPepper),
            Some(_) => {}
            None => {
                set_meta(&transaction, "pepper", fingerprint).await?;
                // Writers lock this row, so it has to be there.
                set_meta(&transaction, "revision", "0").await?;
            }
        }
        transaction.commit().await?;
        Ok(())
    }
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        if let Some(told) = error.as_db_error() {
            let constraint = told.constraint().unwrap_or_default();
            if *told.code() == SqlState::FOREIGN_KEY_VIOLATION {
                return Self::ParentMissing;
            }
            if *told.code() == SqlState::UNIQUE_VIOLATION {
                if constraint.starts_with("credentials_") {
                    return Self::KeyTaken;
                } else if constraint.ends_with("_name") {
                    return Self::NameTaken;
                }
            }
        }
        database(error)
    }
}

fn database(error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::Database(Box::new(error))
}

async fn meta(client: &impl GenericClient, name: &str) -> Result<Option<String>, StoreError> {
    let query = "SELECT value FROM bailian.meta WHERE name = $1";
    let row = client.query_opt(query, &[&name]).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

async fn set_meta(client: &impl GenericClient, name: &str, value: &str) -> Result<(), StoreError> {
    let query = "INSERT INTO bailian.meta (name, value) VALUES ($1, $2) \
         ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    client.execute(query, &[&name, &value]).await?;
    Ok(())
}

async fn number(client: &impl GenericClient, name: &str) -> Result<u64, StoreError> {
    raw::number(name, meta(client, name).await?.as_deref())
}

async fn revision(client: &impl GenericClient) -> Result<Revision, StoreError> {
    number(client, "revision").await.map(Revision)
}
