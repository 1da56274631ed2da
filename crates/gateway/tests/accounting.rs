//! Keys, limits, budgets and the ledger on a request's way, judged by the simulator's own journal.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may stop at what it did not expect"
)]

mod support;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use bailian_gateway::Config;
use bailian_ledger::{Decimal, Filter, GroupBy, Page, Reader, Record, Sqlite};
use bailian_sim::{RunningSimulator, SimConfig, Simulator};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use support::{KEY, NATIVE, OPENAI, Running, get, post, read, read_json, send, start, with};
use tempfile::TempDir;

/// How many mixed requests are compared; `cargo xtask test` asks for the whole number.
fn mixed() -> u64 {
    let wanted = std::env::var("BAILIAN_MIXED").ok();
    wanted.and_then(|n| n.parse().ok()).unwrap_or(400)
}

/// A gateway with a data folder before a simulator.
struct Books {
    simulator: RunningSimulator,
    gateway: Running,
    folder: TempDir,
}

impl Books {
    async fn new(settings: &str) -> Self {
        let simulator = Simulator::new(SimConfig::default()).spawn().await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let gateway = Self::open(&simulator, folder.path(), settings);
        Self {
            simulator,
            gateway,
            folder,
        }
    }

    fn open(simulator: &RunningSimulator, folder: &Path, settings: &str) -> Running {
        let text = format!(
            "listen = \"127.0.0.1:0\"\nthreads = 1\n[data]\nfolder = \"{}\"\n\
             [[accounts]]\napi_keys = [\"sk-up-0001\"]\nbase_url = \"{}\"\nforward_headers = [\"x-sim-*\"]\n\
             [[accounts.limits]]\nmodel = \"*\"\nrequests = [\"100000/1s\"]\nramp = false\n{settings}",
            folder.display(),
            simulator.base_url()
        );
        start(Config::parse(&text, "test", &|_: &str| None).unwrap())
    }

    fn address(&self) -> SocketAddr {
        self.gateway.address
    }

    /// Stops the gateway, so that everything is in the store.
    async fn records(mut self) -> (RunningSimulator, Vec<Record>) {
        drop(self.gateway.stop.take());
        (&mut self.gateway.task).await.unwrap();
        let mut reader = reader(self.folder.path());
        let mut all = Vec::new();
        let mut page = Page::first(Page::MOST);
        loop {
            let records = reader.records(&Filter::default(), page).unwrap();
            let Some(last) = records.last() else { break };
            page = page.after(last.cursor());
            all.extend(records);
        }
        (self.simulator, all)
    }
}

fn reader(folder: &Path) -> Reader {
    Reader::new(Sqlite::new(folder.join("ledger.db")))
}

fn key(settings: &str) -> String {
    format!("[[keys]]\nname = \"app\"\ntenant = \"研发部\"\nkey = \"{KEY}\"\n{settings}")
}

fn chat(text: &str, more: &Value) -> String {
    let mut body =
        json!({ "model": "qwen-plus", "messages": [{ "role": "user", "content": text }] });
    body.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    body.to_string()
}

