//! Attacks that others of this class fell to, each by name; docs/security.md has the whole list.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at what it did not expect"
)]

mod support;

use std::time::{Duration, Instant};

use bailian_gateway::Config;
use bailian_sim::{RunningSimulator, SimConfig, Simulator};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use support::{KEY, NATIVE, OPENAI, Running, get, post, read, read_json, send, start, with};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const ACCOUNT_KEY: &str = "sk-canary-account-7731";
const ADMIN_TOKEN: &str = "canary-admin-token-7731-long-enough";
const PROMPT: &str = "canary-prompt-7731";

struct Place {
    simulator: RunningSimulator,
    gateway: Running,
    _folder: TempDir,
}

impl Place {
    async fn new() -> Self {
        let simulator = Simulator::new(SimConfig::default()).spawn().await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "listen = \"127.0.0.1:0\"\nthreads = 1\n[data]\nfolder = \"{}\"\n[admin]\ntoken = \"{ADMIN_TOKEN}\"\n\
             [[accounts]]\napi_keys = [\"{ACCOUNT_KEY}\"]\nbase_url = \"{}\"\n\
             [[keys]]\nname = \"good\"\nkey = \"{KEY}\"\n\
             [[keys]]\nname = \"disabled\"\nkey = \"sk-bl-disabled-0001\"\nsettings = {{ disabled = true }}\n\
             [[keys]]\nname = \"expired\"\nkey = \"sk-bl-expired-0001\"\nsettings = {{ expires_at = \"2020-01-01T00:00:00Z\" }}\n\
             [[keys]]\nname = \"elsewhere\"\nkey = \"sk-bl-elsewhere-0001\"\nsettings = {{ ip_ranges = [\"10.0.0.0/8\"] }}\n",
            folder.path().display(),
            simulator.base_url()
        );
        let gateway = start(Config::parse(&text, "test", &|_: &str| None).unwrap());
        Self {
            simulator,
            gateway,
            _folder: folder,
        }
    }

    async fn operator(&self, path: &str) -> Value {
        let request = with(
            get(path),
            "authorization",
            "Bearer canary-admin-token-7731-long-enough",
        );
        let (status, _, body) = read_json(send(self.gateway.address, request).await).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    async fn ask(&self, path: &str, key: &'static str, body: &Value) -> (u16, Value) {
        let request = with(post(path, body.to_string()), "authorization", key);
        let (status, _, body) = read_json(send(self.gateway.address, request).await).await;
        (status.as_u16(), body)
    }
}

fn chat(model: &str) -> Value {
    json!({ "model": model, "messages": [{ "role": "user", "content": PROMPT }] })
}

/// Everything that opens nothing, as header lines.
const REFUSED: [Option<&str>; 8] = [
    None,
    Some("Bearer "),
    Some("Bearer sk-bl-wrong-0001"),
    Some("Basic sk-bl-wrong-0001"),
    Some("Bearer sk-bl-disabled-0001"),
    Some("Bearer sk-bl-expired-0001"),
    Some("Bearer sk-bl-elsewhere-0001"),
    Some("Bearer canary-admin-token-7731-long-enough"),
];

fn refused(path: &str, authorization: Option<&'static str>) -> http::Request<Full<Bytes>> {
    let mut request = post(path, chat("qwen-plus").to_string());
    request.headers_mut().remove("authorization");
    match authorization {
        Some(value) => with(request, "authorization", value),
        None => request,
    }
}

#[tokio::test]
async fn wrong_missing_disabled_and_expired_keys_answer_alike() {
    let place = Place::new().await;
    for path in [
        OPENAI,
        NATIVE,
        "/v1/embeddings",
        "/v1/models",
        "/v1/responses/resp_1",
        "/anthropic/v1/messages",
        "/anthropic/v1/messages/count_tokens",
    ] {
        let mut answers = Vec::new();
        for authorization in REFUSED {
            let mut request = refused(path, authorization);
            if path.starts_with("/v1/models") || path.contains("resp_1") {
                *request.method_mut() = http::Method::GET;
            }
            let answer = send(place.gateway.address, request).await;
            let (status, mut headers, mut body) = read_json(answer).await;
            let id = headers.remove("x-request-id").unwrap();
            let id = Value::from(id.to_str().unwrap());
            headers.remove("date");
            assert_eq!(body["request_id"], id, "{path}: {body}");
            body["request_id"] = Value::Null;
            answers.push((status, headers, body));
        }
        // As the service has it for each of its surfaces.
        let status = if path.starts_with("/anthropic") {
            403
        } else {
            401
        };
        assert_eq!(answers[0].0, status, "{path}");
        assert!(
            answers.windows(2).all(|two| two[0] == two[1]),
            "{path}: {answers:#?}"
        );
    }
    assert!(place.simulator.journal().is_empty());
}

