//! Collects the raw text of every setting from the layers, strongest first.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::environment::Environment;
use super::problem::{ConfigProblem, Source};
use super::variables::{KEY_FILE_VARIABLE, Setting, VARIABLES};

/// The raw text of one setting. No `Debug`: it may be a key.
#[derive(Clone)]
pub(crate) struct Raw {
    pub(crate) text: String,
    pub(crate) source: Source,
}

/// What was found in all layers, and what was wrong with the layers themselves.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) values: BTreeMap<Setting, Raw>,
    pub(crate) problems: Vec<ConfigProblem>,
    pub(crate) warnings: Vec<String>,
}

/// Which files to look into.
#[derive(Debug, Clone, Default)]
pub(crate) struct Files {
    /// A `.env` file; missing is fine.
    pub(crate) dotenv: Option<PathBuf>,
    /// `~/.dashscope`, for the configuration file and the key file; missing is fine.
    pub(crate) home: Option<PathBuf>,
}

// === impl Found ===

impl Found {
    /// Takes a value unless a stronger layer has one. Blank text counts as not set.
    fn offer(&mut self, setting: Setting, text: String, source: Source) {
        if !text.trim().is_empty() {
            self.values.entry(setting).or_insert(Raw { text, source });
        }
    }

    pub(crate) fn add_arguments(&mut self, arguments: &BTreeMap<Setting, String>) {
        for (setting, text) in arguments {
            let source = Source::Argument(setting.variable().key);
            self.offer(*setting, text.clone(), source);
        }
    }

    pub(crate) fn add_environment(&mut self, environment: &dyn Environment) {
        for variable in VARIABLES {
            for name in std::iter::once(&variable.name).chain(variable.aliases) {
                let Some(value) = environment.var(name) else {
                    continue;
                };
                if let Ok(text) = value.into_string() {
                    self.offer(variable.setting, text, Source::Environment(name));
                } else {
                    self.problems.push(ConfigProblem::new(
                        Some(Source::Environment(name)),
                        "is not valid UTF-8",
                        "set it again",
                    ));
                }
            }
        }
    }

    /// Adds a `.env` file. Returns the key file it names, if any.
    pub(crate) fn add_dotenv(&mut self, path: &Path) -> Option<String> {
        let text = self.read(path)?;
        let mut values = BTreeMap::new();
        for item in dotenvy::from_read_iter(text.as_bytes()) {
            match item {
                Ok((name, value)) => {
                    values.insert(name, value);
                }
                // The error's own text repeats the line, which may hold the key.
                Err(dotenvy::Error::LineParse(line, _)) => {
                    let number = text.lines().position(|candidate| candidate == line);
                    let place =
                        number.map_or_else(String::new, |index| format!(" in line {}", index + 1));
                    self.problems.push(ConfigProblem::new(
                        None,
                        format!("{} cannot be read{place}", path.display()),
                        "write NAME=value, with quotes around values that contain spaces",
                    ));
                }
                Err(_) => self.problems.push(ConfigProblem::new(
                    None,
                    format!("{} cannot be read", path.display()),
                    "write one NAME=value per line",
                )),
            }
        }
        for variable in VARIABLES {
            for name in std::iter::once(&variable.name).chain(variable.aliases) {
                if let Some(text) = values.get(*name) {
                    let source = Source::DotEnv(name, path.to_owned());
                    self.offer(variable.setting, text.clone(), source);
                }
            }
        }
        values.remove(KEY_FILE_VARIABLE)
    }

    /// Adds `config.toml`. Keys that are not ours are warned about, not refused: other tools of
    /// the service use the same file.
    pub(crate) fn add_config_file(&mut self, path: &Path) {
        let Some(text) = self.read(path) else { return };
        let table = match text.parse::<toml::Table>() {
            Ok(table) => table,
            Err(error) => {
                // Its Display quotes the offending line, which may hold the key.
                let line = error.span().map_or(1, |span| {
                    text.as_bytes()
                        .iter()
                        .take(span.start)
                        .filter(|byte| **byte == b'\n')
                        .count()
                        + 1
                });
                self.problems.push(ConfigProblem::new(
                    None,
                    format!("{} is not valid TOML (line {line})", path.display()),
                    "write key = \"value\" lines",
                ));
                return;
            }
        };
        for (key, value) in table {
            let Some(setting) = Setting::by_key(&key) else {
                self.warnings.push(format!(
                    "{} has the unknown key {key:?}, which is ignored",
                    path.display()
                ));
                continue;
            };
            let source = Source::ConfigFile(setting.variable().key, path.to_owned());
            match value {
                toml::Value::String(text) => self.offer(setting, text, source),
                toml::Value::Integer(number) => self.offer(setting, number.to_string(), source),
                toml::Value::Float(number) => self.offer(setting, number.to_string(), source),
                toml::Value::Boolean(flag) => self.offer(setting, flag.to_string(), source),
                toml::Value::Datetime(_) | toml::Value::Array(_) | toml::Value::Table(_) => {
                    self.problems.push(ConfigProblem::new(
                        Some(source),
                        "is not a text, number or boolean",
                        "write a single value",
                    ));
                }
            }
        }
    }

    /// Adds the file that holds only the key. `named` says that the user asked for this file.
    pub(crate) fn add_key_file(&mut self, path: &Path, named: bool) {
        if self.values.contains_key(&Setting::ApiKey) {
            return;
        }
        match std::fs::read_to_string(path) {
            Ok(text) => self.offer(Setting::ApiKey, text, Source::KeyFile(path.to_owned())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !named => {}
            Err(error) => self.problems.push(ConfigProblem::new(
                Some(Source::KeyFile(path.to_owned())),
                format!("cannot be read: {error}"),
                format!("correct {KEY_FILE_VARIABLE}, or set DASHSCOPE_API_KEY"),
            )),
        }
    }

    /// The text of an optional file; `None` if there is none, or with a problem noted.
    fn read(&mut self, path: &Path) -> Option<String> {
        match std::fs::read_to_string(path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => {
                self.problems.push(ConfigProblem::new(
                    None,
                    format!("{} cannot be read: {error}", path.display()),
                    "make it a readable UTF-8 text file, or remove it",
                ));
                None
            }
        }
    }
}

/// The user's home directory as the environment names it.
pub(crate) fn home_directory(environment: &dyn Environment) -> Option<PathBuf> {
    let named = environment
        .var("HOME")
        .or_else(|| environment.var("USERPROFILE"))?;
    (!named.is_empty()).then(|| PathBuf::from(named))
}

/// Replaces a leading `~/`, which only shells do for variables.
pub(crate) fn expand_home(path: &str, home: Option<&Path>) -> PathBuf {
    match (path.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(path),
    }
}
