//! What a model may use: the configuration's word, else the service's own, else the published
//! figures, else a small default.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bailian::Region;
use bailian::pacing::published_limits;
use bailian_quota::{LaneConfig, Layer, Limit, Source};
use bailian_wire::catalog::LimitTable;
use bailian_wire::quota::{LimitSpec, Quota};
use http::Uri;
use parking_lot::RwLock;

use crate::config::{AccountConfig, LaneRule};

const MINUTE: Duration = Duration::from_mins(1);

/// Models whose limits the service may tell; more of them are not kept.
const MOST_QUOTAS: usize = 10_000;

/// What is known of all models.
#[derive(Debug)]
pub(super) struct KnownLimits {
    rules: Vec<LaneRule>,
    /// The region whose published figures hold; `None` where upstream is not the service itself.
    region: Option<Region>,
    /// Names of lanes that several models share, by model.
    pools: HashMap<String, Arc<str>>,
    /// What the service said, by model.
    quotas: Arc<RwLock<HashMap<String, Vec<Limit>>>>,
}

impl KnownLimits {
    pub(super) fn new(account: &AccountConfig) -> Self {
        let root: Option<Uri> = account.native_root.parse().ok();
        let region = root.and_then(|root| Region::of_host(root.host()?));
        let mut pools = HashMap::new();
        let published = region.map(|region| (LimitTable::embedded(), region));
        for entry in published.iter().flat_map(|(table, _)| table.entries()) {
            if let Some(pool) = &entry.pool
                && region.is_some_and(|region| entry.region == region.as_str())
            {
                pools.insert(entry.model.clone(), Arc::from(pool.name.as_str()));
            }
        }
        for rule in account.limits.iter().rev() {
            let shared = (rule.models.len() > 1).then(|| Arc::<str>::from(rule.models.join("+")));
            for model in &rule.models {
                match &shared {
                    Some(lane) => pools.insert(model.clone(), Arc::clone(lane)),
                    None => pools.remove(model),
                };
            }
        }
        Self {
            rules: account.limits.clone(),
            region,
            pools,
            quotas: Arc::default(),
        }
    }

    /// Shares what the service says of the account with `before`.
    pub(super) fn share_quotas(&mut self, before: &Self) {
        self.quotas = Arc::clone(&before.quotas);
    }

    /// How a lane of that name begins, whichever of its models is asked for.
    pub(super) fn config_of_lane(&self, lane: &str) -> LaneConfig {
        self.lane_config(self.model_of(lane))
    }

    fn model_of<'a>(&'a self, lane: &'a str) -> &'a str {
        let shared = self.pools.iter().find(|(_, pool)| &***pool == lane);
        shared.map_or(lane, |(model, _)| model)
    }

    /// Whether upstream is one of the service's own hosts.
    pub(super) fn is_at_service(&self) -> bool {
        self.region.is_some()
    }

    /// The name of a model's lane: its own, or that of all models that share its count.
    pub(super) fn lane_name<'a>(&'a self, model: &'a str) -> &'a str {
        self.pools.get(model).map_or(model, |pool| pool)
    }

    /// How a model's lane begins.
    pub(super) fn lane_config(&self, model: &str) -> LaneConfig {
        match self.rule(model) {
            Some(rule) => rule.lane.clone(),
            None => LaneConfig::new(self.limits(model)),
        }
    }

    /// The limits of a lane by its name, unless the configuration fixes them.
    pub(super) fn refreshed(&self, lane: &str) -> Option<Vec<Limit>> {
        let model = self.model_of(lane);
        self.rule(model).is_none().then(|| self.limits(model))
    }

    /// Takes what the service said.
    pub(super) fn tell(&self, quotas: &[Quota]) {
        let told = quotas
            .iter()
            .map(|quota| (quota.model.clone(), limits_of(quota)))
            .filter(|(model, limits)| !model.is_empty() && !limits.is_empty())
            .take(MOST_QUOTAS);
        *self.quotas.write() = told.collect();
    }

    fn rule(&self, model: &str) -> Option<&LaneRule> {
        let is_about = |rule: &&LaneRule| {
            let mut names = rule.models.iter();
            names.any(|name| name == model || name == "*")
        };
        self.rules.iter().find(is_about)
    }

    fn limits(&self, model: &str) -> Vec<Limit> {
        if let Some(limits) = self.quotas.read().get(model) {
            return limits.clone();
        }
        let region = self.region;
        region.map_or_else(Vec::new, |region| published_limits(model, region))
    }
}

/// The account's limit and the workspace's, as the quota API tells them.
fn limits_of(quota: &Quota) -> Vec<Limit> {
    let layers = [
        (&quota.model_limit, Layer::Model),
        (&quota.workspace_limit, Layer::Workspace),
    ];
    let told = layers.into_iter().flat_map(|(spec, layer)| {
        let limits = spec.as_ref().map(limits_of_spec).unwrap_or_default();
        limits.into_iter().map(move |limit| limit.of(layer))
    });
    told.map(|limit| limit.from(Source::QuotaApi)).collect()
}

