//! A ledger over SQLite, and over stores that fail on purpose.
#![expect(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]

mod failing;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bailian_ledger::{
    Attempt, Begin, Content, ContentOwner, Currency, Estimate, Filter, GroupBy, Ledger, Page,
    Reader, Reconciled, Record, Settings, Settlement, Sqlite, Tokens, outcome,
};
use uuid::Uuid;

use self::failing::Failing;

const PATIENCE: Duration = Duration::from_secs(30);

fn settings(folder: &Path) -> Settings {
    let mut settings = Settings::new(folder.join("spool"));
    settings.ingest_interval = Duration::from_millis(5);
    settings.claim_interval = Duration::from_millis(20);
    settings
}

fn database(folder: &Path) -> Sqlite {
    Sqlite::new(folder.join("ledger.db"))
}

fn begin(tenant: &'static str) -> Begin<'static> {
    let mut begin = Begin::new(Uuid::now_v7(), 1_800_000_000_000);
    begin.tenant = Some(tenant.into());
    begin.project = Some("客服".into());
    begin.key_id = Some("key-1".into());
    begin.surface = Some("chat".into());
    begin.dialect = Some("openai".into());
    begin.model = Some("qwen-max".into());
    begin.estimate = Estimate::of_tokens(100, 50).with_cost("0.25".parse().unwrap(), Currency::CNY);
    begin
}

fn completed() -> Settlement<'static> {
    let mut end = Settlement::new("completed");
    end.account = Some("main".into());
    end.region = Some("cn-beijing".into());
    end.upstream_model = Some("qwen-max-2025-01-25".into());
    end.attempts = 2;
    end.attempt_list = vec![
        Attempt::new("spare", "qwen-max", "throttled", Some(429)),
        Attempt::new("main", "qwen-max-2025-01-25", "completed", Some(200)),
    ];
    end.tokens = Tokens::new(120, 40);
    end.tokens.cached = 20;
    end.tokens.reasoning = 10;
    end.images = 1;
    end.cost = Some("0.1".parse().unwrap());
    end.currency = Some(Currency::CNY);
    end.price_version = Some("2026-11-01".into());
    end.queued_ms = Some(3);
    end.first_token_ms = Some(250);
    end.total_ms = Some(900);
    end.http_status = Some(200);
    end.upstream_request_id = Some("请求-1".into());
    end.stream = true;
    end
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn records(ledger: &Ledger) -> Vec<Record> {
    ledger
        .reader()
        .records(&Filter::default(), Page::first(Page::MOST))
        .unwrap()
}

#[test]
fn a_record_holds_what_was_said_at_the_beginning_and_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(settings(folder.path()), database(folder.path())).unwrap();
    let begin = begin("研发部");
    let entry = ledger.begin(&begin);
    assert!(ledger.flush(PATIENCE));
    let running = records(&ledger).remove(0);
    assert_eq!(running.end.outcome, outcome::RUNNING);
    assert!(!running.settled && running.end.estimated);
    assert_eq!(running.end.tokens, Tokens::new(100, 50));
    assert_eq!(ledger.status().open, 1);

    entry.settle(&completed());
    assert!(ledger.flush(PATIENCE));
    let record = records(&ledger).remove(0);
    assert_eq!(record.begin, begin);
    assert_eq!(record.end, completed());
    assert_eq!(record.process, ledger.process());
    assert!(record.settled);
    let status = ledger.status();
    assert!(status.store_ok && status.spool_ok && status.last_error.is_none());
    assert_eq!((status.backlog_frames, status.backlog_bytes), (0, 0));
    assert_eq!((status.open, status.lost), (0, 0));
}

#[test]
fn a_dropped_entry_is_abandoned_with_its_estimate() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(settings(folder.path()), database(folder.path())).unwrap();
    drop(ledger.begin(&begin("a")));
    assert!(ledger.flush(PATIENCE));
    let record = records(&ledger).remove(0);
    assert_eq!(record.end.outcome, outcome::ABANDONED);
    assert!(record.settled && record.end.estimated);
    assert_eq!(record.end.cost, Some("0.25".parse().unwrap()));
}

