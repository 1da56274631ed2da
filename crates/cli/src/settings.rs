//! Environment variables, with `.env` of the working directory beneath them.

use std::collections::HashMap;
use std::path::Path;

use anyhow::Context as _;
use bailian_gateway::config::Environment;

use crate::failure::Failure;

/// Variables of the process, and of `.env` where the process has none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    dotenv: HashMap<String, String>,
}

impl Settings {
    /// Reads `.env` in the working directory if there is one. The process's own environment is not
    /// changed.
    pub(crate) fn read() -> Result<Self, Failure> {
        Self::read_file(Path::new(".env")).map_err(Failure::Usage)
    }

    fn read_file(path: &Path) -> anyhow::Result<Self> {
        let mut dotenv = HashMap::new();
        let entries = match dotenvy::from_path_iter(path) {
            Ok(entries) => entries,
            Err(error) if error.not_found() => return Ok(Self::default()),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        for (index, entry) in entries.enumerate() {
            // The library's own error quotes the line, and a line may hold a key.
            let Ok((name, value)) = entry else {
                anyhow::bail!(
                    "entry {} of {} cannot be read; write NAME=value, with quotes around a value \
                     that has spaces",
                    index + 1,
                    path.display()
                );
            };
            dotenv.insert(name, value);
        }
        Ok(Self { dotenv })
    }

    /// The variable's value; one that is set but empty hides the file's.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        std::env::var(name)
            .ok()
            .or_else(|| self.dotenv.get(name).cloned())
    }
}

impl Environment for Settings {
    fn var(&self, name: &str) -> Option<String> {
        self.get(name)
    }

    fn variables(&self, prefix: &str) -> Vec<(String, Option<String>)> {
        let begins = |name: &str| {
            let beginning = name.get(..prefix.len());
            beginning.is_some_and(|beginning| beginning.eq_ignore_ascii_case(prefix))
        };
        let process: Vec<(String, Option<String>)> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok())))
            .filter(|(name, _)| begins(name))
            .collect();
        let beneath = self.dotenv.iter().filter(|(name, _)| {
            let is_same = |other: &(String, _)| other.0.eq_ignore_ascii_case(name);
            begins(name) && !process.iter().any(is_same)
        });
        let beneath: Vec<(String, Option<String>)> = beneath
            .map(|(name, value)| (name.clone(), Some(value.clone())))
            .collect();
        process.into_iter().chain(beneath).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> anyhow::Result<Settings> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        std::fs::write(&path, text).unwrap();
        Settings::read_file(&path)
    }

    #[test]
    fn the_environment_is_stronger_than_the_file() {
        let settings = file("PATH=from-the-file\nBAILIAN_TEST_ONLY=\"in the file\"\n").unwrap();
        assert_ne!(settings.get("PATH").as_deref(), Some("from-the-file"));
        assert_eq!(
            settings.get("BAILIAN_TEST_ONLY").as_deref(),
            Some("in the file")
        );
    }

    #[test]
    fn a_missing_file_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(
            Settings::read_file(&folder.path().join(".env"))
                .unwrap()
                .dotenv
                .is_empty()
        );
    }

    #[test]
    fn a_line_that_cannot_be_read_is_named_and_not_quoted() {
        let error = file("A=1\nsk-secret-key without a name\n")
            .unwrap_err()
            .to_string();
        assert!(error.contains("entry 2"), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
}