#[tokio::test]
async fn the_ledger_says_what_the_simulators_journal_says_to_the_last_token_and_decimal() {
    let books = Books::new(&key("")).await;
    let mut config = SimConfig::default();
    config.journal_capacity = 200_000;
    config.faults = serde_json::from_value(json!([
        { "faults": ["status=500"], "every": 31 },
        { "faults": ["code=DataInspectionFailed"], "every": 37 },
        { "faults": ["cut-after-bytes=700"], "stream": true, "every": 23 },
    ]))
    .unwrap();
    books.simulator.set_config(config);
    let address = books.address();
    let mut running = tokio::task::JoinSet::new();
    for number in 0..mixed() {
        if running.len() >= 24 {
            running.join_next().await.unwrap().unwrap();
        }
        running.spawn(one_of_many(address, number));
    }
    running.join_all().await;
    let (simulator, records) = books.records().await;
    let journal: BTreeMap<String, (u64, u64, &str)> = simulator
        .journal()
        .iter()
        .map(|entry| {
            let verdict = if format!("{:?}", entry.verdict) == "Ok" {
                "ok"
            } else {
                "spoilt"
            };
            (
                entry.request_id.clone(),
                (entry.input_tokens, entry.output_tokens, verdict),
            )
        })
        .collect();
    assert_eq!(records.len() as u64, mixed(), "one record each");
    let mut compared = 0;
    let mut spent = Decimal::ZERO;
    for record in &records {
        assert!(record.settled, "{record:?}");
        let end = &record.end;
        spent += end.cost.unwrap_or_default();
        let of_journal = end
            .upstream_request_id
            .as_ref()
            .and_then(|id| journal.get(id.as_str()));
        let Some((input, output, "ok")) = of_journal else {
            continue;
        };
        if end.outcome.as_str() != "completed" || end.estimated || end.attempts != 1 {
            continue;
        }
        assert_eq!(
            (end.tokens.input, end.tokens.output),
            (*input, *output),
            "{record:?}"
        );
        // qwen-plus in Beijing, below 128 K tokens: 0.8 and 2 (8 when it thinks) per million.
        let per_output = if end.tokens.reasoning > 0 { 8 } else { 2 };
        let uncached = Decimal::from(end.tokens.input - end.tokens.cached);
        let exact = (uncached * Decimal::new(8, 1)
            + Decimal::from(end.tokens.cached) * Decimal::new(16, 2)
            + Decimal::from(end.tokens.output * per_output))
            / Decimal::from(1_000_000);
        assert_eq!(
            end.cost.unwrap().normalize(),
            exact.normalize(),
            "{record:?}"
        );
        compared += 1;
    }
    assert!(compared > mixed() / 2, "{compared} of {}", mixed());
    assert!(spent > Decimal::ZERO);
}

#[tokio::test]
async fn what_a_stream_said_before_it_broke_is_billed_though_nothing_can_follow_it() {
    let books = Books::new(&format!("[repairs]\nresume = false\n{}", key(""))).await;
    let messages = json!([{ "role": "user", "content": "杭州怎么样？" }]);
    let chat = |more: Value| {
        let mut body = json!({ "model": "qwen-plus", "stream": true, "messages": messages });
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        post(OPENAI, body.to_string())
    };
    let native = |incremental: bool| {
        let body = json!({ "model": "qwen-plus", "input": { "messages": messages },
            "parameters": { "result_format": "message", "incremental_output": incremental } });
        with(post(NATIVE, body.to_string()), "x-dashscope-sse", "enable")
    };
    let responses = json!({ "model": "qwen-plus", "input": "杭州怎么样？", "stream": true });
    let anthropic = json!({ "model": "qwen-plus", "max_tokens": 900, "stream": true,
        "messages": messages });
    let kinds = [
        ("text", chat(json!({}))),
        ("thinking", chat(json!({ "enable_thinking": true }))),
        ("increments", native(true)),
        ("repetitions", native(false)),
        ("responses", post("/v1/responses", responses.to_string())),
        (
            "anthropic",
            post("/anthropic/v1/messages", anthropic.to_string()),
        ),
    ];
    for (_, request) in kinds {
        let request = with(request, "x-sim-tokens", "300");
        let request = with(request, "x-sim-fault", "cut-after-bytes=6000");
        let response = send(books.address(), request).await;
        drop(response.into_body().collect().await);
    }
    let (simulator, records) = books.records().await;
    assert_eq!(records.len(), 6);
    let journal = simulator.journal();
    for (record, entry) in records.iter().zip(&journal) {
        let end = &record.end;
        assert_eq!(end.outcome.as_str(), "upstream_lost", "{record:?}");
        assert!(end.tokens.input > 0, "{record:?}");
        // Native streams report as they go.
        let is_native = entry.dialect == "native";
        assert_eq!(end.estimated, !is_native, "{record:?}");
        let (billed, said) = (end.tokens.output, entry.output_tokens);
        assert!(
            said > 9 && billed.abs_diff(said) <= said / 4,
            "{billed} of {said}: {record:?}"
        );
    }
}

