//! The answer of the quota API, `GET /api/v1/quotas`.
//!
//! Read leniently: numbers may be strings, anything may be missing or null, new fields are passed
//! over. A figure that cannot be read is `None`, as one that is not there.
//!
//! ```
//! use bailian_wire::quota::QuotaAnswer;
//!
//! let answer: QuotaAnswer = serde_json::from_str(
//!     r#"{"output":{"total":1,"quotas":[{"model":"qwen-plus",
//!         "model_limit":{"request_limit":500,"request_limit_period":"1"}}]}}"#,
//! )?;
//! let limit = answer.output.quotas[0].model_limit.as_ref().unwrap();
//! assert_eq!((limit.request_limit, limit.request_limit_period), (Some(500), Some(1)));
//! # Ok::<(), serde_json::Error>(())
//! ```

use serde::{Deserialize, Deserializer, Serialize};

/// One page of quotas with its envelope.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct QuotaAnswer {
    /// The page.
    #[serde(default, deserialize_with = "or_default")]
    pub output: QuotaPage,
    /// The request's id, for support.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// One page of quotas.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct QuotaPage {
    /// Quotas on all pages.
    #[serde(default, deserialize_with = "number")]
    pub total: Option<u64>,
    /// This page, from 1.
    #[serde(default, deserialize_with = "number")]
    pub page_no: Option<u64>,
    /// Quotas per page.
    #[serde(default, deserialize_with = "number")]
    pub page_size: Option<u64>,
    /// The quotas.
    #[serde(default, deserialize_with = "or_default")]
    pub quotas: Vec<Quota>,
}

/// The limits of one model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Quota {
    /// The model's id.
    #[serde(default, deserialize_with = "or_default")]
    pub model: String,
    /// The workspace that was asked about.
    #[serde(default)]
    pub workspace_id: Option<String>,
    /// The account's limit.
    #[serde(default)]
    pub model_limit: Option<LimitSpec>,
    /// The workspace's own limit, never above the account's.
    #[serde(default)]
    pub workspace_limit: Option<LimitSpec>,
}

/// One set of limits. `None` is unlimited or unset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LimitSpec {
    /// Requests per [`request_limit_period`](Self::request_limit_period).
    #[serde(default, deserialize_with = "number")]
    pub request_limit: Option<u64>,
    /// In seconds.
    #[serde(default, deserialize_with = "number")]
    pub request_limit_period: Option<u64>,
    /// Of what [`usage_limit_field`](Self::usage_limit_field) names, per
    /// [`usage_limit_period`](Self::usage_limit_period).
    #[serde(default, deserialize_with = "number")]
    pub usage_limit: Option<u64>,
    /// What is counted, such as `total_tokens`.
    #[serde(default)]
    pub usage_limit_field: Option<String>,
    /// In seconds.
    #[serde(default, deserialize_with = "number")]
    pub usage_limit_period: Option<u64>,
    /// Tasks that may wait.
    #[serde(default, deserialize_with = "number")]
    pub async_user_queue_limit: Option<u64>,
    /// Tasks that may run at once.
    #[serde(default, deserialize_with = "number")]
    pub async_user_concurrency_limit: Option<u64>,
}

fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    let text = match &value {
        serde_json::Value::String(text) => text.trim().parse().ok(),
        _ => value.as_f64(),
    };
    Ok(value.as_u64().or_else(|| text.and_then(whole)))
}

/// Rounded down, as a limit has to be. A negative figure is none.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be finite and not negative; a float cast saturates"
)]
fn whole(value: f64) -> Option<u64> {
    (value.is_finite() && value >= 0.0).then_some(value as u64)
}
