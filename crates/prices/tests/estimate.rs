//! The upper bound: never below the bill, and not above it without need.

#![allow(
    clippy::unwrap_used,
    reason = "tests: a price that is missing is a failure"
)]

mod support;

use bailian_prices::{Context, InputSplit, Note, Request, Unit, Usage};
use fastrand::Rng;
use support::{beijing, book, decimal, has, now, request, total};

#[test]
fn what_is_not_said_is_taken_at_its_dearest() {
    // qwen-plus: 0.8 元 in, thinking 8 元 out.
    let usage = Usage::tokens(100_000, 10_000);
    let unsaid = book()
        .estimate(&beijing("qwen-plus", usage.clone()))
        .unwrap();
    assert_eq!(total(&unsaid), "0.16");
    assert!(has(&unsaid, &Note::UpperBound));
    let plain = book()
        .estimate(&beijing("qwen-plus", usage.clone()).thinking(false))
        .unwrap();
    assert_eq!(total(&plain), "0.1");
    let batch = book()
        .estimate(&beijing("qwen-plus", usage.clone()).batch(true))
        .unwrap();
    assert_eq!(total(&batch), "0.08");
    let mut written = usage.clone();
    written.cache_creation_tokens = 100_000;
    let written = book().estimate(&beijing("qwen-plus", written)).unwrap();
    assert_eq!(total(&written), "0.18"); // 0.1 + 0.08
    // Two scopes: the dearer.
    let frankfurt = book()
        .estimate(&request("qwen-plus", "eu-central-1", usage))
        .unwrap();
    assert_eq!(frankfurt.entry, "qwen-plus@eu-central-1/eu/CNY");
    // Sound is the dearest that an omni model hears and says.
    let omni = book()
        .estimate(&beijing("qwen-omni-turbo", Usage::tokens(1_000, 1_000)))
        .unwrap();
    assert_eq!(total(&omni), "0.075");
    let mut film = Usage::new();
    film.output_seconds = decimal("10");
    assert_eq!(
        total(&book().estimate(&beijing("wan2.7-t2v", film)).unwrap()),
        "10"
    );
}

#[test]
fn no_bill_is_above_its_estimate() {
    let mut rng = Rng::with_seed(20_261_123);
    let mut compared = 0;
    for entry in book()
        .entries()
        .filter(|entry| entry.unit() == Unit::MillionTokens)
    {
        for _ in 0..40 {
            let bits = rng.u32(4..=20);
            let mut most = Usage::tokens(rng.u64(1..1 << bits), rng.u64(0..1 << 14));
            most.cache_creation_tokens = if rng.bool() { most.input_tokens } else { 0 };
            let mut request = Request::new(entry.model(), entry.region(), now(), most.clone());
            request.scope = rng.bool().then(|| entry.scope().to_owned());
            request.context.batch = rng.bool();
            let Ok(estimate) = book().estimate(&request) else {
                assert!(book().cost(&request).is_err(), "{request:?}");
                continue;
            };
            for _ in 0..8 {
                request.context.thinking = [None, Some(true), Some(false)][rng.usize(0..3)];
                request.usage = within(&most, &mut rng);
                let Ok(cost) = book().cost(&request) else {
                    continue;
                };
                assert_eq!(cost.currency, estimate.currency);
                assert!(
                    cost.total <= estimate.total,
                    "{request:?}: {cost:?} {estimate:?}"
                );
                compared += 1;
            }
            request.context = Context::new();
        }
    }
    assert!(compared > 100_000, "{compared}");
}

/// A usage that is nowhere above `most`.
fn within(most: &Usage, rng: &mut Rng) -> Usage {
    let input = if rng.bool() {
        most.input_tokens
    } else {
        rng.u64(1..=most.input_tokens)
    };
    let mut usage = Usage::tokens(input, rng.u64(0..=most.output_tokens));
    usage.cache_creation_tokens = rng.u64(0..=most.cache_creation_tokens.min(input));
    let left = input - usage.cache_creation_tokens;
    usage.implicit_cached_tokens = if rng.bool() { rng.u64(0..=left) } else { 0 };
    if rng.bool() {
        let image = rng.u64(0..=input);
        usage.input_split = Some(InputSplit::new(image, 0, rng.u64(0..=input - image)));
    }
    usage.output_audio_tokens = rng.bool().then(|| rng.u64(0..=usage.output_tokens));
    usage.reasoning_tokens = rng.u64(0..=usage.output_tokens);
    usage
}
