//! One error in one phase of one dialect, and what must become of it.

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use bailian_gateway::upstream::Upstream;
use bailian_gateway::{Config, Gateway};
use bailian_wire::Dialect;
use bailian_wire::error::{ErrorClass, ErrorEntry, ErrorView, encode_error, parse_error_body};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::scripted::{RIGHT, Scripted, WRONG};
use crate::{falls_back, goes_on, is_fault};

const KEY: &str = "sk-bl-errors-0001";
/// Faults in a row after which a target is asked last (docs/gateway.md).
const FAULTS_TO_OPEN: usize = 5;

/// When upstream says that something is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// There is no connection.
    Connect,
    /// The connection ends without an answer.
    Closed,
    /// Instead of an answer.
    Head,
    /// As the first event of a stream.
    FirstEvent,
    /// After some text.
    MidStream,
    /// After the reason why the answer ends.
    End,
}

impl Phase {
    /// Those in which upstream can say what is wrong.
    pub(crate) const OF_ERRORS: [Self; 4] =
        [Self::Head, Self::FirstEvent, Self::MidStream, Self::End];

    fn is_in_stream(self) -> bool {
        matches!(self, Self::FirstEvent | Self::MidStream | Self::End)
    }
}

pub(crate) struct Cell {
    code: &'static str,
    phase: Phase,
    dialect: Dialect,
    status: u16,
    /// As upstream sends it.
    body: String,
    class: ErrorClass,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            code,
            status,
            phase,
            dialect,
            class,
            ..
        } = self;
        write!(f, "{code} ({status}, {class}) {phase:?} {dialect}")
    }
}

/// What a caller got.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

impl Cell {
    pub(crate) fn new(entry: &'static ErrorEntry, phase: Phase, dialect: Dialect) -> Self {
        let message = entry
            .messages
            .first()
            .map_or("It went wrong.", String::as_str);
        let code = entry.code.as_deref().unwrap();
        let mut view = ErrorView::new(entry.status.unwrap(), code, message);
        view.request_id = Some("r-upstream");
        let (status, body) = encode_error(dialect, &view);
        let body = body.to_string();
        // What a reader of this dialect can know: Anthropic's has no codes.
        let class = parse_error_body(status, body.as_bytes()).class();
        Self {
            code,
            phase,
            dialect,
            status,
            body,
            class,
        }
    }

    pub(crate) fn unreachable(phase: Phase, dialect: Dialect) -> Self {
        Self {
            code: "none",
            phase,
            dialect,
            status: 502,
            body: String::new(),
            class: ErrorClass::Unavailable,
        }
    }

    /// Tries it where there is another target, and where there is none.
    pub(crate) async fn try_out(&self) -> Result<(), String> {
        self.try_routed()
            .await
            .map_err(|problem| format!("with another target: {problem}"))?;
        self.try_alone()
            .await
            .map_err(|problem| format!("alone: {problem}"))
    }

    /// Whether the other target answers in the place of the one that went wrong.
    fn is_mended(&self) -> bool {
        match self.phase {
            Phase::Head => falls_back(self.class),
            Phase::FirstEvent | Phase::MidStream => goes_on(self.class),
            // Nothing was said; or only the end was missing, which the gateway writes itself.
            Phase::Connect | Phase::Closed | Phase::End => true,
        }
    }

    /// Whether the target that went wrong is asked last after some more of the same.
    fn opens_the_breaker(&self) -> bool {
        match self.phase {
            Phase::End => false,
            // What is throttled waits in its line, and others are asked meanwhile.
            Phase::Head if self.status == 429 => false,
            _ => is_fault(self.class),
        }
    }

    async fn try_routed(&self) -> Result<(), String> {
        let gateway = self.gateway(
            "[[routes]]\nmodel = \"*\"\ntargets = [{ account = \"wrong\" }]\nfallbacks = [{ account = \"right\" }]\n",
        );
        for _ in 0..FAULTS_TO_OPEN {
            let answer = self.ask(&gateway).await;
            if self.is_mended() {
                self.is_an_answer(&answer)?;
            } else {
                self.is_the_error(&answer)?;
            }
        }
        let ready = send(
            &gateway,
            Request::get("/readyz").body(Body::empty()).unwrap(),
        )
        .await;
        let is_open = ready.text.contains("wrong/qwen-plus");
        ensure(is_open == self.opens_the_breaker(), || ready.text)
    }

    async fn try_alone(&self) -> Result<(), String> {
        let gateway = self.gateway(
            "[repairs]\nresume = false\nquota_code = false\n[[routes]]\nmodel = \"*\"\ntargets = [{ account = \"wrong\" }]\n",
        );
        let answer = self.ask(&gateway).await;
        match self.phase {
            Phase::End => self.is_an_answer(&answer),
            Phase::Connect | Phase::Closed => {
                let error = self.told(&answer.text).ok_or_else(|| answer.text.clone())?;
                ensure(answer.status == StatusCode::BAD_GATEWAY, || {
                    answer.status.to_string()
                })?;
                ensure(
                    answer.headers["x-bailian-error-source"] == "gateway",
                    || error.to_string(),
                )
            }
            _ => self.is_the_error(&answer),
        }
    }