/// The shortest of many times, in turn, so that what else the machine does counts for nobody.
#[tokio::test]
async fn wrong_missing_disabled_and_expired_keys_answer_in_the_same_time() {
    let place = Place::new().await;
    let stream = TcpStream::connect(place.gateway.address).await.unwrap();
    let (mut caller, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let mut shortest = [Duration::MAX; REFUSED.len()];
    for _ in 0..300 {
        for (authorization, shortest) in REFUSED.iter().zip(&mut shortest) {
            let request = refused(OPENAI, *authorization);
            let begun = Instant::now();
            let answer = caller.send_request(request).await.unwrap();
            answer.into_body().collect().await.unwrap();
            *shortest = begun.elapsed().min(*shortest);
        }
    }
    let (least, most) = (
        shortest.iter().min().unwrap(),
        shortest.iter().max().unwrap(),
    );
    assert!(*most < *least * 3 / 2, "{shortest:?}");
}

#[tokio::test]
async fn sql_nul_line_ends_and_a_megabyte_in_keys_models_and_headers_break_nothing() {
    let place = Place::new().await;
    let evil = [
        "'; DROP TABLE keys; --",
        "\" OR \"\"=\"",
        "a\r\nx-injected: yes",
        "a\0b",
        "\u{2028}\u{202e}%00%0d%0a",
        "{{7*7}}${jndi:ldap://x}",
    ];
    for text in evil {
        // As a model: refused, or passed on to be refused there.
        let (status, body) = place
            .ask(OPENAI, "Bearer sk-bl-test-key-0001", &chat(text))
            .await;
        assert!((400..500).contains(&status), "{text:?}: {status} {body}");
        // As a key and as a header, byte for byte on the wire.
        for line in [
            format!("authorization: Bearer {text}"),
            format!("authorization: Bearer {KEY}\r\nx-bailian-priority: {text}"),
            format!("authorization: Bearer {KEY}\r\nuser-agent: {text}"),
        ] {
            let answer = raw(&place, &line, &chat("qwen-plus").to_string()).await;
            assert!(
                answer.is_empty() || answer.starts_with("HTTP/1.1 "),
                "{line:?}: {answer}"
            );
            assert!(
                !answer.to_ascii_lowercase().contains("x-injected"),
                "{answer}"
            );
        }
    }
    let megabyte = "x".repeat(1 << 20);
    let (status, _) = place
        .ask(OPENAI, "Bearer sk-bl-test-key-0001", &chat(&megabyte))
        .await;
    assert_eq!(status, 400);
    let answer = raw(&place, &format!("authorization: Bearer {megabyte}"), "{}").await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
        "{answer}"
    );
    // And it goes on, and what reached the ledger stands there to the letter.
    let (status, body) = place
        .ask(OPENAI, "Bearer sk-bl-test-key-0001", &chat("qwen-plus"))
        .await;
    assert_eq!(status, 200, "{body}");
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let records = place.operator("/admin/v1/records?limit=1000").await;
        let records = records["data"].as_array().unwrap().iter();
        let models: Vec<_> = records.map(|it| it["model"].as_str().unwrap()).collect();
        let is_there = |text: &str| models.contains(&text);
        // Names with control characters are refused before.
        if ["qwen-plus", evil[0], evil[1], evil[5]]
            .into_iter()
            .all(is_there)
        {
            break;
        }
        assert!(Instant::now() < deadline, "{models:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let keys = place.operator("/admin/v1/keys").await;
    assert_eq!(keys["data"].as_array().unwrap().len(), 4, "{keys}");
}

/// Sends a head with this line in it; what came back, as far as the connection let it.
async fn raw(place: &Place, line: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(place.gateway.address).await.unwrap();
    let head = format!(
        "POST {OPENAI} HTTP/1.1\r\nhost: g\r\n{line}\r\ncontent-type: application/json\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    // A server that refuses may close before everything was written.
    drop(stream.write_all(head.as_bytes()).await);
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer).await);
    String::from_utf8_lossy(&answer).into_owned()
}

/// What callers of other gateways name places with.
const NAMES_OF_PLACES: [&str; 9] = [
    "api_base",
    "base_url",
    "api_key",
    "custom_llm_provider",
    "x_host",
    "extra_body",
    "extra_headers",
    "endpoint",
    "proxy",
];

