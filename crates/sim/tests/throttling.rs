//! Limits: each rule on a virtual clock, and all of them over HTTP.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at what it did not expect"
)]

mod support;

use std::time::Duration;

use bailian_sim::throttle::{Ask, BurstRule, Check, Count, Measure, Rule, WindowRule};
use bailian_sim::{RunningSimulator, SimConfig, Simulator, Verdict};
use http::Method;
use proptest::prelude::*;
use serde_json::{Value, json};

use support::{NATIVE, answer, native, post, request};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);

fn at(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn rule(windows: impl IntoIterator<Item = WindowRule>) -> Rule {
    let mut rule = Rule::default();
    rule.windows.extend(windows);
    rule
}

fn requests(amount: u64, period: Duration) -> WindowRule {
    WindowRule::new(Measure::Requests, amount, period)
}

fn tokens(amount: u64, period: Duration) -> WindowRule {
    WindowRule::new(Measure::Tokens, amount, period)
}

/// What requests of 10 input tokens get, at these milliseconds.
fn outcomes(rule: Rule, times: impl IntoIterator<Item = u64>) -> Vec<&'static str> {
    let mut count = Count::new(rule);
    let admit = |millis| match count.admit(at(millis), Ask::new(10, 100)) {
        Ok(_) => "ok",
        Err(refusal) => refusal.check.code(),
    };
    times.into_iter().map(admit).collect()
}

const RATE: &str = "Throttling.RateQuota";
const TOKENS: &str = "Throttling.AllocationQuota";
const BURST: &str = "Throttling.BurstRate";

#[test]
fn a_fixed_window_begins_anew_and_a_sliding_one_forgets_bit_by_bit() {
    let times = [0, 900, 999, 1000, 1001, 1899, 1900];
    assert_eq!(
        outcomes(rule([requests(2, SECOND)]), times),
        ["ok", "ok", RATE, "ok", "ok", RATE, RATE]
    );
    assert_eq!(
        outcomes(rule([requests(2, SECOND).sliding()]), times),
        ["ok", "ok", RATE, "ok", RATE, RATE, "ok"]
    );
}

#[test]
fn every_window_of_several_has_to_have_room() {
    let both = rule([requests(3, MINUTE), requests(2, SECOND)]);
    assert_eq!(
        outcomes(both, [0, 1, 2, 1000, 1001, 60_000]),
        ["ok", "ok", RATE, "ok", RATE, "ok"]
    );
}

#[test]
fn one_large_request_overshoots_unless_tokens_are_reserved() {
    let lenient = rule([tokens(15, MINUTE)]);
    let mut strict = lenient.clone();
    strict.reserve_tokens = true;
    assert_eq!(
        outcomes(lenient, [0, 1, 2, 60_000]),
        ["ok", "ok", TOKENS, "ok"]
    );
    assert_eq!(outcomes(strict.clone(), [0]), [TOKENS]);
    // 10 for the input and 100 for the most output each.
    strict.windows = vec![tokens(220, MINUTE)];
    assert_eq!(outcomes(strict, [0, 1, 2]), ["ok", "ok", TOKENS]);
}

#[test]
fn what_was_reserved_and_not_used_is_free_again() {
    let mut strict = rule([tokens(150, MINUTE)]);
    strict.reserve_tokens = true;
    let mut count = Count::new(strict);
    let mut ticket = count.admit(at(0), Ask::new(10, 100)).unwrap();
    assert!(count.admit(at(1), Ask::new(10, 100)).is_err());
    count.charge(&mut ticket, at(500), 30);
    count.finish(ticket, at(1000));
    assert_eq!(count.report(at(1000)).windows[0].used, 40);
    assert!(count.admit(at(1001), Ask::new(10, 100)).is_ok());
}

#[test]
fn output_counts_in_the_window_in_which_it_is_made() {
    let mut count = Count::new(rule([tokens(50, SECOND)]));
    let mut ticket = count.admit(at(0), Ask::new(10, 0)).unwrap();
    count.charge(&mut ticket, at(900), 20);
    count.charge(&mut ticket, at(1100), 45);
    let report = count.report(at(1100));
    assert_eq!(report.windows[0].periods, [(1, 30), (2, 45)]);
    assert!(count.admit(at(1200), Ask::new(10, 0)).is_ok());
    assert!(count.admit(at(1300), Ask::new(10, 0)).is_err());
}

#[test]
fn a_dynamic_limit_may_be_exceeded_while_there_is_room() {
    let mut dynamic = rule([tokens(10, SECOND)]);
    dynamic.spare_tokens = 20;
    assert_eq!(
        outcomes(dynamic, [0, 1, 2, 3, 1000]),
        ["ok", "ok", "ok", TOKENS, "ok"]
    );
}

