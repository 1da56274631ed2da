//! From terms and usage to the lines of a bill.

use rust_decimal::Decimal;

use crate::book::PriceBook;
use crate::cost::{Cost, CostLine, LineKind, Note};
use crate::decimal;
use crate::error::{PriceError, Unpriced};
use crate::request::Request;
use crate::terms::{Column, Terms};
use crate::tier::{Item, Items, Tier, Unit};
use crate::{tokens, usage::Usage};

pub(crate) fn cost(book: &PriceBook, request: &Request) -> Result<Cost, PriceError> {
    let mut found = book.terms(request)?;
    let terms = found.swap_remove(0);
    check(&request.usage)?;
    let mut bill = Bill::new(book, request, terms)?;
    let tier = bill.tier()?;
    let items = bill.figures(tier);
    bill.discounts();
    match bill.terms.unit {
        Unit::MillionTokens => tokens::lines(&mut bill, items)?,
        unit => bill.counted(unit, items)?,
    }
    bill.extras()?;
    bill.close()
}

/// A bill that is being written.
#[derive(Debug)]
pub(crate) struct Bill<'a> {
    pub(crate) book: &'a PriceBook,
    pub(crate) request: &'a Request,
    pub(crate) terms: Terms<'a>,
    /// Of every line; `None` if it has more digits than a decimal holds.
    multiplier: Option<Decimal>,
    lines: Vec<CostLine>,
    pub(crate) notes: Vec<Note>,
}

impl<'a> Bill<'a> {
    pub(crate) fn new(
        book: &'a PriceBook,
        request: &'a Request,
        mut terms: Terms<'a>,
    ) -> Result<Self, PriceError> {
        let notes = std::mem::take(&mut terms.notes);
        let said = || {
            let listed = notes.iter().find_map(|note| match note {
                Note::Listed(text) => Some(text.clone()),
                _ => None,
            });
            listed.unwrap_or_else(|| terms.entry.to_string())
        };
        let unpriced = |reason| PriceError::Unpriced {
            model: request.model.clone(),
            region: request.region.clone(),
            reason,
        };
        if terms.tiers.iter().all(|tier| tier.items.0.is_empty()) {
            return Err(unpriced(Unpriced::NotSold(said())));
        }
        let unclear = |tier: &Tier| tier.items.get(Item::Price).is_some();
        if terms.unit == Unit::MillionTokens && terms.tiers.iter().any(unclear) {
            return Err(unpriced(Unpriced::Unclear(said())));
        }
        Ok(Self {
            book,
            request,
            multiplier: Some(terms.multiplier),
            terms,
            lines: Vec::new(),
            notes,
        })
    }

