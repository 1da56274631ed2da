//! Which prices hold for a request: the listed entry of then, and what the operator says instead.

use std::borrow::Cow;

use rust_decimal::Decimal;

use crate::bill::distinct;
use crate::book::PriceBook;
use crate::cost::Note;
use crate::error::{PriceError, Unpriced};
use crate::listing::{Entry, Promotion};
use crate::overrides::Stated;
use crate::request::Request;
use crate::tier::{CacheTerms, Currency, Items, Tier, Unit};
use crate::usage::Context;

/// Scopes of a region, the likeliest first, for requests that name none.
const SCOPES: [&str; 6] = [
    "china-mainland",
    "global",
    "international",
    "us",
    "eu",
    "japan",
];

/// Which figures of a tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    /// Those in the entry's own currency.
    Own,
    /// Those in dollars beside them.
    Dollars,
}

/// Prices and what is to be done with them.
#[derive(Clone, Debug)]
pub(crate) struct Terms<'a> {
    pub(crate) entry: Cow<'a, str>,
    pub(crate) currency: Currency,
    pub(crate) unit: Unit,
    pub(crate) tiers: &'a [Tier],
    pub(crate) column: Column,
    pub(crate) batch: Option<Decimal>,
    pub(crate) cache: CacheTerms,
    pub(crate) cache_unverified: bool,
    pub(crate) promotion: Option<Promotion>,
    pub(crate) multiplier: Decimal,
    pub(crate) first_use: Option<(Decimal, Currency)>,
    pub(crate) notes: Vec<Note>,
}

impl<'a> Terms<'a> {
    /// All that may hold, the likeliest first; never empty.
    pub(crate) fn find(book: &'a PriceBook, request: &Request) -> Result<Vec<Self>, PriceError> {
        let unpriced = |reason| PriceError::Unpriced {
            model: request.model.clone(),
            region: request.region.clone(),
            reason,
        };
        let mut problem = match by_name(book, request, &request.model) {
            Ok(found) => return Ok(found),
            Err(reason) => reason,
        };
        for name in other_names(book, request) {
            match by_name(book, request, name) {
                Ok(mut found) => {
                    for terms in &mut found {
                        let model = name.to_owned();
                        terms.notes.insert(0, Note::PricedAs { model });
                    }
                    return Ok(found);
                }
                // What is known of the nearest name says most.
                Err(reason) if problem == Unpriced::Model => problem = reason,
                Err(_) => {}
            }
        }
        Err(unpriced(problem))
    }

    /// The tiers whose conditions, but for the input's length, are not contradicted.
    pub(crate) fn allowed_tiers(&self, context: &Context) -> Result<Vec<&'a Tier>, PriceError> {
        let tiers = self.tiers.iter();
        let allowed: Vec<&Tier> = tiers.filter(|tier| tier.when.allow(context)).collect();
        if !allowed.is_empty() {
            return Ok(allowed);
        }
        let tiers = self.tiers.iter();
        let refused = tiers.flat_map(|tier| tier.when.refused(context));
        Err(PriceError::NoTier {
            entry: self.entry.to_string(),
            said: distinct(refused)
                .into_iter()
                .map(|key| format!("{key} {}", context.said(key).unwrap_or_default()))
                .collect(),
        })
    }

    /// The figures of a tier in the currency of these terms.
    pub(crate) fn items<'t>(&self, tier: &'t Tier) -> &'t Items {
        match (self.column, &tier.usd) {
            (Column::Dollars, Some(usd)) => usd,
            _ => &tier.items,
        }
    }
}

