//! Lines of what is paid by tokens.

use rust_decimal::Decimal;

use crate::bill::Bill;
use crate::cost::{LineKind, Note};
use crate::error::PriceError;
use crate::tier::{Item, Items, Media};

/// Kinds of input in the order in which cached tokens are taken from them.
pub(crate) const MEDIA: [(Media, LineKind, &str); 4] = [
    (Media::TEXT, LineKind::InputText, "text input"),
    (Media::IMAGE, LineKind::InputImage, "pictures as input"),
    (Media::VIDEO, LineKind::InputVideo, "video as input"),
    (Media::AUDIO, LineKind::InputAudio, "sound as input"),
];

pub(crate) fn lines(bill: &mut Bill<'_>, items: &Items) -> Result<(), PriceError> {
    let usage = &bill.request.usage;
    if usage.input_tokens == 0 && usage.output_tokens == 0 {
        return Err(bill.no_quantity());
    }
    input(bill, items)?;
    output(bill, items)
}

/// How input meets the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caching {
    ImplicitHit,
    ExplicitHit,
    Write,
}

/// The unit price and the multiplier of cached input; and whether the entry says so.
pub(crate) fn cached_price(
    bill: &Bill<'_>,
    items: &Items,
    caching: Caching,
    input: Decimal,
) -> (Decimal, Decimal, bool) {
    let (terms, rules) = (&bill.terms.cache, &bill.book.listing.rules);
    let (item, price, multiplier, rule) = match caching {
        Caching::ImplicitHit => (
            Item::CachedImplicit,
            terms.implicit_hit_price,
            terms.implicit_hit_multiplier,
            rules.implicit_hit,
        ),
        Caching::ExplicitHit => (
            Item::CachedExplicit,
            terms.explicit_hit_price,
            terms.explicit_hit_multiplier,
            rules.explicit_hit,
        ),
        Caching::Write => (
            Item::CacheWrite,
            terms.explicit_write_price,
            terms.explicit_write_multiplier,
            rules.explicit_write,
        ),
    };
    match (items.get(item).or(price), multiplier) {
        (Some(price), _) => (price, Decimal::ONE, true),
        (None, Some(multiplier)) => (input, multiplier, true),
        (None, None) => (input, rule, false),
    }
}

/// What a kind of input costs. A tier that is free is free for all.
pub(crate) fn input_price(items: &Items, media: Media) -> Option<Decimal> {
    let free = items.are_free().then_some(Decimal::ZERO);
    items.input(media).or(free)
}

fn input(bill: &mut Bill<'_>, items: &Items) -> Result<(), PriceError> {
    let usage = &bill.request.usage;
    let plain = items.input(Media::ALL).is_some() || items.are_free();
    let parts = if plain {
        vec![(Media::ALL, LineKind::Input, "input", usage.input_tokens)]
    } else {
        let split = usage.input_split.unwrap_or_default();
        let text = usage.input_tokens - split.image - split.video - split.audio;
        let counts = [text, split.image, split.video, split.audio];
        let parts = MEDIA.into_iter().zip(counts);
        let several = items
            .0
            .iter()
            .filter(|(item, _)| matches!(item, Item::Input(_)));
        if usage.input_split.is_none() && several.count() > 1 {
            bill.note(Note::TextAssumed);
        }
        parts
            .map(|((media, kind, name), count)| (media, kind, name, count))
            .collect()
    };
    let mut cached = [
        (
            Caching::ImplicitHit,
            LineKind::CachedImplicit,
            usage.implicit_cached_tokens,
        ),
        (
            Caching::ExplicitHit,
            LineKind::CachedExplicit,
            usage.explicit_cached_tokens,
        ),
        (
            Caching::Write,
            LineKind::CacheCreation,
            usage.cache_creation_tokens,
        ),
    ];
    if cached.iter().any(|(_, _, count)| *count > 0) {
        if bill.request.context.batch {
            cached = cached.map(|(caching, kind, _)| (caching, kind, 0));
            bill.note(Note::BatchWithoutCache);
        } else {
            if parts.iter().filter(|(_, _, _, count)| *count > 0).count() > 1 {
                bill.note(Note::CachedMediaAssumed);
            }
            if bill.terms.cache_unverified {
                bill.note(Note::CacheUnverified);
            }
        }
    }
    for (media, kind, name, count) in parts {
        if count == 0 {
            continue;
        }
        let price = input_price(items, media).ok_or_else(|| bill.no_item(name))?;
        let mut plain = count;
        for (caching, kind, left) in &mut cached {
            let taken = plain.min(*left);
            if taken == 0 {
                continue;
            }
            plain -= taken;
            *left -= taken;
            let (price, multiplier, listed) = cached_price(bill, items, *caching, price);
            if !listed {
                bill.note(Note::CacheAssumed);
            }
            bill.line(kind.clone(), Decimal::from(taken), price, multiplier)?;
        }
        bill.line(kind, Decimal::from(plain), price, Decimal::ONE)?;
    }
    Ok(())
}

