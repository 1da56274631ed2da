//! Metrics by the conventions for generative AI.

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Histogram, MeterProvider as _};
use opentelemetry_sdk::metrics::SdkMeterProvider;

use super::spans::Place;
use super::{Ended, operation};

/// The conventions' own boundaries of token counts.
const TOKENS: [f64; 14] = [
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];

/// The conventions' own boundaries of durations, in seconds.
const SECONDS: [f64; 14] = [
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
];

pub(super) struct Meters {
    tokens: Histogram<u64>,
    duration: Histogram<f64>,
    first_token: Histogram<f64>,
}

impl Meters {
    pub(super) fn new(provider: &SdkMeterProvider) -> Self {
        let meter = provider.meter("bailian");
        let seconds = |name: &'static str, description: &'static str| {
            meter
                .f64_histogram(name)
                .with_unit("s")
                .with_description(description)
                .with_boundaries(SECONDS.to_vec())
                .build()
        };
        Self {
            tokens: meter
                .u64_histogram("gen_ai.client.token.usage")
                .with_unit("{token}")
                .with_description("Number of input and output tokens used.")
                .with_boundaries(TOKENS.to_vec())
                .build(),
            duration: seconds(
                "gen_ai.client.operation.duration",
                "GenAI operation duration.",
            ),
            first_token: seconds(
                "gen_ai.server.time_to_first_token",
                "Time to generate first token for successful responses.",
            ),
        }
    }

    /// Every attribute has few values: names of models are bounded before they come here.
    pub(super) fn record(&self, ended: &Ended<'_>, place: Option<&Place>) {
        let mut attributes = Vec::with_capacity(7);
        attributes.extend([
            KeyValue::new("gen_ai.operation.name", operation(ended.surface)),
            KeyValue::new("gen_ai.request.model", ended.model_label.to_owned()),
        ]);
        if let Some(place) = place {
            attributes.extend([
                KeyValue::new("gen_ai.provider.name", place.provider),
                KeyValue::new("server.address", place.host.clone()),
            ]);
        }
        if let Some(first) = ended.first_byte {
            self.first_token.record(first.as_secs_f64(), &attributes);
        }
        if let Some(usage) = ended.usage {
            for (kind, tokens) in [
                ("input", usage.input_tokens),
                ("output", usage.output_tokens),
            ] {
                attributes.push(KeyValue::new("gen_ai.token.type", kind));
                self.tokens.record(tokens, &attributes);
                attributes.pop();
            }
        }
        if ended.error.is_some() {
            attributes.push(KeyValue::new("error.type", ended.outcome.as_str()));
        }
        self.duration
            .record(ended.elapsed.as_secs_f64(), &attributes);
    }
}
