//! Pacing: calls wait for their turn below the account's limits instead of being refused.
//!
//! Every model is a *lane* of `bailian-quota`. Its limits are what [`Pacing::limits`] says, else, at
//! the service's own hosts, the published ones; elsewhere nothing is known and the service's
//! refusals teach the lane. Clients that use one account in one process should share one pacing:
//! clones are the same.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use bailian_quota::{
    Class, Demand, Lane, LaneConfig, LaneSnapshot, Layer, Limit, Measure, Pacer, Permit, Refused,
    Source, Stop, Throttle,
};
use bailian_wire::catalog::{self, LimitTable, LimitWindow};
use bailian_wire::error::{ApiError, ErrorClass, parse_error_body};
use tokio::time::Instant;

use crate::region::Region;

/// Of a model that nothing is known of, at the service itself (catalogue, "Client scheduler").
const DEFAULT_REQUESTS: u64 = 60;
const DEFAULT_TOKENS: u64 = 100_000;
const MINUTE: Duration = Duration::from_mins(1);

/// How calls are paced. On unless it is [`Pacing::off`].
///
/// ```
/// use bailian::pacing::{Limit, Measure, Pacing};
///
/// let pacing = Pacing::new().limits("qwen-plus", [Limit::parse(Measure::Requests, "600/60s")?]);
/// let client = bailian::Client::builder().pacing(pacing);
/// # drop(client);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Pacing {
    pacer: Option<Pacer>,
    limits: Arc<Vec<(String, Vec<Limit>)>>,
}

impl Pacing {
    /// Pacing with nothing told.
    pub fn new() -> Self {
        Self {
            pacer: Some(Pacer::new()),
            limits: Arc::default(),
        }
    }

    /// No pacing: calls are sent as they come, and retried when the service refuses.
    pub fn off() -> Self {
        Self {
            pacer: None,
            limits: Arc::default(),
        }
    }

    /// Says what the account may use of a model, or with `*` of every other one.
    pub fn limits(
        mut self,
        model: impl Into<String>,
        limits: impl IntoIterator<Item = Limit>,
    ) -> Self {
        let entry = (model.into(), limits.into_iter().collect());
        Arc::make_mut(&mut self.limits).push(entry);
        self
    }

    /// All lanes that were used, with what they know.
    pub fn lanes(&self) -> Vec<Lane> {
        self.pacer.as_ref().map(Pacer::lanes).unwrap_or_default()
    }

    /// The lane of a model; `None` without pacing.
    pub(crate) fn lane(&self, model: &str, region: Option<Region>) -> Option<Lane> {
        let pacer = self.pacer.as_ref()?;
        let pool = region.and_then(|region| {
            let entry = LimitTable::embedded().tightest(model, region.as_str())?;
            entry.pool.as_ref().map(|pool| pool.name.as_str())
        });
        let lane = pacer.lane(pool.unwrap_or(model), || {
            let told = self
                .limits
                .iter()
                .find(|(name, _)| name == model || name == "*");
            LaneConfig::new(match (told, region) {
                (Some((_, limits)), _) => limits.clone(),
                (None, Some(region)) => published_limits(model, region),
                (None, None) => Vec::new(),
            })
        });
        Some(lane)
    }
}

impl Default for Pacing {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Pacing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pacing")
            .field("on", &self.pacer.is_some())
            .finish_non_exhaustive()
    }
}

/// The published limits of a model in a region, else a small default. They are a starting point
/// that the service's refusals correct.
pub fn published_limits(model: &str, region: Region) -> Vec<Limit> {
    let entry = LimitTable::embedded().tightest(model, region.as_str());
    let published = entry.map(|entry| {
        let layer = if entry.pool.is_some() {
            Layer::Pool
        } else {
            Layer::Model
        };
        let windows = entry.windows();
        let limits = windows.into_iter().filter_map(limit_of_window);
        limits
            .map(|limit| limit.of(layer).from(Source::Catalogue))
            .collect::<Vec<_>>()
    });
    published
        .filter(|limits| !limits.is_empty())
        .unwrap_or_else(|| {
            vec![
                Limit::requests(DEFAULT_REQUESTS, MINUTE).from(Source::Default),
                Limit::tokens(DEFAULT_TOKENS, MINUTE).from(Source::Default),
            ]
        })
}

