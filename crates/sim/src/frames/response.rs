//! Responses (compat.md §5.2, §5.3): framed like native streams, and odd in their own way.

mod items;

use bailian_wire::sse::write_native_frame;
use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};

use self::items::Items;
pub(crate) use self::items::item_id;
use super::Identity;
use super::steps::{Extras, Step};
use super::usage::of_response;
use crate::answer::{Answer, ChoiceAnswer, builtin};
use crate::call::{Call, ResponseAsk};
use crate::config::Quirks;
use crate::rejection::Rejection;

/// The response object of an answer.
pub(crate) fn response_object(
    call: &Call,
    ask: &ResponseAsk,
    answer: &Answer,
    identity: &Identity,
) -> Value {
    let choice = answer.choices.first();
    let items = choice.map(|choice| Items::new(call, ask, choice, &identity.request_id));
    let items = items.unwrap_or_default().list;
    object(call, ask, answer, identity, &items)
}

fn object(
    call: &Call,
    ask: &ResponseAsk,
    answer: &Answer,
    identity: &Identity,
    items: &[Value],
) -> Value {
    let first = answer.choices.first();
    let is_cut = first.is_some_and(|choice| choice.finish_reason == "length");
    let status = if is_cut { "incomplete" } else { "completed" };
    let mut object = envelope(call, ask, identity, status);
    if is_cut {
        object["incomplete_details"] = json!({ "reason": "max_output_tokens" });
    }
    object["output"] = items.into();
    object["usage"] = of_response(answer, &builtin::counts(items));
    object
}

fn envelope(call: &Call, ask: &ResponseAsk, identity: &Identity, status: &str) -> Value {
    json!({
        "id": format!("resp_{}", identity.request_id), "object": "response",
        "created_at": identity.created, "status": status, "output": [],
        "model": if status == "queued" { "" } else { call.model_id.as_str() },
        "parallel_tool_calls": call.flag("parallel_tool_calls").unwrap_or(false),
        "tool_choice": ask.tool_choice, "tools": ask.tools,
    })
}

/// An error after the stream began. The pages tell of none; this is OpenAI's, framed as the rest.
pub(crate) fn error_event(rejection: &Rejection, request_id: &str, number: u64) -> Bytes {
    let (code, message) = rejection.compat_words();
    let event = json!({ "type": "error", "code": code, "message": message, "param": null,
        "sequence_number": number.saturating_sub(1), "request_id": request_id });
    let mut out = BytesMut::new();
    let event = event.to_string();
    write_native_frame(
        &mut out,
        number,
        "error",
        rejection.status,
        event.as_bytes(),
    );
    out.freeze()
}

/// How the events of a response are written.
#[derive(Clone, Debug)]
pub(super) struct Form {
    call: Call,
    ask: ResponseAsk,
    identity: Identity,
    irregular: bool,
    /// What events about the arguments of a call are called, and the member with all of them.
    arguments: (&'static str, &'static str),
    items: Items,
    /// Events so far.
    number: u64,
    /// Items that began.
    begun: usize,
}

impl Form {
    pub(super) fn new(
        call: &Call,
        ask: &ResponseAsk,
        answer: &Answer,
        identity: &Identity,
        quirks: &Quirks,
    ) -> Self {
        let choice = answer.choices.first();
        let items = choice.map(|choice| Items::new(call, ask, choice, &identity.request_id));
        Self {
            call: call.clone(),
            ask: ask.clone(),
            identity: identity.clone(),
            irregular: quirks.irregular_responses,
            arguments: if quirks.custom_tool_call_input {
                ("custom_tool_call_input", "input")
            } else {
                ("function_call_arguments", "arguments")
            },
            items: items.unwrap_or_default(),
            number: 0,
            begun: 0,
        }
    }

    #[expect(clippy::unused_self, reason = "as the other forms")]
    pub(super) fn extras(&self) -> Extras {
        Extras {
            begin: true,
            ..Extras::default()
        }
    }

    /// The number that the next event has.
    pub(super) fn next_number(&self) -> u64 {
        self.number + 1
    }

    fn event(&mut self, out: &mut BytesMut, name: &str, mut event: Value) {
        event["type"] = name.into();
        if !(self.irregular && name == "response.completed") {
            event["sequence_number"] = self.number.into();
        }
        if self.irregular && event["response"].is_object() {
            event["response"]["created_at"] = json!(self.identity.created as f64);
        }
        self.number += 1;
        write_native_frame(out, self.number, name, 200, event.to_string().as_bytes());
    }

    /// Appends the next events.
    pub(super) fn write(&mut self, out: &mut BytesMut, answer: &Answer, index: usize, step: &Step) {
        let Some(choice) = answer.choices.get(index) else {
            return;
        };
        match step {
            Step::Begin => {
                for (name, status) in [("created", "queued"), ("in_progress", "in_progress")] {
                    let response = envelope(&self.call, &self.ask, &self.identity, status);
                    let name = format!("response.{name}");
                    self.event(out, &name, json!({ "response": response }));
                }
            }
            Step::Reasoning(range) => {
                let delta = choice.reasoning.slice(range.clone());
                self.delta(out, 0, "reasoning_text", delta);
            }
            Step::Text(range) => {
                let delta = choice.text.slice(range.clone());
                self.delta(out, self.items.text, "output_text", delta);
            }
            Step::Arguments { call, range, .. } => {
                self.write_arguments(out, choice, *call, range.clone());
            }
            Step::End => {
                self.open(out, self.items.list.len());
                let list = &self.items.list;
                let response = object(&self.call, &self.ask, answer, &self.identity, list);
                let status = response["status"].as_str().unwrap_or("completed");
                let name = format!("response.{status}");
                self.event(out, &name, json!({ "response": response }));
            }
            Step::Sound(_) | Step::Sources | Step::Usage | Step::Done => {}
        }
    }

