//! Whose answers are kept, and what a second caller gets.

use bailian_gateway::Config;
use bailian_sim::{RunningSimulator, SimConfig, Simulator};
use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use super::result;
use super::support::{
    KEY, NATIVE, OPENAI, Running, UPSTREAM_KEY, get, openai_body, post, read, send, start, with,
};

const ANTHROPIC: &str = "/anthropic/v1/messages";
const OTHER_KEY: &str = "Bearer sk-bl-test-key-0002";

struct Cached {
    simulator: RunningSimulator,
    gateway: Running,
}

impl Cached {
    /// `cache`: the section; `routes`: more of the file.
    async fn new(cache: &str, routes: &str) -> Self {
        let simulator = Simulator::new(SimConfig::default()).spawn().await.unwrap();
        let text = format!(
            r#"
            listen = "127.0.0.1:0"
            threads = 1
            {cache}
            {routes}
            [[accounts]]
            api_keys = ["{UPSTREAM_KEY}"]
            base_url = "{}"
            forward_headers = ["x-sim-*"]
            [[keys]]
            name = "one"
            key = "{KEY}"
            [[keys]]
            name = "two"
            key = "sk-bl-test-key-0002"
            "#,
            simulator.base_url()
        );
        let config = Config::parse(&text, "test", &|_: &str| None).unwrap();
        Self {
            simulator,
            gateway: start(config),
        }
    }

    async fn ask(&self, request: Request<Full<Bytes>>) -> (StatusCode, HeaderMap, String) {
        read(send(self.gateway.address, request).await).await
    }

    fn asked(&self) -> usize {
        self.simulator.journal().len()
    }
}

const ROUTE_ON: &str = "[[routes]]\nmodel = \"*\"\ntargets = [{}]\ncache = true";

fn question() -> Value {
    json!([{ "role": "user", "content": "杭州天气怎么样😀？" }])
}

/// One question on every surface that is kept, plain and as a stream.
fn questions() -> Vec<(&'static str, Request<Full<Bytes>>)> {
    let native = json!({ "model": "qwen-plus", "input": { "messages": question() },
        "parameters": { "result_format": "message", "incremental_output": true } })
    .to_string();
    let seeing = json!({ "model": "qwen3.5-plus", "input": { "messages":
        [{ "role": "user", "content": [{ "text": "杭州" }] }] } })
    .to_string();
    let chat = |stream: bool| {
        let body = json!({ "model": "qwen-plus", "messages": question(), "stream": stream,
            "max_tokens": 200 });
        body.to_string()
    };
    let texts = json!({ "model": "text-embedding-v4", "input": vec!["你好"; 23] }).to_string();
    let vector = json!({ "model": "text-embedding-v4", "input": "你好" }).to_string();
    let native_vector =
        json!({ "model": "text-embedding-v4", "input": { "texts": ["你好"] } }).to_string();
    let rank = json!({ "model": "qwen3-rerank", "query": "x", "documents": ["x", "y"] });
    let stream = |request| with(request, "x-dashscope-sse", "enable");
    let multimodal = "/api/v1/services/aigc/multimodal-generation/generation";
    let vectors = "/api/v1/services/embeddings/text-embedding/text-embedding";
    vec![
        ("OpenAI", post(OPENAI, chat(false))),
        ("an OpenAI stream", post(OPENAI, chat(true))),
        ("Anthropic", post(ANTHROPIC, chat(false))),
        ("an Anthropic stream", post(ANTHROPIC, chat(true))),
        ("native", post(NATIVE, native.clone())),
        ("a native stream", stream(post(NATIVE, native))),
        ("multimodal", post(multimodal, seeing.clone())),
        ("a multimodal stream", stream(post(multimodal, seeing))),
        ("embeddings", post("/v1/embeddings", vector)),
        (
            "embeddings in several requests",
            post("/v1/embeddings", texts),
        ),
        ("native embeddings", post(vectors, native_vector)),
        ("rerank", post("/v1/rerank", rank.to_string())),
    ]
}

#[tokio::test]
async fn a_second_caller_gets_the_first_ones_answer_byte_for_byte() {
    for (name, request) in questions() {
        let cached = Cached::new("[cache]", "").await;
        let request = with(request, "x-bailian-cache", "on");
        let (status, first, text) = cached.ask(request.clone()).await;
        assert_eq!(
            (status.as_u16(), result(&first)),
            (200, Some("miss")),
            "{name}: {text}"
        );
        let asked = cached.asked();
        let (status, second, again) = cached.ask(request).await;
        assert_eq!(
            (status.as_u16(), result(&second)),
            (200, Some("hit")),
            "{name}"
        );
        assert_eq!(again, text, "{name}");
        assert_eq!(cached.asked(), asked, "{name}");
        assert_eq!(second["content-type"], first["content-type"], "{name}");
        assert!(
            second.contains_key("age") && !first.contains_key("age"),
            "{name}"
        );
        let id = "x-bailian-upstream-request-id";
        assert_eq!(second.get(id), first.get(id), "{name}");
        assert_ne!(second["x-request-id"], first["x-request-id"], "{name}");
    }
}