/// A request of one of many kinds; some of their callers leave.
async fn one_of_many(address: SocketAddr, number: u64) {
    let text = format!("第 {number} 个问题：杭州怎么样？");
    let stream = number.is_multiple_of(2);
    let request = match number % 7 {
        0 | 1 => post(OPENAI, chat(&text, &json!({ "stream": stream }))),
        2 => post(
            OPENAI,
            chat(
                &text,
                &json!({ "stream": true, "enable_thinking": true,
            "stream_options": { "include_usage": true } }),
            ),
        ),
        3 | 4 => {
            let body = json!({ "model": "qwen-plus", "max_tokens": 60, "stream": stream,
                "messages": [{ "role": "user", "content": text }] });
            post("/anthropic/v1/messages", body.to_string())
        }
        _ => {
            let body = json!({ "model": "qwen-plus", "input": { "messages":
                [{ "role": "user", "content": text }] }, "parameters": { "result_format": "message" } });
            let switch = if stream { "enable" } else { "disable" };
            with(post(NATIVE, body.to_string()), "x-dashscope-sse", switch)
        }
    };
    let response = send(address, request).await;
    if number % 19 == 5 {
        // The caller leaves after the first piece, or before it.
        let mut body = response.into_body();
        let _first = body.frame().await;
        return;
    }
    drop(response.into_body().collect().await);
}

#[tokio::test]
async fn a_thousand_calls_at_once_never_overspend_at_any_level() {
    let budget = |money: &str, period: &str| {
        format!(
            "budgets = [{{ period = \"{period}\", money = {{ amount = \"{money}\", currency = \"CNY\" }} }}]"
        )
    };
    let settings = format!(
        "[[tenants]]\nname = \"研发部\"\n{}\n{}[keys.settings]\n{}\n",
        budget("0.004", "month"),
        key(""),
        budget("0.003", "day"),
    );
    let books = Books::new(&settings).await;
    let address = books.address();
    let mut running = tokio::task::JoinSet::new();
    for number in 0..1_000 {
        if running.len() >= 100 {
            running.join_next().await.unwrap().unwrap();
        }
        running.spawn(async move {
            let body = chat(&format!("{number}"), &json!({ "max_tokens": 20 }));
            let (status, _, body) = read_json(send(address, post(OPENAI, body)).await).await;
            if status == 429 {
                assert!(
                    body["error"]["message"]
                        .as_str()
                        .unwrap()
                        .contains("budget"),
                    "{body}"
                );
            } else {
                assert_eq!(status, 200, "{body}");
            }
        });
    }
    running.join_all().await;
    let (_, records) = books.records().await;
    let spent: Decimal = records.iter().filter_map(|record| record.end.cost).sum();
    let limit = Decimal::new(3, 3);
    assert!(spent <= limit, "{spent}");
    // Nor was much refused that had room: what was held came back when requests ended.
    assert!(spent > limit * Decimal::new(9, 1), "{spent}");
}

#[tokio::test]
async fn what_was_spent_is_known_after_a_restart() {
    let settings = key("settings = { budgets = [{ period = \"total\", tokens = 400 }] }\n");
    let mut books = Books::new(&settings).await;
    let ask = |address| async move {
        let body = chat("你好", &json!({ "max_tokens": 40 }));
        read(send(address, post(OPENAI, body)).await).await.0
    };
    let mut answered = 0;
    while ask(books.address()).await == 200 {
        answered += 1;
        assert!(answered < 100, "a budget ends");
    }
    assert!(answered > 2, "{answered}");
    drop(books.gateway.stop.take());
    (&mut books.gateway.task).await.unwrap();
    books.gateway = Books::open(&books.simulator, books.folder.path(), &settings);
    assert_eq!(ask(books.address()).await, 429);
}

