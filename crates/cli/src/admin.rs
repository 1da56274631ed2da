//! The gateway's admin API, for the commands that speak to it.

use std::fmt::Write as _;
use std::io::Write as _;
use std::ops::ControlFlow;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use bailian::transport::{ReqwestTransport, Transport as _, TransportError};
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use tokio::runtime::Runtime;
use url::{Host, Url};

use crate::failure::{self, Failure};
use crate::settings::Settings;

const DEFAULT_URL: &str = "http://127.0.0.1:8080";
const CONNECT: Duration = Duration::from_secs(10);
/// A sum over a large ledger takes its time.
const PATIENCE: Duration = Duration::from_mins(2);
/// Ten thousand rows, which is the most there are in an answer, are smaller.
const MAX_BYTES: usize = 64 * 1024 * 1024;
/// The entries that are asked for at once, and how many of these pages are read.
const PAGE: usize = 1000;
const MAX_PAGES: usize = 100;

/// Where the admin API is and what opens it.
#[derive(Debug, clap::Args)]
pub(crate) struct Access {
    /// The gateway's address [default: BAILIAN_ADMIN_URL, else http://127.0.0.1:8080].
    #[arg(long, global = true)]
    url: Option<String>,
    /// The operator's token [default: BAILIAN_ADMIN_TOKEN, which other users of this machine do not
    /// see in the list of processes].
    #[arg(long, global = true)]
    token: Option<SecretString>,
}

/// The admin API of one gateway.
pub(crate) struct Admin {
    runtime: Runtime,
    transport: ReqwestTransport,
    root: Url,
    authorization: HeaderValue,
}