    pub(crate) fn note(&mut self, note: Note) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// The one tier that holds.
    fn tier(&mut self) -> Result<&'a Tier, PriceError> {
        // A request without input is a short one.
        let input = self.request.usage.input_tokens.max(1);
        let allowed = self.terms.allowed_tiers(&self.request.context)?;
        let of_length =
            |tier: &&Tier| tier.when.is_above_start(input) && tier.when.is_within_end(input);
        let mut fitting: Vec<&Tier> = allowed.iter().copied().filter(of_length).collect();
        if fitting.is_empty() {
            self.note(Note::BeyondLastTier);
            let last = allowed
                .iter()
                .filter_map(|tier| tier.when.input_tokens_lte)
                .max();
            let is_last = |tier: &&Tier| tier.when.input_tokens_lte == last;
            fitting = allowed.iter().copied().filter(is_last).collect();
        }
        let (Some(first), rest) = (fitting.first().copied(), fitting.get(1..)) else {
            return Err(self.no_quantity());
        };
        let same = |tier: &&Tier| tier.items == first.items && tier.usd == first.usd;
        if rest.unwrap_or_default().iter().all(same) {
            return Ok(first);
        }
        let context = &self.request.context;
        let unsaid = fitting.iter().flat_map(|tier| tier.when.unsaid(context));
        let keys: Vec<&str> = distinct(unsaid)
            .into_iter()
            .filter(|key| differs(&fitting, key))
            .collect();
        if keys.is_empty() {
            return Ok(first);
        }
        Err(PriceError::MissingContext {
            entry: self.terms.entry.to_string(),
            keys,
        })
    }

    /// The figures that hold: in the currency asked for, at that time of day.
    fn figures(&mut self, tier: &'a Tier) -> &'a Items {
        if self.request.options.off_peak {
            if let (Column::Own, Some(off_peak)) = (self.terms.column, &tier.off_peak) {
                self.note(Note::OffPeak);
                return off_peak;
            }
            self.note(Note::OffPeakNotListed);
        }
        self.terms.items(tier)
    }

    /// What the whole request is multiplied by.
    fn discounts(&mut self) {
        let request = self.request;
        if request.context.batch {
            match self.terms.batch {
                Some(batch) => self.multiply(batch),
                None => self.note(Note::BatchWithoutDiscount),
            }
        }
        let Some(promotion) = self.terms.promotion else {
            return;
        };
        let begun = !promotion.observed.is_after(request.at);
        let running = promotion.end.is_none_or(|end| end.is_after(request.at));
        let multiplier = promotion.multiplier;
        match (begun && running, request.options.apply_promo) {
            (true, true) => {
                self.multiply(multiplier);
                self.note(Note::PromotionApplied { multiplier });
            }
            (true, false) => self.note(Note::PromotionNotApplied { multiplier }),
            (false, _) => {}
        }
    }

    pub(crate) fn multiply(&mut self, by: Decimal) {
        self.multiplier = self
            .multiplier
            .and_then(|multiplier| decimal::multiply(multiplier, by));
    }

    /// Writes a line at the entry's unit. Nothing used is no line.
    pub(crate) fn line(
        &mut self,
        kind: LineKind,
        quantity: Decimal,
        unit_price: Decimal,
        multiplier: Decimal,
    ) -> Result<(), PriceError> {
        let whole = self.multiplier;
        let multiplier = whole.and_then(|whole| decimal::multiply(multiplier, whole));
        let multiplier = multiplier.ok_or_else(|| self.too_large())?;
        self.write(
            kind,
            quantity,
            self.terms.unit.size(),
            unit_price,
            multiplier,
        )
    }

    fn write(
        &mut self,
        kind: LineKind,
        quantity: Decimal,
        per: u32,
        unit_price: Decimal,
        multiplier: Decimal,
    ) -> Result<(), PriceError> {
        if quantity.is_zero() {
            return Ok(());
        }
        // `per` is a power of ten.
        let digits = i32::try_from(per.ilog10()).unwrap_or(0);
        let amount = decimal::multiply(quantity, unit_price)
            .and_then(|amount| decimal::multiply(amount, multiplier))
            .and_then(|amount| decimal::shift(amount, -digits));
        self.lines.push(CostLine {
            kind,
            quantity,
            per,
            unit_price,
            multiplier,
            amount: amount.ok_or_else(|| self.too_large())?,
        });
        Ok(())
    }

    /// What is neither paid by tokens.
    pub(crate) fn counted(&mut self, unit: Unit, items: &Items) -> Result<(), PriceError> {
        let usage = &self.request.usage;
        let (sent, made) = match unit {
            Unit::Second => (
                (LineKind::InputSeconds, usage.input_seconds),
                (LineKind::OutputSeconds, usage.output_seconds),
            ),
            Unit::Image => (
                (LineKind::InputImages, Decimal::from(usage.input_images)),
                (LineKind::Images, Decimal::from(usage.output_images)),
            ),
            // Text is sent; for the sound that is made of it nothing is counted.
            Unit::TenThousandCharacters => (
                (LineKind::Characters, Decimal::from(usage.characters)),
                (LineKind::Characters, Decimal::ZERO),
            ),
            Unit::Voice => (
                (LineKind::Voices, Decimal::ZERO),
                (LineKind::Voices, Decimal::from(usage.voices)),
            ),
            _ => (
                (LineKind::Calls, Decimal::ZERO),
                (LineKind::Calls, Decimal::from(usage.calls)),
            ),
        };
        let mut counted = false;
        for (item, price) in &items.0 {
            let (kind, quantity) = match item {
                Item::Input(_) => sent.clone(),
                // What was made; what was sent where nothing is made, as in recognition.
                Item::Price if made.1.is_zero() => sent.clone(),
                Item::Output | Item::Price => made.clone(),
                Item::InputOutput => {
                    let both = decimal::add(sent.1, made.1);
                    (LineKind::Seconds, both.ok_or_else(|| self.too_large())?)
                }
                _ => continue,
            };
            counted |= !quantity.is_zero();
            self.line(kind, quantity, *price, Decimal::ONE)?;
        }
        if counted {
            Ok(())
        } else {
            Err(self.no_quantity())
        }
    }

    /// What is charged apart: tools, and voices that are used for the first time.
    pub(crate) fn extras(&mut self) -> Result<(), PriceError> {
        let (book, request) = (self.book, self.request);
        if let Some((price, currency)) = self.terms.first_use {
            let voices = Decimal::from(request.usage.first_used_voices);
            if currency == self.terms.currency {
                self.write(LineKind::FirstUsedVoices, voices, 1, price, Decimal::ONE)?;
            } else if !voices.is_zero() {
                return Err(PriceError::NoItem {
                    entry: self.terms.entry.to_string(),
                    item: "the first use of a cloned voice in that currency",
                });
            }
        }
        for (name, calls) in &request.usage.tool_calls {
            if *calls == 0 {
                continue;
            }
            let Some(tool) = book.listing.tools.get(name) else {
                return Err(PriceError::UnknownTool { tool: name.clone() });
            };
            // Nothing costs nothing in every currency.
            if tool.currency != self.terms.currency && !tool.price.is_zero() {
                return Err(PriceError::ToolCurrency {
                    tool: name.clone(),
                    listed: tool.currency,
                });
            }
            if tool.unverified {
                self.note(Note::ToolUnverified { tool: name.clone() });
            }
            let kind = LineKind::Tool(name.clone());
            self.write(
                kind,
                Decimal::from(*calls),
                tool.per,
                tool.price,
                Decimal::ONE,
            )?;
        }
        Ok(())
    }

    pub(crate) fn close(self) -> Result<Cost, PriceError> {
        let total = self
            .lines
            .iter()
            .try_fold(Decimal::ZERO, |sum, line| decimal::add(sum, line.amount));
        Ok(Cost {
            total: total.ok_or_else(|| self.too_large())?,
            currency: self.terms.currency,
            lines: self.lines,
            entry: self.terms.entry.into_owned(),
            version: self.book.version().to_owned(),
            notes: self.notes,
        })
    }

    pub(crate) fn no_item(&self, item: &'static str) -> PriceError {
        PriceError::NoItem {
            entry: self.terms.entry.to_string(),
            item,
        }
    }

    pub(crate) fn no_quantity(&self) -> PriceError {
        PriceError::NoQuantity {
            entry: self.terms.entry.to_string(),
            unit: self.terms.unit,
        }
    }

    pub(crate) fn too_large(&self) -> PriceError {
        PriceError::TooLarge {
            entry: self.terms.entry.to_string(),
        }
    }
}

