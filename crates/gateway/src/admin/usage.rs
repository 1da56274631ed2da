//! What was used: sums, and how a key's limits stand now.

use std::collections::BTreeMap;

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use bailian_ledger::{GroupBy, UsageRow};
use bailian_tenants::budget::{NodeUsage, PeriodUsage};
use bailian_tenants::settings::Unit;
use bailian_tenants::{KeyId, Money, NodeId};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::fault::{Fault, Faults};
use super::input::{Act, Id};
use super::names::Names;
use super::nodes::Page;
use super::query::{Fields, FilterQuery};

/// The most rows of an answer about usage: what is more than anybody reads.
const MOST_ROWS: usize = 10_000;

/// By what usage is told apart, where clocks are so many seconds ahead of UTC.
const fn groups_at(ahead: i32) -> [(&'static str, GroupBy); 13] {
    [
        ("tenant", GroupBy::Tenant),
        ("project", GroupBy::Project),
        ("key", GroupBy::Key),
        ("model", GroupBy::Model),
        ("upstream_model", GroupBy::UpstreamModel),
        ("account", GroupBy::Account),
        ("region", GroupBy::Region),
        ("surface", GroupBy::Surface),
        ("dialect", GroupBy::Dialect),
        ("outcome", GroupBy::Outcome),
        ("price_version", GroupBy::PriceVersion),
        ("day", GroupBy::Day(ahead)),
        ("hour", GroupBy::Hour(ahead)),
    ]
}

/// By what usage is told apart.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "for the document alone")]
pub(super) struct GroupQuery {
    /// Any of `tenant`, `project`, `key`, `model`, `upstream_model`, `account`, `region`, `surface`,
    /// `dialect`, `outcome`, `price_version`, `day`, `hour`, with commas between.
    #[param(example = "tenant,model,day")]
    group_by: Option<String>,
}

/// Sums of one group. All of them are exact.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UsageOf {
    /// The group's values; `null` where records have none.
    group: BTreeMap<&'static str, Option<String>>,
    /// The names of tenant, project and key, as far as they are there still.
    names: BTreeMap<&'static str, String>,
    requests: u64,
    /// Of these, not settled: in flight, or begun by a process that died.
    unsettled: u64,
    /// Of the requests, those whose amounts are guessed.
    estimated: u64,
    /// Of the requests, those without a price.
    unpriced: u64,
    input_tokens: u64,
    /// Of the input, read from a cache.
    cached_tokens: u64,
    /// Of the input, written to a cache.
    cache_created_tokens: u64,
    output_tokens: u64,
    /// Of the output, spent on reasoning.
    reasoning_tokens: u64,
    images: u64,
    media_ms: u64,
    characters: u64,
    /// Cost by currency, as decimals; guessed cost included.
    cost: BTreeMap<String, String>,
    /// The part of it that is guessed.
    estimated_cost: BTreeMap<String, String>,
}

/// Sums by group, from the ledger: what ended in the last second may be missing.
#[utoipa::path(
    get, path = "/usage", tag = "usage",
    params(FilterQuery, GroupQuery),
    responses(
        (status = 200, body = Page<UsageOf>),
        Faults,
    )
)]
pub(super) async fn usage(act: Act, mut fields: Fields) -> Result<Response, Fault> {
    let directory = act.accounting.live.current();
    let filter = fields.filter(&directory);
    let by = groups(&mut fields);
    fields.end()?;
    let page = act
        .run(move |act| {
            let kinds: Vec<GroupBy> = by.iter().map(|(_, kind)| *kind).collect();
            let rows = act.accounting.ledger.reader().usage(&filter, &kinds)?;
            if rows.len() > MOST_ROWS {
                let problem = format!(
                    "gives {} groups, more than {MOST_ROWS}: narrow the time, or group by less",
                    rows.len()
                );
                return Err(Fault::of_place("group_by", problem));
            }
            let names = Names::of(&directory);
            let rows = rows.into_iter().map(|row| UsageOf::new(row, &by, &names));
            Ok(Page::new(rows.collect(), None))
        })
        .await?;
    Ok(Json(page).into_response())
}

