//! Spans of a request that has ended, by the conventions for generative AI.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bailian_wire::Dialect;
use http::StatusCode;
use opentelemetry::trace::{
    Event, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{Array, InstrumentationScope, KeyValue, StringValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use super::trace::{Attempt, Trace};
use super::{Ended, operation};
use crate::account::Account;
use crate::finish::FinishReasons;
use crate::keys::VirtualKey;
use crate::metrics::Outcome;
use crate::record::RequestId;
use crate::surface::Root;
use crate::usage::TokenCounts;

/// The longest text of a caller or of upstream that becomes an attribute, in characters.
const MOST_CHARS: usize = 128;

/// An account as attributes have it.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) account: String,
    /// `gen_ai.provider.name`.
    pub(super) provider: &'static str,
    pub(super) host: String,
    pub(super) port: i64,
}

impl Place {
    pub(super) fn of(account: &Account) -> Self {
        let origin = &account.endpoint(Root::OpenAi).origin;
        let default = if origin.is_https() { 443 } else { 80 };
        Self {
            account: account.name().to_owned(),
            provider: if account.is_service() {
                "dashscope"
            } else {
                "openai_compatible"
            },
            host: origin.uri().host().unwrap_or_default().to_owned(),
            port: origin.uri().port_u16().map_or(default, i64::from),
        }
    }
}

/// All that spans are made of, so that they can be made elsewhere.
#[derive(Debug)]
pub(super) struct Finished {
    trace: Box<Trace>,
    request_id: RequestId,
    dialect: Dialect,
    operation: &'static str,
    /// Of the configuration under which the request ran.
    places: Arc<[Place]>,
    key: Option<Arc<VirtualKey>>,
    model: Box<str>,
    status: StatusCode,
    outcome: Outcome,
    error: Option<Box<str>>,
    usage: Option<TokenCounts>,
    finish: FinishReasons,
    attempts: u32,
    first_byte: Option<Duration>,
    elapsed: Duration,
    is_stream: bool,
}

impl Finished {
    pub(super) fn new(trace: Box<Trace>, ended: &Ended<'_>, places: Arc<[Place]>) -> Self {
        Self {
            trace,
            request_id: ended.request_id,
            dialect: ended.dialect,
            operation: operation(ended.surface),
            places,
            key: ended.key.cloned(),
            model: clean(ended.model).into(),
            status: ended.status,
            outcome: ended.outcome,
            error: ended.error.map(|error| clean(error).into()),
            usage: ended.usage,
            finish: ended.finish,
            attempts: ended.attempts,
            first_byte: ended.first_byte,
            elapsed: ended.elapsed,
            is_stream: ended.is_stream,
        }
    }

    /// The request's span, and one per attempt below it.
    pub(super) fn into_spans(self, scope: &InstrumentationScope, spans: &mut Vec<SpanData>) {
        let last = self.trace.attempts.last();
        let place = last.and_then(|attempt| self.places.get(attempt.account));
        let mut attributes = self.common(place);
        let upstream_model = last.and_then(|attempt| attempt.model.as_deref());
        if last.is_some_and(|attempt| attempt.status.is_some_and(|status| status.is_success())) {
            let model = upstream_model.unwrap_or(&self.model).to_owned();
            attributes.push(KeyValue::new("gen_ai.response.model", model));
        }
        if let Some(usage) = self.usage {
            attributes.extend([
                KeyValue::new("gen_ai.usage.input_tokens", count(usage.input_tokens)),
                KeyValue::new("gen_ai.usage.output_tokens", count(usage.output_tokens)),
            ]);
            if usage.cached_tokens > 0 {
                let cached = count(usage.cached_tokens);
                attributes.push(KeyValue::new(
                    "gen_ai.usage.cache_read.input_tokens",
                    cached,
                ));
            }
            if usage.reasoning_tokens > 0 {
                let reasoning = count(usage.reasoning_tokens);
                attributes.push(KeyValue::new("bailian.usage.reasoning_tokens", reasoning));
            }
        }
        let reasons: Vec<StringValue> = self.finish.words().map(StringValue::from).collect();
        if !reasons.is_empty() {
            let reasons = Value::Array(Array::String(reasons));
            attributes.push(KeyValue::new("gen_ai.response.finish_reasons", reasons));
        }
        if let Some(key) = &self.key {
            attributes.extend([
                KeyValue::new("bailian.key", key.name.clone()),
                KeyValue::new("bailian.tenant", key.tenant.to_string()),
            ]);
        }
        attributes.extend([
            KeyValue::new("bailian.request_id", self.request_id.as_str().to_owned()),
            KeyValue::new("bailian.dialect", self.dialect.as_str()),
            KeyValue::new("bailian.outcome", self.outcome.as_str()),
            KeyValue::new("bailian.attempts", i64::from(self.attempts)),
            KeyValue::new("bailian.stream", self.is_stream),
            status(self.status),
        ]);
        let error = self.error.as_deref();
        if let Some(error) = error {
            attributes.push(KeyValue::new("error.type", error.to_owned()));
        }
        let mut events = SpanEvents::default();
        for attempt in &self.trace.attempts {
            if !attempt.queued.is_zero() {
                let waited = KeyValue::new("bailian.queue.seconds", attempt.queued.as_secs_f64());
                let at = self.at(attempt.began);
                events
                    .events
                    .push(Event::new("bailian.queue_wait", at, vec![waited], 0));
            }
        }
        if let Some(first) = self.first_byte {
            let at = self.at(first);
            let event = Event::new("gen_ai.first_token", at, Vec::new(), 0);
            events.events.push(event);
        }
        spans.push(SpanData {
            span_context: self.context(self.trace.span),
            parent_span_id: self
                .trace
                .parent
                .map_or(SpanId::INVALID, SpanId::from_bytes),
            parent_span_is_remote: self.trace.parent.is_some(),
            span_kind: SpanKind::Server,
            name: self.name().into(),
            start_time: self.at(Duration::ZERO),
            end_time: self.at(self.elapsed),
            attributes,
            dropped_attributes_count: 0,
            events,
            links: SpanLinks::default(),
            status: error.map_or(Status::Unset, |error| Status::error(error.to_owned())),
            instrumentation_scope: scope.clone(),
        });
        for attempt in &self.trace.attempts {
            spans.push(self.attempt(attempt, self.places.get(attempt.account), scope));
        }
    }

    fn attempt(
        &self,
        attempt: &Attempt,
        place: Option<&Place>,
        scope: &InstrumentationScope,
    ) -> SpanData {
        let mut attributes = self.common(place);
        if let Some(model) = &attempt.model {
            attributes.push(KeyValue::new("bailian.upstream_model", model.to_string()));
        }
        attributes.extend(attempt.status.map(status));
        let failed = attempt.status.filter(|status| !status.is_success());
        let error = attempt.error.map(str::to_owned);
        let error = error.or_else(|| failed.map(|status| status.as_str().to_owned()));
        if let Some(error) = &error {
            attributes.push(KeyValue::new("error.type", error.clone()));
        }
        let mut events = SpanEvents::default();
        if let Some(head) = attempt.head {
            let at = self.at(head);
            let event = Event::new("bailian.response_head", at, Vec::new(), 0);
            events.events.push(event);
        }
        SpanData {
            span_context: self.context(attempt.span),
            parent_span_id: SpanId::from_bytes(self.trace.span),
            parent_span_is_remote: false,
            span_kind: SpanKind::Client,
            name: self.name().into(),
            start_time: self.at(attempt.began),
            end_time: self.at(attempt.ended.unwrap_or(self.elapsed)),
            attributes,
            dropped_attributes_count: 0,
            events,
            links: SpanLinks::default(),
            status: error.map_or(Status::Unset, Status::error),
            instrumentation_scope: scope.clone(),
        }
    }

    /// What request and attempts have in common.
    fn common(&self, place: Option<&Place>) -> Vec<KeyValue> {
        let mut attributes = Vec::with_capacity(20);
        attributes.push(KeyValue::new("gen_ai.operation.name", self.operation));
        if !self.model.is_empty() {
            attributes.push(KeyValue::new(
                "gen_ai.request.model",
                self.model.to_string(),
            ));
        }
        if let Some(place) = place {
            attributes.extend([
                KeyValue::new("gen_ai.provider.name", place.provider),
                KeyValue::new("server.address", place.host.clone()),
                KeyValue::new("server.port", place.port),
                KeyValue::new("bailian.account", place.account.clone()),
            ]);
        }
        attributes
    }

    fn name(&self) -> String {
        if self.model.is_empty() {
            return self.operation.to_owned();
        }
        format!("{} {}", self.operation, self.model)
    }

    fn context(&self, span: [u8; 8]) -> SpanContext {
        let state = self.trace.state.as_ref();
        let state = state.and_then(|state| state.to_str().ok()?.parse::<TraceState>().ok());
        SpanContext::new(
            TraceId::from_bytes(self.trace.id),
            SpanId::from_bytes(span),
            TraceFlags::SAMPLED,
            false,
            state.unwrap_or_default(),
        )
    }

    /// A moment of the request on the wall's clock.
    fn at(&self, since: Duration) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.trace.started) + since
    }
}

fn status(status: StatusCode) -> KeyValue {
    KeyValue::new("http.response.status_code", i64::from(status.as_u16()))
}

fn count(tokens: u64) -> i64 {
    i64::try_from(tokens).unwrap_or(i64::MAX)
}

/// Text of others, short and on one line.
fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .take(MOST_CHARS)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_is_short_and_on_one_line() {
        assert_eq!(
            clean("模型\r\n\u{1b}[31m\u{9b}"),
            "模型\u{fffd}\u{fffd}\u{fffd}[31m\u{fffd}"
        );
        assert_eq!(clean(&"长".repeat(1_000)).chars().count(), MOST_CHARS);
    }
}