/// Refuses a usage whose parts are more than the whole.
pub(crate) fn check(usage: &Usage) -> Result<(), PriceError> {
    let within = |parts: &[u64], whole: u64| {
        let sum = parts
            .iter()
            .try_fold(0_u64, |sum, part| sum.checked_add(*part));
        sum.is_some_and(|sum| sum <= whole)
    };
    let cached = [
        usage.implicit_cached_tokens,
        usage.explicit_cached_tokens,
        usage.cache_creation_tokens,
    ];
    let split = usage.input_split.unwrap_or_default();
    let what = if !within(&cached, usage.input_tokens) {
        "more tokens are cached or written to the cache than sent"
    } else if !within(&[split.image, split.video, split.audio], usage.input_tokens) {
        "the media of the input are more than the input"
    } else if !within(
        &[usage.output_audio_tokens.unwrap_or(0)],
        usage.output_tokens,
    ) {
        "the sound of the output is more than the output"
    } else if usage.input_seconds.is_sign_negative() || usage.output_seconds.is_sign_negative() {
        "seconds are negative"
    } else {
        return Ok(());
    };
    Err(PriceError::Inconsistent { what })
}

pub(crate) fn distinct(keys: impl Iterator<Item = &'static str>) -> Vec<&'static str> {
    let mut found = Vec::new();
    for key in keys {
        if !found.contains(&key) {
            found.push(key);
        }
    }
    found
}

/// Whether the tiers state different things for a key, so that saying it would help.
fn differs(tiers: &[&Tier], key: &str) -> bool {
    let mut wanted = tiers.iter().map(|tier| tier.when.wanted(key));
    let first = wanted.next();
    wanted.any(|other| Some(&other) != first.as_ref())
}
