//! Settings of the listeners: certificates, and where a successor asks for them.

use std::fmt;
use std::path::PathBuf;

use serde::de::{MapAccess, SeqAccess, Visitor, value};
use serde::{Deserialize, Deserializer};

use super::{Problem, ReloadMode, TlsConfig};

/// The longest path that a Unix socket can have on every system, in bytes.
#[cfg(unix)]
const MAX_SOCKET_PATH_BYTES: usize = 100;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TlsFile {
    certificate: String,
    key: String,
}

/// `[tls]` once, or `[[tls]]` several times.
pub(super) fn one_or_many<'de, D>(deserializer: D) -> Result<Vec<TlsFile>, D::Error>
where
    D: Deserializer<'de>,
{
    struct OneOrMany;

    impl<'de> Visitor<'de> for OneOrMany {
        type Value = Vec<TlsFile>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a table with `certificate` and `key`, or several of them")
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            TlsFile::deserialize(value::MapAccessDeserializer::new(map)).map(|file| vec![file])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut files = Vec::new();
            while let Some(file) = seq.next_element()? {
                files.push(file);
            }
            Ok(files)
        }
    }

    deserializer.deserialize_any(OneOrMany)
}

/// Where the certificates are. What the files hold is looked at when the server starts.
pub(super) fn resolve_tls(files: Vec<TlsFile>, problems: &mut Vec<Problem>) -> Vec<TlsConfig> {
    let is_only = files.len() == 1;
    let mut resolved = Vec::with_capacity(files.len());
    for (index, file) in files.into_iter().enumerate() {
        let place = if is_only {
            "tls".to_owned()
        } else {
            format!("tls[{index}]")
        };
        let mut path = |name: &str, text: &str| match text.strip_prefix("file:") {
            Some(path) if !path.is_empty() => Some(PathBuf::from(path)),
            // What stands there may be the key itself.
            _ => {
                let problem = "is not `file:PATH`, a PEM file that is read again when it changes";
                problems.push(Problem::new(format!("{place}.{name}"), problem));
                None
            }
        };
        let (certificate, key) = (
            path("certificate", &file.certificate),
            path("key", &file.key),
        );
        if let (Some(certificate), Some(key)) = (certificate, key) {
            resolved.push(TlsConfig { certificate, key });
        }
    }
    resolved
}

/// When the file is read again.
pub(super) fn resolve_reload(text: Option<&str>, problems: &mut Vec<Problem>) -> ReloadMode {
    match text {
        None | Some("watch") => ReloadMode::Watch,
        Some("signal") => ReloadMode::Signal,
        Some("off") => ReloadMode::Off,
        Some(other) => {
            let problem = format!("`{other}` is neither watch nor signal nor off");
            problems.push(Problem::new("reload", problem));
            ReloadMode::default()
        }
    }
}

/// The socket of a hand-over.
#[cfg(unix)]
pub(super) fn resolve_hand_over(
    path: Option<PathBuf>,
    problems: &mut Vec<Problem>,
) -> Option<PathBuf> {
    let path = path?;
    if path.as_os_str().is_empty() || path.as_os_str().len() > MAX_SOCKET_PATH_BYTES {
        let problem = format!("is not the path of a socket, 1 to {MAX_SOCKET_PATH_BYTES} bytes");
        problems.push(Problem::new("hand_over", problem));
        return None;
    }
    Some(path)
}

/// Listeners can be passed between processes on Unix only.
#[cfg(not(unix))]
pub(super) fn resolve_hand_over(
    path: Option<PathBuf>,
    problems: &mut Vec<Problem>,
) -> Option<PathBuf> {
    if path.is_some() {
        problems.push(Problem::new("hand_over", "works on Unix systems only"));
    }
    None
}