fn output(bill: &mut Bill<'_>, items: &Items) -> Result<(), PriceError> {
    let usage = &bill.request.usage;
    let total = usage.output_tokens;
    if total == 0 {
        return Ok(());
    }
    if let Some(price) = items.get(Item::Output) {
        return bill.line(LineKind::Output, Decimal::from(total), price, Decimal::ONE);
    }
    let thinking = bill
        .request
        .context
        .thinking
        .unwrap_or(usage.reasoning_tokens > 0);
    let thought = items.get(Item::OutputThinking);
    let unthought = items.get(Item::OutputNonThinking);
    let (asked, other, kinds) = if thinking {
        (
            thought,
            unthought,
            [LineKind::OutputThinking, LineKind::Output],
        )
    } else {
        (
            unthought,
            thought,
            [LineKind::Output, LineKind::OutputThinking],
        )
    };
    let [kind, other_kind] = kinds;
    if let Some(price) = asked {
        return bill.line(kind, Decimal::from(total), price, Decimal::ONE);
    }
    if let Some(price) = other {
        // The model knows one mode only, whatever was asked for.
        bill.note(Note::OtherThinkingMode);
        return bill.line(other_kind, Decimal::from(total), price, Decimal::ONE);
    }
    by_media(bill, items, total)
}

/// Output of models that write and speak.
fn by_media(bill: &mut Bill<'_>, items: &Items, total: u64) -> Result<(), PriceError> {
    let usage = &bill.request.usage;
    let audio = usage.output_audio_tokens.unwrap_or(0);
    let text = total - audio;
    if audio > 0 {
        let price = items.get(Item::OutputAudio);
        let price = price.ok_or_else(|| bill.no_item("sound as output"))?;
        bill.line(
            LineKind::OutputAudio,
            Decimal::from(audio),
            price,
            Decimal::ONE,
        )?;
    }
    if text == 0 {
        return Ok(());
    }
    let after_media = items.get(Item::OutputTextAfterMedia);
    let after_text = items.get(Item::OutputTextAfterText);
    // "输出的文本不计费": of Qwen-Omni's answers with sound, only the sound is charged.
    if audio > 0 && items.get(Item::OutputText).is_none() && after_media.is_some() {
        bill.note(Note::TextBesideAudioFree);
        return Ok(());
    }
    let split = usage.input_split.unwrap_or_default();
    let media = split.image > 0 || split.video > 0 || split.audio > 0;
    let priced = items.get(Item::OutputText).or(if media {
        after_media
    } else {
        after_text.or(after_media)
    });
    let free = items.are_free().then_some(Decimal::ZERO);
    let price = priced.or(free).ok_or_else(|| bill.no_item("output"))?;
    bill.line(
        LineKind::OutputText,
        Decimal::from(text),
        price,
        Decimal::ONE,
    )
}
