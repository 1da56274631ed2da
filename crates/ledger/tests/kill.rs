//! Real processes that are killed at any moment: what they said is done is there, once.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a helper that fails is a test that fails"
)]

use std::collections::{HashMap, HashSet};
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bailian_ledger::{
    Begin, Estimate, Filter, GroupBy, Ledger, Page, Record, Settings, Settlement, Sqlite, outcome,
};
use uuid::Uuid;

/// Tells the test executable that it is the child, and in which folder.
const FOLDER: &str = "BAILIAN_LEDGER_TEST_FOLDER";

const PATIENCE: Duration = Duration::from_mins(1);

fn open(folder: &Path) -> Ledger {
    let mut settings = Settings::new(folder.join("spool"));
    settings.shards = 4;
    // Small, so that deaths fall into rotations and transactions too.
    settings.segment_bytes = 8 * 1024;
    settings.ingest_interval = Duration::from_millis(3);
    settings.claim_interval = Duration::from_millis(20);
    Ledger::open(settings, Sqlite::new(folder.join("ledger.db"))).unwrap()
}

/// Not a test: what a child does until it is killed.
#[test]
fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let folder = Path::new(&folder);
    let ledger = open(folder);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| work(&ledger, folder));
        }
    });
}

fn work(ledger: &Ledger, folder: &Path) {
    let said = folder.join(format!("said-{}", Uuid::now_v7()));
    let mut said = OpenOptions::new()
        .append(true)
        .create(true)
        .open(said)
        .unwrap();
    // One `write` each: what a killed process has said stays said.
    let mut say = |what: char, id: Uuid| {
        let line = format!("{what} {id}\n");
        said.write_all(line.as_bytes()).unwrap();
    };
    let mut open = Vec::new();
    loop {
        let id = Uuid::now_v7();
        let mut begin = Begin::new(id, 1_800_000_000_000);
        begin.tenant = Some("研发部".into());
        begin.estimate = Estimate::of_tokens(100, 50);
        let entry = ledger.begin(&begin);
        say('b', id);
        open.push(entry);
        if open.len() > fastrand::usize(0..4) {
            let entry = open.swap_remove(fastrand::usize(0..open.len()));
            let id = entry.id();
            entry.settle(&Settlement::new("completed"));
            say('s', id);
        }
        // Enough for deaths at every moment; more would only be counted longer.
        std::thread::sleep(Duration::from_micros(500));
    }
}

/// A child; it is killed at the latest when the test ends, however that ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn spawn(folder: &Path) -> Running {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    Running(child)
}

fn kill(mut child: Running) {
    let ended = child.0.try_wait().unwrap();
    assert_eq!(ended, None, "the child ended by itself");
}

/// Waits until the child has begun requests, and then for a random moment.
fn live_a_little(folder: &Path, before: usize) {
    let began = std::time::Instant::now();
    while said(folder).0.len() <= before {
        assert!(began.elapsed() < PATIENCE, "the child does nothing");
        std::thread::sleep(Duration::from_millis(2));
    }
    std::thread::sleep(Duration::from_micros(fastrand::u64(0..60_000)));
}

/// The ids that are said to have begun, and to have ended.
fn said(folder: &Path) -> (HashSet<Uuid>, HashSet<Uuid>) {
    let (mut begun, mut ended) = (HashSet::new(), HashSet::new());
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if !entry.file_name().to_string_lossy().starts_with("said-") {
            continue;
        }
        for line in fs::read_to_string(entry.path())
            .unwrap()
            .split_inclusive('\n')
        {
            // A line without its end was torn by the death.
            let Some((what, id)) = line
                .strip_suffix('\n')
                .and_then(|line| line.split_once(' '))
            else {
                continue;
            };
            let id = id.parse().unwrap();
            match what {
                "b" => begun.insert(id),
                _ => ended.insert(id),
            };
        }
    }
    (begun, ended)
}

fn all_records(ledger: &Ledger) -> Vec<Record> {
    let mut reader = ledger.reader();
    let mut page = Page::first(Page::MOST);
    let mut all = Vec::new();
    loop {
        let some = reader.records(&Filter::default(), page).unwrap();
        let Some(last) = some.last() else {
            return all;
        };
        page = page.after(last.cursor());
        all.extend(some);
    }
}

fn check(folder: &Path) {
    let ledger = open(folder);
    assert!(ledger.flush(PATIENCE), "{:?}", ledger.status());
    let status = ledger.status();
    assert_eq!(
        (status.lost, status.damaged_bytes, status.refused),
        (0, 0, 0)
    );
    let (begun, ended) = said(folder);
    let records = all_records(&ledger);
    let by_id: HashMap<_, _> = records
        .iter()
        .map(|record| (record.begin.id, record))
        .collect();
    assert_eq!(by_id.len(), records.len(), "a record is there twice");
    for id in &begun {
        let record = by_id.get(id).expect("what began is there");
        assert_eq!(record.begin.tenant.as_ref().unwrap(), &"研发部");
    }
    for id in &ended {
        let record = by_id[id];
        assert!(record.settled);
        assert_eq!(record.end.outcome, "completed");
    }
    let mut unsettled = 0;
    for record in &records {
        if record.settled {
            continue;
        }
        unsettled += 1;
        assert!(!ended.contains(&record.begin.id));
        assert_eq!(record.end.outcome, outcome::UNKNOWN);
        assert!(record.end.estimated);
        assert_eq!(record.end.tokens.input, 100);
    }
    assert!(unsettled > 0, "no death fell into a request");
    let usage = ledger
        .reader()
        .usage(&Filter::default(), &[GroupBy::Tenant])
        .unwrap();
    assert_eq!(usage.len(), 1);
    assert_eq!(usage[0].requests, records.len() as u64);
    assert_eq!(usage[0].unsettled, unsettled);
    drop(ledger);
    let left: Vec<_> = fs::read_dir(folder.join("spool"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_killed_process_loses_no_request_and_counts_none_twice() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..12 {
        let before = said(folder.path()).0.len();
        let child = spawn(folder.path());
        live_a_little(folder.path(), before);
        kill(child);
    }
    check(folder.path());
}

#[test]
fn processes_that_share_a_folder_settle_only_what_the_dead_left() {
    let folder = tempfile::tempdir().unwrap();
    let survivor = spawn(folder.path());
    for _ in 0..6 {
        let before = said(folder.path()).0.len();
        let child = spawn(folder.path());
        live_a_little(folder.path(), before);
        kill(child);
    }
    live_a_little(folder.path(), said(folder.path()).0.len());
    kill(survivor);
    check(folder.path());
}
