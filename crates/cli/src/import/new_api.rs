//! Channels of new-api and one-api: the rows of `GET /api/channel/`, or of the table `channels`.

mod accounts;
mod row;
mod types;

use std::cmp::Reverse;

use serde_json::Value;

use super::draft::{self, Draft, Kind, Route, Target};
use super::notes::Mistake;
use row::Row;

/// `status` of a channel, or of one of its keys, that is used.
const ENABLED: i64 = 1;

/// What those gateways take off a model's name, and switch the service's search on for.
const SEARCHES: &str = "-internet";

/// What describes a channel or counts what it did; nothing depends on it.
const DESCRIPTIVE: [&str; 16] = [
    "id",
    "name",
    "remark",
    "tag",
    "test_model",
    "created_time",
    "test_time",
    "response_time",
    "balance",
    "balance_updated_time",
    "used_quota",
    "other_info",
    "need_reconcile",
    "max_input_tokens",
    "channel_info",
    "auto_ban",
];

/// What is understood.
const UNDERSTOOD: [&str; 9] = [
    "type",
    "key",
    "base_url",
    "models",
    "model_mapping",
    "group",
    "priority",
    "weight",
    "status",
];

/// A channel's way to one model.
#[derive(Debug)]
struct Way {
    model: String,
    target: Target,
    priority: i64,
    weight: i64,
}

/// Reads the list's text; `is_one_api` says whose numbers the types are.
pub(super) fn convert(text: &str, is_one_api: bool) -> Result<Draft, Mistake> {
    let rows = Row::all(text)?;
    let mut reader = Reader {
        draft: Draft::default(),
        keys: Vec::new(),
        ways: Vec::new(),
        is_one_api,
    };
    for row in &rows {
        reader.channel(row)?;
    }
    let Reader {
        mut draft, ways, ..
    } = reader;
    if rows.iter().any(|row| row.is_set("auto_ban")) {
        let text = "no target is shut for good here: the breaker asks a failing one after the \
                    others, and tries it again by itself";
        draft.notes.add(None, "auto_ban", text);
    }
    draft.routes = routes(&ways);
    draft.sort_routes();
    draft.keys.push(draft::placeholder_key());
    Ok(draft)
}

struct Reader {
    draft: Draft,
    /// The keys of each account as the source has them, to know it again.
    keys: Vec<Vec<String>>,
    ways: Vec<Way>,
    is_one_api: bool,
}

impl Reader {
    fn channel(&mut self, row: &Row) -> Result<(), Mistake> {
        let place = row.place();
        let Some(number) = row.integer("type")? else {
            return Err(Mistake::at(row.line, &place, "has no type"));
        };
        let status = row.integer("status")?.unwrap_or(ENABLED);
        if status != ENABLED {
            let why = if status == 3 {
                "automatically"
            } else {
                "by hand"
            };
            let text = format!("was switched off {why} (status {status}); left out");
            self.draft.notes.add(row.line, place, text);
            return Ok(());
        }
        let behind = types::behind(number, self.is_one_api);
        let base = row.text("base_url")?.map(|url| url.trim_end_matches('/'));
        let Some((kind, base_url, dialect)) = self.place(behind, number, base, row) else {
            return Ok(());
        };
        let Some(account) = self.account(kind, base_url, row)? else {
            return Ok(());
        };
        self.note_others(row)?;
        let mapping = row.map("model_mapping")?;
        let names: Vec<&str> = row.text("models")?.map_or_else(Vec::new, |models| {
            let names = models.split(',').map(str::trim);
            names.filter(|name| !name.is_empty()).collect()
        });
        if names.is_empty() {
            let text = "has no models, so no route leads there";
            self.draft.notes.add(row.line, &*place, text);
        }
        let is_led_to = |asked: &str| mapping.values().any(|next| next.as_str() == Some(asked));
        for asked in mapping.keys() {
            if !names.contains(&asked.as_str()) && !is_led_to(asked) {
                let text = format!("`{asked}` is not among the channel's models; left out");
                let place = format!("{place}: model_mapping");
                self.draft.notes.add(row.line, place, text);
            }
        }
        for name in names {
            let Some(mut model) = self.mapped(name, &mapping, row) else {
                continue;
            };
            if kind == Kind::DashScope
                && let Some(plain) = model.strip_suffix(SEARCHES)
            {
                let text = format!(
                    "`{model}` is `{plain}` with a search there; the search is left to callers \
                     (`enable_search`)"
                );
                let place = format!("{place}: models");
                self.draft.notes.add(row.line, place, text);
                let length = plain.len();
                model.truncate(length);
            }
            self.ways.push(Way {
                model: name.to_owned(),
                target: Target {
                    account: account.clone(),
                    model: (model != name).then_some(model),
                    dialect,
                    weight: None,
                },
                priority: row.integer("priority")?.unwrap_or(0),
                weight: row.integer("weight")?.unwrap_or(0),
            });
        }
        Ok(())
    }