fn limits_of_spec(spec: &LimitSpec) -> Vec<Limit> {
    let period = |seconds: Option<u64>| {
        let seconds = seconds.filter(|seconds| *seconds > 0);
        seconds.map_or(MINUTE, |seconds| {
            Duration::from_secs(seconds.min(31 * 86_400))
        })
    };
    let amount = |amount: Option<u64>| amount.filter(|amount| *amount > 0);
    let counts_tokens = spec
        .usage_limit_field
        .as_deref()
        .is_none_or(|field| field.contains("token"));
    let requests = amount(spec.request_limit)
        .map(|amount| Limit::requests(amount, period(spec.request_limit_period)));
    let tokens = amount(spec.usage_limit)
        .filter(|_| counts_tokens)
        .map(|amount| Limit::tokens(amount, period(spec.usage_limit_period)));
    requests.into_iter().chain(tokens).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(base_url: &str, limits: &str) -> KnownLimits {
        let text = format!(
            "[[accounts]]\napi_keys = [\"sk-upstream-0001\"]\nbase_url = \"{base_url}\"\n{limits}\n\
             [[keys]]\nname = \"a\"\nkey = \"sk-bl-test-key-0001\"\n"
        );
        let config = crate::Config::parse(&text, "test", &|_: &str| None).unwrap();
        KnownLimits::new(&config.accounts[0])
    }

    fn quota(json: &str) -> Quota {
        serde_json::from_str(json).unwrap()
    }

    fn texts(limits: &[Limit]) -> Vec<String> {
        let text = |limit: &Limit| {
            let (layer, source) = (limit.layer.as_str(), limit.source.as_str());
            format!("{limit}, {layer}, {source}")
        };
        limits.iter().map(text).collect()
    }

    const SERVICE: &str = "https://dashscope.aliyuncs.com";

    #[test]
    fn the_services_own_word_goes_before_the_published_figures() {
        let known = known(SERVICE, "");
        let published = known.lane_config("qwen-plus").limits;
        assert!(!published.is_empty());
        assert!(
            published
                .iter()
                .all(|limit| limit.source == Source::Catalogue && !limit.exact)
        );
        known.tell(&[quota(
            r#"{"model":"qwen-plus","model_limit":{"request_limit":500,"request_limit_period":1,
                "usage_limit":500000,"usage_limit_field":"total_tokens","usage_limit_period":6},
                "workspace_limit":{"request_limit":2,"request_limit_period":60}}"#,
        )]);
        let told = known.refreshed("qwen-plus").unwrap();
        assert_eq!(
            texts(&told),
            [
                "500 requests per 1 s, model, quota_api",
                "500000 tokens per 6 s, model, quota_api",
                "2 requests per 60 s, workspace, quota_api",
            ]
        );
        assert!(told.iter().all(|limit| limit.exact));
    }

    #[test]
    fn the_configuration_goes_before_everybody() {
        let rules = "[[accounts.limits]]\nmodel = \"qwen-plus\"\nrequests = [\"7/1s\"]";
        let known = known(SERVICE, rules);
        known.tell(&[quota(
            r#"{"model":"qwen-plus","model_limit":{"request_limit":500}}"#,
        )]);
        assert_eq!(known.refreshed("qwen-plus"), None);
        let limits = known.lane_config("qwen-plus").limits;
        assert_eq!(texts(&limits), ["7 requests per 1 s, model, config"]);
    }

    #[test]
    fn an_unknown_model_begins_small_at_the_service_and_free_elsewhere() {
        let at_service = known(SERVICE, "").lane_config("qwen-of-tomorrow").limits;
        assert_eq!(
            texts(&at_service),
            [
                "60 requests per 60 s, model, default",
                "100000 tokens per 60 s, model, default",
            ]
        );
        let elsewhere = known("http://127.0.0.1:9", "");
        assert!(elsewhere.lane_config("qwen-of-tomorrow").limits.is_empty());
        assert!(elsewhere.lane_config("qwen-plus").limits.is_empty());
    }

    #[test]
    fn models_that_share_a_count_share_a_lane() {
        let rules = "[[accounts.limits]]\nmodels = [\"kimi-a\", \"kimi-b\"]\nrequests = [\"9/1s\"]";
        let known = known(SERVICE, rules);
        assert_eq!(known.lane_name("kimi-a"), known.lane_name("kimi-b"));
        assert_ne!(known.lane_name("kimi-a"), known.lane_name("qwen-plus"));
        let limits = known.lane_config("kimi-b").limits;
        assert_eq!(texts(&limits), ["9 requests per 1 s, pool, config"]);
        let published = LimitTable::embedded().entries().iter();
        let mut pooled =
            published.filter(|entry| entry.pool.is_some() && entry.region == "cn-beijing");
        let pooled = pooled.next().unwrap();
        let pool = pooled.pool.as_ref().unwrap();
        assert_eq!(known.lane_name(&pooled.model), pool.name);
    }

    #[test]
    fn what_is_unset_or_counts_no_tokens_limits_nothing() {
        let limits = limits_of(&quota(
            r#"{"model":"m","model_limit":{"request_limit":null,"usage_limit":9,
                "usage_limit_field":"characters"},"workspace_limit":null}"#,
        ));
        assert!(limits.is_empty());
    }
}
