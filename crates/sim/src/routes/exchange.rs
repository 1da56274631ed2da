//! One request and its answer, journalled from arrival to end.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::response::Response;
use bailian_wire::Dialect;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use http::{StatusCode, Uri};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::json;
use tokio::time::sleep;

use crate::body::AnswerBody;
use crate::config::SimConfig;
use crate::faults::Fault;
use crate::frames::error_frame;
use crate::journal::{JournalGuard, Verdict};
use crate::keys::{Caller, identify, mask};
use crate::rejection::Rejection;
use crate::schedule::Schedule;
use crate::server::ResetConnection;
use crate::simulator::Simulator;

/// A request that is being answered. Dropped without an answer, it journals that the client left.
pub(super) struct Exchange {
    pub(super) simulator: Simulator,
    pub(super) config: Arc<SimConfig>,
    pub(super) dialect: Dialect,
    pub(super) request_id: String,
    pub(super) guard: JournalGuard,
    /// Whether errors are framed as an event, where the configuration says so.
    pub(super) framed_errors: bool,
    /// The `Bearer` key.
    pub(super) key: Option<String>,
    arrived: SystemTime,
}

impl Exchange {
    pub(super) fn begin(
        simulator: Simulator,
        dialect: Dialect,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Self {
        let config = simulator.config();
        let request_id = simulator.next_request_id();
        let key = presented_key(headers)
            .or_else(|| anthropic_key(dialect, headers))
            .map(str::to_owned);
        let guard = simulator
            .shared
            .journal
            .open(config.journal_capacity, |entry| {
                entry.request_id.clone_from(&request_id);
                entry.key = key.as_deref().map(mask).unwrap_or_default();
                uri.path().clone_into(&mut entry.path);
                entry.dialect = dialect.to_string();
            });
        Self {
            simulator,
            config,
            dialect,
            request_id,
            guard,
            framed_errors: false,
            key,
            arrived: SystemTime::now(),
        }
    }

    /// A call that is no request to a model.
    pub(super) fn begin_unjournalled(simulator: Simulator, uri: &Uri, headers: &HeaderMap) -> Self {
        debug_assert!(uri.path().starts_with("/api/"));
        Self {
            config: simulator.config(),
            request_id: simulator.next_request_id(),
            key: presented_key(headers).map(str::to_owned),
            guard: simulator.shared.journal.nothing(),
            simulator,
            dialect: Dialect::Native,
            framed_errors: false,
            arrived: SystemTime::now(),
        }
    }

    /// Whom the request is from.
    pub(super) fn identify(&self) -> Result<Caller, Rejection> {
        let caller = identify(&self.config, self.key.as_deref())?;
        self.guard
            .update(|entry| entry.account.clone_from(&caller.account));
        Ok(caller)
    }

    /// Goes on with whom the request is from, or refuses.
    pub(super) fn known(self) -> Result<(Self, Caller), Response> {
        match self.identify() {
            Ok(caller) => Ok((self, caller)),
            Err(rejection) => Err(self.refuse(&rejection)),
        }
    }

    /// Goes on with the request's body, or refuses.
    pub(super) async fn receive(self, body: Body) -> Result<(Self, Bytes), Response> {
        let limited = Limited::new(body, self.config.max_body_bytes);
        match limited.collect().await {
            Ok(body) => Ok((self, body.to_bytes())),
            Err(error) if error.is::<LengthLimitError>() => {
                let rejection = Rejection::new(413, "BadRequest.TooLarge", "Payload Too Large");
                Err(self.refuse(&rejection))
            }
            // The client broke off: nobody reads the answer, and the journal says so.
            Err(_) => Err(Response::default()),
        }
    }

    /// The faults of the first rule of the configuration that strikes this request.
    pub(super) fn configured_faults(&self, model: &str, path: &str, stream: bool) -> Vec<Fault> {
        let key = self.key.as_deref().unwrap_or_default();
        for (place, rule) in (0u64..).zip(&self.config.faults) {
            if !rule.matches(model, path, key, stream) {
                continue;
            }
            let number = self.simulator.shared.count_match(place);
            // The same draws after every reset, and other ones for every rule.
            let draw = self.config.seed ^ (place << 48) ^ number;
            if rule.strikes(number, fastrand::Rng::with_seed(draw).f64()) {
                return rule.faults.clone();
            }
        }
        Vec::new()
    }

    /// Goes on past the faults that strike before an answer, or answers with one.
    pub(super) async fn strike(self, faults: &[Fault], stream: bool) -> Result<Self, Response> {
        for fault in faults {
            if let Fault::Delay(delay) = fault {
                sleep(*delay).await;
            }
        }
        let comes_late = stream && faults.iter().any(|f| matches!(f, Fault::ErrorFrame(_)));
        for fault in faults {
            match fault {
                Fault::Reset => return Err(self.reset()),
                Fault::Html(status) => return Err(self.html(*status)),
                Fault::CodeIn200(code) if !comes_late => {
                    let rejection = Rejection::documented(code);
                    return Err(self.fail(&rejection, 200, Verdict::Fault));
                }
                _ if comes_late => {}
                _ => {
                    if let Some(rejection) = Rejection::of_fault(fault) {
                        let status = rejection.status;
                        return Err(self.fail(&rejection, status, Verdict::Fault));
                    }
                }
            }
        }
        Ok(self)
    }

    /// Refuses as the service would.
    pub(super) fn refuse(self, rejection: &Rejection) -> Response {
        // A bad key is 403 on one surface (compat.md §6.4, errors.json `anthropic_endpoint`).
        let status = match (self.dialect, rejection.status) {
            (Dialect::Anthropic, 401) => 403,
            (_, status) => status,
        };
        self.fail(rejection, status, Verdict::Rejected)
    }

    /// Answers with an error, under an HTTP status that need not be the error's.
    pub(super) fn fail(self, rejection: &Rejection, status: u16, verdict: Verdict) -> Response {
        self.note_error(rejection, status);
        let plain = self.dialect == Dialect::Anthropic
            && status == 400
            && self.config.quirks.anthropic_plain_errors;
        let mut body = if plain {
            let message = rejection.compat_words().1;
            json!({ "message": message, "request_id": self.request_id }).to_string()
        } else {
            rejection.body(self.dialect, &self.request_id)
        };
        let retry_after = self.config.retry_after.filter(|_| status == 429);
        let framed = self.framed_errors && self.config.sse_framed_errors;
        if framed {
            body = match self.dialect {
                Dialect::Native => {
                    format!("id:1\nevent:error\n:HTTP_STATUS/{status}\ndata:{body}\n\n")
                }
                _ => format!("data: {body}\n\n"),
            };
        }
        let says_stream = framed && !self.config.quirks.framed_errors_as_json;
        let dialect = self.dialect;
        let mut response = self.json(status, Bytes::from(body), verdict);
        if says_stream {
            put_stream_headers(response.headers_mut(), dialect);
        }
        if let Some(seconds) = retry_after {
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }

    /// Refuses with HTTP 200 and an error event (http-native.md §3.3).
    pub(super) fn refuse_in_stream(self, rejection: &Rejection) -> Response {
        self.note_error(rejection, rejection.status);
        let frame = error_frame(self.dialect, rejection, &self.request_id, 1);
        let mut headers = self.head();
        put_stream_headers(&mut headers, self.dialect);
        let body = AnswerBody::whole(frame, Verdict::Rejected, self.guard);
        response(StatusCode::OK, headers, Body::new(body))
    }

    fn note_error(&self, rejection: &Rejection, status: u16) {
        self.guard.update(|entry| {
            entry.status = status;
            entry.code = Some(rejection.code.clone());
        });
    }

    /// Closes the connection without an answer.
    pub(super) fn reset(mut self) -> Response {
        self.guard.conclude(Verdict::Fault);
        let mut response = Response::new(Body::empty());
        response.extensions_mut().insert(ResetConnection);
        response
    }

    /// A page of HTML, as a proxy in between would send.
    pub(super) fn html(self, status: u16) -> Response {
        self.guard.update(|entry| entry.status = status);
        let status = status_code(status);
        let page = format!("<html><body><h1>{status}</h1></body></html>\n");
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
        let body = AnswerBody::whole(Bytes::from(page), Verdict::Fault, self.guard);
        response(status, headers, Body::new(body))
    }

    /// A JSON body.
    pub(super) fn json(self, status: u16, body: Bytes, verdict: Verdict) -> Response {
        let headers = self.json_head();
        let body = AnswerBody::whole(body, verdict, self.guard);
        response(status_code(status), headers, Body::new(body))
    }

    /// A JSON body in pieces.
    pub(super) fn json_in_pieces(self, schedule: Schedule) -> Response {
        let headers = self.json_head();
        let body = AnswerBody::scheduled(schedule, self.guard);
        response(StatusCode::OK, headers, Body::new(body))
    }

    /// A stream of events.
    pub(super) fn stream(self, schedule: Schedule) -> Response {
        let mut headers = self.head();
        put_stream_headers(&mut headers, self.dialect);
        let body = AnswerBody::scheduled(schedule, self.guard);
        response(StatusCode::OK, headers, Body::new(body))
    }

    fn json_head(&self) -> HeaderMap {
        let mut headers = self.head();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self.dialect == Dialect::Native {
            headers.insert("x-dashscope-finished", HeaderValue::from_static("true"));
        }
        headers
    }

    /// The headers that the service puts on every answer (http-native.md §1.4, compat.md §1.4).
    fn head(&self) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(12);
        if let Ok(id) = HeaderValue::from_str(&self.request_id) {
            headers.insert("x-request-id", id);
        }
        if self.dialect == Dialect::Native {
            headers.insert("x-dashscope-call-gateway", HeaderValue::from_static("true"));
            headers.insert("x-dashscope-timeout", HeaderValue::from_static("180"));
        }
        let now = SystemTime::now();
        let took = now.duration_since(self.arrived).unwrap_or_default();
        let took = HeaderValue::from(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        headers.insert("req-cost-time", took.clone());
        headers.insert("req-arrive-time", unix_millis(self.arrived).into());
        headers.insert("resp-start-time", unix_millis(now).into());
        headers.insert("x-envoy-upstream-service-time", took);
        headers.insert("server", HeaderValue::from_static("istio-envoy"));
        headers
    }
}

fn put_stream_headers(headers: &mut HeaderMap, dialect: Dialect) {
    let kind = HeaderValue::from_static("text/event-stream;charset=UTF-8");
    headers.insert(CONTENT_TYPE, kind);
    if dialect == Dialect::Native {
        headers.insert("x-dashscope-finished", HeaderValue::from_static("false"));
    }
}

fn response(status: StatusCode, headers: HeaderMap, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn status_code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn unix_millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The key of a request.
fn presented_key(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get("authorization")?.to_str().ok()?;
    let (scheme, key) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

/// The other form of a key, which Anthropic's clients use.
fn anthropic_key(dialect: Dialect, headers: &HeaderMap) -> Option<&str> {
    let key = headers.get("x-api-key")?.to_str().ok()?;
    (dialect == Dialect::Anthropic).then(|| key.trim())
}
