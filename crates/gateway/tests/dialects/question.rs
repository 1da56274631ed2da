//! One question in every dialect, and the gateway that takes it.

use bailian_gateway::Config;
use bailian_sim::{RunningSimulator, SimConfig, Simulator};
use bailian_wire::chat::ChatResponse;
use bailian_wire::stream::{Accumulator, StreamDecoder, StreamSurface};
use bailian_wire::{anthropic, native, openai};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

use crate::support::{KEY, NATIVE, OPENAI, Running, UPSTREAM_KEY, post, send, start, with};

pub(crate) const ANTHROPIC: &str = "/anthropic/v1/messages";

/// A gateway with routes to one simulator, once as the service and once as a plain OpenAI server.
pub(crate) struct Routed {
    _simulator: RunningSimulator,
    gateway: Running,
}

impl Routed {
    pub(crate) async fn new(more: &str) -> Self {
        let simulator = Simulator::new(SimConfig::default()).spawn().await.unwrap();
        let base = simulator.base_url();
        let text = format!(
            r#"
            listen = "127.0.0.1:0"
            threads = 1
            [[accounts]]
            name = "service"
            api_keys = ["{UPSTREAM_KEY}"]
            base_url = "{base}"
            forward_headers = ["x-sim-*"]
            [[accounts]]
            name = "local"
            kind = "openai"
            api_keys = ["sk-local"]
            base_url = "{base}/compatible-mode/v1"
            forward_headers = ["x-sim-*"]
            [[routes]]
            model = "as-openai"
            targets = [{{ account = "service", model = "qwen-plus", dialect = "openai" }}]
            [[routes]]
            model = "as-native"
            targets = [{{ account = "service", model = "qwen-plus", dialect = "native" }}]
            [[routes]]
            model = "as-anthropic"
            targets = [{{ account = "service", model = "qwen-plus", dialect = "anthropic" }}]
            [[routes]]
            model = "thinks-native"
            targets = [{{ account = "service", model = "qwq-plus", dialect = "native" }}]
            [[routes]]
            model = "local"
            targets = [{{ account = "local", model = "qwen-plus" }}]
            [[keys]]
            name = "test"
            key = "{KEY}"
            {more}
            "#
        );
        let config = Config::parse(&text, "test", &|_: &str| None).unwrap();
        Self {
            gateway: start(config),
            _simulator: simulator,
        }
    }

    pub(crate) async fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> http::Response<hyper::body::Incoming> {
        send(self.gateway.address, request).await
    }
}

pub(crate) fn chat(model: &str, members: Value) -> String {
    let mut body = json!({ "model": model, "messages": [{ "role": "user", "content": "杭州天气怎么样😀？" }] });
    body.as_object_mut()
        .unwrap()
        .extend(members.as_object().unwrap().clone());
    body.to_string()
}

pub(crate) fn native_chat(model: &str, parameters: Value) -> String {
    json!({ "model": model, "parameters": parameters,
        "input": { "messages": [{ "role": "user", "content": "杭州天气怎么样😀？" }] } })
    .to_string()
}

/// The same question in each dialect.
pub(crate) fn question(dialect: StreamSurface, model: &str, stream: bool) -> Request<Full<Bytes>> {
    match dialect {
        StreamSurface::Native => {
            let parameters = json!({ "result_format": "message", "incremental_output": true });
            let request = post(NATIVE, native_chat(model, parameters));
            let switch = if stream { "enable" } else { "disable" };
            with(request, "x-dashscope-sse", switch)
        }
        StreamSurface::Anthropic => post(
            ANTHROPIC,
            chat(model, json!({ "max_tokens": 500, "stream": stream })),
        ),
        _ => {
            let mut options = json!({ "stream": stream });
            if stream {
                options["stream_options"] = json!({ "include_usage": true });
            }
            post(OPENAI, chat(model, options))
        }
    }
}

pub(crate) fn decode(dialect: StreamSurface, body: Value) -> ChatResponse {
    match dialect {
        StreamSurface::Native => native::decode_response(body),
        StreamSurface::Anthropic => anthropic::decode_response(body),
        _ => openai::decode_response(body),
    }
}

pub(crate) fn decode_stream(dialect: StreamSurface, text: &str) -> ChatResponse {
    let mut decoder = StreamDecoder::new(dialect);
    decoder.feed(text.as_bytes());
    decoder.finish();
    let mut answer = Accumulator::new();
    while let Some(event) = decoder.next_event() {
        answer.push(event.unwrap_or_else(|error| panic!("{error}: {text}")));
    }
    answer.finish()
}

pub(crate) const DIALECTS: [StreamSurface; 3] = [
    StreamSurface::Native,
    StreamSurface::OpenAiChat,
    StreamSurface::Anthropic,
];
