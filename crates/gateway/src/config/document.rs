//! The configuration as it is written: the file's TOML, with environment variables laid over it.

use std::collections::BTreeMap;

use serde_path_to_error::Segment;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::file::ConfigFile;
use super::secret::Environment;
use super::{Config, ConfigError, Problem, lines, overlay, schema, unknown};

/// More problems than this are of one cause.
const MAX_PROBLEMS: usize = 100;

/// What was written, and where each part of it stands.
#[derive(Debug)]
pub(super) struct Document<'a> {
    /// What errors call the file.
    name: String,
    text: &'a str,
    pub(super) table: DeTable<'a>,
    /// The variables behind what does not stand in the text, by the setting's path.
    pub(super) variables: BTreeMap<String, String>,
    /// What is wrong with variables that were to be laid over it.
    problems: Vec<Problem>,
}

/// Where a setting stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// On a line of the file, from 1.
    Line(usize),
    /// In a variable of this name.
    Variable(String),
}

impl<'a> Document<'a> {
    /// Reads TOML; `name` stands for it in errors.
    pub(super) fn parse(text: &'a str, name: &str) -> Result<Self, ConfigError> {
        let table = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
            place: name.to_owned(),
            // The error's own text quotes the line, and a line may hold a secret.
            problem: error.message().to_owned(),
            line: error.span().map(|span| lines::line_at(text, span.start)),
        })?;
        Ok(Self {
            name: name.to_owned(),
            text,
            table: table.into_inner(),
            variables: BTreeMap::new(),
            problems: Vec::new(),
        })
    }

    /// A document that no file stands behind.
    pub(super) fn of_variables(table: DeTable<'a>, variables: BTreeMap<String, String>) -> Self {
        Self {
            name: "the environment".to_owned(),
            text: "",
            table,
            variables,
            problems: Vec::new(),
        }
    }

    /// Lays what the environment says over the file. What is wrong with it is said by
    /// [`config`](Self::config), together with all else.
    pub(super) fn overlay(&mut self, variables: &'a [overlay::Variable]) {
        self.problems = overlay::lay(self, variables);
    }

    /// Checks it all.
    pub(super) fn config(&self, environment: &dyn Environment) -> Result<Config, ConfigError> {
        let resolved = match form(self.table.clone()) {
            Ok(file) => file.resolve(environment),
            Err(_) => Err(self.wrong_form()),
        };
        let mut problems = self.problems.clone();
        match resolved {
            Ok(config) if problems.is_empty() => return Ok(config),
            Ok(_) => {}
            Err(more) => problems.extend(self.located(more)),
        }
        Err(ConfigError::Invalid(problems))
    }

    /// Where a setting stands, or what is nearest above it.
    pub(super) fn place(&self, path: &str) -> Option<Place> {
        let variable = |path: &str| self.variables.get(path).cloned().map(Place::Variable);
        variable(path)
            .or_else(|| prefixes(path).find_map(variable))
            .or_else(|| {
                let offset = lines::offset_of(&self.table, path)?;
                (!self.text.is_empty()).then(|| Place::Line(lines::line_at(self.text, offset)))
            })
    }

    /// A variable that says an entry of a list.
    pub(super) fn variable_in(&self, path: &str) -> Option<String> {
        let mut variables = self.variables.iter();
        let found = variables.find(|(place, _)| {
            let rest = place.strip_prefix(path);
            rest.is_some_and(|rest| rest.starts_with('['))
        });
        found.map(|(_, name)| name.clone())
    }

    /// Every setting that there is not, and every value that has not the setting's form.
    fn wrong_form(&self) -> Vec<Problem> {
        let mut table = self.table.clone();
        let mut problems = unknown::take(&mut table, &schema::settings());
        let mut taken: Vec<String> = Vec::new();
        while problems.len() < MAX_PROBLEMS {
            let Err(error) = form(table.clone()) else {
                break;
            };
            let path = error.path().to_string();
            let message = error.inner().message();
            if let Some(name) = missing(message)
                && taken.contains(&format!("{path}.{name}"))
            {
                break;
            }
            let at = if path == "." { &self.name } else { &path };
            problems.push(Problem::new(at, said(message)));
            let steps: Vec<&Segment> = error.path().iter().collect();
            if !take(&mut table, &steps) {
                break;
            }
            taken.push(path);
        }
        problems
    }

    /// Gives every problem its line, or the name of its variable.
    fn located(&self, mut problems: Vec<Problem>) -> Vec<Problem> {
        for problem in &mut problems {
            match self.place(&problem.place) {
                Some(Place::Line(line)) => problem.line = Some(line),
                Some(Place::Variable(name)) => {
                    problem.of_variable = true;
                    let is_whole = self.variables.contains_key(&problem.place);
                    problem.place = if is_whole {
                        name
                    } else {
                        format!("{name} ({})", problem.place)
                    };
                }
                None => {}
            }
        }
        problems
    }
}