#[tokio::test]
async fn limits_of_the_moment_are_refused_with_the_time_to_wait() {
    let settings = key("settings = { limits = { rpm = 3, concurrency = 2 } }\n");
    let books = Books::new(&settings).await;
    for _ in 0..3 {
        let (status, _, text) =
            read(send(books.address(), post(OPENAI, chat("hi", &json!({})))).await).await;
        assert_eq!(status, 200, "{text}");
    }
    let refused = send(books.address(), post(OPENAI, chat("hi", &json!({})))).await;
    let (status, headers, body) = read_json(refused).await;
    assert_eq!(status, 429);
    assert!(
        body["error"]["message"]
            .as_str()
            .unwrap()
            .contains("3 requests a minute"),
        "{body}"
    );
    let wait: u64 = headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    assert_eq!(headers["x-bailian-error-source"], "gateway");
}

#[tokio::test]
async fn keys_use_the_models_and_endpoints_that_they_are_given() {
    let settings = key(
        "settings = { models = [\"qwen-*\"], endpoints = [\"chat\"], ip_ranges = [\"127.0.0.0/8\"] }\n",
    );
    let books = Books::new(&settings).await;
    let embed = json!({ "model": "text-embedding-v4", "input": "你好" }).to_string();
    let other = chat("hi", &json!({ "model": "deepseek-v3.2" }));
    for (path, body, status) in [
        (OPENAI, chat("hi", &json!({})), 200),
        (OPENAI, other, 403),
        ("/v1/embeddings", embed, 403),
    ] {
        let (got, _, text) = read(send(books.address(), post(path, body)).await).await;
        assert_eq!(got, status, "{path}: {text}");
    }
    let (_, records) = books.records().await;
    assert_eq!(
        records.len(),
        1,
        "what was not admitted is no use of anything"
    );
}

#[tokio::test]
async fn an_address_outside_the_ranges_is_refused_as_a_wrong_key_is() {
    let books = Books::new(&key("settings = { ip_ranges = [\"10.0.0.0/8\"] }\n")).await;
    let outside =
        read_json(send(books.address(), post(OPENAI, chat("hi", &json!({})))).await).await;
    let wrong = with(
        post(OPENAI, chat("hi", &json!({}))),
        "authorization",
        "Bearer sk-bl-wrong-0001",
    );
    let wrong = read_json(send(books.address(), wrong).await).await;
    assert_eq!(outside.0, 401);
    assert_eq!(outside.2["error"], wrong.2["error"]);
}

#[tokio::test]
async fn usage_is_told_by_tenant_and_model_and_prompts_are_nowhere() {
    let books = Books::new(&key("")).await;
    for _ in 0..5 {
        let body = chat("KANARIENVOGEL-7731", &json!({}));
        assert_eq!(
            read(send(books.address(), post(OPENAI, body)).await)
                .await
                .0,
            200
        );
    }
    let folder = books.folder.path().to_owned();
    let deadline = Instant::now() + Duration::from_secs(5);
    let rows = loop {
        let rows = reader(&folder).usage(&Filter::default(), &[GroupBy::Model]);
        match rows {
            Ok(rows)
                if rows
                    .first()
                    .is_some_and(|row| row.requests == 5 && row.unsettled == 0) =>
            {
                break rows;
            }
            _ => assert!(Instant::now() < deadline, "{rows:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(rows[0].group, [Some("qwen-plus".to_owned())]);
    assert_eq!(rows[0].cost.len(), 1);
    for entry in walk(&folder) {
        let bytes = std::fs::read(&entry).unwrap();
        for secret in ["KANARIENVOGEL", KEY, "sk-up-0001"] {
            let is_there = bytes
                .windows(secret.len())
                .any(|part| part == secret.as_bytes());
            assert!(!is_there, "{secret} in {}", entry.display());
        }
    }
    let (_, _, metrics) = read(send(books.address(), get("/metrics")).await).await;
    assert!(!metrics.contains("KANARIENVOGEL"));
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(walk(&path));
        } else {
            files.push(path);
        }
    }
    files
}