#[test]
fn sums_are_exact_by_group_and_currency() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(settings(folder.path()), database(folder.path())).unwrap();
    // In binary fractions, ten times 0.1 is not 1.
    for _ in 0..10 {
        ledger.begin(&begin("a")).settle(&completed());
    }
    let mut dollars = completed();
    dollars.currency = Some(Currency::USD);
    dollars.cost = Some("0.000000000001".parse().unwrap());
    ledger.begin(&begin("a")).settle(&dollars);
    let mut free = Settlement::new("refused");
    free.unpriced = Some("no price".into());
    ledger.begin(&begin("b")).settle(&free);
    let open = ledger.begin(&begin("b"));
    assert!(ledger.flush(PATIENCE));

    let usage = ledger
        .reader()
        .usage(&Filter::default(), &[GroupBy::Tenant, GroupBy::Day(0)])
        .unwrap();
    let day = Some("2027-01-15".to_owned());
    assert_eq!(usage.len(), 2);
    assert_eq!(usage[0].group, [Some("a".to_owned()), day.clone()]);
    assert_eq!(usage[0].requests, 11);
    assert_eq!(usage[0].tokens.input, 11 * 120);
    assert_eq!(usage[0].tokens.cached, 11 * 20);
    assert_eq!(usage[0].cost[&Currency::CNY].to_string(), "1.0");
    assert_eq!(usage[0].cost[&Currency::USD].to_string(), "0.000000000001");
    assert!(usage[0].estimated_cost.is_empty());
    assert_eq!(usage[1].group, [Some("b".to_owned()), day]);
    assert_eq!((usage[1].requests, usage[1].unsettled), (2, 1));
    assert_eq!((usage[1].estimated, usage[1].unpriced), (1, 1));
    assert_eq!(usage[1].cost, usage[1].estimated_cost);
    assert_eq!(usage[1].cost[&Currency::CNY].to_string(), "0.25");

    // Where clocks are ahead the day has changed already, where they are behind it has not begun.
    let by = [GroupBy::Day(16 * 3_600), GroupBy::Hour(-9 * 3_600)];
    let usage = ledger.reader().usage(&Filter::default(), &by).unwrap();
    let moments = ["2027-01-16", "2027-01-14T23"].map(|moment| Some(moment.to_owned()));
    assert_eq!(usage[0].group, moments);
    let mut upstream = Filter::default();
    upstream.upstream_request_id = completed().upstream_request_id.map(|id| id.to_string());
    let answered = ledger
        .reader()
        .records(&upstream, Page::first(100))
        .unwrap();
    assert_eq!(answered.len(), 11);
    upstream.id = Some(answered[3].begin.id);
    let one = ledger
        .reader()
        .records(&upstream, Page::first(100))
        .unwrap();
    assert_eq!(one, answered[3..4]);

    let mut filter = Filter::default();
    filter.tenant = Some("b".to_owned());
    filter.settled = Some(true);
    let usage = ledger.reader().usage(&filter, &[]).unwrap();
    assert_eq!((usage.len(), usage[0].requests), (1, 1));
    filter.to_unix_ms = Some(1_800_000_000_000);
    assert!(ledger.reader().usage(&filter, &[]).unwrap().is_empty());
    drop(open);
}

