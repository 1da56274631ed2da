//! The checks themselves. None of them shows a key.

use std::time::{Duration, SystemTime};

use bailian::config::{Config, Resolution, Source};
use bailian::transport::{ReqwestTransport, Transport as _};
use bailian::{ChatRequest, Client, Dialect, Message};
use bytes::Bytes;

use super::Finding;
use crate::failure;

/// How long name resolution, connection and answer may take together.
const PATIENCE: Duration = Duration::from_secs(10);
/// Signed result links and temporary keys go wrong beyond a few minutes.
const MAX_SKEW: Duration = Duration::from_mins(2);

/// What is set, where it comes from, and what is wrong with it.
pub(super) fn settings(resolution: &Resolution) -> Vec<Finding> {
    let mut findings: Vec<Finding> = resolution
        .config
        .report()
        .into_iter()
        .filter(|(variable, _, source)| {
            *source != Source::Default || matters_by_default(variable.name)
        })
        .map(|(variable, value, source)| {
            if variable.name == "DASHSCOPE_API_KEY" && resolution.config.api_key.is_none() {
                let fix = "not usable; set it to a key from the Model Studio console (sk-…), \
                           or try `bailian demo`, which needs none";
                return Finding::bad(variable.name, fix);
            }
            Finding::good(variable.name, format!("{value} ({source})"))
        })
        .collect();
    for problem in &resolution.problems {
        findings.push(Finding::bad("problem", problem.to_string()));
    }
    for warning in resolution.config.warnings() {
        findings.push(Finding::doubtful("warning", warning));
    }
    findings
}

/// Settings that decide where a request goes are shown even when they are defaults.
fn matters_by_default(name: &str) -> bool {
    matches!(
        name,
        "DASHSCOPE_API_KEY" | "DASHSCOPE_BASE_URL" | "DASHSCOPE_REGION" | "DASHSCOPE_PROTOCOL"
    )
}

/// Whether the host has an address, takes connections and answers, and whether the clocks agree.
pub(super) async fn network(config: &Config) -> Vec<Finding> {
    let endpoint = &config.endpoint;
    let host = endpoint.host();
    let mut findings = Vec::new();
    match resolve(host, endpoint.is_encrypted()).await {
        Ok(addresses) => findings.push(Finding::good("name", format!("{host} is {addresses}"))),
        // Behind a proxy only the proxy has to know the name.
        Err(problem) if proxied() => findings.push(Finding::doubtful("name", problem)),
        Err(problem) => {
            findings.push(Finding::bad("name", problem));
            return findings;
        }
    }
    let Some(root) = endpoint.root(Dialect::OpenAi) else {
        return findings;
    };
    match exchange(root).await {
        Ok((status, date)) => {
            let protected = if endpoint.is_encrypted() {
                " over TLS"
            } else {
                " without TLS"
            };
            findings.push(Finding::good("answer", format!("HTTP {status}{protected}")));
            findings.push(clock(date));
        }
        Err(problem) => findings.push(Finding::bad("answer", problem)),
    }
    findings
}

fn proxied() -> bool {
    [
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
        "HTTP_PROXY",
        "http_proxy",
    ]
    .iter()
    .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

async fn resolve(host: &str, is_encrypted: bool) -> Result<String, String> {
    let has_port = host
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let port = if is_encrypted { 443 } else { 80 };
    let address = if has_port {
        host.to_owned()
    } else {
        format!("{host}:{port}")
    };
    let lookup = tokio::time::timeout(PATIENCE, tokio::net::lookup_host(address)).await;
    let addresses: Vec<String> = match lookup {
        Ok(Ok(addresses)) => addresses.map(|address| address.ip().to_string()).collect(),
        Ok(Err(error)) => {
            return Err(format!(
                "{host} has no address ({error}); check DASHSCOPE_BASE_URL, region and workspace, \
                 and the network"
            ));
        }
        Err(_) => {
            return Err(format!(
                "{host}: the name server does not answer; check the network"
            ));
        }
    };
    let mut addresses = addresses;
    addresses.dedup();
    Ok(addresses.join(", "))
}

/// Asks without a key: any answer at all shows that connection, TLS and HTTP work.
async fn exchange(root: &str) -> Result<(u16, Option<SystemTime>), String> {
    let transport = ReqwestTransport::new(PATIENCE).map_err(|error| error.to_string())?;
    let request = http::Request::get(format!("{root}/models"))
        .body(Bytes::new())
        .map_err(|error| format!("{root} is no address: {error}"))?;
    let response = tokio::time::timeout(PATIENCE, transport.send(request))
        .await
        .map_err(|_| format!("no answer within {PATIENCE:?}; check firewall and proxy"))?
        .map_err(|error| {
            let told = failure::told(&anyhow::Error::new(error));
            format!("{told}; check firewall, proxy and the system's root certificates")
        })?;
    let date = response
        .headers()
        .get(http::header::DATE)
        .and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
    Ok((response.status().as_u16(), date))
}

fn clock(date: Option<SystemTime>) -> Finding {
    let Some(date) = date else {
        return Finding::doubtful("clock", "the answer has no date to compare with");
    };
    let now = SystemTime::now();
    let skew = now
        .duration_since(date)
        .unwrap_or_else(|error| error.duration());
    let direction = if now > date { "ahead of" } else { "behind" };
    let seconds = skew.as_secs();
    if skew > MAX_SKEW {
        let text = format!("{seconds} s {direction} the service; set it, or let NTP do it");
        Finding::bad("clock", text)
    } else {
        Finding::good("clock", format!("within {} s of the service", seconds + 1))
    }
}

/// Sends the smallest request there is.
pub(super) async fn live(config: &Config, model: Option<&str>) -> Finding {
    let model = model
        .or(config.default_model.as_deref())
        .unwrap_or("qwen-plus");
    let client = match Client::builder().config(config.clone()).build() {
        Ok(client) => client,
        Err(error) => return Finding::bad("request", error.to_string()),
    };
    let request = ChatRequest::new(model, [Message::user("hi")]).max_tokens(1_u64);
    match client.chat().create(&request).await {
        Ok(response) => {
            let id = response.request_id().unwrap_or("none");
            Finding::good(
                "request",
                format!("{model} answered; the key is good (request id {id})"),
            )
        }
        Err(error) => Finding::bad("request", failure::told(&anyhow::Error::new(error))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_clock_that_is_wrong_by_minutes_is_bad_in_either_direction() {
        let now = SystemTime::now();
        let hour = Duration::from_hours(1);
        assert_eq!(clock(Some(now)).verdict, Verdict::Good);
        assert!(clock(Some(now - hour)).text.contains("ahead of"));
        assert!(clock(Some(now + hour)).text.contains("behind"));
        assert_eq!(clock(Some(now + hour)).verdict, Verdict::Bad);
        assert_eq!(clock(None).verdict, Verdict::Doubtful);
    }
}
