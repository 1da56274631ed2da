//! `bailian config explain`: what holds, and why.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bailian_gateway::Config;
use bailian_gateway::config::{Explained, SettingInfo, Source, setting_info};
use serde_json::{Value, json};

use super::{refused, resolved};
use crate::failure::{Failure, written};
use crate::settings::Settings;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// One setting or table only, such as limits.max_body_bytes, accounts or accounts[0].region.
    setting: Option<String>,
    /// The file, in TOML; without one the environment alone, as for `serve`.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let asked = arguments.setting.as_deref().map(setting_info).transpose();
    let asked = asked.map_err(|problem| Failure::Usage(anyhow::Error::msg(problem)))?;
    let settings = Settings::read()?;
    let file = arguments.config.as_deref();
    let (config, mut explained) = Config::explain(file, &settings).map_err(|error| match file {
        Some(file) => refused(file, &error),
        None => Failure::usage(error),
    })?;
    if let Some(path) = &arguments.setting {
        explained.retain(|it| is_of(path, it));
    }
    let out = &mut io::stdout().lock();
    written(if arguments.json {
        print_json(out, &explained, file)
    } else if let Some(info) = asked {
        print_one(out, &info, &explained, file)
    } else {
        print_all(out, &explained, &config, file)
    })
}

/// Whether a setting is the one asked for, or in it; numbers of entries may be left out.
fn is_of(asked: &str, setting: &Explained) -> bool {
    let is_in = |path: &str| {
        let rest = path.strip_prefix(asked);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    is_in(&setting.path) || is_in(&setting.info.path)
}

fn print_all(
    out: &mut impl Write,
    explained: &[Explained],
    config: &Config,
    file: Option<&Path>,
) -> io::Result<()> {
    for it in explained {
        print_setting(out, it, file)?;
        writeln!(out, "    {}", it.info.description)?;
    }
    writeln!(out, "\naccounts and routes, as they are used")?;
    resolved(out, config)
}

fn print_one(
    out: &mut impl Write,
    info: &SettingInfo,
    explained: &[Explained],
    file: Option<&Path>,
) -> io::Result<()> {
    writeln!(out, "{}: {}", info.path, kind(info))?;
    writeln!(out, "  {}", info.description)?;
    if let Some(default) = &info.default {
        writeln!(out, "  default: {}", default.replace('`', ""))?;
    }
    if info.is_required {
        writeln!(out, "  needed")?;
    }
    for example in &info.examples {
        writeln!(out, "  example: {example}")?;
    }
    let when = if info.at_next_start {
        "at the next start"
    } else {
        "when the file is loaded again"
    };
    writeln!(out, "  takes effect {when}")?;
    writeln!(out, "  variable: {}", info.variable)?;
    for it in explained {
        print_setting(out, it, file)?;
    }
    Ok(())
}

fn kind(info: &SettingInfo) -> String {
    let mut kind = info.kind.replace('`', "");
    if let Some(unit) = &info.unit {
        kind = format!("{kind}, {unit}");
    }
    match &info.bounds {
        (Some(least), Some(most)) => format!("{kind}, {least} to {most}"),
        (Some(least), None) => format!("{kind}, {least} or more"),
        (None, Some(most)) => format!("{kind}, {most} at most"),
        (None, None) => kind,
    }
}

fn print_setting(out: &mut impl Write, it: &Explained, file: Option<&Path>) -> io::Result<()> {
    let value = match &it.value {
        Some(value) => format!(" = {value}"),
        None => ": not set".to_owned(),
    };
    writeln!(out, "{}{value}  ({})", it.path, source(&it.source, file))
}

fn source(source: &Source, file: Option<&Path>) -> String {
    match source {
        Source::File(line) => match file {
            Some(file) => format!("{}:{line}", file.display()),
            None => format!("line {line}"),
        },
        Source::Variable(name) => name.clone(),
        Source::Made => "made at the start".to_owned(),
        _ => "default".to_owned(),
    }
}

fn print_json(
    out: &mut impl Write,
    explained: &[Explained],
    file: Option<&Path>,
) -> io::Result<()> {
    let settings: Vec<Value> = explained
        .iter()
        .map(|it| {
            let source = match &it.source {
                Source::File(line) => {
                    let file = file.map(|file| file.display().to_string());
                    json!({ "kind": "file", "file": file, "line": line })
                }
                Source::Variable(name) => json!({ "kind": "variable", "name": name }),
                Source::Made => json!({ "kind": "made" }),
                _ => json!({ "kind": "default" }),
            };
            json!({
                "path": it.path,
                "value": it.value,
                "source": source,
                "description": it.info.description,
                "default": it.info.default.as_ref().map(|default| default.replace('`', "")),
                "unit": it.info.unit,
                "is_secret": it.info.is_secret,
                "takes_effect": if it.info.at_next_start { "start" } else { "reload" },
                "variable": it.info.variable,
            })
        })
        .collect();
    writeln!(out, "{:#}", json!({ "settings": settings }))
}
