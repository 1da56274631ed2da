//! What can be asked of the records.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use uuid::Uuid;

use crate::record::Tokens;
use crate::text::Currency;

/// Which records are meant. What is `None` is not asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Filter {
    /// Begun at this moment or later, in milliseconds since the Unix epoch.
    pub from_unix_ms: Option<u64>,
    /// Begun before this moment.
    pub to_unix_ms: Option<u64>,
    /// Of this tenant.
    pub tenant: Option<String>,
    /// Of this project.
    pub project: Option<String>,
    /// Of this virtual key.
    pub key_id: Option<String>,
    /// For this model, as the client named it.
    pub model: Option<String>,
    /// Answered by this account.
    pub account: Option<String>,
    /// On this surface.
    pub surface: Option<String>,
    /// With this outcome.
    pub outcome: Option<String>,
    /// Settled ones only, or unsettled ones only.
    pub settled: Option<bool>,
    /// With this id.
    pub id: Option<Uuid>,
    /// With this id at upstream. No index helps here: give a time, too, where there are many records.
    pub upstream_request_id: Option<String>,
}

/// By what usage is told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GroupBy {
    /// The tenant.
    Tenant,
    /// The tenant's project.
    Project,
    /// The virtual key.
    Key,
    /// The model as the client named it.
    Model,
    /// The model's name upstream.
    UpstreamModel,
    /// The account that answered.
    Account,
    /// The account's region.
    Region,
    /// The surface.
    Surface,
    /// The client's dialect.
    Dialect,
    /// How the request ended.
    Outcome,
    /// The version of the prices.
    PriceVersion,
    /// The day on which it began, as `2026-11-27`, where clocks are so many seconds ahead of UTC.
    Day(i32),
    /// The hour in which it began, as `2026-11-27T09`, where clocks are so many seconds ahead of UTC.
    Hour(i32),
}

/// Sums of one group. All of them are exact.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UsageRow {
    /// The group's values in the order that was asked for; `None` where a record has none.
    pub group: Vec<Option<String>>,
    /// Requests.
    pub requests: u64,
    /// Of these, not settled: in flight, or begun by a process that died.
    pub unsettled: u64,
    /// Of the requests, those whose amounts are guessed; the unsettled are among them.
    pub estimated: u64,
    /// Of the requests, those without a price.
    pub unpriced: u64,
    /// Tokens by kind, guessed ones among them.
    pub tokens: Tokens,
    /// Images.
    pub images: u64,
    /// Audio and video, in milliseconds.
    pub media_ms: u64,
    /// Characters.
    pub characters: u64,
    /// Cost by currency, guessed cost included.
    pub cost: BTreeMap<Currency, Decimal>,
    /// The part of it that is guessed.
    pub estimated_cost: BTreeMap<Currency, Decimal>,
}

/// A place between two records in the order of their beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// The beginning of the last record that was read.
    pub started_unix_ms: u64,
    /// Its id.
    pub id: Uuid,
}

/// Which part of the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page {
    /// Only what comes after it.
    pub after: Option<Cursor>,
    /// The most records; at most [`Page::MOST`].
    pub limit: u32,
    /// The latest first.
    pub newest_first: bool,
}

impl Page {
    /// The most records of one page.
    pub const MOST: u32 = 10_000;

    /// The first records.
    pub fn first(limit: u32) -> Self {
        Self {
            after: None,
            limit,
            newest_first: false,
        }
    }

    /// The latest records first.
    pub fn newest(limit: u32) -> Self {
        Self {
            newest_first: true,
            ..Self::first(limit)
        }
    }

    /// The same page behind a record.
    pub fn after(self, cursor: Cursor) -> Self {
        Self {
            after: Some(cursor),
            ..self
        }
    }
}

impl crate::record::Record {
    /// The place behind this record.
    pub fn cursor(&self) -> Cursor {
        Cursor {
            started_unix_ms: self.begin.started_unix_ms,
            id: self.begin.id,
        }
    }
}
