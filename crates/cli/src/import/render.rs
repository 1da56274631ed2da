//! The configuration file's text.

use std::fmt::{Display, Write as _};

use secrecy::ExposeSecret as _;

use super::draft::{Account, Draft, Kind, Lane, Redis, Route, Secret, Target};
use super::notes::one_line;

/// How secrets that the source holds are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Secrets {
    /// As `env:NAME`.
    Referenced,
    /// As they are.
    Written,
}

/// The whole file. `head` says where it comes from, one line to a line.
pub(super) fn toml(draft: &Draft, head: &str, secrets: Secrets) -> String {
    let mut out = Text {
        text: String::new(),
        secrets,
    };
    for line in head.lines() {
        out.comment(line);
    }
    let notes = draft.notes.sorted();
    if !notes.is_empty() {
        out.line("#");
        out.comment("Not carried over, or not as it was:");
        for note in notes {
            out.comment(format_args!("- {note}"));
        }
    }
    if let Some(millis) = draft.response_timeout {
        out.line("\n[timeouts]");
        out.setting("response", quoted(&duration(millis)));
    }
    if draft.drop_unsupported {
        out.line("\n[repairs]");
        out.setting("unsupported", quoted("drop"));
    }
    if let Some(redis) = &draft.redis {
        out.line("\n[redis]");
        let url = match redis {
            Redis::Open(url) => quoted(url),
            Redis::Secret(secret) => out.secret(secret),
        };
        out.setting("url", url);
    }
    for account in &draft.accounts {
        out.account(account);
    }
    for route in &draft.routes {
        out.route(route);
    }
    for key in &draft.keys {
        out.line("");
        if let Some(remark) = &key.remark {
            out.comment(remark);
        }
        out.line("[[keys]]");
        out.setting("name", quoted(&key.name));
        let secret = out.secret(&key.secret);
        out.setting("key", secret);
    }
    out.text
}

/// `NAME=value` for each secret that the source holds, as shells, systemd, containers and `.env`
/// readers take it.
pub(super) fn keys_file(draft: &Draft) -> String {
    let mut text = String::new();
    for (name, value) in draft.literals() {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "{name}={}", assigned(value.expose_secret()));
    }
    text
}

/// Whether every reader of such files, and of the configuration, takes the value as it is.
pub(super) fn can_be_assigned(value: &str) -> bool {
    let is_taken = |byte: u8| byte.is_ascii_graphic() && !b"'\\".contains(&byte);
    let is_reference = value.starts_with("env:") || value.starts_with("file:");
    !value.is_empty() && !is_reference && value.bytes().all(is_taken)
}

fn assigned(value: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:@+=,%".contains(&byte);
    if value.bytes().all(is_bare) {
        value.to_owned()
    } else {
        format!("'{value}'")
    }
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn duration(millis: u64) -> String {
    if millis.is_multiple_of(1000) {
        format!("{}s", millis / 1000)
    } else {
        format!("{millis}ms")
    }
}

#[derive(Debug)]
struct Text {
    text: String,
    secrets: Secrets,
}

impl Text {
    fn line(&mut self, line: impl Display) {
        // Writing to a `String` cannot fail.
        let _ = writeln!(self.text, "{line}");
    }

    fn comment(&mut self, text: impl Display) {
        let text = format!("# {}", one_line(&text.to_string()));
        self.line(text.trim_end());
    }

    fn setting(&mut self, name: &str, value: impl Display) {
        self.line(format_args!("{name} = {value}"));
    }

    fn secret(&self, secret: &Secret) -> String {
        match (secret, self.secrets) {
            (Secret::Literal { value, .. }, Secrets::Written) => quoted(value.expose_secret()),
            (Secret::Literal { name, .. } | Secret::Variable(name), _) => {
                quoted(&format!("env:{name}"))
            }
        }
    }

    fn account(&mut self, account: &Account) {
        self.line("\n[[accounts]]");
        for remark in &account.remarks {
            self.comment(remark);
        }
        self.setting("name", quoted(&account.name));
        match (account.kind, &account.base_url) {
            (Kind::OpenAi, _) => self.setting("kind", quoted("openai")),
            (Kind::DashScope, None) => self.setting("region", quoted("cn-beijing")),
            (Kind::DashScope, Some(_)) => {}
        }
        if let Some(url) = &account.base_url {
            self.setting("base_url", quoted(url));
        }
        let keys: Vec<String> = account
            .api_keys
            .iter()
            .map(|secret| self.secret(secret))
            .collect();
        if !keys.is_empty() {
            self.setting("api_keys", format_args!("[{}]", keys.join(", ")));
        }
        for lane in &account.lanes {
            self.lane(lane);
        }
    }

    fn lane(&mut self, lane: &Lane) {
        self.line("\n[[accounts.limits]]");
        self.setting("model", quoted(&lane.model));
        let windows = [
            ("requests", lane.requests_per_minute),
            ("tokens", lane.tokens_per_minute),
        ];
        for (name, count) in windows {
            if let Some(count) = count {
                self.setting(name, format_args!("[{}]", quoted(&format!("{count}/60s"))));
            }
        }
        if let Some(running) = lane.running {
            self.setting("running", running);
        }
    }

    fn route(&mut self, route: &Route) {
        self.line("\n[[routes]]");
        self.setting("model", quoted(&route.model));
        self.targets("targets", &route.targets);
        if !route.fallbacks.is_empty() {
            self.targets("fallbacks", &route.fallbacks);
        }
        if route.on_content_filter {
            let default = "\"rate_limit\", \"quota_exhausted\", \"authentication\", \
                           \"permission\", \"timeout\", \"server\", \"unavailable\"";
            self.setting(
                "fall_back_on",
                format_args!("[{default}, \"content_filter\"]"),
            );
        }
    }

    fn targets(&mut self, name: &str, targets: &[Target]) {
        if let [only] = targets {
            return self.setting(name, format_args!("[{}]", target(only)));
        }
        self.line(format_args!("{name} = ["));
        for each in targets {
            self.line(format_args!("  {},", target(each)));
        }
        self.line("]");
    }
}

fn target(target: &Target) -> String {
    let mut text = format!("{{ account = {}", quoted(&target.account));
    // Writing to a `String` cannot fail.
    if let Some(model) = &target.model {
        let _ = write!(text, ", model = {}", quoted(model));
    }
    if let Some(dialect) = target.dialect {
        let _ = write!(text, ", dialect = {}", quoted(dialect.as_str()));
    }
    if let Some(weight) = target.weight {
        let _ = write!(text, ", weight = {weight}");
    }
    text.push_str(" }");
    text
}
