//! Whether an answer is one that another client could have got: whole, and no error.

use bailian_wire::Dialect;
use bailian_wire::error::error_in_success;
use memchr::memmem;
use serde_json::Value;

use super::super::frames;
use crate::surface::Surface;

/// Whether a plain answer is complete.
pub(super) fn is_whole_answer(surface: &Surface, body: &[u8]) -> bool {
    let Ok(answer) = serde_json::from_slice::<Value>(body) else {
        return false;
    };
    if !answer.is_object() || error_in_success(&answer).is_some() {
        return false;
    }
    match surface {
        Surface::Chat(Dialect::Anthropic) => says_why(&answer["stop_reason"]),
        Surface::Chat(Dialect::OpenAi) => choices_end(&answer["choices"]),
        Surface::Chat(Dialect::Native) | Surface::NativeMultimodal => native_ends(&answer),
        _ => true,
    }
}

/// Whether a stream that ended has the frame that ends one of its kind.
pub(super) fn is_whole_stream(surface: &Surface, last: &[u8]) -> bool {
    match surface.dialect() {
        Dialect::OpenAi => frames::data_of(last) == Some(b"[DONE]"),
        Dialect::Anthropic => memmem::find(last, b"\"message_stop\"").is_some(),
        Dialect::Native => frames::data_of(last)
            .and_then(|data| serde_json::from_slice(data).ok())
            .is_some_and(|event: Value| {
                event.get("output").is_some_and(Value::is_object) && native_ends(&event)
            }),
    }
}

fn says_why(reason: &Value) -> bool {
    reason
        .as_str()
        .is_some_and(|reason| !reason.is_empty() && reason != "null")
}

fn choices_end(choices: &Value) -> bool {
    choices.as_array().is_some_and(|choices| {
        !choices.is_empty()
            && choices
                .iter()
                .all(|choice| says_why(&choice["finish_reason"]))
    })
}

/// Native answers say it in their choices, or, in the older form, beside the text.
fn native_ends(answer: &Value) -> bool {
    let output = &answer["output"];
    says_why(&output["finish_reason"]) || choices_end(&output["choices"])
}

/// When the first link of an answer ends, in seconds since the Unix epoch, if one says so. The
/// service names sound and pictures by links that end.
pub(super) fn links_end(body: &[u8]) -> Option<u64> {
    const NAME: &[u8] = b"\"expires_at\":";
    let ends = memmem::find_iter(body, NAME).filter_map(|at| {
        let rest = body.get(at + NAME.len()..)?.trim_ascii_start();
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()
    });
    // Some say 0 for never.
    ends.filter(|end| *end > 0).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPENAI: Surface = Surface::Chat(Dialect::OpenAi);
    const NATIVE: Surface = Surface::Chat(Dialect::Native);
    const ANTHROPIC: Surface = Surface::Chat(Dialect::Anthropic);

    #[test]
    fn only_answers_that_say_why_they_end_are_whole() {
        for (surface, whole, body) in [
            (OPENAI, true, r#"{"choices":[{"finish_reason":"stop"}]}"#),
            (
                OPENAI,
                true,
                r#"{"choices":[{"finish_reason":"tool_calls"}]}"#,
            ),
            (OPENAI, false, r#"{"choices":[{"finish_reason":null}]}"#),
            (
                OPENAI,
                false,
                r#"{"choices":[{"finish_reason":"stop"},{}]}"#,
            ),
            (OPENAI, false, r#"{"choices":[]}"#),
            (OPENAI, false, r#"{"error":{"message":"no","code":"x"}}"#),
            (OPENAI, false, "[]"),
            (OPENAI, false, r#"{"choices":[{"finish"#),
            (
                NATIVE,
                true,
                r#"{"output":{"choices":[{"finish_reason":"stop"}]}}"#,
            ),
            (
                NATIVE,
                true,
                r#"{"output":{"text":"x","finish_reason":"stop"}}"#,
            ),
            (
                NATIVE,
                false,
                r#"{"output":{"text":"x","finish_reason":"null"}}"#,
            ),
            (NATIVE, false, r#"{"code":"InternalError","message":"no"}"#),
            (ANTHROPIC, true, r#"{"stop_reason":"end_turn"}"#),
            (ANTHROPIC, false, r#"{"stop_reason":null}"#),
            (
                ANTHROPIC,
                false,
                r#"{"type":"error","error":{"type":"api_error","message":"no"}}"#,
            ),
            (Surface::Embeddings(Dialect::OpenAi), true, r#"{"data":[]}"#),
            (
                Surface::Embeddings(Dialect::OpenAi),
                false,
                r#"{"error":{"message":"no","code":"x"}}"#,
            ),
        ] {
            assert_eq!(is_whole_answer(&surface, body.as_bytes()), whole, "{body}");
        }
    }

    #[test]
    fn only_streams_with_the_end_of_their_kind_are_whole() {
        for (surface, whole, last) in [
            (OPENAI, true, "data: [DONE]\n\n"),
            (OPENAI, false, "data: {\"error\":{}}\n\n"),
            (
                ANTHROPIC,
                true,
                "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
            ),
            (ANTHROPIC, false, "event: error\ndata: {}\n\n"),
            (
                NATIVE,
                true,
                "id:2\nevent:result\n:HTTP_STATUS/200\ndata:{\"output\":{\"choices\":[{\"finish_reason\":\"stop\"}]}}\n\n",
            ),
            (
                NATIVE,
                false,
                "id:2\nevent:result\ndata:{\"output\":{\"choices\":[{\"finish_reason\":\"null\"}]}}\n\n",
            ),
            (
                NATIVE,
                false,
                "event:error\ndata:{\"code\":\"x\",\"message\":\"y\"}\n\n",
            ),
        ] {
            assert_eq!(is_whole_stream(&surface, last.as_bytes()), whole, "{last}");
        }
    }

    #[test]
    fn the_earliest_end_of_a_link_is_found() {
        assert_eq!(links_end(b"{}"), None);
        let body = br#"{"a":{"expires_at": 1700000900},"b":{"expires_at":1700000100},"c":{"expires_at":0}}"#;
        assert_eq!(links_end(body), Some(1_700_000_100));
        assert_eq!(links_end(br#"{"text":"\"expires_at\": 5"}"#), None);
    }
}
