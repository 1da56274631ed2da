//! `GET /lanes`: every lane's limits, where they came from, what is used, who waits.

use axum::Json;
use axum::extract::State as Shared;
use bailian_quota::{Class, LaneSnapshot, LimitSnapshot};
use serde_json::{Value, json};

use super::fault::ErrorBody;
use crate::worker::Worker;

/// Every lane: its limits and where they came from, what is used, who waits, refusals.
#[utoipa::path(
    get, path = "/lanes", tag = "status",
    responses(
        (status = 200, description = "All lanes", body = Object),
        (status = 401, description = "Not the operator's token", body = ErrorBody),
    )
)]
pub(super) async fn list(Shared(worker): Shared<Worker>) -> Json<Value> {
    let lanes: Vec<Value> = all(&worker);
    Json(json!({ "object": "list", "data": lanes }))
}

fn all(worker: &Worker) -> Vec<Value> {
    let pacing = &worker.state.pacing;
    let mut lanes = pacing.lanes();
    lanes.sort_by(|a, b| a.name().cmp(b.name()));
    lanes
        .iter()
        .map(|lane| {
            let (account, name) = pacing.account_of(lane.name());
            lane_json(account, name, &lane.snapshot())
        })
        .collect()
}

fn lane_json(account: &str, name: &str, lane: &LaneSnapshot) -> Value {
    let tenants: Vec<Value> = lane
        .tenants
        .iter()
        .map(|tenant| {
            json!({
                "tenant": &*tenant.tenant,
                "class": tenant.class.as_str(),
                "waiting": tenant.waiting,
            })
        })
        .collect();
    let stopped = lane.stopped.as_ref().map(
        |stop| json!({ "status": stop.status, "code": &*stop.code, "message": &*stop.message }),
    );
    let waited = lane
        .waited
        .iter()
        .map(|(class, time)| (*class, time.as_secs_f64()));
    json!({
        "object": "lane",
        "account": account,
        "lane": name,
        "limits": lane.limits.iter().map(limit_json).collect::<Vec<_>>(),
        "running": lane.running,
        "max_running": lane.max_running,
        "ramp_requests_per_second": lane.ramp_per_second,
        "replicas": lane.replicas,
        "waiting": by_class(lane.waiting.iter().copied()),
        "waiting_tenants": tenants,
        "paused_ms": millis(lane.paused_for),
        "stopped": stopped,
        "granted": by_class(lane.granted.iter().copied()),
        "wait_seconds": by_class(waited),
        "refused": {
            "too_late": lane.refused_too_late,
            "line_full": lane.refused_full,
            "timed_out": lane.timed_out,
            "left": lane.left,
        },
        "throttled": lane.throttled.iter().copied().collect::<std::collections::BTreeMap<_, _>>(),
        "estimate_error": lane.estimate_error,
        "input_factor": lane.input_factor,
        "answer_seconds": lane.answer_seconds,
    })
}

fn limit_json(limit: &LimitSnapshot) -> Value {
    json!({
        "measure": limit.limit.measure.as_str(),
        "amount": limit.limit.amount,
        "period_seconds": limit.limit.period.as_secs_f64(),
        "layer": limit.limit.layer.as_str(),
        "source": limit.limit.source.as_str(),
        "exact": limit.limit.exact,
        "allowed": limit.allowed,
        "used": limit.used,
        "allowed_all_replicas": limit.whole,
        "used_other_replicas": limit.others_used,
    })
}

fn by_class<T: Into<Value>>(figures: impl Iterator<Item = (Class, T)>) -> Value {
    let members = figures.map(|(class, figure)| (class.as_str().to_owned(), figure.into()));
    Value::Object(members.collect())
}

fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