/// What a path such as `a.b[0].c` is inside of, from the nearest.
fn prefixes(path: &str) -> impl Iterator<Item = &str> {
    let ends = path.rmatch_indices(['.', '[']);
    ends.map(|(end, _)| &path[..end])
}

type FormError = serde_path_to_error::Error<toml::de::Error>;

fn form(table: DeTable<'_>) -> Result<ConfigFile, FormError> {
    let document = toml::Deserializer::from(Spanned::new(0..0, table));
    serde_path_to_error::deserialize(document)
}

/// Takes a value out, so that what else is wrong comes to light. `false` where that would make
/// something of what is left.
fn take(table: &mut DeTable<'_>, steps: &[&Segment]) -> bool {
    match steps {
        [Segment::Map { key }] => table.remove(key.as_str()).is_some(),
        // One of several plain values goes with the others.
        [Segment::Map { key }, Segment::Seq { index }] => {
            let items = table
                .get(key.as_str())
                .and_then(|it| it.get_ref().as_array());
            let item = items.and_then(|items| items.get(*index));
            let is_plain = item.is_some_and(|item| {
                !matches!(item.get_ref(), DeValue::Table(_) | DeValue::Array(_))
            });
            is_plain && table.remove(key.as_str()).is_some()
        }
        [Segment::Map { key }, Segment::Seq { index }, rest @ ..] => {
            let value = table.get_mut(key.as_str()).map(Spanned::get_mut);
            let Some(DeValue::Array(items)) = value else {
                return false;
            };
            let item = items.get_mut(*index).map(Spanned::get_mut);
            match item {
                Some(DeValue::Table(inner)) => take(inner, rest),
                _ => false,
            }
        }
        [Segment::Map { key }, rest @ ..] => {
            match table.get_mut(key.as_str()).map(Spanned::get_mut) {
                Some(DeValue::Table(inner)) => take(inner, rest),
                _ => false,
            }
        }
        _ => false,
    }
}

fn missing(message: &str) -> Option<&str> {
    message.strip_prefix("missing field `")?.strip_suffix('`')
}

/// An error of the form in words about the setting. The value is left out: it may be a secret.
fn said(message: &str) -> String {
    if let Some(name) = missing(message) {
        return format!("lacks `{name}`");
    }
    let parts = |kind: &str| {
        let rest = message.strip_prefix(kind)?;
        let (found, expected) = rest.rsplit_once(", expected ")?;
        Some((found.split([' ', '"', '`']).next()?, expected))
    };
    if let Some((found, expected)) = parts("invalid type: ") {
        let found = match found {
            "string" => "text",
            "integer" => "a whole number",
            "floating" => "a number",
            "boolean" => "true or false",
            "sequence" => "a list",
            "map" => "a table",
            _ => "something else",
        };
        return format!("is {found}, not {}", expectation(expected));
    }
    if let Some((_, expected)) = parts("invalid value: ") {
        return format!("is not {}", expectation(expected));
    }
    message.to_owned()
}

fn expectation(expected: &str) -> &str {
    match expected {
        "a string" | "path string" => "text in quotes",
        "usize" | "u64" | "u32" => "a whole number from 0",
        "f64" => "a number",
        "a boolean" => "true or false",
        "a sequence" => "a list, such as [\"…\"]",
        "a map" => "a table",
        other if other.starts_with("struct ") => "a table",
        other => other,
    }
}
