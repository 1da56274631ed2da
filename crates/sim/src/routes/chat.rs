//! Chat of all surfaces: identify, check, answer, spoil where told to, send.

mod orders;
mod plan;

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bailian_wire::Dialect;
use bytes::Bytes;
use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use http_body_util::{BodyExt as _, Limited};

use self::orders::Orders;
use self::plan::{documented_error, plan};
use super::{json_response, presented_key, refuse, service_headers, unix_seconds};
use crate::answer::{Script, answer};
use crate::body::AnswerBody;
use crate::call::Call;
use crate::checks::{Received, check, model_name, parse};
use crate::config::{SimConfig, Speed};
use crate::faults::Fault;
use crate::frames::{Identity, StreamFrame, error_frame, stream, whole};
use crate::journal::{JournalGuard, Verdict};
use crate::keys::{Caller, identify, mask};
use crate::rejection::Rejection;
use crate::server::ResetConnection;
use crate::simulator::Simulator;

pub(super) async fn native_text(State(simulator): State<Simulator>, request: Request) -> Response {
    chat(simulator, Dialect::Native, false, request).await
}

pub(super) async fn native_multimodal(
    State(simulator): State<Simulator>,
    request: Request,
) -> Response {
    chat(simulator, Dialect::Native, true, request).await
}

pub(super) async fn compat(State(simulator): State<Simulator>, request: Request) -> Response {
    chat(simulator, Dialect::OpenAi, false, request).await
}

/// What a request carries beside its body.
struct Context {
    simulator: Simulator,
    config: std::sync::Arc<SimConfig>,
    dialect: Dialect,
    request_id: String,
    guard: JournalGuard,
}

async fn chat(
    simulator: Simulator,
    dialect: Dialect,
    multimodal: bool,
    request: Request,
) -> Response {
    let config = simulator.config();
    let request_id = simulator.next_request_id();
    let (head, body) = request.into_parts();
    let key = presented_key(&head.headers).unwrap_or_default().to_owned();
    let guard = simulator
        .shared
        .journal
        .open(config.journal_capacity, |entry| {
            entry.request_id.clone_from(&request_id);
            entry.key = mask(&key);
            head.uri.path().clone_into(&mut entry.path);
            entry.dialect = dialect.to_string();
        });
    let context = Context {
        simulator,
        config,
        dialect,
        request_id,
        guard,
    };
    let stream_header = dialect == Dialect::Native && wants_stream(&head.headers);
    let caller = match identify(&context.config, Some(key.as_str())) {
        Ok(caller) => caller,
        Err(rejection) => return context.refuse(&rejection),
    };
    context
        .guard
        .update(|entry| entry.account.clone_from(&caller.account));
    let body = match Limited::new(body, context.config.max_body_bytes)
        .collect()
        .await
    {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            return context.refuse(&Rejection::new(
                413,
                "BadRequest.TooLarge",
                "Payload Too Large",
            ));
        }
        // The client broke off; nobody reads the answer.
        Err(_) => return context.refuse(&Rejection::parameter("Required body invalid.")),
    };
    let script = match Orders::read(&head.headers, &context.config) {
        Ok(script) => script,
        Err(problem) => return context.refuse(&Rejection::parameter(problem)),
    };
    let checked = parse(&body).and_then(|body| {
        let stream = stream_header || (dialect != Dialect::Native && body["stream"] == true);
        context.guard.update(|entry| {
            model_name(&body)
                .unwrap_or_default()
                .clone_into(&mut entry.model);
            entry.stream = stream;
        });
        check(
            &context.config,
            &caller,
            Received {
                dialect,
                multimodal,
                stream_header,
                body,
            },
        )
    });
    match checked {
        Ok(call) => context.answer(&call, &caller, script).await,
        Err(rejection) if stream_header && is_about_parameters(&rejection) => {
            context.refuse_in_stream(&rejection)
        }
        Err(rejection) => context.refuse(&rejection),
    }
}

/// Found after the stream was opened: HTTP 200 and an error event (http-native.md §3.3).
fn is_about_parameters(rejection: &Rejection) -> bool {
    rejection.status == 400 && rejection.code.starts_with("InvalidParameter")
}

fn wants_stream(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    match text("x-dashscope-sse")
        .map(str::to_ascii_lowercase)
        .as_deref()
    {
        Some("enable") => true,
        Some("disable") => false,
        _ => text(ACCEPT.as_str()).is_some_and(|accept| accept.contains("text/event-stream")),
    }
}

impl Context {
    fn refuse(mut self, rejection: &Rejection) -> Response {
        self.note_error(rejection, Verdict::Rejected);
        let framed = self.config.sse_framed_errors
            && self.dialect == Dialect::OpenAi
            && rejection.status != 401;
        let response = refuse(&self.simulator, self.dialect, rejection, &self.request_id);
        if !framed {
            return response;
        }
        let body = rejection.body(self.dialect, &self.request_id);
        let (head, _) = response.into_parts();
        Response::from_parts(head, Body::from(format!("data: {body}\n\n")))
    }

    fn refuse_in_stream(mut self, rejection: &Rejection) -> Response {
        self.note_error(rejection, Verdict::Rejected);
        let frame = error_frame(self.dialect, rejection, &self.request_id, 1);
        self.event_stream(Body::from(frame))
    }

