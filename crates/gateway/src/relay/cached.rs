//! A request whose answer may have been given before: find it, wait for it, or ask and keep it.

mod complete;
mod recording;
mod replay;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::HeaderMap;
use http::header::{AGE, HeaderName, HeaderValue};

pub(super) use self::recording::Keep;
use super::waiting::{Caller, WaitingBody};
use super::{Call, headers, send};
use crate::cache::{Asked, Cache, CacheResult, Entry, Key, Landing, Lead, Place, Terms, X_CACHE};
use crate::record::Record;
use crate::worker::Worker;

const X_BAILIAN_CACHE: HeaderName = HeaderName::from_static(X_CACHE);

/// Serves a request. `headers` are all lines of the caller; of those, the call has what is needed
/// later.
pub(super) async fn serve(
    worker: Worker,
    cache: Arc<Cache>,
    headers: &HeaderMap,
    call: Box<Call>,
    record: Box<Record>,
) -> (Response, Duration) {
    let route = worker.state.routes.cache_of(&call.demand.model);
    let terms = Terms::of(&call.surface, &call.method, headers, route, &cache.config);
    let placed = terms.and_then(|terms| Some((terms, key_of(&worker, &cache, &call, &record)?)));
    let Some((terms, key)) = placed else {
        return send(worker, call, record, None).await;
    };
    let question = Question {
        worker,
        cache,
        call,
        key,
        terms,
        record,
    };
    if terms.refresh {
        return question.ask_alone().await;
    }
    let cache = &question.cache;
    match cache.flights.join(key, cache.config.max_waiting) {
        Place::Lead(lead) => question.look_up(lead).await,
        Place::Full => question.ask_alone().await,
        Place::Follow(landing) => {
            let wait = cache.config.wait;
            let landing = Box::pin(async move {
                match tokio::time::timeout(wait, landing).await {
                    Ok(Ok(landing)) => landing,
                    // It took too long.
                    Err(_) | Ok(Err(_)) => Landing::Alone,
                }
            });
            question.follow(landing).await
        }
    }
}

fn key_of(worker: &Worker, cache: &Cache, call: &Call, record: &Record) -> Option<Key> {
    let owner = record.owner.as_ref()?;
    let tenant = (!cache.config.shared).then(|| owner.tenant_key());
    cache.key(&Asked {
        tenant: tenant.as_deref(),
        surface: &call.surface,
        stream: call.demand.stream,
        query: call.query.as_deref(),
        headers: &call.headers,
        accounts: &worker.state.accounts,
        body: &call.bytes,
    })
}

/// A request that has a key.
struct Question {
    worker: Worker,
    cache: Arc<Cache>,
    call: Box<Call>,
    key: Key,
    terms: Terms,
    record: Box<Record>,
}

impl Question {
    /// Looks for the answer, and asks for it if it is not there.
    async fn look_up(self, lead: Lead) -> (Response, Duration) {
        match self.cache.get(self.key).await {
            Some((entry, age)) if self.terms.accept(age) => {
                lead.land(&entry, true);
                self.replay(&entry, CacheResult::Hit)
            }
            _ => self.ask(lead).await,
        }
    }

    /// Waits for the answer of an equal request. The client of a stream hears meanwhile that the
    /// connection lives.
    async fn follow(
        self,
        mut landing: Pin<Box<dyn Future<Output = Landing> + Send>>,
    ) -> (Response, Duration) {
        let keep_alive = self.worker.state.pacing.keep_alive();
        if !self.call.demand.stream {
            let landing = landing.await;
            return self.go_on(landing).await;
        }
        if let Ok(landing) = tokio::time::timeout(keep_alive, &mut landing).await {
            return self.go_on(landing).await;
        }
        let caller = Caller::of(&self.record);
        let rest = Box::pin(async move {
            let landing = landing.await;
            self.go_on(landing).await
        });
        let body = WaitingBody::new(rest, keep_alive, caller);
        let mut response = Response::new(Body::new(body));
        *response.headers_mut() = headers::of_event_stream();
        stamp(response.headers_mut(), CacheResult::Wait);
        (response, Duration::ZERO)
    }

    async fn go_on(self, landing: Landing) -> (Response, Duration) {
        match landing {
            Landing::Answer { entry, was_kept } => {
                if !self.terms.accept(entry.age(self.cache.now())) {
                    return self.ask_alone().await;
                }
                let result = if was_kept {
                    CacheResult::Hit
                } else {
                    CacheResult::Wait
                };
                self.replay(&entry, result)
            }
            Landing::Lead(lead) => self.look_up(lead).await,
            Landing::Alone => self.ask_alone().await,
        }
    }

    async fn ask_alone(self) -> (Response, Duration) {
        let lead = self.cache.flights.alone(self.key);
        self.ask(lead).await
    }

    /// Sends the request, and keeps its answer if that can be.
    async fn ask(mut self, lead: Lead) -> (Response, Duration) {
        self.record.cache = Some(CacheResult::Miss);
        let keep = Keep::new(
            self.cache,
            lead,
            self.terms.ttl,
            &self.call,
            &mut self.record,
        );
        let sent = send(self.worker, self.call, self.record, Some(Box::new(keep)));
        let (mut response, queued) = Box::pin(sent).await;
        stamp(response.headers_mut(), CacheResult::Miss);
        (response, queued)
    }

    /// Answers with what is kept.
    fn replay(self, entry: &Arc<Entry>, result: CacheResult) -> (Response, Duration) {
        let mut record = self.record;
        record.cache = Some(result);
        record.from_cache = true;
        record.usage = entry.usage;
        let age = entry.age(self.cache.now()).as_secs();
        let mut response = replay::response(entry, record);
        stamp(response.headers_mut(), result);
        response.headers_mut().insert(AGE, age.into());
        (response, Duration::ZERO)
    }
}

fn stamp(headers: &mut HeaderMap, result: CacheResult) {
    let value = HeaderValue::from_static(result.as_str());
    headers.insert(X_BAILIAN_CACHE, value);
}
