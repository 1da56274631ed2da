//! `GET /status`: how the gateway is, in one answer.

use axum::Json;
use axum::extract::State as Shared;
use bailian_ledger::Status as LedgerStatus;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::fault::{Fault, Faults};
use super::input::blocking;
use crate::worker::Worker;

/// How the gateway is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Status {
    /// The program's version.
    version: &'static str,
    /// The version of the price list, with the operator's own prices.
    #[serde(skip_serializing_if = "Option::is_none")]
    prices: Option<String>,
    /// The ledger; `null` where the gateway keeps nothing.
    #[schema(value_type = Option<LedgerState>)]
    ledger: Option<Value>,
    /// The store of keys; `null` where the gateway keeps nothing.
    store: Option<StoreState>,
    lanes: LaneCounts,
    /// Targets that failed again and again, and are asked after all others.
    targets_left_alone: Vec<String>,
    /// Whether limits are shared with other replicas now; `null` for a gateway alone.
    #[schema(value_type = Option<Object>)]
    redis: Option<Value>,
}

/// The ledger, see docs/ledger.md.
#[derive(ToSchema)]
#[expect(dead_code, reason = "for the document alone")]
struct LedgerState {
    backlog_frames: u64,
    backlog_bytes: u64,
    store_ok: bool,
    spool_ok: bool,
    last_error: Option<String>,
    last_ingested_unix_ms: Option<u64>,
    lost: u64,
    damaged_bytes: u64,
    refused: u64,
    buried: u64,
    open: u64,
}

/// The store of keys.
#[derive(Debug, Serialize, ToSchema)]
struct StoreState {
    /// Whether it answers.
    ok: bool,
    /// The latest change; `null` while it does not answer.
    revision: Option<u64>,
    /// The change up to which this replica follows it.
    followed: u64,
    /// Keys that this replica knows.
    keys: usize,
}

/// All lanes together.
#[derive(Debug, Default, Serialize, ToSchema)]
struct LaneCounts {
    lanes: usize,
    running: u64,
    waiting: usize,
    /// Lanes that the service has stopped.
    stopped: usize,
}

/// How the gateway is: its version, the ledger, the store of keys, lanes, targets that are left
/// alone.
#[utoipa::path(
    get, path = "/status", tag = "status",
    responses(
        (status = 200, body = Status),
        Faults,
    )
)]
pub(super) async fn status(Shared(worker): Shared<Worker>) -> Result<Json<Status>, Fault> {
    let accounting = worker.state.accounting.clone();
    let store = match &accounting {
        Some(accounting) => {
            let accounting = accounting.clone();
            Some(blocking(move || Ok(StoreState::of(&accounting))).await?)
        }
        None => None,
    };
    let mut lanes = LaneCounts::default();
    for lane in worker.state.pacing.lanes() {
        let lane = lane.snapshot();
        lanes.lanes += 1;
        lanes.running += lane.running;
        lanes.waiting += lane.waiting.iter().map(|(_, count)| *count).sum::<usize>();
        lanes.stopped += usize::from(lane.stopped.is_some());
    }
    Ok(Json(Status {
        version: env!("CARGO_PKG_VERSION"),
        prices: accounting.as_ref().map(|it| it.prices.version().to_owned()),
        ledger: accounting.as_ref().map(|it| ledger(&it.ledger.status())),
        store,
        lanes,
        targets_left_alone: worker.state.routes.open_breakers(),
        redis: worker.state.pacing.sharing().map(|sharing| {
            json!({
                "connected": sharing.connected,
                "replicas": sharing.replicas,
                "last_error": sharing.last_error,
            })
        }),
    }))
}

impl StoreState {
    fn of(accounting: &crate::accounting::Accounting) -> Self {
        let revision = accounting.admin.store().revision();
        if let Err(error) = &revision {
            tracing::warn!(%error, "the store of keys does not answer");
        }
        let directory = accounting.live.current();
        Self {
            ok: revision.is_ok(),
            revision: revision.ok().map(|revision| revision.0),
            followed: directory.revision().0,
            keys: directory.key_count(),
        }
    }
}

/// The ledger's status as JSON.
fn ledger(status: &LedgerStatus) -> Value {
    json!({
        "backlog_frames": status.backlog_frames,
        "backlog_bytes": status.backlog_bytes,
        "store_ok": status.store_ok,
        "spool_ok": status.spool_ok,
        "last_error": status.last_error,
        "last_ingested_unix_ms": status.last_ingested_unix_ms,
        "lost": status.lost,
        "damaged_bytes": status.damaged_bytes,
        "refused": status.refused,
        "buried": status.buried,
        "open": status.open,
    })
}
