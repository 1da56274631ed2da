//! `bailian records`: single requests, by the gateway's ledger.

use std::ops::ControlFlow;

use anyhow::anyhow;
use serde_json::Value;
use uuid::Uuid;

use crate::admin::{self, Access, Admin, clean, text};
use crate::failure::Failure;
use crate::moments::Clock;
use crate::nodes;
use crate::table::{self, Side};
use crate::whose::{Whose, said};

/// How a request can end, by the gateway and by the ledger.
const OUTCOMES: [&str; 8] = [
    "completed",
    "refused",
    "upstream_error",
    "upstream_lost",
    "client_left",
    "running",
    "unknown",
    "abandoned",
];

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Shows all that is known of one request, by its id (the header x-request-id of the answer) or
    /// the id that upstream gave it.
    #[arg(conflicts_with_all = ["tenant", "project", "key", "model", "account", "outcome"])]
    id: Option<String>,
    /// Shows what it said and was answered, where its tenant wanted that kept. The audit log notes who
    /// reads it.
    #[arg(long, requires = "id")]
    content: bool,
    #[command(flatten)]
    whose: Whose,
    /// Lists those that this account answered.
    #[arg(long)]
    account: Option<String>,
    /// Lists those that ended so.
    #[arg(long, value_parser = OUTCOMES)]
    outcome: Option<String>,
    /// Lists those that began at this moment or later, such as 2h (ago), today or 2026-11-27.
    #[arg(long, visible_alias = "from", value_name = "MOMENT")]
    since: Option<String>,
    /// Lists those that began before this moment.
    #[arg(long, visible_alias = "to", value_name = "MOMENT")]
    until: Option<String>,
    /// The most records, the newest first.
    #[arg(long, default_value_t = 20)]
    limit: usize,
    /// Prints the records of the admin API, as one JSON array; the one that is asked for as an
    /// object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    clock: Clock,
    #[command(flatten)]
    access: Access,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let clock = arguments.clock;
    let times = clock.range([("since", &arguments.since), ("until", &arguments.until)]);
    let times = times.map_err(Failure::Usage)?;
    let admin = Admin::open(&arguments.access)?;
    let times = times.iter().map(|(name, at)| (*name, at.as_str()));
    let mut query: Vec<(&str, &str)> = times.collect();
    if let Some(id) = arguments.id.as_deref().filter(|_| arguments.content) {
        let content = content(&admin, id.trim(), &query)?;
        if arguments.json {
            return admin::print_json(&content);
        }
        return admin::print(&both(&content));
    }
    if let Some(id) = &arguments.id {
        let record = find(&admin, id.trim(), &query)?;
        if arguments.json {
            return admin::print_json(&record);
        }
        return admin::print(&one(&record, clock));
    }
    query.extend(arguments.whose.query());
    query.extend(said(("account", &arguments.account)));
    query.extend(said(("outcome", &arguments.outcome)));
    let mut records = Vec::new();
    if arguments.limit > 0 {
        admin.walk("/records", &query, "after", arguments.limit, |record| {
            records.push(record);
            if records.len() < arguments.limit {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })?;
    }
    if arguments.json {
        return admin::print_json(&Value::from(records));
    }
    if records.is_empty() {
        return nodes::nothing(&admin, &query, "there is no such record");
    }
    admin::print(&list(&records, clock))
}

/// The record with an id of the gateway's, else with one of upstream's.
fn find(admin: &Admin, id: &str, times: &[(&str, &str)]) -> Result<Value, Failure> {
    let ask = |name| -> Result<Option<Value>, Failure> {
        let mut query = times.to_vec();
        query.push((name, id));
        let mut page = admin.get("/records", &query)?;
        Ok(page["data"].get_mut(0).map(Value::take))
    };
    if Uuid::parse_str(id).is_ok()
        && let Some(record) = ask("id")?
    {
        return Ok(record);
    }
    let record = ask("upstream_request_id")?;
    record.ok_or_else(|| {
        Failure::run(anyhow!(
            "the ledger has no request {}; the id is in the header x-request-id of every answer; \
             what began this second may be missing still",
            clean(id)
        ))
    })
}

/// What is kept of a request, by its id, else by the one that upstream gave it.
fn content(admin: &Admin, id: &str, times: &[(&str, &str)]) -> Result<Value, Failure> {
    let kept = |id: &str| match Uuid::parse_str(id) {
        Ok(id) => admin.find(&format!("/records/{id}/content")),
        Err(_) => Ok(None),
    };
    if let Some(content) = kept(id)? {
        return Ok(content);
    }
    let record = find(admin, id, times)?;
    kept(record["id"].as_str().unwrap_or_default())?.ok_or_else(|| {
        Failure::run(anyhow!(
            "nothing is kept of what {} said: its tenant did not ask for it, or it is deleted",
            clean(id)
        ))
    })
}

/// Request and answer, each under a line of its own.
fn both(content: &Value) -> String {
    let mut text = Vec::new();
    for part in ["request", "answer"] {
        let is_cut = content[format!("{part}_cut")] == true;
        let mark = if is_cut { " (its beginning)" } else { "" };
        let said = content[part].as_str();
        let shown = said.map(|said| match serde_json::from_str::<Value>(said) {
            Ok(json) => format!("{json:#}"),
            Err(_) => said.to_owned(),
        });
        let lines = shown.as_deref().unwrap_or("(no text)").lines();
        let lines: Vec<String> = lines.map(clean).collect();
        text.push(format!("--- {part}{mark}\n{}\n", lines.join("\n")));
    }
    text.concat()
}