#[test]
fn pages_follow_each_other_in_both_directions() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(settings(folder.path()), database(folder.path())).unwrap();
    // The clock is set back an hour half-way.
    let mut expected = Vec::new();
    for second in 0..25_u64 {
        let back = if second > 12 { 3_600_000 } else { 0 };
        let mut begin = begin("a");
        begin.started_unix_ms = begin.started_unix_ms + second * 1000 - back;
        expected.push((begin.started_unix_ms, begin.id));
        ledger.begin(&begin).settle(&completed());
    }
    assert!(ledger.flush(PATIENCE));
    expected.sort_unstable();
    let mut reader = ledger.reader();
    for page in [Page::first(4), Page::newest(4)] {
        let (mut found, mut next) = (Vec::new(), page);
        loop {
            let some = reader.records(&Filter::default(), next).unwrap();
            let Some(last) = some.last() else { break };
            next = next.after(last.cursor());
            found.extend(some.iter().map(|r| (r.begin.started_unix_ms, r.begin.id)));
        }
        if page.newest_first {
            found.reverse();
        }
        assert_eq!(found, expected);
    }
}

#[test]
fn four_threads_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(folder.path());
    settings.shards = 2;
    settings.segment_bytes = 16 * 1024;
    let ledger = Ledger::open(settings, database(folder.path())).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..250 {
                    ledger.begin(&begin("a")).settle(&completed());
                }
            });
        }
    });
    assert!(ledger.flush(PATIENCE));
    let usage = ledger.reader().usage(&Filter::default(), &[]).unwrap();
    assert_eq!((usage[0].requests, usage[0].unsettled), (1000, 0));
    assert_eq!(usage[0].cost[&Currency::CNY].to_string(), "100.0");
    assert_eq!(ledger.status().backlog_frames, 0);
    // Whole segments are gone; what remains is the present one of each line and the lock.
    let left = fs::read_dir(folder.path().join("spool")).unwrap().count();
    assert!(left <= 3, "{left} files");
}

#[test]
fn a_segment_that_rests_gives_back_what_it_takes() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(folder.path());
    settings.shards = 1;
    let ledger = Ledger::open(settings, database(folder.path())).unwrap();
    let segments = || -> Vec<_> {
        let files = fs::read_dir(folder.path().join("spool")).unwrap();
        let paths = files.map(|file| file.unwrap().path());
        let is_segment = |path: &PathBuf| path.extension().is_some_and(|it| it == "seg");
        paths.filter(is_segment).collect()
    };
    let first = segments();
    for _ in 0..300 {
        ledger.begin(&begin("a")).settle(&completed());
    }
    assert!(ledger.flush(PATIENCE));
    until("another segment", || {
        let now = segments();
        now.len() == 1 && now != first
    });
    // What is written afterwards is found as before.
    ledger.begin(&begin("b")).settle(&completed());
    assert!(ledger.flush(PATIENCE));
    let usage = ledger.reader().usage(&Filter::default(), &[]).unwrap();
    assert_eq!((usage[0].requests, usage[0].unsettled), (301, 0));
}

#[test]
fn what_nobody_settled_is_reconciled_once() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(settings(folder.path()), database(folder.path())).unwrap();
    let entry = ledger.begin(&begin("a"));
    let id = entry.id();
    assert!(ledger.flush(PATIENCE));
    let mut reader = ledger.reader();
    let mut reconcile = |end: &Settlement<'_>| reader.reconcile(id, end).unwrap();
    assert_eq!(reconcile(&completed()), Reconciled::Running);
    assert_eq!(
        ledger.reader().bury_before(1_800_000_000_001).unwrap(),
        1,
        "as if its process were lost"
    );
    assert_eq!(reconcile(&completed()), Reconciled::Settled);
    assert_eq!(
        reconcile(&Settlement::new("refused")),
        Reconciled::AlreadySettled
    );
    // The process was alive after all: the record stays as it was reconciled.
    entry.settle(&Settlement::new("client_left"));
    assert!(ledger.flush(PATIENCE));
    let record = records(&ledger).remove(0);
    assert_eq!(record.end, completed());
    assert_eq!(
        ledger
            .reader()
            .reconcile(Uuid::now_v7(), &completed())
            .unwrap(),
        Reconciled::NotFound
    );
}