#[tokio::test]
async fn a_caller_never_names_the_host() {
    let place = Place::new().await;
    let elsewhere = Simulator::new(SimConfig::default()).spawn().await.unwrap();
    let url = elsewhere.base_url();
    let authority = url.trim_start_matches("http://");
    let native = json!({ "model": "qwen-plus", "input": { "messages": [{ "role": "user", "content": "x" }] } });
    let mut calls = 0;
    for (path, mut body) in [
        (OPENAI, chat("qwen-plus")),
        ("/anthropic/v1/messages", chat("qwen-plus")),
        (NATIVE, native),
    ] {
        body["max_tokens"] = 20.into();
        for name in NAMES_OF_PLACES {
            body[name] = match name {
                "extra_body" => json!({ "base_url": url }),
                "extra_headers" => json!({ "host": authority }),
                _ => url.as_str().into(),
            };
        }
        for target in [
            path.to_owned(),
            format!("{path}?base_url={url}&api_base={url}"),
            // As to a proxy: the name of another server in the first line.
            format!("{url}{path}"),
        ] {
            let mut request = post(path, body.to_string());
            *request.uri_mut() = target.parse().unwrap();
            for name in [
                "host",
                "x-forwarded-host",
                "x-portkey-custom-host",
                "x-dashscope-base-url",
                "x-original-url",
                "forwarded",
            ] {
                let name = http::HeaderName::from_static(name);
                request
                    .headers_mut()
                    .insert(name, authority.parse().unwrap());
            }
            let (status, _, text) = read(send(place.gateway.address, request).await).await;
            assert!(
                status == 200 || status.is_client_error(),
                "{target}: {text}"
            );
            calls += usize::from(status == 200);
        }
    }
    assert!(calls >= 6, "{calls} calls were served");
    assert!(elsewhere.journal().is_empty());
    assert!(place.simulator.journal().len() >= calls);
    // Nor is it a proxy.
    let answer = raw(&place, "x: y", "").await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    let mut stream = TcpStream::connect(place.gateway.address).await.unwrap();
    let connect = format!("CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n\r\n");
    stream.write_all(connect.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 4"), "{answer:?}");
}

#[tokio::test]
async fn members_that_stand_twice_are_refused_in_every_dialect_however_they_are_spelled() {
    let place = Place::new().await;
    let rest = r#""max_tokens":9,"messages":[{"role":"user","content":"x"}],"input":{"messages":[{"role":"user","content":"x"}]}"#;
    for doubled in [
        r#""model":"qwen-plus","model":"qwen-max""#,
        r#""model":"qwen-plus","mod\u0065l":"qwen-max""#,
        r#""\u006dodel":"qwen-plus","model":"qwen-max""#,
        r#""model":"qwen-plus","stream":false,"stream":true"#,
        r#""model":"qwen-plus","str\u0065am":true,"stream":false"#,
    ] {
        for path in [
            OPENAI,
            NATIVE,
            "/anthropic/v1/messages",
            "/v1/responses",
            "/v1/embeddings",
            "/v1/completions",
        ] {
            // Native calls say elsewhere whether they stream.
            if doubled.contains("am\"") && [NATIVE, "/v1/embeddings"].contains(&path) {
                continue;
            }
            for body in [
                format!("{{{doubled},{rest}}}"),
                format!("{{{rest},{doubled}}}"),
            ] {
                let (status, _, text) =
                    read(send(place.gateway.address, post(path, body.clone())).await).await;
                assert_eq!(status, 400, "{path} {body}: {text}");
            }
        }
    }
    assert!(place.simulator.journal().is_empty());
}

#[tokio::test]
async fn names_without_end_become_few_labels_and_forge_no_line() {
    let place = Place::new().await;
    for number in 0..400 {
        let model = format!("made-up-{number}\"}} 1 bailian_evil");
        let (status, _) = place
            .ask(OPENAI, "Bearer sk-bl-test-key-0001", &chat(&model))
            .await;
        assert!((400..500).contains(&status), "{status}");
    }
    let (_, _, metrics) = read(send(place.gateway.address, get("/metrics")).await).await;
    let lines = metrics.lines().filter(|line| !line.starts_with('#'));
    let mut labels = std::collections::HashSet::new();
    for line in lines {
        assert!(line.starts_with("bailian_"), "{line}");
        assert!(!line.starts_with("bailian_evil"), "{line}");
        if let Some((_, rest)) = line.split_once("lane=\"") {
            labels.insert(rest.split([',', '}']).next().unwrap().to_owned());
        }
    }
    assert!((1..=200).contains(&labels.len()), "{} lanes", labels.len());
    let tokens = metrics
        .lines()
        .filter(|line| line.contains("model=\"made-up"));
    assert_eq!(tokens.count(), 0, "{metrics}");
}

#[tokio::test]
async fn a_tenants_key_opens_nothing_of_the_operators_side() {
    let place = Place::new().await;
    let document = place.operator("/admin/v1/openapi.json").await;
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() > 10);
    let mut answers = Vec::new();
    for (path, methods) in paths {
        let path = path.replace("{id}", "k_1");
        for method in methods.as_object().unwrap().keys() {
            let Ok(method) = method.to_uppercase().parse::<http::Method>() else {
                continue;
            };
            for presented in ["authorization", "x-api-key"] {
                let mut request = get(&path);
                *request.method_mut() = method.clone();
                if presented == "x-api-key" {
                    let headers = request.headers_mut();
                    headers.remove("authorization");
                    headers.insert(presented, KEY.parse().unwrap());
                }
                let (status, _, text) = read(send(place.gateway.address, request).await).await;
                assert_eq!(status, 401, "{method} {path}: {text}");
                answers.push(text);
            }
        }
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
}
