//! Reads from a request body the few fields that policy needs; the bytes themselves travel on.

use std::borrow::Cow;
use std::ops::Range;

use http::HeaderMap;
use http::header::ACCEPT;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::stored::Holder;
use crate::errors::Refusal;
use crate::surface::Surface;

/// What the gateway knows of a request beyond its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Demand {
    /// The model as the caller named it.
    pub(crate) model: Box<str>,
    /// Whether the answer comes as a stream of events.
    pub(crate) stream: bool,
    /// The most output tokens that it allows.
    pub(crate) max_output: Option<u64>,
    /// Where the model's name stands in the body, its quotation marks included. `None` where the
    /// body names none, or spells it with escapes.
    pub(crate) model_span: Option<Range<usize>>,
    /// What an OpenAI request says of its stream's usage.
    pub(crate) usage: UsageSwitch,
    /// How many answers are asked for.
    pub(crate) answers: u32,
    /// One text is asked for, without figures about its tokens.
    pub(crate) is_plain: bool,
    /// Whether a native stream shall bring increments; `None` leaves it to the model.
    pub(crate) incremental: Option<bool>,
    /// Where what it names is.
    pub(crate) holder: Holder,
}

/// What an OpenAI request says of its stream's usage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum UsageSwitch {
    /// Nothing: there are no stream options.
    #[default]
    Absent,
    /// There are stream options, and they do not ask.
    NotAsked,
    /// It is asked for.
    Asked,
}

#[derive(Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: Option<bool>,
}

/// A name that is borrowed from the body where it stands there without escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// Members are matched by their exact name, and one that stands twice is refused: no other reader
/// of these bytes can so see another model than the gateway did.
#[derive(Deserialize)]
struct OpenAiMembers<'a> {
    #[serde(borrow, default)]
    model: Option<Name<'a>>,
    #[serde(default)]
    stream: Option<bool>,
    #[serde(borrow, default)]
    max_tokens: Option<&'a RawValue>,
    #[serde(borrow, default)]
    max_completion_tokens: Option<&'a RawValue>,
    #[serde(borrow, default)]
    max_output_tokens: Option<&'a RawValue>,
    #[serde(borrow, default)]
    stream_options: Option<&'a RawValue>,
    #[serde(borrow, default)]
    n: Option<&'a RawValue>,
    #[serde(borrow, default)]
    logprobs: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct NativeMembers<'a> {
    #[serde(borrow, default)]
    model: Option<Name<'a>>,
    #[serde(borrow, default)]
    parameters: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct NativeParameters<'a> {
    #[serde(borrow, default)]
    max_tokens: Option<&'a RawValue>,
    #[serde(borrow, default)]
    incremental_output: Option<&'a RawValue>,
    #[serde(borrow, default)]
    n: Option<&'a RawValue>,
    #[serde(borrow, default)]
    logprobs: Option<&'a RawValue>,
}

/// The longest model name that is looked at, in bytes. The longest published one has 48.
const MAX_MODEL_BYTES: usize = 256;