#[test]
fn old_records_are_deleted_and_others_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(settings(folder.path()), database(folder.path())).unwrap();
    let day = 86_400_000;
    for age in [0, 1, 29, 31, 90] {
        let mut begin = begin("a");
        begin.started_unix_ms -= age * day;
        ledger.begin(&begin).settle(&completed());
    }
    assert!(ledger.flush(PATIENCE));
    let mut reader = ledger.reader();
    assert_eq!(reader.retain_days(30, 1_800_000_000_000).unwrap(), 2);
    assert_eq!(reader.retain_days(30, 1_800_000_000_000).unwrap(), 0);
    assert_eq!(records(&ledger).len(), 3);
}

#[test]
fn content_is_kept_once_read_and_deleted_by_owner_and_age() {
    let folder = tempfile::tempdir().unwrap();
    let mut reader = Reader::new(database(folder.path()));
    let (now, day) = (1_800_000_000_000, 86_400_000);
    let content = |key: &str, age: u64| {
        let owner = ContentOwner::new("tn_1", "pr_1", key);
        let mut content = Content::new(Uuid::now_v7(), now - age * day, owner);
        content.request = Some("你好\0".into());
        content.answer_cut = true;
        content
    };
    let contents: Vec<_> = [("a", 0), ("a", 6), ("a", 8), ("b", 8), ("c", 0)]
        .map(|(key, age)| content(key, age))
        .into();
    reader.keep(&contents).unwrap();
    let mut again = contents[0].clone();
    again.request = None;
    reader.keep(&[again]).unwrap();
    let mut first = contents[0].clone();
    first.request = Some("你好\u{fffd}".into());
    assert_eq!(reader.content(first.id).unwrap(), Some(first.clone()));
    assert!(!format!("{first:?}").contains("你好"));

    let days = |owner: &ContentOwner| match owner.key_id.as_str() {
        "a" => Some(7),
        "b" => Some(30),
        _ => None,
    };
    assert_eq!(reader.retain_contents(now, days).unwrap(), 2);
    assert_eq!(reader.retain_contents(now, days).unwrap(), 0);
    let is_kept: Vec<_> = contents
        .iter()
        .map(|content| reader.content(content.id).unwrap().is_some())
        .collect();
    assert_eq!(is_kept, [true, true, false, true, false]);
    assert!(reader.delete_content(first.id).unwrap());
    assert!(!reader.delete_content(first.id).unwrap());
}

#[test]
fn a_store_that_refuses_for_a_while_gets_everything_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = Failing::new(database(folder.path()));
    store.go_away();
    let mut settings = settings(folder.path());
    settings.segment_bytes = 4096;
    let ledger = Ledger::open(settings, store.clone()).unwrap();
    for _ in 0..100 {
        ledger.begin(&begin("a")).settle(&completed());
    }
    until("the status says so", || {
        let status = ledger.status();
        !status.store_ok && status.last_error.is_some() && status.backlog_bytes > 0
    });
    assert_eq!(ledger.status().backlog_frames, 200);
    assert!(ledger.status().spool_ok);
    store.come_back();
    until("everything is there", || {
        ledger.status().backlog_frames == 0
    });
    until("the status says so", || ledger.status().store_ok);
    let usage = ledger.reader().usage(&Filter::default(), &[]).unwrap();
    assert_eq!((usage[0].requests, usage[0].unsettled), (100, 0));
}

#[test]
fn a_commit_whose_answer_is_lost_is_not_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let store = Failing::new(database(folder.path()));
    let ledger = Ledger::open(settings(folder.path()), store.clone()).unwrap();
    for round in 0..10 {
        store.lose_the_answer();
        ledger.begin(&begin("a")).settle(&completed());
        until("it is there", || ledger.status().backlog_frames == 0);
        let usage = ledger.reader().usage(&Filter::default(), &[]).unwrap();
        assert_eq!((usage[0].requests, usage[0].unsettled), (round + 1, 0));
    }
}

