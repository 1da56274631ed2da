//! Traces and metrics as a collector receives them, and what callers feel of it: nothing.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::unused_async,
    reason = "a test may stop at what it did not expect; axum's handlers are async"
)]

mod support;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::routing::post as on_post;
use bailian_gateway::Config;
use bailian_sim::{SimConfig, Simulator};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{Metric, metric};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use serde_json::json;
use support::{
    KEY, OPENAI, Running, UPSTREAM_KEY, get, openai_body, post, read, send, start, with,
};

const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// What a collector was sent.
#[derive(Clone, Default)]
struct Collector {
    traces: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
    metrics: Arc<Mutex<Vec<ExportMetricsServiceRequest>>>,
    /// Everything as it came.
    raw: Arc<Mutex<Vec<u8>>>,
}

impl Collector {
    async fn start() -> (Self, String) {
        let collector = Self::default();
        let app = Router::new()
            .route("/v1/traces", on_post(Self::take_traces))
            .route("/v1/metrics", on_post(Self::take_metrics))
            .with_state(collector.clone());
        (collector, serve(app).await)
    }

    async fn take_traces(State(collector): State<Self>, body: Bytes) {
        let request = ExportTraceServiceRequest::decode(body.clone()).unwrap();
        collector.traces.lock().unwrap().push(request);
        collector.raw.lock().unwrap().extend_from_slice(&body);
    }

    async fn take_metrics(State(collector): State<Self>, body: Bytes) {
        let request = ExportMetricsServiceRequest::decode(body.clone()).unwrap();
        collector.metrics.lock().unwrap().push(request);
        collector.raw.lock().unwrap().extend_from_slice(&body);
    }

    fn spans(&self) -> Vec<Span> {
        let traces = self.traces.lock().unwrap();
        let resources = traces.iter().flat_map(|request| &request.resource_spans);
        let scopes = resources.flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }

    fn metric(&self, name: &str) -> Metric {
        let metrics = self.metrics.lock().unwrap();
        let resources = metrics.iter().flat_map(|request| &request.resource_metrics);
        let scopes = resources.flat_map(|resource| &resource.scope_metrics);
        let mut all = scopes.flat_map(|scope| scope.metrics.clone());
        all.find(|metric| metric.name == name)
            .unwrap_or_else(|| panic!("no {name}"))
    }
}

async fn serve(app: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}")
}

/// The value of an attribute as text.
fn value(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    let AnyValue { value } = found.value.clone()?;
    Some(match value? {
        any_value::Value::StringValue(text) => text,
        any_value::Value::IntValue(number) => number.to_string(),
        any_value::Value::BoolValue(yes) => yes.to_string(),
        other => format!("{other:?}"),
    })
}

/// Why the answers ended.
fn reasons(span: &Span) -> Vec<String> {
    let mut attributes = span.attributes.iter();
    let found = attributes.find(|it| it.key == "gen_ai.response.finish_reasons");
    let value = found.and_then(|it| it.value.clone()?.value);
    let Some(any_value::Value::ArrayValue(reasons)) = value else {
        return Vec::new();
    };
    let reasons = reasons.values.into_iter().filter_map(|reason| reason.value);
    reasons
        .map(|reason| match reason {
            any_value::Value::StringValue(reason) => reason,
            other => panic!("{other:?}"),
        })
        .collect()
}

fn config(upstream: &str, telemetry: &str) -> Config {
    let text = format!(
        r#"
        listen = "127.0.0.1:0"
        threads = 1
        [timeouts]
        connect = "2s"
        [[accounts]]
        name = "main"
        api_keys = ["{UPSTREAM_KEY}"]
        base_url = "{upstream}"
        [[keys]]
        name = "test"
        tenant = "团队"
        key = "{KEY}"
        {telemetry}
        "#
    );
    Config::parse(&text, "test", &|_: &str| None).unwrap()
}

/// Ends the gateway, which sends what is left.
async fn stop(mut gateway: Running) {
    drop(gateway.stop.take());
    gateway.task.await.unwrap();
}

