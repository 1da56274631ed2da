//! Every dialect in, every dialect out: relayed where both are the same, translated else.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "a test may stop at what it did not expect; JSON reads best where it is passed"
)]

mod support;

use bailian_gateway::Config;
use bailian_sim::{RunningSimulator, SimConfig, Simulator};
use bailian_wire::chat::ChatResponse;
use bailian_wire::stream::{Accumulator, StreamDecoder, StreamSurface};
use bailian_wire::{anthropic, native, openai};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};
use support::{
    KEY, NATIVE, OPENAI, Pair, Running, UPSTREAM_KEY, get, post, read, read_json, send, start, with,
};

const ANTHROPIC: &str = "/anthropic/v1/messages";
const MULTIMODAL: &str = "/api/v1/services/aigc/multimodal-generation/generation";

/// A gateway with routes to one simulator, once as the service and once as a plain OpenAI server.
struct Routed {
    _simulator: RunningSimulator,
    gateway: Running,
}

impl Routed {
    async fn new(more: &str) -> Self {
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

    async fn send(&self, request: Request<Full<Bytes>>) -> http::Response<hyper::body::Incoming> {
        send(self.gateway.address, request).await
    }
}

fn chat(model: &str, members: Value) -> String {
    let mut body = json!({ "model": model, "messages": [{ "role": "user", "content": "杭州天气怎么样😀？" }] });
    body.as_object_mut()
        .unwrap()
        .extend(members.as_object().unwrap().clone());
    body.to_string()
}

fn native_chat(model: &str, parameters: Value) -> String {
    json!({ "model": model, "parameters": parameters,
        "input": { "messages": [{ "role": "user", "content": "杭州天气怎么样😀？" }] } })
    .to_string()
}

/// The same question in each dialect.
fn question(dialect: StreamSurface, model: &str, stream: bool) -> Request<Full<Bytes>> {
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

fn decode(dialect: StreamSurface, body: Value) -> ChatResponse {
    match dialect {
        StreamSurface::Native => native::decode_response(body),
        StreamSurface::Anthropic => anthropic::decode_response(body),
        _ => openai::decode_response(body),
    }
}

fn decode_stream(dialect: StreamSurface, text: &str) -> ChatResponse {
    let mut decoder = StreamDecoder::new(dialect);
    decoder.feed(text.as_bytes());
    decoder.finish();
    let mut answer = Accumulator::new();
    while let Some(event) = decoder.next_event() {
        answer.push(event.unwrap_or_else(|error| panic!("{error}: {text}")));
    }
    answer.finish()
}

const DIALECTS: [StreamSurface; 3] = [
    StreamSurface::Native,
    StreamSurface::OpenAiChat,
    StreamSurface::Anthropic,
];

#[tokio::test]
async fn every_dialect_gets_the_same_answer_through_every_other() {
    let routed = Routed::new("").await;
    for dialect in DIALECTS {
        let relayed = routed.send(question(dialect, "qwen-plus", false)).await;
        let (_, headers, body) = read_json(relayed).await;
        assert!(headers.get("x-bailian-translated").is_none());
        let expected = decode(dialect, body);
        assert!(!expected.text().is_empty(), "{dialect:?}: {expected:?}");
        for model in ["as-openai", "as-native", "as-anthropic", "local"] {
            let (status, _, body) =
                read_json(routed.send(question(dialect, model, false)).await).await;
            assert_eq!(status, 200, "{dialect:?} {model}: {body}");
            let whole = decode(dialect, body);
            let (status, headers, text) =
                read(routed.send(question(dialect, model, true)).await).await;
            assert_eq!(status, 200, "{dialect:?} {model}: {text}");
            assert!(
                headers["content-type"]
                    .to_str()
                    .unwrap()
                    .starts_with("text/event-stream")
            );
            let streamed = decode_stream(dialect, &text);
            for answer in [whole, streamed] {
                let place = format!("{dialect:?} {model}");
                assert_eq!(answer.text(), expected.text(), "{place}");
                assert_eq!(answer.finish_reason(), expected.finish_reason(), "{place}");
                let usage = |answer: &ChatResponse| {
                    let usage = answer.usage.as_ref().unwrap();
                    (usage.input_tokens, usage.output_tokens)
                };
                assert_eq!(usage(&answer), usage(&expected), "{place}");
            }
        }
    }
}

#[tokio::test]
async fn tools_are_called_in_every_dialect_through_every_other() {
    let routed = Routed::new("").await;
    let schema = json!({ "type": "object", "properties": { "city": { "type": "string" } }, "required": ["city"] });
    let function = json!([{ "type": "function", "function": { "name": "weather", "description": "查询天气", "parameters": schema } }]);
    let request = |dialect: StreamSurface, model: &str, stream: bool| match dialect {
        StreamSurface::Native => {
            let parameters = json!({ "result_format": "message", "incremental_output": true, "tools": function });
            let request = post(NATIVE, native_chat(model, parameters));
            with(
                request,
                "x-dashscope-sse",
                if stream { "enable" } else { "disable" },
            )
        }
        StreamSurface::Anthropic => {
            let tools =
                json!([{ "name": "weather", "description": "查询天气", "input_schema": schema }]);
            post(
                ANTHROPIC,
                chat(
                    model,
                    json!({ "max_tokens": 500, "stream": stream, "tools": tools }),
                ),
            )
        }
        _ => post(
            OPENAI,
            chat(model, json!({ "stream": stream, "tools": function })),
        ),
    };
    for dialect in DIALECTS {
        for model in [
            "qwen-plus",
            "as-openai",
            "as-native",
            "as-anthropic",
            "local",
        ] {
            let (status, _, body) =
                read_json(routed.send(request(dialect, model, false)).await).await;
            assert_eq!(status, 200, "{dialect:?} {model}: {body}");
            let whole = decode(dialect, body);
            let (_, _, text) = read(routed.send(request(dialect, model, true)).await).await;
            let streamed = decode_stream(dialect, &text);
            for answer in [whole, streamed] {
                let [call] = answer.tool_calls() else {
                    panic!("{dialect:?} {model}: {answer:?}");
                };
                assert_eq!(call.function.name, "weather");
                assert!(call.arguments().unwrap()["city"].is_string(), "{call:?}");
                assert!(call.id.starts_with("call_"), "{call:?}");
                let reason = answer.finish_reason().unwrap().as_str();
                assert_eq!(reason, "tool_calls", "{dialect:?} {model}");
            }
        }
    }
}

#[tokio::test]
async fn thinking_passes_between_dialects() {
    let routed = Routed::new("").await;
    let question = chat(
        "thinks-native",
        json!({ "max_tokens": 2000,
        "thinking": { "type": "enabled", "budget_tokens": 50 } }),
    );
    let (status, _, body) = read_json(routed.send(post(ANTHROPIC, question)).await).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["content"][0]["type"], "thinking");
    assert_eq!(body["content"][1]["type"], "text");
    let streamed = chat("thinks-native", json!({ "stream": true }));
    let (_, _, text) = read(routed.send(post(OPENAI, streamed)).await).await;
    let answer = decode_stream(StreamSurface::OpenAiChat, &text);
    assert!(
        !answer.reasoning().is_empty() && !answer.text().is_empty(),
        "{text}"
    );
}

#[tokio::test]
async fn an_anthropic_client_changes_only_host_and_key() {
    let pair = Pair::new().await;
    for path in [ANTHROPIC, "/apps/anthropic/v1/messages"] {
        let body = chat("qwen-plus", json!({ "max_tokens": 300, "stream": true }));
        let mut request = post(path, body.clone());
        request.headers_mut().remove("authorization");
        let request = with(
            with(request, "x-api-key", KEY),
            "anthropic-version",
            "2026-10-21",
        );
        let (status, _, text) = read(pair.send(request).await).await;
        assert_eq!(status, 200, "{text}");
        assert!(text.starts_with("event: message_start\ndata: {"), "{text}");
        assert!(text.contains("event: ping\n") && text.contains("event: message_stop\n"));
        let entry = pair
            .journal_until(|entry| entry.bytes_sent == text.len() as u64)
            .await;
        assert_eq!(entry.path, "/apps/anthropic/v1/messages");
        let wrong = with(post(path, body), "authorization", "Bearer sk-wrong-key");
        let (status, _, body) = read_json(pair.send(wrong).await).await;
        assert_eq!(
            (status.as_u16(), &body["error"]["type"]),
            (403, &"authentication_error".into())
        );
    }
    let (status, _, body) = read_json(pair.send(get("/anthropic/v1/models")).await).await;
    assert_eq!(
        (status.as_u16(), &body["data"][0]["type"]),
        (200, &"model".into())
    );
    let counted = post(
        "/anthropic/v1/messages/count_tokens",
        chat("qwen-plus", json!({})),
    );
    let (status, _, body) = read_json(pair.send(counted).await).await;
    assert_eq!(status, 200);
    assert!(
        (5..40).contains(&body["input_tokens"].as_u64().unwrap()),
        "{body}"
    );
}

#[tokio::test]
async fn what_a_dialect_cannot_say_is_refused_or_dropped_as_configured() {
    let two = chat("as-anthropic", json!({ "n": 2, "seed": 7 }));
    let strict = Routed::new("").await;
    let (status, headers, body) = read_json(strict.send(post(OPENAI, two.clone())).await).await;
    assert_eq!(
        (status.as_u16(), &headers["x-bailian-error-source"]),
        (400, &"gateway".parse().unwrap())
    );
    let message = body["error"]["message"].as_str().unwrap();
    assert!(
        message.contains(": n.") && !message.contains("seed"),
        "{message}"
    );
    let lenient = Routed::new("[repairs]\nunsupported = \"drop\"").await;
    let (status, headers, _) = read(lenient.send(post(OPENAI, two)).await).await;
    assert_eq!(
        (status.as_u16(), &headers["x-bailian-dropped"]),
        (200, &"n, seed".parse().unwrap())
    );
    assert_eq!(headers["x-bailian-translated"], "anthropic>openai");
}

#[tokio::test]
async fn a_server_that_speaks_openai_only_serves_responses_too() {
    let routed = Routed::new("").await;
    let body = json!({ "model": "local", "input": "你好", "instructions": "简短" });
    let (status, _, answer) =
        read_json(routed.send(post("/v1/responses", body.to_string())).await).await;
    assert_eq!(
        (status.as_u16(), &answer["object"]),
        (200, &"response".into()),
        "{answer}"
    );
    assert_eq!(answer["output"][0]["content"][0]["type"], "output_text");
    let mut body = body;
    body["stream"] = true.into();
    let (_, _, text) = read(routed.send(post("/v1/responses", body.to_string())).await).await;
    assert!(text.starts_with("event: response.created\n"), "{text}");
    let streamed = decode_stream(StreamSurface::Responses, &text);
    assert_eq!(
        streamed.text(),
        answer["output"][0]["content"][0]["text"].as_str().unwrap()
    );
    let native = post(
        "/api/v1/services/embeddings/text-embedding/text-embedding",
        json!({ "model": "local" }).to_string(),
    );
    let (status, _, body) = read_json(routed.send(native).await).await;
    assert_eq!(
        (status.as_u16(), &body["code"]),
        (400, &"InvalidParameter".into())
    );
}

#[tokio::test]
async fn responses_over_chat_are_remembered_for_the_tenant_that_asked() {
    let routed = Routed::new("").await;
    let ask = |body: Value| routed.send(post("/v1/responses", body.to_string()));
    let first = json!({ "model": "local", "input": "我叫小明。" });
    let (_, _, first) = read_json(ask(first).await).await;
    let follow = |id: &Value, stream: bool| json!({ "model": "local", "input": "我叫什么？", "previous_response_id": id, "stream": stream });
    let (status, _, second) = read_json(ask(follow(&first["id"], false)).await).await;
    assert_eq!(status, 200, "{second}");
    // The model got the whole conversation.
    assert!(
        second["usage"]["input_tokens"].as_u64() > first["usage"]["input_tokens"].as_u64(),
        "{second}"
    );
    let (_, _, stream) = read(ask(follow(&second["id"], true)).await).await;
    let third = stream
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .filter_map(|data| serde_json::from_str::<Value>(data).ok())
        .find(|event| event["type"] == "response.completed")
        .unwrap();
    let id = third["response"]["id"].as_str().unwrap();
    let (_, _, kept) = read_json(routed.send(get(&format!("/v1/responses/{id}"))).await).await;
    assert_eq!(kept, third["response"]);
    let items = get(&format!("/v1/responses/{id}/input_items?order=asc"));
    let (_, _, items) = read_json(routed.send(items).await).await;
    assert_eq!(items["data"].as_array().unwrap().len(), 5, "{items}");
    assert_eq!(items["data"][0]["content"], "我叫小明。");
    let unknown = json!({ "model": "local", "input": "hi", "previous_response_id": "resp_1" });
    let (status, _, error) = read_json(ask(unknown).await).await;
    assert_eq!(status, 404);
    assert!(
        error["error"]["message"]
            .as_str()
            .unwrap()
            .contains("resp_1")
    );
    let unkept = json!({ "model": "local", "input": "hi", "store": false });
    let (_, _, unkept) = read_json(ask(unkept).await).await;
    let (status, _, _) = read_json(ask(follow(&unkept["id"], false)).await).await;
    assert_eq!(status, 404);
    let talk = json!({ "model": "local", "input": "hi", "conversation": "conv_1" });
    let (status, _, error) = read_json(ask(talk).await).await;
    assert_eq!(status, 404, "nobody made it: {error}");
}

#[tokio::test]
async fn a_call_at_once_to_a_model_that_only_streams_is_made_as_a_stream() {
    let pair = Pair::new().await;
    let body = chat("qwq-plus", json!({}));
    let (status, _, answer) = read_json(pair.send(post(OPENAI, body)).await).await;
    assert_eq!(
        (status.as_u16(), &answer["object"]),
        (200, &"chat.completion".into()),
        "{answer}"
    );
    assert!(answer["choices"][0]["message"]["reasoning_content"].is_string());
    assert!(answer["usage"]["completion_tokens"].as_u64().unwrap() > 0);
    assert!(pair.journal_until(|_| true).await.stream);
    let native = post(
        NATIVE,
        native_chat("qwq-plus", json!({ "result_format": "message" })),
    );
    let (status, _, answer) = read_json(pair.send(native).await).await;
    assert_eq!(
        (
            status.as_u16(),
            &answer["output"]["choices"][0]["finish_reason"]
        ),
        (200, &"stop".into()),
        "{answer}"
    );
}

#[tokio::test]
async fn usage_is_asked_for_and_kept_from_a_client_that_did_not_ask() {
    let pair = Pair::new().await;
    for options in [
        json!({ "stream": true }),
        json!({ "stream": true, "stream_options": { "include_usage": false } }),
    ] {
        let (_, _, text) = read(pair.send(post(OPENAI, chat("qwen-plus", options))).await).await;
        assert!(
            !text.contains("\"usage\":{") && text.ends_with("data: [DONE]\n\n"),
            "{text}"
        );
    }
    let asked = json!({ "stream": true, "stream_options": { "include_usage": true } });
    let (_, _, text) = read(pair.send(post(OPENAI, chat("qwen-plus", asked))).await).await;
    assert!(text.contains("\"usage\":{"), "{text}");
    let (_, _, metrics) = read(pair.send(get("/metrics")).await).await;
    let counted: u64 = pair
        .simulator
        .journal()
        .iter()
        .map(|entry| entry.output_tokens)
        .sum();
    let line = format!("bailian_tokens_total{{dialect=\"openai\",kind=\"output\"}} {counted}");
    assert!(metrics.contains(&line), "{metrics}");
}

#[tokio::test]
async fn developers_and_extra_bodies_are_understood() {
    let pair = Pair::new().await;
    let body = json!({ "model": "qwen-plus", "extra_body": { "enable_thinking": true },
        "stream": true, "messages": [{ "role": "developer", "content": "简短" }, { "role": "user", "content": "你好" }] });
    let (status, _, text) = read(pair.send(post(OPENAI, body.to_string())).await).await;
    assert_eq!(status, 200, "{text}");
    assert!(text.contains("\"reasoning_content\":\""), "{text}");
}

#[tokio::test]
async fn a_native_call_finds_the_path_of_its_model() {
    let pair = Pair::new().await;
    let on_text_path = post(
        NATIVE,
        native_chat("qwen-vl-max", json!({ "result_format": "message" })),
    );
    let (status, _, body) = read_json(pair.send(on_text_path).await).await;
    assert_eq!(status, 200, "{body}");
    assert!(
        body["output"]["choices"][0]["message"]["content"].is_string(),
        "{body}"
    );
    let parts = json!({ "model": "qwen-plus", "input": { "messages": [{ "role": "user", "content": [{ "text": "你好" }] }] } });
    let (status, _, body) = read_json(pair.send(post(MULTIMODAL, parts.to_string())).await).await;
    assert_eq!(status, 200, "{body}");
    assert!(
        body["output"]["choices"][0]["message"]["content"][0]["text"].is_string(),
        "{body}"
    );
    let picture = json!({ "model": "qwen-vl-max", "input": { "messages": [{ "role": "user", "content": [
        { "image": "https://e/a.png" }, { "text": "这是什么？" }] }] } });
    let (status, _, body) = read_json(pair.send(post(MULTIMODAL, picture.to_string())).await).await;
    assert_eq!(status, 200, "{body}");
}

#[tokio::test]
async fn a_translation_model_that_repeats_itself_streams_increments() {
    let pair = Pair::new().await;
    let body = chat(
        "qwen-mt-plus",
        json!({ "stream": true,
        "translation_options": { "source_lang": "auto", "target_lang": "English" } }),
    );
    let (_, _, text) = read(pair.send(post(OPENAI, body.clone())).await).await;
    let pieces: Vec<String> = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok())
        .filter_map(|chunk| Some(chunk["choices"][0]["delta"]["content"].as_str()?.to_owned()))
        .collect();
    let whole = body.replace("\"stream\":true", "\"stream\":false");
    let (_, _, answer) = read_json(pair.send(post(OPENAI, whole)).await).await;
    assert_eq!(
        pieces.concat(),
        answer["choices"][0]["message"]["content"].as_str().unwrap()
    );
    assert!(pieces.len() > 2);
}

