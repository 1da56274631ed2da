//! What `/readyz` says: whether everything around the gateway is as it should be, in words.
//!
//! What is away does not end the service: records wait, keys stay as they were, each replica goes
//! on with its part of the limits. So the answer is 200 all the same. An outage that all replicas
//! feel alike would otherwise take all of them out of service at once.

use bailian_ledger::Status as LedgerStatus;
use serde_json::{Value, json};

use crate::state::State;

/// The whole answer.
pub(crate) fn of(state: &State) -> Value {
    let now = state.clock.now();
    let mut problems = Vec::new();
    let mut detail = json!({});
    if let Some(sharing) = state.pacing.sharing() {
        let since = now.saturating_duration_since(sharing.since);
        if !sharing.connected {
            problems.push(
                "Redis does not answer; this replica goes on with its part of the limits"
                    .to_owned(),
            );
        }
        detail["redis"] = json!({
            "connected": sharing.connected,
            "for_seconds": since.as_secs(),
            "replicas": sharing.replicas,
            "last_error": sharing.last_error,
        });
    }
    if let Some(accounting) = &state.accounting {
        if let Some(sharing) = &accounting.sharing {
            let status = sharing.status();
            if !status.connected {
                problems.push(
                    "Redis does not answer for tenants' limits and budgets; this replica goes on \
                     with what it was allotted of them, and then refuses"
                        .to_owned(),
                );
            }
            detail["redis"]["budgets"] = json!({
                "connected": status.connected,
                "last_error": status.last_error,
            });
        }
        let status = accounting.ledger.status();
        problems.extend(of_ledger(&status));
        detail["ledger"] = json!({
            "store_ok": status.store_ok,
            "spool_ok": status.spool_ok,
            "backlog_bytes": status.backlog_bytes,
            "lost": status.lost,
            "open": status.open,
        });
        let failing_for = accounting.store_health.failing_for(now);
        if let Some(since) = failing_for {
            problems.push(format!(
                "the store of keys has not answered for {} s; keys open as they did before, and \
                 cannot be changed",
                since.as_secs()
            ));
        }
        let behind = accounting.clock.behind();
        if !behind.is_zero() {
            problems.push(format!(
                "the machine's clock was set back and is {} s behind; what has expired stays so, \
                 and budgets stay in their periods, until it has caught up",
                behind.as_secs()
            ));
        }
        detail["keys"] = json!({ "store_ok": failing_for.is_none() });
    }
    let left_alone = state.routes.open_breakers();
    if !left_alone.is_empty() {
        detail["targets_left_alone"] = left_alone.into();
    }
    let config = state.config_status.json();
    if !config["last_error"].is_null() {
        problems.push(
            "the changed configuration file cannot be used; the one before it is in force"
                .to_owned(),
        );
    }
    detail["config"] = config;
    detail["status"] = if problems.is_empty() {
        "ready".into()
    } else {
        "degraded".into()
    };
    detail["problems"] = problems.into();
    detail
}

/// What is wrong with the ledger. Errors of the database are for the log and the operator: they
/// name users and hosts.
fn of_ledger(status: &LedgerStatus) -> Vec<String> {
    let mut problems = Vec::new();
    // While it starts nobody has asked the store yet.
    let was_tried = status.last_error.is_some() || status.last_ingested_unix_ms.is_some();
    if !status.store_ok && was_tried {
        problems.push(format!(
            "the ledger's store takes no records; {} bytes of them wait in the spool",
            status.backlog_bytes
        ));
    }
    if !status.spool_ok {
        problems.push(format!(
            "the ledger's spool cannot be written (is the disk full?); records are held in memory, \
             and {} were lost",
            status.lost
        ));
    }
    problems
}
