//! Limits and budgets of tenants over several gateways, judged by the simulator's own journal.

use std::time::Instant;

use bailian_sim::{JournalEntry, Verdict};
use futures_util::future::join_all;
use serde_json::json;
use tempfile::TempDir;

use crate::replica::{NO_LIMITS, PATIENCE, replica};
use crate::shared::Shared;
use crate::support::{KEY, OPENAI, Running, post, read, send};

/// A gateway with a data folder of its own: it shares nothing with others but Redis.
struct Replica {
    gateway: Running,
    _folder: TempDir,
}

impl Replica {
    fn start(shared: &Shared, settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let more = format!(
            r#"
            {NO_LIMITS}
            [data]
            folder = "{}"
            [redis]
            url = "{}"
            [[keys]]
            name = "app"
            tenant = "研发部"
            key = "{KEY}"
            settings = {settings}
            "#,
            folder.path().display(),
            shared.url()
        );
        Self {
            gateway: replica(&shared.simulator, 1, &more),
            _folder: folder,
        }
    }

    /// The status, and what was said.
    async fn ask(&self, number: usize) -> (u16, String) {
        let body = json!({ "model": "qwen-plus", "max_tokens": 40,
            "messages": [{ "role": "user", "content": format!("第 {number} 个问题") }] });
        let (status, _, text) =
            read(send(self.gateway.address, post(OPENAI, body.to_string())).await).await;
        (status.as_u16(), text)
    }
}

fn tokens(journal: &[JournalEntry]) -> u64 {
    let ok = journal.iter().filter(|entry| entry.verdict == Verdict::Ok);
    ok.map(|entry| entry.input_tokens + entry.output_tokens)
        .sum()
}

#[tokio::test]
async fn a_thousand_calls_at_once_at_three_gateways_never_overspend_a_budget() {
    let shared = Shared::new().await;
    let settings = "{ budgets = [{ period = \"total\", tokens = 20000 }] }";
    let replicas: Vec<Replica> = (0..3).map(|_| Replica::start(&shared, settings)).collect();
    let calls = (0..1_000).map(|number| replicas[number % 3].ask(number));
    let answers = join_all(calls).await;
    let passed = answers.iter().filter(|(status, _)| *status == 200).count();
    let refused = answers
        .iter()
        .filter(|(status, text)| *status == 429 && text.contains("budget"));
    assert_eq!(passed + refused.count(), 1_000, "{answers:?}");
    let used = tokens(&shared.simulator.journal());
    assert!(used <= 20_000, "{used}");
    // What was reserved and not used came back, and was used: what is left is less than the last
    // requests would have reserved.
    let began = Instant::now();
    while tokens(&shared.simulator.journal()) + 200 < 20_000 {
        for replica in &replicas {
            replica.ask(0).await;
        }
        assert!(began.elapsed() < PATIENCE);
    }
    assert!(tokens(&shared.simulator.journal()) <= 20_000);
}

#[tokio::test]
async fn requests_a_minute_and_at_once_hold_over_all_gateways() {
    let shared = Shared::new().await;
    let settings = "{ limits = { rpm = 40, concurrency = 30 } }";
    let replicas: Vec<Replica> = (0..3).map(|_| Replica::start(&shared, settings)).collect();
    let calls = (0..150).map(|number| replicas[number % 3].ask(number));
    let answers = join_all(calls).await;
    let mut passed = answers.iter().filter(|(status, _)| *status == 200).count();
    assert!((1..=40).contains(&passed), "{passed}");
    let began = Instant::now();
    while passed < 40 {
        for replica in &replicas {
            passed += usize::from(replica.ask(0).await.0 == 200);
        }
        assert!(began.elapsed() < PATIENCE, "{passed}");
    }
    for replica in &replicas {
        assert_eq!(replica.ask(0).await.0, 429);
    }
    assert_eq!(passed, 40);
}

#[tokio::test]
async fn what_a_gateway_held_is_there_for_others_when_it_has_ended() {
    let shared = Shared::new().await;
    let settings = "{ budgets = [{ period = \"month\", tokens = 2000 }] }";
    let old = Replica::start(&shared, settings);
    for number in 0..10 {
        assert_eq!(old.ask(number).await.0, 200);
    }
    // The successor serves while the one before ends.
    let new = Replica::start(&shared, settings);
    assert_eq!(new.ask(0).await.0, 200);
    old.gateway.end().await;
    let began = Instant::now();
    while tokens(&shared.simulator.journal()) + 200 < 2_000 {
        new.ask(0).await;
        assert!(began.elapsed() < PATIENCE);
    }
    assert!(tokens(&shared.simulator.journal()) <= 2_000);
}

#[tokio::test]
async fn without_redis_a_gateway_spends_what_it_holds_and_then_says_why_it_stops() {
    let mut shared = Shared::new().await;
    let settings = "{ budgets = [{ period = \"total\", tokens = 100000 }] }";
    let replica = Replica::start(&shared, settings);
    assert_eq!(replica.ask(0).await.0, 200);
    shared.lose_redis();
    let began = Instant::now();
    loop {
        let (status, text) = replica.ask(0).await;
        if text.contains("cannot reach the others") {
            assert_eq!(status, 429, "{text}");
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{text}");
    }
    assert!(tokens(&shared.simulator.journal()) <= 100_000);
}
