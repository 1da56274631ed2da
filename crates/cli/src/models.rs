//! `bailian models`: the catalogue as a table.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;

use bailian_wire::catalog::{Catalog, Model, Status, Thinking};
use serde_json::json;

use crate::failure::{self, Failure};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Shows models whose id contains this.
    filter: Option<String>,
    /// Shows models that are offered in this region, such as cn-beijing or ap-southeast-1.
    #[arg(long)]
    region: Option<String>,
    /// Shows models that were taken away, too.
    #[arg(long)]
    all: bool,
    /// Prints one JSON array.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let models: Vec<&Model> = Catalog::embedded()
        .models()
        .filter(|model| arguments.wants(model))
        .collect();
    if models.is_empty() {
        eprintln!("no model fits; `bailian models` without a filter lists all");
    }
    let text = if arguments.json {
        let models: Vec<_> = models.into_iter().map(object).collect();
        format!("{}\n", serde_json::Value::from(models))
    } else {
        table(&models)
    };
    failure::written(std::io::stdout().write_all(text.as_bytes()))
}

impl Arguments {
    fn wants(&self, model: &Model) -> bool {
        let named = self.filter.as_ref().is_none_or(|filter| {
            model
                .id
                .to_ascii_lowercase()
                .contains(&filter.to_ascii_lowercase())
        });
        let there = self
            .region
            .as_ref()
            .is_none_or(|region| model.is_in_region(region));
        named && there && (self.all || !model.is_retired())
    }
}

fn table(models: &[&Model]) -> String {
    let rows: Vec<[String; 6]> = models.iter().map(|model| row(model)).collect();
    let head = [
        "MODEL",
        "KIND",
        "CONTEXT",
        "OUTPUT",
        "THINKING",
        "ABILITIES",
    ]
    .map(str::to_owned);
    let mut widths = [0; 6];
    for row in rows.iter().chain([&head]) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for [id, kind, context, output, thinking, abilities] in [head].into_iter().chain(rows) {
        let line = format!(
            "{id:0$}  {kind:1$}  {context:>2$}  {output:>3$}  {thinking:4$}  {abilities}",
            widths[0], widths[1], widths[2], widths[3], widths[4]
        );
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

fn row(model: &Model) -> [String; 6] {
    let tokens =
        |count: Option<u64>| count.map_or_else(|| "-".to_owned(), |count| count.to_string());
    let mut abilities = abilities(model);
    if model.is_retired() {
        abilities.push("retired");
    }
    [
        model.id.clone(),
        model.category.clone(),
        tokens(model.context_window),
        tokens(model.max_output),
        thinking(model).to_owned(),
        abilities.join(" "),
    ]
}

fn thinking(model: &Model) -> &'static str {
    match model.thinking {
        Thinking::None => "no",
        Thinking::Hybrid if model.thinks_by_default() => "on",
        Thinking::Hybrid => "off",
        Thinking::Only => "always",
        _ => "-",
    }
}

fn abilities(model: &Model) -> Vec<&'static str> {
    let features = &model.features;
    [
        (features.tools, "tools"),
        (features.json_object, "json"),
        (features.json_schema, "schema"),
        (features.search, "search"),
        (features.vision, "vision"),
        (features.stream_only, "stream-only"),
    ]
    .into_iter()
    .filter_map(|(has, name)| (has == Some(true)).then_some(name))
    .collect()
}

fn object(model: &Model) -> serde_json::Value {
    // A region stands there once for each scope.
    let regions: BTreeSet<&str> = model
        .regions
        .iter()
        .map(|place| place.region.as_str())
        .collect();
    json!({
        "id": model.id,
        "category": model.category,
        "aliases": model.aliases,
        "status": match model.status {
            Status::Active => "active",
            Status::Preview => "preview",
            Status::Retired => "retired",
            Status::Unlisted => "unlisted",
            _ => "unknown",
        },
        "modality_in": model.modality_in,
        "modality_out": model.modality_out,
        "context_window": model.context_window,
        "max_input": model.max_input,
        "max_output": model.max_output,
        "max_thinking": model.max_thinking,
        "thinking": thinking(model),
        "abilities": abilities(model),
        "regions": regions,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_columns_of_the_table_stand_under_each_other() {
        let models: Vec<&Model> = Catalog::embedded().models().take(40).collect();
        let text = table(&models);
        let mut lines = text.lines();
        let kind = lines.next().unwrap().find("KIND").unwrap();
        assert_eq!(text.lines().count(), models.len() + 1);
        for line in lines {
            assert_eq!(line.chars().nth(kind - 1), Some(' '), "{line}");
        }
    }
}
