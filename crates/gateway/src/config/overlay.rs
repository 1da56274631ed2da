//! Environment variables over the file: `BAILIAN__LIMITS__MAX_BODY_BYTES=1000000`.
//!
//! Two underscores stand between levels, and case does not matter. A list's entries are reached by
//! their number, from 0, or by their name. A value is TOML where the setting is no text, and text as it
//! is where it is one.

use std::borrow::Cow;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::Problem;
use super::document::Document;
use super::schema::{self, Setting, Shape};
use super::secret::Environment;
use super::unknown::{joined, suggestion};

/// What the names of these variables begin with.
const PREFIX: &str = "BAILIAN__";

/// A variable and its value; `None` where that is not Unicode.
pub(super) type Variable = (String, Option<String>);

/// The variables that say settings, in the order in which they are laid over the file: a table comes
/// before what is in it, the second entry of a list after the first.
pub(super) fn variables(environment: &dyn Environment) -> Vec<Variable> {
    let mut variables = environment.variables(PREFIX);
    variables.sort_by_cached_key(|(name, _)| order(name));
    variables
}

/// Lays every variable over the document; what is wrong with some.
pub(super) fn lay<'a>(document: &mut Document<'a>, variables: &'a [Variable]) -> Vec<Problem> {
    let mut problems = Vec::new();
    if variables.is_empty() {
        return problems;
    }
    let root = schema::settings();
    for (name, value) in variables {
        // As with all variables, empty counts as not set.
        if value.as_ref().is_some_and(|value| value.trim().is_empty()) {
            continue;
        }
        let before = document.table.clone();
        let laid = match value {
            Some(value) => lay_one(document, &root, name, value.trim()),
            None => Err("is not Unicode".to_owned()),
        };
        match laid {
            Ok(path) => {
                // What stood below it stands there no longer.
                let is_below = |other: &str| {
                    let rest = other.strip_prefix(&*path);
                    rest.is_some_and(|rest| rest.starts_with(['.', '[']))
                };
                document.variables.retain(|other, _| !is_below(other));
                if let Some(other) = document.variables.insert(path, name.clone())
                    && other.get(..PREFIX.len()).is_some_and(is_prefix)
                {
                    let problem = format!("says what {other} says already");
                    problems.push(Problem::of_variable(name.as_str(), problem));
                }
            }
            Err(problem) => {
                // No half of it stays.
                document.table = before;
                problems.push(Problem::of_variable(name.as_str(), problem));
            }
        }
    }
    problems
}

/// Whether a variable's name begins so that it is one of these.
fn is_prefix(text: &str) -> bool {
    text.eq_ignore_ascii_case(PREFIX)
}

/// The variable that says a setting.
pub(super) fn variable(path: &str) -> String {
    let path = path.replace(['.', '['], "__").replace(']', "");
    format!("{PREFIX}{}", path.to_ascii_uppercase())
}

fn order(name: &str) -> Vec<(Option<usize>, String)> {
    let segments = name.split("__");
    segments
        .map(|segment| (segment.parse().ok(), segment.to_ascii_lowercase()))
        .collect()
}

/// Lays one variable over the document; the path of its setting.
fn lay_one<'a>(
    document: &mut Document<'a>,
    root: &Setting,
    name: &str,
    value: &'a str,
) -> Result<String, String> {
    let rest = name.get(PREFIX.len()..).unwrap_or_default();
    let segments: Vec<&str> = rest.split("__").collect();
    let Shape::Table(settings) = &root.shape else {
        return Ok(String::new());
    };
    let cursor = Cursor { root, value };
    cursor.in_table(&mut document.table, settings, &segments, "")
}

/// What is being said.
struct Cursor<'s, 'a> {
    root: &'s Setting,
    value: &'a str,
}

