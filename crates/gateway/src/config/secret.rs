//! Secrets that stand elsewhere: `env:NAME`, `file:PATH`, `credential:NAME`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

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

    /// All variables whose names begin so, whatever their case; a value that is not Unicode is `None`.
    /// An environment that cannot be listed, as a function, has none.
    fn variables(&self, prefix: &str) -> Vec<(String, Option<String>)> {
        let _ = prefix;
        Vec::new()
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

    fn variables(&self, prefix: &str) -> Vec<(String, Option<String>)> {
        let begins = |name: &str| {
            let beginning = name.get(..prefix.len());
            beginning.is_some_and(|beginning| beginning.eq_ignore_ascii_case(prefix))
        };
        let found = self.iter().filter(|(name, _)| begins(name));
        found
            .map(|(name, value)| (name.clone(), Some(value.clone())))
            .collect()
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
        return read(Path::new(path));
    }
    if let Some(name) = text.strip_prefix("credential:") {
        return read(&credential(name, environment)?);
    }
    if text.trim().is_empty() {
        return Err(
            "is empty; write the key, `env:NAME`, `file:PATH` or `credential:NAME`".to_owned(),
        );
    }
    Ok(text.trim().into())
}

/// Whether the text says where a secret stands, and so is none itself.
pub(super) fn is_reference(text: &str) -> bool {
    ["env:", "file:", "credential:"]
        .iter()
        .any(|prefix| text.starts_with(prefix))
}

/// The file that `file:PATH` or `credential:NAME` names. The error does not quote the text: what stands
/// there may be the secret itself.
pub(super) fn path_of(text: &str, environment: &dyn Environment) -> Result<PathBuf, String> {
    if let Some(name) = text.strip_prefix("credential:") {
        return credential(name, environment);
    }
    match text.strip_prefix("file:") {
        Some(path) if !path.is_empty() => Ok(PathBuf::from(path)),
        _ => Err(
            "is not `file:PATH` or `credential:NAME`, a PEM file that is read again when it changes"
                .to_owned(),
        ),
    }
}

/// Where systemd puts a credential of the service (`LoadCredential=NAME:…`).
fn credential(name: &str, environment: &dyn Environment) -> Result<PathBuf, String> {
    if name.is_empty() || name.contains(['/', '\\']) || name.starts_with('.') {
        return Err("does not name a credential, as `credential:dashscope` does".to_owned());
    }
    let Some(folder) = environment.setting("CREDENTIALS_DIRECTORY") else {
        return Err(format!(
            "CREDENTIALS_DIRECTORY is not set, so there is no credential {name}; systemd sets it for \
             a service with LoadCredential={name}:PATH"
        ));
    };
    Ok(Path::new(&folder).join(name))
}

fn read(path: &Path) -> Result<SecretString, String> {
    let shown = path.display();
    let content = std::fs::read_to_string(path)
        .map_err(|error| format!("the secret's file {shown} cannot be read: {error}"))?;
    let content = content.trim();
    if content.is_empty() {
        return Err(format!("the secret's file {shown} is empty"));
    }
    Ok(content.into())
}