#[test]
fn one_refused_record_keeps_no_other_out() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Failing::new(database(folder.path()));
    store.refuse_tenant("毒");
    let ledger = Ledger::open(settings(folder.path()), store).unwrap();
    for tenant in ["a", "毒", "b"] {
        ledger.begin(&begin(tenant)).settle(&completed());
    }
    assert!(ledger.flush(PATIENCE));
    assert_eq!(records(&ledger).len(), 2);
    assert!(ledger.status().refused >= 1);
    let kept = fs::read_to_string(folder.path().join("spool/refused.jsonl")).unwrap();
    let kept: Record = serde_json::from_str(kept.lines().last().unwrap()).unwrap();
    assert_eq!(kept.begin.tenant.unwrap(), "毒");
}

#[test]
fn a_full_spool_holds_records_in_memory_until_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let store = Failing::new(database(folder.path()));
    store.go_away();
    let mut settings = settings(folder.path());
    settings.shards = 1;
    settings.most_spool_bytes = 8 * 1024;
    settings.most_memory_bytes = 16 * 1024;
    let ledger = Ledger::open(settings, store.clone()).unwrap();
    let mut taken = 0;
    while ledger.status().lost == 0 {
        let entry = ledger.begin(&begin("a"));
        if ledger.status().lost > 0 {
            // Its beginning found no room. Its end may still find some, and then has no owner.
            drop(entry);
            break;
        }
        entry.settle(&completed());
        taken += 1;
    }
    assert!(!ledger.status().spool_ok);
    assert!(ledger.status().last_error.unwrap().contains("size"));
    store.come_back();
    until("there is room", || ledger.status().spool_ok);
    assert!(ledger.flush(PATIENCE));
    let mut filter = Filter::default();
    filter.tenant = Some("a".to_owned());
    let usage = ledger.reader().usage(&filter, &[]).unwrap();
    assert_eq!((usage[0].requests, usage[0].unsettled), (taken, 0));
}

#[test]
fn what_is_left_in_the_spool_is_ingested_by_the_next_process() {
    let folder = tempfile::tempdir().unwrap();
    let store = Failing::new(database(folder.path()));
    store.go_away();
    let ledger = Ledger::open(settings(folder.path()), store).unwrap();
    for _ in 0..10 {
        ledger.begin(&begin("a")).settle(&completed());
    }
    let entry = ledger.begin(&begin("b"));
    drop(ledger);
    // The entry outlives the ledger, and still has its place in the spool.
    let next = Ledger::open(settings(folder.path()), database(folder.path())).unwrap();
    assert!(next.flush(PATIENCE));
    assert!(records(&next).is_empty(), "the entry's process is alive");
    entry.settle(&completed());
    assert!(next.flush(PATIENCE));
    let found = records(&next);
    assert_eq!(found.len(), 11);
    assert!(found.iter().all(|record| record.settled));
    assert_eq!(next.status().buried, 0);
}

#[test]
fn a_damaged_segment_is_kept_and_its_other_frames_are_ingested() {
    let folder = tempfile::tempdir().unwrap();
    let store = Failing::new(database(folder.path()));
    store.go_away();
    let mut first = settings(folder.path());
    first.shards = 1;
    let ledger = Ledger::open(first, store).unwrap();
    for _ in 0..3 {
        ledger.begin(&begin("a")).settle(&completed());
    }
    drop(ledger);
    let spool = folder.path().join("spool");
    let segment = fs::read_dir(&spool)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|ending| ending == "seg"))
        .unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    bytes[40] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let ledger = Ledger::open(settings(folder.path()), database(folder.path())).unwrap();
    assert!(ledger.flush(PATIENCE));
    // The first beginning is unreadable; its end makes a record of what it knows.
    let found = records(&ledger);
    assert_eq!(found.len(), 3);
    assert_eq!(found.iter().filter(|r| r.begin.tenant.is_none()).count(), 1);
    assert!(ledger.status().damaged_bytes > 0);
    assert!(segment.with_extension("damaged").exists());
}

