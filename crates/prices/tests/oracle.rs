//! The price book beside an oracle: the same bill by another hand.
//!
//! The oracle reads the price file by itself and reckons in big fractions, by the formulas of the
//! price page. It shares nothing with the engine but the file. More than a million requests are
//! priced by both: every tier edge with its neighbours, in every mode, and many at random.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    unreachable_pub,
    reason = "tests: a price that differs is a failure"
)]

#[path = "oracle/counted.rs"]
mod counted;
#[path = "oracle/file.rs"]
mod file;
#[path = "oracle/media.rs"]
mod media;
mod support;
#[path = "oracle/text.rs"]
mod text;

use std::sync::atomic::{AtomicUsize, Ordering};

use bailian_prices::{Decimal, PriceError, Request, Usage};
use fastrand::Rng;
use file::{Entry, PriceFile};
use num_bigint::BigInt;
use num_rational::BigRational;
use support::{book, now};

/// Requests that the test must have compared.
const LEAST: usize = 1_000_000;

fn fraction(value: Decimal) -> BigRational {
    let denominator = BigInt::from(10).pow(value.scale());
    BigRational::new(value.mantissa().into(), denominator)
}

/// Holds the book's answer against the oracle's, `None` for a refusal.
fn agree(request: &Request, entry: &Entry<'_>, expected: Option<&BigRational>) {
    match (book().cost(request), expected) {
        (Ok(cost), Some(expected)) => {
            assert_eq!(&fraction(cost.total), expected, "{request:?} {cost:?}");
            let lines = cost.lines.iter().map(|line| fraction(line.amount));
            let sum: BigRational = lines.sum();
            assert_eq!(&sum, expected, "the lines of {cost:?}");
            assert_eq!(cost.entry, entry.id(), "{request:?}");
        }
        (Err(_), None) => {}
        (answer, expected) => panic!("{request:?}: {answer:?}, but the oracle {expected:?}"),
    }
}

fn ask(entry: &Entry<'_>) -> Request {
    Request::new(&entry.model, &entry.region, now(), Usage::new()).scope(&entry.scope)
}

#[test]
fn a_million_requests_cost_what_an_oracle_of_fractions_says() {
    let file = PriceFile::read(include_str!("../data/prices.json"));
    let compared = AtomicUsize::new(0);
    let next = AtomicUsize::new(0);
    let workers = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(4);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(entry) = file.entries.get(next.fetch_add(1, Ordering::Relaxed)) {
                    // Seeded by the entry, so that a failure comes again.
                    let seed = entry.id().bytes().fold(7_u64, |seed, byte| {
                        seed.wrapping_mul(31).wrapping_add(byte.into())
                    });
                    let mut rng = Rng::with_seed(seed);
                    let count = match entry.unit.as_str() {
                        "per_1m_tokens" if entry.is_sold_by_media() => {
                            media::compare(&file, entry, &mut rng)
                        }
                        "per_1m_tokens" => text::compare(&file, entry, &mut rng),
                        _ => counted::compare(entry, &mut rng),
                    };
                    compared.fetch_add(count, Ordering::Relaxed);
                }
            });
        }
    });
    let compared = compared.into_inner();
    assert!(compared >= LEAST, "{compared} requests were compared");
}

#[test]
fn what_is_not_sold_is_refused_as_such() {
    let file = PriceFile::read(include_str!("../data/prices.json"));
    for entry in file.entries.iter().filter(|entry| !entry.is_sold()) {
        let mut request = ask(entry);
        request.usage = Usage::tokens(1_000, 0);
        request.usage.output_images = 1;
        let refused = matches!(book().cost(&request), Err(PriceError::Unpriced { .. }));
        assert!(refused, "{}", entry.id());
    }
}