/// Reads model and stream switch.
///
/// Most requests say `stream` in the body, native ones in the headers (http-native.md §3.1).
pub(crate) fn read(surface: &Surface, headers: &HeaderMap, body: &[u8]) -> Result<Demand, Refusal> {
    if body.is_empty() {
        return Err(Refusal::invalid_request(
            "The request body is empty; send a JSON object.",
        ));
    }
    let mut demand = Demand::default();
    let model = if surface.streams_by_header() {
        let members: NativeMembers<'_> = parse(body)?;
        // Parameters that are no object are for upstream to refuse.
        let parameters: NativeParameters<'_> = members
            .parameters
            .and_then(|parameters| serde_json::from_str(parameters.get()).ok())
            .unwrap_or_default();
        demand.max_output = parameters
            .max_tokens
            .and_then(|value| value.get().parse().ok());
        demand.incremental = parameters
            .incremental_output
            .and_then(|value| value.get().parse().ok());
        demand.stream = wants_event_stream(headers);
        (demand.answers, demand.is_plain) = answers_of(parameters.n, parameters.logprobs);
        members.model
    } else {
        let members: OpenAiMembers<'_> = parse(body)?;
        let most = members
            .max_completion_tokens
            .or(members.max_output_tokens)
            .or(members.max_tokens);
        // Whether it is a number is for upstream to say.
        demand.max_output = most.and_then(|value| value.get().parse().ok());
        (demand.answers, demand.is_plain) = answers_of(members.n, members.logprobs);
        demand.stream = members.stream.unwrap_or(false);
        demand.usage = members.stream_options.map_or(UsageSwitch::Absent, usage_of);
        members.model
    };
    let named = model.map(|name| name.0).filter(|name| !name.is_empty());
    let named = match (&named, surface) {
        (Some(name), _) => {
            demand.model_span = span_of(name, body);
            &**name
        }
        (
            None,
            Surface::Other {
                model: Some(model), ..
            },
        ) => model,
        (None, _) => {
            let refusal = Refusal::invalid_request("you must provide a model parameter.");
            return Err(refusal.with_param("model"));
        }
    };
    if named.len() > MAX_MODEL_BYTES || named.chars().any(char::is_control) {
        let refusal = Refusal::invalid_request("The model parameter is not a model's name.");
        return Err(refusal.with_param("model"));
    }
    demand.model = named.into();
    Ok(demand)
}

/// What a request without a body asks for: something that the account has stored.
pub(crate) fn without_body(surface: &Surface) -> Demand {
    let model = match surface {
        Surface::Other {
            model: Some(model), ..
        } => model.clone(),
        _ => Box::default(),
    };
    Demand {
        model,
        ..Demand::default()
    }
}

/// How many answers are asked for, and whether that is one without figures about its tokens.
fn answers_of(n: Option<&RawValue>, logprobs: Option<&RawValue>) -> (u32, bool) {
    let answers = n.and_then(|n| n.get().parse().ok()).unwrap_or(1);
    let has_figures = logprobs.is_some_and(|value| !["false", "null"].contains(&value.get()));
    (answers, answers == 1 && !has_figures)
}

fn usage_of(options: &RawValue) -> UsageSwitch {
    match serde_json::from_str(options.get()) {
        Ok(StreamOptions {
            include_usage: Some(true),
        }) => UsageSwitch::Asked,
        _ => UsageSwitch::NotAsked,
    }
}

/// Where a name stands in `body`, with its quotation marks, if it is borrowed from there.
fn span_of(name: &str, body: &[u8]) -> Option<Range<usize>> {
    let start = name.as_ptr().addr().checked_sub(body.as_ptr().addr())?;
    let span = start.checked_sub(1)?..start.checked_add(name.len())?.checked_add(1)?;
    let quoted = body.get(span.clone())?;
    (quoted.starts_with(b"\"") && quoted.ends_with(b"\"")).then_some(span)
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| {
        // serde's text names the place and the kinds, never the content.
        Refusal::invalid_request(format!(
            "Required body invalid, please check the request body format: {error}"
        ))
    })
}

/// `X-DashScope-SSE: enable`, or an `Accept` that asks for events, as most recorded requests do.
fn wants_event_stream(headers: &HeaderMap) -> bool {
    let switch = headers
        .get("x-dashscope-sse")
        .map(http::HeaderValue::as_bytes);
    match switch {
        Some(value) if value.eq_ignore_ascii_case(b"enable") => true,
        Some(value) if value.eq_ignore_ascii_case(b"disable") => false,
        _ => headers.get(ACCEPT).is_some_and(|accept| {
            memchr::memmem::find(accept.as_bytes(), b"text/event-stream").is_some()
        }),
    }
}

#[cfg(test)]
mod tests {
    use bailian_wire::Dialect;

    use super::*;

    fn openai(body: &str) -> Result<Demand, Refusal> {
        read(
            &Surface::Chat(Dialect::OpenAi),
            &HeaderMap::new(),
            body.as_bytes(),
        )
    }

