//! The quota API (catalogue, `quota_api`): what an account may use, and what a workspace may.
//!
//! These calls are no requests to a model: the journal does not have them.

use std::collections::BTreeSet;

use axum::extract::State;
use axum::response::Response;
use bailian_wire::quota::{LimitSpec, Quota};
use bytes::Bytes;
use http::{HeaderMap, Uri};
use serde::Deserialize;
use serde_json::json;

use super::exchange::Exchange;
use super::models::{offered, page_of};
use crate::call::find_model;
use crate::journal::Verdict;
use crate::limits::QuotaApi;
use crate::rejection::Rejection;
use crate::simulator::Simulator;
use crate::throttle::{DEFAULT_WORKSPACE, Key, Measure, Rule, WindowRule, account_limit};

/// The most models of one call.
const MOST_MODELS: usize = 200;

/// What workspaces are to be limited to, or no longer.
#[derive(Deserialize)]
struct Change {
    operation_type: String,
    #[serde(default)]
    models: Vec<String>,
    #[serde(default)]
    model: Option<String>,
    request_limit: Option<u64>,
    request_limit_period: Option<u64>,
    usage_limit: Option<u64>,
    usage_limit_period: Option<u64>,
}

pub(super) async fn list(
    State(simulator): State<Simulator>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let exchange = Exchange::begin_unjournalled(simulator, &uri, &headers);
    let answer = answerable(&exchange).and_then(|account| {
        let (number, size, name) = page_of(&uri)?;
        let workspace = workspace_of(&headers);
        let all: Vec<Quota> = models(&exchange)
            .into_iter()
            .filter(|model| name.is_none_or(|name| name == model))
            .filter_map(|model| quota(&exchange, &account, workspace, &model))
            .collect();
        let page: Vec<&Quota> = all
            .iter()
            .skip((number - 1).saturating_mul(size))
            .take(size)
            .collect();
        Ok(json!({
            "output": { "total": all.len(), "page_no": number, "page_size": size, "quotas": page },
            "request_id": exchange.request_id,
        }))
    });
    match answer {
        Ok(body) => exchange.json(200, Bytes::from(body.to_string()), Verdict::Ok),
        Err(rejection) => exchange.refuse(&rejection),
    }
}

pub(super) async fn change(
    State(simulator): State<Simulator>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let exchange = Exchange::begin_unjournalled(simulator, &uri, &headers);
    let changed = answerable(&exchange).and_then(|account| {
        let change: Change = serde_json::from_slice(&body)
            .map_err(|error| Rejection::parameter(format!("Required body invalid: {error}")))?;
        apply(&exchange, &account, workspace_of(&headers), change)
    });
    match changed {
        Ok(()) => {
            let body = json!({ "output": {}, "request_id": exchange.request_id });
            exchange.json(200, Bytes::from(body.to_string()), Verdict::Ok)
        }
        Err(rejection) => exchange.refuse(&rejection),
    }
}

/// The caller's account, if its key is good and the API answers.
fn answerable(exchange: &Exchange) -> Result<String, Rejection> {
    let caller = exchange.identify()?;
    match exchange.config.quota_api {
        QuotaApi::On => Ok(caller.account),
        QuotaApi::Off => Err(Rejection::new(404, "NotFound", "Not found!")),
        QuotaApi::Failing => Err(Rejection::documented("InternalError")),
    }
}

fn workspace_of(headers: &HeaderMap) -> &str {
    let header = headers.get("x-dashscope-workspace");
    let named = header.and_then(|value| value.to_str().ok());
    named.unwrap_or(DEFAULT_WORKSPACE)
}

/// All models that may have a limit.
fn models(exchange: &Exchange) -> BTreeSet<String> {
    let config = &exchange.config;
    let named = config.limits.iter().flat_map(|rule| {
        let one = rule.model.iter();
        one.chain(&rule.models)
    });
    offered()
        .map(|model| &model.id)
        .chain(&config.models)
        .chain(named)
        .cloned()
        .collect()
}

fn quota(exchange: &Exchange, account: &str, workspace: &str, model: &str) -> Option<Quota> {
    let config = &exchange.config;
    let own = account_limit(config, account, model).map(|limit| spec(&limit.rule()));
    let throttle = &exchange.simulator.shared.throttle;
    let tighter = throttle.with_workspace_limit(config, account, workspace, model, |limit| {
        spec(&limit.rule())
    });
    if own.is_none() && tighter.is_none() {
        return None;
    }
    let mut quota = Quota::default();
    model.clone_into(&mut quota.model);
    quota.workspace_id = Some(workspace.to_owned());
    quota.model_limit = own;
    quota.workspace_limit = tighter;
    Some(quota)
}

/// The API has one window of requests and one of tokens: the shortest, which is the real one.
fn spec(rule: &Rule) -> LimitSpec {
    let shortest = |measure: Measure| {
        let windows = rule.windows.iter();
        let own = windows.filter(|window| window.measure == measure);
        own.min_by_key(|window| window.period)
    };
    let seconds = |window: &WindowRule| window.period.as_secs().max(1);
    let (requests, tokens) = (shortest(Measure::Requests), shortest(Measure::Tokens));
    let mut spec = LimitSpec::default();
    spec.request_limit = requests.map(|window| window.amount);
    spec.request_limit_period = requests.map(seconds);
    spec.usage_limit = tokens.map(|window| window.amount);
    spec.usage_limit_period = tokens.map(seconds);
    spec.usage_limit_field = tokens.map(|_| "total_tokens".to_owned());
    spec.async_user_concurrency_limit = rule.concurrency;
    spec
}

fn apply(
    exchange: &Exchange,
    account: &str,
    workspace: &str,
    change: Change,
) -> Result<(), Rejection> {
    let models: Vec<String> = change.models.into_iter().chain(change.model).collect();
    if models.is_empty() || models.len() > MOST_MODELS {
        let message = format!("models must name 1 to {MOST_MODELS} models.");
        return Err(Rejection::parameter(message));
    }
    if let Some(unknown) = models
        .iter()
        .find(|model| find_model(model, &exchange.config.models).is_none())
    {
        let message = format!("The model {unknown} is not authorised in the workspace.");
        return Err(Rejection::parameter(message));
    }
    let second = std::time::Duration::from_secs;
    let rule = match change.operation_type.as_str() {
        "DELETE" => None,
        "OVERLAY" => {
            let Some(requests) = change.request_limit else {
                let message = "A token limit needs a request limit first.";
                return Err(Rejection::parameter(message));
            };
            let mut rule = Rule::default();
            let period = second(change.request_limit_period.unwrap_or(60).max(1));
            rule.windows
                .push(WindowRule::new(Measure::Requests, requests, period));
            if let Some(tokens) = change.usage_limit {
                let period = second(change.usage_limit_period.unwrap_or(60).max(1));
                rule.windows
                    .push(WindowRule::new(Measure::Tokens, tokens, period));
            }
            Some(rule)
        }
        _ => {
            let message = "operation_type must be OVERLAY or DELETE.";
            return Err(Rejection::parameter(message));
        }
    };
    for model in models {
        let key = Key {
            account: account.to_owned(),
            workspace: Some(workspace.to_owned()),
            name: model,
        };
        let throttle = &exchange.simulator.shared.throttle;
        throttle.overlay(key, rule.clone());
    }
    Ok(())
}
