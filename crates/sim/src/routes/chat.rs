//! Chat of all surfaces: identify, check, answer, spoil where told to, send.

mod orders;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::{Path, Request, State};
use axum::response::Response;
use bailian_wire::Dialect;
use http::HeaderMap;
use http::header::ACCEPT;
use tokio::time::{Instant, sleep};

pub(super) use self::orders::Orders;
use super::anthropic::chat_body as anthropic_body;
use super::exchange::Exchange;
use super::wrapped::{Wanted, remember, unwrap};
use crate::answer::{Answer, Script, answer, input_tokens};
use crate::call::{Call, find_model, message_text};
use crate::checks::{Received, check, model_name, parse};
use crate::config::Speed;
use crate::faults::Fault;
use crate::frames::{FrameStream, Identity, whole};
use crate::journal::Verdict;
use crate::rejection::Rejection;
use crate::schedule::{Schedule, time_of};
use crate::simulator::Simulator;
use crate::throttle::Ask;

pub(super) async fn native_text(State(simulator): State<Simulator>, request: Request) -> Response {
    chat(simulator, Dialect::Native, false, Wanted::Chat, request).await
}

pub(super) async fn native_multimodal(
    State(simulator): State<Simulator>,
    request: Request,
) -> Response {
    chat(simulator, Dialect::Native, true, Wanted::Chat, request).await
}

pub(super) async fn compat(State(simulator): State<Simulator>, request: Request) -> Response {
    chat(simulator, Dialect::OpenAi, false, Wanted::Chat, request).await
}

pub(super) async fn anthropic(State(simulator): State<Simulator>, request: Request) -> Response {
    chat(simulator, Dialect::Anthropic, false, Wanted::Chat, request).await
}

pub(super) async fn completions(State(simulator): State<Simulator>, request: Request) -> Response {
    let wanted = Wanted::Completion;
    chat(simulator, Dialect::OpenAi, false, wanted, request).await
}

pub(super) async fn responses(State(simulator): State<Simulator>, request: Request) -> Response {
    chat(simulator, Dialect::OpenAi, false, Wanted::Response, request).await
}

pub(super) async fn application(
    State(simulator): State<Simulator>,
    Path(app): Path<String>,
    request: Request,
) -> Response {
    let wanted = Wanted::Application(app);
    chat(simulator, Dialect::Native, false, wanted, request).await
}

async fn chat(
    simulator: Simulator,
    dialect: Dialect,
    multimodal: bool,
    wanted: Wanted,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let stream_header = dialect == Dialect::Native && wants_stream(&head.headers);
    let mut exchange = Exchange::begin(simulator, dialect, &head.uri, &head.headers);
    exchange.framed_errors = stream_header;
    let (exchange, caller) = match exchange.known() {
        Ok(known) => known,
        Err(refused) => return refused,
    };
    let (mut exchange, body) = match exchange.receive(body).await {
        Ok(received) => received,
        Err(refused) => return refused,
    };
    let orders = match Orders::read(&head.headers, &exchange.config) {
        Ok(orders) => orders,
        Err(problem) => return exchange.refuse(&Rejection::parameter(problem)),
    };
    let checked = parse(&body).and_then(|body| {
        let stream = stream_header || (dialect != Dialect::Native && body["stream"] == true);
        exchange.framed_errors = stream && dialect != Dialect::Anthropic;
        exchange.guard.update(|entry| {
            model_name(&body)
                .unwrap_or_default()
                .clone_into(&mut entry.model);
            entry.stream = stream;
        });
        let body = match dialect {
            Dialect::Anthropic => {
                let id = model_name(&body).unwrap_or_default();
                anthropic_body(&body, find_model(id, &exchange.config.models))?
            }
            _ => body,
        };
        let session_cache = text(&head.headers, "x-dashscope-session-cache") == Some("enable");
        let (body, wrap) = unwrap(&wanted, body, &exchange, &caller.account, session_cache)?;
        let received = Received {
            dialect,
            multimodal,
            stream_header,
            asynchronous: text(&head.headers, "x-dashscope-async") == Some("enable"),
            resolves_oss: text(&head.headers, "x-dashscope-ossresourceresolve") == Some("enable"),
            body,
            wrap,
        };
        check(&exchange.config, &caller, received)
    });
    match checked {
        Ok(call) => {
            let throttle = &exchange.simulator.shared.throttle;
            let workspace = text(&head.headers, "x-dashscope-workspace");
            let ask = || Ask::new(input_tokens(&call), call.most_output());
            let (config, model) = (&exchange.config, &call.model_id);
            match throttle.admit(config, &caller.account, workspace, model, ask) {
                Ok(meter) => exchange.guard.count_by(meter),
                Err(rejection) => return exchange.refuse(&rejection),
            }
            let path = head.uri.path();
            let faults = match orders.faults {
                Some(faults) => faults,
                None => exchange.configured_faults(&call.model_id, path, call.stream),
            };
            let script = scripted(&exchange, &call, orders.script);
            serve(
                exchange,
                &caller.account,
                &call,
                &script,
                &orders.speed,
                faults,
            )
            .await
        }
        Err(rejection) if stream_header && is_about_parameters(&rejection) => {
            exchange.refuse_in_stream(&rejection)
        }
        Err(rejection) => exchange.refuse(&rejection),
    }
}

