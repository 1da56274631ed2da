//! The store in an SQLite file.
#![cfg(feature = "sqlite")]
#![expect(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]

mod suite;
mod support;

use std::path::PathBuf;
use std::sync::Arc;

use bailian_tenants::Rates;
use bailian_tenants::key::Pepper;
use bailian_tenants::store::{SqliteStore, Store, StoreError};
use rusqlite::Connection;
use secrecy::ExposeSecret;
use suite::{Installation, Place};

struct File {
    folder: tempfile::TempDir,
}

impl File {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("tenants.db")
    }
}

impl Place for File {
    fn open(&self, pepper: &Pepper, rates: Rates) -> Result<Arc<dyn Store>, StoreError> {
        Ok(Arc::new(SqliteStore::open(&self.path(), pepper, rates)?))
    }

    fn execute(&self, sql: &str) -> bool {
        let connection = Connection::open(self.path()).unwrap();
        connection.execute(sql, ()).is_ok()
    }

    fn write_schema(&self, number: u32) {
        let connection = Connection::open(self.path()).unwrap();
        connection
            .pragma_update(None, "user_version", number)
            .unwrap();
    }
}

suite::suite!(File::new());

#[test]
fn no_file_holds_a_secret() {
    let place = File::new();
    let path = place.folder.path().to_owned();
    let installation = Installation::new(Box::new(place));
    let (.., text) = installation.tree();
    let secret = &text.expose_secret().as_bytes()[12..];
    let mut files = 0;
    for file in std::fs::read_dir(path).unwrap() {
        let content = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!content.windows(secret.len()).any(|part| part == secret));
        files += 1;
    }
    assert!(files > 0);
}

#[cfg(unix)]
#[test]
fn the_file_is_its_owners_only() {
    use std::os::unix::fs::PermissionsExt;
    let place = File::new();
    let path = place.folder.path().to_owned();
    let installation = Installation::new(Box::new(place));
    installation.tree();
    for file in std::fs::read_dir(path).unwrap() {
        let file = file.unwrap();
        assert_eq!(
            file.metadata().unwrap().permissions().mode() & 0o077,
            0,
            "{file:?}"
        );
    }
}