fn from_a_stranger() -> http::Request<http_body_util::Full<Bytes>> {
    let request = post(OPENAI, openai_body(false));
    with(request, "authorization", "Bearer sk-bl-nobody-0001")
}

#[tokio::test]
async fn a_request_becomes_a_span_with_its_attempts_and_nothing_of_its_text() {
    let (collector, address) = Collector::start().await;
    let simulator = Simulator::new(SimConfig::default()).spawn().await.unwrap();
    let telemetry = format!("[telemetry]\notlp = \"{address}\"\nservice_name = \"网关\"");
    let gateway = start(config(&simulator.base_url(), &telemetry));
    let request = with(post(OPENAI, openai_body(true)), "traceparent", TRACEPARENT);
    let (status, headers, _) = read(send(gateway.address, request).await).await;
    assert_eq!(status, 200);
    let request_id = headers["x-request-id"].to_str().unwrap().to_owned();
    stop(gateway).await;

    let spans = collector.spans();
    assert_eq!(spans.len(), 2, "{spans:?}");
    let (root, attempt) = (&spans[0], &spans[1]);
    assert_eq!(root.name, "chat qwen-plus");
    for span in [root, attempt] {
        assert_eq!(span.trace_id[..4], [0x4b, 0xf9, 0x2f, 0x35]);
        assert!(span.end_time_unix_nano >= span.start_time_unix_nano);
    }
    let caller = [0, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7];
    assert_eq!(root.parent_span_id, caller);
    assert_eq!(attempt.parent_span_id, root.span_id);
    let of = |key: &str| value(&root.attributes, key);
    for (key, expected) in [
        ("gen_ai.operation.name", "chat"),
        ("gen_ai.provider.name", "dashscope"),
        ("gen_ai.request.model", "qwen-plus"),
        ("gen_ai.response.model", "qwen-plus"),
        ("server.address", "127.0.0.1"),
        ("http.response.status_code", "200"),
        ("bailian.request_id", &request_id),
        ("bailian.key", "test"),
        ("bailian.tenant", "团队"),
        ("bailian.account", "main"),
        ("bailian.outcome", "completed"),
        ("bailian.stream", "true"),
    ] {
        assert_eq!(of(key).as_deref(), Some(expected), "{key}");
    }
    for key in ["gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"] {
        assert!(of(key).unwrap().parse::<u64>().unwrap() > 0, "{key}");
    }
    assert_eq!(reasons(root), ["stop"]);
    assert_eq!(of("error.type"), None);
    let first_token = |span: &Span| {
        let mut events = span.events.iter();
        events.any(|event| event.name == "gen_ai.first_token")
    };
    assert!(first_token(root));
    let traces = collector.traces.lock().unwrap();
    let resource = traces[0].resource_spans[0].resource.clone().unwrap();
    let service = value(&resource.attributes, "service.name");
    assert_eq!(service.as_deref(), Some("网关"));

    let usage = collector.metric("gen_ai.client.token.usage");
    let Some(metric::Data::Histogram(usage)) = usage.data else {
        panic!("no histogram");
    };
    let kinds = usage.data_points.iter();
    let mut kinds: Vec<_> = kinds
        .map(|point| value(&point.attributes, "gen_ai.token.type").unwrap())
        .collect();
    kinds.sort();
    assert_eq!(kinds, ["input", "output"]);
    collector.metric("gen_ai.client.operation.duration");
    collector.metric("gen_ai.server.time_to_first_token");

    let raw = collector.raw.lock().unwrap();
    let raw = String::from_utf8_lossy(&raw);
    for secret in [KEY, UPSTREAM_KEY, "你好", "介绍"] {
        assert!(!raw.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn a_refused_attempt_and_a_refused_request_say_why() {
    let (collector, address) = Collector::start().await;
    let simulator = Simulator::new(SimConfig::default()).spawn().await.unwrap();
    let telemetry = format!("[telemetry]\notlp = \"{address}\"");
    let gateway = start(config(&simulator.base_url(), &telemetry));
    let bad = json!({
        "model": "no-such-model",
        "messages": [{ "role": "user", "content": "你好" }],
    });
    let (bad, _, _) = read(send(gateway.address, post(OPENAI, bad.to_string())).await).await;
    assert!(bad.is_client_error(), "{bad}");
    let (status, _, _) = read(send(gateway.address, from_a_stranger()).await).await;
    assert_eq!(status, 401);
    stop(gateway).await;
    let spans = collector.spans();
    let find = |outcome: &str| {
        let outcome_of = |span: &&Span| value(&span.attributes, "bailian.outcome");
        let mut spans = spans.iter();
        spans
            .find(|span| outcome_of(span).as_deref() == Some(outcome))
            .unwrap()
    };
    let failed = find("upstream_error");
    assert!(value(&failed.attributes, "error.type").is_some());
    assert_eq!(failed.name, "chat no-such-model");
    let attempts = spans
        .iter()
        .filter(|span| span.parent_span_id == failed.span_id);
    let of_attempt: Vec<_> = attempts
        .map(|span| value(&span.attributes, "error.type"))
        .collect();
    assert_eq!(of_attempt, [Some(bad.as_str().to_owned())]);
    let refused = find("refused");
    let why = value(&refused.attributes, "error.type");
    assert_eq!(why.as_deref(), Some("InvalidApiKey"));
    let duration = collector.metric("gen_ai.client.operation.duration");
    let Some(metric::Data::Histogram(duration)) = duration.data else {
        panic!("no histogram");
    };
    for point in duration.data_points {
        let model = value(&point.attributes, "gen_ai.request.model");
        assert_eq!(model.as_deref(), Some("other"));
    }
}

#[tokio::test]
async fn without_a_sample_there_are_metrics_and_no_spans() {
    let (collector, address) = Collector::start().await;
    let simulator = Simulator::new(SimConfig::default()).spawn().await.unwrap();
    let telemetry = format!("[telemetry]\notlp = \"{address}\"\nsample = 0.0");
    let gateway = start(config(&simulator.base_url(), &telemetry));
    read(send(gateway.address, post(OPENAI, openai_body(false))).await).await;
    stop(gateway).await;
    assert_eq!(collector.spans(), []);
    collector.metric("gen_ai.client.operation.duration");
}

#[tokio::test]
async fn spans_say_why_answers_ended_in_every_dialect_and_form() {
    let (collector, address) = Collector::start().await;
    let simulator = Simulator::new(SimConfig::default()).spawn().await.unwrap();
    // An account that speaks OpenAI's protocol only, so that the other dialects are translated.
    let telemetry = format!(
        "[[accounts]]\nname = \"own\"\nkind = \"openai\"\napi_keys = [\"{UPSTREAM_KEY}\"]\n\
         base_url = \"{}/compatible-mode/v1\"\n[[routes]]\nmodel = \"own\"\n\
         targets = [{{ account = \"own\", model = \"qwen-plus\" }}]\n\
         [telemetry]\notlp = \"{address}\"",
        simulator.base_url()
    );
    let gateway = start(config(&simulator.base_url(), &telemetry));
    let mut expected = Vec::new();
    for model in ["qwen-plus", "own"] {
        for (stream, most, reason) in [
            (false, 4096, "stop"),
            (true, 4096, "stop"),
            (true, 2, "length"),
        ] {
            let message = json!([{ "role": "user", "content": "你好" }]);
            let body = json!({ "model": model, "stream": stream, "max_tokens": most, "messages": message });
            let anthropic = match reason {
                _ if model == "own" => reason,
                "stop" => "end_turn",
                _ => "max_tokens",
            };
            let parameters = json!({ "result_format": "message", "max_tokens": most, "incremental_output": stream });
            let native = json!({ "model": model, "input": { "messages": message }, "parameters": parameters });
            let native = post(support::NATIVE, native.to_string());
            let sse = if stream { "enable" } else { "disable" };
            for (request, reason) in [
                (post(OPENAI, body.to_string()), reason),
                (post("/anthropic/v1/messages", body.to_string()), anthropic),
                (with(native, "x-dashscope-sse", sse), reason),
            ] {
                let (status, headers, text) = read(send(gateway.address, request).await).await;
                assert_eq!(status, 200, "{text}");
                let id = headers["x-request-id"].to_str().unwrap().to_owned();
                expected.push((id, reason));
            }
        }
    }
    stop(gateway).await;
    let spans = collector.spans();
    for (id, reason) in expected {
        let mut spans = spans.iter();
        let of_request =
            |span: &&Span| value(&span.attributes, "bailian.request_id").as_ref() == Some(&id);
        let span = spans.find(of_request).unwrap();
        assert_eq!(reasons(span), [reason], "{span:?}");
    }
}

/// The figure behind a line's name and labels.
async fn figure(gateway: &Running, line: &str) -> u64 {
    let (_, _, metrics) = read(send(gateway.address, get("/metrics")).await).await;
    let found = metrics.lines().find_map(|it| it.strip_prefix(line));
    found
        .unwrap_or_else(|| panic!("no {line}: {metrics}"))
        .trim()
        .parse()
        .unwrap()
}

/// What waits to be sent, at most, and what is being sent (docs/gateway.md).
const MOST_WAITING: u64 = 4_096 + 512;

#[tokio::test]
async fn a_collector_that_never_answers_is_felt_by_no_request_and_fills_no_memory() {
    let simulator = Simulator::new(SimConfig::default()).spawn().await.unwrap();
    let collector = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = collector.local_addr().unwrap();
    let holding = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = collector.accept().await {
            held.push(stream);
        }
    });
    let telemetry = format!("[telemetry]\notlp = \"http://{address}\"");
    let gateway = start(config(&simulator.base_url(), &telemetry));
    let stream = tokio::net::TcpStream::connect(gateway.address)
        .await
        .unwrap();
    let stream = hyper_util::rt::TokioIo::new(stream);
    let (mut caller, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut sent = 0;
    let dropped = "bailian_telemetry_requests_total{result=\"dropped\"}";
    while figure(&gateway, dropped).await == 0 {
        // Refusals leave as much behind as answers do, and are quick.
        for _ in 0..500 {
            let answer = caller.send_request(from_a_stranger()).await.unwrap();
            assert_eq!(answer.status(), 401);
            answer.into_body().collect().await.unwrap();
            sent += 1;
        }
        assert!(sent < 100_000, "what waits has no bound");
        let answer = send(gateway.address, post(OPENAI, openai_body(true))).await;
        assert_eq!(read(answer).await.0, 200);
        sent += 1;
    }
    let failed = "bailian_telemetry_requests_total{result=\"failed\"}";
    let gone = figure(&gateway, failed).await + figure(&gateway, dropped).await;
    assert!(sent - gone <= MOST_WAITING, "{sent} sent, {gone} gone");
    let exported = "bailian_telemetry_requests_total{result=\"exported\"}";
    assert_eq!(figure(&gateway, exported).await, 0);
    drop(caller);
    let begun = Instant::now();
    stop(gateway).await;
    assert!(begun.elapsed() < Duration::from_secs(15));
    holding.abort();
}

#[tokio::test]
async fn a_collector_that_is_away_is_felt_by_no_request() {
    let simulator = Simulator::new(SimConfig::default()).spawn().await.unwrap();
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let away = gone.local_addr().unwrap();
    drop(gone);
    let telemetry = format!("[telemetry]\notlp = \"http://{away}\"");
    let gateway = start(config(&simulator.base_url(), &telemetry));
    for _ in 0..20 {
        let answer = send(gateway.address, post(OPENAI, openai_body(false))).await;
        assert_eq!(read(answer).await.0, 200);
    }
    let begun = Instant::now();
    stop(gateway).await;
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn upstream_hears_of_the_trace_only_when_it_is_wanted() {
    let (collector, address) = Collector::start().await;
    for propagate in [true, false] {
        let (seen, upstream) = noting_upstream().await;
        let telemetry = format!("[telemetry]\notlp = \"{address}\"\npropagate = {propagate}");
        let gateway = start(config(&upstream, &telemetry));
        let request = with(post(OPENAI, openai_body(false)), "traceparent", TRACEPARENT);
        read(send(gateway.address, request).await).await;
        stop(gateway).await;
        let seen = seen.lock().unwrap().pop().unwrap();
        if !propagate {
            assert_eq!(seen, None);
            continue;
        }
        let seen = seen.unwrap();
        assert!(
            seen.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"),
            "{seen}"
        );
        let spans = collector.spans();
        let attempt = spans
            .iter()
            .find(|span| !span.parent_span_id.starts_with(&[0, 0xf0]));
        let id = attempt.unwrap().span_id.clone().try_into().unwrap();
        assert_eq!(seen[36..52], format!("{:016x}", u64::from_be_bytes(id)));
    }
}

type Seen = Arc<Mutex<Vec<Option<String>>>>;

/// Answers everything, and notes `traceparent` of every call.
async fn noting_upstream() -> (Seen, String) {
    let seen = Seen::default();
    let noted = Arc::clone(&seen);
    let answer = move |headers: http::HeaderMap, method: http::Method| {
        if method == http::Method::POST {
            let value = headers.get("traceparent");
            let value = value.map(|value| value.to_str().unwrap().to_owned());
            noted.lock().unwrap().push(value);
        }
        let usage = r#"{"prompt_tokens":1,"completion_tokens":2}"#;
        let body = format!(r#"{{"choices":[],"usage":{usage}}}"#);
        std::future::ready(([("content-type", "application/json")], body))
    };
    let app = Router::new().fallback(answer);
    (seen, serve(app).await)
}

#[tokio::test]
async fn metrics_show_own_time_kinds_of_tokens_and_reasons_of_refusals() {
    let simulator = Simulator::new(SimConfig::default()).spawn().await.unwrap();
    let gateway = start(config(&simulator.base_url(), ""));
    read(send(gateway.address, post(OPENAI, openai_body(true))).await).await;
    read(send(gateway.address, from_a_stranger()).await).await;
    let (_, _, metrics) = read(send(gateway.address, get("/metrics")).await).await;
    for line in [
        "bailian_overhead_seconds_count{dialect=\"openai\"} 2",
        "bailian_refusals_total{kind=\"authentication\"} 1",
        "bailian_model_tokens_total{model=\"qwen-plus\",kind=\"reasoning\"} 0",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    let sum = |name: &str| -> f64 {
        let line = metrics.lines().find(|line| line.starts_with(name)).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    let overhead = sum("bailian_overhead_seconds_sum{dialect=\"openai\"}");
    let total = sum("bailian_request_duration_seconds_sum{dialect=\"openai\"}");
    assert!(overhead > 0.0 && overhead < total, "{overhead} of {total}");
}

#[tokio::test]
async fn names_that_callers_make_up_become_no_labels() {
    let (_, upstream) = noting_upstream().await;
    let gateway = start(config(&upstream, ""));
    for model in ["a\"b", "a\nb", "a\r\nbailian_evil 1", "a\\", "模型"] {
        let body = json!({ "model": model, "messages": [] }).to_string();
        read(send(gateway.address, post(OPENAI, body)).await).await;
    }
    let (_, _, metrics) = read(send(gateway.address, get("/metrics")).await).await;
    let tokens: Vec<_> = metrics
        .lines()
        .filter(|line| line.starts_with("bailian_model_tokens_total"))
        .collect();
    assert_eq!(tokens.len(), 4, "{metrics}");
    assert!(tokens.iter().all(|line| line.contains("model=\"other\"")));
    // Lanes have their models' names, each within its quotation marks.
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        assert!(line.starts_with("bailian_"), "{metrics}");
        assert!(!line.starts_with("bailian_evil"), "{metrics}");
        assert!(!line.contains('\r'), "{metrics}");
    }
}
