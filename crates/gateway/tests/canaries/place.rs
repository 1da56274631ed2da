//! A gateway with a secret in every place that has one, and all that can be asked of it.

use std::fmt::Write as _;

use bailian_gateway::Config;
use bailian_sim::{RunningSimulator, SimConfig, Simulator};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::outside::{Log, collector, mirror};
use crate::support::{NATIVE, OPENAI, Running, get, post, send, start, with_key};
use crate::{
    ACCOUNT_KEY, ADMIN_TOKEN, FIXED_KEY, KEEPING_KEY, KEPT, OTHER_ACCOUNT_KEY, PROMPT, WRONG_KEY,
};

pub(crate) struct Place {
    pub(crate) gateway: Running,
    simulator: RunningSimulator,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) told: Log,
    /// All answers, with their headers.
    pub(crate) seen: String,
}

impl Place {
    pub(crate) async fn new() -> Self {
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
        let request = with_key(request, key);
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
    pub(crate) async fn make_key(&mut self) -> (String, String) {
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
    pub(crate) async fn ask_everything(&mut self, key: &str) {
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

    pub(crate) async fn ask_models(&mut self, key: &str, models: &[&str]) {
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
    pub(crate) async fn look_at_everything(&mut self, id: &str) {
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
    pub(crate) async fn say_what_is_kept(&mut self) {
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
}
