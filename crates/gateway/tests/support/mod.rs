//! A gateway in front of a simulator, and a plain HTTP client.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its part of this module"
)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Router;
use bailian_gateway::{Config, Server};
use bailian_sim::{JournalEntry, RunningSimulator, SimConfig, Simulator};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub const KEY: &str = "sk-bl-test-key-0001";
pub const UPSTREAM_KEY: &str = "sk-canary-upstream-0001";
pub const OPENAI: &str = "/v1/chat/completions";
pub const NATIVE: &str = "/api/v1/services/aigc/text-generation/generation";

/// A gateway on a free port.
pub struct Running {
    pub address: SocketAddr,
    pub stop: Option<oneshot::Sender<()>>,
    pub task: JoinHandle<()>,
}

impl Running {
    /// Ends the gateway, which sends and writes what is left.
    pub async fn end(self) {
        drop(self.stop);
        self.task.await.unwrap();
    }
}

/// Gateway and simulator.
pub struct Pair {
    pub simulator: RunningSimulator,
    pub gateway: Running,
}

pub fn config(base_url: &str, upstream_key: &str) -> Config {
    let text = format!(
        r#"
        listen = "127.0.0.1:0"
        threads = 1
        [timeouts]
        connect = "2s"
        [limits]
        max_body_bytes = 1000000
        [[accounts]]
        api_keys = ["{upstream_key}"]
        base_url = "{base_url}"
        forward_headers = ["x-sim-*"]
        [[keys]]
        name = "test"
        key = "{KEY}"
        "#
    );
    Config::parse(&text, "test", &|_: &str| None).unwrap()
}

pub fn start(config: Config) -> Running {
    run(Server::bind(config).unwrap())
}

pub fn run(server: Server) -> Running {
    let address = server.local_addr();
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(async move {
        server.run(async { drop(stopped.await) }).await.unwrap();
    });
    Running {
        address,
        stop: Some(stop),
        task,
    }
}

impl Pair {
    pub async fn new() -> Self {
        Self::with_upstream_key(UPSTREAM_KEY).await
    }

    pub async fn with_upstream_key(key: &str) -> Self {
        let simulator = Simulator::new(SimConfig::default()).spawn().await.unwrap();
        let gateway = start(config(&simulator.base_url(), key));
        Self { simulator, gateway }
    }

    pub async fn send(&self, request: Request<Full<Bytes>>) -> http::Response<Incoming> {
        send(self.gateway.address, request).await
    }

    /// Waits until the journal's last entry fulfils `condition`.
    pub async fn journal_until(&self, condition: impl Fn(&JournalEntry) -> bool) -> JournalEntry {
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            if let Some(entry) = self.simulator.journal().pop()
                && condition(&entry)
            {
                return entry;
            }
            assert!(
                Instant::now() < deadline,
                "journal: {:?}",
                self.simulator.journal()
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// Sends on a connection of its own; dropping the response closes it.
pub async fn send(address: SocketAddr, request: Request<Full<Bytes>>) -> http::Response<Incoming> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender.send_request(request).await.unwrap()
}

pub fn post(path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    request(Method::POST, path, body)
}

pub fn get(path: &str) -> Request<Full<Bytes>> {
    request(Method::GET, path, Bytes::new())
}

pub fn request(method: Method, path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", "gateway.test")
        .header("authorization", format!("Bearer {KEY}"))
        .header("content-type", "application/json")
        .body(Full::new(body.into()))
        .unwrap()
}

/// The same request with another key.
pub fn with_key(mut request: Request<Full<Bytes>>, key: &str) -> Request<Full<Bytes>> {
    let value = format!("Bearer {key}").parse().unwrap();
    request.headers_mut().insert("authorization", value);
    request
}

pub fn with(
    mut request: Request<Full<Bytes>>,
    name: &'static str,
    value: &'static str,
) -> Request<Full<Bytes>> {
    request
        .headers_mut()
        .insert(name, http::HeaderValue::from_static(value));
    request
}

/// The same request as HTTP/2 has it.
pub fn over_http2(mut request: Request<Full<Bytes>>) -> Request<Full<Bytes>> {
    let target = format!("http://gateway.test{}", request.uri());
    *request.uri_mut() = target.parse().unwrap();
    *request.version_mut() = http::Version::HTTP_2;
    request.headers_mut().remove("host");
    request
}

pub fn openai_body(stream: bool) -> String {
    json!({
        "model": "qwen-plus",
        "messages": [{ "role": "user", "content": "你好，请介绍一下自己😀" }],
        "stream": stream,
        "an_unknown_member": { "kept": [1, 2, 3] },
    })
    .to_string()
}

pub fn native_body() -> String {
    json!({
        "model": "qwen-plus",
        "input": { "messages": [{ "role": "user", "content": "你好，请介绍一下自己😀" }] },
        "parameters": { "result_format": "message", "incremental_output": true },
    })
    .to_string()
}

pub async fn read(response: http::Response<Incoming>) -> (StatusCode, HeaderMap, String) {
    let (head, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    (
        head.status,
        head.headers,
        String::from_utf8(bytes.to_vec()).unwrap(),
    )
}

pub async fn read_json(response: http::Response<Incoming>) -> (StatusCode, HeaderMap, Value) {
    let (status, headers, text) = read(response).await;
    let value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("not JSON: {text}"));
    (status, headers, value)
}

/// An upstream that a test plays; its address as a URL.
pub async fn serve(app: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}")
}

/// Accounts `a` and `b` behind one name.
pub async fn two_accounts(first: &str) -> (RunningSimulator, Running) {
    let second = Simulator::new(SimConfig::default()).spawn().await.unwrap();
    let text = format!(
        r#"
        listen = "127.0.0.1:0"
        threads = 1
        [timeouts]
        connect = "2s"
        [[accounts]]
        name = "a"
        api_keys = ["{UPSTREAM_KEY}"]
        base_url = "{first}"
        forward_headers = ["x-sim-*"]
        [[accounts]]
        name = "b"
        api_keys = ["{UPSTREAM_KEY}"]
        base_url = "{}"
        forward_headers = ["x-sim-*"]
        [[routes]]
        model = "qwen-*"
        targets = [{{ account = "a" }}]
        fallbacks = [{{ account = "b" }}]
        [[keys]]
        name = "test"
        key = "{KEY}"
        "#,
        second.base_url()
    );
    let config = Config::parse(&text, "test", &|_: &str| None).unwrap();
    (second, start(config))
}

/// Asks a server without a gateway in between; the status and the body as it came.
pub async fn raw_to(base_url: &str, path: &str, body: &Value) -> (u16, String) {
    let address = base_url.trim_start_matches("http://").parse().unwrap();
    let request = with(
        post(path, body.to_string()),
        "authorization",
        "Bearer sk-direct-0001",
    );
    let (status, _, text) = read(send(address, request).await).await;
    (status.as_u16(), text)
}

/// The same for JSON.
pub async fn request_to(base_url: &str, path: &str, body: &Value) -> (u16, Value) {
    let (status, text) = raw_to(base_url, path, body).await;
    (status, serde_json::from_str(&text).unwrap())
}