#[tokio::test]
async fn a_translated_answer_is_kept_as_its_caller_reads_it() {
    for dialect in ["openai", "native", "anthropic"] {
        let route = format!(
            "[[routes]]\nmodel = \"*\"\ntargets = [{{ dialect = \"{dialect}\" }}]\ncache = true"
        );
        for (name, request) in questions().into_iter().take(6) {
            let cached = Cached::new("[cache]", &route).await;
            let (_, first, text) = cached.ask(request.clone()).await;
            let (_, second, again) = cached.ask(request).await;
            assert_eq!(
                result(&second),
                Some("hit"),
                "{name} over {dialect}: {text}"
            );
            assert_eq!(again, text, "{name} over {dialect}");
            let translated = "x-bailian-translated";
            assert_eq!(
                second.get(translated),
                first.get(translated),
                "{name} over {dialect}"
            );
        }
    }
}

#[tokio::test]
async fn streams_and_plain_answers_are_two_things() {
    let cached = Cached::new("[cache]", ROUTE_ON).await;
    let (_, _, _) = cached.ask(post(OPENAI, openai_body(true))).await;
    let (_, headers, text) = cached.ask(post(OPENAI, openai_body(false))).await;
    assert_eq!(result(&headers), Some("miss"));
    assert!(text.starts_with('{'));
    let (_, headers, text) = cached.ask(post(OPENAI, openai_body(true))).await;
    assert_eq!(result(&headers), Some("hit"));
    assert!(text.starts_with("data: {"));
}

#[tokio::test]
async fn the_same_request_in_other_words_finds_the_answer() {
    let cached = Cached::new("[cache]", ROUTE_ON).await;
    let one = r#"{"model":"qwen-plus","messages":[{"role":"user","content":"你好"}],"seed":1}"#;
    let other = "{ \"user\": \"u-7\", \"seed\": 1,\n \"messages\": [{\"content\": \"\\u4f60好\", \
                 \"role\": \"user\"}], \"stream\": false, \"model\": \"qwen-plus\" }";
    let (_, _, text) = cached.ask(post(OPENAI, one)).await;
    let path = "/compatible-mode/v1/chat/completions";
    let (_, headers, again) = cached.ask(post(path, other)).await;
    assert_eq!((result(&headers), again), (Some("hit"), text));
    let twice = one.replacen("\"seed\":1", "\"seed\":1,\"top_p\":0.1,\"top_p\":0.9", 1);
    for _ in 0..2 {
        let (_, headers, _) = cached.ask(post(OPENAI, twice.clone())).await;
        assert_eq!(result(&headers), None, "readers disagree on what it means");
    }
}

#[tokio::test]
async fn tenants_never_get_each_others_answers_unless_that_is_configured() {
    for (cache, expected, requests) in
        [("[cache]", "miss", 2), ("[cache]\nshared = true", "hit", 1)]
    {
        let cached = Cached::new(cache, ROUTE_ON).await;
        let request = post(OPENAI, openai_body(false));
        cached.ask(request.clone()).await;
        let other = with(request, "authorization", OTHER_KEY);
        let (_, headers, _) = cached.ask(other).await;
        assert_eq!(result(&headers), Some(expected), "{cache}");
        assert_eq!(cached.asked(), requests, "{cache}");
    }
}

#[tokio::test]
async fn nothing_is_kept_for_who_did_not_ask_for_it() {
    const ROUTE_OFF: &str = "[[routes]]\nmodel = \"*\"\ntargets = [{}]\ncache = false";
    for (cache, route, header) in [
        ("", "", ("x-bailian-cache", "on")),
        ("[cache]", "", ("accept", "*/*")),
        ("[cache]", ROUTE_OFF, ("x-bailian-cache", "on")),
        ("[cache]", ROUTE_ON, ("x-bailian-cache", "off")),
        ("[cache]", ROUTE_ON, ("cache-control", "no-store")),
        ("[cache]", ROUTE_ON, ("cache-control", "no-cache")),
    ] {
        let cached = Cached::new(cache, route).await;
        for _ in 0..2 {
            let request = with(post(OPENAI, openai_body(false)), header.0, header.1);
            let (status, headers, _) = cached.ask(request).await;
            assert_eq!(
                (status.as_u16(), result(&headers)),
                (200, None),
                "{cache} {header:?}"
            );
        }
        assert_eq!(cached.asked(), 2, "{cache} {route} {header:?}");
    }
}

#[tokio::test]
async fn a_refresh_brings_a_new_answer_for_all() {
    let cached = Cached::new("[cache]", ROUTE_ON).await;
    let request = post(OPENAI, openai_body(false));
    let (_, _, old) = cached.ask(request.clone()).await;
    let refresh = with(request.clone(), "x-bailian-cache", "refresh");
    let (_, headers, new) = cached.ask(refresh).await;
    assert_eq!(result(&headers), Some("miss"));
    // Each answer of the simulator has an id of its own.
    assert_ne!(old, new);
    let (_, headers, text) = cached.ask(request).await;
    assert_eq!((result(&headers), text), (Some("hit"), new));
}

