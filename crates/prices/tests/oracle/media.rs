//! Tokens of several media at several prices.

use bailian_prices::{Currency, InputSplit, Usage};
use fastrand::Rng;
use num_rational::BigRational;

use super::file::{Entry, PriceFile, Prices, number};
use super::{agree, ask};

const RANDOM_PER_ENTRY: usize = 600;
const MEDIA: [&str; 4] = ["text", "image", "video", "audio"];

/// The price of a kind of input; video and pictures stand in for each other.
fn input<'p>(items: &'p Prices, medium: &str) -> Option<&'p BigRational> {
    let of = |medium: &str| {
        items.iter().find_map(|(key, price)| {
            let media = key.strip_prefix("input_")?;
            media.split('_').any(|one| one == medium).then_some(price)
        })
    };
    of(medium).or_else(|| match medium {
        "video" => of("image"),
        "image" => of("video"),
        _ => None,
    })
}

/// Only a price that is used must be there.
fn charge(sum: &mut BigRational, price: Option<&BigRational>, count: u64) -> Option<()> {
    if count > 0 {
        *sum += price? * BigRational::from_integer(count.into());
    }
    Some(())
}

fn bill(
    file: &PriceFile<'_>,
    entry: &Entry<'_>,
    usage: &Usage,
    dollars: bool,
) -> Option<BigRational> {
    let items = entry.tiers[0].figures(dollars);
    let mut sum = BigRational::default();
    let split = usage.input_split.unwrap_or_default();
    let others = split.image + split.video + split.audio;
    let counts = [
        usage.input_tokens - others,
        split.image,
        split.video,
        split.audio,
    ];
    let mut hits = usage.implicit_cached_tokens;
    for (medium, count) in MEDIA.into_iter().zip(counts) {
        let price = input(items, medium);
        let hit = hits.min(count);
        hits -= hit;
        charge(&mut sum, price, count - hit)?;
        let cached = price.map(|price| price * &file.rules[0]);
        charge(&mut sum, cached.as_ref(), hit)?;
    }
    let sound = usage.output_audio_tokens.unwrap_or(0);
    charge(&mut sum, items.get("output_audio"), sound)?;
    let text = usage.output_tokens - sound;
    let omni = items.contains_key("output_text_when_multimodal_input");
    if !(omni && sound > 0) {
        let keys = if others > 0 {
            ["output_text", "output_text_when_multimodal_input", "-"]
        } else {
            [
                "output_text",
                "output_text_when_text_only_input",
                "output_text_when_multimodal_input",
            ]
        };
        charge(&mut sum, keys.iter().find_map(|key| items.get(*key)), text)?;
    }
    Some(sum * number("0.000001"))
}

pub fn compare(file: &PriceFile<'_>, entry: &Entry<'_>, rng: &mut Rng) -> usize {
    let mut request = ask(entry);
    for round in 0..RANDOM_PER_ENTRY {
        let mut usage = Usage::tokens(rng.u64(1..200_000), rng.u64(0..20_000));
        usage.input_split = match round % 4 {
            0 => None,
            1 => Some(InputSplit::text()),
            _ => {
                let image = rng.u64(0..=usage.input_tokens);
                let video = rng.u64(0..=usage.input_tokens - image);
                let audio = rng.u64(0..=usage.input_tokens - image - video);
                Some(InputSplit::new(image, video, audio))
            }
        };
        usage.output_audio_tokens = rng.bool().then(|| rng.u64(0..=usage.output_tokens));
        if rng.bool() {
            usage.implicit_cached_tokens = rng.u64(0..=usage.input_tokens);
        }
        let dollars = entry.has_dollars() && rng.bool();
        let expected = bill(file, entry, &usage, dollars);
        request.options.currency = dollars.then_some(Currency::Usd);
        request.usage = usage;
        agree(&request, entry, expected.as_ref());
    }
    RANDOM_PER_ENTRY
}
