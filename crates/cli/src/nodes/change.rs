//! Settings at the command line, and what is changed by them.

use std::str::FromStr as _;

use anyhow::{Context as _, anyhow, bail, ensure};
use rust_decimal::Decimal;
use serde_json::{Map, Value, json};

use super::{Scope, Which, shown};
use crate::admin::{self, Admin, text};
use crate::failure::Failure;
use crate::moments::{Clock, Side};

/// The settings of docs/keys.md. What is not given is not said.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Settings")]
pub(crate) struct Settings {
    /// The models that may be used, with commas between, such as qwen-plus or 'qwen*'.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    models: Vec<String>,
    /// The endpoints that may be called, with commas between, such as chat or 'audio*'.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    endpoints: Vec<String>,
    /// The addresses from which one may call, with commas between, such as 10.0.0.0/8.
    #[arg(long, value_delimiter = ',', value_name = "RANGES")]
    ip_ranges: Vec<String>,
    /// The most requests a minute.
    #[arg(long, value_name = "NUMBER")]
    rpm: Option<u64>,
    /// The most tokens a minute.
    #[arg(long, value_name = "NUMBER")]
    tpm: Option<u64>,
    /// The most requests at once.
    #[arg(long, value_name = "NUMBER")]
    concurrency: Option<u64>,
    /// What may be spent, such as month=500CNY, day=2000000tokens or, with a midnight that is not
    /// Beijing's, day=20USD@+00:00. Said several times, all of them hold; those of before are
    /// replaced.
    #[arg(long = "budget", value_name = "PERIOD=AMOUNT")]
    budgets: Vec<String>,
    /// How urgent: high, normal or low.
    #[arg(long, value_name = "CLASS")]
    priority: Option<String>,
    /// The share beside others of the same priority.
    #[arg(long, value_name = "NUMBER")]
    weight: Option<u32>,
    /// Keeps prompts and answers for so many days, redacted; 0 keeps nothing, whatever the levels
    /// above say.
    #[arg(long, value_name = "DAYS")]
    keep_content: Option<u32>,
    /// When it ends, such as 90d (from now) or 2026-12-31T18:00.
    #[arg(long, value_name = "MOMENT")]
    expires_at: Option<String>,
    /// Something to remember, such as owner=王芳; may be said several times.
    #[arg(long = "metadata", value_name = "KEY=VALUE")]
    metadata: Vec<String>,
    /// Settings of docs/keys.md as a JSON object; the options above are put into it.
    #[arg(long = "settings", value_name = "JSON")]
    others: Option<String>,
}

impl Settings {
    /// The JSON of something new: its name, and these.
    pub(crate) fn of_new(&self, name: &str, clock: Clock) -> Result<Map<String, Value>, Failure> {
        let mut all = self.members(clock).map_err(Failure::Usage)?;
        all.insert("name".to_owned(), name.into());
        Ok(all)
    }

    /// Their JSON, as the admin API takes it.
    fn members(&self, clock: Clock) -> anyhow::Result<Map<String, Value>> {
        let mut all: Map<String, Value> = match &self.others {
            Some(text) => serde_json::from_str(text)
                .context("--settings is not a JSON object such as '{\"weight\": 2}'")?,
            None => Map::new(),
        };
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                all.insert(name.to_owned(), value);
            }
        };
        for (name, list) in [
            ("models", &self.models),
            ("endpoints", &self.endpoints),
            ("ip_ranges", &self.ip_ranges),
        ] {
            let list: Vec<&str> = list.iter().map(|it| it.trim()).collect();
            put(name, (!list.is_empty()).then(|| list.into()));
        }
        put("priority", self.priority.clone().map(Value::from));
        put("weight", self.weight.map(Value::from));
        if let Some(end) = &self.expires_at {
            let end = clock.read("expires-at", end, Side::Future)?;
            put("expires_at", Some(end.to_string().into()));
        }
        if !self.budgets.is_empty() {
            let budgets: anyhow::Result<Vec<Value>> =
                self.budgets.iter().map(|text| budget(text)).collect();
            put("budgets", Some(budgets?.into()));
        }
        for (name, limit) in [
            ("rpm", self.rpm),
            ("tpm", self.tpm),
            ("concurrency", self.concurrency),
        ] {
            if let Some(limit) = limit {
                within(&mut all, "limits")?.insert(name.to_owned(), limit.into());
            }
        }
        if let Some(days) = self.keep_content {
            within(&mut all, "keep_content")?.insert("days".to_owned(), days.into());
        }
        for entry in &self.metadata {
            let (key, value) = entry.split_once('=').with_context(|| {
                format!("--metadata {entry} is not KEY=VALUE, such as owner=王芳")
            })?;
            within(&mut all, "metadata")?.insert(key.to_owned(), value.into());
        }
        Ok(all)
    }
}

/// The object that is a member.
fn within<'a>(
    all: &'a mut Map<String, Value>,
    name: &str,
) -> anyhow::Result<&'a mut Map<String, Value>> {
    let member = all.entry(name).or_insert_with(|| json!({}));
    let member = member.as_object_mut();
    member.with_context(|| format!("`{name}` of --settings is no object"))
}

