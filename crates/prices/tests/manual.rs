//! The manual says what the code does.

#![allow(
    clippy::unwrap_used,
    reason = "tests: a manual that cannot be read has failed"
)]

mod support;

use bailian_prices::{PriceOverride, Usage};
use serde::Deserialize;
use support::{beijing, book, total};

const MANUAL: &str = include_str!("../../../docs/prices.md");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    prices: Prices,
}

#[derive(Deserialize)]
struct Prices {
    overrides: Vec<PriceOverride>,
}

#[test]
fn the_example_of_overrides_is_read() {
    let example = MANUAL.split("```toml").nth(1).unwrap();
    let example = example.split("```").next().unwrap();
    let file: File = toml::from_str(example).unwrap();
    let book = book().with_overrides(file.prices.overrides).unwrap();
    let own = |model: &str| beijing(model, Usage::tokens(100_000, 0));
    assert_eq!(total(&book.cost(&own("qwen-plus")).unwrap()), "0.07");
    assert_eq!(total(&book.cost(&own("qwen3-max")).unwrap()), "0.34"); // 0.4 × 0.85
}

#[test]
fn the_worked_example_is_right() {
    let mut usage = Usage::tokens(10_000, 1_000);
    usage.implicit_cached_tokens = 4_000;
    usage.tool_calls.insert("web_search".to_owned(), 1);
    let cost = book()
        .cost(&beijing("qwen-plus", usage).thinking(false))
        .unwrap();
    for line in &cost.lines {
        let row = MANUAL
            .lines()
            .find(|row| row.starts_with(&format!("| `{}` |", line.kind)));
        let cells: Vec<&str> = row.unwrap().split('|').map(str::trim).collect();
        assert!(
            cells[3].starts_with(&line.unit_price.to_string()),
            "{line:?}"
        );
        assert_eq!(cells[4], line.multiplier.to_string());
        assert_eq!(cells[5], line.amount.to_string());
    }
    assert_eq!(cost.lines.len(), 4);
    assert!(MANUAL.contains(&format!("| total | | | | {} |", total(&cost))));
}

#[test]
fn the_version_and_the_size_of_the_list_are_those_of_the_data() {
    assert!(MANUAL.contains(book().version()));
    assert!(MANUAL.contains(&format!("{} entries", book().entries().count())));
    let unverified = book()
        .entries()
        .filter(|entry| entry.is_unverified())
        .count();
    assert!(MANUAL.contains(&format!("marked so ({unverified} in the list)")));
}
