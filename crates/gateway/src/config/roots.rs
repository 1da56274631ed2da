//! The addresses at which an account speaks each protocol.

use bailian::{Endpoint, InvalidWorkspace, Region, UnknownRegion, Workspace};
use bailian_wire::Dialect;
use secrecy::SecretString;

use super::account::{AccountConfig, AccountKind};
use crate::upstream::Origin;

/// What is wrong, and with which of an account's settings.
type Wrong = (&'static str, String);

/// The protocol roots of an account, without a trailing slash.
pub(super) struct Roots {
    native: String,
    openai: String,
    anthropic: String,
    rerank: String,
    workspace: Option<String>,
    region: Option<String>,
}

/// Where an account is, for its prices: as the file says, else as the host's name tells.
fn region_of(region: Option<&str>, native_root: &str) -> String {
    let by_host = || {
        let of_host = Region::ALL
            .into_iter()
            .find(|region| native_root.contains(region.as_str()));
        match of_host {
            _ if native_root.contains("dashscope-intl.") => Region::ApSoutheast1.as_str(),
            _ if native_root.contains("dashscope-us.") => Region::UsEast1.as_str(),
            Some(region) => region.as_str(),
            None => Region::default().as_str(),
        }
    };
    region.unwrap_or_else(by_host).to_owned()
}

impl Roots {
    /// A server that speaks OpenAI's protocol under one root.
    pub(super) fn of_server(base_url: Option<&str>) -> Result<Self, Wrong> {
        let Some(root) = base_url else {
            let problem = "is missing; an account of kind openai needs one, such as \
                           http://127.0.0.1:8000/v1";
            return Err(("base_url", problem.to_owned()));
        };
        Origin::parse(root).map_err(|error| ("base_url", error.to_string()))?;
        let root = root.trim_end_matches('/').to_owned();
        Ok(Self {
            native: root.clone(),
            openai: root.clone(),
            anthropic: root.clone(),
            rerank: root,
            workspace: None,
            region: None,
        })
    }

    /// An account with these roots, all else by default.
    pub(super) fn account(self, api_keys: Vec<SecretString>) -> AccountConfig {
        AccountConfig {
            name: "default".to_owned(),
            kind: AccountKind::DashScope,
            api_keys,
            native_root: self.native,
            openai_root: self.openai,
            anthropic_root: self.anthropic,
            rerank_root: self.rerank,
            workspace: self.workspace,
            region: self.region,
            forward_headers: Vec::new(),
            limits: Vec::new(),
            quota_api: true,
        }
    }

    pub(super) fn resolve(
        base_url: Option<&str>,
        region: Option<&str>,
        workspace: Option<&str>,
    ) -> Result<Self, Wrong> {
        let workspace: Option<Workspace> = workspace
            .map(str::parse)
            .transpose()
            .map_err(|error: InvalidWorkspace| ("workspace", error.to_string()))?;
        let at = if base_url.is_some() {
            "base_url"
        } else {
            "region"
        };
        let endpoint = match base_url {
            Some(url) => Endpoint::from_base_url(url),
            None => {
                let region = region.map(str::parse).transpose();
                let region: Option<Region> =
                    region.map_err(|error: UnknownRegion| ("region", error.to_string()))?;
                Endpoint::of_region(region.unwrap_or_default(), workspace.as_ref())
            }
        };
        let endpoint = endpoint.map_err(|error| (at, format!("{error}; {}", error.fix())))?;
        let root = |dialect: Dialect| {
            let root = endpoint.root(dialect).ok_or_else(|| {
                let problem =
                    format!("leads to no place where {dialect} is spoken; give the host alone");
                (at, problem)
            })?;
            Origin::parse(root).map_err(|error| (at, error.to_string()))?;
            Ok::<_, Wrong>(root.trim_end_matches('/').to_owned())
        };
        let openai = root(Dialect::OpenAi)?;
        // The flat rerank call stands beside the other compatible ones (compat.md §3.4).
        let rerank = openai
            .strip_suffix(Dialect::OpenAi.root_path())
            .map_or_else(
                || openai.clone(),
                |host| format!("{host}/compatible-api/v1"),
            );
        let native = root(Dialect::Native)?;
        Ok(Self {
            region: Some(region_of(region, &native)),
            native,
            anthropic: root(Dialect::Anthropic)?,
            openai,
            rerank,
            workspace: workspace.map(|workspace| workspace.as_str().to_owned()),
        })
    }
}
