//! `bailian import`: the gateway's configuration from that of another gateway.

mod draft;
mod litellm;
mod new_api;
mod notes;
mod output;
mod render;
mod yaml;

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use self::draft::Draft;
use self::notes::{Mistake, one_line};
use self::output::Output;
use crate::failure::Failure;
use crate::settings::Settings;

/// Larger files are no configuration.
const MAX_BYTES: u64 = 32 * 1024 * 1024;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    source: Source,
}

#[derive(Debug, clap::Subcommand)]
enum Source {
    /// Reads LiteLLM's config.yaml.
    Litellm {
        /// The file; `-` is standard input.
        #[arg(value_name = "CONFIG.yaml")]
        file: PathBuf,
        #[command(flatten)]
        output: Output,
    },
    /// Reads channels of new-api or one-api: JSON rows of its API or of its database.
    NewApi {
        /// The file; `-` is standard input.
        #[arg(value_name = "CHANNELS.json")]
        file: PathBuf,
        /// The numbers of types are one-api's, which differ from new-api's above 25.
        #[arg(long)]
        one_api: bool,
        #[command(flatten)]
        output: Output,
    },
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.source {
        Source::Litellm { file, output } => {
            let settings = Settings::read()?;
            let variable = |name: &str| settings.get(name);
            convert(file, output, "litellm", |text| {
                litellm::convert(text, &variable)
            })
        }
        Source::NewApi {
            file,
            one_api,
            output,
        } => convert(file, output, "new-api", |text| {
            new_api::convert(text, *one_api)
        }),
    }
}

fn convert(
    file: &Path,
    output: &Output,
    command: &str,
    read: impl FnOnce(&str) -> Result<Draft, Mistake>,
) -> Result<(), Failure> {
    let (name, text) = source(file).map_err(Failure::Usage)?;
    let draft =
        read(&text).map_err(|mistake| Failure::Usage(anyhow::anyhow!("{name}: {mistake}")))?;
    for note in draft.notes.sorted() {
        eprintln!("warning: {name}: {note}");
    }
    if draft.accounts.is_empty() {
        let error = anyhow::anyhow!("{name} has nothing that the gateway could reach");
        return Err(Failure::Usage(error));
    }
    // The folder it is in says something about a machine, not about the source.
    let base = file.file_name().filter(|_| file != Path::new("-"));
    let base = base.map_or(name, |base| base.to_string_lossy().into_owned());
    let head = format!(
        "Written by `bailian import {command}` from {}.",
        one_line(&base)
    );
    output.write(&draft, &head)
}

/// The source's name and text.
fn source(file: &Path) -> anyhow::Result<(String, String)> {
    let mut bytes = Vec::new();
    let name = if file == Path::new("-") {
        std::io::stdin()
            .lock()
            .take(MAX_BYTES + 1)
            .read_to_end(&mut bytes)?;
        "standard input".to_owned()
    } else {
        let name = file.display().to_string();
        let opened = std::fs::File::open(file);
        opened
            .and_then(|opened| opened.take(MAX_BYTES + 1).read_to_end(&mut bytes))
            .with_context(|| format!("cannot read {name}"))?;
        name
    };
    anyhow::ensure!(
        u64::try_from(bytes.len())? <= MAX_BYTES,
        "{name} is larger than {MAX_BYTES} bytes"
    );
    let text = String::from_utf8(bytes).with_context(|| format!("{name} is not UTF-8"))?;
    // Some editors begin a file with a mark.
    let text = text
        .strip_prefix('\u{feff}')
        .map(str::to_owned)
        .unwrap_or(text);
    Ok((name, text))
}

#[cfg(test)]
mod tests;
