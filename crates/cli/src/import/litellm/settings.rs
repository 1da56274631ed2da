//! Everything beside `model_list`.

use std::collections::HashMap;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};

use super::super::draft::{self, Draft, Key, Redis, Route, Secret};
use super::super::notes::Mistake;
use super::super::render;
use super::super::yaml::{Entry, Node};
use super::deployments::Deployment;
use super::fallbacks::aliases;
use super::why::why;
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
            // Read before all others.
            "model_list" | "environment_variables" => {}
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

pub(super) struct Settings<'a> {
    variables: &'a Variables<'a>,
    pub(super) deployments: &'a [Deployment],
    /// The routes before any fallback was added.
    pub(super) groups: Vec<Route>,
    /// Names that stand for a group, with their lines.
    pub(super) aliases: Vec<(String, String, usize)>,
    pub(super) draft: &'a mut Draft,
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