impl Admin {
    pub(crate) fn open(access: &Access) -> Result<Self, Failure> {
        let settings = Settings::read()?;
        let variable = |name| settings.get(name).filter(|value| !value.is_empty());
        let url = access.url.clone().or_else(|| variable("BAILIAN_ADMIN_URL"));
        let root = root(url.as_deref().unwrap_or(DEFAULT_URL)).map_err(Failure::Usage)?;
        let token = access.token.clone();
        let token = token.or_else(|| variable("BAILIAN_ADMIN_TOKEN").map(SecretString::from));
        let token = token.context(
            "there is no operator's token; set BAILIAN_ADMIN_TOKEN to what `[admin] token` of the \
             gateway's configuration says, or give --token",
        );
        let token = token.map_err(Failure::Usage)?;
        let bearer = format!("Bearer {}", token.expose_secret());
        let mut authorization = HeaderValue::from_str(&bearer)
            .map_err(|_| Failure::usage(anyhow!("the operator's token has a control character")))?;
        authorization.set_sensitive(true);
        let transport = if is_here(&root) {
            ReqwestTransport::direct(CONNECT)
        } else {
            ReqwestTransport::new(CONNECT)
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the runtime")
            .map_err(Failure::Run)?;
        Ok(Self {
            runtime,
            transport: transport.map_err(Failure::run)?,
            root,
            authorization,
        })
    }

    /// Reads what is at a path, which is written as it stands in a URL.
    pub(crate) fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, Failure> {
        let mut url = self.at(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.ask(Method::GET, &url, Bytes::new())
    }

    /// Reads what is at a path, if there is anything.
    pub(crate) fn find(&self, path: &str) -> Result<Option<Value>, Failure> {
        let (status, answer) = self.exchanged(Method::GET, &self.at(path), Bytes::new())?;
        if status == StatusCode::NOT_FOUND && answer["error"]["code"] == "not_found" {
            return Ok(None);
        }
        self.answer(status, answer).map(Some)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.ask(Method::POST, &self.at(path), body.to_string().into())
    }

    pub(crate) fn patch(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.ask(Method::PATCH, &self.at(path), body.to_string().into())
    }

    pub(crate) fn delete(&self, path: &str, query: &[(&str, &str)]) -> Result<(), Failure> {
        let mut url = self.at(path);
        url.query_pairs_mut().extend_pairs(query);
        self.ask(Method::DELETE, &url, Bytes::new()).map(drop)
    }

    /// All entries of a list, page by page.
    pub(crate) fn list(&self, path: &str, query: &[(&str, &str)]) -> Result<Vec<Value>, Failure> {
        let mut all = Vec::new();
        self.walk(path, query, "after", PAGE, |entry| {
            all.push(entry);
            ControlFlow::Continue(())
        })?;
        Ok(all)
    }

    /// Gives the entries of a list to `take`, page by page, until it wants no more. `place` is the
    /// parameter that says where a page begins.
    pub(crate) fn walk(
        &self,
        path: &str,
        query: &[(&str, &str)],
        place: &str,
        page: usize,
        mut take: impl FnMut(Value) -> ControlFlow<()>,
    ) -> Result<(), Failure> {
        let limit = page.clamp(1, PAGE).to_string();
        let mut next: Option<String> = None;
        let mut count = 0;
        for _ in 0..MAX_PAGES {
            let mut query = query.to_vec();
            query.push(("limit", &limit));
            query.extend(next.as_deref().map(|next| (place, next)));
            let mut page = self.get(path, &query)?;
            if let Value::Array(data) = page["data"].take() {
                count += data.len();
                for entry in data {
                    if take(entry).is_break() {
                        return Ok(());
                    }
                }
            }
            next = page["next"].as_str().map(str::to_owned);
            if next.is_none() {
                return Ok(());
            }
        }
        eprintln!("there are more; only the first {count} are read");
        Ok(())
    }

    fn at(&self, path: &str) -> Url {
        let mut url = self.root.clone();
        let root = self.root.path().trim_end_matches('/');
        url.set_path(&format!("{root}/admin/v1{path}"));
        url
    }

    fn ask(&self, method: Method, url: &Url, body: Bytes) -> Result<Value, Failure> {
        let (status, answer) = self.exchanged(method, url, body)?;
        self.answer(status, answer)
    }

    fn answer(&self, status: StatusCode, answer: Value) -> Result<Value, Failure> {
        let has_answer = !answer.is_null() || status == StatusCode::NO_CONTENT;
        if status.is_success() && has_answer {
            Ok(answer)
        } else {
            Err(self.refusal(status, &answer))
        }
    }

    /// Status and JSON of an answer; nothing for what is no JSON.
    fn exchanged(
        &self,
        method: Method,
        url: &Url,
        body: Bytes,
    ) -> Result<(StatusCode, Value), Failure> {
        let request = Request::builder()
            .method(method)
            .uri(url.as_str())
            .header(AUTHORIZATION, self.authorization.clone())
            .header(CONTENT_TYPE, "application/json")
            .body(body)
            .context("the gateway's address cannot be used")
            .map_err(Failure::Usage)?;
        let exchange = async { tokio::time::timeout(PATIENCE, self.exchange(request)).await };
        let (status, body) = self.runtime.block_on(exchange).map_err(|_| {
            let at = self.origin();
            Failure::run(anyhow!(
                "the gateway at {at} did not answer within {PATIENCE:?}"
            ))
        })??;
        let answer = serde_json::from_slice(&body).unwrap_or_default();
        Ok((status, answer))
    }

    async fn exchange(&self, request: Request<Bytes>) -> Result<(StatusCode, Vec<u8>), Failure> {
        let response = self.transport.send(request).await;
        let response = response.map_err(|error| self.away(error))?;
        let status = response.status();
        let mut parts = response.into_body();
        let mut body = Vec::new();
        while let Some(part) = parts.next().await {
            body.extend_from_slice(&part.map_err(|error| self.away(error))?);
            if body.len() > MAX_BYTES {
                let problem = anyhow!("the answer is larger than {MAX_BYTES} bytes; ask for less");
                return Err(Failure::Run(problem));
            }
        }
        Ok((status, body))
    }

    fn origin(&self) -> String {
        self.root.origin().ascii_serialization()
    }

    fn away(&self, error: TransportError) -> Failure {
        let told = failure::told(&anyhow::Error::new(error));
        Failure::run(anyhow!(
            "there is no gateway at {}: {told}\nstart it with `bailian serve`, or say where it is \
             with --url or BAILIAN_ADMIN_URL",
            self.origin()
        ))
    }

    /// What the gateway said, and what to do about it.
    fn refusal(&self, status: StatusCode, answer: &Value) -> Failure {
        let at = self.origin();
        let error = &answer["error"];
        // The gateway's other errors are those of the protocols that it serves, and have a type.
        let code = error["code"].as_str().filter(|_| error["type"].is_null());
        let code = code.unwrap_or_default();
        let mut told = match (status, code) {
            (StatusCode::UNAUTHORIZED, _) => format!(
                "the gateway at {at} does not take this token; BAILIAN_ADMIN_TOKEN or --token has \
                 to be what `[admin] token` of its configuration says (a virtual key is no \
                 operator's token)"
            ),
            (_, "no_data") => format!(
                "the gateway at {at} keeps neither keys nor usage; give it a folder, with \
                 `[data] folder = \"…\"` in its configuration or with BAILIAN_DATA, and start it \
                 again"
            ),
            (_, "") => format!(
                "what answers at {at} (HTTP {}) is not the gateway's admin API; if the gateway has \
                 `[admin] listen`, give that address with --url",
                status.as_u16()
            ),
            _ => clean(error["message"].as_str().unwrap_or(code)),
        };
        let problems = error["problems"].as_array().map_or(&[][..], Vec::as_slice);
        if problems.len() > 1 {
            for problem in problems {
                let member = |name| clean(problem[name].as_str().unwrap_or_default());
                // Writing to a `String` cannot fail.
                let _ = write!(told, "\n  - {} {}", member("path"), member("message"));
            }
        }
        match code {
            // What was said at the command line is what the gateway cannot use.
            "invalid" => Failure::usage(anyhow!(told)),
            _ => Failure::run(anyhow!(told)),
        }
    }
}

/// The part of an address before `/admin/v1`.
fn root(text: &str) -> anyhow::Result<Url> {
    let mut url = Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .context("the gateway's address has to be such as http://127.0.0.1:8080")?;
    anyhow::ensure!(
        url.username().is_empty() && url.password().is_none(),
        "the gateway's address has a name or a password in it; the operator's token alone opens it"
    );
    let path = url.path().trim_end_matches('/');
    let path = path.strip_suffix("/admin/v1").unwrap_or(path).to_owned();
    url.set_path(&path);
    url.set_query(None);
    url.set_fragment(None);
    Ok(url)
}

/// Whether it is on this machine, where no proxy is asked.
fn is_here(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// A text without what would command a terminal: names come from clients.
pub(crate) fn clean(text: &str) -> String {
    let commands =
        |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.replace(commands, "\u{fffd}")
}

/// A member's text, empty where there is none.
pub(crate) fn text(value: &Value, name: &str) -> String {
    clean(value[name].as_str().unwrap_or_default())
}

/// Whether a text has the form of an id that begins so.
pub(crate) fn is_id(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix)
        .is_some_and(|rest| rest.len() == 10 && rest.bytes().all(|b| b.is_ascii_alphanumeric()))
}

pub(crate) fn print(text: &str) -> Result<(), Failure> {
    failure::written(std::io::stdout().write_all(text.as_bytes()))
}

/// Prints what the admin API gave, for other programs.
pub(crate) fn print_json(value: &Value) -> Result<(), Failure> {
    print(&format!("{value:#}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_have_the_api_s_path_already() {
        for text in [
            "http://localhost:9090",
            "http://localhost:9090/",
            "http://localhost:9090/admin/v1/",
        ] {
            assert_eq!(root(text).unwrap().as_str(), "http://localhost:9090/");
        }
        assert_eq!(root("https://a.example/b/").unwrap().path(), "/b");
        for text in ["localhost:9090", "ftp://a.example", "http://a:b@c.example"] {
            assert!(root(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_name_commands_no_terminal() {
        assert_eq!(clean("研发\x1b[2J\u{202e}部"), "研发\u{fffd}[2J\u{fffd}部");
    }
}
