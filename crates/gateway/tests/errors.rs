//! Every documented error, in every phase and dialect: what becomes of it is a table, and each of
//! its cells is tried. The guide for people is made of the same table.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at what it did not expect"
)]

mod support;

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bailian_gateway::Config;
use bailian_sim::{SimConfig, Simulator};
use bailian_wire::Dialect;
use bailian_wire::error::{
    ErrorClass, ErrorEntry, ErrorTable, ErrorView, Surface, encode_error, parse_error_body,
};
use serde_json::{Value, json};
use support::{KEY, NATIVE, OPENAI, UPSTREAM_KEY, post, read, send, start, with};

/// When upstream says that something is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Instead of an answer.
    Head,
    /// As the first event of a stream.
    FirstEvent,
    /// After some text.
    MidStream,
}

const PHASES: [Phase; 3] = [Phase::Head, Phase::FirstEvent, Phase::MidStream];

/// Errors that an HTTP call can meet.
fn entries() -> impl Iterator<Item = &'static ErrorEntry> {
    ErrorTable::embedded().entries().iter().filter(|entry| {
        entry.surface == Surface::Http
            && entry.code.is_some()
            && entry.status.is_some_and(|s| s >= 400)
    })
}

/// An error as upstream would send it in a dialect.
#[derive(Clone, Debug)]
struct Wrong {
    status: u16,
    body: String,
    class: ErrorClass,
}

impl Wrong {
    fn of(entry: &ErrorEntry, dialect: Dialect) -> Self {
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
            status,
            body,
            class,
        }
    }
}

/// Whether another target is asked instead of one that answered so (docs/gateway.md).
fn falls_back(class: ErrorClass) -> bool {
    !matches!(
        class,
        ErrorClass::InvalidRequest | ErrorClass::ContentFilter | ErrorClass::NotFound
    )
}

/// Whether a stream goes on after such an error.
fn goes_on(class: ErrorClass) -> bool {
    class.is_throttle()
        || matches!(
            class,
            ErrorClass::Server | ErrorClass::Unavailable | ErrorClass::Timeout
        )
}

/// Whether it speaks against the health of the target.
fn is_fault(class: ErrorClass) -> bool {
    matches!(
        class,
        ErrorClass::Server | ErrorClass::Unavailable | ErrorClass::Timeout
    )
}

#[derive(Clone)]
struct Script(Arc<(Dialect, Phase, Wrong)>);

async fn scripted(State(script): State<Script>) -> Response {
    let (dialect, phase, wrong) = &*script.0;
    let response = |status: u16, kind: &str, body: String| {
        Response::builder()
            .status(status)
            .header("content-type", kind)
            .body(Body::from(body))
            .unwrap()
    };
    if *phase == Phase::Head {
        return response(wrong.status, "application/json", wrong.body.clone());
    }
    let begun = match (phase, dialect) {
        (Phase::MidStream, Dialect::OpenAi) => {
            "data: {\"id\":\"chatcmpl-1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"fi\"}}]}\n\n"
        }
        (Phase::MidStream, Dialect::Native) => {
            "id:1\nevent:result\n:HTTP_STATUS/200\ndata:{\"output\":{\"choices\":[{\"message\":{\"content\":\"fi\",\"role\":\"assistant\"},\"finish_reason\":\"null\"}]},\"request_id\":\"r\"}\n\n"
        }
        (Phase::MidStream, Dialect::Anthropic) => {
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"model\":\"m\",\"content\":[],\"usage\":{\"input_tokens\":1,\"output_tokens\":0}}}\n\nevent: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\nevent: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"fi\"}}\n\n"
        }
        _ => "",
    };
    let event = match dialect {
        Dialect::Native => format!(
            "id:2\nevent:error\n:HTTP_STATUS/{}\ndata:{}\n\n",
            wrong.status, wrong.body
        ),
        Dialect::Anthropic => format!("event: error\ndata: {}\n\n", wrong.body),
        Dialect::OpenAi => format!("data: {}\n\n", wrong.body),
    };
    response(200, "text/event-stream", format!("{begun}{event}"))
}

