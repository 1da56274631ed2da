//! The published limits and the answer of the quota API.

use std::time::Duration;

use bailian_wire::catalog::{Catalog, LimitTable, Measure, ModelLimits, TokenBasis};
use bailian_wire::error::ErrorTable;
use bailian_wire::quota::QuotaAnswer;

fn limits(fields: &str) -> ModelLimits {
    let json = format!(
        r#"{{"entries":[{{"model":"m","region":"r","kind":"sync","future":1,{fields}}}]}}"#
    );
    let table = LimitTable::parse(&json);
    assert_eq!(table.skipped(), 0);
    table.entries()[0].clone()
}

fn windows(fields: &str) -> Vec<(Measure, u64, Option<f64>)> {
    let windows = limits(fields).windows();
    let plain = |period: Duration| period.as_secs_f64();
    windows
        .into_iter()
        .map(|window| (window.measure, window.amount, window.period.map(plain)))
        .collect()
}

#[test]
fn every_embedded_entry_is_read_and_found_again() {
    let table = LimitTable::embedded();
    assert_eq!((table.skipped(), table.entries().len()), (0, 840));
    for entry in table.entries() {
        assert!(table.of(&entry.model, &entry.region).any(|of| of == entry));
        assert!(entry.windows().iter().all(|window| window.amount > 0));
    }
}

#[test]
fn facts_of_the_catalogue_are_kept() {
    let catalog = Catalog::embedded();
    let dynamic = catalog
        .limits("qwen3.8-2.4t-a95b", "ap-southeast-1")
        .unwrap();
    assert!(dynamic.dynamic && dynamic.unverified);
    assert_eq!(dynamic.tpm_by_spend.len(), 3);
    assert_eq!(dynamic.token_basis, Some(TokenBasis::InputAndOutput));
    let voice = catalog.limits("cosyvoice-v1", "cn-beijing").unwrap();
    let pool = voice.pool.as_ref().unwrap();
    assert_eq!(pool.name, "cosyvoice@cn-beijing");
    assert_eq!(pool.counted_per.as_deref(), Some("account"));
    assert!(catalog.limits("qwen-plus", "mars").is_none());
}

#[test]
fn of_several_scopes_the_tightest_is_taken() {
    let found = Catalog::embedded().limits("deepseek-v4-flash", "ap-northeast-1");
    let found = found.unwrap();
    assert_eq!(
        (found.scope.as_deref(), found.rpm),
        (Some("japan"), Some(10_000))
    );
}

#[test]
fn published_minutes_become_enforced_windows() {
    use Measure::{Requests, Running, Tokens};
    assert_eq!(
        windows(r#""rpm":30000,"tpm":5000000"#),
        [(Requests, 500, Some(1.0)), (Tokens, 500_000, Some(6.0))]
    );
    assert_eq!(windows(r#""rpm":119"#), [(Requests, 1, Some(1.0))]);
    assert_eq!(windows(r#""rpm":60"#), [(Requests, 1, Some(1.0))]);
    assert_eq!(windows(r#""rpm":59"#), [(Requests, 59, Some(60.0))]);
    assert_eq!(windows(r#""tpm":600000"#), [(Tokens, 60_000, Some(6.0))]);
    assert_eq!(windows(r#""tpm":599999"#), [(Tokens, 599_999, Some(60.0))]);
    assert_eq!(windows(r#""rps":0.5"#), [(Requests, 1, Some(2.0))]);
    assert_eq!(
        windows(
            r#""rps":10.0,"async":{"submit_count":10,"submit_period_s":1,"max_running_tasks":5}"#
        ),
        [(Requests, 10, Some(1.0)), (Running, 5, None)]
    );
    assert_eq!(windows(r#""rpm":null,"rps":0"#), []);
}

#[test]
fn the_quota_answer_is_read_however_it_is_spelt() {
    let answer: QuotaAnswer = serde_json::from_str(
        r#"{"request_id":"x","new":1,"output":{"total":"2","page_no":1,"page_size":null,"quotas":[
            {"model":"a","workspace_id":null,"model_limit":{"request_limit":"500",
             "request_limit_period":1,"usage_limit":5e5,"usage_limit_field":"total_tokens",
             "usage_limit_period":"6","async_user_queue_limit":null,"later":{}},
             "workspace_limit":null},
            {"model":"b","model_limit":{"request_limit":-1,"usage_limit":"many","usage_limit_period":[]}}]}}"#,
    )
    .unwrap();
    assert_eq!(answer.output.total, Some(2));
    let first = answer.output.quotas[0].model_limit.as_ref().unwrap();
    assert_eq!(
        (first.request_limit, first.request_limit_period),
        (Some(500), Some(1))
    );
    assert_eq!(
        (first.usage_limit, first.usage_limit_period),
        (Some(500_000), Some(6))
    );
    let second = answer.output.quotas[1].model_limit.as_ref().unwrap();
    assert_eq!((second.request_limit, second.usage_limit), (None, None));
    for bare in [
        "{}",
        r#"{"output":null}"#,
        r#"{"output":{"quotas":null}}"#,
        r#"{"output":{"quotas":[{"model":null}]}}"#,
    ] {
        serde_json::from_str::<QuotaAnswer>(bare).unwrap();
    }
}

#[test]
fn a_backoff_keeps_jitter_and_cuts() {
    let table = ErrorTable::embedded();
    let backoffs = || table.entries().iter().filter_map(|entry| entry.retry);
    assert!(backoffs().any(|retry| retry.jitter == Some(0.25)));
    assert!(backoffs().any(|retry| retry.rate_cut == Some(0.5)));
    assert!(backoffs().any(|retry| retry.concurrency_cut == Some(0.7)));
}