fn limit_of_window(window: LimitWindow) -> Option<Limit> {
    match (window.measure, window.period) {
        (_, _) if window.amount == 0 => None,
        (catalog::Measure::Requests, Some(period)) => Some(Limit::requests(window.amount, period)),
        (catalog::Measure::Tokens, Some(period)) => Some(Limit::tokens(window.amount, period)),
        (catalog::Measure::Running, _) => Some(Limit::running(window.amount)),
        // Characters are not counted here.
        _ => None,
    }
}

/// What an error of the service means to its lane; `None` for errors that are about the request.
pub fn throttle_of(error: &ApiError) -> Option<Throttle> {
    let code = error.native_code().or(error.code()).unwrap_or_default();
    match error.class() {
        ErrorClass::RateLimitRequests if code == "Throttling.Concurrency" => {
            Some(Throttle::Concurrency)
        }
        // The bare code is the service's own lack of room.
        ErrorClass::RateLimitRequests if code == "Throttling" => Some(Throttle::Capacity),
        ErrorClass::RateLimitRequests => Some(Throttle::Requests),
        ErrorClass::RateLimitTokens => Some(Throttle::Tokens),
        ErrorClass::RateLimitBurst => Some(Throttle::Burst),
        ErrorClass::QuotaExhausted => Some(Throttle::Exhausted(Stop::new(
            code,
            error.message(),
            error.status(),
        ))),
        _ if error.status() == 429 => Some(Throttle::Capacity),
        _ => None,
    }
}

/// A call's place in its lane.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) lane: Lane,
    pub(crate) class: Class,
    pub(crate) input_tokens: u64,
    pub(crate) max_output: Option<u64>,
}

impl Turn {
    /// Waits for it.
    pub(crate) async fn wait(&self, deadline: Option<Instant>) -> Result<Permit, Refused> {
        let patience = deadline.map(|end| end.saturating_duration_since(Instant::now()));
        let demand = Demand::new("", self.input_tokens)
            .class(self.class)
            .max_output_tokens(self.max_output)
            .patience(patience);
        self.lane.acquire(demand).await
    }
}

/// The service's own words for a lane that it has stopped.
pub(crate) fn stop_error(code: &str, message: &str, status: u16) -> ApiError {
    let body = serde_json::json!({ "code": code, "message": message });
    parse_error_body(status, body.to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, code: &str) -> Option<&'static str> {
        let body = format!(r#"{{"code":"{code}","message":"m","request_id":"r"}}"#);
        throttle_of(&parse_error_body(status, body.as_bytes())).map(|throttle| throttle.as_str())
    }

    #[test]
    fn every_refusal_of_the_service_is_told_apart() {
        assert_eq!(read(429, "Throttling.RateQuota"), Some("requests"));
        assert_eq!(read(429, "Throttling.BurstRate"), Some("burst"));
        assert_eq!(read(429, "Throttling.Concurrency"), Some("concurrency"));
        assert_eq!(read(429, "Throttling"), Some("capacity"));
        assert!(read(429, "Throttling.Unheard").is_some());
        assert_eq!(read(400, "Arrearage"), Some("exhausted"));
        assert_eq!(read(403, "AllocationQuota.FreeTierOnly"), Some("exhausted"));
        assert_eq!(read(400, "InvalidParameter"), None);
        assert_eq!(read(500, "InternalError"), None);
    }

    #[test]
    fn lanes_begin_with_what_was_told_and_else_with_what_is_published() {
        let seven = Limit::parse(Measure::Requests, "7/1s").unwrap();
        let pacing = Pacing::new().limits("qwen-plus", [seven]);
        let region = Some(Region::CnBeijing);
        let sources = |model: &str, region| {
            let limits = pacing.lane(model, region).unwrap().snapshot().limits;
            limits
                .iter()
                .map(|limit| limit.limit.source.as_str())
                .collect::<Vec<_>>()
        };
        assert_eq!(sources("qwen-plus", region), ["config"]);
        assert!(sources("qwen-max", region).contains(&"catalogue"));
        assert!(sources("qwen-of-tomorrow", region).contains(&"default"));
        assert!(sources("qwen-flash", None).is_empty());
        assert!(Pacing::off().lane("qwen-plus", region).is_none());
    }

    #[test]
    fn a_stopped_lane_speaks_with_the_services_words() {
        let error = stop_error("Arrearage", "欠费", 400);
        assert_eq!((error.code(), error.message()), (Some("Arrearage"), "欠费"));
        assert_eq!(error.class(), ErrorClass::QuotaExhausted);
    }
}
