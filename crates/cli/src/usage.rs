//! `bailian usage`: what was used and what it cost, by the gateway's ledger.

mod people;

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr as _;

use anyhow::anyhow;
use rust_decimal::Decimal;
use serde_json::Value;

use crate::admin::{self, Access, Admin, clean};
use crate::failure::Failure;
use crate::moments::Clock;
use crate::nodes;
use crate::whose::Whose;

/// The counts of a row, in the order of the CSV's columns.
const COUNTS: [&str; 12] = [
    "requests",
    "unsettled",
    "estimated",
    "unpriced",
    "input_tokens",
    "cached_tokens",
    "cache_created_tokens",
    "output_tokens",
    "reasoning_tokens",
    "images",
    "media_ms",
    "characters",
];

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Counts what began at this moment or later, such as today, week (since Monday), month (since
    /// the first), 7d (ago), 2026-11-27 or 2026-11-27T08:00:00+08:00.
    #[arg(long, visible_alias = "since", value_name = "MOMENT")]
    from: Option<String>,
    /// Counts what began before this moment.
    #[arg(long, visible_alias = "until", value_name = "MOMENT")]
    to: Option<String>,
    /// What is told apart, with commas between, or '' for one sum: tenant, project, key, model,
    /// upstream_model, account, region, surface, dialect, outcome, price_version, day, hour.
    #[arg(long, value_delimiter = ',', default_value = "tenant,model")]
    by: Vec<String>,
    #[command(flatten)]
    whose: Whose,
    /// The form of the answer.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    clock: Clock,
    #[command(flatten)]
    access: Access,
}

#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum Format {
    /// For people, with bars.
    #[default]
    Table,
    /// For spreadsheets.
    Csv,
    /// The array that the admin API gives.
    Json,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let by = arguments.by.iter().map(|word| word.trim());
    let by: Vec<&str> = by.filter(|word| !word.is_empty()).collect();
    let group_by = by.join(",");
    let clock = arguments.clock;
    let times = clock.range([("from", &arguments.from), ("to", &arguments.to)]);
    let times = times.map_err(Failure::Usage)?;
    let zone = clock.zone();
    let mut query = vec![("group_by", group_by.as_str()), ("offset", zone.as_str())];
    query.extend(times.iter().map(|(name, at)| (*name, at.as_str())));
    query.extend(arguments.whose.query());
    let admin = Admin::open(&arguments.access)?;
    let answer = admin.get("/usage", &query)?;
    let rows = answer["data"].as_array().map_or(&[][..], Vec::as_slice);
    let text = match arguments.format {
        Format::Json => return admin::print_json(&answer["data"]),
        Format::Csv => csv(&by, rows)?,
        Format::Table if rows.is_empty() => {
            return nodes::nothing(&admin, &query, "nothing was used in this time");
        }
        Format::Table => people::table(&by, rows),
    };
    admin::print(&text)
}

/// Costs by currency.
fn costs(row: &Value, member: &str) -> BTreeMap<String, Decimal> {
    let costs = row[member].as_object().into_iter().flatten();
    costs
        .filter_map(|(currency, cost)| {
            let cost = Decimal::from_str(cost.as_str()?).ok()?;
            Some((clean(currency), cost))
        })
        .collect()
}

fn count(row: &Value, name: &str) -> u64 {
    row[name].as_u64().unwrap_or(0)
}

fn csv(by: &[&str], rows: &[Value]) -> Result<String, Failure> {
    let has_name = |word: &str| matches!(word, "tenant" | "project" | "key");
    let currencies: BTreeSet<String> = rows
        .iter()
        .flat_map(|row| costs(row, "cost").into_keys())
        .collect();
    let mut head: Vec<String> = Vec::new();
    for word in by {
        head.push((*word).to_owned());
        head.extend(has_name(word).then(|| format!("{word}_name")));
    }
    head.extend(COUNTS.map(str::to_owned));
    for currency in &currencies {
        head.push(format!("cost_{currency}"));
        head.push(format!("estimated_cost_{currency}"));
    }
    let mut records = vec![head];
    for row in rows {
        let mut record = Vec::new();
        for word in by {
            record.push(cell(&row["group"][word]));
            record.extend(has_name(word).then(|| cell(&row["names"][word])));
        }
        record.extend(COUNTS.map(|name| count(row, name).to_string()));
        for currency in &currencies {
            record.push(cell(&row["cost"][currency]));
            record.push(cell(&row["estimated_cost"][currency]));
        }
        records.push(record);
    }
    let mut writer = csv::Writer::from_writer(Vec::new());
    for record in records {
        writer.write_record(record).map_err(Failure::run)?;
    }
    let bytes = writer.into_inner();
    let bytes = bytes.map_err(|error| Failure::run(anyhow!("cannot write CSV: {error}")))?;
    String::from_utf8(bytes).map_err(Failure::run)
}

/// A text that a spreadsheet would take for a formula begins with an apostrophe, as in the ledger's
/// own export.
fn cell(value: &Value) -> String {
    let text = value.as_str().unwrap_or_default();
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        return format!("'{text}");
    }
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_formula_in_a_name_is_none_in_a_spreadsheet() {
        let rows = [json!({ "group": { "model": "=1+1,\"a\"" }, "requests": 1 })];
        let text = csv(&["model"], &rows).unwrap();
        assert!(text.contains("\"'=1+1,\"\"a\"\"\",1,0"), "{text}");
    }
}