#[test]
fn a_file_that_cannot_be_read_keeps_no_record_out() {
    let folder = tempfile::tempdir().unwrap();
    let process = Uuid::now_v7().simple();
    let unreadable = folder
        .path()
        .join(format!("spool/{process}-000-0000000000.seg"));
    fs::create_dir_all(&unreadable).unwrap();
    let ledger = Ledger::open(settings(folder.path()), database(folder.path())).unwrap();
    ledger.begin(&begin("a")).settle(&completed());
    until("it is there", || ledger.status().backlog_frames == 0);
    assert!(!ledger.flush(PATIENCE), "something is left");
    assert!(ledger.status().last_error.is_some());
    fs::remove_dir(&unreadable).unwrap();
    until("it is well again", || ledger.flush(PATIENCE));
    assert_eq!(records(&ledger).len(), 1);
}

#[test]
fn a_store_that_fails_at_many_records_at_once_is_given_fewer() {
    let folder = tempfile::tempdir().unwrap();
    let store = Failing::new(database(folder.path()));
    store.go_away();
    let ledger = Ledger::open(settings(folder.path()), store.clone()).unwrap();
    for _ in 0..900 {
        ledger.begin(&begin("a")).settle(&completed());
    }
    // Fewer than a whole transaction has, more than the smallest.
    store.take_at_most(350);
    store.come_back();
    until("all are there", || ledger.flush(PATIENCE));
    assert_eq!(ledger.status().lost, 0);
    let usage = ledger.reader().usage(&Filter::default(), &[]).unwrap();
    assert_eq!(usage[0].requests, 900);
}

#[test]
fn a_file_of_the_first_version_is_brought_to_this_one_with_its_records() {
    let folder = tempfile::tempdir().unwrap();
    let old = rusqlite::Connection::open(folder.path().join("ledger.db")).unwrap();
    let first = include_str!("../../src/store/sqlite/001_records.sql");
    old.execute_batch(first).unwrap();
    let (id, process) = (Uuid::now_v7(), Uuid::now_v7());
    old.execute_batch(&format!(
        "CREATE TABLE ledger_schema (version INTEGER NOT NULL) STRICT;
         INSERT INTO ledger_schema (version) VALUES (1);
         INSERT INTO ledger_record (id, started_unix_ms, tenant, est_input_tokens,
             est_output_tokens, process, attempts, input_tokens, cached_tokens,
             cache_created_tokens, output_tokens, reasoning_tokens, images, media_ms, characters,
             cost, currency, outcome, stream, estimated, settled)
         VALUES ('{id}', 1800000000000, '研发部', 1, 2, '{process}', 1, 3, 0, 0, 4, 0, 0, 0, 0,
             '0.00123', 'CNY', 'completed', 1, 0, 1);"
    ))
    .unwrap();
    drop(old);
    let ledger = Ledger::open(settings(folder.path()), database(folder.path())).unwrap();
    ledger.begin(&begin("b")).settle(&completed());
    assert!(ledger.flush(PATIENCE));
    let records = records(&ledger);
    assert_eq!(records.len(), 2);
    let kept = records
        .iter()
        .find(|record| record.begin.id == id)
        .expect("the old record");
    assert_eq!(kept.process, process);
    assert_eq!(kept.begin.tenant.as_ref().unwrap(), &"研发部");
    assert_eq!(kept.end.tokens, Tokens::new(3, 4));
    assert_eq!(kept.end.cost, Some("0.00123".parse().unwrap()));
}

#[test]
fn a_store_of_a_later_version_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    drop(Ledger::open(settings(folder.path()), database(folder.path())).unwrap());
    rusqlite::Connection::open(folder.path().join("ledger.db"))
        .unwrap()
        .execute("INSERT INTO ledger_schema (version) VALUES (999)", [])
        .unwrap();
    let ledger = Ledger::open(settings(folder.path()), database(folder.path())).unwrap();
    ledger.begin(&begin("a")).settle(&completed());
    until("the status says so", || {
        ledger
            .status()
            .last_error
            .is_some_and(|error| error.contains("999"))
    });
    assert!(!ledger.status().store_ok);
}
