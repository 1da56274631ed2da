//! A price file: its form, and how its figures are read without ever being binary fractions.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Entry, Listing, Promotion, Rules, Tool};
use crate::conditions::Conditions;
use crate::decimal;
use crate::error::DataError;
use crate::moment::Moment;
use crate::tier::{CacheTerms, Currency, Item, Items, Tier, Unit};

type Figures<'a> = BTreeMap<String, &'a RawValue>;

#[derive(Deserialize)]
struct File<'a> {
    compiled: String,
    #[serde(borrow)]
    rules: FileRules<'a>,
    #[serde(borrow)]
    tools: Vec<FileTool<'a>>,
    #[serde(borrow)]
    entries: Vec<FileEntry<'a>>,
}

#[derive(Deserialize)]
struct FileRules<'a> {
    #[serde(borrow)]
    cache: FileCacheRules<'a>,
}

#[derive(Deserialize)]
struct FileCacheRules<'a> {
    #[serde(borrow)]
    implicit: FileCacheRule<'a>,
    #[serde(borrow)]
    explicit: FileCacheRule<'a>,
}

#[derive(Deserialize)]
struct FileCacheRule<'a> {
    #[serde(borrow)]
    hit_multiplier: &'a RawValue,
    #[serde(borrow)]
    write_multiplier: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileTool<'a> {
    name: String,
    #[serde(borrow)]
    price: &'a RawValue,
    currency: Currency,
    per: u32,
    #[serde(rename = "unit")]
    _unit: String,
    unverified: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileEntry<'a> {
    model: String,
    region: String,
    scope: String,
    #[serde(rename = "category")]
    _category: String,
    currency: Currency,
    unit: Unit,
    #[serde(borrow)]
    tiers: Vec<FileTier<'a>>,
    source: String,
    source_date: String,
    #[serde(borrow)]
    supersedes: Option<FileBefore<'a>>,
    equivalent_snapshot: Option<String>,
    #[serde(rename = "free_quota")]
    _free_quota: Option<serde::de::IgnoredAny>,
    #[serde(borrow)]
    batch_multiplier: Option<&'a RawValue>,
    #[serde(borrow)]
    cache: Option<FileCache<'a>>,
    #[serde(borrow)]
    promo: Option<FilePromo<'a>>,
    #[serde(borrow)]
    one_time: Option<FileOneTime<'a>>,
    usd: Option<FileUsd>,
    note: Option<String>,
    secondary: bool,
    unverified: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileTier<'a> {
    when: Conditions,
    #[serde(borrow)]
    items: Figures<'a>,
    #[serde(borrow)]
    items_usd: Option<Figures<'a>>,
    #[serde(borrow)]
    items_off_peak: Option<Figures<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileBefore<'a> {
    source_date: String,
    #[serde(borrow)]
    tiers: Vec<FileTier<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileCache<'a> {
    #[serde(borrow)]
    implicit_hit_multiplier: Option<&'a RawValue>,
    #[serde(borrow)]
    explicit_hit_multiplier: Option<&'a RawValue>,
    #[serde(borrow)]
    explicit_write_multiplier: Option<&'a RawValue>,
    #[serde(borrow)]
    implicit_hit_price: Option<&'a RawValue>,
    #[serde(borrow)]
    explicit_hit_price: Option<&'a RawValue>,
    #[serde(borrow)]
    explicit_write_price: Option<&'a RawValue>,
    #[serde(borrow)]
    implicit_hit_usd: Option<&'a RawValue>,
    #[serde(borrow)]
    explicit_hit_usd: Option<&'a RawValue>,
    #[serde(borrow)]
    explicit_write_usd: Option<&'a RawValue>,
    #[serde(rename = "note")]
    _note: Option<String>,
    #[serde(default)]
    unverified: bool,
}

#[derive(Deserialize)]
struct FilePromo<'a> {
    #[serde(borrow)]
    multiplier: &'a RawValue,
    observed: String,
    end_date: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileOneTime<'a> {
    #[serde(borrow)]
    cloned_voice_first_use: &'a RawValue,
    currency: Currency,
}

#[derive(Deserialize)]
struct FileUsd {
    #[serde(default)]
    unverified: bool,
}