#[tokio::test]
async fn figures_are_passed_on_under_every_name() {
    let pair = Pair::new().await;
    let embed = json!({ "model": "text-embedding-v4", "input": ["你好", "hello"] }).to_string();
    for path in ["/v1/embeddings", "/compatible-mode/v1/embeddings"] {
        let (status, _, body) = read_json(pair.send(post(path, embed.clone())).await).await;
        assert_eq!(
            (status.as_u16(), body["data"].as_array().map(Vec::len)),
            (200, Some(2)),
            "{body}"
        );
    }
    let native = json!({ "model": "text-embedding-v3", "input": { "texts": ["你好"] } });
    let path = "/api/v1/services/embeddings/text-embedding/text-embedding";
    let (status, _, body) = read_json(pair.send(post(path, native.to_string())).await).await;
    assert_eq!(
        (
            status.as_u16(),
            &body["output"]["embeddings"][0]["text_index"]
        ),
        (200, &0.into())
    );
    let flat = json!({ "model": "qwen3-rerank", "query": "文本排序", "documents": ["量子计算", "文本排序模型"] });
    for path in ["/v1/rerank", "/v1/reranks", "/compatible-api/v1/reranks"] {
        let (status, _, body) = read_json(pair.send(post(path, flat.to_string())).await).await;
        assert_eq!(
            (status.as_u16(), &body["results"][0]["index"]),
            (200, &1.into()),
            "{body}"
        );
    }
    let native =
        json!({ "model": "gte-rerank-v2", "input": { "query": "文本排序", "documents": ["a"] } });
    let path = "/api/v1/services/rerank/text-rerank/text-rerank";
    let (status, _, body) = read_json(pair.send(post(path, native.to_string())).await).await;
    assert_eq!(
        (status.as_u16(), body["output"]["results"].is_array()),
        (200, true)
    );
    let wrong = json!({ "model": "nothing", "query": "q", "documents": ["a"] });
    let (status, _, body) = read_json(pair.send(post("/v1/rerank", wrong.to_string())).await).await;
    assert_eq!(
        (status.as_u16(), body["code"].is_string()),
        (404, true),
        "{body}"
    );
}

