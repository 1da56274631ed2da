//! What holds, and why.

use serde_json::{Map, Value, json};
use toml::Spanned;
use toml::de::DeValue;

use super::Config;
use super::describe::{self, SettingInfo};
use super::document::{Document, Place};
use super::schema::{self, Setting, Shape};
use super::secret::is_reference;
use super::unknown::joined;

/// What stands in the place of a secret.
const MASK: &str = "***";

/// A setting with what holds for it now.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Explained {
    /// Where it stands, with the numbers of entries: `accounts[0].region`.
    pub path: String,
    /// What holds; `None` where it is not set and nothing holds in its place. A secret is masked
    /// unless the setting only names its place.
    pub value: Option<Value>,
    /// Why.
    pub source: Source,
    /// What there is to know of it.
    pub info: SettingInfo,
}

/// Where what holds comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// Nobody said anything.
    Default,
    /// The file, on this line, from 1.
    File(usize),
    /// The environment variable of this name.
    Variable(String),
    /// It was made for this run.
    Made,
}

/// Explains every setting of a document that has been checked.
pub(super) fn explain(document: &Document<'_>, config: &Config) -> Vec<Explained> {
    let mut explained = Explainer {
        document,
        config,
        found: Vec::new(),
    };
    let root = schema::settings();
    if let Shape::Table(settings) = &root.shape {
        for setting in settings {
            let value = document.table.get(setting.name.as_str());
            explained.setting(setting, value.map(Spanned::get_ref), &setting.name);
        }
    }
    explained.found
}

struct Explainer<'a> {
    document: &'a Document<'a>,
    config: &'a Config,
    found: Vec<Explained>,
}

impl Explainer<'_> {
    fn setting(&mut self, setting: &Setting, value: Option<&DeValue<'_>>, path: &str) {
        match (&setting.shape, value) {
            // A table that has a meaning of its own is off where it is not there.
            (Shape::Table(_), None) if setting.default.is_none() => self.add(setting, None, path),
            (Shape::Table(settings), value) => {
                for setting in settings {
                    let value = value.and_then(|value| value.as_table());
                    let value = value.and_then(|table| table.get(setting.name.as_str()));
                    let path = joined(path, &setting.name);
                    self.setting(setting, value.map(Spanned::get_ref), &path);
                }
            }
            (Shape::List(item) | Shape::OneOrMany(item), Some(DeValue::Array(items)))
                if matches!(item.shape, Shape::Table(_)) && !items.is_empty() =>
            {
                for (index, value) in items.iter().enumerate() {
                    self.setting(item, Some(value.get_ref()), &format!("{path}[{index}]"));
                }
            }
            (Shape::OneOrMany(item), Some(value)) => self.setting(item, Some(value), path),
            (Shape::List(item), Some(value)) => {
                let value = plain(value, item.is_secret);
                self.add(setting, Some(value), path);
            }
            (_, value) => {
                let value = value.map(|value| plain(value, setting.is_secret));
                self.add(setting, value, path);
            }
        }
    }

    fn add(&mut self, setting: &Setting, said: Option<Value>, path: &str) {
        let place = match self.document.place(path) {
            // A variable may say one entry of a list.
            Some(Place::Line(_)) | None => {
                let entry = self.document.variable_in(path).map(Place::Variable);
                entry.or_else(|| self.document.place(path))
            }
            place => place,
        };
        let source = match (&said, place) {
            (None, _) => Source::Default,
            (Some(_), Some(Place::Line(line))) => Source::File(line),
            (Some(_), Some(Place::Variable(name))) => Source::Variable(name),
            (Some(_), None) => Source::Made,
        };
        let (value, source) = match said {
            Some(value) => (Some(value), source),
            None => self.unsaid(setting, path),
        };
        self.found.push(Explained {
            path: path.to_owned(),
            value,
            source,
            info: describe::info(setting, path),
        });
    }

    /// What holds where nothing is said.
    fn unsaid(&self, setting: &Setting, path: &str) -> (Option<Value>, Source) {
        let config = self.config;
        let plain = describe::without_numbers(path);
        let index = path.split(['[', ']']).nth(1);
        let index: usize = index.and_then(|text| text.parse().ok()).unwrap_or(0);
        let account = config.accounts.get(index);
        let derived = match plain.as_str() {
            "threads" => Some(json!(config.threads)),
            "limits.max_connections_per_address" => {
                Some(json!(config.limits.max_connections_per_address))
            }
            "cache.max_entry_bytes" => config
                .cache
                .as_ref()
                .map(|cache| json!(cache.max_entry_bytes)),
            "accounts.region" => account.and_then(|account| Some(json!(account.region.as_ref()?))),
            "accounts.quota_api" => account.map(|account| json!(account.quota_api)),
            "keys.tenant" => config.keys.get(index).map(|key| json!(&*key.owner.tenant)),
            "telemetry" => {
                if let Some(telemetry) = &config.telemetry {
                    let variable = "OTEL_EXPORTER_OTLP_ENDPOINT".to_owned();
                    let value = json!({ "otlp": telemetry.endpoint });
                    return (Some(value), Source::Variable(variable));
                }
                None
            }
            _ => None,
        };
        (derived.or_else(|| setting.default.clone()), Source::Default)
    }
}

/// A TOML value as JSON, without what is secret in it.
fn plain(value: &DeValue<'_>, is_secret: bool) -> Value {
    match value {
        DeValue::String(text) if is_secret && !is_reference(text) => json!(MASK),
        DeValue::String(text) => json!(text),
        DeValue::Integer(number) => {
            let parsed = i64::from_str_radix(number.as_str(), number.radix());
            parsed.map_or_else(|_| json!(number.to_string()), Value::from)
        }
        DeValue::Float(number) => match number.as_str().parse::<f64>() {
            Ok(number) => json!(number),
            Err(_) => json!(number.as_str()),
        },
        DeValue::Boolean(is) => json!(is),
        DeValue::Datetime(moment) => json!(moment.to_string()),
        DeValue::Array(items) => items
            .iter()
            .map(|item| plain(item.get_ref(), is_secret))
            .collect(),
        DeValue::Table(table) => {
            let entries = table.iter();
            let entries: Map<String, Value> = entries
                .map(|(key, value)| {
                    let value = plain(value.get_ref(), is_secret);
                    (key.get_ref().to_string(), value)
                })
                .collect();
            Value::Object(entries)
        }
    }
}
