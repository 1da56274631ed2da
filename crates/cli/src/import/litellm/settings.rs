//! Everything beside `model_list`.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};

use super::super::draft::{self, Draft, Key, Redis, Route, Secret, Target};
use super::super::notes::Mistake;
use super::super::render;
use super::super::yaml::{Entry, Node};
use super::deployments::Deployment;
use super::{Given, VARIABLE, Variables};

/// The shortest key that the gateway takes.
const MIN_KEY_CHARS: usize = 8;

/// The variables that the file itself sets to a value.
pub(super) fn variables(root: &Node) -> HashMap<String, String> {
    let section = root.get("environment_variables");
    let entries = section.map(Node::entries).unwrap_or_default();
    entries
        .iter()
        .filter_map(|entry| Some((entry.key.clone(), entry.node.text()?.to_owned())))
        .filter(|(_, value)| !value.starts_with(VARIABLE))
        .collect()
}

/// Reads every section; what is not understood is noted.
pub(super) fn apply(
    root: &Node,
    variables: &Variables<'_>,
    deployments: &[Deployment],
    draft: &mut Draft,
) -> Result<(), Mistake> {
    let mut settings = Settings {
        variables,
        deployments,
        groups: draft.routes.clone(),
        aliases: aliases(root),
        draft,
    };
    for entry in root.entries() {
        let is_section = entry.node.is_map() || entry.node.is_null();
        match entry.key.as_str() {
            "model_list" => {}
            "router_settings"
            | "litellm_settings"
            | "general_settings"
            | "environment_variables"
                if !is_section =>
            {
                return Err(Mistake::at(
                    entry.line,
                    &entry.key,
                    "is not a map of settings",
                ));
            }
            "router_settings" | "litellm_settings" => settings.router(entry)?,
            "general_settings" => settings.general(entry),
            "environment_variables" => {}
            key => settings.draft.notes.add(entry.line, key, why(key)),
        }
    }
    settings.default_fallbacks(root);
    settings.add_aliases();
    settings.redis(root);
    if settings.draft.keys.is_empty() {
        settings.draft.keys.push(draft::placeholder_key());
    }
    settings.note_variables(root);
    Ok(())
}

struct Settings<'a> {
    variables: &'a Variables<'a>,
    deployments: &'a [Deployment],
    /// The routes before any fallback was added.
    groups: Vec<Route>,
    /// Names that stand for a group, with their lines.
    aliases: Vec<(String, String, usize)>,
    draft: &'a mut Draft,
}