    #[test]
    fn unknown_members_of_any_depth_are_passed_over() {
        let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
        let body = format!(r#"{{"future":{deep},"model":"qwen-plus","stream":true}}"#);
        let demand = openai(&body).unwrap();
        assert_eq!((&*demand.model, demand.stream), ("qwen-plus", true));
    }

    #[test]
    fn the_place_of_the_models_name_is_known() {
        let body = r#"{"input":"qwen-plus","model": "qwen-plus"}"#;
        let span = openai(body).unwrap().model_span.unwrap();
        assert_eq!((&body[span.clone()], span.start), ("\"qwen-plus\"", 30));
        let escaped = openai(r#"{"model":"qwen\u002dplus"}"#).unwrap();
        assert_eq!(escaped.model_span, None);
    }

    #[test]
    fn null_is_read_like_absent() {
        assert!(!openai(r#"{"model":"m","stream":null}"#).unwrap().stream);
        assert!(openai(r#"{"model":null}"#).is_err());
    }

    #[test]
    fn escaped_model_names_are_unescaped() {
        assert_eq!(
            &*openai(r#"{"model":"qwen\u002dplus"}"#).unwrap().model,
            "qwen-plus"
        );
    }

    #[test]
    fn a_member_that_stands_twice_is_refused() {
        let refusal = openai(r#"{"model":"cheap","model":"dear"}"#).unwrap_err();
        assert!(
            refusal.message().contains("duplicate field `model`"),
            "{refusal:?}"
        );
    }

    #[test]
    fn bad_bodies_are_refused_with_the_place() {
        for body in [
            "",
            "no json",
            "[]",
            "7",
            r#"{"model":5}"#,
            r#"{"model":"m","stream":"yes"}"#,
            r#"{"model":"m"} trailing"#,
            r#"{"model":"a\nb"}"#,
            r#"{"model":""}"#,
        ] {
            let refusal = openai(body).unwrap_err();
            assert_eq!(refusal.status(), http::StatusCode::BAD_REQUEST, "{body}");
            assert!(!refusal.message().is_empty());
        }
        assert!(
            openai("{\"model\":\n5}")
                .unwrap_err()
                .message()
                .contains("line 2")
        );
    }

    #[test]
    fn the_most_output_is_read_in_every_dialect() {
        let most = |dialect, body: &str| {
            let demand = read(&Surface::Chat(dialect), &HeaderMap::new(), body.as_bytes());
            demand.unwrap().max_output
        };
        let native = r#"{"model":"m","input":{},"parameters":{"max_tokens":7,"top_p":0.5}}"#;
        assert_eq!(most(Dialect::Native, native), Some(7));
        assert_eq!(
            most(Dialect::Native, r#"{"model":"m","parameters":"x"}"#),
            None
        );
        assert_eq!(
            most(Dialect::OpenAi, r#"{"model":"m","max_tokens":8}"#),
            Some(8)
        );
        let both = r#"{"model":"m","max_tokens":8,"max_completion_tokens":9}"#;
        assert_eq!(most(Dialect::OpenAi, both), Some(9));
        assert_eq!(
            most(Dialect::OpenAi, r#"{"model":"m","max_tokens":"x"}"#),
            None
        );
    }

    #[test]
    fn native_requests_choose_streaming_by_header() {
        let read_with = |name: &'static str, value: &'static str| {
            let headers = HeaderMap::from_iter([(
                http::HeaderName::from_static(name),
                http::HeaderValue::from_static(value),
            )]);
            read(
                &Surface::Chat(Dialect::Native),
                &headers,
                br#"{"model":"m","stream":true}"#,
            )
            .unwrap()
            .stream
        };
        assert!(read_with("x-dashscope-sse", "enable"));
        assert!(!read_with("x-dashscope-sse", "disable"));
        assert!(read_with("accept", "text/event-stream"));
        assert!(!read_with("accept", "application/json"));
    }
}
