//! What upstream hears of a trace.

use std::sync::{Arc, Mutex};

use axum::Router;

use crate::collector::Collector;
use crate::support::{OPENAI, openai_body, post, read, send, serve, start, with};
use crate::{TRACEPARENT, config};

type Seen = Arc<Mutex<Vec<Option<String>>>>;

/// Answers everything, and notes `traceparent` of every call.
pub(crate) async fn noting_upstream() -> (Seen, String) {
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
async fn upstream_hears_of_the_trace_only_when_it_is_wanted() {
    let (collector, address) = Collector::start().await;
    for propagate in [true, false] {
        let (seen, upstream) = noting_upstream().await;
        let telemetry = format!("[telemetry]\notlp = \"{address}\"\npropagate = {propagate}");
        let gateway = start(config(&upstream, &telemetry));
        let request = with(post(OPENAI, openai_body(false)), "traceparent", TRACEPARENT);
        read(send(gateway.address, request).await).await;
        gateway.end().await;
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