/// The other ids under which a price may stand: the model's alias, the stable id that equals it in
/// that region, its family.
fn other_names<'a>(book: &'a PriceBook, request: &'a Request) -> Vec<&'a str> {
    let mut names = vec![request.model.as_str()];
    names.extend(book.aliases.get(&request.model).map(String::as_str));
    let listing = &book.listing;
    for direct in names.clone() {
        let places = listing.equivalents.get(direct).into_iter().flatten();
        let entries = places.filter_map(|place| listing.entries.get(*place));
        let here = entries.filter(|entry| is_here(entry, request));
        names.extend(here.map(|entry| entry.model.as_str()));
    }
    for direct in names.clone() {
        let families = listing.families.iter();
        let of_family = families.filter(|(prefix, _)| direct.starts_with(prefix.as_str()));
        names.extend(of_family.map(|(_, model)| model.as_str()));
    }
    names.retain(|name| *name != request.model);
    names
}

fn is_here(entry: &Entry, request: &Request) -> bool {
    let scope = request.scope.as_deref();
    entry.region == request.region && scope.is_none_or(|scope| scope == entry.scope)
}

fn by_name<'a>(
    book: &'a PriceBook,
    request: &Request,
    name: &str,
) -> Result<Vec<Terms<'a>>, Unpriced> {
    let listing = &book.listing;
    let regions = listing.models.get(name);
    let in_region = regions.and_then(|regions| regions.get(&request.region));
    let here: Vec<&Entry> = in_region
        .into_iter()
        .flatten()
        .filter_map(|place| listing.entries.get(*place))
        .filter(|entry| is_here(entry, request))
        .collect();
    let mut scopes: Vec<Option<&str>> = Vec::new();
    for entry in &here {
        if !scopes.contains(&Some(entry.scope.as_str())) {
            scopes.push(Some(&entry.scope));
        }
    }
    if scopes.is_empty() {
        scopes.push(request.scope.as_deref());
    }
    let preference = |scope: Option<&str>| {
        SCOPES
            .iter()
            .position(|known| Some(*known) == scope)
            .unwrap_or(SCOPES.len())
    };
    scopes.sort_by_key(|scope| preference(*scope));

    let (mut found, mut problem) = (Vec::new(), None);
    for scope in &scopes {
        let listed = here
            .iter()
            .copied()
            .filter(|entry| Some(entry.scope.as_str()) == *scope);
        let stated = book.overrides.get(name).into_iter().flatten();
        let stated = stated.filter(|stated| stated.applies(&request.region, *scope, request.at));
        match choose(
            &listed.collect::<Vec<_>>(),
            &stated.collect::<Vec<_>>(),
            request,
        ) {
            Ok(terms) => found.push((scope, terms)),
            Err(reason) => problem = problem.or(reason),
        }
    }
    if found.is_empty() {
        let unlisted = match (regions, in_region, &request.scope) {
            (None, ..) => Unpriced::Model,
            (Some(_), Some(_), Some(_)) => Unpriced::Scope,
            (Some(_), ..) => Unpriced::Region,
        };
        return Err(problem.unwrap_or(unlisted));
    }
    let named = |scope: Option<&str>| scope.map(str::to_owned);
    let others: Vec<String> = found
        .iter()
        .skip(1)
        .filter_map(|(scope, _)| named(**scope))
        .collect();
    if let Some((Some(scope), likeliest)) = found.first_mut()
        && !others.is_empty()
    {
        let scope = (*scope).to_owned();
        likeliest.notes.push(Note::ScopeAssumed { scope, others });
    }
    Ok(found.into_iter().map(|(_, terms)| terms).collect())
}

/// The terms of one scope; `Err(None)` if nothing at all is known of it.
fn choose<'a>(
    listed: &[&'a Entry],
    stated: &[&'a Stated],
    request: &Request,
) -> Result<Terms<'a>, Option<Unpriced>> {
    let wanted = request.options.currency;
    let own = listed.iter().map(|entry| entry.currency).min();
    let best = stated
        .iter()
        .copied()
        .filter(|stated| wanted.is_none_or(|wanted| stated.terms.currency == wanted))
        .max_by_key(|stated| {
            let currency = stated.terms.currency;
            let (region, scope, from) = stated.rank();
            (
                region,
                scope,
                from,
                Some(currency) == own,
                currency == Currency::Cny,
            )
        });
    let Some(currency) = wanted.or(best.map(|best| best.terms.currency)).or(own) else {
        return Err(None);
    };
    let base = list_price(listed, currency, request);
    match best {
        None => base.ok_or(own.map(|_| Unpriced::Currency(currency))),
        Some(best) => overlay(base, best).ok_or(Some(Unpriced::Currency(currency))),
    }
}