impl<'a> Cursor<'_, 'a> {
    fn in_table(
        &self,
        table: &mut DeTable<'a>,
        settings: &[Setting],
        segments: &[&str],
        path: &str,
    ) -> Result<String, String> {
        let Some((first, rest)) = segments.split_first() else {
            return Ok(path.to_owned());
        };
        let name = first.to_ascii_lowercase();
        let Some(setting) = settings.iter().find(|setting| setting.name == name) else {
            let hint = suggestion(&name, settings, self.root);
            let place = joined(path, &name);
            return Err(format!("there is no setting `{place}`{hint}"));
        };
        self.in_entry(table, &name, setting, rest, path)
    }

    /// Goes on below an entry of a table, which is made where there is none.
    fn in_entry(
        &self,
        table: &mut DeTable<'a>,
        name: &str,
        setting: &Setting,
        rest: &[&str],
        path: &str,
    ) -> Result<String, String> {
        let path = joined(path, name);
        if !table.contains_key(name) {
            let empty = empty(setting, rest.first().copied());
            table.insert(spanned(Cow::Owned(name.to_owned())), spanned(empty));
        }
        match table.get_mut(name) {
            Some(value) => self.set(value.get_mut(), setting, rest, &path),
            None => Ok(path),
        }
    }

    fn set(
        &self,
        value: &mut DeValue<'a>,
        setting: &Setting,
        segments: &[&str],
        path: &str,
    ) -> Result<String, String> {
        let Some((first, rest)) = segments.split_first() else {
            *value = parse(self.value, setting);
            return Ok(path.to_owned());
        };
        match (&setting.shape, value) {
            (Shape::Table(settings), DeValue::Table(table)) => {
                self.in_table(table, settings, segments, path)
            }
            (Shape::Map(item), DeValue::Table(table)) => {
                let same = |key: &&str| key.eq_ignore_ascii_case(first);
                let there = table.keys().map(|key| key.get_ref().as_ref()).find(same);
                let name = there.unwrap_or(first).to_owned();
                self.in_entry(table, &name, item, rest, path)
            }
            (Shape::List(item) | Shape::OneOrMany(item), DeValue::Array(items)) => {
                let index = index_of(first, items, path)?;
                if index == items.len() {
                    items.push(spanned(empty(item, rest.first().copied())));
                }
                let path = format!("{path}[{index}]");
                match items.get_mut(index) {
                    Some(value) => self.set(value.get_mut(), item, rest, &path),
                    None => Ok(path),
                }
            }
            // The one table that may stand for a list of one.
            (Shape::OneOrMany(item), value @ DeValue::Table(_)) => {
                let segments = if *first == "0" { rest } else { segments };
                self.set(value, item, segments, path)
            }
            (Shape::Plain(_), _) => Err(format!("`{path}` has no settings of its own")),
            _ => Err(format!("`{path}` has another form in the file")),
        }
    }
}

/// What a variable makes its own part of.
fn empty<'a>(setting: &Setting, next: Option<&str>) -> DeValue<'a> {
    match &setting.shape {
        Shape::List(_) => DeValue::Array(DeArray::new()),
        Shape::OneOrMany(_) if next.is_some_and(|next| next.parse::<usize>().is_ok()) => {
            DeValue::Array(DeArray::new())
        }
        Shape::Table(_) | Shape::Map(_) | Shape::OneOrMany(_) => DeValue::Table(DeTable::new()),
        Shape::Plain(_) => DeValue::String(Cow::Borrowed("")),
    }
}

/// The number of a list's entry: as it is given, one more than there are, or that of the entry with
/// this name.
fn index_of(segment: &str, items: &DeArray<'_>, path: &str) -> Result<usize, String> {
    if let Ok(index) = segment.parse::<usize>() {
        return if index <= items.len() {
            Ok(index)
        } else {
            let count = items.len();
            Err(format!(
                "`{path}` has {count} entries before this one: the next has the number {count}"
            ))
        };
    }
    // Names of variables have neither dashes nor dots.
    let plain = |name: &str| -> String {
        let plain = |c: char| if c.is_alphanumeric() { c } else { '_' };
        name.to_lowercase().chars().map(plain).collect()
    };
    let is_named = |item: &Spanned<DeValue<'_>>| {
        let DeValue::Table(table) = item.get_ref() else {
            return false;
        };
        let name = table.get("name").or_else(|| table.get("model"));
        let name = name.and_then(|name| name.get_ref().as_str());
        name.is_some_and(|name| plain(name) == plain(segment))
    };
    let mut found = items.iter().enumerate().filter(|(_, item)| is_named(item));
    match (found.next(), found.next()) {
        (Some((index, _)), None) => Ok(index),
        (Some(_), Some(_)) => Err(format!(
            "several entries of `{path}` are called so; write a number"
        )),
        (None, _) => {
            let name = segment.to_ascii_lowercase();
            Err(format!(
                "`{path}` has no entry called `{name}`; write its name, or its number from 0"
            ))
        }
    }
}

/// What a variable says. A text needs no quotes; all else is TOML, and text where it is none.
fn parse<'a>(text: &'a str, setting: &Setting) -> DeValue<'a> {
    let is_text =
        matches!(&setting.shape, Shape::Plain(types) if types.iter().all(|it| it == "string"));
    match DeValue::parse(text).map(Spanned::into_inner) {
        Ok(value) if !is_text || matches!(value, DeValue::String(_)) => value,
        _ => DeValue::String(Cow::Borrowed(text)),
    }
}

fn spanned<T>(value: T) -> Spanned<T> {
    Spanned::new(0..0, value)
}
