//! Settings of the listeners: certificates, and where a successor asks for them.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::de::{MapAccess, SeqAccess, Visitor, value};
use serde::{Deserialize, Deserializer};
use utoipa::openapi::schema::{ArrayBuilder, OneOfBuilder, Schema};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use super::Problem;
use super::secret::{self, Environment};
use super::text::SecretText;

/// The address that is listened on by default: this machine only.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:8080";

/// When the configuration file is read again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReloadMode {
    /// When it changes, and on SIGHUP.
    #[default]
    Watch,
    /// On SIGHUP only.
    Signal,
    /// Never.
    Off,
}

/// A certificate and its key, in PEM files that are read again when they change.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsConfig {
    /// The certificate, followed by those that vouch for it.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// The longest path that a Unix socket can have on every system, in bytes.
#[cfg(unix)]
const MAX_SOCKET_PATH_BYTES: usize = 100;

/// A certificate and its key. A client gets the first certificate that is for the host it names, else
/// the first of all. The files are read again when they change.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TlsFile {
    /// `file:PATH` or `credential:NAME`: PEM, the certificate, then those that vouch for it.
    #[schema(examples("file:/etc/bailian/gateway.crt"))]
    certificate: String,
    /// `file:PATH` or `credential:NAME`: PEM, the private key.
    #[schema(examples("file:/etc/bailian/gateway.key"))]
    key: SecretText,
}

/// `[tls]` or `[[tls]]`.
#[derive(Debug, Default)]
pub(super) struct TlsFiles(Vec<TlsFile>);

impl<'de> Deserialize<'de> for TlsFiles {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        one_or_many(deserializer).map(Self)
    }
}

impl PartialSchema for TlsFiles {
    fn schema() -> RefOr<Schema> {
        let one = Ref::from_schema_name(TlsFile::name());
        let many = ArrayBuilder::new().items(one.clone());
        OneOfBuilder::new().item(one).item(many).into()
    }
}

impl ToSchema for TlsFiles {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((TlsFile::name().into_owned(), TlsFile::schema()));
        TlsFile::schemas(schemas);
    }
}

/// `[tls]` once, or `[[tls]]` several times.
fn one_or_many<'de, D>(deserializer: D) -> Result<Vec<TlsFile>, D::Error>
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
pub(super) fn resolve_tls(
    TlsFiles(files): TlsFiles,
    environment: &dyn Environment,
    problems: &mut Vec<Problem>,
) -> Vec<TlsConfig> {
    let is_only = files.len() == 1;
    let mut resolved = Vec::with_capacity(files.len());
    for (index, file) in files.into_iter().enumerate() {
        let place = if is_only {
            "tls".to_owned()
        } else {
            format!("tls[{index}]")
        };
        let mut path = |name: &str, text: &str| {
            secret::path_of(text, environment)
                .map_err(|problem| problems.push(Problem::new(format!("{place}.{name}"), problem)))
                .ok()
        };
        let (certificate, key) = (
            path("certificate", &file.certificate),
            path("key", file.key.expose()),
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

pub(super) fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!("`{text}` is not an address with a port, such as 127.0.0.1:8080 or [::]:8080")
    })
}