    fn gateway(&self, routes: &str) -> Router {
        let account = |name: &str, base: &str| {
            format!(
                "[[accounts]]\nname = \"{name}\"\napi_keys = [\"sk-up-0001\"]\nbase_url = \"{base}\"\nforward_headers = [\"x-sim-*\"]\n[[accounts.limits]]\nmodel = \"*\"\nrequests = [\"100000/1s\"]\nramp = false\n"
            )
        };
        let text = format!(
            "threads = 1\n{}{}{routes}[[keys]]\nname = \"t\"\nkey = \"{KEY}\"\n",
            account("wrong", WRONG),
            account("right", RIGHT),
        );
        let config = Config::parse(&text, "test", &|_: &str| None).unwrap();
        let upstream = Scripted::new(self.dialect, self.phase, self.status, self.body.clone());
        let gateway = Gateway::builder(config).upstream(Arc::new(upstream) as Arc<dyn Upstream>);
        gateway.build().unwrap().router()
    }

    async fn ask(&self, gateway: &Router) -> Answer {
        let stream = self.phase.is_in_stream();
        let messages = json!([{ "role": "user", "content": "你好" }]);
        let (path, body) = match self.dialect {
            Dialect::Native => (
                "/api/v1/services/aigc/text-generation/generation",
                json!({ "model": "qwen-plus", "input": { "messages": messages },
                    "parameters": { "result_format": "message", "incremental_output": true } }),
            ),
            Dialect::Anthropic => (
                "/anthropic/v1/messages",
                json!({ "model": "qwen-plus", "max_tokens": 9, "stream": stream, "messages": messages }),
            ),
            Dialect::OpenAi => (
                "/v1/chat/completions",
                json!({ "model": "qwen-plus", "stream": stream, "messages": messages }),
            ),
        };
        let request = Request::post(path)
            .header("x-api-key", KEY)
            .header("content-type", "application/json")
            .header("x-dashscope-sse", if stream { "enable" } else { "disable" })
            .header("x-sim-answer", "fine")
            // What is throttled would wait for its turn.
            .header("x-bailian-max-wait", "0");
        send(gateway, request.body(Body::from(body.to_string())).unwrap()).await
    }

    fn is_an_answer(&self, answer: &Answer) -> Result<(), String> {
        let is_whole = answer
            .text
            .contains(if self.phase == Phase::End { "fi" } else { "ne" });
        ensure(answer.status == 200 && is_whole, || answer.text.clone())?;
        ensure(self.told(&answer.text).is_none(), || answer.text.clone())
    }

    /// The error that upstream sent, in the caller's dialect, nothing of it lost.
    fn is_the_error(&self, answer: &Answer) -> Result<(), String> {
        let error = self.told(&answer.text).ok_or_else(|| answer.text.clone())?;
        if self.phase.is_in_stream() {
            ensure(answer.status == 200, || answer.status.to_string())?;
        } else {
            ensure(answer.status.as_u16() == self.status, || {
                answer.status.to_string()
            })?;
            ensure(
                answer.headers["x-bailian-error-source"] == "upstream",
                || error.to_string(),
            )?;
        }
        let sent: Value = serde_json::from_str(&self.body).unwrap();
        ensure(self.code(&error) == self.code(&sent), || error.to_string())?;
        ensure(error["request_id"] == "r-upstream", || error.to_string())
    }

    fn code<'a>(&self, error: &'a Value) -> &'a Value {
        match self.dialect {
            Dialect::Native => &error["code"],
            Dialect::OpenAi => &error["error"]["code"],
            Dialect::Anthropic => &error["error"]["type"],
        }
    }

    /// The error object of a body or of a stream's last frame.
    fn told(&self, text: &str) -> Option<Value> {
        let last = text.trim_end().rsplit("\n\n").next()?;
        let data = last
            .lines()
            .rev()
            .find_map(|line| line.strip_prefix("data:"))
            .unwrap_or(last);
        let value: Value = serde_json::from_str(data.trim()).ok()?;
        let is_error = match self.dialect {
            Dialect::Native => value["code"].is_string() && value["message"].is_string(),
            Dialect::Anthropic => value["type"] == "error" && value["error"]["type"].is_string(),
            Dialect::OpenAi => value["error"]["message"].is_string(),
        };
        is_error.then_some(value)
    }
}

async fn send(gateway: &Router, request: Request<Body>) -> Answer {
    let response = gateway.clone().oneshot(request).await;
    let (head, body) = response.unwrap_or_else(|never| match never {}).into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    Answer {
        status: head.status,
        headers: head.headers,
        text: String::from_utf8(bytes.to_vec()).unwrap(),
    }
}
