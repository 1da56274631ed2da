//! What administrators may write, and that every mistake is told with its place.
#![expect(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]

mod support;

use bailian_tenants::settings::SettingsInput;
use serde_json::{Value, json};
use support::{rates, settings};

fn paths(json: &Value) -> Vec<String> {
    let checked = SettingsInput::from_json(json.to_string().as_bytes())
        .and_then(|input| input.check(&rates()));
    let problems = checked.unwrap_err();
    problems.into_iter().map(|problem| problem.path).collect()
}

#[test]
fn every_problem_is_told_with_its_path() {
    let problems = paths(&json!({
        "name": " ",
        "expires_at": "tomorrow",
        "models": ["qwen-plus", "a*b", ""],
        "endpoints": [],
        "ip_ranges": ["10.0.0.0/8", "here"],
        "limits": {"rpm": 0, "tpm": 100, "concurrency": u64::MAX},
        "priority": "urgent",
        "weight": 0,
        "budgets": [
            {"period": "week", "tokens": 5},
            {"period": "day", "offset": "8", "tokens": 5},
            {"period": "day"},
            {"period": "month", "money": {"amount": "-1", "currency": "yuan"}},
            {"period": "month", "money": {"amount": "0.0000000001", "currency": "EUR"}},
            {"period": "total", "tokens": 5},
            {"period": "total", "tokens": 6},
        ],
        "keep_content": {"days": 4000},
        "metadata": {"": "x", "long": "x".repeat(501)},
    }));
    assert_eq!(
        problems,
        [
            "name",
            "expires_at",
            "models[1]",
            "models[2]",
            "endpoints",
            "ip_ranges[1]",
            "limits.rpm",
            "limits.concurrency",
            "priority",
            "weight",
            "budgets[0].period",
            "budgets[1].offset",
            "budgets[2]",
            "budgets[3].money.currency",
            "budgets[3].money.amount",
            "budgets[4].money.currency",
            "budgets[4].money.amount",
            "budgets[6]",
            "keep_content.days",
            "metadata, key 1",
            "metadata.long",
        ]
    );
}

#[test]
fn a_slip_in_a_field_is_refused_with_its_path() {
    assert_eq!(paths(&json!({"name": "a", "limit": {}})), ["limit"]);
    assert_eq!(
        paths(&json!({"name": "a", "limits": {"rps": 1}})),
        ["limits.rps"]
    );
    assert_eq!(
        paths(&json!({"name": "a", "limits": {"rpm": "many"}})),
        ["limits.rpm"]
    );
    assert_eq!(
        paths(&json!({"name": "a", "limits": {"rpm": -1}})),
        ["limits.rpm"]
    );
    let budget = json!({"period": "day", "money": {"amount": {}, "currency": "CNY"}});
    let path = "budgets[0].money.amount";
    assert_eq!(paths(&json!({"name": "a", "budgets": [budget]})), [path]);
    assert_eq!(paths(&json!([])).len(), 1);
}

#[test]
fn names_that_would_do_harm_somewhere_are_refused() {
    let long = "x".repeat(1 << 20);
    for name in ["a\0b", "a\r\nb", "a\u{1b}[31m", " a", "", &long] {
        let problems = paths(&json!({"name": name}));
        assert_eq!(problems, ["name"], "{:?}", name.get(..8));
    }
    for name in [
        "通义千问 团队 🚀",
        "Robert'); DROP TABLE keys;--",
        &"字".repeat(100),
    ] {
        assert_eq!(settings(json!({"name": name})).name, *name);
    }
}

#[test]
fn amounts_are_what_was_written_to_the_last_digit() {
    for (written, nanos) in [
        (json!("12.50"), 12_500_000_000),
        (json!(12), 12_000_000_000),
        (json!(0.1), 100_000_000),
        (json!(1e-9), 1),
        (json!("0.000000001"), 1),
        (json!(0), 0),
    ] {
        let money = json!({"amount": written, "currency": "CNY"});
        let set = settings(json!({"budgets": [{"period": "day", "money": money}]}));
        assert_eq!(set.budgets[0].money.unwrap().nanos, nanos, "{written}");
    }
}

#[test]
fn checked_settings_are_written_as_they_are_read() {
    let whole = json!({
        "name": "甲",
        "disabled": true,
        "expires_at": "2026-12-31T16:00:00Z",
        "models": ["qwen*"],
        "endpoints": ["chat.openai"],
        "ip_ranges": ["10.0.0.0/8", "2001:db8::/32"],
        "limits": {"rpm": 60, "tpm": 100_000, "concurrency": 4},
        "priority": "low",
        "weight": 2,
        "budgets": [
            {"period": "day", "offset": "+08:00", "money": {"amount": "12.5", "currency": "USD"}},
            {"period": "total", "offset": "-03:30", "tokens": 7},
        ],
        "keep_content": {"days": 30, "redact": false},
        "metadata": {"k": "v"},
    });
    assert_eq!(
        serde_json::to_value(settings(whole.clone())).unwrap(),
        whole
    );
    let least = json!({"name": "乙"});
    assert_eq!(
        serde_json::to_value(settings(least.clone())).unwrap(),
        least
    );
}
