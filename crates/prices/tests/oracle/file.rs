//! The price file, as the oracle reads it.

use std::collections::BTreeMap;

use num_bigint::BigInt;
use num_rational::BigRational;
use serde_json::value::RawValue;

type Object<'a> = BTreeMap<String, &'a RawValue>;

/// Prices by item.
pub type Prices = BTreeMap<String, BigRational>;

pub struct PriceFile<'a> {
    pub entries: Vec<Entry<'a>>,
    /// Implicit hit, explicit hit, explicit write: what holds where an entry says nothing.
    pub rules: [BigRational; 3],
}

pub struct Entry<'a> {
    pub model: String,
    pub region: String,
    pub scope: String,
    pub currency: String,
    pub unit: String,
    pub tiers: Vec<Tier<'a>>,
    pub superseded: Option<Vec<Tier<'a>>>,
    pub batch: Option<BigRational>,
    pub promotion: Option<BigRational>,
    cache: Object<'a>,
    first_use: Option<BigRational>,
}

pub struct Tier<'a> {
    when: Object<'a>,
    pub items: Prices,
    pub dollars: Option<Prices>,
}

/// Reads a number from its spelling, digit by digit.
pub fn number(text: &str) -> BigRational {
    let (digits, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let numerator: BigInt = format!("{whole}{part}").parse().unwrap();
    let places = i32::try_from(part.len()).unwrap() - exponent.parse::<i32>().unwrap();
    BigRational::from_integer(numerator) * BigRational::from_integer(10.into()).pow(-places)
}

fn object(raw: &RawValue) -> Object<'_> {
    serde_json::from_str(raw.get()).unwrap()
}

fn text(raw: &RawValue) -> String {
    serde_json::from_str(raw.get()).unwrap()
}

fn optional(object: &Object<'_>, key: &str) -> Option<BigRational> {
    let raw = object.get(key).filter(|raw| raw.get() != "null")?;
    Some(number(raw.get()))
}

fn prices(raw: &RawValue) -> Prices {
    let items = object(raw);
    let items = items
        .iter()
        .map(|(key, raw)| (key.clone(), number(raw.get())));
    items.collect()
}

fn tiers(raw: &RawValue) -> Vec<Tier<'_>> {
    let tiers: Vec<&RawValue> = serde_json::from_str(raw.get()).unwrap();
    let tiers = tiers.into_iter().map(|tier| {
        let tier = object(tier);
        Tier {
            when: object(tier["when"]),
            items: prices(tier["items"]),
            dollars: tier.get("items_usd").map(|raw| prices(raw)),
        }
    });
    tiers.collect()
}

impl<'a> PriceFile<'a> {
    pub fn read(json: &'a str) -> Self {
        let file: Object<'_> = serde_json::from_str(json).unwrap();
        let cache = object(object(file["rules"])["cache"]);
        let rule = |mode: &str, key: &str| number(object(cache[mode])[key].get());
        let entries: Vec<Object<'_>> = serde_json::from_str(file["entries"].get()).unwrap();
        let entries = entries
            .into_iter()
            .filter(|entry| entry["secondary"].get() == "false");
        Self {
            entries: entries.map(|entry| Entry::read(&entry)).collect(),
            rules: [
                rule("implicit", "hit_multiplier"),
                rule("explicit", "hit_multiplier"),
                rule("explicit", "write_multiplier"),
            ],
        }
    }
}

impl<'a> Entry<'a> {
    fn read(entry: &Object<'a>) -> Self {
        let member = |key: &str| entry.get(key).map(|raw| object(raw));
        Self {
            model: text(entry["model"]),
            region: text(entry["region"]),
            scope: text(entry["scope"]),
            currency: text(entry["currency"]),
            unit: text(entry["unit"]),
            tiers: tiers(entry["tiers"]),
            superseded: entry
                .get("supersedes")
                .map(|old| tiers(object(old)["tiers"])),
            batch: optional(entry, "batch_multiplier"),
            promotion: member("promo").and_then(|promo| optional(&promo, "multiplier")),
            cache: member("cache").unwrap_or_default(),
            first_use: member("one_time")
                .and_then(|charge| optional(&charge, "cloned_voice_first_use")),
        }
    }

    pub fn id(&self) -> String {
        format!(
            "{}@{}/{}/{}",
            self.model, self.region, self.scope, self.currency
        )
    }

    /// Whether it has prices at all, and tokens' prices say what they are for.
    pub fn is_sold(&self) -> bool {
        let unclear = self.unit == "per_1m_tokens" && self.tiers[0].items.contains_key("price");
        !self.tiers[0].items.is_empty() && !unclear
    }

    pub fn is_sold_by_media(&self) -> bool {
        self.is_sold() && !self.tiers[0].items.contains_key("input")
    }

    pub fn has_dollars(&self) -> bool {
        self.tiers[0].dollars.is_some()
    }

    pub fn first_use(&self) -> BigRational {
        self.first_use.clone().unwrap_or_default()
    }

    pub fn promotion(&self) -> BigRational {
        self.promotion.clone().unwrap_or_else(|| number("1"))
    }

    /// The tier for so many tokens of input: the first whose end is not passed, else the last.
    pub fn tier_of(&self, input: u64) -> &Tier<'a> {
        let tier = self
            .tiers
            .iter()
            .find(|tier| tier.end().is_none_or(|end| input <= end));
        tier.unwrap_or_else(|| self.tiers.last().unwrap())
    }

    /// What a cached token costs, per million: by a price of its own, else by a multiplier, else
    /// by the rule.
    pub fn cached(
        &self,
        mode: &str,
        dollars: bool,
        input: &BigRational,
        rule: &BigRational,
    ) -> BigRational {
        let own = if dollars { "usd" } else { "price" };
        let price = optional(&self.cache, &format!("{mode}_{own}"));
        let multiplier = optional(&self.cache, &format!("{mode}_multiplier"));
        price.unwrap_or_else(|| input * multiplier.as_ref().unwrap_or(rule))
    }
}

impl Tier<'_> {
    pub fn end(&self) -> Option<u64> {
        self.bound("input_tokens_lte")
    }

    pub fn bound(&self, key: &str) -> Option<u64> {
        self.when.get(key).and_then(|raw| raw.get().parse().ok())
    }

    /// A condition's word.
    pub fn word(&self, key: &str) -> Option<String> {
        self.when.get(key).map(|raw| text(raw))
    }

    /// A condition that is yes or no.
    pub fn flag(&self, key: &str) -> Option<bool> {
        self.when.get(key).map(|raw| raw.get() == "true")
    }

    pub fn figures(&self, dollars: bool) -> &Prices {
        if dollars {
            self.dollars.as_ref().unwrap()
        } else {
            &self.items
        }
    }
}