/// Found after the stream was opened: HTTP 200 and an error event (http-native.md §3.3).
fn is_about_parameters(rejection: &Rejection) -> bool {
    rejection.status == 400 && rejection.code.starts_with("InvalidParameter")
}

fn wants_stream(headers: &HeaderMap) -> bool {
    match text(headers, "x-dashscope-sse")
        .map(str::to_ascii_lowercase)
        .as_deref()
    {
        Some("enable") => true,
        Some("disable") => false,
        _ => text(headers, ACCEPT.as_str())
            .is_some_and(|accept| accept.contains("text/event-stream")),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

async fn serve(
    exchange: Exchange,
    account: &str,
    call: &Call,
    script: &Script,
    speed: &Speed,
    faults: Vec<Fault>,
) -> Response {
    let exchange = match exchange.strike(&faults, call.stream).await {
        Ok(exchange) => exchange,
        Err(response) => return response,
    };
    let mut answer = answer(call, exchange.config.seed, script);
    let implicit = exchange.config.quirks.implicit_cache;
    let cache = &exchange.simulator.shared.cache;
    answer.cache = cache.look(account, call, implicit, Instant::now());
    let identity = Identity {
        request_id: exchange.request_id.clone(),
        created: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs()),
    };
    exchange.guard.update(|entry| {
        entry.input_tokens = answer.input_tokens;
        entry.cached_tokens = answer.cache.cached;
        entry.cache_creation_tokens = answer.cache.created;
    });
    let time = |answer: &Answer| {
        let made = time_of(answer.output_tokens(), speed.tokens_per_second);
        Duration::from_millis(speed.ttft_ms).saturating_add(made)
    };
    let limit = exchange.config.quirks.plain_answer_limit_ms;
    let limit = (limit > 0 && !call.stream).then(|| Duration::from_millis(limit));
    let mut takes = time(&answer);
    if let Some(limit) = limit.filter(|limit| *limit < takes) {
        takes = limit;
        if exchange.config.quirks.plain_answer_limit_fails {
            sleep(takes).await;
            let message = "Request timed out, please try again later.";
            return exchange.refuse(&Rejection::new(500, "RequestTimeOut", message));
        }
        let share = limit.saturating_sub(Duration::from_millis(speed.ttft_ms));
        answer.keep(share.as_secs_f64() * speed.tokens_per_second);
    }
    remember(&exchange, account, call, &answer, &identity);
    if call.stream {
        let frames = FrameStream::new(
            call,
            answer,
            &identity,
            speed.chunk_tokens,
            &exchange.config,
        );
        let id = &identity.request_id;
        let schedule = Schedule::of_stream(call.dialect, id, frames, speed, faults);
        return exchange.stream(schedule);
    }
    let output = answer.output_tokens();
    sleep(takes).await;
    exchange.guard.made(output);
    let body = whole(call, &answer, &identity, &exchange.config);
    let whole = faults
        .iter()
        .all(|fault| matches!(fault, Fault::Delay(_) | Fault::NoBlankLines));
    if whole {
        return exchange.json(200, body, Verdict::Ok);
    }
    let schedule = Schedule::of_whole(call.dialect, &identity.request_id, body, faults);
    exchange.json_in_pieces(schedule)
}

/// What a rule of the configuration orders, where the headers order nothing.
fn scripted(exchange: &Exchange, call: &Call, script: Script) -> Script {
    if script.is_given() {
        return script;
    }
    let last = message_text(call.last());
    let rule = exchange.config.answers.iter().find(|rule| {
        let model = rule.model.as_ref();
        let contains = rule.contains.as_ref();
        model.is_none_or(|model| *model == call.model_id)
            && contains.is_none_or(|part| last.contains(part.as_str()))
    });
    match rule {
        Some(rule) => Script {
            text: Some(rule.text.clone()),
            tokens: None,
            reasoning: rule.reasoning.clone(),
            calls: rule.tool_calls.clone(),
        },
        None => script,
    }
}
