//! Files that take a part of a frame and then no more, as on a full disk.
#![cfg(unix)]

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use bailian_ledger::{Begin, Filter, Ledger, Settings, Settlement, Sqlite};
use uuid::Uuid;

/// Tells the test executable that it is the child, and in which folder.
const FOLDER: &str = "BAILIAN_LEDGER_TEST_FOLDER";

const PATIENCE: Duration = Duration::from_mins(1);

const REQUESTS: u64 = 2000;

/// Not a test: serves requests while no file may grow beyond some kilobytes.
#[test]
fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let folder = Path::new(&folder);
    let mut settings = Settings::new(folder.join("spool"));
    settings.shards = 1;
    settings.ingest_interval = Duration::from_millis(5);
    let away = Sqlite::new(folder.join("no such folder/ledger.db"));
    let ledger = Ledger::open(settings, away).unwrap();
    let mut has_failed = false;
    for _ in 0..REQUESTS {
        let mut begin = Begin::new(Uuid::now_v7(), 1_800_000_000_000);
        begin.tenant = Some("研发部".into());
        ledger.begin(&begin).settle(&Settlement::new("completed"));
        has_failed |= !ledger.status().spool_ok;
    }
    assert!(has_failed, "the files had room for all");
    let error = ledger.status().last_error.unwrap();
    assert!(
        error.contains("spool") || error.contains("store"),
        "{error}"
    );
    let began = Instant::now();
    while !ledger.status().spool_ok {
        assert!(began.elapsed() < PATIENCE, "{:?}", ledger.status());
        std::thread::sleep(Duration::from_millis(2));
    }
    let status = ledger.status();
    assert_eq!((status.lost, status.backlog_frames), (0, 2 * REQUESTS));
}

#[test]
fn a_frame_that_is_written_in_part_is_cut_and_written_again() {
    let folder = tempfile::tempdir().unwrap();
    // The signal for too long a file is ignored, so that the write fails instead.
    let script = "trap '' XFSZ; ulimit -f 256; exec \"$0\" --exact child --test-threads=1";
    let output = Command::new("sh")
        .args(["-c", script])
        .arg(std::env::current_exe().unwrap())
        .env(FOLDER, folder.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");

    let spool = Settings::new(folder.path().join("spool"));
    let ledger = Ledger::open(spool, Sqlite::new(folder.path().join("ledger.db"))).unwrap();
    assert!(ledger.flush(PATIENCE));
    let usage = ledger.reader().usage(&Filter::default(), &[]).unwrap();
    assert_eq!((usage[0].requests, usage[0].unsettled), (REQUESTS, 0));
    let status = ledger.status();
    assert_eq!((status.damaged_bytes, status.refused), (0, 0));
}