async fn serve(script: Script) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(scripted).with_state(script);
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    base
}

fn question(dialect: Dialect, stream: bool) -> http::Request<http_body_util::Full<bytes::Bytes>> {
    let messages = json!([{ "role": "user", "content": "你好" }]);
    let request = match dialect {
        Dialect::Native => {
            let body = json!({ "model": "qwen-plus", "input": { "messages": messages },
                "parameters": { "result_format": "message", "incremental_output": true } });
            let switch = if stream { "enable" } else { "disable" };
            with(post(NATIVE, body.to_string()), "x-dashscope-sse", switch)
        }
        Dialect::Anthropic => {
            let body = json!({ "model": "qwen-plus", "max_tokens": 9, "stream": stream, "messages": messages });
            post("/anthropic/v1/messages", body.to_string())
        }
        Dialect::OpenAi => {
            let body = json!({ "model": "qwen-plus", "stream": stream, "messages": messages });
            post(OPENAI, body.to_string())
        }
    };
    with(request, "x-sim-answer", "fine")
}

/// The error object of a body or of a stream's last frame.
fn told(dialect: Dialect, text: &str) -> Option<Value> {
    let last = text.trim_end().rsplit("\n\n").next()?;
    let data = last
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("data:"))
        .unwrap_or(last);
    let value: Value = serde_json::from_str(data.trim()).ok()?;
    let is_error = match dialect {
        Dialect::Native => value["code"].is_string() && value["message"].is_string(),
        Dialect::Anthropic => value["type"] == "error" && value["error"]["type"].is_string(),
        Dialect::OpenAi => value["error"]["message"].is_string(),
    };
    is_error.then_some(value)
}

async fn try_cell(second: String, entry: &'static ErrorEntry, phase: Phase, dialect: Dialect) {
    let wrong = Wrong::of(entry, dialect);
    let first = serve(Script(Arc::new((dialect, phase, wrong.clone())))).await;
    let text = format!(
        "listen = \"127.0.0.1:0\"\nthreads = 1\n\
         [[accounts]]\nname = \"a\"\napi_keys = [\"{UPSTREAM_KEY}\"]\nbase_url = \"{first}\"\n\
         [[accounts]]\nname = \"b\"\napi_keys = [\"{UPSTREAM_KEY}\"]\nbase_url = \"{second}\"\nforward_headers = [\"x-sim-*\"]\n\
         [[routes]]\nmodel = \"*\"\ntargets = [{{ account = \"a\" }}]\nfallbacks = [{{ account = \"b\" }}]\n\
         [[keys]]\nname = \"t\"\nkey = \"{KEY}\"\n"
    );
    let gateway = start(Config::parse(&text, "test", &|_: &str| None).unwrap());
    let place = format!(
        "{} ({}) {phase:?} {dialect}",
        entry.code.as_deref().unwrap(),
        wrong.status
    );
    let is_stream = phase != Phase::Head;
    let response = send(gateway.address, question(dialect, is_stream)).await;
    let source = response.headers().get("x-bailian-error-source").cloned();
    let (status, _, text) = read(response).await;
    let is_mended = if is_stream {
        goes_on(wrong.class)
    } else {
        falls_back(wrong.class)
    };
    if is_mended {
        assert_eq!(status, 200, "{place}: {text}");
        assert!(
            text.contains("ne") && told(dialect, &text).is_none(),
            "{place}: {text}"
        );
        return;
    }
    let error = told(dialect, &text).unwrap_or_else(|| panic!("{place}: {text}"));
    if is_stream {
        assert_eq!(status, 200, "{place}");
    } else {
        assert_eq!(status.as_u16(), wrong.status, "{place}: {text}");
        assert_eq!(source.unwrap(), "upstream", "{place}");
    }
    let sent: Value = serde_json::from_str(&wrong.body).unwrap();
    let code = |value: &Value| match dialect {
        Dialect::Native => value["code"].clone(),
        Dialect::OpenAi => value["error"]["code"].clone(),
        Dialect::Anthropic => value["error"]["type"].clone(),
    };
    assert_eq!(code(&error), code(&sent), "{place}");
    assert_eq!(error["request_id"], "r-upstream", "{place}: {error}");
}

