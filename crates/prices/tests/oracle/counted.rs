//! What is paid by the second, the picture, the character, the voice or the call.

use bailian_prices::{Context, Currency, Decimal, Usage};
use fastrand::Rng;
use num_rational::BigRational;

use super::file::{Entry, Tier, number};
use super::support::{day, now};
use super::{agree, ask, fraction};

const RANDOM_PER_TIER: usize = 60;

/// What an item asks of the context, beside its tier.
fn context(tier: &Tier<'_>, item: &str) -> Context {
    let mut context = Context::new();
    context.resolution = tier.word("resolution");
    context.audio = tier.flag("audio");
    context.reference_video = tier.flag("reference_video");
    context.service_mode = tier.word("service_mode");
    context.task = tier.word("task");
    context.spec = tier.word("spec");
    match item {
        "output_480p" => context.resolution = Some("480P".to_owned()),
        "output_720p" => context.resolution = Some("720P".to_owned()),
        "output_1:1_aspect" => context.aspect = Some("1:1".to_owned()),
        "output_3:4_aspect" => context.aspect = Some("3:4".to_owned()),
        "output_with_prompt_extend" => context.prompt_extend = Some(true),
        _ => context.prompt_extend = Some(false),
    }
    context
}

fn usage(rng: &mut Rng) -> Usage {
    let mut usage = Usage::new();
    usage.input_seconds = Decimal::new(rng.i64(1..100_000), 2);
    usage.output_seconds = Decimal::new(rng.i64(1..100_000), 2);
    usage.input_images = rng.u64(1..10);
    usage.output_images = rng.u64(1..10);
    usage.characters = rng.u64(1..100_000);
    usage.voices = rng.u64(1..4);
    usage.calls = rng.u64(1..4);
    usage.first_used_voices = rng.u64(0..2);
    usage
}

fn bill(
    entry: &Entry<'_>,
    tier: &Tier<'_>,
    item: &str,
    usage: &Usage,
    dollars: bool,
) -> BigRational {
    let whole = |count: u64| BigRational::from_integer(count.into());
    let (sent, made) = match entry.unit.as_str() {
        "per_second" => (
            fraction(usage.input_seconds),
            fraction(usage.output_seconds),
        ),
        "per_image" => (whole(usage.input_images), whole(usage.output_images)),
        "per_10k_characters" => (whole(usage.characters) / whole(10_000), whole(0)),
        "per_voice" => (whole(0), whole(usage.voices)),
        _ => (whole(0), whole(usage.calls)),
    };
    let items = tier.figures(dollars);
    let mut sum = BigRational::default();
    for (key, price) in items {
        sum += match key.as_str() {
            "input" => price * &sent,
            "input_output" => price * (&sent + &made),
            "price" if made == whole(0) => price * &sent,
            "price" => price * &made,
            // Of several prices of output, the one that was asked for.
            key if key == item => price * &made,
            _ => whole(0),
        };
    }
    sum
}

pub fn compare(entry: &Entry<'_>, rng: &mut Rng) -> usize {
    if !entry.is_sold() {
        return 0;
    }
    let mut count = 0;
    let mut round = |tiers: &[Tier<'_>], old: bool| {
        for tier in tiers {
            let outputs: Vec<&String> = tier
                .items
                .keys()
                .filter(|key| key.starts_with("output"))
                .collect();
            let choices = if outputs.is_empty() {
                tier.items.keys().collect()
            } else {
                outputs
            };
            for _ in 0..RANDOM_PER_TIER {
                let item = choices[rng.usize(0..choices.len())];
                let mut request = ask(entry);
                request.at = if old { day("2026-08-31") } else { now() };
                request.context = context(tier, item);
                if let Some(above) = tier.bound("volume_gt") {
                    let last = tier.bound("volume_lte").unwrap_or(above + 1_000);
                    request.context.volume = Some([above + 1, last][rng.usize(0..2)]);
                }
                let dollars = !old && entry.has_dollars() && rng.bool();
                request.options.currency = dollars.then_some(Currency::Usd);
                request.options.apply_promo = rng.bool();
                request.usage = usage(rng);
                let mut expected = bill(entry, tier, item, &request.usage, dollars);
                if request.options.apply_promo && !old {
                    expected *= entry.promotion();
                }
                let voices = request.usage.first_used_voices.to_string();
                expected += entry.first_use() * number(&voices);
                agree(&request, entry, Some(&expected));
                count += 1;
            }
        }
    };
    round(&entry.tiers, false);
    if let Some(old) = &entry.superseded {
        round(old, true);
    }
    count
}