/// What is wrong with a figure or a date, without its place.
type Problem = String;

impl Listing {
    /// Reads a price file.
    pub(crate) fn parse(json: &str) -> Result<Self, DataError> {
        let file: File<'_> = serde_json::from_str(json)?;
        let rule = |rule: &RawValue| {
            figure(rule).map_err(|problem| DataError::Entry {
                place: "rules.cache".to_owned(),
                problem,
            })
        };
        let mut listing = Self {
            compiled: file.compiled,
            rules: Rules {
                implicit_hit: rule(file.rules.cache.implicit.hit_multiplier)?,
                explicit_hit: rule(file.rules.cache.explicit.hit_multiplier)?,
                explicit_write: rule(file.rules.cache.explicit.write_multiplier)?,
            },
            ..Self::default()
        };
        for tool in file.tools {
            let place = || format!("tools.{}", tool.name);
            let read = read_tool(&tool).map_err(|problem| DataError::Entry {
                place: place(),
                problem,
            })?;
            listing.tools.insert(tool.name, read);
        }
        // A third party's duplicate is for comparison only: it must never find its way into a bill.
        for mut entry in file.entries.into_iter().filter(|entry| !entry.secondary) {
            let equivalent = entry.equivalent_snapshot.take();
            let place = format!(
                "{}@{}/{}/{}",
                entry.model, entry.region, entry.scope, entry.currency
            );
            let entry = read_entry(entry, place.clone())
                .map_err(|problem| DataError::Entry { place, problem })?;
            listing.add(entry, equivalent);
        }
        Ok(listing)
    }
}

fn read_tool(tool: &FileTool<'_>) -> Result<Tool, Problem> {
    if tool.per == 0 || 10_u32.pow(tool.per.ilog10()) != tool.per {
        return Err(format!("`per` is {}, not a power of ten", tool.per));
    }
    Ok(Tool {
        price: figure(tool.price)?,
        currency: tool.currency,
        per: tool.per,
        unverified: tool.unverified,
    })
}

fn read_entry(entry: FileEntry<'_>, id: String) -> Result<Entry, Problem> {
    let (mut cache_in_usd, mut cache_unverified) = (CacheTerms::default(), false);
    let cache = entry.cache.map(|cache| {
        cache_unverified = cache.unverified;
        cache_in_usd = CacheTerms {
            implicit_hit_price: optional(cache.implicit_hit_usd)?,
            explicit_hit_price: optional(cache.explicit_hit_usd)?,
            explicit_write_price: optional(cache.explicit_write_usd)?,
            ..CacheTerms::default()
        };
        Ok::<_, Problem>(CacheTerms {
            implicit_hit_multiplier: optional(cache.implicit_hit_multiplier)?,
            explicit_hit_multiplier: optional(cache.explicit_hit_multiplier)?,
            explicit_write_multiplier: optional(cache.explicit_write_multiplier)?,
            implicit_hit_price: optional(cache.implicit_hit_price)?,
            explicit_hit_price: optional(cache.explicit_hit_price)?,
            explicit_write_price: optional(cache.explicit_write_price)?,
        })
    });
    let promotion = entry.promo.map(|promo| {
        Ok::<_, Problem>(Promotion {
            multiplier: figure(promo.multiplier)?,
            observed: date(&promo.observed)?,
            end: promo.end_date.as_deref().map(date).transpose()?,
        })
    });
    let before = entry
        .supersedes
        .map(|before| Ok::<_, Problem>((date(&before.source_date)?, read_tiers(before.tiers)?)));
    let first_use = entry
        .one_time
        .map(|charge| Ok::<_, Problem>((figure(charge.cloned_voice_first_use)?, charge.currency)));
    Ok(Entry {
        id,
        model: entry.model,
        region: entry.region,
        scope: entry.scope,
        currency: entry.currency,
        unit: entry.unit,
        tiers: read_tiers(entry.tiers)?,
        source: entry.source,
        source_date: date(&entry.source_date)?,
        before: before.transpose()?,
        batch_multiplier: optional(entry.batch_multiplier)?,
        cache: cache.transpose()?,
        cache_in_usd,
        cache_unverified,
        promotion: promotion.transpose()?,
        first_use: first_use.transpose()?,
        usd_unverified: entry.usd.is_some_and(|usd| usd.unverified),
        note: entry.note,
        unverified: entry.unverified,
    })
}