    fn note_error(&mut self, rejection: &Rejection, verdict: Verdict) {
        self.guard.update(|entry| {
            entry.status = rejection.status;
            entry.code = Some(rejection.code.clone());
        });
        self.guard.conclude(verdict);
    }

    fn event_stream(&self, body: Body) -> Response {
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        let kind = HeaderValue::from_static("text/event-stream;charset=UTF-8");
        headers.insert(CONTENT_TYPE, kind);
        headers.insert("x-dashscope-finished", HeaderValue::from_static("false"));
        service_headers(headers, &self.request_id);
        response
    }

    async fn answer(mut self, call: &Call, caller: &Caller, orders: Orders) -> Response {
        let faults = match &orders.faults {
            Some(faults) => faults.clone(),
            None => self.configured_faults(call, caller),
        };
        for fault in &faults {
            if let Fault::Delay(delay) = fault {
                tokio::time::sleep(*delay).await;
            }
        }
        for fault in &faults {
            match fault {
                Fault::Reset => {
                    self.guard.conclude(Verdict::Fault);
                    let mut response = Response::new(Body::empty());
                    response.extensions_mut().insert(ResetConnection);
                    return response;
                }
                Fault::Status(_) | Fault::Code(_) => {
                    let rejection = documented_error(fault);
                    self.note_error(&rejection, Verdict::Fault);
                    return refuse(&self.simulator, self.dialect, &rejection, &self.request_id);
                }
                _ => {}
            }
        }
        let script = self.scripted(call, orders.script);
        let answer = answer(call, self.config.seed, &script);
        let identity = Identity {
            request_id: self.request_id.clone(),
            created: unix_seconds(),
        };
        self.guard
            .update(|entry| entry.input_tokens = answer.input_tokens);
        if call.stream {
            let frames = stream(call, &answer, &identity, orders.speed.chunk_tokens);
            let (pieces, ending) = plan(
                self.dialect,
                &self.request_id,
                frames,
                &orders.speed,
                &faults,
            );
            let response = self.event_stream(Body::empty());
            let body = AnswerBody::stream(pieces, ending, self.guard);
            return response.map(|_| Body::new(body));
        }
        let output = answer.output_tokens();
        tokio::time::sleep(whole_time(&orders.speed, output)).await;
        self.guard.update(|entry| entry.output_tokens = output);
        let body = Bytes::from(whole(call, &answer, &identity).to_string());
        let mut response = json_response(200, Body::empty(), &self.request_id);
        response
            .headers_mut()
            .insert("x-dashscope-finished", HeaderValue::from_static("true"));
        let body = self.spoilt_whole(body, &faults);
        response.map(|_| Body::new(body))
    }

    /// A plain answer, cut, split or malformed where told to.
    fn spoilt_whole(self, body: Bytes, faults: &[Fault]) -> AnswerBody {
        let body = if faults
            .iter()
            .any(|fault| matches!(fault, Fault::Malformed(_)))
        {
            body.slice(..body.len() / 2)
        } else {
            body
        };
        let cuts = faults.iter().any(|fault| {
            matches!(
                fault,
                Fault::CutAfterBytes(_) | Fault::Split(_) | Fault::Stall(_)
            )
        });
        if !cuts {
            let verdict = if faults.is_empty() {
                Verdict::Ok
            } else {
                Verdict::Fault
            };
            return AnswerBody::whole(body, verdict, self.guard);
        }
        let frame = StreamFrame {
            bytes: body,
            tokens: 0,
        };
        let speed = Speed::default();
        let (pieces, ending) = plan(self.dialect, &self.request_id, vec![frame], &speed, faults);
        AnswerBody::stream(pieces, ending, self.guard)
    }

    fn scripted(&self, call: &Call, script: Script) -> Script {
        if script.text.is_some() || script.tokens.is_some() {
            return script;
        }
        let last = crate::call::message_text(call.last());
        let rule = self.config.answers.iter().find(|rule| {
            rule.model
                .as_ref()
                .is_none_or(|model| *model == call.model_id)
                && rule
                    .contains
                    .as_ref()
                    .is_none_or(|part| last.contains(part.as_str()))
        });
        Script {
            text: rule.map(|rule| rule.text.clone()),
            tokens: None,
        }
    }

    /// The faults of the first rule that strikes this request.
    fn configured_faults(&self, call: &Call, caller: &Caller) -> Vec<Fault> {
        for (place, rule) in self.config.faults.iter().enumerate() {
            if !rule.matches(&call.model_id, &caller.masked, call.stream) {
                continue;
            }
            let number = {
                let mut matches = self.simulator.shared.matches.lock();
                let count = matches.entry(place).or_insert(0);
                *count += 1;
                *count
            };
            let chance = fastrand::Rng::with_seed(self.config.seed ^ self.guard.number()).f64();
            if rule.strikes(number, chance) {
                return rule.faults.clone();
            }
        }
        Vec::new()
    }
}

fn whole_time(speed: &Speed, output_tokens: u64) -> Duration {
    let mut time = Duration::from_millis(speed.ttft_ms);
    if speed.tokens_per_second > 0.0 {
        time += Duration::from_secs_f64(output_tokens as f64 / speed.tokens_per_second);
    }
    time
}
