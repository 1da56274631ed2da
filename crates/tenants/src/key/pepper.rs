//! The installation's secret, and what is kept of a key with it.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};
use thiserror::Error;

use crate::id::RandomError;

/// The installation's secret that keys are digested with. Every replica has the same.
#[derive(Clone)]
pub struct Pepper(Hmac<Sha256>);

/// The pepper's file cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PepperError {
    /// It cannot be read or written.
    #[error("the pepper's file {} cannot be used", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It holds something else.
    #[error("the pepper's file {} does not hold 64 hexadecimal digits", .path.display())]
    Content {
        /// The file.
        path: PathBuf,
    },
    /// No random bytes for a new one.
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// What is kept of a key: enough to recognise it, useless to present.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Verifier([u8; 32]);

// === impl Pepper ===

impl Pepper {
    /// A pepper of 32 bytes that the installation keeps secret.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        // HMAC pads a short key with zeros to one block, which is 64 bytes here.
        let mut block = [0; 64];
        block[..32].copy_from_slice(bytes);
        Self(Hmac::new(&block.into()))
    }

    /// A new pepper that is kept nowhere, for installations whose keys live as long as the process.
    ///
    /// # Errors
    /// [`RandomError`] when the system has no random bytes.
    pub fn generate() -> Result<Self, RandomError> {
        random_bytes().map(|bytes| Self::from_bytes(&bytes))
    }

    /// Reads the pepper from a file of 64 hexadecimal digits; makes the file, readable by its owner
    /// only, when there is none.
    ///
    /// # Errors
    /// [`PepperError`] when the file cannot be read, written or understood.
    pub fn load_or_create(path: &Path) -> Result<Self, PepperError> {
        let failed = |source| PepperError::File {
            path: path.to_owned(),
            source,
        };
        match fs::read_to_string(path) {
            Ok(text) => from_hex(text.trim())
                .map(|bytes| Self::from_bytes(&bytes))
                .ok_or_else(|| PepperError::Content {
                    path: path.to_owned(),
                }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let bytes = random_bytes()?;
                match write_new(path, &to_hex(&bytes)) {
                    Ok(()) => Ok(Self::from_bytes(&bytes)),
                    // Another replica on the same disk made it in this moment.
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                        Self::load_or_create(path)
                    }
                    Err(error) => Err(failed(error)),
                }
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// What is kept of a key.
    pub fn verifier(&self, key: &[u8]) -> Verifier {
        self.verifier_of_sha256(&Sha256::digest(key).into())
    }

    /// What is kept of a key of which only the SHA-256 digest is known, as configurations may have.
    pub fn verifier_of_sha256(&self, key_sha256: &[u8; 32]) -> Verifier {
        let mac = self.0.clone().chain_update(key_sha256);
        Verifier(mac.finalize().into_bytes().into())
    }

    /// A text by which a store notices that it is opened with another pepper than it was made with.
    pub fn fingerprint(&self) -> String {
        to_hex(&self.verifier(b"bailian: fingerprint of a pepper").0)
    }
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pepper").finish_non_exhaustive()
    }
}

fn random_bytes() -> Result<[u8; 32], RandomError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

/// Writes a file whole or not at all, since another process may look for it at any time.
fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}", std::process::id()));
    let draft = PathBuf::from(draft);
    let written = (|| {
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        // Unlike a rename, a link does not replace what another process has made meanwhile.
        fs::hard_link(&draft, path)
    })();
    // What remains of a draft is removed; the pepper's own file is what counts.
    let _ = fs::remove_file(&draft);
    written
}

// === impl Verifier ===

impl Verifier {
    /// The bytes as they are stored.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// A verifier as it was stored.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl ConstantTimeEq for Verifier {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").finish_non_exhaustive()
    }
}

fn to_hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing into a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn from_hex(hex: &str) -> Option<[u8; 32]> {
    if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verifier_is_hmac_sha256_of_the_digest_and_depends_on_the_pepper() {
        let pepper = Pepper::from_bytes(&[1; 32]);
        let mac = Hmac::<Sha256>::new_from_slice(&[1; 32])
            .unwrap()
            .chain_update(Sha256::digest(b"sk-chosen"));
        let expected: [u8; 32] = mac.finalize().into_bytes().into();
        assert_eq!(pepper.verifier(b"sk-chosen").as_bytes(), &expected);
        let other = Pepper::from_bytes(&[2; 32]);
        assert_ne!(pepper.verifier(b"sk-chosen"), other.verifier(b"sk-chosen"));
        assert_ne!(pepper.fingerprint(), other.fingerprint());
    }

    #[test]
    fn the_pepper_stays_in_its_file_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pepper");
        let first = Pepper::load_or_create(&path).unwrap();
        let again = Pepper::load_or_create(&path).unwrap();
        assert_eq!(first.fingerprint(), again.fingerprint());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(
                fs::metadata(&path).unwrap().permissions().mode() & 0o777,
                0o600
            );
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        fs::write(&path, "garbage").unwrap();
        assert!(matches!(
            Pepper::load_or_create(&path),
            Err(PepperError::Content { .. })
        ));
    }
}
