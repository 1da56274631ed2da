//! What was served, as the truth for tests.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use serde::Serialize;

use crate::throttle::Meter;

/// How a request was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Verdict {
    /// Not answered to its end yet.
    Open,
    /// Answered to its end.
    Ok,
    /// Refused, as the service would.
    Rejected,
    /// Spoilt on purpose.
    Fault,
    /// The client left before the end.
    ClientLeft,
}

/// One served request.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct JournalEntry {
    /// Its number, from 1.
    pub number: u64,
    /// The request id that the answer carries.
    pub request_id: String,
    /// Arrival, in milliseconds since the Unix epoch.
    pub arrival_unix_ms: u64,
    /// Arrival, in milliseconds since the simulator's start, on a clock that never goes back.
    pub arrival_ms: f64,
    /// The key's first letters and a fingerprint.
    pub key: String,
    /// The account that it belongs to.
    pub account: String,
    /// The path.
    pub path: String,
    /// `native` or `openai`.
    pub dialect: String,
    /// The model.
    pub model: String,
    /// Whether a stream was asked for.
    pub stream: bool,
    /// How it was answered.
    pub verdict: Verdict,
    /// The HTTP status, or the status inside the stream.
    pub status: u16,
    /// The error's native code.
    pub code: Option<String>,
    /// Input tokens, what was cached among them.
    pub input_tokens: u64,
    /// Input tokens that were in the context cache.
    pub cached_tokens: u64,
    /// Input tokens that an explicit marker put there.
    pub cache_creation_tokens: u64,
    /// Output tokens that were sent, or would have been in a plain answer.
    pub output_tokens: u64,
    /// Frames that were sent.
    pub frames: u64,
    /// Body bytes that were sent.
    pub bytes_sent: u64,
    /// From arrival to the first body byte, in milliseconds.
    pub first_byte_ms: Option<f64>,
    /// From arrival to the end, in milliseconds.
    pub finished_ms: Option<f64>,
    /// From arrival to the moment the client was seen to be gone, in milliseconds.
    pub client_left_ms: Option<f64>,
}

/// Sums over the requests of one model and account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Totals {
    /// Requests.
    pub requests: u64,
    /// Answered to their end.
    pub ok: u64,
    /// Refused.
    pub rejected: u64,
    /// Spoilt on purpose.
    pub faults: u64,
    /// Left by the client.
    pub client_left: u64,
    /// Input tokens of requests that were answered.
    pub input_tokens: u64,
    /// Output tokens.
    pub output_tokens: u64,
}

/// All that was served.
#[derive(Debug)]
pub(crate) struct Journal {
    started: Instant,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    entries: VecDeque<JournalEntry>,
    next: u64,
    dropped: u64,
}