#[tokio::test]
async fn every_documented_error_in_every_phase_and_dialect_has_its_consequence() {
    let healthy = Simulator::new(SimConfig::default()).spawn().await.unwrap();
    let mut cells = Vec::new();
    for entry in entries() {
        for phase in PHASES {
            cells.extend(Dialect::ALL.map(|dialect| (entry, phase, dialect)));
        }
    }
    assert!(cells.len() >= 1_000, "{}", cells.len());
    let mut running = tokio::task::JoinSet::new();
    for (entry, phase, dialect) in cells {
        if running.len() >= 16 {
            running.join_next().await.unwrap().unwrap();
        }
        running.spawn(try_cell(healthy.base_url(), entry, phase, dialect));
    }
    running.join_all().await;
}

/// What the gateway does about an error, in a few words.
fn done_about(class: ErrorClass) -> String {
    let mut done = Vec::new();
    if class.is_throttle() {
        done.push("asks the next target, else waits in line and sends it again");
    } else if falls_back(class) {
        done.push("asks the next target, else passes it on");
    } else {
        done.push("passes it on");
    }
    if goes_on(class) {
        done.push("a stream goes on");
    }
    if is_fault(class) {
        done.push("counts against the target's health");
    }
    done.join("; ")
}

fn guide() -> String {
    let mut text = String::from(
        "# Errors\n\n\
         What each error of the service means, what the gateway does, and what to do. Made from the error catalogue by a test\n\
         (`BLESS=1 cargo test -p bailian-gateway --test errors` writes it anew). In OpenAI's dialect the code stands in `error.code`, in Anthropic's there are types only.\n\n\
         ## By kind\n\n| kind | the gateway | what to do |\n|---|---|---|\n",
    );
    for class in ErrorClass::ALL {
        let _infallible = writeln!(
            text,
            "| `{class}` | {} | {} |",
            done_about(class),
            class.guidance()
        );
    }
    text.push_str(
        "\n## By code\n\n| code | OpenAI's `code` | HTTP | kind | retry |\n|---|---|---|---|---|\n",
    );
    let mut rows: Vec<String> = entries()
        .map(|entry| {
            let retry = match entry.retry {
                Some(_) => "yes",
                None => "no",
            };
            format!(
                "| `{}` | {} | {} | `{}` | {retry} |",
                entry.code.as_deref().unwrap(),
                entry
                    .compat_code
                    .as_ref()
                    .map_or(String::new(), |code| format!("`{code}`")),
                entry.status.unwrap(),
                entry.class
            )
        })
        .collect();
    rows.sort();
    rows.dedup();
    text.push_str(&rows.join("\n"));
    text.push_str(
        "\n\nThe gateway's own refusals have `x-bailian-error-source: gateway` and these codes: `InvalidApiKey` (no or a wrong key), `InvalidParameter` (the request cannot be read,\n\
         or not be translated), `BadRequest.TooLarge`, `RequestTimeOut` (the request's body, or upstream's answer, did not come in time), `NotFound`, `Throttling.RateQuota`\n\
         (the line is longer than the request would wait; `retry-after` says how long), `ServiceUnavailable` (upstream cannot be reached or broke off).\n",
    );
    text
}

#[test]
fn the_error_guide_is_what_the_catalogue_says() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors.md");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, guide()).unwrap();
    }
    let known = std::fs::read_to_string(&path).unwrap();
    assert!(
        known == guide(),
        "docs/errors.md is stale: run this test with BLESS=1"
    );
}
