//! Setting up the real clients: one Python environment per client version, and Node modules.
//!
//! Versions are pinned in `conformance/`. Where packages come from is the machine's own
//! configuration of pip and npm.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::lines;

/// Where the clients under test are.
#[derive(Debug)]
pub(super) struct Clients {
    /// The folder `conformance/`.
    pub(super) folder: PathBuf,
    /// Python clients; versions that exclude each other live in environments of their own.
    pub(super) python: Vec<PythonClient>,
}

/// One client version in its own Python environment.
#[derive(Debug)]
pub(super) struct PythonClient {
    /// `name-version`, as the requirements file is called.
    pub(super) name: String,
    /// The environment's interpreter.
    pub(super) interpreter: PathBuf,
}

/// The requirement files, one for each environment.
const PYTHON: [&str; 9] = [
    "dashscope-2.0.2",
    "dashscope-1.24.6",
    "openai-3.54.0",
    "openai-1.109.1",
    "anthropic-2.12.0",
    "anthropic-0.125.0",
    "langchain-openai-1.7.4",
    "langchain-community-0.4.2",
    "litellm-1.110.2",
];

/// Names and packages of the Node clients, as `conformance/node/package.json` has them.
pub(super) const NODE: [(&str, &str); 5] = [
    ("openai-node-7.57.0", "openai"),
    ("openai-node-6.49.0", "openai-6"),
    ("anthropic-node-1.14.0", "@anthropic-ai/sdk"),
    ("anthropic-node-0.125.0", "anthropic-0"),
    ("ai-sdk-7.0.173", "ai"),
];

impl Clients {
    /// Installs what is not installed yet.
    pub(super) fn set_up(folder: &Path) -> anyhow::Result<Self> {
        let python = PYTHON
            .iter()
            .map(|name| {
                let interpreter = python_environment(folder, name)
                    .with_context(|| format!("cannot set up the Python client {name}"))?;
                Ok(PythonClient {
                    name: (*name).to_owned(),
                    interpreter,
                })
            })
            .collect::<anyhow::Result<_>>()?;
        node_modules(&folder.join("node")).context("cannot set up the Node clients")?;
        Ok(Self {
            folder: folder.to_owned(),
            python,
        })
    }
}

/// Makes `conformance/.venv/<name>` unless it already holds exactly these requirements.
fn python_environment(folder: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let requirements = folder
        .join("python/requirements")
        .join(format!("{name}.txt"));
    let wanted = fs::read_to_string(&requirements)
        .with_context(|| format!("cannot read {}", requirements.display()))?;
    let environment = folder.join(".venv").join(name);
    let interpreter = environment.join("bin/python");
    let stamp = environment.join("installed.txt");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(interpreter);
    }
    lines::run_quiet(
        Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&environment),
    )
    .context("Python 3.9 or newer with its venv module is needed")?;
    lines::run_quiet(
        Command::new(&interpreter)
            .args([
                "-m",
                "pip",
                "install",
                "--disable-pip-version-check",
                "--quiet",
                "-r",
            ])
            .arg(&requirements),
    )?;
    fs::write(&stamp, wanted).context("cannot note what was installed")?;
    Ok(interpreter)
}

/// Installs what the committed lock file names unless that is already there.
fn node_modules(folder: &Path) -> anyhow::Result<()> {
    let lock = folder.join("package-lock.json");
    let wanted =
        fs::read_to_string(&lock).with_context(|| format!("cannot read {}", lock.display()))?;
    let stamp = folder.join("node_modules/.installed-lock.json");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    lines::run_quiet(Command::new("npm").current_dir(folder).args([
        "ci",
        "--no-audit",
        "--no-fund",
        "--loglevel=error",
    ]))
    .context("Node 20 or newer with npm is needed")?;
    fs::write(&stamp, wanted).context("cannot note what was installed")
}
