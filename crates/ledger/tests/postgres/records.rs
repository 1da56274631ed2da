use bailian_ledger::{
    Connect as _, Content, ContentOwner, Currency, Filter, GroupBy, Ledger, Page, Reconciled,
    Settings, Settlement, outcome,
};
use uuid::Uuid;

use super::server::Server;
use super::{PATIENCE, begin, completed};

#[test]
fn records_usage_reconciliation_and_retention_are_as_in_sqlite() {
    let server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(Settings::new(folder.path()), server.store()).unwrap();
    let first = begin();
    let entry = ledger.begin(&first);
    assert!(ledger.flush(PATIENCE), "{:?}", ledger.status());
    let mut reader = ledger.reader();
    let running = reader
        .records(&Filter::default(), Page::first(10))
        .unwrap()
        .remove(0);
    assert_eq!(running.end.outcome, outcome::RUNNING);
    assert_eq!(running.begin, first);
    entry.settle(&completed());
    for _ in 0..9 {
        ledger.begin(&begin()).settle(&completed());
    }
    let open = ledger.begin(&begin());
    assert!(ledger.flush(PATIENCE), "{:?}", ledger.status());

    let by = [
        GroupBy::Tenant,
        GroupBy::Day(16 * 3_600),
        GroupBy::Hour(-9 * 3_600),
        GroupBy::Region,
    ];
    let usage = reader.usage(&Filter::default(), &by).unwrap();
    assert_eq!(usage.len(), 1);
    let group: Vec<_> = usage[0].group.iter().map(Option::as_deref).collect();
    assert_eq!(
        group,
        [
            Some("研发部"),
            Some("2027-01-16"),
            Some("2027-01-14T23"),
            None
        ]
    );
    assert_eq!((usage[0].requests, usage[0].unsettled), (11, 1));
    let mut one = Filter::default();
    one.id = Some(first.id);
    let found = reader.records(&one, Page::first(10)).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].begin.id, first.id);
    assert_eq!(usage[0].tokens.input, 10 * 120 + 100);
    assert_eq!(
        usage[0].cost[&Currency::CNY].to_string(),
        "0.250000000000000000010"
    );
    assert_eq!(usage[0].estimated_cost[&Currency::CNY].to_string(), "0.25");

    let mut page = Page::newest(3);
    let mut count = 0;
    loop {
        let some = reader.records(&Filter::default(), page).unwrap();
        let Some(last) = some.last() else { break };
        page = page.after(last.cursor());
        assert!(some.iter().all(|r| !r.settled || r.end == completed()));
        count += some.len();
    }
    assert_eq!(count, 11);

    let mut reconcile = |id, end: &Settlement<'_>| reader.reconcile(id, end).unwrap();
    assert_eq!(reconcile(open.id(), &completed()), Reconciled::Running);
    assert_eq!(reconcile(Uuid::nil(), &completed()), Reconciled::NotFound);
    assert_eq!(ledger.reader().bury_before(1_800_000_000_001).unwrap(), 1);
    assert_eq!(reconcile(open.id(), &completed()), Reconciled::Settled);
    assert_eq!(
        reconcile(open.id(), &completed()),
        Reconciled::AlreadySettled
    );

    let mut filter = Filter::default();
    filter.tenant = Some("研发部' OR '1'='1".to_owned());
    filter.key_id = Some("\0".to_owned());
    assert!(reader.usage(&filter, &[]).unwrap().is_empty());
    let month = 30 * 86_400_000;
    assert_eq!(
        reader.retain_days(30, 1_800_000_000_000 + month).unwrap(),
        0
    );
    assert_eq!(
        reader.retain_days(30, 1_800_000_000_001 + month).unwrap(),
        11
    );
}

#[test]
fn a_reader_works_on_a_thread_that_serves_a_runtime() {
    let server = Server::start();
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(async {
            let mut reader = bailian_ledger::Reader::new(server.store());
            assert!(reader.usage(&Filter::default(), &[]).unwrap().is_empty());
            let nowhere = bailian_ledger::Postgres::new("host=/nowhere user=bailian").unwrap();
            let mut reader = bailian_ledger::Reader::new(nowhere);
            assert!(reader.usage(&Filter::default(), &[]).is_err());
        });
}

#[test]
fn processes_that_start_together_make_the_tables_once() {
    let server = Server::start();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| server.store().connect().unwrap());
        }
    });
}

#[test]
fn content_is_kept_read_and_deleted_as_in_sqlite() {
    let server = Server::start();
    let mut reader = bailian_ledger::Reader::new(server.store());
    let now = 1_800_000_000_000;
    let owner = ContentOwner::new("tn_1", "pr_1", "a");
    let mut content = Content::new(Uuid::now_v7(), now, owner.clone());
    content.redacted = true;
    content.request = Some("你好\0".into());
    content.answer_cut = true;
    let mut old = Content::new(Uuid::now_v7(), now - 8 * 86_400_000, owner);
    old.answer = Some("再见".into());
    reader.keep(&[content.clone(), old.clone()]).unwrap();
    reader.keep(&[content.clone()]).unwrap();
    content.request = Some("你好\u{fffd}".into());
    assert_eq!(reader.content(content.id).unwrap(), Some(content.clone()));
    assert_eq!(reader.retain_contents(now, |_| Some(7)).unwrap(), 1);
    assert_eq!(reader.content(old.id).unwrap(), None);
    assert!(reader.delete_content(content.id).unwrap());
    assert!(!reader.delete_content(content.id).unwrap());
    assert_eq!(reader.retain_contents(now, |_| None).unwrap(), 0);
}