fn list(records: &[Value], clock: Clock) -> String {
    let began = format!("BEGAN ({})", clock.zone());
    let (left, right) = (Side::Left, Side::Right);
    let heads = [
        (began.as_str(), left),
        ("ID", left),
        ("TENANT", left),
        ("KEY", left),
        ("MODEL", left),
        ("OUTCOME", left),
        ("STATUS", right),
        ("INPUT", right),
        ("OUTPUT", right),
        ("COST", right),
        ("TOOK", right),
        ("ERROR", left),
    ];
    let rows = records.iter().map(|record| {
        let or_none = |text: String| {
            if text.is_empty() {
                "-".to_owned()
            } else {
                text
            }
        };
        let number = |name: &str| record[name].as_u64().map(|it| it.to_string());
        let took = record["total_ms"].as_u64().map(seconds);
        vec![
            began_at(record, clock),
            text(record, "id"),
            or_none(named(record, "tenant", "tenant")),
            or_none(named(record, "key", "key_id")),
            or_none(text(record, "model")),
            text(record, "outcome"),
            or_none(number("http_status").unwrap_or_default()),
            number("input_tokens").unwrap_or_default(),
            number("output_tokens").unwrap_or_default(),
            cost(record),
            or_none(took.unwrap_or_default()),
            text(record, "error_code"),
        ]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    table::aligned(&heads.map(|(head, side)| (head.to_owned(), side)), &rows)
}

fn began_at(record: &Value, clock: Clock) -> String {
    let at = record["started_unix_ms"].as_i64();
    at.map_or_else(|| "?".to_owned(), |at| clock.show_unix_ms(at))
}

/// A name where there is one, else the id.
fn named(record: &Value, word: &str, column: &str) -> String {
    let name = record["names"][word].as_str().map(clean);
    name.unwrap_or_else(|| text(record, column))
}

fn seconds(milliseconds: u64) -> String {
    format!("{}.{:03} s", milliseconds / 1_000, milliseconds % 1_000)
}

/// `~` before what is guessed.
fn cost(record: &Value) -> String {
    let Some(cost) = record["cost"].as_str() else {
        return "-".to_owned();
    };
    let mark = if record["estimated"] == true { "~" } else { "" };
    format!("{mark}{} {}", clean(cost), text(record, "currency"))
}

/// Columns of docs/ledger.md in an order for people; those that a later gateway adds come behind.
const COLUMNS: [&str; 40] = [
    "id",
    "started_unix_ms",
    "tenant",
    "project",
    "key_id",
    "surface",
    "dialect",
    "model",
    "stream",
    "outcome",
    "http_status",
    "error_code",
    "settled",
    "estimated",
    "account",
    "region",
    "upstream_model",
    "upstream_request_id",
    "attempts",
    "queued_ms",
    "first_token_ms",
    "total_ms",
    "input_tokens",
    "cached_tokens",
    "cache_created_tokens",
    "output_tokens",
    "reasoning_tokens",
    "images",
    "media_ms",
    "characters",
    "cost",
    "currency",
    "price_version",
    "unpriced",
    "est_input_tokens",
    "est_output_tokens",
    "est_cost",
    "est_currency",
    "process",
    "attempt_list",
];

/// One record: what is known of it, by the names of docs/ledger.md, and the attempts.
fn one(record: &Value, clock: Clock) -> String {
    let all = record.as_object();
    let later = all.into_iter().flatten().map(|(name, _)| name.as_str());
    let later = later.filter(|name| !COLUMNS.contains(name) && *name != "names");
    let mut rows: Vec<[String; 2]> = Vec::new();
    for name in COLUMNS.into_iter().chain(later) {
        let value = match (name, &record[name]) {
            (_, Value::Null) | ("attempt_list", _) => continue,
            ("started_unix_ms", at) => {
                format!("{at} = {} ({})", began_at(record, clock), clock.zone())
            }
            (_, Value::String(text)) => clean(text),
            (_, value) => value.to_string(),
        };
        let word = if name == "key_id" { "key" } else { name };
        let name_of_it = record["names"][word].as_str();
        let known_as = name_of_it.map(|it| format!(" ({})", clean(it)));
        rows.push([clean(name), value + &known_as.unwrap_or_default()]);
    }
    let mut text = table::fields(&rows);
    let attempts = attempts(record);
    if !attempts.is_empty() {
        let heads = ["ATTEMPT", "ACCOUNT", "MODEL", "OUTCOME", "STATUS"];
        let heads = heads.map(|head| (head.to_owned(), Side::Left));
        text.push('\n');
        text.push_str(&table::aligned(&heads, &attempts));
    }
    text
}

fn attempts(record: &Value) -> Vec<Vec<String>> {
    let list = record["attempt_list"].as_array().into_iter().flatten();
    list.enumerate()
        .map(|(index, attempt)| {
            let status = attempt["status"].as_u64();
            let status = status.map_or_else(|| "-".to_owned(), |status| status.to_string());
            let number = (index + 1).to_string();
            let words = ["account", "model", "outcome"].map(|name| text(attempt, name));
            [number].into_iter().chain(words).chain([status]).collect()
        })
        .collect()
}