    /// Where a chain of mappings ends.
    fn mapped(
        &mut self,
        name: &str,
        mapping: &serde_json::Map<String, Value>,
        row: &Row,
    ) -> Option<String> {
        let mut model = name;
        for _ in 0..=mapping.len() {
            match mapping.get(model) {
                None => return Some(model.to_owned()),
                Some(Value::String(next)) if next == model || next.is_empty() => {
                    return Some(model.to_owned());
                }
                Some(Value::String(next)) => model = next,
                Some(_) => break,
            }
        }
        let place = format!("{}: model_mapping", row.place());
        let text = format!("`{name}` leads in a circle or to no name; left out");
        self.draft.notes.add(row.line, place, text);
        None
    }

    /// Notes every other member that says something.
    fn note_others(&mut self, row: &Row) -> Result<(), Mistake> {
        if let Some(group) = row.text("group")?.filter(|group| *group != "default") {
            let text = format!(
                "`{group}`: a route has no user groups; who may use what is a matter of the keys"
            );
            let place = format!("{}: group", row.place());
            self.draft.notes.add(row.line, place, text);
        }
        for name in row.members.keys() {
            let is_known =
                UNDERSTOOD.contains(&name.as_str()) || DESCRIPTIVE.contains(&name.as_str());
            if !is_known && row.is_set(name) {
                let place = format!("{}: {name}", row.place());
                self.draft.notes.add(row.line, place, why(name));
            }
        }
        Ok(())
    }
}

/// Why a member is not carried over.
fn why(name: &str) -> &'static str {
    match name {
        "status_code_mapping" => "upstream's status is kept, so that clients know what happened",
        "param_override" => "no parameter is added that the caller did not write",
        "header_override" | "openai_organization" => "no fixed header lines are added",
        "setting" | "settings" | "config" => {
            "settings of a channel have no counterpart; a proxy is taken from the environment"
        }
        "other" => "has no counterpart for this type",
        _ => "is not known here",
    }
}

/// One route for each model: the channels of the highest priority first.
fn routes(ways: &[Way]) -> Vec<Route> {
    let mut routes: Vec<Route> = Vec::new();
    for way in ways {
        if routes.iter().any(|route| route.model == way.model) {
            continue;
        }
        let mut all: Vec<&Way> = ways
            .iter()
            .filter(|other| other.model == way.model)
            .collect();
        all.sort_by_key(|way| (Reverse(way.priority), Reverse(way.weight)));
        let highest = all.first().map(|way| way.priority);
        let (first, later): (Vec<&Way>, Vec<&Way>) = all
            .into_iter()
            .partition(|way| Some(way.priority) == highest);
        let mut route = Route {
            model: way.model.clone(),
            targets: weighed(&first),
            fallbacks: Vec::new(),
            on_content_filter: false,
        };
        for way in later {
            route.add_fallback(&way.target);
        }
        routes.push(route);
    }
    routes
}

/// The targets with their shares, which are left out where they are all the same.
fn weighed(ways: &[&Way]) -> Vec<Target> {
    let mut targets: Vec<Target> = Vec::new();
    let is_even = ways.iter().all(|way| way.weight == ways[0].weight);
    for way in ways {
        // Zero is no share here, and a small one there.
        let weight = u32::try_from(way.weight).unwrap_or(1).max(1);
        match targets
            .iter_mut()
            .find(|target| target.is_like(&way.target))
        {
            Some(known) => known.weight = known.weight.map(|known| known.saturating_add(weight)),
            None => targets.push(Target {
                weight: (!is_even).then_some(weight),
                ..way.target.clone()
            }),
        }
    }
    if let [only] = targets.as_mut_slice() {
        only.weight = None;
    }
    targets
}
