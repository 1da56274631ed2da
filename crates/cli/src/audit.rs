//! `bailian audit`: who changed what, from where, when.

use std::ops::ControlFlow;

use serde_json::Value;

use crate::admin::{self, Access, Admin, clean, text};
use crate::failure::Failure;
use crate::moments::{Clock, Side as When};
use crate::nodes;
use crate::table::{self, Side};

/// What the log tells of.
const ACTIONS: [&str; 7] = [
    "create",
    "update",
    "rotate",
    "revoke",
    "delete",
    "read_content",
    "delete_content",
];

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Shows what was done to the tenant, project or key with this name (as it was then) or id.
    of: Option<String>,
    /// Shows this alone.
    #[arg(long, value_parser = ACTIONS)]
    action: Option<String>,
    /// Shows what was done at this moment or later, such as 7d (ago), today or 2026-11-27.
    #[arg(long, value_name = "MOMENT")]
    since: Option<String>,
    /// The most entries, the newest first.
    #[arg(long, default_value_t = 20)]
    limit: usize,
    /// Prints the entries as one JSON array, with how everything was before and after.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    clock: Clock,
    #[command(flatten)]
    access: Access,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let clock = arguments.clock;
    let since = arguments.since.as_deref();
    let since = since.map(|since| clock.read("since", since, When::Past));
    let since = since.transpose().map_err(Failure::Usage)?;
    let admin = Admin::open(&arguments.access)?;
    let mut entries = Vec::new();
    // Entries that do not fit are read, too.
    let is_filtered = arguments.of.is_some() || arguments.action.is_some();
    let page = if is_filtered {
        usize::MAX
    } else {
        arguments.limit
    };
    admin.walk("/audit", &[], "before", page, |entry| {
        let at = entry["at"].as_str().and_then(|at| at.parse().ok());
        let is_older = since.is_some_and(|since| at.is_some_and(|at| since > at));
        if is_older || entries.len() >= arguments.limit {
            return ControlFlow::Break(());
        }
        if arguments.wants(&entry) {
            entries.push(entry);
        }
        ControlFlow::Continue(())
    })?;
    if arguments.json {
        return admin::print_json(&Value::from(entries));
    }
    if entries.is_empty() {
        eprintln!("the audit log has no such entry");
        return Ok(());
    }
    let rows: Vec<Vec<String>> = entries.iter().map(|entry| row(entry, clock)).collect();
    let when = format!("WHEN ({})", clock.zone());
    let heads = [
        ("NUMBER", Side::Right),
        (when.as_str(), Side::Left),
        ("WHO", Side::Left),
        ("FROM", Side::Left),
        ("ACTION", Side::Left),
        ("TARGET", Side::Left),
        ("NAME", Side::Left),
        ("SETTINGS", Side::Left),
    ];
    let heads = heads.map(|(head, side)| (head.to_owned(), side));
    admin::print(&table::aligned(&heads, &rows))
}

impl Arguments {
    fn wants(&self, entry: &Value) -> bool {
        let of = self.of.as_deref();
        let is_of = of.is_none_or(|of| {
            let names = [&entry["before"]["name"], &entry["after"]["name"]];
            entry["target"] == of || names.into_iter().any(|name| name == of)
        });
        let action = self.action.as_deref();
        is_of && action.is_none_or(|action| entry["action"] == action)
    }
}

fn row(entry: &Value, clock: Clock) -> Vec<String> {
    let (before, after) = (&entry["before"], &entry["after"]);
    let node = if after.is_object() { after } else { before };
    // What is gone is not told setting by setting.
    let changes = if after.is_object() {
        nodes::differences(before, after, clock)
    } else {
        Vec::new()
    };
    let is_new = before.is_null();
    let changes = changes
        .into_iter()
        .filter(|change| !(is_new && change.starts_with("name: ")))
        .map(|change| change.replace(": - → ", ": "));
    // Of which request the content was read or deleted.
    let record = after["record"].as_str();
    let record = record.map(|id| format!("record: {}", clean(id)));
    let changes: Vec<String> = changes.chain(record).collect();
    vec![
        entry["number"].to_string(),
        clock.show(&text(entry, "at")),
        text(entry, "who"),
        entry["from"].as_str().map_or_else(|| "-".to_owned(), clean),
        text(entry, "action"),
        text(entry, "target"),
        text(node, "name"),
        changes.join("; "),
    ]
}
