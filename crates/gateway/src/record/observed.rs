//! What a request tells of itself while it runs: when it waits for others, and its trace.

use http::{HeaderMap, StatusCode};

use super::Record;
use crate::errors::Refusal;
use crate::metrics::Outcome;
use crate::route::Target;
use crate::telemetry::Ended;
use crate::upstream::UpstreamError;

impl Record {
    /// From now on the request waits for others. Waiting twice is waiting once.
    pub(crate) fn leave(&mut self) {
        self.elsewhere.begin(self.state.clock.now());
    }

    /// It goes on.
    pub(crate) fn come_back(&mut self) {
        if self.elsewhere.is_open() {
            self.elsewhere.end(self.state.clock.now());
        }
    }

    /// The name of the caller's key, for logs.
    pub(crate) fn key_name(&self) -> Option<&str> {
        self.owner.as_ref().map(|owner| owner.name.as_str())
    }

    /// The caller's tenant, for logs.
    pub(crate) fn tenant(&self) -> Option<&str> {
        self.owner.as_ref().map(|owner| &*owner.tenant)
    }

    /// Counts the gateway's own no.
    pub(crate) fn note_refusal(&self, refusal: &Refusal) {
        if !refusal.is_of_upstream() && !refusal.is_upstream_fault() {
            self.state.metrics.count_refusal(refusal.kind());
        }
    }

    /// Begins a trace, or goes on with the caller's.
    pub(crate) fn begin_trace(&mut self, headers: &HeaderMap) {
        if let Some(telemetry) = &self.state.telemetry {
            let started = self.state.clock.unix_millis();
            self.trace = Some(Box::new(telemetry.begin(headers, started)));
        }
    }

    /// Whether a span will be made of it.
    pub(crate) fn is_traced(&self) -> bool {
        self.trace.as_ref().is_some_and(|trace| trace.is_sampled())
    }

    pub(super) fn trace_attempt(&mut self, target: &Target) {
        let elapsed = self.trace.is_some().then(|| self.elapsed());
        if let (Some(trace), Some(elapsed)) = (&mut self.trace, elapsed) {
            trace.begin_attempt(elapsed, target, self.queued);
        }
    }

    /// Notes the head of upstream's answer, or that none came.
    pub(crate) fn note_head(&mut self, answer: Result<StatusCode, &UpstreamError>) {
        if let Ok(status) = answer {
            self.tries.note_status(status);
        }
        let elapsed = self.trace.is_some().then(|| self.elapsed());
        if let (Some(trace), Some(elapsed)) = (&mut self.trace, elapsed) {
            trace.end_attempt(elapsed, answer);
        }
    }

    /// Tells upstream of the trace, where the operator wants it.
    pub(crate) fn propagate_trace(&self, headers: &mut HeaderMap) {
        if let (Some(trace), Some(telemetry)) = (&self.trace, &self.state.telemetry)
            && telemetry.propagates()
        {
            trace.write(headers);
        }
    }

    pub(super) fn report_to_telemetry(&mut self, elapsed: std::time::Duration) {
        let Some(telemetry) = &self.state.telemetry else {
            return;
        };
        let asked = self.model.as_deref().unwrap_or_default();
        telemetry.end(
            self.trace.take(),
            &Ended {
                request_id: self.request_id,
                dialect: self.dialect,
                surface: self.surface,
                key: self.owner.as_ref().map(|owner| &owner.key),
                model: asked,
                model_label: self.state.metrics.model_label(asked),
                target: self.target.as_ref(),
                status: self.status,
                outcome: self.outcome,
                error: match self.outcome {
                    Outcome::Completed => None,
                    outcome => Some(self.error_code.as_deref().unwrap_or(outcome.as_str())),
                },
                usage: self.usage,
                finish: self.finish,
                attempts: self.attempts,
                first_byte: self.first_byte,
                elapsed,
                is_stream: self.stream.is_some(),
            },
        );
    }
}
