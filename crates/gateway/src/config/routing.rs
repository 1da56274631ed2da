//! `[[routes]]` and `[repairs]` of the configuration file.

use std::time::Duration;

use bailian_wire::Dialect;
use bailian_wire::error::ErrorClass;
use serde::Deserialize;

use super::cache::RouteCacheFile;
use super::{AccountConfig, AccountKind, Problem, Repairs, RouteConfig, TargetConfig};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RouteFile {
    model: String,
    targets: Vec<TargetFile>,
    #[serde(default)]
    fallbacks: Vec<TargetFile>,
    fall_back_on: Option<Vec<String>>,
    cache: Option<RouteCacheFile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TargetFile {
    account: Option<String>,
    model: Option<String>,
    dialect: Option<String>,
    weight: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RepairsFile {
    stream_only: Option<bool>,
    usage: Option<bool>,
    tool_calls: Option<bool>,
    developer: Option<bool>,
    extra_body: Option<bool>,
    native_path: Option<bool>,
    embeddings: Option<bool>,
    quota_code: Option<bool>,
    resume: Option<bool>,
    unsupported: Option<String>,
    keep_alive: Option<String>,
}

pub(super) fn resolve_routes(
    routes: Vec<RouteFile>,
    accounts: &[AccountConfig],
    has_cache: bool,
    problems: &mut Vec<Problem>,
) -> Vec<RouteConfig> {
    let mut resolved: Vec<RouteConfig> = Vec::with_capacity(routes.len());
    for (index, route) in routes.into_iter().enumerate() {
        let place = format!("routes[{index}]");
        if route.model.is_empty() {
            let problem = "is empty; write the name that clients use, such as \"fast\"";
            problems.push(Problem::new(format!("{place}.model"), problem));
        }
        if resolved.iter().any(|other| other.model == route.model) {
            let problem = format!("`{}` has a route above already", route.model);
            problems.push(Problem::new(format!("{place}.model"), problem));
        }
        if route.targets.is_empty() {
            let problem = "is empty; write at least one, such as { account = \"a\" }";
            problems.push(Problem::new(format!("{place}.targets"), problem));
        }
        let mut resolve = |name: &str, targets: Vec<TargetFile>| -> Vec<TargetConfig> {
            let numbered = targets.into_iter().enumerate();
            numbered
                .filter_map(|(index, target)| {
                    let place = format!("{place}.{name}[{index}]");
                    target
                        .resolve(accounts)
                        .map_err(|problem| problems.push(Problem::new(place, problem)))
                        .ok()
                })
                .collect()
        };
        let targets = resolve("targets", route.targets);
        let fallbacks = resolve("fallbacks", route.fallbacks);
        let fall_back_on = route.fall_back_on.map(|names| {
            names
                .iter()
                .filter_map(|name| {
                    parse_class(name)
                        .map_err(|problem| {
                            problems.push(Problem::new(format!("{place}.fall_back_on"), problem));
                        })
                        .ok()
                })
                .flatten()
                .collect()
        });
        let cache = route.cache.and_then(|cache| {
            let setting = cache.resolve(has_cache);
            setting
                .map_err(|problem| problems.push(Problem::new(format!("{place}.cache"), problem)))
                .ok()
        });
        resolved.push(RouteConfig {
            model: route.model,
            targets,
            fallbacks,
            fall_back_on,
            cache,
        });
    }
    resolved
}

impl TargetFile {
    fn resolve(self, accounts: &[AccountConfig]) -> Result<TargetConfig, String> {
        let account = match (&self.account, accounts) {
            (None, [only]) => only,
            (None, _) => return Err("needs `account`: there are several".to_owned()),
            (Some(name), _) => accounts
                .iter()
                .find(|account| account.name == *name)
                .ok_or_else(|| format!("there is no account `{name}`"))?,
        };
        let dialect: Option<Dialect> = self
            .dialect
            .as_deref()
            .map(str::parse)
            .transpose()
            .map_err(|error: bailian_wire::UnknownDialect| error.to_string())?;
        if account.kind == AccountKind::OpenAi
            && dialect.is_some_and(|dialect| dialect != Dialect::OpenAi)
        {
            let problem = format!("account `{}` speaks openai only", account.name);
            return Err(problem);
        }
        if self.weight == Some(0) {
            return Err("has the weight 0, which is no share; leave the target out".to_owned());
        }
        Ok(TargetConfig {
            account: account.name.clone(),
            model: self.model,
            dialect,
            weight: self.weight.unwrap_or(1),
        })
    }
}

/// The classes behind a name: one, or a family.
fn parse_class(name: &str) -> Result<Vec<ErrorClass>, String> {
    if name == "rate_limit" {
        return Ok(ErrorClass::ALL
            .into_iter()
            .filter(|class| class.is_throttle())
            .collect());
    }
    let class = ErrorClass::ALL
        .into_iter()
        .find(|class| class.as_str() == name);
    match class {
        Some(ErrorClass::InvalidRequest) => Err(
            "`invalid_request` is the caller's own fault, which no other target mends".to_owned(),
        ),
        Some(class) => Ok(vec![class]),
        None => {
            let names: Vec<&str> = ErrorClass::ALL
                .into_iter()
                .filter(|class| *class != ErrorClass::InvalidRequest && !class.is_throttle())
                .map(ErrorClass::as_str)
                .collect();
            Err(format!(
                "`{name}` is no kind of error; write rate_limit, {}",
                names.join(", ")
            ))
        }
    }
}

impl RepairsFile {
    pub(super) fn resolve(&self, problems: &mut Vec<Problem>) -> Repairs {
        let default = Repairs::default();
        let keep_alive = match self.keep_alive.as_deref().map(humantime::parse_duration) {
            None => default.keep_alive,
            Some(Ok(interval)) if interval >= Duration::from_millis(10) => interval,
            Some(_) => {
                let problem = "is not a duration such as \"15s\", 10 ms at least";
                problems.push(Problem::new("repairs.keep_alive", problem));
                default.keep_alive
            }
        };
        let drop_unsupported = match self.unsupported.as_deref() {
            None | Some("refuse") => false,
            Some("drop") => true,
            Some(other) => {
                let problem = format!("`{other}` is neither refuse nor drop");
                problems.push(Problem::new("repairs.unsupported", problem));
                false
            }
        };
        Repairs {
            stream_only: self.stream_only.unwrap_or(default.stream_only),
            usage: self.usage.unwrap_or(default.usage),
            tool_calls: self.tool_calls.unwrap_or(default.tool_calls),
            developer: self.developer.unwrap_or(default.developer),
            extra_body: self.extra_body.unwrap_or(default.extra_body),
            native_path: self.native_path.unwrap_or(default.native_path),
            embeddings: self.embeddings.unwrap_or(default.embeddings),
            quota_code: self.quota_code.unwrap_or(default.quota_code),
            resume: self.resume.unwrap_or(default.resume),
            drop_unsupported,
            keep_alive,
        }
    }
}
