//! The store in a PostgreSQL database, on a server that the tests start.
#![expect(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]

#[path = "postgres/server.rs"]
mod server;
mod suite;
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bailian_tenants::key::Pepper;
use bailian_tenants::store::{PostgresStore, Store, StoreError};
use bailian_tenants::{NodeId, Rates};
use server::Server;
use suite::{Installation, Place};
use tokio::runtime::Runtime;
use tokio_postgres::NoTls;

/// A database of one test.
struct Database {
    server: Arc<Server>,
    name: String,
}

static NUMBER: AtomicU32 = AtomicU32::new(0);

impl Database {
    fn new() -> Self {
        let server = Server::shared();
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let url = server.url("postgres");
        assert!(execute(&url, &format!("CREATE DATABASE {name}")));
        Self { server, name }
    }

    fn url(&self) -> String {
        self.server.url(&self.name)
    }
}

/// Whether a statement could be run.
fn execute(url: &str, sql: &str) -> bool {
    Runtime::new().unwrap().block_on(async {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
        tokio::spawn(connection);
        let schema = "SET search_path TO bailian";
        client.batch_execute(schema).await.unwrap();
        client.batch_execute(sql).await.is_ok()
    })
}

impl Place for Database {
    fn open(&self, pepper: &Pepper, rates: Rates) -> Result<Arc<dyn Store>, StoreError> {
        Ok(Arc::new(PostgresStore::open(&self.url(), pepper, rates)?))
    }

    fn execute(&self, sql: &str) -> bool {
        execute(&self.url(), sql)
    }

    fn write_schema(&self, number: u32) {
        let sql = format!("UPDATE meta SET value = '{number}' WHERE name = 'schema'");
        assert!(execute(&self.url(), &sql));
    }
}

suite::suite!(Database::new());

#[test]
fn a_lost_connection_is_made_again() {
    let database = Database::new();
    let (url, name) = (database.url(), database.name.clone());
    let installation = Installation::new(Box::new(database));
    let (tenant, ..) = installation.tree();
    let sql = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE datname = '{name}' AND pid <> pg_backend_pid()"
    );
    assert!(execute(&url, &sql));
    let id = NodeId::Tenant(tenant.id);
    // A call that finds the connection broken may fail; the next has another.
    let store = installation.admin.store();
    let found = store.row(id).or_else(|_| store.row(id));
    assert!(found.unwrap().is_some());
    let change = || {
        let settings = support::input(serde_json::json!({"name": "乙"}));
        let (actor, now) = (suite::actor(), support::noon());
        let admin = &installation.admin;
        admin.update(id, tenant.revision, settings, &actor, now)
    };
    assert!(change().or_else(|_| change()).is_ok());
}

#[test]
fn it_can_be_called_and_dropped_inside_a_runtime() {
    let database = Database::new();
    let installation = Installation::new(Box::new(database));
    Runtime::new().unwrap().block_on(async move {
        installation.tree();
        drop(installation.admin);
    });
}

#[test]
fn a_password_is_not_shown() {
    let url = "postgres://u:hunter22@localhost:none/x";
    let error = PostgresStore::open(url, &support::pepper(), Rates::default()).unwrap_err();
    assert!(!format!("{error:?}").contains("hunter22"));
    let url = "postgres://u:hunter22@/x?host=/nowhere";
    let error = PostgresStore::open(url, &support::pepper(), Rates::default()).unwrap_err();
    assert!(!format!("{error:?}").contains("hunter22"));
}
