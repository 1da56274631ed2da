//! An upper bound of a request's cost, for reserving money before it is sent.

use rust_decimal::Decimal;

use crate::bill::{Bill, check};
use crate::book::PriceBook;
use crate::cost::{Cost, LineKind, Note};
use crate::decimal;
use crate::error::PriceError;
use crate::request::Request;
use crate::tier::{Item, Items, Tier, Unit};
use crate::tokens::{self, Caching, MEDIA};
use crate::{terms::Terms, usage::Usage};

pub(crate) fn estimate(book: &PriceBook, request: &Request) -> Result<Cost, PriceError> {
    let candidates = book.terms(request)?;
    check(&request.usage)?;
    // Amounts in different currencies cannot be compared.
    let currency = candidates.first().map(|terms| terms.currency);
    let same = candidates
        .into_iter()
        .filter(|terms| Some(terms.currency) == currency);
    let mut dearest: Option<Cost> = None;
    let mut problem = None;
    for terms in same {
        match bound(book, request, &terms) {
            Ok(cost)
                if dearest
                    .as_ref()
                    .is_none_or(|known| cost.total > known.total) =>
            {
                dearest = Some(cost);
            }
            Ok(_) => {}
            Err(error) => problem = problem.or(Some(error)),
        }
    }
    match (dearest, problem) {
        (Some(cost), _) => Ok(cost),
        (None, Some(problem)) => Err(problem),
        (None, None) => Err(PriceError::Inconsistent { what: "no terms" }),
    }
}

fn bound(book: &PriceBook, request: &Request, terms: &Terms<'_>) -> Result<Cost, PriceError> {
    let tiers = match terms.allowed_tiers(&request.context) {
        Ok(tiers) => tiers,
        Err(error) => return Err(unfit(book, request, terms).unwrap_or(error)),
    };
    let longest = tiers
        .iter()
        .filter_map(|tier| tier.when.input_tokens_lte)
        .max();
    let input = request.usage.input_tokens.max(1);
    let mut dearest: Option<Cost> = None;
    for tier in tiers {
        // A shorter request than expected may fall into a lower tier, and need not be cheaper.
        if !tier.when.is_above_start(input) {
            continue;
        }
        let last = tier.when.input_tokens_lte;
        let most = match last {
            Some(end) if last != longest => input.min(end),
            _ => input,
        };
        let cost = with_tier(book, request, terms, tier, most)?;
        if dearest
            .as_ref()
            .is_none_or(|known| cost.total > known.total)
        {
            dearest = Some(cost);
        }
    }
    dearest.ok_or_else(|| {
        let nothing = || PriceError::NoQuantity {
            entry: terms.entry.to_string(),
            unit: terms.unit,
        };
        unfit(book, request, terms).unwrap_or_else(nothing)
    })
}

/// Why no bill at all can be written by these terms.
fn unfit(book: &PriceBook, request: &Request, terms: &Terms<'_>) -> Option<PriceError> {
    Bill::new(book, request, terms.clone()).err()
}

fn with_tier(
    book: &PriceBook,
    request: &Request,
    terms: &Terms<'_>,
    tier: &Tier,
    most_input: u64,
) -> Result<Cost, PriceError> {
    let mut bill = Bill::new(book, request, terms.clone())?;
    bill.note(Note::UpperBound);
    if let (true, Some(batch)) = (request.context.batch, terms.batch) {
        bill.multiply(batch);
    }
    let items = terms.items(tier);
    match terms.unit {
        Unit::MillionTokens => most_tokens(&mut bill, items, most_input)?,
        unit => bill.counted(unit, items)?,
    }
    bill.extras()?;
    bill.close()
}

fn most_tokens(bill: &mut Bill<'_>, items: &Items, most: u64) -> Result<(), PriceError> {
    let request = bill.request;
    let usage = &request.usage;
    if usage.input_tokens == 0 && usage.output_tokens == 0 {
        return Err(bill.no_quantity());
    }
    let (price, kind) = dearest_input(items, usage).ok_or_else(|| bill.no_item("input"))?;
    let most = if usage.input_tokens == 0 { 0 } else { most };
    let written = if request.context.batch {
        0
    } else {
        usage.cache_creation_tokens.min(most)
    };
    let (write_price, write_multiplier, _) =
        tokens::cached_price(bill, items, Caching::Write, price);
    // Writing may be listed cheaper than reading anew; it need not happen.
    let write = decimal::multiply(write_price, write_multiplier);
    let dear = write.is_none_or(|write| write > price);
    let written = if dear { written } else { 0 };
    bill.line(
        LineKind::CacheCreation,
        written.into(),
        write_price,
        write_multiplier,
    )?;
    bill.line(kind, (most - written).into(), price, Decimal::ONE)?;
    if usage.output_tokens > 0 {
        let output = dearest_output(items, request.context.thinking);
        let output = output.ok_or_else(|| bill.no_item("output"))?;
        bill.line(
            LineKind::Output,
            usage.output_tokens.into(),
            output,
            Decimal::ONE,
        )?;
    }
    Ok(())
}

/// The dearest kind of input among those that the request may have.
fn dearest_input(items: &Items, usage: &Usage) -> Option<(Decimal, LineKind)> {
    let possible = |kind: &LineKind| match (usage.input_split, kind) {
        (None, _) | (Some(_), LineKind::InputText) => true,
        (Some(split), LineKind::InputImage) => split.image > 0,
        (Some(split), LineKind::InputVideo) => split.video > 0,
        (Some(split), _) => split.audio > 0,
    };
    let prices = MEDIA.into_iter().filter(|(_, kind, _)| possible(kind));
    prices
        .filter_map(|(media, kind, _)| Some((tokens::input_price(items, media)?, kind)))
        .max_by_key(|(price, _)| *price)
}

fn dearest_output(items: &Items, thinking: Option<bool>) -> Option<Decimal> {
    if let Some(price) = items.get(Item::Output) {
        return Some(price);
    }
    let thought = items.get(Item::OutputThinking);
    let unthought = items.get(Item::OutputNonThinking);
    let by_mode = match thinking {
        Some(true) => thought.or(unthought),
        Some(false) => unthought.or(thought),
        None => thought.max(unthought),
    };
    let by_media = [
        Item::OutputText,
        Item::OutputTextAfterText,
        Item::OutputTextAfterMedia,
        Item::OutputAudio,
    ];
    let by_media = by_media
        .into_iter()
        .filter_map(|item| items.get(item))
        .max();
    let free = items.are_free().then_some(Decimal::ZERO);
    by_mode.or(by_media).or(free)
}
