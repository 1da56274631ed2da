//! Repairs of requests and answers in OpenAI's dialect that keep all other bytes as they are.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use bailian_wire::openai::unwrap_extra_body;
use bytes::{Bytes, BytesMut};
use memchr::memmem;
use serde_json::Value;

use crate::config::Repairs;

/// Puts `new` in the place of `span`.
pub(super) fn splice(bytes: &Bytes, span: Range<usize>, new: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(bytes.len() + new.len());
    out.extend_from_slice(bytes.get(..span.start).unwrap_or_default());
    out.extend_from_slice(new);
    out.extend_from_slice(bytes.get(span.end..).unwrap_or_default());
    out.freeze()
}

/// Asks for a stream's usage, in a body that says nothing of it.
pub(super) fn ask_usage(bytes: &Bytes) -> Bytes {
    const MEMBER: &[u8] = b"\"stream_options\":{\"include_usage\":true},";
    // The body is an object with a model, so a member follows the first brace.
    match memchr::memchr(b'{', bytes) {
        Some(brace) => splice(bytes, brace + 1..brace + 1, MEMBER),
        None => bytes.clone(),
    }
}

/// The request with what clients get wrong mended; `None` if there is nothing to mend.
pub(super) fn request(bytes: &[u8], repairs: &Repairs) -> Option<Value> {
    let has = |needle: &[u8]| memmem::find(bytes, needle).is_some();
    let developer = repairs.developer && has(b"\"developer\"");
    let extra_body = repairs.extra_body && has(b"\"extra_body\"");
    if !developer && !extra_body {
        return None;
    }
    let mut body: Value = serde_json::from_slice(bytes).ok()?;
    let mut mended = false;
    if let Some(members) = body.as_object_mut()
        && extra_body
        && members.contains_key("extra_body")
    {
        unwrap_extra_body(members);
        mended = true;
    }
    if developer {
        let messages = body.get_mut("messages").and_then(Value::as_array_mut);
        for message in messages.into_iter().flatten() {
            if message.get("role").and_then(Value::as_str) == Some("developer") {
                message["role"] = "system".into();
                mended = true;
            }
        }
    }
    mended.then_some(body)
}

/// Brings the pieces of tool calls into the form that every client reads (compat.md §2.14, §8.9):
/// the first names the call, the others have no id, no name and no null.
#[derive(Debug, Default)]
pub(super) struct ToolCalls {
    /// Calls that were named, by choice and index.
    named: BTreeSet<(u64, u64)>,
}

impl ToolCalls {
    /// The most calls that are followed; a stream with more is passed as it is from there.
    const MOST: usize = 10_000;

    /// Mends a chunk. Says whether anything was to be mended.
    pub(super) fn mend(&mut self, chunk: &mut Value) -> bool {
        let mut mended = false;
        let choices = chunk.get_mut("choices").and_then(Value::as_array_mut);
        for choice in choices.into_iter().flatten() {
            let of_choice = choice.get("index").and_then(Value::as_u64).unwrap_or(0);
            let calls = choice.pointer_mut("/delta/tool_calls");
            for (call, place) in calls
                .and_then(Value::as_array_mut)
                .into_iter()
                .flatten()
                .zip(0u64..)
            {
                mended |= self.mend_call(call, of_choice, place);
            }
        }
        mended
    }

    fn mend_call(&mut self, call: &mut Value, choice: u64, place: u64) -> bool {
        let index = call.get("index").and_then(Value::as_u64).unwrap_or(place);
        if self.named.len() >= Self::MOST {
            return false;
        }
        let is_first = self.named.insert((choice, index));
        let Some(members) = call.as_object_mut() else {
            return false;
        };
        let before = members.clone();
        members.entry("index").or_insert_with(|| index.into());
        let is_empty =
            |value: Option<&Value>| value.is_none_or(|value| value.is_null() || value == "");
        if !is_first || is_empty(members.get("id")) {
            members.remove("id");
        }
        if members.get("type").is_some_and(Value::is_null) {
            members.remove("type");
        }
        if let Some(function) = members.get_mut("function").and_then(Value::as_object_mut) {
            if !is_first || is_empty(function.get("name")) {
                function.remove("name");
            }
            if function.get("arguments").is_none_or(Value::is_null) {
                function.insert("arguments".to_owned(), "".into());
            }
        }
        *members != before
    }
}

/// Gives the code of the tokens-per-minute limit a name that clients do not take for an unpaid
/// bill (compat.md §7.2, trap 1). The service's own name stays beside it.
pub(super) fn quota_code(error: &mut Value) {
    if let Some(error) = error.get_mut("error").and_then(Value::as_object_mut)
        && error.get("code").and_then(Value::as_str) == Some("insufficient_quota")
    {
        let known: BTreeMap<&str, &str> = BTreeMap::from([
            ("code", "rate_limit_exceeded"),
            ("type", "rate_limit_exceeded"),
            ("upstream_code", "insufficient_quota"),
        ]);
        for (name, value) in known {
            error.insert(name.to_owned(), value.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn usage_is_asked_for_before_everything_else() {
        let body = Bytes::from_static(b" {\"model\":\"m\",\"stream\":true}");
        let asked: Value = serde_json::from_slice(&ask_usage(&body)).unwrap();
        assert_eq!(
            asked,
            json!({ "model": "m", "stream": true, "stream_options": { "include_usage": true } })
        );
    }

    #[test]
    fn the_words_of_a_message_are_no_reason_to_mend() {
        let body = br#"{"model":"m","messages":[{"role":"user","content":"\"developer\" \"extra_body\""}]}"#;
        assert_eq!(request(body, &Repairs::default()), None);
        let off = Repairs {
            developer: false,
            extra_body: false,
            ..Repairs::default()
        };
        let body = br#"{"extra_body":{},"messages":[{"role":"developer"}]}"#;
        assert_eq!(request(body, &off), None);
        assert_eq!(
            request(body, &Repairs::default()),
            Some(json!({ "messages": [{ "role": "system" }] }))
        );
    }

    #[test]
    fn pieces_of_calls_are_named_once() {
        let chunk =
            |calls: Value| json!({ "choices": [{ "index": 0, "delta": { "tool_calls": calls } }] });
        let mut tools = ToolCalls::default();
        let mut first = chunk(json!([{ "index": 0, "id": "call_1", "type": "function",
            "function": { "name": "f", "arguments": null } }]));
        assert!(tools.mend(&mut first));
        assert_eq!(
            first["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"],
            ""
        );
        for id in ["", "call_1"] {
            let mut next = chunk(json!([{ "index": 0, "id": id, "type": "function",
                "function": { "name": null, "arguments": "{}" } }]));
            assert!(tools.mend(&mut next));
            assert_eq!(
                next,
                chunk(
                    json!([{ "index": 0, "type": "function", "function": { "arguments": "{}" } }])
                )
            );
        }
        let mut good = chunk(json!([{ "index": 0, "function": { "arguments": "1" } }]));
        assert!(!tools.mend(&mut good));
    }
}
