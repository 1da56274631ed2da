//! `bailian usage`: what was used and what it cost, by the gateway's ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::str::FromStr as _;

use anyhow::anyhow;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;
use serde_json::Value;

use crate::admin::{self, Access, Admin, clean};
use crate::failure::Failure;
use crate::table::{self, Side};

/// The longest bar, in characters.
const BAR: u32 = 20;
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
    /// Counts what began at this moment or later: 2026-11-27T08:00:00+08:00, or a day (midnight in
    /// UTC).
    #[arg(long)]
    from: Option<String>,
    /// Counts what began before this moment.
    #[arg(long)]
    to: Option<String>,
    /// What is told apart, with commas between, or '' for one sum: tenant, project, key, model, upstream_model, account,
    /// region, surface, dialect, outcome, price_version, day, hour (both in UTC).
    #[arg(long, value_delimiter = ',', default_value = "tenant,model")]
    by: Vec<String>,
    /// Counts this tenant alone, by its name or id.
    #[arg(long)]
    tenant: Option<String>,
    /// Counts this project alone, by its name or id.
    #[arg(long)]
    project: Option<String>,
    /// Counts this virtual key alone, by its name or id.
    #[arg(long)]
    key: Option<String>,
    /// Counts this model alone.
    #[arg(long)]
    model: Option<String>,
    /// The form of the answer.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
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
    let mut query = vec![("group_by", group_by.as_str())];
    let filters = [
        ("from", &arguments.from),
        ("to", &arguments.to),
        ("tenant", &arguments.tenant),
        ("project", &arguments.project),
        ("key", &arguments.key),
        ("model", &arguments.model),
    ];
    for (name, value) in filters {
        query.extend(value.as_deref().map(|value| (name, value)));
    }
    let answer = Admin::open(&arguments.access)?.get("/usage", &query)?;
    let rows = answer["data"].as_array().map_or(&[][..], Vec::as_slice);
    let text = match arguments.format {
        Format::Json => format!("{:#}\n", answer["data"]),
        Format::Csv => csv(&by, rows)?,
        Format::Table if rows.is_empty() => {
            eprintln!("nothing was used in this time; what ended this second may be missing");
            return Ok(());
        }
        Format::Table => for_people(&by, rows),
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

/// A currency's column: as many decimals as its most exact cost has, and the longest bar's cost.
#[derive(Clone, Copy, Debug, Default)]
struct Scale {
    decimals: u32,
    largest: Decimal,
}

fn for_people(by: &[&str], rows: &[Value]) -> String {
    let mut scales: BTreeMap<String, Scale> = BTreeMap::new();
    let mut total = BTreeMap::new();
    for row in rows {
        for (currency, cost) in costs(row, "cost") {
            let scale = scales.entry(currency.clone()).or_default();
            scale.decimals = scale.decimals.max(cost.scale());
            scale.largest = scale.largest.max(cost);
            let sum: &mut Option<Decimal> = total.entry(currency).or_insert(Some(Decimal::ZERO));
            *sum = sum.and_then(|sum| sum.checked_add(cost));
        }
    }
    let mut heads: Vec<(String, Side)> = by
        .iter()
        .map(|word| (clean(&word.to_uppercase()), Side::Left))
        .collect();
    for head in ["REQUESTS", "INPUT", "CACHED", "OUTPUT"] {
        heads.push((head.to_owned(), Side::Right));
    }
    let currencies = scales.keys().map(|it| (format!("COST {it}"), Side::Right));
    heads.extend(currencies);
    heads.push((String::new(), Side::Left));
    let mut lines: Vec<Vec<String>> = rows.iter().map(|row| line(by, row, &scales)).collect();
    if rows.len() > 1 {
        let sum = |name| {
            rows.iter()
                .map(|row| count(row, name))
                .sum::<u64>()
                .to_string()
        };
        let mut line: Vec<String> = by.iter().map(|_| String::new()).collect();
        if let Some(first) = line.first_mut() {
            "total".clone_into(first);
        }
        line.extend(["requests", "input_tokens", "cached_tokens", "output_tokens"].map(sum));
        for (currency, scale) in &scales {
            let sum = total.get(currency).copied().flatten();
            line.push(sum.map_or_else(|| "?".to_owned(), |sum| money(sum, *scale)));
        }
        lines.push(line);
    }
    let mut text = table::aligned(&heads, &lines);
    let all = |name| rows.iter().map(|row| count(row, name)).sum::<u64>();
    let notes = [
        ("estimated", "of the requests have guessed amounts (~)"),
        (
            "unpriced",
            "of the requests have no price and are missing from the cost",
        ),
        (
            "unsettled",
            "of the requests are not settled: in flight, or cut off",
        ),
    ];
    for (name, note) in notes {
        if all(name) > 0 {
            // Writing to a `String` cannot fail.
            let _ = writeln!(text, "{} {note}", all(name));
        }
    }
    text
}

fn money(cost: Decimal, scale: Scale) -> String {
    format!("{cost:.*}", scale.decimals as usize)
}

fn line(by: &[&str], row: &Value, scales: &BTreeMap<String, Scale>) -> Vec<String> {
    let mut cells: Vec<String> = by
        .iter()
        .map(|word| {
            let named = row["names"][word].as_str();
            clean(named.or_else(|| row["group"][word].as_str()).unwrap_or("-"))
        })
        .collect();
    let counts = ["requests", "input_tokens", "cached_tokens", "output_tokens"];
    cells.extend(counts.map(|name| count(row, name).to_string()));
    let (costs, guessed) = (costs(row, "cost"), costs(row, "estimated_cost"));
    let mut share = 0.0_f64;
    for (currency, scale) in scales {
        let Some(cost) = costs.get(currency) else {
            cells.push("-".to_owned());
            continue;
        };
        let of_largest = cost.checked_div(scale.largest).and_then(|it| it.to_f64());
        share = share.max(of_largest.unwrap_or(0.0));
        let is_guessed = guessed.get(currency).is_some_and(|cost| !cost.is_zero());
        let mark = if is_guessed { "~" } else { "" };
        cells.push(format!("{mark}{}", money(*cost, *scale)));
    }
    cells.push(table::bar(share, BAR));
    cells
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

    fn rows() -> Vec<Value> {
        vec![
            json!({ "group": { "tenant": "t_1", "model": "qwen-plus" },
                "names": { "tenant": "研发部" }, "requests": 2, "input_tokens": 10,
                "output_tokens": 4, "cost": { "CNY": "0.0075" }, "estimated_cost": {} }),
            json!({ "group": { "tenant": "t_2", "model": null }, "names": {}, "requests": 1,
                "estimated": 1, "unpriced": 0, "cost": { "CNY": "0.03", "USD": "1" },
                "estimated_cost": { "CNY": "0.01" } }),
        ]
    }

    #[test]
    fn a_table_has_exact_sums_names_and_bars() {
        let text = for_people(&["tenant", "model"], &rows());
        let lines: Vec<&str> = text.lines().collect();
        let fields = |line: &str| {
            line.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let first = [
            "研发部",
            "qwen-plus",
            "2",
            "10",
            "0",
            "4",
            "0.0075",
            "-",
            "█████",
        ];
        assert_eq!(fields(lines[1]), first);
        assert!(lines[2].contains("~0.0300"), "{text}");
        assert_eq!(
            fields(lines[3]),
            ["total", "3", "10", "0", "4", "0.0375", "1"]
        );
        assert!(
            lines[4].starts_with("1 of the requests have guessed"),
            "{text}"
        );
    }

    #[test]
    fn a_formula_in_a_name_is_none_in_a_spreadsheet() {
        let rows = [json!({ "group": { "model": "=1+1,\"a\"" }, "requests": 1 })];
        let text = csv(&["model"], &rows).unwrap();
        assert!(text.contains("\"'=1+1,\"\"a\"\"\",1,0"), "{text}");
    }
}
