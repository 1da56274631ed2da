//! How tenants, projects and keys are shown.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Kind;
use crate::admin::{Admin, clean, text};
use crate::failure::Failure;
use crate::moments::Clock;
use crate::table::{self, Side};

/// Names of tenants and projects by their ids.
#[derive(Debug)]
pub(crate) struct Names(BTreeMap<String, String>);

impl Names {
    pub(crate) fn read(admin: &Admin) -> Result<Self, Failure> {
        let mut names = BTreeMap::new();
        for path in ["/tenants", "/projects"] {
            for node in admin.list(path, &[])? {
                names.insert(text(&node, "id"), text(&node, "name"));
            }
        }
        Ok(Self(names))
    }

    /// The name of what a member names by its id, else the id.
    pub(crate) fn of(&self, node: &Value, member: &str) -> String {
        let id = text(node, member);
        self.0.get(&id).cloned().unwrap_or(id)
    }

    /// Where something belongs and how it is: `tenant 研发部, project default, active`.
    pub(super) fn place(&self, node: &Value) -> String {
        let parts = ["tenant", "project"]
            .into_iter()
            .filter(|member| node[member].is_string())
            .map(|member| format!("{member} {}", self.of(node, member)));
        let parts: Vec<String> = parts.chain([status(node)]).collect();
        parts.join(", ")
    }
}

/// A table. `cells` gives those between name and status, and those behind all others.
pub(super) fn list(
    nodes: &[Value],
    heads: [&[&str]; 2],
    cells: impl Fn(&Value) -> [Vec<String>; 2],
    clock: Clock,
) -> String {
    let [before, behind] = heads;
    let heads = ["ID", "NAME"].iter().chain(before);
    let heads = heads.chain(&["STATUS", "CREATED"]).chain(behind);
    let heads: Vec<(String, Side)> = heads.map(|head| ((*head).to_owned(), Side::Left)).collect();
    let rows = nodes.iter().map(|node| {
        let [before, behind] = cells(node);
        let mut row = vec![text(node, "id"), text(node, "name")];
        row.extend(before);
        row.push(status(node));
        row.push(created(node, clock).chars().take(10).collect());
        row.extend(behind);
        row
    });
    let rows: Vec<Vec<String>> = rows.collect();
    table::aligned(&heads, &rows)
}

fn status(node: &Value) -> String {
    let fixed = if node["fixed"] == true {
        " (configuration)"
    } else {
        ""
    };
    format!("{}{fixed}", text(node, "status"))
}

/// What stands in the configuration was never made.
fn created(node: &Value, clock: Clock) -> String {
    if node["fixed"] == true {
        return "-".to_owned();
    }
    clock.show(&text(node, "created_at"))
}

/// One with all its settings, a line for each.
pub(super) fn one(
    admin: &Admin,
    kind: Kind,
    node: &Value,
    clock: Clock,
) -> Result<String, Failure> {
    let mut rows = vec![row("id", text(node, "id")), row("name", text(node, "name"))];
    if kind != Kind::Tenant {
        let names = Names::read(admin)?;
        for member in ["tenant", "project"] {
            if node[member].is_string() {
                let place = format!("{} ({})", names.of(node, member), text(node, member));
                rows.push(row(member, place));
            }
        }
    }
    rows.push(row("status", status(node)));
    let zone = clock.zone();
    rows.push(row("created", format!("{} ({zone})", created(node, clock))));
    if node["revoked_at"].is_string() {
        let revoked = clock.show(&text(node, "revoked_at"));
        rows.push(row("revoked", format!("{revoked} ({zone})")));
    }
    rows.push(row("revision", node["revision"].to_string()));
    for credential in node["credentials"].as_array().into_iter().flatten() {
        let public = credential["public_id"].as_str().map(clean);
        let public = public.unwrap_or_else(|| "(chosen)".to_owned());
        let until = credential["valid_until"]
            .as_str()
            .map(|end| clock.show(end));
        let until = until.map(|end| format!(", opens until {end} ({zone})"));
        rows.push(row("secret", public + &until.unwrap_or_default()));
    }
    let settings = settings(node, clock);
    let settings = settings.into_iter().filter(|(name, _)| name != "name");
    rows.extend(settings.map(|(name, value)| [name, value]));
    let mut text = table::fields(&rows);
    if kind == Kind::Key && node["status"] == "active" {
        let id = node["id"].as_str().unwrap_or_default();
        let standing = admin.get(&format!("/keys/{id}/usage"), &[])?;
        text.push('\n');
        text.push_str(&standings(&standing, clock));
    }
    Ok(text)
}

fn row(name: &str, value: String) -> [String; 2] {
    [name.to_owned(), value]
}

