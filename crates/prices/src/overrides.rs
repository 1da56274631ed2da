//! Prices that the operator states: contracts, discounts, models that no list knows.

use std::collections::BTreeMap;
use std::time::SystemTime;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::conditions::Conditions;
use crate::decimal::Exact;
use crate::error::OverrideError;
use crate::listing;
use crate::moment::Moment;
use crate::tier::{CacheTerms, Currency, Item, Tier, Unit};

/// A price of the operator's own, true from one moment to another.
///
/// What it states goes before the list; what it leaves out stays as listed. Decimals stand in
/// quotes, so that they are exact.
///
/// ```
/// use bailian_prices::{PriceBook, PriceOverride};
///
/// let contract: PriceOverride = toml::from_str(
///     r#"
///     model = "qwen-plus"
///     currency = "CNY"
///     effective_from = 2026-10-01
///     unit = "per_1m_tokens"
///     tiers = [{ items = { input = "0.7", output = 2 } }]
///     note = "合同 2026-17"
///     "#,
/// )?;
/// let book = PriceBook::embedded().with_overrides([contract])?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct PriceOverride {
    /// The model's id.
    pub model: String,
    /// The region; all regions if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The deployment scope; all scopes if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// The currency of the prices, or of the listed price that is multiplied.
    pub currency: Currency,
    /// The first moment.
    #[cfg_attr(feature = "openapi", schema(value_type = String, examples("2026-10-01")))]
    pub effective_from: Moment,
    /// The first moment no more; without an end if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, examples("2027-01-01")))]
    pub effective_to: Option<Moment>,
    /// What the prices are for; needed with `tiers`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Unit>,
    /// The prices. The listed ones stay if left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tiers: Vec<OverrideTier>,
    /// All prices times this, such as a discount by contract.
    #[serde(
        default,
        with = "crate::decimal::exact_option",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Exact>))]
    pub multiplier: Option<Decimal>,
    /// Prices of batch requests times this.
    #[serde(
        default,
        with = "crate::decimal::exact_option",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Exact>))]
    pub batch_multiplier: Option<Decimal>,
    /// What the cache costs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheTerms>,
    /// Why; it is repeated in the notes of a cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl PriceOverride {
    /// An override that states nothing yet; it needs tiers with their unit, a multiplier, a batch
    /// multiplier or cache terms.
    pub fn new(model: impl Into<String>, currency: Currency, effective_from: Moment) -> Self {
        Self {
            model: model.into(),
            region: None,
            scope: None,
            currency,
            effective_from,
            effective_to: None,
            unit: None,
            tiers: Vec::new(),
            multiplier: None,
            batch_multiplier: None,
            cache: None,
            note: None,
        }
    }
}

/// The prices of a [`PriceOverride`] under certain conditions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct OverrideTier {
    /// When they hold; always if left out.
    #[serde(default)]
    pub when: Conditions,
    /// Prices by item: `input`, `output`, `output_thinking`, `input_audio`, `price`, …, as in the
    /// price file.
    items: BTreeMap<String, Exact>,
}

impl OverrideTier {
    /// Prices under no condition.
    pub fn new<'a>(items: impl IntoIterator<Item = (&'a str, Decimal)>) -> Self {
        let items = items.into_iter();
        Self {
            when: Conditions::default(),
            items: items
                .map(|(key, price)| (key.to_owned(), Exact(price)))
                .collect(),
        }
    }

    /// The prices by item.
    pub fn items(&self) -> impl Iterator<Item = (&str, Decimal)> {
        self.items
            .iter()
            .map(|(key, price)| (key.as_str(), price.0))
    }
}

/// An override that makes sense.
#[derive(Clone, Debug)]
pub(crate) struct Stated {
    pub(crate) terms: PriceOverride,
    /// Read from the terms; empty if the listed ones stay.
    pub(crate) tiers: Vec<Tier>,
}

impl Stated {
    pub(crate) fn applies(&self, region: &str, scope: Option<&str>, at: SystemTime) -> bool {
        let terms = &self.terms;
        let here = terms.region.as_deref().is_none_or(|only| only == region);
        let within = terms
            .scope
            .as_deref()
            .is_none_or(|only| Some(only) == scope);
        let begun = !terms.effective_from.is_after(at);
        let ended = terms.effective_to.is_some_and(|end| !end.is_after(at));
        here && within && begun && !ended
    }

