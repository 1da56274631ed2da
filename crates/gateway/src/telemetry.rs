//! Traces and metrics by OpenTelemetry's conventions for generative AI, sent over OTLP/HTTP.
//!
//! A request only leaves behind what it was; a thread of its own makes spans of it and sends them.
//! What the collector does, or that it is away, no request ever feels: what waits to be sent is
//! bounded, and what finds no room is counted and dropped. Neither prompts nor answers nor keys are
//! part of it.

mod export;
mod meters;
mod spans;
mod trace;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bailian_wire::Dialect;
use http::{HeaderMap, StatusCode};

use self::export::{Outbox, Worker};
use self::meters::Meters;
use self::spans::{Finished, Place};
pub(crate) use self::trace::Trace;
use crate::account::Account;
use crate::config::TelemetryConfig;
use crate::finish::FinishReasons;
use crate::keys::VirtualKey;
use crate::metrics::{ExportCounts, Outcome};
use crate::record::RequestId;
use crate::route::Target;
use crate::usage::TokenCounts;

/// How long the end of the gateway waits for the last spans to be sent.
const FINISH_LIMIT: Duration = Duration::from_secs(5);

/// Telemetry that cannot be sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TelemetryError {
    /// The collector's address cannot be used.
    #[error("the collector of telemetry: {0}")]
    Endpoint(#[from] crate::upstream::OriginError),
    /// The exporters refuse their settings, which may come from `OTEL_EXPORTER_OTLP_…`.
    #[error("telemetry cannot be set up")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    /// The thread that sends cannot be started.
    #[error("cannot start the thread that sends telemetry")]
    Thread(#[from] std::io::Error),
}

/// Where requests leave what they were.
pub(crate) struct Telemetry {
    sending: Arc<Sending>,
    /// Traces whose last 63 bits are below this are sampled.
    sample_below: u64,
    propagate: bool,
    places: Arc<[Place]>,
}

/// What goes on when the configuration changes.
struct Sending {
    outbox: Arc<Outbox>,
    meters: Meters,
}

/// A request that has ended.
pub(crate) struct Ended<'a> {
    pub(crate) request_id: RequestId,
    pub(crate) dialect: Dialect,
    /// What it asked for, in the ledger's words.
    pub(crate) surface: &'static str,
    pub(crate) key: Option<&'a Arc<VirtualKey>>,
    /// The model as the caller named it.
    pub(crate) model: &'a str,
    /// The same as one of few.
    pub(crate) model_label: &'a str,
    /// The target that was asked last.
    pub(crate) target: Option<&'a Target>,
    pub(crate) status: StatusCode,
    pub(crate) outcome: Outcome,
    /// Why it failed: a code of the gateway's or of the service's.
    pub(crate) error: Option<&'a str>,
    pub(crate) usage: Option<TokenCounts>,
    /// Why its answers ended.
    pub(crate) finish: FinishReasons,
    pub(crate) attempts: u32,
    pub(crate) first_byte: Option<Duration>,
    pub(crate) elapsed: Duration,
    pub(crate) is_stream: bool,
}

impl Telemetry {
    /// Starts the thread that sends.
    pub(crate) fn start(
        config: &TelemetryConfig,
        accounts: &[Account],
        counts: ExportCounts,
    ) -> Result<Self, TelemetryError> {
        let outbox = Arc::new(Outbox::new(counts));
        let worker = Worker::new(config, Arc::clone(&outbox))?;
        let meters = Meters::new(worker.meter_provider());
        worker.start()?;
        // The upper half of the range is never reached by 63 bits: a share of 1 samples all.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a part from 0 to 1 of 2^63, checked with the configuration"
        )]
        let sample_below = (config.sample.clamp(0.0, 1.0) * (1_u64 << 63) as f64) as u64;
        Ok(Self {
            sending: Arc::new(Sending { outbox, meters }),
            sample_below,
            propagate: config.propagate,
            places: accounts.iter().map(Place::of).collect(),
        })
    }

    /// The same for other accounts.
    pub(crate) fn configured(&self, accounts: &[Account]) -> Self {
        Self {
            sending: Arc::clone(&self.sending),
            places: accounts.iter().map(Place::of).collect(),
            ..*self
        }
    }

    /// Begins the trace of a request, or goes on with its caller's. `started` is in milliseconds
    /// since the Unix epoch.
    pub(crate) fn begin(&self, headers: &HeaderMap, started: u64) -> Trace {
        Trace::begin(headers, started, self.sample_below)
    }

    pub(crate) fn propagates(&self) -> bool {
        self.propagate
    }

    /// Takes a request that has ended.
    pub(crate) fn end(&self, trace: Option<Box<Trace>>, ended: &Ended<'_>) {
        let place = ended
            .target
            .and_then(|target| self.places.get(target.account));
        self.sending.meters.record(ended, place);
        if let Some(trace) = trace.filter(|trace| trace.is_sampled()) {
            let places = Arc::clone(&self.places);
            self.sending.outbox.put(Finished::new(trace, ended, places));
        }
    }

    /// Sends what is left, for a few seconds at most.
    pub(crate) async fn finish(&self) {
        self.sending.outbox.close();
        let sent = tokio::time::timeout(FINISH_LIMIT, self.sending.outbox.emptied()).await;
        if sent.is_err() {
            tracing::warn!("the last telemetry could not be sent in time");
        }
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.outbox.close();
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry")
            .field("propagate", &self.propagate)
            .finish_non_exhaustive()
    }
}

/// What a surface is called in the conventions (`gen_ai.operation.name`).
fn operation(surface: &'static str) -> &'static str {
    match surface {
        "responses" => "chat",
        "completions" => "text_completion",
        "applications" => "invoke_agent",
        "" => "unknown",
        other => other,
    }
}
