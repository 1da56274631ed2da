//! Where the configuration and the secrets go.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::draft::{self, Draft};
use super::render::{self, Secrets};
use crate::failure::{self, Failure};

/// The name of the file for secrets, beside the configuration.
const KEYS_FILE: &str = "keys.env";

#[derive(Debug, clap::Args)]
pub(super) struct Output {
    /// Where to write the configuration; standard output without it.
    #[arg(id = "output", long, short, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Where to write keys that the source holds, for its owner's eyes only (mode 0600): `keys.env`
    /// beside the output by default.
    #[arg(long, value_name = "FILE", conflicts_with = "with_secrets")]
    keys: Option<PathBuf>,
    /// Writes keys that the source holds into the configuration itself.
    #[arg(long)]
    with_secrets: bool,
    /// Takes the place of files that are there.
    #[arg(long)]
    force: bool,
}

impl Output {
    pub(super) fn write(&self, draft: &Draft, head: &str) -> Result<(), Failure> {
        let has_literals = !draft.literals().is_empty();
        let keys = (has_literals && !self.with_secrets).then(|| self.keys_path());
        let mut head = head.to_owned();
        if let Some(keys) = &keys {
            let name = keys.file_name().unwrap_or(keys.as_os_str());
            head.push_str("\nKeys that it held are in ");
            head.push_str(&name.to_string_lossy());
            head.push_str(", as environment variables.");
        }
        let secrets = if self.with_secrets {
            Secrets::Written
        } else {
            Secrets::Referenced
        };
        let text = render::toml(draft, &head, secrets);
        draft::parses(&text).map_err(|problem| {
            Failure::Run(anyhow::anyhow!(
                "what was written of it is no configuration, which is a fault of this program: \
                 {problem}"
            ))
        })?;
        // Nothing is written when something is in the way of a part.
        for path in keys.iter().chain(&self.file) {
            if !self.force && path.symlink_metadata().is_ok() {
                return Err(Failure::Usage(anyhow::anyhow!(
                    "{} is there already; --force takes its place",
                    path.display()
                )));
            }
        }
        if let Some(keys) = &keys {
            self.create(keys, true, &render::keys_file(draft))?;
        }
        let Some(output) = &self.file else {
            return failure::written(io::stdout().write_all(text.as_bytes()))
                .and_then(|()| self.tell(draft, keys.as_deref()));
        };
        self.create(output, self.with_secrets, &text)?;
        self.tell(draft, keys.as_deref())
    }

    fn keys_path(&self) -> PathBuf {
        match (&self.keys, &self.file) {
            (Some(keys), _) => keys.clone(),
            (None, Some(output)) => output.with_file_name(KEYS_FILE),
            (None, None) => PathBuf::from(KEYS_FILE),
        }
    }

    fn create(&self, path: &Path, is_secret: bool, text: &str) -> Result<(), Failure> {
        let written = || -> anyhow::Result<()> {
            if self.force && path.symlink_metadata().is_ok() {
                std::fs::remove_file(path)?;
            }
            let mut file = new_file(path, is_secret)?;
            file.write_all(text.as_bytes())?;
            Ok(())
        };
        written()
            .with_context(|| format!("cannot write {}", path.display()))
            .map_err(Failure::Run)
    }

    /// Says what there is now.
    #[expect(
        clippy::unnecessary_wraps,
        reason = "the end of a chain of steps that can fail"
    )]
    fn tell(&self, draft: &Draft, keys: Option<&Path>) -> Result<(), Failure> {
        let count = |count: usize, thing: &str| {
            let s = if count == 1 { "" } else { "s" };
            format!("{count} {thing}{s}")
        };
        eprintln!(
            "{}, {}, {}",
            count(draft.accounts.len(), "account"),
            count(draft.routes.len(), "route"),
            count(draft.notes.sorted().len(), "warning"),
        );
        if let Some(keys) = keys {
            // A shell looks for a bare name elsewhere.
            let is_bare = keys.components().count() == 1;
            let keys = if is_bare {
                Path::new(".").join(keys)
            } else {
                keys.to_owned()
            };
            let keys = keys.display();
            eprintln!("the keys are in {keys}; load them with: set -a; . {keys}; set +a");
        }
        if let Some(output) = &self.file {
            eprintln!("start it with: bailian serve --config {}", output.display());
        }
        Ok(())
    }
}

/// A file that was not there before; with a secret, its owner's alone from its first moment.
fn new_file(path: &Path, is_secret: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(if is_secret { 0o600 } else { 0o644 });
    }
    #[cfg(not(unix))]
    let _ = is_secret;
    options.open(path)
}
