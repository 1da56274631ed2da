//! Other gateways, each from its package: `cargo xtask bench` installs those that are asked for.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::ensure;

use super::Place;
use crate::process::Program;
use crate::scenario::{Approach, CLIENT_KEY, UPSTREAM_KEY};

/// Another gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    LiteLlm,
    Portkey,
}

impl Peer {
    pub(super) fn from_name(name: &str) -> Option<Self> {
        match name {
            "litellm" => Some(Self::LiteLlm),
            "portkey" => Some(Self::Portkey),
            _ => None,
        }
    }

    fn installed(self) -> PathBuf {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers");
        folder.join(match self {
            Self::LiteLlm => "litellm/.venv/bin/litellm",
            Self::Portkey => "portkey/node_modules/@portkey-ai/gateway/build/start-server.js",
        })
    }

    pub(super) fn check(self) -> anyhow::Result<()> {
        let file = self.installed();
        ensure!(
            file.is_file(),
            "there is no {}: `cargo xtask bench` installs it when it is among --targets",
            file.display()
        );
        Ok(())
    }

    /// Its package with the version, from the file that pins it.
    pub(super) fn description(self) -> String {
        let pinned = match self {
            Self::LiteLlm => include_str!("../../peers/litellm/requirements.txt"),
            Self::Portkey => include_str!("../../peers/portkey/package.json"),
        };
        let line = pinned
            .lines()
            .find(|line| line.contains("==") || line.contains("@portkey-ai"));
        line.unwrap_or_default().trim().replace('"', "")
    }

    /// One worker each, as all have one core; nothing is stored, so less is done than by ours.
    pub(super) fn program(self, place: Place<'_>, address: SocketAddr) -> anyhow::Result<Program> {
        let installed = self.installed().into_os_string();
        let port = address.port().to_string();
        Ok(match self {
            Self::LiteLlm => {
                let file = place.folder.join(format!("litellm-{port}.yaml"));
                fs::write(&file, litellm_configuration(place.upstream))?;
                Program::new([
                    installed,
                    "--config".into(),
                    file.into(),
                    "--host".into(),
                    "127.0.0.1".into(),
                    "--port".into(),
                    port.into(),
                    "--num_workers".into(),
                    "1".into(),
                ])
            }
            Self::Portkey => Program::new([
                "node".into(),
                installed,
                format!("--port={port}").into(),
                "--headless".into(),
            ]),
        })
    }

    pub(super) fn approach(self, place: Place<'_>) -> Approach {
        Approach {
            path: "/v1/chat/completions".to_owned(),
            headers: match self {
                Self::LiteLlm => Vec::new(),
                Self::Portkey => vec![
                    "x-portkey-provider: openai".to_owned(),
                    format!("x-portkey-custom-host: http://{}/v1", place.upstream),
                ],
            },
        }
    }
}

fn litellm_configuration(upstream: SocketAddr) -> String {
    format!(
        "model_list:
  - model_name: qwen-plus
    litellm_params:
      model: openai/qwen-plus
      api_base: http://{upstream}/v1
      api_key: {UPSTREAM_KEY}
litellm_settings:
  telemetry: false
general_settings:
  master_key: {CLIENT_KEY}
"
    )
}
