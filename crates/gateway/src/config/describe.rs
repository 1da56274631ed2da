//! Settings in words: for `explain`, and for the reference.

use serde_json::Value;

use super::schema::{self, Setting, Shape};
use super::unknown::{joined, suggestion};
use super::{lines, overlay};
use crate::reload;

/// What there is to know of a setting.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SettingInfo {
    /// Where it stands, such as `limits.max_body_bytes` or `accounts.region`.
    pub path: String,
    /// What it holds, in words: `whole number`, `duration`, `one of …`.
    pub kind: String,
    /// What holds where it is left out, as TOML or in words; `None` where nothing does.
    pub default: Option<String>,
    /// What a number counts, such as `bytes`.
    pub unit: Option<String>,
    /// The least and the greatest value, as far as there are such.
    pub bounds: (Option<Value>, Option<Value>),
    /// What it does.
    pub description: String,
    /// Values that it could have.
    pub examples: Vec<Value>,
    /// Whether its values are never shown.
    pub is_secret: bool,
    /// Whether its table has to have it.
    pub is_required: bool,
    /// Whether a change takes effect at the next start only, and not when the file is loaded again.
    pub at_next_start: bool,
    /// The environment variable that goes before the file; entries of lists by their number.
    pub variable: String,
}

/// What there is to know of a setting, such as `limits.max_body_bytes`, `accounts.region` or
/// `accounts[0].region`.
///
/// # Errors
///
/// When there is no such setting; the text says which may have been meant.
pub fn setting_info(path: &str) -> Result<SettingInfo, String> {
    let root = schema::settings();
    let path = without_numbers(path);
    find(&root, &path, "", &root).map(|(setting, place)| info(setting, &place))
}

/// `accounts[0].limits[1].model` without the numbers of entries.
pub(super) fn without_numbers(path: &str) -> String {
    let mut plain = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('[') {
        plain.push_str(before);
        rest = match lines::split_index(&rest[before.len()..]) {
            Some((_, behind)) => behind,
            None => after,
        };
    }
    plain.push_str(rest);
    plain
}

/// Goes down a path without numbers; also gives the path with `[0]` for every list.
fn find<'a>(
    setting: &'a Setting,
    path: &str,
    place: &str,
    root: &Setting,
) -> Result<(&'a Setting, String), String> {
    if path.is_empty() {
        return Ok((setting, place.to_owned()));
    }
    match &setting.shape {
        Shape::Table(settings) => {
            let (name, rest) = path.split_once('.').unwrap_or((path, ""));
            match settings.iter().find(|setting| setting.name == name) {
                Some(setting) => find(setting, rest, &joined(place, name), root),
                None => {
                    let hint = suggestion(name, settings, root);
                    let place = joined(&without_numbers(place), name);
                    Err(format!("there is no setting `{place}`{hint}"))
                }
            }
        }
        Shape::List(item) | Shape::OneOrMany(item) => {
            find(item, path, &format!("{place}[0]"), root)
        }
        // The name is the operator's own.
        Shape::Map(item) => Ok((item, joined(place, path))),
        Shape::Plain(_) => Err(format!("`{place}` has no settings of its own")),
    }
}

/// What there is to know of the setting at a place, which may have numbers.
pub(super) fn info(setting: &Setting, place: &str) -> SettingInfo {
    SettingInfo {
        path: without_numbers(place),
        kind: kind(setting),
        default: default(setting),
        unit: setting.unit.clone().filter(|unit| unit != "duration"),
        bounds: (setting.minimum.clone(), setting.maximum.clone()),
        description: setting.description.clone(),
        examples: setting.examples.clone(),
        is_secret: is_secret(setting),
        is_required: setting.is_required,
        at_next_start: reload::is_fixed(&without_numbers(place)),
        variable: overlay::variable(place),
    }
}

fn is_secret(setting: &Setting) -> bool {
    match &setting.shape {
        Shape::List(item) => item.is_secret,
        _ => setting.is_secret,
    }
}

fn default(setting: &Setting) -> Option<String> {
    if let Some(note) = &setting.default_note {
        return Some(note.clone());
    }
    match setting.default.as_ref()? {
        Value::Object(_) => None,
        Value::Array(items) if items.is_empty() => Some("none".to_owned()),
        // A number is written as in TOML, text in quotes.
        value => Some(format!("`{value}`")),
    }
}

/// What a setting holds, in words.
pub(super) fn kind(setting: &Setting) -> String {
    let words = |words: &[String]| {
        let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
        words.join(", ")
    };
    match &setting.shape {
        Shape::Table(_) => "table".to_owned(),
        Shape::OneOrMany(_) => "table, or several".to_owned(),
        Shape::Map(_) => "table of texts".to_owned(),
        Shape::List(item) => match &item.shape {
            Shape::Table(_) => "list of tables".to_owned(),
            _ if !item.words.is_empty() => format!("list of {}", words(&item.words)),
            _ if item.is_secret => "list of secrets".to_owned(),
            _ => "list of texts".to_owned(),
        },
        Shape::Plain(_) if !setting.words.is_empty() => words(&setting.words),
        Shape::Plain(_) if setting.unit.as_deref() == Some("duration") => "duration".to_owned(),
        Shape::Plain(_) if setting.is_secret => "secret".to_owned(),
        Shape::Plain(types) => {
            let names = types.iter().map(|kind| match kind.as_str() {
                "integer" => "whole number",
                "number" => "number",
                "boolean" => "`true` or `false`",
                _ => "text",
            });
            names.collect::<Vec<_>>().join(" or ")
        }
    }
}