#[tokio::test]
async fn what_remembers_earlier_calls_is_never_kept() {
    let cached = Cached::new("[cache]", ROUTE_ON).await;
    let response = json!({ "model": "qwen-plus", "input": "你好" }).to_string();
    let app = json!({ "input": { "prompt": "你好" } }).to_string();
    for (path, body) in [
        ("/v1/responses", response),
        ("/api/v1/apps/app1/completion", app),
    ] {
        let before = cached.asked();
        for _ in 0..2 {
            let request = with(post(path, body.clone()), "x-bailian-cache", "on");
            let (status, headers, text) = cached.ask(request).await;
            assert_eq!(
                (status.as_u16(), result(&headers)),
                (200, None),
                "{path}: {text}"
            );
        }
        assert_eq!(cached.asked(), before + 2, "{path}");
    }
}

#[tokio::test]
async fn only_complete_answers_are_kept() {
    for (stream, fault) in [
        (false, "status=500"),
        (false, "status=400"),
        (false, "code-in-200=InternalError"),
        (false, "cut-after-bytes=60"),
        (false, "malformed=1"),
        (true, "status=429"),
        (true, "error-frame=3"),
        (true, "truncate=3"),
        (true, "cut-after-bytes=900"),
    ] {
        for path in [OPENAI, NATIVE, ANTHROPIC] {
            let cached = Cached::new("[cache]", ROUTE_ON).await;
            let (_, mut request) = questions()
                .into_iter()
                .filter(|(_, request)| request.uri().path() == path)
                .nth(usize::from(stream))
                .unwrap();
            request
                .headers_mut()
                .insert("x-sim-fault", fault.parse().unwrap());
            let tokens = "40".parse().unwrap();
            request.headers_mut().insert("x-sim-tokens", tokens);
            let (_, first, _) = cached.ask(request.clone()).await;
            let asked = cached.asked();
            let (_, second, _) = cached.ask(request).await;
            let results = (result(&first), result(&second));
            assert_eq!(results, (Some("miss"), Some("miss")), "{path} {fault}");
            assert!(cached.asked() > asked, "{path} {fault}");
        }
    }
}

#[tokio::test]
async fn of_fifty_equal_requests_at_the_same_time_one_is_sent() {
    for stream in [false, true] {
        let cached = Cached::new("[cache]", ROUTE_ON).await;
        let request = with(post(OPENAI, openai_body(stream)), "x-sim-ttft-ms", "200");
        let answers = join_all((0..50).map(|_| cached.ask(request.clone()))).await;
        let (_, _, text) = &answers[0];
        for (status, headers, other) in &answers {
            assert_eq!((status.as_u16(), other), (200, text));
            assert!(result(headers).is_some());
        }
        let of = |name: &str| {
            let all = answers.iter();
            all.filter(|answer| result(&answer.1) == Some(name)).count()
        };
        assert_eq!((of("miss"), cached.asked()), (1, 1));
        assert!(of("wait") > 0);
    }
}

#[tokio::test]
async fn when_upstream_fails_each_of_fifty_hears_it() {
    for (fault, status) in [("status=400", 400), ("status=500", 500)] {
        let cached = Cached::new("[cache]", ROUTE_ON).await;
        let mut request = with(post(OPENAI, openai_body(false)), "x-sim-ttft-ms", "50");
        let fault = fault.parse().unwrap();
        request.headers_mut().insert("x-sim-fault", fault);
        for (got, headers, text) in join_all((0..50).map(|_| cached.ask(request.clone()))).await {
            assert_eq!((got.as_u16(), result(&headers)), (status, Some("miss")));
            assert!(text.contains("\"error\""), "{text}");
            assert_eq!(headers["x-bailian-error-source"], "upstream");
        }
        assert_eq!(cached.asked(), 50);
    }
}

#[tokio::test]
async fn what_was_paid_for_once_is_counted_once() {
    let cached = Cached::new("[cache]", ROUTE_ON).await;
    for _ in 0..3 {
        cached.ask(post(OPENAI, openai_body(true))).await;
    }
    let output = cached.simulator.journal()[0].output_tokens;
    let (_, _, metrics) = cached.ask(get("/metrics")).await;
    for line in [
        format!("bailian_tokens_total{{dialect=\"openai\",kind=\"output\"}} {output}\n"),
        "bailian_cache_total{result=\"hit\"} 2\n".to_owned(),
        "bailian_cache_total{result=\"miss\"} 1\n".to_owned(),
        "bailian_cache_entries 1\n".to_owned(),
        "bailian_requests_total{dialect=\"openai\",outcome=\"completed\"} 3\n".to_owned(),
    ] {
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
}
