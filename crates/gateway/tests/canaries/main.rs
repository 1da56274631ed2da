//! Secrets that are looked for wherever a gateway writes something: answers, logs of every level,
//! metrics, traces, the ledger and its exports, the admin API, the audit log, files.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at what it did not expect"
)]

mod outside;
mod place;
#[path = "../support/mod.rs"]
mod support;

use std::path::Path;

use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;

use outside::Log;
use place::Place;
use support::{OPENAI, over_http2, post, read, with_key};

const ACCOUNT_KEY: &str = "sk-canary-account-7731";
const OTHER_ACCOUNT_KEY: &str = "sk-canary-mirror-7731";
const FIXED_KEY: &str = "sk-bl-canary-fixed-7731";
const WRONG_KEY: &str = "sk-bl-canary-wrong-7731";
const ADMIN_TOKEN: &str = "canary-admin-token-7731-long-enough";
const PROMPT: &str = "canary-prompt-7731";
/// What one says whose prompts are to be kept.
const KEPT: &str = "canary-kept-7731";
const KEEPING_KEY: &str = "sk-bl-canary-keeping-7731";

/// The same over HTTP/2, whose library logs in its own way.
async fn over_two(address: std::net::SocketAddr, key: &str) -> String {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let body = json!({ "model": "qwen-plus", "messages": [{ "role": "user", "content": PROMPT }] });
    let request = with_key(over_http2(post(OPENAI, body.to_string())), key);
    let (status, headers, text) = read(sender.send_request(request).await.unwrap()).await;
    assert_eq!(status, 200);
    format!("{headers:?} {text}")
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

fn assert_absent(secrets: &[&str], place: &str, bytes: &[u8]) {
    for secret in secrets {
        let at = memchr::memmem::find(bytes, secret.as_bytes());
        let around = at.map(|at| {
            String::from_utf8_lossy(&bytes[at.saturating_sub(300)..(at + 60).min(bytes.len())])
                .into_owned()
        });
        assert_eq!(around, None, "{secret} in {place}");
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
    let mut place = Place::new().await;
    let (id, made) = place.make_key().await;
    for key in [FIXED_KEY, &made] {
        place.ask_everything(key).await;
    }
    for key in [WRONG_KEY, ADMIN_TOKEN] {
        place.ask_models(key, &["qwen-plus"]).await;
    }
    let text = over_two(place.gateway.address, &made).await;
    place.seen.push_str(&text);
    place.say_what_is_kept().await;
    let before = place.seen.len();
    place.look_at_everything(&id).await;
    assert_absent(&[KEPT], "the admin API", &place.seen.as_bytes()[before..]);
    place.gateway.end().await;

    let keys = [
        ACCOUNT_KEY,
        OTHER_ACCOUNT_KEY,
        FIXED_KEY,
        WRONG_KEY,
        ADMIN_TOKEN,
        KEEPING_KEY,
        &made,
    ];
    let all = [&keys[..], &[PROMPT]].concat();
    let logged = log.text();
    assert!(logged.contains("request_id") && logged.contains("TRACE"));
    let told = place.told.text();
    assert!(told.contains("gen_ai.request.model"));
    assert!(place.seen.contains("bailian_requests_total"));
    assert!(place.seen.contains("(key hidden)"), "the mirror was asked");
    assert_absent(&[KEPT], "the log", logged.as_bytes());
    assert_absent(&[KEPT], "telemetry", told.as_bytes());
    assert_absent(&all, "the log", logged.as_bytes());
    assert_absent(&all, "telemetry", told.as_bytes());
    assert_absent(&keys, "an answer", place.seen.as_bytes());
    for file in files(place.folder.path()) {
        let name = file.display().to_string();
        let bytes = std::fs::read(&file).unwrap();
        assert_absent(&all, &name, &bytes);
        let is_store = |file: &str| file.starts_with("ledger.db");
        if !file
            .file_name()
            .and_then(|name| name.to_str())
            .is_some_and(is_store)
        {
            assert_absent(&[KEPT], &name, &bytes);
        }
    }
}
