//! The error catalogue, embedded and read once.

use std::sync::LazyLock;
use std::time::Duration;

use serde::Deserialize;

use super::{Backoff, ErrorClass, Failover};

static TABLE: LazyLock<ErrorTable> =
    LazyLock::new(|| ErrorTable::parse(include_str!("../../data/errors.json")));

/// Where an error is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Surface {
    /// In HTTP answers.
    Http,
    /// In WebSocket events.
    Websocket,
    /// In the result of an asynchronous task.
    Task,
    /// In the rows of a batch.
    Batch,
    /// Made by the official client itself.
    Client,
    /// A surface that this version does not know.
    #[serde(other)]
    Other,
}

/// One error that the service is documented or known to answer with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ErrorEntry {
    /// The HTTP status, where there is one.
    pub status: Option<u16>,
    /// Other statuses it was seen with.
    pub also_status: Vec<u16>,
    /// The native code.
    pub code: Option<String>,
    /// `error.code` on the OpenAI-compatible surface.
    pub compat_code: Option<String>,
    /// `error.type` on the OpenAI-compatible surface.
    pub compat_type: Option<String>,
    /// Other spellings of the code.
    pub also_seen_as: Vec<String>,
    /// What it means.
    pub class: ErrorClass,
    /// Tells entries of the same code apart.
    pub subcase: Option<String>,
    /// How to retry, if that makes sense.
    pub retry: Option<Backoff>,
    /// Where else the request may succeed.
    pub failover: Failover,
    /// Messages that the service uses, alternatives apart; `xxx` and the like stand for something
    /// that varies.
    pub messages: Vec<String>,
    /// Where it is seen.
    pub surface: Surface,
}

/// All entries of the catalogue.
#[derive(Debug, Default)]
pub struct ErrorTable {
    entries: Vec<ErrorEntry>,
    skipped: usize,
}

impl ErrorTable {
    /// The catalogue of this version.
    pub fn embedded() -> &'static Self {
        &TABLE
    }

    /// The entries, in the catalogue's order.
    pub fn entries(&self) -> &[ErrorEntry] {
        &self.entries
    }

    /// Entries that could not be read. They are left out, not fatal.
    pub fn skipped(&self) -> usize {
        self.skipped
    }

    fn parse(json: &str) -> Self {
        let file: RawFile = serde_json::from_str(json).unwrap_or_default();
        let mut table = Self::default();
        for entry in file.entries {
            match serde_json::from_str::<RawEntry>(entry.get()) {
                Ok(raw) => table.entries.push(raw.into_entry()),
                Err(_) => table.skipped += 1,
            }
        }
        table
    }

    /// The entry of a native code; the first one where several share it.
    pub fn by_native_code(&self, code: &str) -> Option<&ErrorEntry> {
        self.entries
            .iter()
            .find(|entry| entry.code.as_deref() == Some(code))
    }
}

#[derive(Default, Deserialize)]
struct RawFile {
    entries: Vec<Box<serde_json::value::RawValue>>,
}

#[derive(Deserialize)]
struct RawEntry {
    http_status: Option<u16>,
    also_status: Option<Vec<u16>>,
    code: Option<String>,
    compat_code: Option<String>,
    compat_type: Option<String>,
    also_seen_as: Option<Vec<String>>,
    class: ErrorClass,
    subcase: Option<String>,
    retry: RawRetry,
    failover: Option<String>,
    messages: Option<Vec<String>>,
    protocol: Surface,
}

#[derive(Deserialize)]
struct RawRetry {
    retryable: String,
    delay: RawDelay,
}

#[derive(Deserialize)]
struct RawDelay {
    source: Option<String>,
    initial_s: Option<f64>,
    factor: Option<f64>,
    max_s: Option<f64>,
    max_attempts: Option<u32>,
    jitter: Option<f64>,
    rate_cut: Option<f64>,
    concurrency_cut: Option<f64>,
}

impl RawEntry {
    fn into_entry(self) -> ErrorEntry {
        let failover = match self.failover.as_deref() {
            None | Some("none") => Failover::Nowhere,
            Some(place) if place.contains("account") => Failover::OtherAccountOrRegion,
            Some(place) if place.contains("key") => Failover::OtherKey,
            Some(_) => Failover::OtherRegionOrModel,
        };
        ErrorEntry {
            status: self.http_status,
            also_status: self.also_status.unwrap_or_default(),
            code: self.code,
            compat_code: self.compat_code,
            compat_type: self.compat_type,
            also_seen_as: self.also_seen_as.unwrap_or_default(),
            class: self.class,
            subcase: self.subcase,
            retry: self.retry.into_backoff(),
            failover,
            messages: self
                .messages
                .iter()
                .flatten()
                .flat_map(|message| alternatives(message))
                .collect(),
            surface: self.protocol,
        }
    }
}

/// The catalogue writes two texts of one error as `one / other` or `one/'other'`.
fn alternatives(message: &str) -> impl Iterator<Item = String> + '_ {
    message
        .split(" / ")
        .flat_map(|message| message.split("/'"))
        .map(str::to_owned)
}

impl RawRetry {
    fn into_backoff(self) -> Option<Backoff> {
        let delay = self.delay;
        let retried = match self.retryable.as_str() {
            "yes" => true,
            // What the condition is stands in prose. Where the catalogue bounds the attempts or
            // names a polling interval, trying again is harmless; else somebody has to act first.
            "conditional" => {
                delay.max_attempts.is_some() || delay.source.as_deref() == Some("polling interval")
            }
            _ => false,
        };
        if !retried {
            return None;
        }
        let seconds = |value: Option<f64>, default: f64| {
            Duration::try_from_secs_f64(value.unwrap_or(default)).unwrap_or_default()
        };
        Some(Backoff {
            initial: seconds(delay.initial_s, 0.5),
            factor: delay.factor.unwrap_or(2.0),
            max: seconds(delay.max_s, 8.0),
            max_attempts: delay.max_attempts,
            jitter: delay.jitter,
            rate_cut: delay.rate_cut,
            concurrency_cut: delay.concurrency_cut,
        })
    }
}
