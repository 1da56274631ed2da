//! Setting up the real clients: one Python environment per client version, and Node modules.
//!
//! Versions are pinned in `conformance/`. Where packages come from is the machine's own
//! configuration of pip and npm.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::packages;

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
                let requirements = folder
                    .join("python/requirements")
                    .join(format!("{name}.txt"));
                let environment = folder.join(".venv").join(name);
                let interpreter = packages::python_environment(&environment, &requirements)
                    .with_context(|| format!("cannot set up the Python client {name}"))?;
                Ok(PythonClient {
                    name: (*name).to_owned(),
                    interpreter,
                })
            })
            .collect::<anyhow::Result<_>>()?;
        packages::node_modules(&folder.join("node")).context("cannot set up the Node clients")?;
        Ok(Self {
            folder: folder.to_owned(),
            python,
        })
    }
}
