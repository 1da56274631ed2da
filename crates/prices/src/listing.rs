//! The listed prices: a price file, read.

mod file;

use std::collections::{BTreeMap, HashMap};

use rust_decimal::Decimal;

pub(crate) use self::file::expand;
use crate::moment::Moment;
use crate::tier::{CacheTerms, Currency, Tier, Unit};

/// One line of a price list: a model's prices in a region, deployment scope and currency.
#[derive(Clone, Debug)]
pub struct Entry {
    pub(crate) id: String,
    pub(crate) model: String,
    pub(crate) region: String,
    pub(crate) scope: String,
    pub(crate) currency: Currency,
    pub(crate) unit: Unit,
    pub(crate) tiers: Vec<Tier>,
    pub(crate) source: String,
    pub(crate) source_date: Moment,
    /// The prices before `source_date`, where they are known.
    pub(crate) before: Option<(Moment, Vec<Tier>)>,
    pub(crate) batch_multiplier: Option<Decimal>,
    pub(crate) cache: Option<CacheTerms>,
    pub(crate) cache_in_usd: CacheTerms,
    pub(crate) cache_unverified: bool,
    pub(crate) promotion: Option<Promotion>,
    pub(crate) first_use: Option<(Decimal, Currency)>,
    pub(crate) usd_unverified: bool,
    pub(crate) note: Option<String>,
    pub(crate) unverified: bool,
}

/// A discount that was seen on the price page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Promotion {
    pub(crate) multiplier: Decimal,
    pub(crate) observed: Moment,
    pub(crate) end: Option<Moment>,
}

impl Entry {
    /// Such as `qwen-plus@cn-beijing/china-mainland/CNY`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The model's id; one that ends in `*` is for all models that begin so.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// Such as `cn-beijing`.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// The deployment scope, such as `china-mainland` or `global`.
    pub fn scope(&self) -> &str {
        &self.scope
    }

    /// The list's own currency.
    pub fn currency(&self) -> Currency {
        self.currency
    }

    /// What the prices are for.
    pub fn unit(&self) -> Unit {
        self.unit
    }

    /// Where the prices were read.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// When they were read.
    pub fn source_date(&self) -> Moment {
        self.source_date
    }

    /// Whether no official page confirms the prices: they come from model cards, from one old copy
    /// or from a third party.
    pub fn is_unverified(&self) -> bool {
        self.unverified
    }
}

/// The price of a call of a built-in tool.
#[derive(Clone, Debug)]
pub(crate) struct Tool {
    pub(crate) price: Decimal,
    pub(crate) currency: Currency,
    /// The price is for so many calls; a power of ten.
    pub(crate) per: u32,
    pub(crate) unverified: bool,
}

/// What holds for all entries that say nothing else.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rules {
    pub(crate) implicit_hit: Decimal,
    pub(crate) explicit_hit: Decimal,
    pub(crate) explicit_write: Decimal,
}

#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) compiled: String,
    pub(crate) entries: Vec<Entry>,
    /// Places of the entries by model and region: some models have dozens.
    pub(crate) models: HashMap<String, BTreeMap<String, Vec<usize>>>,
    /// Places of the stable ids' entries by the snapshot that they equal.
    pub(crate) equivalents: HashMap<String, Vec<usize>>,
    /// Models that begin so, with the name in the book.
    pub(crate) families: Vec<(String, String)>,
    pub(crate) tools: HashMap<String, Tool>,
    pub(crate) rules: Rules,
}

impl Listing {
    pub(super) fn add(&mut self, entry: Entry, equivalent: Option<String>) {
        let place = self.entries.len();
        if let Some(snapshot) = equivalent {
            self.equivalents.entry(snapshot).or_default().push(place);
        }
        if let Some(prefix) = entry.model.strip_suffix('*')
            && !self.models.contains_key(&entry.model)
        {
            self.families.push((prefix.to_owned(), entry.model.clone()));
        }
        self.models
            .entry(entry.model.clone())
            .or_default()
            .entry(entry.region.clone())
            .or_default()
            .push(place);
        self.entries.push(entry);
    }
}