#[tokio::test]
async fn a_path_that_a_caller_chooses_leads_nowhere_else() {
    let pair = Pair::new().await;
    let before = pair.simulator.journal().len();
    for path in [
        "/api/v1/services/../../compatible-mode/v1/models",
        "/api/v1/services/%2e%2e/x",
        "/v1/responses/..%2f..%2fmodels",
        "/api/v1/apps/a%2fb/completion",
    ] {
        let response = pair.send(post(path, chat("qwen-plus", json!({})))).await;
        assert!(response.status().is_client_error(), "{path}");
    }
    let task = with(
        post(
            "/api/v1/services/aigc/text2image/image-synthesis",
            chat("m", json!({})),
        ),
        "x-dashscope-async",
        "enable",
    );
    assert_eq!(pair.send(task).await.status(), 400);
    assert_eq!(pair.simulator.journal().len(), before);
}

#[tokio::test]
async fn responses_conversations_completions_and_applications_are_passed_on() {
    let pair = Pair::new().await;
    let body = json!({ "model": "qwen-plus", "input": "你好" });
    let (status, _, first) =
        read_json(pair.send(post("/v1/responses", body.to_string())).await).await;
    assert_eq!(
        (status.as_u16(), &first["object"]),
        (200, &"response".into()),
        "{first}"
    );
    let id = first["id"].as_str().unwrap();
    let (status, _, again) = read_json(pair.send(get(&format!("/v1/responses/{id}"))).await).await;
    assert_eq!((status.as_u16(), &again), (200, &first));
    let (status, _, _) = read(
        pair.send(get(&format!(
            "/compatible-mode/v1/responses/{id}/input_items"
        )))
        .await,
    )
    .await;
    assert_eq!(status, 200);
    let (status, _, error) = read_json(pair.send(get("/v1/responses/resp_none")).await).await;
    assert_eq!(
        (status.as_u16(), error["error"]["message"].is_string()),
        (404, true)
    );
    let streamed = json!({ "model": "qwen-plus", "input": "你好", "stream": true });
    let (_, _, text) = read(pair.send(post("/v1/responses", streamed.to_string())).await).await;
    let answer = decode_stream(StreamSurface::Responses, &text);
    assert_eq!(
        answer.text(),
        first["output"][0]["content"][0]["text"].as_str().unwrap()
    );
    let (status, _, made) = read_json(pair.send(post("/v1/conversations", "{}")).await).await;
    assert_eq!(
        (status.as_u16(), &made["object"]),
        (200, &"conversation".into()),
        "{made}"
    );
    let path = format!("/v1/conversations/{}/items", made["id"].as_str().unwrap());
    assert_eq!(pair.send(get(&path)).await.status(), 200);
    let code = json!({ "model": "qwen-coder-turbo", "prompt": "<|fim_prefix|>a<|fim_suffix|>" });
    let (status, _, made) =
        read_json(pair.send(post("/v1/completions", code.to_string())).await).await;
    assert_eq!(
        (status.as_u16(), &made["object"]),
        (200, &"text_completion".into()),
        "{made}"
    );
    let app = json!({ "input": { "prompt": "你好" }, "parameters": {}, "debug": {} });
    let path = "/api/v1/apps/app-7/completion";
    let (status, _, said) = read_json(pair.send(post(path, app.to_string())).await).await;
    assert_eq!(
        (status.as_u16(), said["output"]["text"].is_string()),
        (200, true),
        "{said}"
    );
    let streamed = with(post(path, app.to_string()), "x-dashscope-sse", "enable");
    let (_, _, text) = read(pair.send(streamed).await).await;
    assert!(
        text.contains("\"finish_reason\":\"stop\"") && !text.contains("event:error"),
        "{text}"
    );
    for request in [
        post("/v1/responses", body.to_string()),
        get("/v1/responses/x"),
        post("/v1/conversations", "{}"),
    ] {
        let unknown = with(request, "authorization", "Bearer sk-nobodys-key");
        assert_eq!(pair.send(unknown).await.status(), 401);
    }
}
