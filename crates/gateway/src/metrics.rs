//! Counters and histograms in the OpenMetrics text format.
//!
//! Every handle is made once; nothing is looked up by label while a request runs. Of what callers
//! write only names of models that are known become labels.

mod kept;
mod lanes;
mod models;

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use bailian_wire::Dialect;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

pub(crate) use self::kept::Kept;
use self::models::ModelTokens;
use crate::cache::{Cache, CacheResult};
use crate::errors::REFUSAL_KINDS;
use crate::pacing::Pacing;
use crate::usage::TokenCounts;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The whole answer went out.
    Completed,
    /// The gateway refused it.
    Refused,
    /// The model service answered with an error.
    UpstreamError,
    /// The model service could not be reached, or broke off.
    UpstreamLost,
    /// The client went away first.
    ClientLeft,
}

impl Outcome {
    const ALL: [Self; 5] = [
        Self::Completed,
        Self::Refused,
        Self::UpstreamError,
        Self::UpstreamLost,
        Self::ClientLeft,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Refused => "refused",
            Self::UpstreamError => "upstream_error",
            Self::UpstreamLost => "upstream_lost",
            Self::ClientLeft => "client_left",
        }
    }

    fn index(self) -> usize {
        match self {
            Self::Completed => 0,
            Self::Refused => 1,
            Self::UpstreamError => 2,
            Self::UpstreamLost => 3,
            Self::ClientLeft => 4,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    dialect: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TokenLabels {
    dialect: &'static str,
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DialectLabels {
    dialect: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabels {
    limit: &'static str,
}

/// Kinds of tokens. Input has the cached ones in it, output those of thinking.
const KINDS: [&str; 4] = ["input", "output", "cached", "reasoning"];

/// Tokens in the order of [`KINDS`].
fn by_kind(usage: TokenCounts) -> [u64; KINDS.len()] {
    [
        usage.input_tokens,
        usage.output_tokens,
        usage.cached_tokens,
        usage.reasoning_tokens,
    ]
}

type Count = Counter<u64, AtomicU64>;
type Level = Gauge<i64, AtomicI64>;

/// The handles of one dialect.
struct DialectMetrics {
    requests: [Count; Outcome::ALL.len()],
    tokens: [Count; KINDS.len()],
    duration: Histogram,
    first_byte: Histogram,
    overhead: Histogram,
}

/// What became of finished requests on their way to the collector of telemetry.
#[derive(Clone)]
pub(crate) struct ExportCounts {
    pub(crate) exported: Count,
    pub(crate) failed: Count,
    pub(crate) dropped: Count,
}

/// All metrics of a gateway.
pub(crate) struct Metrics {
    registry: Registry,
    openai: DialectMetrics,
    native: DialectMetrics,
    anthropic: DialectMetrics,
    in_flight: Level,
    streams: Level,
    connections: Level,
    refused_connections: Count,
    resumed: Count,
    cached: [Count; CacheResult::ALL.len()],
    cache_entries: Level,
    cache_bytes: Level,
    limited: Family<LimitLabels, Count>,
    /// Applied, and refused.
    reloads: [Count; 2],
    models: ModelTokens,
    refusals: [Count; REFUSAL_KINDS.len()],
    exports: ExportCounts,
}

/// Seconds from a small request's few microseconds to what nobody should see.
const OVERHEAD_BUCKETS: [f64; 14] = [
    0.00001, 0.000_025, 0.00005, 0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1,
    0.5, 2.5,
];

/// Seconds from a fast cached answer to the longest that the service allows.
const DURATION_BUCKETS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 180.0, 600.0,
];

impl Metrics {
    /// Metrics in which the models of these names have labels.
    pub(crate) fn new<'a>(models: impl Iterator<Item = &'a str>) -> Self {
        let mut registry = Registry::with_prefix("bailian");
        let requests = Family::<OutcomeLabels, Count>::default();
        registry.register(
            "requests",
            "Chat requests by how they ended",
            requests.clone(),
        );
        let tokens = Family::<TokenLabels, Count>::default();
        registry.register(
            "tokens",
            "Tokens that the model service reported",
            tokens.clone(),
        );
        let histogram: fn() -> Histogram = || Histogram::new(DURATION_BUCKETS);
        let duration = Family::<DialectLabels, Histogram>::new_with_constructor(histogram);
        registry.register_with_unit(
            "request_duration",
            "From a request's head to the end of its answer",
            Unit::Seconds,
            duration.clone(),
        );
        let first_byte = Family::<DialectLabels, Histogram>::new_with_constructor(histogram);
        registry.register_with_unit(
            "first_byte",
            "From a request's head to the first byte of its answer's body",
            Unit::Seconds,
            first_byte.clone(),
        );
        let overhead = Family::<DialectLabels, Histogram>::new_with_constructor(|| {
            Histogram::new(OVERHEAD_BUCKETS)
        });
        registry.register_with_unit(
            "overhead",
            "The gateway's own time of a request: without waits for its turn, its caller, upstream",
            Unit::Seconds,
            overhead.clone(),
        );
        let of = |dialect: &'static str| DialectMetrics {
            requests: Outcome::ALL.map(|outcome| {
                let labels = OutcomeLabels {
                    dialect,
                    outcome: outcome.as_str(),
                };
                requests.get_or_create_owned(&labels)
            }),
            tokens: KINDS.map(|kind| tokens.get_or_create_owned(&TokenLabels { dialect, kind })),
            duration: duration.get_or_create_owned(&DialectLabels { dialect }),
            first_byte: first_byte.get_or_create_owned(&DialectLabels { dialect }),
            overhead: overhead.get_or_create_owned(&DialectLabels { dialect }),
        };
        let (openai, native) = (of("openai"), of("native"));
        let anthropic = of("anthropic");
        let mut level = |name: &str, help: &str| {
            let gauge = Level::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        let in_flight = level("requests_in_flight", "Chat requests that have not ended");
        let streams = level("streams_open", "Event streams that have not ended");
        let connections = level("client_connections", "Open client connections");
        let cache_entries = level("cache_entries", "Answers that are kept in memory");
        let cache_bytes = level("cache_bytes", "What they come to in bytes");
        let refused_connections = Count::default();
        registry.register(
            "client_connections_refused",
            "Client connections closed at once because the most allowed were open",
            refused_connections.clone(),
        );
        let resumed = Count::default();
        registry.register(
            "streams_resumed",
            "Streams that went on after upstream had broken them",
            resumed.clone(),
        );
        let cache = Family::<ResultLabels, Count>::default();
        registry.register(
            "cache",
            "Requests that asked for a kept answer, by where it came from",
            cache.clone(),
        );
        let cached = CacheResult::ALL.map(|result| {
            let result = result.as_str();
            cache.get_or_create_owned(&ResultLabels { result })
        });
        let limited = Family::<LimitLabels, Count>::default();
        registry.register(
            "requests_limited",
            "Requests that a limit or a budget of a key, project or tenant refused",
            limited.clone(),
        );
        let reloads = Family::<ResultLabels, Count>::default();
        registry.register(
            "config_reloads",
            "Reloads of the configuration file by what came of them",
            reloads.clone(),
        );
        let reloads = ["applied", "refused"]
            .map(|result| reloads.get_or_create_owned(&ResultLabels { result }));
        let models = ModelTokens::new(models);
        registry.register(
            "model_tokens",
            "Tokens by model, where catalogue or routes know it; else as `other`",
            models.family(),
        );
        let refusals = Family::<KindLabels, Count>::default();
        registry.register(
            "refusals",
            "Requests that the gateway itself refused, by reason",
            refusals.clone(),
        );
        let exports = Family::<ResultLabels, Count>::default();
        registry.register(
            "telemetry_requests",
            "Traced requests on their way to the collector",
            exports.clone(),
        );
        let export = |result| exports.get_or_create_owned(&ResultLabels { result });
        Self {
            registry,
            openai,
            native,
            anthropic,
            in_flight,
            streams,
            connections,
            refused_connections,
            resumed,
            cached,
            cache_entries,
            cache_bytes,
            limited,
            reloads,
            models,
            refusals: REFUSAL_KINDS.map(|kind| refusals.get_or_create_owned(&KindLabels { kind })),
            exports: ExportCounts {
                exported: export("exported"),
                failed: export("failed"),
                dropped: export("dropped"),
            },
        }
    }

    /// Where exports of telemetry are counted.
    pub(crate) fn exports(&self) -> ExportCounts {
        self.exports.clone()
    }

    /// A model's name as a label: itself where it is known, else `other`.
    pub(crate) fn model_label(&self, model: &str) -> &str {
        self.models.label(model)
    }

    /// Counts a refusal of the gateway's own.
    pub(crate) fn count_refusal(&self, kind: &str) {
        let index = REFUSAL_KINDS.iter().position(|known| *known == kind);
        if let Some(count) = index.and_then(|index| self.refusals.get(index)) {
            count.inc();
        }
    }

    fn of(&self, dialect: Dialect) -> &DialectMetrics {
        match dialect {
            Dialect::Native => &self.native,
            Dialect::OpenAi => &self.openai,
            Dialect::Anthropic => &self.anthropic,
        }
    }

    pub(crate) fn begin_request(&self) {
        self.in_flight.inc();
    }

    pub(crate) fn end_request(
        &self,
        dialect: Dialect,
        outcome: Outcome,
        elapsed: Duration,
        first_byte: Option<Duration>,
        overhead: Duration,
    ) {
        self.in_flight.dec();
        let metrics = self.of(dialect);
        if let Some(count) = metrics.requests.get(outcome.index()) {
            count.inc();
        }
        metrics.duration.observe(elapsed.as_secs_f64());
        metrics.overhead.observe(overhead.as_secs_f64());
        if let Some(first_byte) = first_byte {
            metrics.first_byte.observe(first_byte.as_secs_f64());
        }
    }

    pub(crate) fn count_tokens(&self, dialect: Dialect, model: &str, usage: TokenCounts) {
        for (count, tokens) in self.of(dialect).tokens.iter().zip(by_kind(usage)) {
            count.inc_by(tokens);
        }
        self.models.count(model, usage);
    }

    pub(crate) fn count_resumed(&self) {
        self.resumed.inc();
    }

    pub(crate) fn count_cache(&self, result: CacheResult) {
        if let Some(count) = self.cached.get(result as usize) {
            count.inc();
        }
    }

    /// Counts a refusal by the word for its limit, of a small fixed set.
    pub(crate) fn count_limited(&self, limit: &'static str) {
        self.limited.get_or_create(&LimitLabels { limit }).inc();
    }

    /// Counts a reload that was applied, or refused.
    pub(crate) fn count_reload(&self, is_applied: bool) {
        let [applied, refused] = &self.reloads;
        if is_applied { applied } else { refused }.inc();
    }

    pub(crate) fn begin_stream(&self) -> OpenGuard {
        OpenGuard::enter(&self.streams)
    }

    pub(crate) fn begin_connection(&self) -> OpenGuard {
        OpenGuard::enter(&self.connections)
    }

    pub(crate) fn refuse_connection(&self) {
        self.refused_connections.inc();
    }

    /// The text that `GET /metrics` answers with. What lanes and stores do is asked of them now.
    pub(crate) fn render(
        &self,
        pacing: &Pacing,
        cache: Option<&Cache>,
        kept: Option<&Kept>,
    ) -> Result<String, fmt::Error> {
        if let Some((entries, bytes)) = cache.and_then(Cache::size) {
            let level = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
            self.cache_entries.set(level(entries));
            self.cache_bytes.set(level(bytes));
        }
        let mut text = String::new();
        encode_registry(&mut text, &self.registry)?;
        encode_registry(&mut text, &lanes::registry(pacing))?;
        if let Some(kept) = kept {
            encode_registry(&mut text, &kept.registry())?;
        }
        encode_eof(&mut text)?;
        Ok(text)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// Counts one open thing for as long as it lives.
#[derive(Debug)]
pub(crate) struct OpenGuard(Level);

impl OpenGuard {
    fn enter(level: &Level) -> Self {
        level.inc();
        Self(level.clone())
    }
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}
