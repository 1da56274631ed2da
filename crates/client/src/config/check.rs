//! Checks the settings that decide where requests go and who sends them.

use std::collections::BTreeMap;

use bailian_wire::Dialect;

use super::layers::Raw;
use super::problem::ConfigProblem;
use super::secret::{ApiKey, KeyKind, KeyProblem, is_like_a_key, shown};
use super::variables::Setting;
use crate::endpoint::{Endpoint, EndpointError};
use crate::region::{InvalidWorkspace, Region, UnknownRegion, Workspace};

/// Turns raw values into checked ones, noting problems on the way.
pub(super) struct Checked<'a> {
    pub(super) values: &'a mut BTreeMap<Setting, Raw>,
    pub(super) problems: Vec<ConfigProblem>,
}

// === impl Checked ===

impl Checked<'_> {
    pub(super) fn take<T>(
        &mut self,
        setting: Setting,
        parse: impl FnOnce(&Raw) -> Result<T, ConfigProblem>,
    ) -> Option<T> {
        let raw = self.values.remove(&setting)?;
        parse(&raw)
            .map_err(|problem| self.problems.push(problem))
            .ok()
    }

    pub(super) fn derive_endpoint(
        &mut self,
        region: Region,
        workspace: Option<&Workspace>,
    ) -> Option<Endpoint> {
        // A bad workspace or base URL was noted already; do not ask for what was given.
        if !self.problems.is_empty() {
            return None;
        }
        let derived = Endpoint::of_region(region, workspace);
        derived
            .map_err(|error| {
                let fix = error.fix();
                self.problems
                    .push(ConfigProblem::new(None, error.to_string(), fix));
            })
            .ok()
    }
}

pub(super) fn region(raw: &Raw) -> Result<Region, ConfigProblem> {
    let text = raw.text.trim();
    text.parse().map_err(|error: UnknownRegion| {
        let problem = format!("{error}: {}", shown(text));
        ConfigProblem::new(Some(raw.source.clone()), problem, error.fix())
    })
}

pub(super) fn workspace(raw: &Raw) -> Result<Workspace, ConfigProblem> {
    let text = raw.text.trim();
    if is_like_a_key(text) {
        return Err(ConfigProblem::new(
            Some(raw.source.clone()),
            "looks like an API key",
            "put the key into DASHSCOPE_API_KEY, and the workspace id here",
        ));
    }
    text.parse().map_err(|error: InvalidWorkspace| {
        ConfigProblem::new(
            Some(raw.source.clone()),
            format!("{error}: {}", shown(text)),
            "copy the id from the console: letters, digits, - and _, at most 64",
        )
    })
}

pub(super) fn endpoint(raw: &Raw) -> Result<Endpoint, ConfigProblem> {
    Endpoint::from_base_url(&raw.text).map_err(|error: EndpointError| {
        ConfigProblem::new(Some(raw.source.clone()), error.to_string(), error.fix())
    })
}

pub(super) fn api_key(raw: &Raw, endpoint: &Endpoint) -> Result<ApiKey, ConfigProblem> {
    let checked = ApiKey::parse(&raw.text).and_then(|key| {
        // Another server may have keys of its own; the service has not.
        if endpoint.is_official() && key.kind() == KeyKind::Other {
            Err(KeyProblem::UnknownPrefix)
        } else {
            Ok(key)
        }
    });
    checked.map_err(|problem| {
        ConfigProblem::new(Some(raw.source.clone()), problem.to_string(), problem.fix())
    })
}

pub(super) fn warn_about(
    warnings: &mut Vec<String>,
    endpoint: &Endpoint,
    api_key: Option<&ApiKey>,
    protocol: Dialect,
) {
    if !endpoint.is_encrypted() && !endpoint.is_loopback() {
        warnings.push(format!(
            "the key travels unencrypted to {}: use https://",
            endpoint.host()
        ));
    }
    let kind = api_key.map(ApiKey::kind);
    if kind == Some(KeyKind::Plan) && endpoint.is_official() && !endpoint.is_plan_host() {
        warnings.push(
            "the key belongs to a plan (sk-sp-…): set DASHSCOPE_BASE_URL to the plan's host, such as https://coding.dashscope.aliyuncs.com/v1"
                .to_owned(),
        );
    }
    if endpoint.root(protocol).is_none() {
        warnings.push(format!(
            "{} does not serve the {} protocol: set DASHSCOPE_PROTOCOL=openai",
            endpoint.host(),
            protocol
        ));
    }
}