/// All settings that are said, by the names of their options, in the order of docs/keys.md.
fn settings(node: &Value, clock: Clock) -> Vec<(String, String)> {
    let mut all = vec![("name".to_owned(), text(node, "name"))];
    let mut say = |name: &str, value: String| all.push((name.to_owned(), value));
    if node["disabled"] == true {
        say("disabled", "yes".to_owned());
    }
    if let Some(end) = node["expires_at"].as_str() {
        say(
            "expires-at",
            format!("{} ({})", clock.show(end), clock.zone()),
        );
    }
    for (name, member) in [
        ("models", "models"),
        ("endpoints", "endpoints"),
        ("ip-ranges", "ip_ranges"),
    ] {
        if let Some(list) = node[member].as_array() {
            let list: Vec<String> = list.iter().filter_map(Value::as_str).map(clean).collect();
            say(name, list.join(","));
        }
    }
    for name in ["rpm", "tpm", "concurrency"] {
        if let Some(limit) = node["limits"][name].as_u64() {
            say(name, limit.to_string());
        }
    }
    if let Some(class) = node["priority"].as_str() {
        say("priority", clean(class));
    }
    if let Some(weight) = node["weight"].as_u64() {
        say("weight", weight.to_string());
    }
    if let Some(days) = node["keep_content"]["days"].as_u64() {
        let form = match &node["keep_content"]["redact"] {
            Value::Bool(false) => "as it is",
            _ => "redacted",
        };
        say("keep_content", format!("{days} days, {form}"));
    }
    let budgets = node["budgets"].as_array().map_or(&[][..], Vec::as_slice);
    let budgets: Vec<String> = budgets.iter().flat_map(budget).collect();
    if !budgets.is_empty() {
        say("budgets", budgets.join(" "));
    }
    for (key, value) in node["metadata"].as_object().into_iter().flatten() {
        let value = clean(value.as_str().unwrap_or_default());
        say("metadata", format!("{}={value}", clean(key)));
    }
    all
}

/// A budget as `--budget` takes it: one for money, one for tokens.
fn budget(budget: &Value) -> Vec<String> {
    let period = text(budget, "period");
    let offset = match budget["offset"].as_str() {
        None | Some("+08:00") => String::new(),
        Some(offset) => format!("@{}", clean(offset)),
    };
    let money = &budget["money"];
    let money = money["amount"]
        .as_str()
        .map(|amount| format!("{}{}", clean(amount), text(money, "currency")));
    let tokens = budget["tokens"].as_u64();
    let tokens = tokens.map(|tokens| format!("{tokens}tokens"));
    let amounts = money.into_iter().chain(tokens);
    amounts
        .map(|amount| format!("{period}={amount}{offset}"))
        .collect()
}

/// What opens a key, and whether anything does: no settings, but changed and told with them.
fn opening(node: &Value) -> Vec<(String, String)> {
    let credentials = node["credentials"].as_array().into_iter().flatten();
    let public = credentials.filter_map(|it| it["public_id"].as_str());
    let mut all: Vec<(String, String)> = public
        .map(|public| ("secrets".to_owned(), clean(public)))
        .collect();
    if node["revoked"].is_object() || node["revoked_at"].is_string() {
        let cut = node["revoked"]["cut_streams"] == true;
        let how = if cut { "yes, with open streams" } else { "yes" };
        all.push(("revoked".to_owned(), how.to_owned()));
    }
    all
}

/// What is otherwise than before, by the names of options: `rpm: 60 → 100`.
pub(crate) fn differences(before: &Value, after: &Value, clock: Clock) -> Vec<String> {
    let joined = |node: &Value| {
        let mut all: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in settings(node, clock).into_iter().chain(opening(node)) {
            let place = all.entry(name).or_default();
            if !place.is_empty() {
                place.push(' ');
            }
            place.push_str(&value);
        }
        all
    };
    let (before, after) = (joined(before), joined(after));
    let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let shown = |value: Option<&String>| value.map_or_else(|| "-".to_owned(), Clone::clone);
    let changed = names
        .into_iter()
        .filter(|name| before.get(*name) != after.get(*name));
    changed
        .map(|name| {
            let (before, after) = (shown(before.get(name)), shown(after.get(name)));
            format!("{name}: {before} → {after}")
        })
        .collect()
}

/// How the limits and budgets of a key and of all above it stand.
fn standings(standing: &Value, clock: Clock) -> String {
    let mut rows = Vec::new();
    for level in standing["levels"].as_array().into_iter().flatten() {
        let place = |what: String| vec![text(level, "level"), text(level, "name"), what];
        for (member, what) in [
            ("running", "requests at once"),
            ("requests_per_minute", "requests a minute"),
            ("tokens_per_minute", "tokens a minute"),
        ] {
            let Some(limit) = level[member]["limit"].as_u64() else {
                continue;
            };
            let used = level[member]["used"].as_u64().unwrap_or(0);
            let left = limit.saturating_sub(used);
            let mut row = place(what.to_owned());
            row.extend([used, 0, limit, left].map(|number| number.to_string()));
            rows.push(row);
        }
        for budget in level["budgets"].as_array().into_iter().flatten() {
            let unit = text(budget, "unit");
            let mut row = place(match text(budget, "period").as_str() {
                "total" => format!("{unit} in total"),
                period => format!("{unit} a {period}"),
            });
            row.extend(["used", "reserved", "limit", "left"].map(|name| text(budget, name)));
            row.extend(budget["resets_at"].as_str().map(|at| clock.show(at)));
            rows.push(row);
        }
    }
    if rows.is_empty() {
        return "nothing of this key, its project and its tenant is limited\n".to_owned();
    }
    let (left, right) = (Side::Left, Side::Right);
    let renewed = format!("RENEWED ({})", clock.zone());
    let heads = [
        ("LEVEL", left),
        ("NAME", left),
        ("WHAT", left),
        ("USED", right),
        ("RESERVED", right),
        ("LIMIT", right),
        ("LEFT", right),
        (renewed.as_str(), left),
    ];
    table::aligned(&heads.map(|(head, side)| (head.to_owned(), side)), &rows)
}
