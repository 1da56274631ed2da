//! One error in one phase of one dialect, and what must become of it.

use std::fmt;

use axum::body::Body;
use bailian_wire::Dialect;
use bailian_wire::error::{
    ErrorClass, ErrorEntry, ErrorTable, ErrorView, encode_error, parse_error_body,
};
use http::{Request, StatusCode};
use serde_json::{Value, json};

use crate::booked::{Asked, Booked};
use crate::house::{Answer, Behind, House, key_of, model_of};
use crate::scripted::Script;
use crate::{falls_back, goes_on, is_fault};

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

    pub(crate) fn is_in_stream(self) -> bool {
        matches!(self, Self::FirstEvent | Self::MidStream | Self::End)
    }
}

#[derive(Clone)]
pub(crate) struct Cell {
    code: &'static str,
    pub(crate) phase: Phase,
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

pub(crate) fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
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

    /// The same with a status that says that all is well.
    pub(crate) fn inside_success(self) -> Self {
        Self {
            status: 200,
            ..self
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

    /// What its host says.
    pub(crate) fn script(&self) -> Script {
        Script {
            dialect: self.dialect,
            phase: self.phase,
            status: self.status,
            body: self.body.clone(),
        }
    }

    /// Tries it in its place of a gateway.
    pub(crate) async fn try_out(
        &self,
        place: usize,
        house: &House,
        behind: Behind,
    ) -> Result<Asked, String> {
        let tried = match behind {
            Behind::Another => self.try_routed(place, house).await,
            Behind::None => self.try_alone(place, house).await,
        };
        let ids = tried.map_err(|problem| format!("{behind:?} behind: {problem}"))?;
        Ok(Asked {
            behind,
            ids,
            standing: house.standing(place).await,
        })
    }

    /// What the ledger has to say of it.
    pub(crate) fn booked(&self, behind: Behind) -> Booked {
        Booked::of(self.phase, self.status, self.is_mended(), behind)
    }

    /// Whether a code in the ledger is that of this error: in the service's own spelling, where what
    /// upstream wrote tells it; else as upstream wrote it.
    pub(crate) fn is_known_as(&self, code: &str) -> bool {
        if !matches!(
            self.phase,
            Phase::Head | Phase::FirstEvent | Phase::MidStream
        ) {
            return code == "ServiceUnavailable";
        }
        let sent: Value = serde_json::from_str(&self.body).unwrap();
        let message = &sent["error"]["message"];
        let sent = self.code(&sent).as_str();
        let is_told = |entry: &ErrorEntry| match self.dialect {
            Dialect::Native => entry.code.as_deref() == Some(self.code),
            // Several may share a spelling.
            Dialect::OpenAi => {
                entry.compat_code.as_deref() == sent || entry.code.as_deref() == sent
            }
            Dialect::Anthropic => entry.messages.iter().any(|known| message == known),
        };
        let entries = ErrorTable::embedded().entries();
        let is_known = entries
            .iter()
            .any(|entry| entry.code.as_deref() == Some(code) && is_told(entry));
        is_known || (self.dialect == Dialect::Anthropic && Some(code) == sent)
    }

    /// Whether its stream says when it begins how many tokens the prompt has.
    pub(crate) fn tells_its_prompt(&self) -> bool {
        self.dialect == Dialect::Anthropic && matches!(self.phase, Phase::MidStream | Phase::End)
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

    async fn try_routed(&self, place: usize, house: &House) -> Result<Vec<uuid::Uuid>, String> {
        let mut ids = Vec::new();
        for _ in 0..FAULTS_TO_OPEN {
            let answer = house.send(self.request(place)).await;
            if self.is_mended() {
                self.is_an_answer(&answer)?;
            } else {
                self.is_the_error(&answer)?;
            }
            ids.push(answer.id());
        }
        let is_open = house.is_open(place).await;
        ensure(is_open == self.opens_the_breaker(), || {
            format!("asked last: {is_open}")
        })?;
        Ok(ids)
    }

    async fn try_alone(&self, place: usize, house: &House) -> Result<Vec<uuid::Uuid>, String> {
        let answer = house.send(self.request(place)).await;
        match self.phase {
            Phase::End => self.is_an_answer(&answer)?,
            Phase::Connect | Phase::Closed => {
                let error = self.told(&answer.text).ok_or_else(|| answer.text.clone())?;
                ensure(answer.status == StatusCode::BAD_GATEWAY, || {
                    answer.status.to_string()
                })?;
                ensure(
                    answer.headers["x-bailian-error-source"] == "gateway",
                    || error.to_string(),
                )?;
            }
            _ => self.is_the_error(&answer)?,
        }
        Ok(vec![answer.id()])
    }

    /// A request to it.
    pub(crate) fn request(&self, place: usize) -> Request<Body> {
        let stream = self.phase.is_in_stream();
        let model = model_of(place);
        let messages = json!([{ "role": "user", "content": "你好" }]);
        let (path, body) = match self.dialect {
            Dialect::Native => (
                "/api/v1/services/aigc/text-generation/generation",
                json!({ "model": model, "input": { "messages": messages },
                    "parameters": { "result_format": "message", "incremental_output": true } }),
            ),
            Dialect::Anthropic => (
                "/anthropic/v1/messages",
                json!({ "model": model, "max_tokens": 9, "stream": stream, "messages": messages }),
            ),
            Dialect::OpenAi => (
                "/v1/chat/completions",
                json!({ "model": model, "stream": stream, "messages": messages }),
            ),
        };
        let request = Request::post(path)
            .header("x-api-key", key_of(place))
            .header("content-type", "application/json")
            .header("x-dashscope-sse", if stream { "enable" } else { "disable" })
            .header("x-sim-answer", "fine")
            // What is throttled would wait for its turn.
            .header("x-bailian-max-wait", "0");
        request.body(Body::from(body.to_string())).unwrap()
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
