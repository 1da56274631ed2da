//! Certificates of the listeners, read again when their files change.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SignatureScheme};
use tokio_rustls::TlsAcceptor;

use crate::config::TlsConfig;

/// HTTP/2 as it is named in a handshake.
pub(super) const H2: &[u8] = b"h2";

/// How often the files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The largest file of a certificate or a key, in bytes; chains have a few thousand.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{} holds no {expected} in PEM form", path.display())]
    NotPem {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
    },
    /// Certificate and key cannot be used together.
    #[error("{} and its key cannot be used", path.display())]
    Unusable {
        /// The certificate's file.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

/// The certificates that connections are served with.
#[derive(Clone)]
pub(super) struct Certificates {
    files: Arc<Vec<TlsConfig>>,
    current: Arc<Current>,
}

struct Current {
    /// In the order of the configuration; at least one.
    keys: RwLock<Arc<Vec<Arc<CertifiedKey>>>>,
}

/// The contents of all files, to see whether they changed. Keys among them: never printed.
#[derive(PartialEq, Eq)]
struct Contents(Vec<(Vec<u8>, Vec<u8>)>);

impl Certificates {
    /// Reads the files now. `None` when there are none.
    pub(super) fn load(files: &[TlsConfig]) -> Result<Option<Self>, TlsError> {
        if files.is_empty() {
            return Ok(None);
        }
        let keys = Contents::read(files)?.parse(files)?;
        Ok(Some(Self {
            files: Arc::new(files.to_vec()),
            current: Arc::new(Current {
                keys: RwLock::new(Arc::new(keys)),
            }),
        }))
    }

    /// What makes encrypted connections of sockets, in HTTP/1.1 and HTTP/2.
    pub(super) fn acceptor(&self) -> Result<TlsAcceptor, rustls::Error> {
        let provider: Arc<CryptoProvider> = Arc::new(aws_lc_rs::default_provider());
        let current = Arc::clone(&self.current);
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])?
            .with_no_client_auth()
            .with_cert_resolver(current);
        config.alpn_protocols = vec![H2.to_vec(), b"http/1.1".to_vec()];
        config.ticketer = aws_lc_rs::Ticketer::new()?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Looks at the files again and again. What cannot be used is said once and left alone.
    pub(super) async fn follow(self) {
        let mut seen = Contents::read(&self.files).ok();
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            let files = Arc::clone(&self.files);
            let read = tokio::task::spawn_blocking(move || Contents::read(&files)).await;
            let contents = match read {
                Ok(Ok(contents)) => Some(contents),
                Ok(Err(error)) if seen.is_some() => {
                    tracing::error!(error = %crate::relay::Chain(&error), "certificates stay as they are");
                    None
                }
                _ => None,
            };
            if contents == seen {
                continue;
            }
            if let Some(contents) = &contents {
                self.take(contents);
            }
            seen = contents;
        }
    }

    fn take(&self, contents: &Contents) {
        match contents.parse(&self.files) {
            Ok(keys) => {
                *self.current.keys.write() = Arc::new(keys);
                tracing::info!("certificates were read again");
            }
            Err(error) => {
                tracing::error!(error = %crate::relay::Chain(&error), "certificates stay as they are");
            }
        }
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Current").finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Current {
    /// The first certificate that is for the host which the client names and with which it can
    /// work; else the first with which it can.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let keys = Arc::clone(&self.keys.read());
        if keys.len() > 1
            && let Some(name) = hello.server_name()
            && let Ok(name) = ServerName::try_from(name)
        {
            let mut named = keys.iter().filter(|key| is_for(key, &name));
            if let Some(key) = named.find(|key| can_sign(key, hello.signature_schemes())) {
                return Some(Arc::clone(key));
            }
        }
        let usable = keys
            .iter()
            .find(|key| can_sign(key, hello.signature_schemes()));
        usable.or(keys.first()).map(Arc::clone)
    }
}

fn can_sign(key: &CertifiedKey, offered: &[SignatureScheme]) -> bool {
    key.key.choose_scheme(offered).is_some()
}

fn is_for(key: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let parsed = key.end_entity_cert().map(ParsedCertificate::try_from);
    matches!(parsed, Ok(Ok(parsed)) if verify_server_name(&parsed, name).is_ok())
}

impl Contents {
    fn read(files: &[TlsConfig]) -> Result<Self, TlsError> {
        let pairs = files
            .iter()
            .map(|file| Ok((read(&file.certificate)?, read(&file.key)?)));
        Ok(Self(pairs.collect::<Result<_, TlsError>>()?))
    }

    fn parse(&self, files: &[TlsConfig]) -> Result<Vec<Arc<CertifiedKey>>, TlsError> {
        let pairs = files.iter().zip(&self.0);
        pairs
            .map(|(file, (certificate, key))| certified(file, certificate, key).map(Arc::new))
            .collect()
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    use std::io::Read as _;

    let failed = |source| TlsError::Read {
        path: path.to_owned(),
        source,
    };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut content = Vec::new();
    file.take(MAX_FILE_BYTES)
        .read_to_end(&mut content)
        .map_err(failed)?;
    Ok(content)
}

fn certified(file: &TlsConfig, certificate: &[u8], key: &[u8]) -> Result<CertifiedKey, TlsError> {
    let not_pem = |path: &Path, expected| TlsError::NotPem {
        path: path.to_owned(),
        expected,
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificate)
        .collect::<Result<_, _>>()
        .map_err(|_| not_pem(&file.certificate, "certificate"))?;
    if chain.is_empty() {
        return Err(not_pem(&file.certificate, "certificate"));
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| not_pem(&file.key, "private key"))?;
    let unusable = |source| TlsError::Unusable {
        path: file.certificate.clone(),
        source,
    };
    let provider = aws_lc_rs::default_provider();
    let key = CertifiedKey::from_der(chain, key, &provider).map_err(unusable)?;
    // A certificate that cannot be read is noticed here, not by the first client.
    let end = key.end_entity_cert().map_err(unusable)?;
    ParsedCertificate::try_from(end).map_err(unusable)?;
    Ok(key)
}
