//! A collector, and how what it was sent is read.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::routing::post as on_post;
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use crate::support;

/// What a collector was sent.
#[derive(Clone, Default)]
pub(crate) struct Collector {
    pub(crate) traces: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
    metrics: Arc<Mutex<Vec<ExportMetricsServiceRequest>>>,
    /// Everything as it came.
    pub(crate) raw: Arc<Mutex<Vec<u8>>>,
}

impl Collector {
    pub(crate) async fn start() -> (Self, String) {
        let collector = Self::default();
        let app = Router::new()
            .route("/v1/traces", on_post(Self::take_traces))
            .route("/v1/metrics", on_post(Self::take_metrics))
            .with_state(collector.clone());
        (collector, support::serve(app).await)
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

    pub(crate) fn spans(&self) -> Vec<Span> {
        let traces = self.traces.lock().unwrap();
        let resources = traces.iter().flat_map(|request| &request.resource_spans);
        let scopes = resources.flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }

    pub(crate) fn metric(&self, name: &str) -> Metric {
        let metrics = self.metrics.lock().unwrap();
        let resources = metrics.iter().flat_map(|request| &request.resource_metrics);
        let scopes = resources.flat_map(|resource| &resource.scope_metrics);
        let mut all = scopes.flat_map(|scope| scope.metrics.clone());
        all.find(|metric| metric.name == name)
            .unwrap_or_else(|| panic!("no {name}"))
    }
}

/// The value of an attribute as text.
pub(crate) fn value(attributes: &[KeyValue], key: &str) -> Option<String> {
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
pub(crate) fn reasons(span: &Span) -> Vec<String> {
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
