//! Usage as a table with bars.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::civil::{Date, DateTime};
use jiff::{Span, ToSpan as _};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;
use serde_json::{Value, json};

use super::{costs, count};
use crate::admin::clean;
use crate::table::{self, Side};

/// The longest bar, in characters.
const BAR: u32 = 20;
/// The most days or hours without use that are shown: more of them say nothing.
const MOST_EMPTY: usize = 1_000;

/// Columns that are always there, by their members.
const USUAL: [(&str, &str); 4] = [
    ("REQUESTS", "requests"),
    ("INPUT", "input_tokens"),
    ("CACHED", "cached_tokens"),
    ("OUTPUT", "output_tokens"),
];
/// Columns that are there if anything is in them.
const RARE: [(&str, &str); 4] = [
    ("THOUGHT", "reasoning_tokens"),
    ("IMAGES", "images"),
    ("SECONDS", "media_ms"),
    ("CHARACTERS", "characters"),
];

/// What is said below the table where it concerns any request.
const NOTES: [(&str, &str); 3] = [
    ("estimated", "requests with guessed amounts (~)"),
    (
        "unpriced",
        "requests without a price, missing from the cost",
    ),
    ("unsettled", "requests not settled: in flight, or cut off"),
];

/// A currency's column: as many decimals as its most exact cost has, and the longest bar's cost.
#[derive(Clone, Copy, Debug, Default)]
struct Scale {
    decimals: u32,
    largest: Decimal,
    sum: Option<Decimal>,
}

/// All rows under each other with their sum. Where time is told apart the rows stay in its order;
/// else those that cost most come first.
pub(super) fn table(by: &[&str], rows: &[Value]) -> String {
    let scales = scales(rows);
    let mut rows = rows.to_vec();
    match by {
        ["day" | "hour"] => rows = without_gaps(by, rows),
        _ if by.contains(&"day") || by.contains(&"hour") => {}
        _ => rows.sort_by(|a, b| {
            let (a, b) = (weight(a, &scales), weight(b, &scales));
            b.0.total_cmp(&a.0).then(b.1.cmp(&a.1))
        }),
    }
    let all = |name: &str| rows.iter().map(|row| count(row, name)).sum::<u64>();
    let rare = RARE.into_iter().filter(|(_, name)| all(name) > 0);
    let counts: Vec<(&str, &str)> = USUAL.into_iter().chain(rare).collect();
    let heads = heads(by, &counts, &scales);
    let mut lines: Vec<Vec<String>> = rows
        .iter()
        .map(|row| line(by, &counts, row, &scales))
        .collect();
    if rows.len() > 1 {
        let mut sum: Vec<String> = by.iter().map(|_| String::new()).collect();
        if let Some(first) = sum.first_mut() {
            "total".clone_into(first);
        }
        sum.extend(counts.iter().map(|(_, name)| counted(name, all(name))));
        for scale in scales.values() {
            let cost = scale.sum.map(|sum| money(sum, *scale));
            sum.push(cost.unwrap_or_else(|| "?".to_owned()));
        }
        lines.push(sum);
    }
    let mut text = table::aligned(&heads, &lines);
    for (name, note) in NOTES {
        if all(name) > 0 {
            // Writing to a `String` cannot fail.
            let _ = writeln!(text, "{note}: {}", all(name));
        }
    }
    text
}

fn scales(rows: &[Value]) -> BTreeMap<String, Scale> {
    let mut scales: BTreeMap<String, Scale> = BTreeMap::new();
    for row in rows {
        for (currency, cost) in costs(row, "cost") {
            let scale = scales.entry(currency).or_insert(Scale {
                sum: Some(Decimal::ZERO),
                ..Scale::default()
            });
            scale.decimals = scale.decimals.max(cost.scale());
            scale.largest = scale.largest.max(cost);
            scale.sum = scale.sum.and_then(|sum| sum.checked_add(cost));
        }
    }
    scales
}

fn heads(
    by: &[&str],
    counts: &[(&str, &str)],
    scales: &BTreeMap<String, Scale>,
) -> Vec<(String, Side)> {
    let groups = by.iter().map(|word| clean(&word.to_uppercase()));
    let mut heads: Vec<(String, Side)> = groups.map(|head| (head, Side::Left)).collect();
    let counts = counts.iter().map(|(head, _)| (*head).to_owned());
    let costs = scales.keys().map(|currency| format!("COST {currency}"));
    heads.extend(counts.chain(costs).map(|head| (head, Side::Right)));
    heads.push((String::new(), Side::Left));
    heads
}

fn line(
    by: &[&str],
    counts: &[(&str, &str)],
    row: &Value,
    scales: &BTreeMap<String, Scale>,
) -> Vec<String> {
    let mut cells: Vec<String> = by
        .iter()
        .map(|word| {
            let named = row["names"][word].as_str();
            clean(named.or_else(|| row["group"][word].as_str()).unwrap_or("-"))
        })
        .collect();
    cells.extend(
        counts
            .iter()
            .map(|(_, name)| counted(name, count(row, name))),
    );
    let (costs, guessed) = (costs(row, "cost"), costs(row, "estimated_cost"));
    for (currency, scale) in scales {
        let Some(cost) = costs.get(currency) else {
            cells.push("-".to_owned());
            continue;
        };
        let is_guessed = guessed.get(currency).is_some_and(|cost| !cost.is_zero());
        let mark = if is_guessed { "~" } else { "" };
        cells.push(format!("{mark}{}", money(*cost, *scale)));
    }
    cells.push(table::bar(weight(row, scales).0, BAR));
    cells
}

