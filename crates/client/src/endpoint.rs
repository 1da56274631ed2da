//! Where requests go: the roots of the service's protocols, from a base URL or region and workspace.

use std::fmt;

use bailian_wire::Dialect;
use thiserror::Error;
use url::Url;

use crate::config::shown;
use crate::region::{Region, Workspace};

const ROOTS: [Dialect; 3] = [Dialect::Native, Dialect::OpenAi, Dialect::Anthropic];

/// Hosts of the Coding Plan. They serve OpenAI paths under `/v1` and no native protocol.
const CODING_HOSTS: [&str; 2] = [
    "coding.dashscope.aliyuncs.com",
    "coding-intl.dashscope.aliyuncs.com",
];

/// The addresses of the three protocols on one host.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    native: Option<String>,
    openai: String,
    anthropic: String,
    host: String,
    is_loopback: bool,
    is_encrypted: bool,
}

/// Why there is no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// The base URL cannot be used.
    #[error("{0}")]
    BaseUrl(BaseUrlProblem),
    /// The region has workspace hosts only, and no workspace is set.
    #[error("region {0} has no shared host, only a host per workspace")]
    WorkspaceNeeded(Region),
}

/// What is wrong with a base URL, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{problem}")]
pub struct BaseUrlProblem {
    /// As the end of a sentence that begins with the setting's name.
    pub problem: String,
    /// What to do.
    pub fix: String,
}

// === impl Endpoint ===

impl Endpoint {
    /// The endpoint of a region: the workspace's own host if one is given, else the shared host.
    ///
    /// # Errors
    /// [`EndpointError::WorkspaceNeeded`] for Frankfurt and Tokyo without a workspace.
    pub fn of_region(region: Region, workspace: Option<&Workspace>) -> Result<Self, EndpointError> {
        let host = match (workspace, region.shared_host()) {
            (Some(workspace), _) => region.workspace_host(workspace),
            (None, Some(shared)) => shared.to_owned(),
            (None, None) => return Err(EndpointError::WorkspaceNeeded(region)),
        };
        Self::from_base_url(&host)
    }

    /// The endpoint for a base URL: a bare host, or a URL that ends in the root of any protocol.
    ///
    /// A path before the root is kept, so a gateway may live under a prefix.
    ///
    /// # Errors
    /// [`EndpointError::BaseUrl`] when it is not a plain `http` or `https` address.
    ///
    /// ```
    /// use bailian::{Dialect, Endpoint};
    ///
    /// let endpoint = Endpoint::from_base_url("https://gw.example.com/x/api/v1/").unwrap();
    /// assert_eq!(endpoint.root(Dialect::OpenAi), Some("https://gw.example.com/x/compatible-mode/v1"));
    /// ```
    pub fn from_base_url(text: &str) -> Result<Self, EndpointError> {
        parse_base_url(text).map_err(EndpointError::BaseUrl)
    }

    /// The root URL of a protocol, without a slash at the end; `None` where the host does not serve it.
    pub fn root(&self, dialect: Dialect) -> Option<&str> {
        match dialect {
            Dialect::Native => self.native.as_deref(),
            Dialect::OpenAi => Some(&self.openai),
            Dialect::Anthropic => Some(&self.anthropic),
        }
    }

    /// The host, with the port if the URL names one.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether the host is one of the service's own.
    pub fn is_official(&self) -> bool {
        let name = self.host.split(':').next().unwrap_or_default();
        name.ends_with(".aliyuncs.com")
    }

    /// Whether the host takes keys of the Coding Plan or Token Plan (`sk-sp-…`).
    pub fn is_plan_host(&self) -> bool {
        CODING_HOSTS.contains(&self.host.as_str()) || self.host.starts_with("token-plan.")
    }

    /// Whether requests stay on this machine.
    pub fn is_loopback(&self) -> bool {
        self.is_loopback
    }

    /// Whether requests travel over TLS.
    pub fn is_encrypted(&self) -> bool {
        self.is_encrypted
    }
}