/// Reads `month=500CNY`, `day=2000000tokens` and the same with `@+00:00` behind it.
fn budget(text: &str) -> anyhow::Result<Value> {
    let problem = || {
        anyhow!(
            "--budget {text} is not a budget such as month=500CNY, day=2000000tokens or \
             day=20USD@+00:00; the period is day, month or total"
        )
    };
    let (period, rest) = text.split_once('=').ok_or_else(problem)?;
    let (amount, offset) = match rest.split_once('@') {
        Some((amount, offset)) => (amount, Some(offset)),
        None => (rest, None),
    };
    let unit = amount
        .find(|c: char| !matches!(c, '0'..='9' | '.' | '_'))
        .ok_or_else(problem)?;
    let (number, unit) = amount.split_at(unit);
    let (number, unit) = (number.replace('_', ""), unit.trim());
    ensure!(matches!(period, "day" | "month" | "total"), problem());
    let mut budget = json!({ "period": period });
    match unit.to_ascii_lowercase().as_str() {
        "tokens" | "token" => {
            let tokens: u64 = number.parse().map_err(|_| problem())?;
            budget["tokens"] = tokens.into();
        }
        _ => {
            Decimal::from_str(&number).map_err(|_| problem())?;
            let currency = unit.to_ascii_uppercase();
            budget["money"] = json!({ "amount": number, "currency": currency });
        }
    }
    if let Some(offset) = offset {
        budget["offset"] = offset.into();
    }
    Ok(budget)
}

/// What may be taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "kebab-case")]
enum Setting {
    Models,
    Endpoints,
    IpRanges,
    Rpm,
    Tpm,
    Concurrency,
    Budgets,
    Priority,
    Weight,
    KeepContent,
    ExpiresAt,
    Metadata,
}

impl Setting {
    /// Its member, and the member within that.
    fn place(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Models => ("models", None),
            Self::Endpoints => ("endpoints", None),
            Self::IpRanges => ("ip_ranges", None),
            Self::Rpm => ("limits", Some("rpm")),
            Self::Tpm => ("limits", Some("tpm")),
            Self::Concurrency => ("limits", Some("concurrency")),
            Self::Budgets => ("budgets", None),
            Self::Priority => ("priority", None),
            Self::Weight => ("weight", None),
            Self::KeepContent => ("keep_content", None),
            Self::ExpiresAt => ("expires_at", None),
            Self::Metadata => ("metadata", None),
        }
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct Change<S: Scope> {
    #[command(flatten)]
    which: Which<S>,
    /// Another name.
    #[arg(long)]
    name: Option<String>,
    /// Lets nobody in, until it is enabled again.
    #[arg(long, conflicts_with = "enable")]
    disable: bool,
    /// Lets callers in again.
    #[arg(long)]
    enable: bool,
    /// Takes settings away, with commas between: what they limited is not limited any more.
    #[arg(long, value_delimiter = ',', value_name = "SETTINGS")]
    unset: Vec<Setting>,
    /// Changes it only if it is at this revision, as `show` said it.
    #[arg(long, value_name = "NUMBER")]
    revision: Option<u64>,
    /// Prints the changed object of the admin API.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: Settings,
}

impl<S: Scope> Change<S> {
    pub(super) fn run(&self, admin: &Admin, clock: Clock) -> Result<(), Failure> {
        let mut members = self.members(clock).map_err(Failure::Usage)?;
        let before = self.which.find(admin)?;
        let revision = self
            .revision
            .map_or(before["revision"].clone(), Value::from);
        members.insert("revision".to_owned(), revision);
        let (kind, id) = (S::KIND, text(&before, "id"));
        let path = format!("{}/{id}", kind.path());
        let after = admin.patch(&path, &Value::Object(members))?;
        let (word, name, revision) = (kind.word(), text(&after, "name"), &after["revision"]);
        eprintln!("{word} {name} ({id}) is changed, and at revision {revision}:");
        for line in shown::differences(&before, &after, clock) {
            eprintln!("  {line}");
        }
        if self.json {
            admin::print_json(&after)?;
        }
        Ok(())
    }

    fn members(&self, clock: Clock) -> anyhow::Result<Map<String, Value>> {
        let mut all = self.settings.members(clock)?;
        if let Some(name) = &self.name {
            all.insert("name".to_owned(), name.clone().into());
        }
        if self.disable || self.enable {
            all.insert("disabled".to_owned(), self.disable.into());
        }
        for setting in &self.unset {
            let (member, inner) = setting.place();
            let (place, name) = match inner {
                Some(inner) => (within(&mut all, member)?, inner),
                None => (&mut all, member),
            };
            if place.insert(name.to_owned(), Value::Null).is_some() {
                let option = name.replace('_', "-");
                bail!("{option} is both given and in --unset; leave one of them out");
            }
        }
        ensure!(
            !all.is_empty(),
            "nothing is to be changed; name a setting, such as --rpm 60 or --unset rpm"
        );
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_read_as_it_is_shown() {
        for (text, expected) in [
            (
                "month=500CNY",
                json!({ "period": "month", "money": { "amount": "500", "currency": "CNY" } }),
            ),
            (
                "day=2_000_000tokens",
                json!({ "period": "day", "tokens": 2_000_000 }),
            ),
            (
                "total=12.50usd@+00:00",
                json!({ "period": "total", "offset": "+00:00",
                    "money": { "amount": "12.50", "currency": "USD" } }),
            ),
        ] {
            assert_eq!(budget(text).unwrap(), expected, "{text}");
        }
        for text in [
            "month",
            "month=500",
            "year=5CNY",
            "day=CNY",
            "day=1.5tokens",
        ] {
            let problem = budget(text).unwrap_err().to_string();
            assert!(problem.contains("month=500CNY"), "{text}: {problem}");
        }
    }
}
