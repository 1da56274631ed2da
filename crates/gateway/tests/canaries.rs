//! Secrets that are looked for wherever a gateway writes something: answers, logs of every level,
//! metrics, traces, the ledger and its exports, the admin API, the audit log, files.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at what it did not expect"
)]

mod support;

use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post as on_post;
use bailian_gateway::Config;
use bailian_sim::{RunningSimulator, SimConfig, Simulator};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use support::{NATIVE, OPENAI, Running, get, over_http2, post, read, send, start};

const ACCOUNT_KEY: &str = "sk-canary-account-7731";
const OTHER_ACCOUNT_KEY: &str = "sk-canary-mirror-7731";
const FIXED_KEY: &str = "sk-bl-canary-fixed-7731";
const WRONG_KEY: &str = "sk-bl-canary-wrong-7731";
const ADMIN_TOKEN: &str = "canary-admin-token-7731-long-enough";
const PROMPT: &str = "canary-prompt-7731";
/// What one says whose prompts are to be kept.
const KEPT: &str = "canary-kept-7731";
const KEEPING_KEY: &str = "sk-bl-canary-keeping-7731";

/// Everything that is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

async fn serve(app: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}")
}

/// Takes what a gateway tells of itself, as it comes.
async fn collector() -> (Log, String) {
    async fn take(State(mut log): State<Log>, body: Bytes) {
        log.write_all(&body).unwrap();
    }
    let log = Log::default();
    let app = Router::new()
        .fallback(on_post(take))
        .with_state(log.clone());
    (log, serve(app).await)
}

/// An upstream that throws everything back at whoever asks: its key, and the prompt.
async fn mirror() -> String {
    async fn answer(headers: HeaderMap, body: String) -> Response {
        let key = headers
            .get("authorization")
            .map_or("", |key| key.to_str().unwrap());
        let model: Value = serde_json::from_str(&body).unwrap_or_default();
        let said = json!(format!("{key} may not ask {body}"));
        let error = json!({ "error": { "code": "invalid_api_key", "type": "invalid_request_error", "message": said } });
        let begun = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n";
        let stream = [("content-type", "text/event-stream")];
        match model["model"].as_str().unwrap_or_default() {
            "mirror-page" => {
                let page = format!("<html><body>{key} {body}</body></html>");
                (StatusCode::BAD_GATEWAY, page).into_response()
            }
            "mirror-event" => (stream, format!("{begun}data: {error}\n\n")).into_response(),
            "mirror-broken" => {
                // What is no error passes as it is, so this one keeps the key to itself.
                let said = json!(body);
                (stream, format!("{begun}data: {{\"choices\":{said}}}\n\n")).into_response()
            }
            "mirror-inside" => axum::Json(error).into_response(),
            _ => (StatusCode::UNAUTHORIZED, axum::Json(error)).into_response(),
        }
    }
    serve(Router::new().fallback(answer)).await
}

struct Place {
    gateway: Running,
    simulator: RunningSimulator,
    folder: tempfile::TempDir,
    told: Log,
    /// All answers, with their headers.
    seen: String,
}

impl Place {
    async fn new() -> Self {
        let simulator = Simulator::new(SimConfig::default()).spawn().await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (told, collector) = collector().await;
        let text = format!(
            r#"
            listen = "127.0.0.1:0"
            threads = 1
            [data]
            folder = "{}"
            [admin]
            token = "{ADMIN_TOKEN}"
            [cache]
            store = "memory"
            [telemetry]
            otlp = "{collector}"
            propagate = true
            [[accounts]]
            name = "main"
            api_keys = ["{ACCOUNT_KEY}"]
            base_url = "{}"
            [[accounts]]
            name = "mirror"
            kind = "openai"
            api_keys = ["{OTHER_ACCOUNT_KEY}"]
            base_url = "{}/v1"
            [[routes]]
            model = "mirror-*"
            targets = [{{ account = "mirror" }}]
            [[keys]]
            name = "fixed"
            tenant = "研发部"
            key = "{FIXED_KEY}"
            [[keys]]
            name = "keeping"
            tenant = "档案"
            key = "{KEEPING_KEY}"
            settings = {{ keep_content = {{ days = 30 }} }}
            "#,
            folder.path().display(),
            simulator.base_url(),
            mirror().await
        );
        let gateway = start(Config::parse(&text, "test", &|_: &str| None).unwrap());
        Self {
            gateway,
            simulator,
            folder,
            told,
            seen: String::new(),
        }
    }