impl Settings<'_> {
    /// `router_settings` and `litellm_settings`, which share many names.
    fn router(&mut self, section: &Entry) -> Result<(), Mistake> {
        for entry in section.node.entries() {
            let place = format!("{}.{}", section.key, entry.key);
            let node = &entry.node;
            if node.is_null() {
                continue;
            }
            match entry.key.as_str() {
                "fallbacks" => self.fallbacks(entry, &place, false)?,
                "content_policy_fallbacks" => self.fallbacks(entry, &place, true)?,
                // Read after all others, as they hold where nothing else does.
                "default_fallbacks" => {}
                "model_group_alias" => self.note_hidden(entry, &place),
                "timeout" | "request_timeout" => self.timeout(entry, &place),
                "drop_params" => match node.truth() {
                    Some(drop) => self.draft.drop_unsupported |= drop,
                    None => {
                        return Err(Mistake::at(entry.line, &place, "is neither true nor false"));
                    }
                },
                "routing_strategy" => {
                    if node.text() != Some("simple-shuffle") {
                        let text = "targets are chosen by weight, by prefix and by who has no line";
                        self.draft.notes.add(entry.line, place, text);
                    }
                }
                "redis_url" | "redis_host" | "redis_port" | "redis_password"
                    if section.key == "router_settings" => {}
                key => self.draft.notes.add(entry.line, place, why(key)),
            }
        }
        Ok(())
    }

    fn timeout(&mut self, entry: &Entry, place: &str) {
        let seconds = entry.node.number().filter(|seconds| *seconds > 0.0);
        let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let millis = duration.and_then(|duration| u64::try_from(duration.as_millis()).ok());
        let Some(millis) = millis.filter(|millis| *millis > 0) else {
            let text = "is no number of seconds; left out";
            return self.draft.notes.add(entry.line, place, text);
        };
        let text =
            "counts to the head of upstream's answer here (timeouts.response), not to its end";
        self.draft.notes.add(entry.line, place, text);
        let is_router = place.starts_with("router_settings");
        if self.draft.response_timeout.is_none() || is_router {
            self.draft.response_timeout = Some(millis);
        }
    }

    /// Lists of `{group: [group, …]}`.
    fn fallbacks(&mut self, entry: &Entry, place: &str, of_content: bool) -> Result<(), Mistake> {
        let Some(items) = entry.node.items() else {
            return Err(Mistake::at(entry.line, place, "is not a list"));
        };
        for pair in items.iter().flat_map(|item| item.entries()) {
            let names = names(&pair.node);
            if pair.key == "*" && !of_content {
                self.fall_back_to(&names, pair.line, place, None);
            } else if of_content {
                self.content_fallbacks(&pair.key, &names, pair.line, place);
            } else {
                self.fall_back_to(&names, pair.line, place, Some(&pair.key));
            }
        }
        Ok(())
    }

    fn default_fallbacks(&mut self, root: &Node) {
        for section in ["router_settings", "litellm_settings"] {
            let Some(node) = root
                .get(section)
                .and_then(|section| section.get("default_fallbacks"))
            else {
                continue;
            };
            let place = format!("{section}.default_fallbacks");
            self.fall_back_to(&names(node), node.line, &place, None);
        }
    }

    /// Adds the named groups' targets behind those of `group`, or of every group without fallbacks.
    fn fall_back_to(
        &mut self,
        names: &[Option<String>],
        line: usize,
        place: &str,
        group: Option<&str>,
    ) {
        let mut added: Vec<Target> = Vec::new();
        for name in names {
            let targets = name.as_deref().and_then(|name| self.targets(name));
            match (targets, name) {
                (Some(targets), _) => added.extend(targets),
                (None, Some(name)) => {
                    let text = format!("`{name}` names no deployment that was carried over");
                    self.draft.notes.add(line, place, text);
                }
                (None, None) => {
                    let text = "a fallback with messages or parameters of its own is left out";
                    self.draft.notes.add(line, place, text);
                }
            }
        }
        let group = group.map(|name| self.group_of(name).to_owned());
        let mut is_there = false;
        for route in &mut self.draft.routes {
            let is_meant = match &group {
                Some(group) => route.model == *group,
                None => route.fallbacks.is_empty(),
            };
            is_there |= is_meant;
            if is_meant {
                for target in &added {
                    route.add_fallback(target);
                }
            }
        }
        if let (false, Some(group)) = (is_there, group) {
            let text = format!("`{group}` names no deployment that was carried over");
            self.draft.notes.add(line, place, text);
        }
    }

    /// Fallbacks for refused contents can only be the route's own.
    fn content_fallbacks(
        &mut self,
        group: &str,
        names: &[Option<String>],
        line: usize,
        place: &str,
    ) {
        let wanted: Vec<Target> = names
            .iter()
            .flatten()
            .filter_map(|name| self.targets(name))
            .flatten()
            .collect();
        let group = self.group_of(group).to_owned();
        let route = self
            .draft
            .routes
            .iter_mut()
            .find(|route| route.model == group);
        let Some(route) = route.filter(|_| !wanted.is_empty()) else {
            let text = format!("`{group}` and its fallbacks were not carried over");
            return self.draft.notes.add(line, place, text);
        };
        for target in &wanted {
            route.add_fallback(target);
        }
        route.on_content_filter = true;
        let text = "a route has one list of fallbacks: these are tried after other errors, too, and \
                    its other ones after refused contents";
        self.draft.notes.add(line, place, text);
    }

    /// The group behind a name that clients use.
    fn group_of<'b>(&'b self, name: &'b str) -> &'b str {
        let alias = self.aliases.iter().find(|(alias, ..)| alias == name);
        alias.map_or(name, |(_, group, _)| group)
    }

    /// The targets of a group or of one deployment.
    fn targets(&self, name: &str) -> Option<Vec<Target>> {
        let group = self.group_of(name);
        if let Some(route) = self.groups.iter().find(|route| route.model == group) {
            let all = route.targets.iter().chain(&route.fallbacks).cloned();
            // The name that the client used is another one.
            return Some(all.map(|target| under_its_name(target, group)).collect());
        }
        let is_it = |deployment: &&Deployment| deployment.id.as_deref() == Some(name);
        let deployment = self.deployments.iter().find(is_it)?;
        Some(vec![under_its_name(
            deployment.target.clone(),
            &deployment.group,
        )])
    }

    fn add_aliases(&mut self) {
        for (alias, group, line) in &self.aliases {
            let place = format!("router_settings.model_group_alias.{alias}");
            let known = self.draft.routes.iter().find(|route| route.model == *group);
            let Some(route) = known else {
                let text = format!("`{group}` names no deployment that was carried over");
                self.draft.notes.add(*line, place, text);
                continue;
            };
            let mut route = route.clone();
            for target in &mut route.targets {
                *target = under_its_name(target.clone(), group);
            }
            route.model.clone_from(alias);
            match self
                .draft
                .routes
                .iter_mut()
                .find(|known| known.model == *alias)
            {
                Some(known) => {
                    let text = "is the name of deployments, too; the alias counts, as in LiteLLM";
                    self.draft.notes.add(*line, place, text);
                    *known = route;
                }
                None => self.draft.routes.push(route),
            }
        }
    }

    fn note_hidden(&mut self, entry: &Entry, place: &str) {
        for alias in entry.node.entries() {
            let hidden = alias.node.get("hidden").and_then(Node::truth);
            if hidden == Some(true) {
                let place = format!("{place}.{}.hidden", alias.key);
                let text = "every route's name is listed under /v1/models";
                self.draft.notes.add(alias.line, place, text);
            }
        }
    }

    fn general(&mut self, section: &Entry) {
        for entry in section.node.entries() {
            let place = format!("general_settings.{}", entry.key);
            match (entry.key.as_str(), entry.node.text()) {
                ("master_key", Some(key)) => self.master_key(key, entry.line, &place),
                (_, None) if entry.node.is_null() => {}
                (key, _) => self.draft.notes.add(entry.line, place, why(key)),
            }
        }
    }

    fn master_key(&mut self, key: &str, line: usize, place: &str) {
        const NAME: &str = "LITELLM_MASTER_KEY";
        let (name, value) = match Given::of(key) {
            Given::Variable(name) => {
                let value = self.variables.of_file(&name).cloned();
                (name, value)
            }
            Given::Text(text) => (NAME.to_owned(), Some(text)),
        };
        let secret = match value {
            Some(value)
                if value.chars().count() < MIN_KEY_CHARS || !render::can_be_assigned(&value) =>
            {
                let text = format!(
                    "the key is shorter than {MIN_KEY_CHARS} characters or has some that no key \
                     has; put a better one into {name}"
                );
                self.draft.notes.add(line, place, text);
                Secret::Variable(name)
            }
            Some(value) => Secret::literal(name, &value),
            None => Secret::Variable(name),
        };
        let text = "opens models only; for /admin set admin.token to another secret";
        self.draft.notes.add(line, place, text);
        self.draft.keys.push(Key {
            name: "master".to_owned(),
            secret,
            remark: Some(
                "LiteLLM's master key. Give each application a key of its own: docs/migration.md"
                    .to_owned(),
            ),
        });
    }

    /// Where LiteLLM's replicas share their counts, ours can.
    fn redis(&mut self, root: &Node) {
        const NAME: &str = "BAILIAN_REDIS_URL";
        let Some(section) = root.get("router_settings") else {
            return;
        };
        let text_of = |name: &str| section.get(name).and_then(Node::text);
        let redis = match (text_of("redis_url"), text_of("redis_host")) {
            (Some(url), _) => match Given::of(url) {
                Given::Variable(name) => match self.variables.of_file(&name) {
                    Some(value) => Redis::Secret(Secret::literal(name, value)),
                    None => Redis::Secret(Secret::Variable(name)),
                },
                Given::Text(url) if url.contains('@') => Redis::Secret(Secret::literal(NAME, &url)),
                Given::Text(url) => Redis::Open(url),
            },
            (None, Some(host)) => {
                let port = text_of("redis_port").unwrap_or("6379");
                let password = text_of("redis_password");
                let parts = [Some(host), Some(port), password];
                match redis_url(self.variables, parts) {
                    Some((url, false)) => Redis::Open(url.expose_secret().to_owned()),
                    Some((url, true)) => Redis::Secret(Secret::literal(NAME, url.expose_secret())),
                    None => {
                        let text = format!(
                            "is in several variables; set {NAME} to redis://:PASSWORD@HOST:PORT"
                        );
                        let line = section.get("redis_host").map(|node| node.line);
                        self.draft
                            .notes
                            .add(line, "router_settings.redis_host", text);
                        Redis::Secret(Secret::Variable(NAME.to_owned()))
                    }
                }
            }
            (None, None) => return,
        };
        self.draft.redis = Some(redis);
        let is_taken = |draft: &Draft, secrets| {
            let only = Draft {
                redis: draft.redis.clone(),
                accounts: draft.accounts.iter().take(1).cloned().collect(),
                keys: vec![draft::placeholder_key()],
                ..Draft::default()
            };
            draft::parses(&render::toml(&only, "", secrets))
        };
        if !self.draft.accounts.is_empty()
            && is_taken(self.draft, render::Secrets::Written).is_err()
        {
            let line = section.line;
            let text = "is no address of a Redis that the gateway takes; left out";
            self.draft
                .notes
                .add(line, "router_settings.redis_url", text);
            self.draft.redis = None;
        }
    }

    /// Variables that the file sets and nothing here asks for.
    fn note_variables(&mut self, root: &Node) {
        let used = self.variables.used.borrow();
        let section = root.get("environment_variables");
        for entry in section.map(Node::entries).unwrap_or_default() {
            if !used.contains(&entry.key) && !entry.node.is_null() {
                let place = format!("environment_variables.{}", entry.key);
                let text = "nothing in this file reads it";
                self.draft.notes.add(entry.line, place, text);
            }
        }
    }
}

