use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bailian_ledger::{Filter, Ledger, Settings};

use super::server::Server;
use super::{PATIENCE, begin, completed, until};

/// Serves requests on two threads while `meanwhile` happens; answers how many.
fn under_load(ledger: &Ledger, meanwhile: impl FnOnce(&AtomicU64)) -> u64 {
    let (over, served) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    ledger.begin(&begin()).settle(&completed());
                    served.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(Duration::from_micros(500));
                }
            });
        }
        meanwhile(&served);
        over.store(true, Ordering::Relaxed);
    });
    served.load(Ordering::Relaxed)
}

fn settings(folder: &std::path::Path) -> Settings {
    let mut settings = Settings::new(folder);
    settings.ingest_interval = Duration::from_millis(10);
    settings.segment_bytes = 64 * 1024;
    settings
}

fn assert_all_once(ledger: &Ledger, count: u64) {
    assert!(ledger.flush(PATIENCE), "{:?}", ledger.status());
    let usage = ledger.reader().usage(&Filter::default(), &[]).unwrap();
    assert_eq!((usage[0].requests, usage[0].unsettled), (count, 0));
    assert_eq!(usage[0].tokens.input, count * 120);
    let status = ledger.status();
    assert_eq!(
        (status.lost, status.refused, status.backlog_frames),
        (0, 0, 0)
    );
    assert!(status.store_ok && status.spool_ok);
}

#[test]
fn a_server_that_stops_under_load_costs_and_doubles_no_record() {
    let mut server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(settings(folder.path()), server.store()).unwrap();
    let count = under_load(&ledger, |served| {
        for _ in 0..3 {
            until("the server takes records", || {
                let status = ledger.status();
                status.store_ok && status.last_ingested_unix_ms.is_some()
            });
            server.stop();
            until("the status says so", || !ledger.status().store_ok);
            let before = served.load(Ordering::Relaxed);
            until("requests are served all the same", || {
                served.load(Ordering::Relaxed) > before + 300
            });
            let status = ledger.status();
            assert!(status.spool_ok && status.backlog_bytes > 0);
            assert!(status.last_error.is_some());
            server.resume();
            until("the server is found again", || ledger.status().store_ok);
        }
    });
    assert_all_once(&ledger, count);
}

#[test]
fn a_full_spool_goes_into_the_server_from_memory() {
    let server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(folder.path());
    // No frame fits, as on a full disk.
    settings.most_spool_bytes = 10;
    let ledger = Ledger::open(settings, server.store()).unwrap();
    let count = under_load(&ledger, |served| {
        until("some are served", || served.load(Ordering::Relaxed) > 500);
        assert!(!ledger.status().spool_ok);
    });
    assert!(ledger.flush(PATIENCE));
    let usage = ledger.reader().usage(&Filter::default(), &[]).unwrap();
    assert_eq!((usage[0].requests, usage[0].unsettled), (count, 0));
    assert_eq!(ledger.status().lost, 0);
}
