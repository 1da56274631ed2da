//! Secrets that stand elsewhere: `env:NAME` and `file:PATH`.

use std::collections::HashMap;

use secrecy::SecretString;

/// Where variables are read from, so that tests can pass a map.
pub trait Environment {
    /// The variable's value; `None` when it is not set or not Unicode.
    fn var(&self, name: &str) -> Option<String>;

    /// The value without surrounding blanks; empty counts as not set.
    fn setting(&self, name: &str) -> Option<String> {
        let value = self.var(name)?;
        let value = value.trim();
        (!value.is_empty()).then(|| value.to_owned())
    }
}

impl<F: Fn(&str) -> Option<String>> Environment for F {
    fn var(&self, name: &str) -> Option<String> {
        self(name)
    }
}

impl<S: std::hash::BuildHasher> Environment for HashMap<String, String, S> {
    fn var(&self, name: &str) -> Option<String> {
        self.get(name).cloned()
    }
}

/// Resolves a secret of the configuration file.
///
/// The error names the source and never the secret.
pub(super) fn resolve(text: &str, environment: &dyn Environment) -> Result<SecretString, String> {
    if let Some(name) = text.strip_prefix("env:") {
        let value = environment.setting(name);
        return value.map(SecretString::from).ok_or_else(|| {
            format!("the environment variable {name} is not set; set it, or name another")
        });
    }
    if let Some(path) = text.strip_prefix("file:") {
        let content = std::fs::read_to_string(path)
            .map_err(|error| format!("the secret's file {path} cannot be read: {error}"))?;
        let content = content.trim();
        if content.is_empty() {
            return Err(format!("the secret's file {path} is empty"));
        }
        return Ok(content.into());
    }
    if text.trim().is_empty() {
        return Err("is empty; write the key, `env:NAME` or `file:PATH`".to_owned());
    }
    Ok(text.trim().into())
}
