//! The thread that sends.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http_body_util::{BodyExt as _, Limited};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{
    MetricExporter, RetryPolicy, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::SpanExporter as _;
use parking_lot::Mutex;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::TelemetryError;
use super::spans::Finished;
use crate::config::TelemetryConfig;
use crate::metrics::ExportCounts;
use crate::upstream::{HttpUpstream, Origin, Upstream as _, UpstreamTimeouts};

/// The most requests that wait to be sent: a few megabytes.
const CAPACITY: usize = 4_096;

/// So many are sent at once.
const BATCH: usize = 512;

/// Fewer are sent after so long.
const PERIOD: Duration = Duration::from_secs(5);

/// How long the collector may take for one batch.
const SEND_LIMIT: Duration = Duration::from_secs(3);

/// How much of the collector's answer is read, in bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Requests that wait to be sent.
pub(super) struct Outbox {
    waiting: Mutex<Vec<Finished>>,
    is_full_batch: Notify,
    counts: ExportCounts,
    closed: CancellationToken,
    emptied: CancellationToken,
}

impl Outbox {
    pub(super) fn new(counts: ExportCounts) -> Self {
        Self {
            waiting: Mutex::default(),
            is_full_batch: Notify::new(),
            counts,
            closed: CancellationToken::new(),
            emptied: CancellationToken::new(),
        }
    }

    /// Never waits: what finds no room is dropped.
    pub(super) fn put(&self, finished: Finished) {
        let mut waiting = self.waiting.lock();
        if waiting.len() >= CAPACITY {
            drop(waiting);
            self.counts.dropped.inc();
            return;
        }
        waiting.push(finished);
        let is_full_batch = waiting.len() == BATCH;
        drop(waiting);
        if is_full_batch {
            self.is_full_batch.notify_one();
        }
    }

    /// Nothing more comes.
    pub(super) fn close(&self) {
        self.closed.cancel();
    }

    /// Everything was sent, or was tried to.
    pub(super) async fn emptied(&self) {
        self.emptied.cancelled().await;
    }

    fn take(&self) -> Vec<Finished> {
        let mut waiting = self.waiting.lock();
        let most = waiting.len().min(BATCH);
        waiting.drain(..most).collect()
    }
}

/// A runtime that can be dropped anywhere: its own `Drop` would panic inside another runtime.
struct Background(Option<Runtime>);

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// What the thread needs, made where errors can still be told.
pub(super) struct Worker {
    runtime: Background,
    outbox: Arc<Outbox>,
    spans: SpanExporter,
    metrics: SdkMeterProvider,
}

impl Worker {
    pub(super) fn new(
        config: &TelemetryConfig,
        outbox: Arc<Outbox>,
    ) -> Result<Self, TelemetryError> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let runtime = Background(Some(runtime));
        let client = Client {
            origin: Origin::parse(&config.endpoint)?,
            runtime: handle,
            upstream: HttpUpstream::new(UpstreamTimeouts {
                connect: SEND_LIMIT,
                response: SEND_LIMIT,
            }),
        };
        let attributes = config.resource.iter().cloned();
        let resource = Resource::builder_empty()
            .with_attribute(KeyValue::new("telemetry.sdk.language", "rust"))
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .with_attributes(attributes.map(|(key, value)| KeyValue::new(key, value)))
            .build();
        let client = Arc::new(client);
        let mut spans = SpanExporter::builder()
            .with_http()
            .with_shared_http_client(Arc::<Client>::clone(&client))
            .with_retry_policy(RetryPolicy::disabled())
            .with_endpoint(format!("{}/v1/traces", config.endpoint))
            .build()?;
        spans.set_resource(&resource);
        let metrics = MetricExporter::builder()
            .with_http()
            .with_shared_http_client(client)
            .with_retry_policy(RetryPolicy::disabled())
            .with_endpoint(format!("{}/v1/metrics", config.endpoint))
            .build()?;
        // It has a thread and a period of its own: OTEL_METRIC_EXPORT_INTERVAL, else a minute.
        let reader = PeriodicReader::builder(metrics).build();
        let metrics = SdkMeterProvider::builder()
            .with_resource(resource)
            .with_reader(reader)
            .build();
        Ok(Self {
            runtime,
            outbox,
            spans,
            metrics,
        })
    }

    pub(super) fn meter_provider(&self) -> &SdkMeterProvider {
        &self.metrics
    }

    pub(super) fn start(self) -> Result<(), std::io::Error> {
        let thread = std::thread::Builder::new().name("bailian-telemetry".to_owned());
        thread.spawn(move || self.run())?;
        Ok(())
    }

    fn run(self) {
        let Self {
            runtime,
            outbox,
            spans,
            metrics,
        } = self;
        // However the thread ends, nobody waits for it in vain.
        let _emptied: DropGuard = outbox.emptied.clone().drop_guard();
        let Some(runtime) = &runtime.0 else {
            return;
        };
        runtime.block_on(async {
            let sender = Sender {
                spans,
                scope: InstrumentationScope::builder("bailian")
                    .with_version(env!("CARGO_PKG_VERSION"))
                    .build(),
            };
            let mut is_failing = false;
            loop {
                let is_closed = tokio::select! {
                    () = outbox.closed.cancelled() => true,
                    () = outbox.is_full_batch.notified() => false,
                    () = tokio::time::sleep(PERIOD) => false,
                };
                loop {
                    let batch = outbox.take();
                    if batch.is_empty() {
                        break;
                    }
                    let counts = &outbox.counts;
                    let requests = batch.len() as u64;
                    match sender.send(batch).await {
                        Ok(()) => {
                            counts.exported.inc_by(requests);
                            is_failing = false;
                        }
                        Err(error) => {
                            counts.failed.inc_by(requests);
                            if !std::mem::replace(&mut is_failing, true) {
                                tracing::warn!(%error, "telemetry cannot be sent");
                            }
                        }
                    }
                }
                if is_closed {
                    break;
                }
            }
            // The reader's thread sends its last figures over this runtime.
            let last = tokio::task::spawn_blocking(move || metrics.shutdown());
            if let Ok(Err(error)) = last.await {
                tracing::debug!(%error, "the last metrics could not be sent");
            }
        });
    }
}

