//! What requests say is kept for tenants that ask for it, redacted, and read by the operator alone.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a step that fails ends the test"
)]

mod support;

use std::fmt::Write as _;

use axum::Router;
use axum::response::IntoResponse as _;
use axum::routing::post as on_post;
use bailian_gateway::Config;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use support::{OPENAI, Running, get, post, read, send, serve, start, with_key};

const TOKEN: &str = "operator-token-of-the-content-test";
const ASKS: &str = "sk-bl-of-one-that-asks";
const AS_IT_IS: &str = "sk-bl-of-one-as-it-is";
const SILENT: &str = "sk-bl-of-one-that-does-not";

const SAID: &str =
    "我叫王芳，电话13800138000，客户KD-20261127，密钥sk-0123456789abcdef，邮箱fang@example.cn";
const REDACTED: &str = "我叫王芳，电话[phone]，客户[customer]，密钥[key]，邮箱[email]";

/// Answers with what it was told; a stream says it in pieces of three characters.
async fn echo(body: String) -> axum::response::Response {
    let body: Value = serde_json::from_str(&body).unwrap();
    let text = body["messages"][0]["content"].as_str().unwrap();
    if body["stream"] != true {
        let choice = json!({ "index": 0, "finish_reason": "stop",
            "message": { "role": "assistant", "content": text } });
        return axum::Json(json!({ "id": "1", "choices": [choice] })).into_response();
    }
    let chars: Vec<char> = text.chars().collect();
    let mut frames = String::new();
    for piece in chars.chunks(3) {
        let delta = json!({ "content": String::from_iter(piece) });
        let event = json!({ "id": "1", "choices": [{ "index": 0, "delta": delta }] });
        write!(frames, "data: {event}\n\n").unwrap();
    }
    let end =
        json!({ "id": "1", "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }] });
    write!(frames, "data: {end}\n\ndata: [DONE]\n\n").unwrap();
    ([("content-type", "text/event-stream")], frames).into_response()
}

struct Place {
    gateway: Running,
    folder: tempfile::TempDir,
}

impl Place {
    async fn new() -> Self {
        let upstream = serve(Router::new().fallback(on_post(echo))).await;
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            r#"
            listen = "127.0.0.1:0"
            threads = 1
            [data]
            folder = "{}"
            [[data.redact]]
            name = "customer"
            pattern = "KD-[0-9]{{8}}"
            [admin]
            token = "{TOKEN}"
            [[accounts]]
            name = "echo"
            kind = "openai"
            api_keys = ["sk-canary-upstream-0001"]
            base_url = "{upstream}/v1"
            [[routes]]
            model = "*"
            targets = [{{ account = "echo" }}]
            [[tenants]]
            name = "市场部"
            keep_content = {{ days = 30 }}
            [[keys]]
            name = "asks"
            tenant = "市场部"
            key = "{ASKS}"
            [[keys]]
            name = "as-it-is"
            tenant = "市场部"
            key = "{AS_IT_IS}"
            settings = {{ keep_content = {{ days = 7, redact = false }} }}
            [[keys]]
            name = "silent"
            tenant = "研发部"
            key = "{SILENT}"
            "#,
            folder.path().display()
        );
        let gateway = start(Config::parse(&text, "test", &|_: &str| None).unwrap());
        Self { gateway, folder }
    }

    /// The id of a request that was answered.
    async fn say(&self, key: &str, stream: bool) -> String {
        let message = json!({ "role": "user", "content": SAID });
        let body = json!({ "model": "local", "stream": stream, "messages": [message] });
        let request = with_key(post(OPENAI, body.to_string()), key);
        let (status, headers, text) = read(send(self.gateway.address, request).await).await;
        assert_eq!(status, StatusCode::OK, "{text}");
        headers["x-request-id"].to_str().unwrap().to_owned()
    }

    async fn operator(&self, method: Method, path: &str) -> (StatusCode, Value) {
        let mut request = post(&format!("/admin/v1{path}"), "");
        *request.method_mut() = method;
        let request = with_key(request, TOKEN);
        let (status, _, text) = read(send(self.gateway.address, request).await).await;
        (status, serde_json::from_str(&text).unwrap_or_default())
    }

    async fn content(&self, id: &str) -> (StatusCode, Value) {
        let path = format!("/records/{id}/content");
        self.operator(Method::GET, &path).await
    }

    async fn audit(&self) -> Vec<Value> {
        let (_, log) = self.operator(Method::GET, "/audit").await;
        log["data"].as_array().unwrap().clone()
    }
}

fn json_of(content: &Value, part: &str) -> Value {
    serde_json::from_str(content[part].as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn what_a_tenant_wants_kept_is_kept_redacted_also_when_a_stream_says_it_in_pieces() {
    let place = Place::new().await;
    for stream in [false, true] {
        let id = place.say(ASKS, stream).await;
        let (status, content) = place.content(&id).await;
        assert_eq!(status, StatusCode::OK, "{content}");
        assert_eq!(content["id"], id.as_str());
        assert_eq!(content["redacted"], true);
        assert_eq!(content["request_cut"], false);
        let request = json_of(&content, "request");
        assert_eq!(request["messages"][0]["content"], REDACTED);
        let answer = json_of(&content, "answer");
        assert_eq!(answer["choices"][0]["message"]["content"], REDACTED);
    }
    let id = place.say(AS_IT_IS, true).await;
    let (_, content) = place.content(&id).await;
    assert_eq!(content["redacted"], false);
    let answer = json_of(&content, "answer");
    assert_eq!(answer["choices"][0]["message"]["content"], SAID);
}

#[tokio::test]
async fn of_a_tenant_that_does_not_ask_nothing_is_kept() {
    let place = Place::new().await;
    let id = place.say(SILENT, false).await;
    place.say(SILENT, true).await;
    let (status, fault) = place.content(&id).await;
    assert_eq!(
        (status, &fault["error"]["code"]),
        (StatusCode::NOT_FOUND, &json!("not_found"))
    );
    let metrics = read(send(place.gateway.address, get("/metrics")).await)
        .await
        .2;
    assert!(
        metrics.contains("bailian_content_kept_total 0"),
        "{metrics}"
    );
    for entry in std::fs::read_dir(place.folder.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            let at = memchr::memmem::find(&bytes, "王芳".as_bytes());
            assert_eq!(at, None, "{}", path.display());
        }
    }
}

#[tokio::test]
async fn who_reads_or_deletes_content_stands_in_the_audit_log() {
    let place = Place::new().await;
    let id = place.say(ASKS, false).await;
    let before = place.audit().await.len();
    let caller = get(&format!("/admin/v1/records/{id}/content"));
    let caller = with_key(caller, ASKS);
    let refused = read(send(place.gateway.address, caller).await).await.0;
    assert_eq!(refused, StatusCode::UNAUTHORIZED);
    assert_eq!(place.content(&id).await.0, StatusCode::OK);
    let path = format!("/records/{id}/content");
    let deleted = place.operator(Method::DELETE, &path).await.0;
    assert_eq!(deleted, StatusCode::NO_CONTENT);
    assert_eq!(place.content(&id).await.0, StatusCode::NOT_FOUND);
    assert_eq!(
        place.operator(Method::DELETE, &path).await.0,
        StatusCode::NOT_FOUND
    );
    assert_eq!(place.content("no-id").await.0, StatusCode::NOT_FOUND);
    let log = place.audit().await;
    assert_eq!(log.len(), before + 2);
    for (entry, action) in log.iter().zip(["delete_content", "read_content"]) {
        assert_eq!(entry["action"], action);
        assert_eq!(entry["who"], "operator");
        assert_eq!(entry["from"], "127.0.0.1");
        assert_eq!(entry["after"], json!({ "record": id }));
    }
}
