//! `[[routes]]` and `[repairs]` of the configuration file.

use std::time::Duration;

use bailian_wire::Dialect;
use bailian_wire::error::ErrorClass;
use serde::Deserialize;
use utoipa::ToSchema;

use super::Problem;
use super::account::{AccountConfig, AccountKind};
use super::cache::{RouteCache, RouteCacheFile};
use super::text::{DialectWord, DurationText, FallBackWord, UnsupportedWord};

/// Where requests for a model go.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RouteConfig {
    /// The model as clients name it; a `*` at the end stands for anything.
    pub model: String,
    /// One of these is tried first, by weight; the others follow.
    pub targets: Vec<TargetConfig>,
    /// Tried in this order after those.
    pub fallbacks: Vec<TargetConfig>,
    /// Errors after which the next target is tried; `None` for everything that is neither the
    /// caller's own fault nor about what it says.
    pub fall_back_on: Option<Vec<ErrorClass>>,
    /// Whether answers are kept; `None` leaves it to the caller.
    pub cache: Option<RouteCache>,
}

/// One place where a route leads.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TargetConfig {
    /// The account's name.
    pub account: String,
    /// The model's name there, if it has another.
    pub model: Option<String>,
    /// The dialect to speak there, if not the caller's.
    pub dialect: Option<Dialect>,
    /// Its share beside the others.
    pub weight: u32,
}

/// What is mended of requests and answers in passing. Everything is on by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the file"
)]
pub struct Repairs {
    /// A call without streaming to a model that only streams is made as a stream.
    pub stream_only: bool,
    /// Usage is asked for where the client did not, and kept from it.
    pub usage: bool,
    /// Pieces of tool calls are brought into the form that every client reads.
    pub tool_calls: bool,
    /// The role `developer` becomes `system`.
    pub developer: bool,
    /// What stands in `extra_body` moves to the top level.
    pub extra_body: bool,
    /// A native call goes to the path that serves its model.
    pub native_path: bool,
    /// More texts than a model embeds at once are sent in several requests.
    pub embeddings: bool,
    /// `insufficient_quota` of the tokens-per-minute limit becomes `rate_limit_exceeded`.
    pub quota_code: bool,
    /// A stream that upstream breaks goes on elsewhere, or with another request.
    pub resume: bool,
    /// Members that a translation cannot carry are left out even if the answer depends on them.
    pub drop_unsupported: bool,
    /// A stream in which nothing happens for so long hears a comment.
    pub keep_alive: Duration,
}

impl Default for Repairs {
    fn default() -> Self {
        Self {
            stream_only: true,
            usage: true,
            tool_calls: true,
            developer: true,
            extra_body: true,
            native_path: true,
            embeddings: true,
            quota_code: true,
            resume: true,
            drop_unsupported: false,
            // Shorter than the 30 s to 60 s after which proxies close what is silent.
            keep_alive: Duration::from_secs(15),
        }
    }
}

/// Where requests for a model go. A model without a route goes to the accounts of the service, which
/// share it evenly, under the name that the client used.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RouteFile {
    /// The model as clients name it; `qwen-*` stands for every name that begins so.
    model: String,
    /// Where it can be answered: one is tried first, by weight, then the others.
    #[schema(min_items = 1)]
    targets: Vec<TargetFile>,
    /// Tried after those, in this order.
    #[serde(default)]
    fallbacks: Vec<TargetFile>,
    /// Errors after which the next target is tried; `rate_limit` stands for every kind of it.
    #[schema(value_type = Option<Vec<FallBackWord>>, extensions(("x-default" = json!("all but `content_filter` and `not_found`"))))]
    fall_back_on: Option<Vec<String>>,
    /// Whether answers are kept for equal requests: `true` for as long as `[cache]` says, a duration
    /// for so long, `false` never, whatever a caller asks for. Needs `[cache]`.
    #[schema(extensions(("x-default" = json!("as the caller asks"))))]
    cache: Option<RouteCacheFile>,
}

/// One place where a route leads.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TargetFile {
    /// The account's name; may be left out where there is one account only.
    account: Option<String>,
    /// The model's name there.
    #[schema(extensions(("x-default" = json!("as the client named it"))))]
    model: Option<String>,
    /// The dialect to speak there.
    #[schema(value_type = Option<DialectWord>, extensions(("x-default" = json!("the caller's where the account speaks it, else `openai`"))))]
    dialect: Option<String>,
    /// Its share beside the other targets.
    #[schema(minimum = 1, default = 1)]
    weight: Option<u32>,
}

/// What is mended of requests and answers in passing.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RepairsFile {
    /// A call without streaming to a model that only streams, or thinks only in streams, is made as a
    /// stream and answered whole.
    #[schema(default = true)]
    stream_only: Option<bool>,
    /// An OpenAI stream is asked for its usage; a client that did not ask does not see it.
    #[schema(default = true)]
    usage: Option<bool>,
    /// Pieces of tool calls are brought into the form that every client reads: id and name once, no
    /// `null`.
    #[schema(default = true)]
    tool_calls: Option<bool>,
    /// The role `developer` becomes `system`.
    #[schema(default = true)]
    developer: Option<bool>,
    /// What a client wrote into `extra_body` moves to the top level.
    #[schema(default = true)]
    extra_body: Option<bool>,
    /// A native call goes to the path that serves its model (otherwise the service answers
    /// `url error`), its contents in that path's form.
    #[schema(default = true)]
    native_path: Option<bool>,
    /// More texts than a model embeds at once (10, or 25) go out in several requests and come back as
    /// one answer.
    #[schema(default = true)]
    embeddings: Option<bool>,
    /// `insufficient_quota` of a tokens-per-minute 429 becomes `rate_limit_exceeded`, which clients
    /// retry; the service's word stays as `upstream_code`.
    #[schema(default = true)]
    quota_code: Option<bool>,
    /// A stream that upstream breaks goes on elsewhere, or with another request.
    #[schema(default = true)]
    resume: Option<bool>,
    /// What a translation cannot carry and the answer depends on is refused with 400, or dropped.
    #[schema(value_type = Option<UnsupportedWord>, default = "refuse")]
    unsupported: Option<String>,
    /// A stream in which nothing happens for so long hears a comment (Anthropic's: a `ping`). At least
    /// `10ms`.
    #[schema(default = "15s")]
    keep_alive: Option<DurationText>,
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

/// The names that `fall_back_on` takes.
pub(super) fn class_names() -> Vec<&'static str> {
    let singles = ErrorClass::ALL
        .into_iter()
        .filter(|class| *class != ErrorClass::InvalidRequest && !class.is_throttle())
        .map(ErrorClass::as_str);
    std::iter::once("rate_limit").chain(singles).collect()
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
        None => Err(format!(
            "`{name}` is no kind of error; write {}",
            class_names().join(", ")
        )),
    }
}

impl RepairsFile {
    pub(super) fn resolve(&self, problems: &mut Vec<Problem>) -> Repairs {
        let default = Repairs::default();
        let keep_alive = match self.keep_alive.as_ref().map(DurationText::parse) {
            None => default.keep_alive,
            Some(Some(interval)) if interval >= Duration::from_millis(10) => interval,
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
