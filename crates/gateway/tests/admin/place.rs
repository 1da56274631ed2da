//! A gateway with an operator.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bailian_gateway::{Config, Server};
use bailian_sim::{RunningSimulator, SimConfig, Simulator};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::support::{self, OPENAI, Running, read, send, with, with_key};

pub(crate) const TOKEN: &str = "operator-token-1";

/// A gateway that keeps its data in a folder, with the admin API on a listener of its own.
pub(crate) struct Place {
    _folder: tempfile::TempDir,
    _simulator: RunningSimulator,
    pub(crate) gateway: Running,
    pub(crate) admin: SocketAddr,
}

fn configuration(upstream: &str, folder: &std::path::Path, more: &str) -> Config {
    let text = format!(
        r#"
        listen = "127.0.0.1:0"
        threads = 1
        [timeouts]
        connect = "2s"
        drain = "100ms"
        [[accounts]]
        api_keys = ["sk-canary-upstream-0001"]
        base_url = "{upstream}"
        quota_api = false
        [data]
        folder = "{}"
        [[keys]]
        name = "fixed"
        tenant = "文件"
        key = "a-key-of-the-file"
        [admin]
        token = "{TOKEN}"
        {more}
        "#,
        folder.display()
    );
    Config::parse(&text, "test", &|_: &str| None).unwrap()
}

impl Place {
    pub(crate) async fn new(simulated: Value) -> Self {
        let simulated: SimConfig = serde_json::from_value(simulated).unwrap();
        let simulator = Simulator::new(simulated).spawn().await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let more = "listen = \"127.0.0.1:0\"\nhosts = [\"gateway.internal\"]";
        let config = configuration(&simulator.base_url(), folder.path(), more);
        let server = Server::bind(config).unwrap();
        let admin = server.admin_addr().unwrap();
        Self {
            _folder: folder,
            _simulator: simulator,
            admin,
            gateway: support::run(server),
        }
    }

    /// Asks the admin API as the operator.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Value,
    ) -> (StatusCode, HeaderMap, Value) {
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let request = request(method, &format!("/admin/v1{path}"), TOKEN, body);
        let (status, headers, text) = read(send(self.admin, request).await).await;
        let value = match text.as_str() {
            "" => Value::Null,
            text => serde_json::from_str(text).unwrap_or_else(|_| panic!("not JSON: {text}")),
        };
        (status, headers, value)
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let (status, _, value) = self.ask(Method::GET, path, Value::Null).await;
        assert_eq!(status, StatusCode::OK, "{path}: {value}");
        value
    }

    pub(crate) async fn made(&self, path: &str, body: Value) -> Value {
        let (status, headers, value) = self.ask(Method::POST, path, body).await;
        assert_eq!(status, StatusCode::CREATED, "{path}: {value}");
        let tag = headers["etag"].to_str().unwrap();
        assert_eq!(tag, format!("\"{}\"", value["revision"]));
        value
    }

    /// Tenant, project and key, each with its settings.
    pub(crate) async fn key(&self, settings: Value) -> Value {
        let tenant = self.made("/tenants", json!({ "name": "研发部" })).await;
        let project = json!({ "name": "客服", "tenant": tenant["id"] });
        let project = self.made("/projects", project).await;
        let mut key = settings;
        key["project"] = project["id"].clone();
        self.made("/keys", key).await
    }

    /// The status of a chat call.
    pub(crate) async fn call(&self, key: &str) -> StatusCode {
        let body = json!({ "model": "qwen-plus", "max_tokens": 20,
            "messages": [{ "role": "user", "content": "你好" }] });
        let request = request(Method::POST, OPENAI, key, body.to_string());
        read(send(self.gateway.address, request).await).await.0
    }

    /// Asks until the answer is as it should be: the ledger's store follows in its own time.
    pub(crate) async fn until(&self, path: &str, condition: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let value = self.get(path).await;
            if condition(&value) {
                return value;
            }
            assert!(Instant::now() < deadline, "{path}: {value}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

pub(crate) fn request(
    method: Method,
    path: &str,
    token: &str,
    body: impl Into<Bytes>,
) -> Request<Full<Bytes>> {
    let request = support::request(method, path, body);
    with(with_key(request, token), "host", "127.0.0.1")
}