/// The address made of host, port and password, and whether it holds a secret.
fn redis_url(
    variables: &Variables<'_>,
    [host, port, password]: [Option<&str>; 3],
) -> Option<(SecretString, bool)> {
    // Variables of this process are not looked into: what they hold may be a secret.
    let value = |text: &str| match Given::of(text) {
        Given::Text(text) => Some(text),
        Given::Variable(name) => variables.of_file(&name).cloned(),
    };
    let mut url = url::Url::parse(&format!("redis://{}:{}", value(host?)?, value(port?)?)).ok()?;
    if let Some(password) = password {
        url.set_password(Some(&value(password)?)).ok()?;
    }
    Some((String::from(url).into(), password.is_some()))
}

/// A target that asks for what `group` means, whatever the client called it.
fn under_its_name(target: Target, group: &str) -> Target {
    let is_pattern = group.ends_with('*');
    let model = target
        .model
        .clone()
        .or_else(|| (!is_pattern).then(|| group.to_owned()));
    Target { model, ..target }
}

/// Aliases, their groups and lines.
fn aliases(root: &Node) -> Vec<(String, String, usize)> {
    let section = root.get("router_settings");
    let list = section.and_then(|section| section.get("model_group_alias"));
    let entries = list.map(Node::entries).unwrap_or_default();
    entries
        .iter()
        .filter_map(|entry| {
            let node = &entry.node;
            let group = node.text().or_else(|| node.get("model")?.text())?;
            Some((entry.key.clone(), group.to_owned(), entry.line))
        })
        .collect()
}