/// The listed price in that currency, as it was at that time.
fn list_price<'a>(
    listed: &[&'a Entry],
    currency: Currency,
    request: &Request,
) -> Option<Terms<'a>> {
    let own = listed.iter().find(|entry| entry.currency == currency);
    let (entry, column) = match own {
        Some(entry) => (*entry, Column::Own),
        None => (*listed.first()?, Column::Dollars),
    };
    let mut notes = Vec::new();
    let tiers = match &entry.before {
        Some((observed, tiers)) if entry.source_date.is_after(request.at) => {
            let until = entry.source_date;
            notes.push(Note::Superseded { until });
            if observed.is_after(request.at) {
                notes.push(Note::BeforeObserved {
                    observed: *observed,
                });
            }
            tiers
        }
        _ => {
            if entry.source_date.is_after(request.at) {
                let observed = entry.source_date;
                notes.push(Note::BeforeObserved { observed });
            }
            &entry.tiers
        }
    };
    let mut cache = entry.cache.clone().unwrap_or_default();
    if column == Column::Dollars {
        let in_dollars = currency == Currency::Usd && tiers.iter().all(|tier| tier.usd.is_some());
        if !in_dollars {
            return None;
        }
        if entry.usd_unverified {
            notes.push(Note::DollarsDerived);
        }
        let dollars = &entry.cache_in_usd;
        cache.implicit_hit_price = dollars.implicit_hit_price;
        cache.explicit_hit_price = dollars.explicit_hit_price;
        cache.explicit_write_price = dollars.explicit_write_price;
    }
    if entry.unverified {
        notes.push(Note::Unverified);
    }
    notes.extend(entry.note.clone().map(Note::Listed));
    Some(Terms {
        entry: Cow::Borrowed(&entry.id),
        currency,
        unit: entry.unit,
        tiers,
        column,
        batch: entry.batch_multiplier,
        cache,
        cache_unverified: entry.cache_unverified,
        promotion: entry.promotion,
        multiplier: Decimal::ONE,
        first_use: entry.first_use,
        notes,
    })
}

/// What the operator states over what is listed. `None` if it multiplies a price that is not listed.
fn overlay<'a>(base: Option<Terms<'a>>, stated: &'a Stated) -> Option<Terms<'a>> {
    let own = &stated.terms;
    let mut terms = match (own.unit, base) {
        (Some(unit), base) => {
            let base = base.as_ref();
            let cache = base.map(|base| CacheTerms {
                // Listed prices of the cache belong to the listed price of input.
                implicit_hit_price: None,
                explicit_hit_price: None,
                explicit_write_price: None,
                ..base.cache.clone()
            });
            Terms {
                entry: Cow::Borrowed(""),
                currency: own.currency,
                unit,
                tiers: &stated.tiers,
                column: Column::Own,
                batch: base.and_then(|base| base.batch),
                cache: cache.unwrap_or_default(),
                cache_unverified: base.is_some_and(|base| base.cache_unverified),
                promotion: None,
                multiplier: Decimal::ONE,
                first_use: base.and_then(|base| base.first_use),
                notes: Vec::new(),
            }
        }
        (None, Some(base)) => base,
        (None, None) => return None,
    };
    terms.entry = if terms.entry.is_empty() {
        stated.id().into()
    } else {
        format!("{} over {}", stated.id(), terms.entry).into()
    };
    terms.multiplier = own.multiplier.unwrap_or(terms.multiplier);
    terms.batch = own.batch_multiplier.or(terms.batch);
    if let Some(cache) = &own.cache {
        terms.cache = cache.clone();
        terms.cache_unverified = false;
    }
    terms.notes.push(Note::Override {
        from: own.effective_from,
        note: own.note.clone(),
    });
    Some(terms)
}
