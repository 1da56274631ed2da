//! What spans and the metrics beside them say of requests.

use bailian_sim::{SimConfig, Simulator};
use opentelemetry_proto::tonic::metrics::v1::metric;
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::json;

use crate::collector::{Collector, reasons, value};
use crate::support::{
    KEY, NATIVE, OPENAI, UPSTREAM_KEY, openai_body, post, read, send, start, with,
};
use crate::{TRACEPARENT, config, from_a_stranger};

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
    gateway.end().await;

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
    gateway.end().await;
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
    gateway.end().await;
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
            let native = post(NATIVE, native.to_string());
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
    gateway.end().await;
    let spans = collector.spans();
    for (id, reason) in expected {
        let mut spans = spans.iter();
        let of_request =
            |span: &&Span| value(&span.attributes, "bailian.request_id").as_ref() == Some(&id);
        let span = spans.find(of_request).unwrap();
        assert_eq!(reasons(span), [reason], "{span:?}");
    }
}