/// The largest share of a row's costs in the largest of their currency, and its requests.
fn weight(row: &Value, scales: &BTreeMap<String, Scale>) -> (f64, u64) {
    let shares = costs(row, "cost").into_iter().filter_map(|(name, cost)| {
        let share = cost.checked_div(scales.get(&name)?.largest)?;
        share.to_f64()
    });
    (shares.fold(0.0, f64::max), count(row, "requests"))
}

fn money(cost: Decimal, scale: Scale) -> String {
    let text = format!("{cost:.*}", scale.decimals as usize);
    match text.split_once('.') {
        Some((whole, rest)) => format!("{}.{rest}", table::grouped(whole)),
        None => table::grouped(&text),
    }
}

fn counted(name: &str, count: u64) -> String {
    if name == "media_ms" {
        // What is counted in tenths of seconds is not told in full.
        let tenths = count.div_ceil(100);
        let whole = table::grouped(&(tenths / 10).to_string());
        return format!("{whole}.{}", tenths % 10);
    }
    table::grouped(&count.to_string())
}

/// The same with rows for the days or hours between in which nothing was used.
fn without_gaps(by: &[&str], rows: Vec<Value>) -> Vec<Value> {
    let mut all: Vec<Value> = Vec::with_capacity(rows.len());
    let (Some(word), mut left) = (by.first(), MOST_EMPTY) else {
        return rows;
    };
    for row in rows {
        let group = |row: &Value| row["group"][word].as_str().map(str::to_owned);
        let last = all.last().and_then(group);
        let (mut next, end) = (last.as_deref().and_then(following), group(&row));
        while let Some(empty) = next.filter(|next| Some(next) != end.as_ref() && left > 0) {
            next = following(&empty);
            all.push(json!({ "group": { *word: empty } }));
            left -= 1;
        }
        all.push(row);
    }
    all
}

/// The day or hour after one.
fn following(text: &str) -> Option<String> {
    let step = |at: DateTime, span: Span, form: &str| {
        let next = at.checked_add(span).ok()?;
        Some(next.strftime(form).to_string())
    };
    match text.split_once('T') {
        None => step(text.parse::<Date>().ok()?.into(), 1.day(), "%Y-%m-%d"),
        Some((day, hour)) => {
            let day: Date = day.parse().ok()?;
            let at = day.at(
                hour.parse().ok().filter(|it| (0..24).contains(it))?,
                0,
                0,
                0,
            );
            step(at, 1.hour(), "%Y-%m-%dT%H")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Value> {
        vec![
            json!({ "group": { "tenant": "t_1", "model": "qwen-plus" },
                "names": { "tenant": "研发部" }, "requests": 2, "input_tokens": 1_234_567,
                "output_tokens": 4, "cost": { "CNY": "0.0075" }, "estimated_cost": {} }),
            json!({ "group": { "tenant": "t_2", "model": null }, "names": {}, "requests": 1,
                "estimated": 1, "unpriced": 0, "images": 3, "media_ms": 61_001,
                "cost": { "CNY": "0.03", "USD": "1" }, "estimated_cost": { "CNY": "0.01" } }),
        ]
    }

    fn cells(line: &str) -> Vec<&str> {
        line.split_whitespace().collect()
    }

    #[test]
    fn a_table_has_exact_sums_names_and_bars_and_begins_with_what_cost_most() {
        let text = table(&["tenant", "model"], &rows());
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].starts_with("t_2"), "{text}");
        assert!(lines[1].contains("~0.0300"), "{text}");
        let row = [
            "研发部",
            "qwen-plus",
            "2",
            "1,234,567",
            "0",
            "4",
            "0",
            "0.0",
            "0.0075",
            "-",
            "█████",
        ];
        assert_eq!(cells(lines[2]), row);
        let sum = [
            "total",
            "3",
            "1,234,567",
            "0",
            "4",
            "3",
            "61.1",
            "0.0375",
            "1",
        ];
        assert_eq!(cells(lines[3]), sum);
        let note = "requests with guessed amounts (~): 1";
        assert!(lines[4].starts_with(note), "{text}");
    }

    #[test]
    fn days_and_hours_without_use_are_in_the_chart() {
        let row = |word: &str, at: &str| json!({ "group": { word: at }, "requests": 1 });
        let days = [row("day", "2026-02-27"), row("day", "2026-03-02")];
        let text = table(&["day"], &days);
        let first: Vec<&str> = text.lines().map(|line| cells(line)[0]).collect();
        let expected = [
            "DAY",
            "2026-02-27",
            "2026-02-28",
            "2026-03-01",
            "2026-03-02",
            "total",
        ];
        assert_eq!(first, expected);
        let hours = [row("hour", "2026-11-27T22"), row("hour", "2026-11-28T00")];
        let text = table(&["hour"], &hours);
        assert!(text.contains("2026-11-27T23"), "{text}");
        // Hours that are centuries apart are not filled up.
        let hours = [row("hour", "1026-11-27T22"), row("hour", "2026-11-28T00")];
        assert!(table(&["hour"], &hours).lines().count() < 1_100);
    }
}
