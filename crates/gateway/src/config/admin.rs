//! `[admin]`: who may see and change what the gateway keeps, and where.

use std::net::SocketAddr;

use secrecy::SecretString;
use serde::Deserialize;
use utoipa::ToSchema;

use super::Problem;
use super::key::key_problem;
use super::secret::{self, Environment};
use super::server::parse_listen;
use super::text::SecretText;

/// The admin endpoints (docs/admin.md): who may use them, and where they are.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AdminFile {
    /// Opens `/admin/…`: 8 or more printable characters.
    token: Option<SecretText>,
    /// An address and port where the admin paths are served, and nowhere else. One that other machines
    /// reach needs a `token`.
    #[schema(examples("127.0.0.1:8081"))]
    listen: Option<String>,
    /// Names under which that listener may be reached, beside addresses and `localhost`.
    #[serde(default)]
    #[schema(examples(json!(["gateway.internal"])))]
    hosts: Vec<String>,
}

/// The admin part, checked.
#[derive(Default)]
pub(super) struct AdminSettings {
    pub(super) token: Option<SecretString>,
    pub(super) listen: Option<SocketAddr>,
    pub(super) hosts: Vec<String>,
}

impl AdminFile {
    pub(super) fn resolve(
        self,
        environment: &dyn Environment,
        problems: &mut Vec<Problem>,
    ) -> AdminSettings {
        if self.token.is_none() && self.listen.is_none() {
            let problem = "is empty; set token = \"env:BAILIAN_ADMIN_TOKEN\", or leave it out";
            problems.push(Problem::new("admin", problem));
        }
        let has_token = self.token.is_some();
        let token = self
            .token
            .and_then(|token| resolve_token(token.expose(), environment, problems));
        let listen = self.listen.and_then(|text| {
            parse_listen(&text)
                .map_err(|problem| problems.push(Problem::new("admin.listen", problem)))
                .ok()
        });
        if listen.is_some_and(|address| !address.ip().is_loopback()) && !has_token {
            let problem = "is reached from other machines, so admin.token has to be set";
            problems.push(Problem::new("admin.listen", problem));
        }
        for (index, host) in self.hosts.iter().enumerate() {
            let is_name = !host.is_empty()
                && host
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
            if !is_name {
                let problem = "is not a host's name such as gateway.internal, without a port";
                problems.push(Problem::new(format!("admin.hosts[{index}]"), problem));
            }
        }
        AdminSettings {
            token,
            listen,
            hosts: self.hosts,
        }
    }
}

fn resolve_token(
    text: &str,
    environment: &dyn Environment,
    problems: &mut Vec<Problem>,
) -> Option<SecretString> {
    let token = secret::resolve(text, environment)
        .and_then(|token| key_problem(&token).map_or(Ok(token), |problem| Err(problem.to_owned())));
    token
        .map_err(|problem| problems.push(Problem::new("admin.token", problem)))
        .ok()
}