/// The names of a list, or the one name; `None` for what is no name.
fn names(node: &Node) -> Vec<Option<String>> {
    let name = |node: &Node| node.text().map(str::to_owned);
    match node.items() {
        Some(items) => items.iter().map(|item: &Rc<Node>| name(item)).collect(),
        None => vec![name(node)],
    }
}

/// Why a setting is not carried over.
pub(super) fn why(key: &str) -> &'static str {
    match key {
        "num_retries"
        | "max_retries"
        | "retry_policy"
        | "retry_after"
        | "model_group_retry_policy" => {
            "a target is asked once: what is throttled waits in its line, other errors lead to the \
             next target"
        }
        "allowed_fails" | "allowed_fails_policy" | "cooldown_time" | "disable_cooldowns" => {
            "the breaker's figures are fixed: five failures in a row, five seconds, doubled up to a \
             minute"
        }
        "routing_strategy_args" | "enable_tag_filtering" | "tags" | "tag_filtering_match_any" => {
            "targets are chosen by model, weight, prefix and by who has no line"
        }
        "timeout" | "stream_timeout" => "times hold for all targets: [timeouts]",
        "context_window_fallbacks" | "enable_pre_call_checks" => {
            "a request that is too long for its model is refused, and no other target is asked"
        }
        "cache" | "cache_params" | "cache_responses" | "client_ttl" => "answers are not cached",
        "database_url"
        | "database_connection_pool_limit"
        | "store_model_in_db"
        | "database_connection_timeout"
        | "allow_requests_on_db_unavailable" => {
            "keys, teams and budgets of the database are not part of this file; docs/migration.md \
             says how they move"
        }
        "callbacks" | "success_callback" | "failure_callback" | "service_callbacks"
        | "callback_settings" | "alerting" | "alerting_threshold" => {
            "nothing is called back: /metrics and the log have the figures"
        }
        "input_cost_per_token" | "output_cost_per_token" => "prices are not part of this file",
        _ if key.starts_with("x-") => "is read only where an alias names a part of it",
        "include" => "included files are not read; import each by itself",
        "guardrails" => "there are no guardrails beside the service's own filter",
        "extra_headers" | "headers" | "organization" => "no fixed header lines are added",
        "max_tokens" | "temperature" | "top_p" | "extra_body" | "seed" | "stop" => {
            "no parameter is added that the caller did not write"
        }
        "max_parallel_requests" | "global_max_parallel_requests" => {
            "what runs at the same time is limited for each model: `running` of [[accounts.limits]]"
        }
        _ => "has no counterpart",
    }
}