/// The shared host of Beijing.
impl Default for Endpoint {
    fn default() -> Self {
        let host = "dashscope.aliyuncs.com";
        let root = |dialect: Dialect| format!("https://{host}{}", dialect.root_path());
        Self {
            native: Some(root(Dialect::Native)),
            openai: root(Dialect::OpenAi),
            anthropic: root(Dialect::Anthropic),
            host: host.to_owned(),
            is_loopback: false,
            is_encrypted: true,
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("native", &self.native)
            .field("openai", &self.openai)
            .field("anthropic", &self.anthropic)
            .finish_non_exhaustive()
    }
}

impl EndpointError {
    /// What to do about it.
    pub fn fix(&self) -> String {
        match self {
            Self::BaseUrl(problem) => problem.fix.clone(),
            Self::WorkspaceNeeded(region) => format!(
                "set DASHSCOPE_WORKSPACE to the workspace id (its host is <workspace>.{region}.maas.aliyuncs.com)"
            ),
        }
    }
}

fn parse_base_url(text: &str) -> Result<Endpoint, BaseUrlProblem> {
    let bad = |problem: &str, fix: &str| BaseUrlProblem {
        problem: problem.to_owned(),
        fix: fix.to_owned(),
    };
    let text = text.trim();
    let absolute = if text.contains("://") {
        text.to_owned()
    } else {
        format!("https://{text}")
    };
    let Ok(url) = Url::parse(&absolute) else {
        return Err(BaseUrlProblem {
            problem: format!("is not a URL: {}", shown(text)),
            fix: "write a host or a URL, for example https://dashscope.aliyuncs.com".to_owned(),
        });
    };
    if !matches!(url.scheme(), "http" | "https") {
        return Err(BaseUrlProblem {
            problem: format!("has the scheme {:?}", url.scheme()),
            fix: "begin it with https:// (http:// for a server of your own)".to_owned(),
        });
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad(
            "contains a user name or password",
            "remove it; the API key goes into DASHSCOPE_API_KEY",
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(bad("has a part after \"?\" or \"#\"", "remove that part"));
    }
    let Some(host) = url.host_str().filter(|host| !host.is_empty()) else {
        return Err(bad(
            "names no host",
            "write a URL like https://dashscope.aliyuncs.com",
        ));
    };
    // Without a scheme, a single word such as a misplaced key or model name would become a host.
    if !text.contains("://") && !host.contains(['.', ':']) && host != "localhost" {
        return Err(BaseUrlProblem {
            problem: format!("is not a host name: {}", shown(text)),
            fix: "write a host or a URL, for example https://dashscope.aliyuncs.com".to_owned(),
        });
    }
    let is_loopback = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    let host = url
        .port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let origin = format!("{}://{host}", url.scheme());
    let path = url.path().trim_end_matches('/');
    let (prefix, openai_root) = split_path(path, &origin)?;
    let [native, _, anthropic] = ROOTS.map(Dialect::root_path);
    let coding = CODING_HOSTS.contains(&host.as_str());
    let openai_root = if coding { "/v1" } else { openai_root };
    Ok(Endpoint {
        native: (!coding).then(|| format!("{origin}{prefix}{native}")),
        openai: format!("{origin}{prefix}{openai_root}"),
        anthropic: format!("{origin}{prefix}{anthropic}"),
        is_encrypted: url.scheme() == "https",
        host,
        is_loopback,
    })
}

/// Splits a base URL's path into the prefix before the protocol roots and the OpenAI root to use.
fn split_path<'a>(path: &'a str, origin: &str) -> Result<(&'a str, &'static str), BaseUrlProblem> {
    // Anthropic's clients add `/v1` themselves, so guides show the root with and without it.
    let [native, openai, anthropic] = ROOTS.map(Dialect::root_path);
    let roots = [openai, native, "/apps/anthropic/v1", anthropic];
    for root in roots {
        if let Some(prefix) = path.strip_suffix(root) {
            return Ok((prefix, openai));
        }
    }
    for root in roots {
        if let Some((prefix, rest)) = path.split_once(&format!("{root}/")) {
            return Err(BaseUrlProblem {
                problem: format!("goes on after the protocol's root, with /{rest}"),
                fix: format!("end it at the root: {origin}{prefix}{root}"),
            });
        }
    }
    // A plain `/v1` is how gateways and the plan hosts serve the OpenAI protocol.
    if let Some(prefix) = path.strip_suffix("/v1") {
        return Ok((prefix, "/v1"));
    }
    Ok((path, openai))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roots(base: &str) -> [Option<String>; 3] {
        let endpoint = Endpoint::from_base_url(base).unwrap();
        ROOTS.map(|dialect| endpoint.root(dialect).map(str::to_owned))
    }

    fn expected(prefix: &str) -> [Option<String>; 3] {
        ROOTS.map(|dialect| Some(format!("{prefix}{}", dialect.root_path())))
    }

    #[test]
    fn a_bare_host_and_every_root_mean_the_same() {
        for base in [
            "dashscope.aliyuncs.com",
            "https://dashscope.aliyuncs.com",
            "https://dashscope.aliyuncs.com/",
            "https://dashscope.aliyuncs.com/api/v1",
            "https://dashscope.aliyuncs.com/api/v1/",
            "https://dashscope.aliyuncs.com/compatible-mode/v1",
            "https://dashscope.aliyuncs.com/compatible-mode/v1/",
            "https://dashscope.aliyuncs.com/apps/anthropic",
            "https://dashscope.aliyuncs.com/apps/anthropic/v1/",
        ] {
            assert_eq!(
                roots(base),
                expected("https://dashscope.aliyuncs.com"),
                "{base}"
            );
        }
    }

    #[test]
    fn ports_plain_http_and_prefixes_are_kept() {
        assert_eq!(
            roots("http://127.0.0.1:8080"),
            expected("http://127.0.0.1:8080")
        );
        assert_eq!(roots("http://[::1]:9/api/v1"), expected("http://[::1]:9"));
        assert_eq!(
            roots("https://gw.example.com/x/api/v1"),
            expected("https://gw.example.com/x")
        );
        assert_eq!(
            roots("https://gw.example.com/x"),
            expected("https://gw.example.com/x")
        );
    }

    #[test]
    fn a_gateways_short_root_is_used_for_the_openai_protocol() {
        let [native, openai, _] = roots("http://127.0.0.1:8080/v1");
        assert_eq!(openai.as_deref(), Some("http://127.0.0.1:8080/v1"));
        assert_eq!(native.as_deref(), Some("http://127.0.0.1:8080/api/v1"));
    }

    #[test]
    fn plan_hosts_have_no_native_root_and_short_openai_paths() {
        let coding = Endpoint::from_base_url("https://coding.dashscope.aliyuncs.com/v1").unwrap();
        assert_eq!(coding.root(Dialect::Native), None);
        assert_eq!(
            coding.root(Dialect::OpenAi),
            Some("https://coding.dashscope.aliyuncs.com/v1")
        );
        assert!(coding.is_plan_host());
        let token = "https://token-plan.cn-beijing.maas.aliyuncs.com/compatible-mode/v1";
        assert_eq!(
            Endpoint::from_base_url(token)
                .unwrap()
                .root(Dialect::OpenAi),
            Some(token)
        );
    }

    #[test]
    fn unusable_base_urls_are_refused_with_a_fix_and_without_secrets() {
        for (base, part) in [
            ("ftp://host", "https://"),
            ("https://user:secret-pass@host/api/v1", "DASHSCOPE_API_KEY"),
            ("https://host/api/v1?x=1", "remove"),
            ("sk-0123456789abcdef", "https://dashscope.aliyuncs.com"),
            (
                "https://host/compatible-mode/v1/chat/completions",
                "https://host/compatible-mode/v1",
            ),
            ("http://", "https://"),
        ] {
            let error = Endpoint::from_base_url(base).unwrap_err();
            assert!(error.fix().contains(part), "{base}: {}", error.fix());
            let message = format!("{error} {}", error.fix());
            assert!(
                !message.contains("secret-pass") && !message.contains("0123456789"),
                "{message}"
            );
        }
    }

    #[test]
    fn regions_without_a_shared_host_ask_for_a_workspace() {
        let error = Endpoint::of_region(Region::EuCentral1, None).unwrap_err();
        assert!(error.fix().contains("DASHSCOPE_WORKSPACE"));
        let workspace = "llm-1".parse().unwrap();
        let endpoint = Endpoint::of_region(Region::EuCentral1, Some(&workspace)).unwrap();
        assert_eq!(endpoint.host(), "llm-1.eu-central-1.maas.aliyuncs.com");
    }
}
