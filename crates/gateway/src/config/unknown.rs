//! Settings that there are not, and which was meant.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Problem;
use super::schema::{Setting, Shape};

/// How alike two names have to be for one to be taken for the other.
const ALIKE: f64 = 0.75;

/// So many other places of a name are worth telling.
const MAX_ELSEWHERE: usize = 2;

/// Takes every unknown setting out of a table, and names it.
pub(super) fn take(table: &mut DeTable<'_>, root: &Setting) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let Shape::Table(settings) = &root.shape {
        of_table(table, settings, "", root, &mut problems);
    }
    problems
}

fn of_table(
    table: &mut DeTable<'_>,
    settings: &[Setting],
    path: &str,
    root: &Setting,
    problems: &mut Vec<Problem>,
) {
    let mut names = Vec::new();
    for (key, value) in table.iter_mut() {
        let name = key.get_ref().as_ref();
        let path = joined(path, name);
        match settings.iter().find(|setting| setting.name == name) {
            Some(setting) => of_value(value.get_mut(), setting, &path, root, problems),
            None => {
                let hint = suggestion(name, settings, root);
                problems.push(Problem::new(
                    path,
                    format!("there is no such setting{hint}"),
                ));
                names.push(name.to_owned());
            }
        }
    }
    for name in names {
        table.remove(name.as_str());
    }
}

fn of_value(
    value: &mut DeValue<'_>,
    setting: &Setting,
    path: &str,
    root: &Setting,
    problems: &mut Vec<Problem>,
) {
    match (&setting.shape, value) {
        (Shape::Table(settings), DeValue::Table(table)) => {
            of_table(table, settings, path, root, problems);
        }
        (Shape::List(item) | Shape::OneOrMany(item), DeValue::Array(values)) => {
            for (index, value) in values.iter_mut().map(Spanned::get_mut).enumerate() {
                of_value(value, item, &format!("{path}[{index}]"), root, problems);
            }
        }
        (Shape::OneOrMany(item), value) => of_value(value, item, path, root, problems),
        (Shape::Map(item), DeValue::Table(table)) => {
            for (key, value) in table.iter_mut() {
                let path = joined(path, key.get_ref());
                of_value(value.get_mut(), item, &path, root, problems);
            }
        }
        _ => {}
    }
}

/// `; did you mean …`, or which settings there are.
pub(super) fn suggestion(name: &str, settings: &[Setting], root: &Setting) -> String {
    let alike = settings
        .iter()
        .map(|setting| (strsim::jaro_winkler(&setting.name, name), setting))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|(one, _), (other, _)| one.total_cmp(other));
    if let Some((likeness, setting)) = alike {
        // A name of the same letters in another table may have been meant all the same.
        if likeness > 0.85 {
            return format!("; did you mean `{}`?", setting.name);
        }
    }
    let elsewhere = same_name(name, "", root);
    if (1..=MAX_ELSEWHERE).contains(&elsewhere.len()) {
        let places = elsewhere.join("` or `");
        return format!("; did you mean `{places}`, in another table?");
    }
    if let Some((_, setting)) = alike {
        return format!("; did you mean `{}`?", setting.name);
    }
    let names: Vec<&str> = settings.iter().map(|setting| &*setting.name).collect();
    format!("; there are {}", names.join(", "))
}

/// The paths of all settings of that name.
fn same_name(name: &str, path: &str, setting: &Setting) -> Vec<String> {
    match &setting.shape {
        Shape::Table(settings) => settings
            .iter()
            .flat_map(|setting| {
                let path = joined(path, &setting.name);
                let mut found = same_name(name, &path, setting);
                if setting.name == name {
                    found.insert(0, path);
                }
                found
            })
            .collect(),
        Shape::List(item) | Shape::OneOrMany(item) => same_name(name, path, item),
        Shape::Map(_) | Shape::Plain(_) => Vec::new(),
    }
}

/// The path of a setting in a table.
pub(super) fn joined(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}
