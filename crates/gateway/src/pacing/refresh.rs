//! Asks the service what the account may use: at the start, and every few minutes. Of an upstream under
//! another name it is asked once an answer showed that the service stands behind it.
//!
//! The two language versions of the documentation name different paths, so both are tried
//! (catalogue, `quota_api`).

use std::collections::HashMap;
use std::time::Duration;

use bailian_wire::quota::{Quota, QuotaAnswer};
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, HOST, HeaderValue};
use http_body_util::{BodyExt as _, Limited};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::account::Account;
use crate::relay::Chain;
use crate::state::State;
use crate::surface::Root;
use crate::upstream::Upstream;
use crate::worker::Workers;

/// Time between two questions, and after an answer that could not be used.
const INTERVAL: Duration = Duration::from_mins(5);
const INTERVAL_AFTER_FAILURE: Duration = Duration::from_mins(10);
/// How long one page may take.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Quotas per page, as the documentation's example has it, and the most pages that are read.
const PAGE_SIZE: u64 = 20;
const MOST_PAGES: u64 = 200;
const MAX_PAGE_BYTES: usize = 1024 * 1024;

/// Paths below the native root.
const PATHS: [&str; 2] = ["/quotas", "/models/limits"];

/// Why the service's limits are not known.
#[derive(Debug, thiserror::Error)]
enum QuotaError {
    #[error("the quota API did not answer within {} s", TIMEOUT.as_secs())]
    Timeout,
    #[error("cannot ask the quota API")]
    Upstream(#[from] crate::upstream::UpstreamError),
    #[error("the quota API's answer did not come whole")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the quota API answered with HTTP {0}")]
    Status(http::StatusCode),
    #[error("the quota API's answer cannot be read")]
    Json(#[from] serde_json::Error),
    #[error("the request to the quota API cannot be made")]
    Request,
}

/// Asks for every account that is to be asked for, for as long as it is driven. `changed` says that
/// there may be others.
pub(crate) async fn keep_asking(workers: Workers, mut changed: watch::Receiver<()>) {
    let mut asking: HashMap<String, (String, AbortOnDropHandle<()>)> = HashMap::new();
    loop {
        let wanted: HashMap<String, String> = {
            let state = workers.state();
            let accounts = state.accounts.iter().filter(|account| account.quota_api);
            accounts
                .map(|account| {
                    let origin = account.endpoint(Root::Native).origin.to_string();
                    (account.name().to_owned(), origin)
                })
                .collect()
        };
        asking.retain(|account, (origin, _)| wanted.get(account) == Some(origin));
        for (account, origin) in wanted {
            asking.entry(account).or_insert_with_key(|account| {
                let task = tokio::spawn(ask_again(workers.clone(), account.clone()));
                (origin, AbortOnDropHandle::new(task))
            });
        }
        if changed.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

async fn ask_again(workers: Workers, account: String) {
    let unknown = workers.state().pacing.unknown_service(&account);
    if let Some(service) = unknown {
        service.seen.notified().await;
    }
    let mut is_first = true;
    loop {
        // Whatever is in force by now.
        let state = workers.state();
        let interval = match ask(&state, &*workers.upstream, &account).await {
            Ok(quotas) => {
                let message = "the service told the account's limits";
                if is_first {
                    tracing::info!(models = quotas.len(), "{message}");
                }
                workers.state().pacing.tell(&account, &quotas);
                INTERVAL
            }
            Err(error) => {
                // Most accounts and all other upstreams have no such thing: no reason to worry.
                tracing::debug!(error = %Chain(&error), "limits stay as they are known");
                INTERVAL_AFTER_FAILURE
            }
        };
        drop(state);
        is_first = false;
        tokio::time::sleep(interval).await;
    }
}

async fn ask(
    state: &State,
    upstream: &dyn Upstream,
    account: &str,
) -> Result<Vec<Quota>, QuotaError> {
    let mut accounts = state.accounts.iter();
    let account = accounts.find(|it| it.name() == account);
    let account = account.ok_or(QuotaError::Request)?;
    let [first, second] = PATHS;
    match ask_at(account, upstream, first).await {
        Err(QuotaError::Status(_) | QuotaError::Json(_)) => ask_at(account, upstream, second).await,
        answer => answer,
    }
}

async fn ask_at(
    account: &Account,
    upstream: &dyn Upstream,
    path: &str,
) -> Result<Vec<Quota>, QuotaError> {
    let mut quotas = Vec::new();
    for number in 1..=MOST_PAGES {
        let page = tokio::time::timeout(TIMEOUT, page(account, upstream, path, number))
            .await
            .map_err(|_| QuotaError::Timeout)??;
        let total = page.output.total;
        let is_last = page.output.quotas.is_empty();
        quotas.extend(page.output.quotas);
        if is_last || total.is_none_or(|total| quotas.len() as u64 >= total) {
            break;
        }
    }
    Ok(quotas)
}

async fn page(
    account: &Account,
    upstream: &dyn Upstream,
    path: &str,
    number: u64,
) -> Result<QuotaAnswer, QuotaError> {
    let endpoint = account.endpoint(Root::Native);
    let query = format!("page_no={number}&page_size={PAGE_SIZE}");
    let mut request = http::Request::new(Bytes::new());
    *request.uri_mut() = endpoint
        .below(path, Some(&query))
        .ok_or(QuotaError::Request)?;
    let headers = request.headers_mut();
    headers.insert(HOST, endpoint.origin.host_header().clone());
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    if let Some(authorization) = account.authorization() {
        headers.insert(AUTHORIZATION, authorization);
    }
    account.add_workspace(headers);
    let answer = upstream.send(&endpoint.origin, request).await?;
    let status = answer.status();
    if !status.is_success() {
        return Err(QuotaError::Status(status));
    }
    let body = Limited::new(answer.into_body(), MAX_PAGE_BYTES)
        .collect()
        .await;
    let bytes = body.map_err(QuotaError::Body)?.to_bytes();
    Ok(serde_json::from_slice(&bytes)?)
}