    /// What goes before what: the narrower, then the later.
    pub(crate) fn rank(&self) -> (bool, bool, Moment) {
        let terms = &self.terms;
        (
            terms.region.is_some(),
            terms.scope.is_some(),
            terms.effective_from,
        )
    }

    /// Such as `qwen-plus@cn-beijing/CNY from 2026-10-01`.
    pub(crate) fn id(&self) -> String {
        let terms = &self.terms;
        let region = terms.region.as_deref().unwrap_or("*");
        let scope = terms
            .scope
            .as_deref()
            .map_or(String::new(), |scope| format!("/{scope}"));
        format!(
            "{}@{region}{scope}/{} from {}",
            terms.model, terms.currency, terms.effective_from
        )
    }

    pub(crate) fn read(terms: PriceOverride, place: usize) -> Result<Self, OverrideError> {
        let model = terms.model.clone();
        let tiers = check(&terms).map_err(|(member, problem)| OverrideError {
            place: format!("[{place}]{member}"),
            model,
            problem,
        })?;
        Ok(Self { terms, tiers })
    }
}

/// The tiers, or the path of what is wrong and what.
fn check(terms: &PriceOverride) -> Result<Vec<Tier>, (String, String)> {
    let wrong = |member: &str, problem: &str| Err((member.to_owned(), problem.to_owned()));
    if terms.model.is_empty() {
        return wrong(".model", "is empty");
    }
    if terms
        .effective_to
        .is_some_and(|end| end <= terms.effective_from)
    {
        return wrong(".effective_to", "is not after effective_from");
    }
    if terms.unit.is_some() == terms.tiers.is_empty() {
        return wrong(".unit", "belongs to tiers: state both or none");
    }
    let says = !terms.tiers.is_empty()
        || terms.multiplier.is_some()
        || terms.batch_multiplier.is_some()
        || terms.cache.is_some();
    if !says {
        return wrong(
            "",
            "states no price: give tiers, a multiplier, or cache terms",
        );
    }
    let cache = terms.cache.clone().unwrap_or_default();
    let figures = [
        (".multiplier", terms.multiplier),
        (".batch_multiplier", terms.batch_multiplier),
        (
            ".cache.implicit_hit_multiplier",
            cache.implicit_hit_multiplier,
        ),
        (
            ".cache.explicit_hit_multiplier",
            cache.explicit_hit_multiplier,
        ),
        (
            ".cache.explicit_write_multiplier",
            cache.explicit_write_multiplier,
        ),
        (".cache.implicit_hit_price", cache.implicit_hit_price),
        (".cache.explicit_hit_price", cache.explicit_hit_price),
        (".cache.explicit_write_price", cache.explicit_write_price),
    ];
    for (member, figure) in figures {
        if figure.is_some_and(|figure| figure.is_sign_negative()) {
            return wrong(member, "is negative");
        }
    }
    let mut tiers = Vec::new();
    let mut last_end = None;
    for (place, tier) in terms.tiers.iter().enumerate() {
        let at = |member: &str| format!(".tiers[{place}]{member}");
        if tier.items.is_empty() {
            return Err((at(".items"), "is empty".to_owned()));
        }
        for (key, price) in &tier.items {
            if price.0.is_sign_negative() {
                return Err((at(&format!(".items.{key}")), "is negative".to_owned()));
            }
        }
        let (start, end) = (tier.when.input_tokens_gt, tier.when.input_tokens_lte);
        if start.zip(end).is_some_and(|(start, end)| start >= end) {
            return Err((
                at(".when"),
                "input_tokens_gt is not below input_tokens_lte".to_owned(),
            ));
        }
        if start.is_some_and(|start| start != 0 && last_end.is_some_and(|last| last != start)) {
            let problem = "does not begin where the tier before it ends";
            return Err((at(".when.input_tokens_gt"), problem.to_owned()));
        }
        last_end = end.or(last_end);
        let items = tier
            .items
            .iter()
            .map(|(key, price)| (key.as_str(), price.0));
        let items = items.collect::<BTreeMap<_, _>>();
        listing::expand(&tier.when, &items, None, None, &mut tiers)
            .map_err(|problem| (at(".items"), problem))?;
        let unclear = terms.unit == Some(Unit::MillionTokens)
            && tiers
                .iter()
                .any(|tier| tier.items.get(Item::Price).is_some());
        if unclear {
            let problem = "say `input` and `output`: of tokens, `price` is not clear";
            return Err((at(".items.price"), problem.to_owned()));
        }
    }
    Ok(tiers)
}