fn groups(fields: &mut Fields) -> Vec<(&'static str, GroupBy)> {
    let mut by: Vec<(&'static str, GroupBy)> = Vec::new();
    let known = groups_at(fields.offset().seconds());
    let text = fields.text("group_by").unwrap_or_default();
    for word in text.split(',').filter(|word| !word.is_empty()).take(50) {
        match known.iter().find(|(name, _)| *name == word.trim()) {
            Some(group) if by.contains(group) => {
                fields.problem("group_by", format!("names {} twice", group.0));
            }
            Some(group) => by.push(*group),
            None => {
                let known = known.map(|(name, _)| name);
                let problem = format!("is made of {}, with commas between", known.join(", "));
                fields.problem("group_by", problem);
                break;
            }
        }
    }
    by
}

impl UsageOf {
    fn new(row: UsageRow, by: &[(&'static str, GroupBy)], names: &Names) -> Self {
        let mut group = BTreeMap::new();
        let mut known_as = BTreeMap::new();
        for ((word, kind), value) in by.iter().zip(row.group) {
            if matches!(kind, GroupBy::Tenant | GroupBy::Project | GroupBy::Key)
                && let Some(name) = value.as_ref().and_then(|id| names.get(id))
            {
                known_as.insert(*word, name.to_owned());
            }
            group.insert(*word, value);
        }
        let money = |costs: BTreeMap<bailian_ledger::Currency, bailian_ledger::Decimal>| {
            let costs = costs.into_iter();
            costs
                .map(|(currency, cost)| (currency.to_string(), cost.normalize().to_string()))
                .collect()
        };
        Self {
            group,
            names: known_as,
            requests: row.requests,
            unsettled: row.unsettled,
            estimated: row.estimated,
            unpriced: row.unpriced,
            input_tokens: row.tokens.input,
            cached_tokens: row.tokens.cached,
            cache_created_tokens: row.tokens.cache_created,
            output_tokens: row.tokens.output,
            reasoning_tokens: row.tokens.reasoning,
            images: row.images,
            media_ms: row.media_ms,
            characters: row.characters,
            cost: money(row.cost),
            estimated_cost: money(row.estimated_cost),
        }
    }
}

/// How the limits and budgets stand that a key is under: its own, its project's, its tenant's.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct KeyUsage {
    key: String,
    /// Key, project, tenant.
    levels: Vec<LevelUsage>,
}

/// One level.
#[derive(Debug, Serialize, ToSchema)]
struct LevelUsage {
    /// `key`, `project` or `tenant`.
    level: &'static str,
    id: String,
    name: String,
    /// Requests that run.
    running: Standing,
    /// Requests that began in the last 60 seconds; 0 where they are not limited.
    requests_per_minute: Standing,
    /// Tokens of the last 60 seconds; 0 where they are not limited.
    tokens_per_minute: Standing,
    budgets: Vec<BudgetUsage>,
}

/// What is used, of what.
#[derive(Debug, Serialize, ToSchema)]
struct Standing {
    used: u64,
    /// `null` for no limit.
    limit: Option<u64>,
}

/// One budget. Money is a decimal as text.
#[derive(Debug, Serialize, ToSchema)]
struct BudgetUsage {
    /// `day`, `month` or `total`.
    period: &'static str,
    /// Where midnight is.
    offset: String,
    /// `tokens`, or a currency.
    unit: String,
    used: String,
    /// What running requests may need.
    reserved: String,
    limit: String,
    /// What is neither used nor reserved.
    left: String,
    /// When the next period begins.
    #[schema(value_type = Option<String>, format = DateTime)]
    resets_at: Option<Timestamp>,
}

/// How a key's limits and budgets stand now, at all levels. Of this replica.
#[utoipa::path(
    get, path = "/keys/{id}/usage", tag = "usage",
    params(("id" = String, Path)),
    responses(
        (status = 200, body = KeyUsage),
        Faults,
    )
)]
pub(super) async fn of_key(act: Act, Id(id): Id<KeyId>) -> Result<Json<KeyUsage>, Fault> {
    let caller = act.accounting.live.current().caller_of(id);
    let caller = caller.ok_or_else(|| Fault::no_such(&id.to_string()))?;
    let usage = act.accounting.budgets.usage(&caller, act.now());
    let levels = caller.chain().iter().zip(usage).map(|(node, usage)| {
        let limits = node.settings().limits;
        LevelUsage::new(node.id(), node.name(), &limits, &usage)
    });
    Ok(Json(KeyUsage {
        key: id.to_string(),
        levels: levels.collect(),
    }))
}

impl LevelUsage {
    fn new(
        id: NodeId,
        name: &str,
        limits: &bailian_tenants::settings::Limits,
        usage: &NodeUsage,
    ) -> Self {
        let standing = |used, limit| Standing { used, limit };
        Self {
            level: id.level().as_str(),
            id: id.to_string(),
            name: name.to_owned(),
            running: standing(usage.running, limits.concurrency),
            requests_per_minute: standing(usage.requests, limits.rpm),
            tokens_per_minute: standing(usage.tokens, limits.tpm),
            budgets: usage.budgets.iter().map(BudgetUsage::new).collect(),
        }
    }
}

impl BudgetUsage {
    fn new(usage: &PeriodUsage) -> Self {
        let amount = |amount: u64| match usage.unit {
            Unit::Money(currency) => {
                let money = Money::from_nanos(amount, currency).to_decimal();
                money.normalize().to_string()
            }
            _ => amount.to_string(),
        };
        let gone = usage.used.saturating_add(usage.reserved);
        Self {
            period: usage.period.as_str(),
            offset: usage.offset.to_string(),
            unit: match usage.unit {
                Unit::Money(currency) => currency.to_string(),
                _ => "tokens".to_owned(),
            },
            used: amount(usage.used),
            reserved: amount(usage.reserved),
            limit: amount(usage.limit),
            left: amount(usage.limit.saturating_sub(gone)),
            resets_at: usage.resets_at,
        }
    }
}