    fn delta(&mut self, out: &mut BytesMut, place: usize, kind: &str, delta: &str) {
        self.open(out, place);
        let mut event = json!({ "item_id": self.items.list[place]["id"], "output_index": place,
            "delta": delta });
        if kind == "output_text" {
            event["content_index"] = 0.into();
            event["logprobs"] = json!([]);
        }
        self.event(out, &format!("response.{kind}.delta"), event);
    }

    fn write_arguments(
        &mut self,
        out: &mut BytesMut,
        choice: &ChoiceAnswer,
        call: usize,
        range: std::ops::Range<usize>,
    ) {
        let place = self.items.calls + call;
        self.open(out, place);
        let Some(made) = choice.calls.get(call).filter(|_| !range.is_empty()) else {
            return;
        };
        let delta = made.arguments.slice(range);
        let event = json!({ "item_id": self.items.list[place]["id"], "output_index": place,
            "delta": delta });
        self.event(out, &format!("response.{}.delta", self.arguments.0), event);
    }

    /// Ends the items before `place` and begins that one.
    fn open(&mut self, out: &mut BytesMut, place: usize) {
        while self.begun <= place {
            if let Some(before) = self.begun.checked_sub(1) {
                self.close(out, before);
            }
            let at = self.begun;
            self.begun += 1;
            let Some(item) = self.items.list.get(at).cloned() else {
                return;
            };
            match item["type"].as_str().unwrap_or_default() {
                "message" | "reasoning" | "function_call" => self.begin(out, at, item),
                kind => self.write_builtin(out, at, kind, &item),
            }
        }
    }

    fn begin(&mut self, out: &mut BytesMut, at: usize, mut item: Value) {
        let kind = item["type"].clone();
        if kind != "reasoning" {
            item["status"] = "in_progress".into();
        }
        for (name, empty) in [
            ("content", json!([])),
            ("summary", json!([])),
            ("arguments", json!("")),
        ] {
            if !item[name].is_null() {
                item[name] = empty;
            }
        }
        let id = item["id"].clone();
        let is_message = kind == "message";
        if is_message && self.irregular {
            item["content"] = json!([{ "type": "text", "text": "" }]);
        }
        // Members that were only looked for are there as null now.
        if let Some(members) = item.as_object_mut() {
            members.retain(|_, value| !value.is_null());
        }
        let event = json!({ "output_index": at, "item": item });
        self.event(out, "response.output_item.added", event);
        if is_message && !self.irregular {
            let part = json!({ "type": "output_text", "annotations": [], "text": "" });
            let event = json!({ "output_index": at, "content_index": 0, "item_id": id,
                "part": part });
            self.event(out, "response.content_part.added", event);
        }
    }

    fn close(&mut self, out: &mut BytesMut, at: usize) {
        let Some(item) = self.items.list.get(at).cloned() else {
            return;
        };
        let id = &item["id"];
        let mut index = at;
        match item["type"].as_str().unwrap_or_default() {
            "message" => {
                let part = &item["content"][0];
                let done = json!({ "content_index": 0, "item_id": id, "output_index": at,
                    "text": part["text"] });
                self.event(out, "response.output_text.done", done);
                let done = json!({ "content_index": 0, "item_id": id, "output_index": at,
                    "part": part });
                self.event(out, "response.content_part.done", done);
            }
            "reasoning" => {
                let text = &item["summary"][0]["text"];
                let done = json!({ "item_id": id, "output_index": at, "text": text });
                self.event(out, "response.reasoning_text.done", done);
                index += usize::from(self.irregular);
            }
            "function_call" => {
                let (kind, member) = self.arguments;
                let done = json!({ "item_id": id, "output_index": at, member: item["arguments"] });
                self.event(out, &format!("response.{kind}.done"), done);
            }
            // What the service calls itself has ended already.
            _ => return,
        }
        let event = json!({ "output_index": index, "item": item });
        self.event(out, "response.output_item.done", event);
    }

    /// A call of the service itself, from its beginning to its end.
    fn write_builtin(&mut self, out: &mut BytesMut, at: usize, kind: &str, item: &Value) {
        let about = json!({ "item_id": item["id"], "output_index": at });
        let phases: &[&str] = match kind {
            "web_search_call" | "file_search_call" => &["in_progress", "searching", "completed"],
            "code_interpreter_call" => &["in_progress", "interpreting", "completed"],
            "mcp_call" => &["in_progress", "completed"],
            _ => &[],
        };
        if kind == "mcp_call" {
            // These come before the item that they are about.
            let mut event = about.clone();
            event["delta"] = item["arguments"].clone();
            self.event(out, "response.mcp_call_arguments.delta", event);
            let mut event = about.clone();
            event["arguments"] = item["arguments"].clone();
            self.event(out, "response.mcp_call_arguments.done", event);
        }
        let mut begun = item.clone();
        begun["status"] = "in_progress".into();
        if let Some(members) = begun.as_object_mut() {
            let results = ["output", "outputs", "results", "action"];
            members.retain(|name, _| !results.contains(&name.as_str()));
        }
        let event = json!({ "output_index": at, "item": begun });
        self.event(out, "response.output_item.added", event);
        for phase in phases {
            self.event(out, &format!("response.{kind}.{phase}"), about.clone());
        }
        let event = json!({ "output_index": at, "item": item });
        self.event(out, "response.output_item.done", event);
    }
}