struct Sender {
    spans: SpanExporter,
    scope: InstrumentationScope,
}

impl Sender {
    async fn send(
        &self,
        batch: Vec<Finished>,
    ) -> Result<(), opentelemetry_sdk::error::OTelSdkError> {
        let mut spans = Vec::with_capacity(batch.len() * 2);
        for finished in batch {
            finished.into_spans(&self.scope, &mut spans);
        }
        self.spans.export(spans).await
    }
}

/// The exporters' way to the collector: the gateway's own connections, TLS and proxies.
#[derive(Debug)]
struct Client {
    origin: Origin,
    runtime: Handle,
    upstream: HttpUpstream,
}

impl HttpClient for Client {
    fn send_bytes<'life0, 'async_trait>(
        &'life0 self,
        request: http::Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<http::Response<Bytes>, HttpError>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        let (origin, upstream) = (self.origin.clone(), self.upstream.clone());
        // Metrics are sent by a thread without a runtime.
        let sending = self.runtime.spawn(async move {
            let exchange = exchange(origin, upstream, request);
            tokio::time::timeout(SEND_LIMIT, exchange).await?
        });
        Box::pin(async move { sending.await? })
    }
}

async fn exchange(
    origin: Origin,
    upstream: HttpUpstream,
    request: http::Request<Bytes>,
) -> Result<http::Response<Bytes>, HttpError> {
    let (mut head, body) = request.into_parts();
    head.headers.insert(HOST, origin.host_header().clone());
    if let Some(target) = head.uri.path_and_query() {
        head.uri = http::Uri::from(target.clone());
    }
    let request = http::Request::from_parts(head, body);
    let (head, body) = upstream.send(&origin, request).await?.into_parts();
    let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await?;
    Ok(http::Response::from_parts(head, body.to_bytes()))
}

#[cfg(test)]
mod tests {
    use bailian_wire::Dialect;
    use http::{HeaderMap, StatusCode};

    use super::super::{Ended, Trace};
    use super::*;
    use crate::finish::FinishReasons;
    use crate::metrics::{Metrics, Outcome};
    use crate::record::RequestId;

    fn finished() -> Finished {
        let trace = Trace::begin(&HeaderMap::new(), 0, 0);
        let ended = Ended {
            request_id: RequestId::new(0),
            dialect: Dialect::OpenAi,
            surface: "chat",
            key: None,
            model: "qwen-plus",
            model_label: "qwen-plus",
            target: None,
            status: StatusCode::OK,
            outcome: Outcome::Completed,
            error: None,
            usage: None,
            finish: FinishReasons::default(),
            attempts: 1,
            first_byte: None,
            elapsed: Duration::from_secs(1),
            is_stream: false,
        };
        Finished::new(Box::new(trace), &ended, Arc::default())
    }

    #[test]
    fn what_finds_no_room_is_dropped_and_counted() {
        let outbox = Outbox::new(Metrics::new(std::iter::empty()).exports());
        for _ in 0..CAPACITY + 10 {
            outbox.put(finished());
        }
        assert_eq!(outbox.counts.dropped.get(), 10);
        assert_eq!(outbox.take().len(), BATCH);
        outbox.put(finished());
        assert_eq!(outbox.counts.dropped.get(), 10);
    }
}