    /// Keeps what is answered, but for an answer that is meant to have a secret.
    async fn ask(
        &mut self,
        key: &str,
        request: http::Request<http_body_util::Full<Bytes>>,
    ) -> String {
        let mut request = request;
        let value = format!("Bearer {key}").parse().unwrap();
        request.headers_mut().insert("authorization", value);
        let (head, body) = send(self.gateway.address, request).await.into_parts();
        // An answer that breaks off has a part that counts, too.
        let mut text = Vec::new();
        let mut body = body;
        while let Some(Ok(frame)) = body.frame().await {
            text.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new()));
        }
        let text = String::from_utf8_lossy(&text).into_owned();
        write!(self.seen, "{:?} {:?} {text}", head.status, head.headers).unwrap();
        text
    }

    /// A key that was made while the gateway ran. Its text is in that one answer.
    async fn make_key(&mut self) -> (String, String) {
        let before = self.seen.len();
        let mut made = async |path: &str, body: Value| -> Value {
            let request = post(&format!("/admin/v1{path}"), body.to_string());
            let text = self.ask(ADMIN_TOKEN, request).await;
            serde_json::from_str(&text).unwrap()
        };
        let tenant = made("/tenants", json!({ "name": "市场部" })).await;
        let project = made(
            "/projects",
            json!({ "name": "客服", "tenant": tenant["id"] }),
        )
        .await;
        let key = made("/keys", json!({ "name": "app", "project": project["id"] })).await;
        self.seen.truncate(before);
        let text = |name: &str| key[name].as_str().unwrap().to_owned();
        (text("id"), text("key"))
    }

    /// Every path with every kind of failure behind it.
    async fn ask_everything(&mut self, key: &str) {
        for fault in [
            "",
            "status=500",
            "code=DataInspectionFailed",
            "code-in-200=InternalError",
            "html=502",
            "reset",
            "malformed=1",
            "error-frame=2",
            "cut-after-bytes=300",
            "truncate=2",
        ] {
            let mut config = SimConfig::default();
            if !fault.is_empty() {
                config.faults = serde_json::from_value(json!([{ "faults": [fault] }])).unwrap();
            }
            self.simulator.set_config(config);
            self.ask_models(key, &["qwen-plus"]).await;
        }
        self.simulator.set_config(SimConfig::default());
        self.ask_models(
            key,
            &[
                "mirror-no",
                "mirror-page",
                "mirror-event",
                "mirror-broken",
                "mirror-inside",
                "no-such-model",
            ],
        )
        .await;
    }

    async fn ask_models(&mut self, key: &str, models: &[&str]) {
        for model in models {
            for stream in [false, true] {
                let message = json!([{ "role": "user", "content": PROMPT }]);
                let chat = json!({ "model": model, "stream": stream, "max_tokens": 20, "messages": message });
                let native = json!({ "model": model, "input": { "messages": message },
                    "parameters": { "result_format": "message" } });
                let responses = json!({ "model": model, "stream": stream, "input": PROMPT });
                let embeddings = json!({ "model": model, "input": PROMPT });
                for (path, body) in [
                    (OPENAI, &chat),
                    ("/anthropic/v1/messages", &chat),
                    ("/anthropic/v1/messages/count_tokens", &chat),
                    (NATIVE, &native),
                    ("/v1/responses", &responses),
                    ("/v1/embeddings", &embeddings),
                    ("/v1/nowhere", &chat),
                ] {
                    let mut request = post(path, body.to_string());
                    let headers = request.headers_mut();
                    headers.insert("x-bailian-cache", "on".parse().unwrap());
                    if stream {
                        headers.insert("x-dashscope-sse", "enable".parse().unwrap());
                    }
                    self.ask(key, request).await;
                }
            }
        }
        for body in [
            format!("{{\"model\": \"{PROMPT}"),
            format!("{{\"model\": 7, \"messages\": \"{PROMPT}\"}}"),
            format!("{{\"model\": \"qwen-plus\", \"stream\": \"{PROMPT}\"}}"),
        ] {
            for path in [OPENAI, NATIVE, "/anthropic/v1/messages"] {
                self.ask(key, post(path, body.clone())).await;
            }
        }
    }

    /// The operator's side, all of it.
    async fn look_at_everything(&mut self, id: &str) {
        for path in [
            "/tenants",
            "/projects",
            "/keys",
            &format!("/keys/{id}"),
            &format!("/keys/{id}/usage"),
            "/usage?group_by=tenant,model,key",
            "/records",
            "/export?format=csv",
            "/export?format=jsonl",
            "/export?format=parquet",
            "/audit",
            "/status",
            "/lanes",
            "/openapi.json",
        ] {
            let text = self
                .ask(ADMIN_TOKEN, get(&format!("/admin/v1{path}")))
                .await;
            assert!(!text.is_empty(), "{path}");
        }
        for path in ["/metrics", "/readyz", "/healthz"] {
            self.ask(WRONG_KEY, get(path)).await;
        }
        for path in ["/v1/models", "/v1/models/qwen-plus", "/anthropic/v1/models"] {
            self.ask(FIXED_KEY, get(path)).await;
        }
    }

    /// Says something that is kept, with a secret in it that is not, and reads it. What is answered to
    /// that is meant to have the prompt.
    async fn say_what_is_kept(&mut self) {
        let before = self.seen.len();
        for stream in [false, true] {
            let said = format!("{KEPT} 密钥{FIXED_KEY}");
            let message = json!([{ "role": "user", "content": said }]);
            for model in ["qwen-plus", "mirror-no", "mirror-event"] {
                let body = json!({ "model": model, "stream": stream, "messages": message });
                self.ask(KEEPING_KEY, post(OPENAI, body.to_string())).await;
            }
        }
        let (_, records) = self.seen[before..]
            .rsplit_once("x-request-id\": \"")
            .unwrap();
        let path = format!("/admin/v1/records/{}/content", &records[..36]);
        let content = self.ask(ADMIN_TOKEN, get(&path)).await;
        assert!(
            content.contains(KEPT) && content.contains("密钥[key]"),
            "{content}"
        );
        self.seen.truncate(before);
    }

    async fn stop(&mut self) {
        drop(self.gateway.stop.take());
        (&mut self.gateway.task).await.unwrap();
    }
}

/// The same over HTTP/2, whose library logs in its own way.
async fn over_two(address: std::net::SocketAddr, key: &str) -> String {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let body = json!({ "model": "qwen-plus", "messages": [{ "role": "user", "content": PROMPT }] });
    let mut request = over_http2(post(OPENAI, body.to_string()));
    let value = format!("Bearer {key}").parse().unwrap();
    request.headers_mut().insert("authorization", value);
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
    place.stop().await;

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
