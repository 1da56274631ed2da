//! `POST /prices/quote`: what a usage would cost, line by line.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use axum::Json;
use axum::extract::State as Shared;
use axum::response::{IntoResponse as _, Response};
use bailian_prices::{Context, Currency, Decimal, InputSplit, Options, PriceBook, Request, Usage};
use bailian_tenants::UtcOffset;
use bailian_tenants::settings::Problem;
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use super::fault::{ErrorBody, Fault};
use super::input::{FromBody, Input, json};
use super::query::unix_ms;
use crate::worker::Worker;

/// What is to be priced.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Quote {
    /// The model's name at the service.
    #[schema(example = "qwen-plus")]
    model: String,
    /// Where, such as `cn-beijing`; left out, where the first account is.
    region: Option<String>,
    /// The deployment scope, where a region has several.
    scope: Option<String>,
    /// When; left out, now.
    at: Option<String>,
    usage: QuoteUsage,
    #[serde(default)]
    context: QuoteContext,
    /// `CNY` or `USD`; left out, the list's own.
    #[schema(value_type = Option<String>)]
    currency: Option<Currency>,
    /// Whether published promotions count; left out, as the configuration says.
    promotions: Option<bool>,
    #[serde(default)]
    off_peak: bool,
    /// The most that it may cost, where circumstances are not said.
    #[serde(default)]
    upper_bound: bool,
}

/// What is used. What is left out is nothing.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct QuoteUsage {
    /// All input, cached input included.
    input_tokens: u64,
    implicit_cached_tokens: u64,
    explicit_cached_tokens: u64,
    cache_creation_tokens: u64,
    input_image_tokens: u64,
    input_video_tokens: u64,
    input_audio_tokens: u64,
    /// All output, thinking included.
    output_tokens: u64,
    reasoning_tokens: u64,
    output_audio_tokens: Option<u64>,
    input_images: u64,
    output_images: u64,
    #[schema(value_type = String)]
    input_seconds: Decimal,
    #[schema(value_type = String)]
    output_seconds: Decimal,
    characters: u64,
    calls: u64,
    voices: u64,
    first_used_voices: u64,
    /// Calls of built-in tools, by name.
    tool_calls: BTreeMap<String, u64>,
}

/// How it is made, as far as prices depend on it.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
struct QuoteContext {
    thinking: Option<bool>,
    batch: bool,
    resolution: Option<String>,
    audio: Option<bool>,
    reference_video: Option<bool>,
    service_mode: Option<String>,
    task: Option<String>,
    spec: Option<String>,
    aspect: Option<String>,
    prompt_extend: Option<bool>,
    volume: Option<u64>,
}

/// What it costs.
#[derive(ToSchema)]
#[expect(dead_code, reason = "for the document alone")]
struct Cost {
    /// The sum of the lines, exactly.
    total: String,
    currency: String,
    lines: Vec<CostLine>,
    /// The entry of the price book that was used.
    entry: String,
    /// The version of the price book.
    version: String,
    /// What one should know about this price.
    notes: Vec<String>,
}

/// `amount` = `quantity` / `per` × `unit_price` × `multiplier`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "for the document alone")]
struct CostLine {
    kind: String,
    quantity: String,
    per: u32,
    unit_price: String,
    multiplier: String,
    amount: String,
}

impl FromBody for Quote {
    fn from_body(body: &[u8]) -> Result<Self, Vec<Problem>> {
        json(body)
    }
}

/// What a usage would cost, with the lines that it is made of. Nothing is recorded.
#[utoipa::path(
    post, path = "/prices/quote", tag = "usage",
    request_body = Quote,
    responses(
        (status = 200, body = Cost),
        (status = 422, description = "There is no price for it", body = ErrorBody),
        (status = "4XX", body = ErrorBody),
    )
)]
pub(super) async fn quote(
    Shared(worker): Shared<Worker>,
    Input(quote): Input<Quote>,
) -> Result<Response, Fault> {
    let state = &worker.state;
    let now = state.clock.unix_millis();
    let at = quote.at.as_deref();
    let at = match at.map(|at| unix_ms(at, UtcOffset::UTC)) {
        Some(None) => {
            let problem = "is not a moment such as 2026-11-27T08:00:00+08:00";
            return Err(Fault::of_place("at", problem));
        }
        at => at.flatten().unwrap_or(now),
    };
    let accounting = state.accounting.as_ref();
    let book = match accounting {
        Some(accounting) => &accounting.prices,
        None => PriceBook::embedded(),
    };
    let promotions = quote
        .promotions
        .unwrap_or_else(|| accounting.is_some_and(|it| it.promotions));
    let first = state.accounts.iter().find_map(|it| it.region.clone());
    let region = quote.region.clone().or(first);
    let region = region.ok_or_else(|| Fault::of_place("region", "is missing"))?;
    let at = SystemTime::UNIX_EPOCH + Duration::from_millis(at);
    let is_bound = quote.upper_bound;
    let request = quote.request(region, at, promotions);
    let cost = if is_bound {
        book.estimate(&request)
    } else {
        book.cost(&request)
    };
    let cost = cost.map_err(|error| {
        let message = format!("There is no price: {error}.");
        Fault::new(StatusCode::UNPROCESSABLE_ENTITY, "unpriced", message)
    })?;
    Ok(Json(cost).into_response())
}

impl Quote {
    fn request(self, region: String, at: SystemTime, promotions: bool) -> Request {
        let mut options = Options::new()
            .apply_promo(promotions)
            .off_peak(self.off_peak);
        options.currency = self.currency;
        let mut request = Request::new(self.model, region, at, self.usage.usage())
            .options(options)
            .context(self.context.context());
        request.scope = self.scope;
        request
    }
}

impl QuoteUsage {
    fn usage(self) -> Usage {
        let mut usage = Usage::tokens(self.input_tokens, self.output_tokens);
        usage.implicit_cached_tokens = self.implicit_cached_tokens;
        usage.explicit_cached_tokens = self.explicit_cached_tokens;
        usage.cache_creation_tokens = self.cache_creation_tokens;
        let media = (
            self.input_image_tokens,
            self.input_video_tokens,
            self.input_audio_tokens,
        );
        if media != (0, 0, 0) {
            usage.input_split = Some(InputSplit::new(media.0, media.1, media.2));
        }
        usage.reasoning_tokens = self.reasoning_tokens;
        usage.output_audio_tokens = self.output_audio_tokens;
        usage.input_images = self.input_images;
        usage.output_images = self.output_images;
        usage.input_seconds = self.input_seconds;
        usage.output_seconds = self.output_seconds;
        usage.characters = self.characters;
        usage.calls = self.calls;
        usage.voices = self.voices;
        usage.first_used_voices = self.first_used_voices;
        usage.tool_calls = self.tool_calls;
        usage
    }
}

impl QuoteContext {
    fn context(self) -> Context {
        let mut context = Context::new();
        context.thinking = self.thinking;
        context.batch = self.batch;
        context.resolution = self.resolution;
        context.audio = self.audio;
        context.reference_video = self.reference_video;
        context.service_mode = self.service_mode;
        context.task = self.task;
        context.spec = self.spec;
        context.aspect = self.aspect;
        context.prompt_extend = self.prompt_extend;
        context.volume = self.volume;
        context
    }
}