impl Journal {
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            kept: Mutex::default(),
        }
    }

    /// A guard of something that the journal does not have.
    pub(crate) fn nothing(self: &Arc<Self>) -> JournalGuard {
        JournalGuard {
            journal: Arc::clone(self),
            number: 0,
            arrived: Instant::now(),
            verdict: None,
            meter: None,
        }
    }

    /// Opens an entry; the guard closes it.
    pub(crate) fn open(
        self: &Arc<Self>,
        capacity: usize,
        fill: impl FnOnce(&mut JournalEntry),
    ) -> JournalGuard {
        let arrived = Instant::now();
        let unix = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let mut kept = self.kept.lock();
        kept.next += 1;
        let number = kept.next;
        let mut entry = JournalEntry {
            number,
            request_id: String::new(),
            arrival_unix_ms: u64::try_from(unix.as_millis()).unwrap_or(u64::MAX),
            arrival_ms: millis(arrived, self.started),
            key: String::new(),
            account: String::new(),
            path: String::new(),
            dialect: String::new(),
            model: String::new(),
            stream: false,
            verdict: Verdict::Open,
            status: 200,
            code: None,
            input_tokens: 0,
            cached_tokens: 0,
            cache_creation_tokens: 0,
            output_tokens: 0,
            frames: 0,
            bytes_sent: 0,
            first_byte_ms: None,
            finished_ms: None,
            client_left_ms: None,
        };
        fill(&mut entry);
        kept.entries.push_back(entry);
        while kept.entries.len() > capacity.max(1) {
            kept.entries.pop_front();
            kept.dropped += 1;
        }
        JournalGuard {
            journal: Arc::clone(self),
            number,
            arrived,
            verdict: None,
            meter: None,
        }
    }

    /// The entries, in order of arrival.
    pub(crate) fn entries(&self) -> Vec<JournalEntry> {
        self.kept.lock().entries.iter().cloned().collect()
    }

    /// How many entries were dropped to make room.
    pub(crate) fn dropped(&self) -> u64 {
        self.kept.lock().dropped
    }

    /// Forgets everything; numbers go on.
    pub(crate) fn clear(&self) {
        let mut kept = self.kept.lock();
        kept.entries.clear();
        kept.dropped = 0;
    }

    /// Sums by account and model.
    pub(crate) fn totals(&self) -> BTreeMap<String, BTreeMap<String, Totals>> {
        let mut totals: BTreeMap<String, BTreeMap<String, Totals>> = BTreeMap::new();
        for entry in &self.kept.lock().entries {
            let of = totals
                .entry(entry.account.clone())
                .or_default()
                .entry(entry.model.clone())
                .or_default();
            of.requests += 1;
            match entry.verdict {
                Verdict::Open => {}
                Verdict::Ok => of.ok += 1,
                Verdict::Rejected => of.rejected += 1,
                Verdict::Fault => of.faults += 1,
                Verdict::ClientLeft => of.client_left += 1,
            }
            if entry.verdict != Verdict::Rejected {
                of.input_tokens += entry.input_tokens;
                of.output_tokens += entry.output_tokens;
            }
        }
        totals
    }

    fn with(&self, number: u64, change: impl FnOnce(&mut JournalEntry)) {
        let mut kept = self.kept.lock();
        if let Ok(at) = kept
            .entries
            .binary_search_by_key(&number, |entry| entry.number)
            && let Some(entry) = kept.entries.get_mut(at)
        {
            change(entry);
        }
    }
}

fn millis(now: Instant, since: Instant) -> f64 {
    now.saturating_duration_since(since).as_secs_f64() * 1e3
}

/// The open entry of a request. Dropped without a verdict, it says that the client left.
#[derive(Debug)]
pub(crate) struct JournalGuard {
    journal: Arc<Journal>,
    number: u64,
    arrived: Instant,
    verdict: Option<Verdict>,
    /// Where the output tokens are counted against a limit.
    meter: Option<Meter>,
}

impl JournalGuard {
    /// Counts the output against a limit, too.
    pub(crate) fn count_by(&mut self, meter: Option<Meter>) {
        self.meter = meter;
    }

    /// Notes the output tokens of a plain answer.
    pub(crate) fn made(&self, tokens: u64) {
        self.update(|entry| entry.output_tokens = tokens);
        if let Some(meter) = &self.meter {
            meter.charge(tokens);
        }
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut JournalEntry)) {
        if self.number > 0 {
            self.journal.with(self.number, change);
        }
    }

    /// Notes body bytes that go out.
    pub(crate) fn sent(&self, bytes: usize, frames: u64, tokens: u64) {
        let elapsed = millis(Instant::now(), self.arrived);
        self.update(|entry| {
            entry.first_byte_ms.get_or_insert(elapsed);
            entry.bytes_sent += bytes as u64;
            entry.frames += frames;
            entry.output_tokens += tokens;
        });
        if let Some(meter) = &self.meter {
            meter.charge(tokens);
        }
    }

    /// Decides how the request ends, once it does.
    pub(crate) fn conclude(&mut self, verdict: Verdict) {
        self.verdict = Some(verdict);
    }
}

impl Drop for JournalGuard {
    fn drop(&mut self) {
        let elapsed = millis(Instant::now(), self.arrived);
        let verdict = self.verdict.unwrap_or(Verdict::ClientLeft);
        self.update(|entry| {
            entry.verdict = verdict;
            if verdict == Verdict::ClientLeft {
                entry.client_left_ms = Some(elapsed);
            } else {
                entry.finished_ms = Some(elapsed);
            }
        });
    }
}