fn read_tiers(tiers: Vec<FileTier<'_>>) -> Result<Vec<Tier>, Problem> {
    let mut read = Vec::with_capacity(tiers.len());
    for tier in tiers {
        let items = figures(&tier.items)?;
        let usd = tier.items_usd.as_ref().map(figures).transpose()?;
        let off_peak = tier.items_off_peak.as_ref().map(figures).transpose()?;
        expand(
            &tier.when,
            &items,
            usd.as_ref(),
            off_peak.as_ref(),
            &mut read,
        )?;
    }
    Ok(read)
}

fn figures<'a>(figures: &'a Figures<'_>) -> Result<BTreeMap<&'a str, Decimal>, Problem> {
    let figures = figures.iter();
    figures
        .map(|(key, raw)| Ok((key.as_str(), figure(raw)?)))
        .collect()
}

/// Adds a tier. Where its items are prices of variants (`output_720p`), each variant becomes a tier
/// with that condition, so that there is one way to depend on something.
pub(crate) fn expand(
    when: &Conditions,
    items: &BTreeMap<&str, Decimal>,
    usd: Option<&BTreeMap<&str, Decimal>>,
    off_peak: Option<&BTreeMap<&str, Decimal>>,
    tiers: &mut Vec<Tier>,
) -> Result<(), Problem> {
    let extended = items.contains_key("output_with_prompt_extend");
    let mut variants: Vec<(Conditions, Option<&str>)> = Vec::new();
    for key in items.keys() {
        let variant = if extended {
            match *key {
                "output" => Some(Conditions {
                    prompt_extend: Some(false),
                    ..when.clone()
                }),
                "output_with_prompt_extend" => Some(Conditions {
                    prompt_extend: Some(true),
                    ..when.clone()
                }),
                _ => None,
            }
        } else {
            variant(key, when)
        };
        variants.extend(variant.map(|when| (when, Some(*key))));
    }
    if variants.is_empty() {
        variants.push((when.clone(), None));
    }
    for (when, chosen) in variants {
        let pick = |figures: &BTreeMap<&str, Decimal>| {
            let picked = figures.iter().filter_map(|(key, price)| {
                let known = if Some(*key) == chosen {
                    Some(Item::Output)
                } else if chosen.is_some() && key.starts_with("output") {
                    return None;
                } else {
                    Item::parse(key)
                };
                Some(match known {
                    Some(item) => Ok((item, *price)),
                    None => Err(format!("the item `{key}` is not known")),
                })
            });
            picked.collect::<Result<Vec<_>, Problem>>().map(Items)
        };
        tiers.push(Tier {
            items: pick(items)?,
            usd: usd.map(pick).transpose()?,
            off_peak: off_peak.map(pick).transpose()?,
            when,
        });
    }
    Ok(())
}

/// The condition in the name of an item, such as `output_480p` or `output_3:4_aspect`.
fn variant(key: &str, when: &Conditions) -> Option<Conditions> {
    let name = key.strip_prefix("output_")?;
    if let Some(aspect) = name.strip_suffix("_aspect") {
        return Some(Conditions {
            aspect: Some(aspect.to_owned()),
            ..when.clone()
        });
    }
    let lines = name.strip_suffix(['p', 'P'])?;
    lines
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| Conditions {
            resolution: Some(format!("{lines}P")),
            ..when.clone()
        })
}

fn figure(raw: &RawValue) -> Result<Decimal, Problem> {
    match decimal::parse(raw.get()) {
        Some(value) if !value.is_sign_negative() => Ok(value.normalize()),
        _ => Err(format!("`{}` is not a price", raw.get())),
    }
}

fn optional(raw: Option<&RawValue>) -> Result<Option<Decimal>, Problem> {
    raw.map(figure).transpose()
}

fn date(text: &str) -> Result<Moment, Problem> {
    text.parse().map_err(|error| format!("`{text}` {error}"))
}
