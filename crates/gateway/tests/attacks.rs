//! Attacks that others of this class fell to, each by name; docs/security.md has the whole list.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at what it did not expect"
)]

mod support;

use std::fmt::Write as _;
use std::io::Write;
use std::sync::{Arc, Mutex};

use bailian_gateway::Config;
use bailian_sim::{RunningSimulator, SimConfig, Simulator};
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
    folder: TempDir,
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
             [[keys]]\nname = \"expired\"\nkey = \"sk-bl-expired-0001\"\nsettings = {{ expires_at = \"2020-01-01T00:00:00Z\" }}\n",
            folder.path().display(),
            simulator.base_url()
        );
        let gateway = start(Config::parse(&text, "test", &|_: &str| None).unwrap());
        Self {
            simulator,
            gateway,
            folder,
        }
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

#[tokio::test]
async fn wrong_missing_disabled_and_expired_keys_answer_alike() {
    let place = Place::new().await;
    for path in [OPENAI, NATIVE, "/v1/embeddings", "/v1/models"] {
        let mut answers = Vec::new();
        for key in [
            "Bearer sk-bl-wrong-0001",
            "Bearer ",
            "Bearer sk-bl-disabled-0001",
            "Bearer sk-bl-expired-0001",
            "Basic sk-bl-wrong-0001",
        ] {
            let (status, mut body) = place.ask(path, key, &chat("qwen-plus")).await;
            body["request_id"] = Value::Null;
            answers.push((status, body));
        }
        assert!(
            answers.windows(2).all(|two| two[0] == two[1]),
            "{path}: {answers:#?}"
        );
    }
    assert!(place.simulator.journal().is_empty());
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
    // And it goes on.
    let (status, body) = place
        .ask(OPENAI, "Bearer sk-bl-test-key-0001", &chat("qwen-plus"))
        .await;
    assert_eq!(status, 200, "{body}");
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

/// Everything that is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn canary_secrets_appear_nowhere() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    // The relay's threads are others; what this test sees is what the process logs.
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let place = Place::new().await;
    let mut seen = String::new();
    for fault in [
        "",
        "status=500",
        "code=DataInspectionFailed",
        "html=502",
        "reset",
        "malformed=1",
    ] {
        let mut config = SimConfig::default();
        if !fault.is_empty() {
            config.faults = serde_json::from_value(json!([{ "faults": [fault] }])).unwrap();
        }
        place.simulator.set_config(config);
        for stream in [false, true] {
            let mut body = chat("qwen-plus");
            body["stream"] = stream.into();
            for path in [OPENAI, "/anthropic/v1/messages", "/v1/nowhere"] {
                body["max_tokens"] = 20.into();
                let (_, headers, text) =
                    read(send(place.gateway.address, post(path, body.to_string())).await).await;
                write!(seen, "{headers:?}{text}").unwrap();
            }
        }
    }
    for path in ["/metrics", "/readyz", "/v1/models", "/admin/v1/lanes"] {
        seen.push_str(&read(send(place.gateway.address, get(path)).await).await.2);
    }
    let logged = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(
        logged.contains("request_id"),
        "something was logged: {logged}"
    );
    for secret in [ACCOUNT_KEY, KEY, ADMIN_TOKEN] {
        assert!(!seen.contains(secret), "{secret} in an answer");
        assert!(!logged.contains(secret), "{secret} in the log");
    }
    assert!(!logged.contains(PROMPT), "a prompt in the log");
    let kept = std::fs::read_dir(place.folder.path()).unwrap();
    for file in kept
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
    {
        let bytes = std::fs::read(&file).unwrap();
        for secret in [ACCOUNT_KEY, KEY, ADMIN_TOKEN, PROMPT] {
            let is_there = bytes
                .windows(secret.len())
                .any(|part| part == secret.as_bytes());
            assert!(!is_there, "{secret} in {}", file.display());
        }
    }
}

#[tokio::test]
async fn a_caller_never_names_the_host() {
    let place = Place::new().await;
    let elsewhere = Simulator::new(SimConfig::default()).spawn().await.unwrap();
    let mut body = chat("qwen-plus");
    for name in [
        "api_base",
        "base_url",
        "api_key",
        "custom_llm_provider",
        "x_host",
    ] {
        body[name] = elsewhere.base_url().into();
    }
    let mut request = post(OPENAI, body.to_string());
    for name in [
        "host",
        "x-forwarded-host",
        "x-portkey-custom-host",
        "x-dashscope-base-url",
        "forwarded",
    ] {
        let value = elsewhere
            .base_url()
            .trim_start_matches("http://")
            .parse()
            .unwrap();
        request
            .headers_mut()
            .insert(http::HeaderName::from_static(name), value);
    }
    let (status, _, text) = read(send(place.gateway.address, request).await).await;
    assert_eq!(status, 200, "{text}");
    assert!(elsewhere.journal().is_empty());
    assert_eq!(place.simulator.journal().len(), 1);
}
