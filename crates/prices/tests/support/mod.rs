//! What the tests of prices share.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "every test file uses a part of it, and a test that cannot read its own data has failed"
)]

use std::time::SystemTime;

use bailian_prices::{Cost, Decimal, Moment, Note, PriceBook, Request, Usage};

pub const BEIJING: &str = "cn-beijing";
pub const SINGAPORE: &str = "ap-southeast-1";

/// A moment after every date of the embedded list.
pub fn now() -> SystemTime {
    day("2026-11-23")
}

pub fn day(text: &str) -> SystemTime {
    text.parse::<Moment>().unwrap().time()
}

pub fn decimal(text: &str) -> Decimal {
    text.parse().unwrap()
}

pub fn book() -> &'static PriceBook {
    PriceBook::embedded()
}

pub fn request(model: &str, region: &str, usage: Usage) -> Request {
    Request::new(model, region, now(), usage)
}

pub fn beijing(model: &str, usage: Usage) -> Request {
    request(model, BEIJING, usage)
}

/// The total, after checking that the lines make it.
pub fn total(cost: &Cost) -> String {
    let sum: Decimal = cost.lines.iter().map(|line| line.amount).sum();
    assert_eq!(sum, cost.total, "{cost:?}");
    for line in &cost.lines {
        let amount = line.quantity * line.unit_price * line.multiplier / Decimal::from(line.per);
        assert_eq!(amount, line.amount, "{line:?}");
    }
    cost.total.to_string()
}

pub fn has(cost: &Cost, note: &Note) -> bool {
    cost.notes.contains(note)
}