#[test]
fn a_sudden_second_is_a_burst_and_a_steady_rate_is_not() {
    let mut sudden = rule([requests(10, SECOND)]);
    sudden.burst = Some(BurstRule::default());
    assert_eq!(outcomes(sudden.clone(), [0; 7])[4..], ["ok", BURST, BURST]);
    let growing = (0..12_000)
        .step_by(200)
        .chain((12_000..30_000).step_by(150));
    assert!(
        outcomes(sudden, growing)
            .iter()
            .all(|outcome| *outcome == "ok")
    );
    // Below one per second nothing is sudden.
    let mut slow = rule([requests(50, MINUTE)]);
    slow.burst = Some(BurstRule::default());
    assert!(
        outcomes(slow, [0; 20])
            .iter()
            .all(|outcome| *outcome == "ok")
    );
}

#[test]
fn only_so_many_run_at_the_same_time() {
    let mut few = Rule::default();
    few.concurrency = Some(2);
    let mut count = Count::new(few);
    let first = count.admit(at(0), Ask::default()).unwrap();
    let _second = count.admit(at(0), Ask::default()).unwrap();
    let refusal = count.admit(at(0), Ask::default()).unwrap_err();
    assert_eq!(refusal.check, Check::Concurrency);
    count.finish(first, at(1));
    assert!(count.admit(at(1), Ask::default()).is_ok());
    assert_eq!(count.report(at(1)).most_running, 2);
}

#[test]
fn the_order_of_the_limits_can_be_chosen() {
    let mut all = rule([requests(1, MINUTE), tokens(5, MINUTE)]);
    all.concurrency = Some(1);
    let second = |order: &[Check]| {
        let mut rule = all.clone();
        rule.order = order.to_vec();
        outcomes(rule, [0, 1])[1]
    };
    assert_eq!(second(&Check::ORDER), RATE);
    assert_eq!(second(&[Check::Tokens, Check::Requests]), TOKENS);
    assert_eq!(second(&[Check::Concurrency]), "Throttling.Concurrency");
}

proptest! {
    #[test]
    fn no_window_ever_holds_more_than_its_amount(
        steps in prop::collection::vec(0u64..400, 1..300),
        sliding in any::<bool>(),
        phase in 0u64..1000,
    ) {
        let mut windows = [requests(4, SECOND), requests(30, Duration::from_secs(10))];
        for window in &mut windows {
            window.sliding = sliding;
            window.phase = at(phase);
        }
        let mut count = Count::new(rule(windows));
        let mut admitted = Vec::new();
        let mut now = 0;
        for passed in steps {
            now += passed;
            if count.admit(at(now), Ask::default()).is_ok() {
                admitted.push(now);
            }
        }
        for (amount, period) in [(4, 1000u64), (30, 10_000)] {
            let number = |at: u64| (at + period - phase) / period;
            for first in &admitted {
                let with_it = admitted.iter().filter(|other| {
                    if sliding {
                        (*first..first + period).contains(other)
                    } else {
                        number(**other) == number(*first)
                    }
                });
                prop_assert!(with_it.count() <= amount);
            }
        }
        let report = count.report(at(now));
        prop_assert_eq!(report.admitted, admitted.len() as u64);
    }
}

/// Asks one simulator.
struct Client(RunningSimulator);

impl Client {
    async fn chat(&self, model: &str, workspace: Option<&str>) -> u16 {
        let header = workspace.map(|name| format!("x-dashscope-workspace: {name}"));
        let headers: Vec<&str> = header.iter().map(String::as_str).collect();
        answer(&self.0, post(NATIVE, &native(model, json!({})), &headers))
            .await
            .0
    }

    async fn get(&self, path: &str) -> Value {
        answer(&self.0, request(Method::GET, path, "", &[])).await.1
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        answer(&self.0, post(path, &body, &[])).await
    }
}

async fn simulator(config: Value) -> Client {
    let config: SimConfig = serde_json::from_value(config).unwrap();
    Client(Simulator::new(config).spawn().await.unwrap())
}

#[tokio::test]
async fn models_of_a_pool_share_a_count_and_a_workspace_has_a_tighter_one() {
    let client = simulator(json!({ "limits": [
        { "models": ["qwen-plus", "qwen-max"], "requests": ["3/1h"] },
        { "workspace": "ws-small", "requests": ["1/1h"] },
    ]}))
    .await;
    let ask = |model: &'static str, workspace| client.chat(model, workspace);
    assert_eq!(ask("qwen-plus", Some("ws-small")).await, 200);
    assert_eq!(ask("qwen-plus", Some("ws-small")).await, 429);
    assert_eq!(ask("qwen-max", None).await, 200);
    assert_eq!(ask("qwen-plus", None).await, 200);
    assert_eq!(ask("qwen-max", None).await, 429);
    // What the workspace refused counts nowhere.
    let limits = client.get("/__sim/limits").await;
    let pool = &limits["limits"][0];
    assert_eq!(pool["models"], "qwen-plus+qwen-max");
    assert_eq!(
        (&pool["admitted"], &pool["refused"][RATE]),
        (&json!(3), &json!(1))
    );
    assert_eq!(pool["windows"][0]["used"], 3);
    assert_eq!(limits["limits"][1]["workspace"], "ws-small");
    let rejected = client.0.journal().into_iter();
    assert_eq!(
        rejected
            .filter(|entry| entry.verdict == Verdict::Rejected)
            .count(),
        2
    );
}

#[tokio::test]
async fn running_requests_end_when_their_answers_do() {
    let client = simulator(json!({ "limits": [{ "concurrency": 1 }] })).await;
    for _ in 0..3 {
        assert_eq!(client.chat("qwen-plus", None).await, 200);
    }
}

#[tokio::test]
async fn another_program_uses_its_part_of_the_account() {
    let client = simulator(json!({
        "limits": [{ "requests": ["1000/1h"] }],
        "other_programs": [{ "requests_per_second": 100_000.0, "until_s": 0.009_995 }],
    }))
    .await;
    while client.chat("qwen-plus", None).await == 200 {
        let limits = client.get("/__sim/limits").await;
        assert!(limits["limits"][0]["windows"][0]["peak"].as_u64().unwrap() <= 1000);
    }
    let limits = client.get("/__sim/limits").await;
    assert_eq!(limits["limits"][0]["windows"][0]["used"], 1000);
}

#[tokio::test]
async fn the_quota_api_tells_what_holds_and_workspaces_can_be_limited() {
    let client = simulator(json!({
        "limits": [{ "model": "qwen-plus", "requests": ["7/1s", "60/60s"], "tokens": ["5000/6s"] }],
    }))
    .await;
    for path in ["/api/v1/quotas", "/api/v1/models/limits"] {
        let answer = client.get(path).await;
        assert_eq!(answer["output"]["total"], 1, "{answer}");
        let quota = &answer["output"]["quotas"][0];
        assert_eq!(quota["model"], "qwen-plus");
        let limit = &quota["model_limit"];
        assert_eq!(
            (&limit["request_limit"], &limit["request_limit_period"]),
            (&json!(7), &json!(1))
        );
        assert_eq!(
            (&limit["usage_limit"], &limit["usage_limit_period"]),
            (&json!(5000), &json!(6))
        );
    }
    let change = json!({ "operation_type": "OVERLAY", "models": ["qwen-max"], "request_limit": 1,
        "request_limit_period": 60 });
    let (status, _) = client.post("/api/v1/models/limits", change).await;
    assert_eq!(status, 200);
    let answer = client.get("/api/v1/quotas?model=qwen-max").await;
    assert_eq!(
        answer["output"]["quotas"][0]["workspace_limit"]["request_limit"],
        1
    );
    assert_eq!(client.chat("qwen-max", None).await, 200);
    assert_eq!(client.chat("qwen-max", None).await, 429);
    let delete = json!({ "operation_type": "DELETE", "models": ["qwen-max"] });
    client.post("/api/v1/models/limits", delete).await;
    assert_eq!(client.chat("qwen-max", None).await, 200);
    for wrong in [
        json!({ "operation_type": "OVERLAY", "models": ["qwen-max"], "usage_limit": 5 }),
        json!({ "operation_type": "OVERLAY", "models": [], "request_limit": 5 }),
        json!({ "operation_type": "SET", "models": ["qwen-max"] }),
        json!({ "operation_type": "DELETE", "models": ["no-such-model"] }),
    ] {
        let (status, body) = client.post("/api/v1/models/limits", wrong).await;
        assert_eq!((status, &body["code"]), (400, &json!("InvalidParameter")));
    }
    // Calls of this API are no requests to a model.
    assert_eq!(client.0.journal().len(), 3);
}

#[tokio::test]
async fn quotas_come_in_pages_and_the_api_can_be_missing() {
    let client = simulator(json!({ "limits": [{ "requests": ["7/1s"] }] })).await;
    let first = client.get("/api/v1/quotas?page_no=1&page_size=50").await;
    let second = client.get("/api/v1/quotas?page_no=2&page_size=50").await;
    assert_eq!(first["output"]["quotas"].as_array().unwrap().len(), 50);
    assert_ne!(first["output"]["quotas"][0], second["output"]["quotas"][0]);
    let total = first["output"]["total"].as_u64().unwrap();
    let last = format!("/api/v1/quotas?page_no={}&page_size=50", total / 50 + 2);
    assert_eq!(client.get(&last).await["output"]["quotas"], json!([]));
    let client = simulator(json!({ "quota_api": "off" })).await;
    assert_eq!(client.get("/api/v1/quotas").await["code"], "NotFound");
}

#[tokio::test]
async fn published_limits_hold_where_they_are_asked_for() {
    let client = simulator(json!({ "catalogue_limits": "cn-beijing" })).await;
    let answer = client.get("/api/v1/quotas?model=qwen-plus").await;
    let limit = &answer["output"]["quotas"][0]["model_limit"];
    assert!(limit["request_limit"].as_u64().unwrap() > 0, "{answer}");
    assert!(limit["usage_limit"].as_u64().unwrap() > 0);
}

#[test]
fn a_rate_that_is_none_is_refused_with_its_text() {
    for text in ["600", "600/0s", "x/1s", "5/1w"] {
        let config = json!({ "limits": [{ "requests": [text] }] });
        let error = SimConfig::default().patched(&config).unwrap_err();
        assert!(error.to_string().contains(text), "{error}");
    }
}
