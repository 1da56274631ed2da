//! Answers in the forms of completions (compat.md §3.2), applications (apps-files-misc.md §1.2) and
//! responses (compat.md §5.2, §5.3).

use bailian_wire::sse::{write_data_frame, write_native_frame};
use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};

use super::Identity;
use super::steps::{Extras, Step};
use crate::answer::{Answer, ChoiceAnswer};
use crate::call::{Call, Wrap};

/// The answer as one object; `None` for chat.
pub(super) fn whole(call: &Call, answer: &Answer, identity: &Identity) -> Option<Bytes> {
    let value = match &call.wrap {
        Wrap::Chat => return None,
        Wrap::Completion => {
            let choice = answer.choices.first();
            let text = choice.map_or("", |choice| choice.text.as_str());
            let reason = choice.map(|choice| choice.finish_reason);
            completion(
                call,
                identity,
                text,
                reason,
                Some(&completion_usage(answer)),
            )
        }
        Wrap::Application { .. } => {
            let text = answer
                .choices
                .first()
                .map_or("", |choice| choice.text.as_str());
            application(call, identity, answer, text, Some("stop"))
        }
        Wrap::Response { .. } => response_object(call, answer, identity),
    };
    Some(Bytes::from(value.to_string()))
}

fn completion_usage(answer: &Answer) -> Value {
    let output = answer.output_tokens();
    json!({ "prompt_tokens": answer.input_tokens, "completion_tokens": output,
        "total_tokens": answer.input_tokens + output })
}

fn completion(
    call: &Call,
    identity: &Identity,
    text: &str,
    reason: Option<&str>,
    usage: Option<&Value>,
) -> Value {
    json!({
        "id": format!("cmpl-{}", identity.request_id),
        "choices": [{ "finish_reason": reason, "index": 0, "logprobs": null, "text": text }],
        "created": identity.created, "model": call.model_id, "object": "text_completion",
        "usage": usage,
    })
}

fn application(
    call: &Call,
    identity: &Identity,
    answer: &Answer,
    text: &str,
    reason: Option<&str>,
) -> Value {
    let Wrap::Application {
        session_id,
        has_sources,
    } = &call.wrap
    else {
        return Value::Null;
    };
    let mut output = json!({ "session_id": session_id, "finish_reason": reason.unwrap_or("null"),
        "text": text });
    if *has_sources && reason.is_some() {
        output["doc_references"] = json!([{ "index_id": "1", "title": "Example", "doc_id": "file_1",
            "doc_name": "example.md", "text": "An example.", "images": [], "page_number": [1] }]);
    }
    json!({
        "output": output,
        "usage": { "models": [{ "input_tokens": answer.input_tokens,
            "output_tokens": answer.output_tokens(), "model_id": call.model_id }] },
        "request_id": identity.request_id,
    })
}

/// The response object of an answer.
pub(crate) fn response_object(call: &Call, answer: &Answer, identity: &Identity) -> Value {
    let output = answer.choices.first().map(items).unwrap_or_default();
    let is_cut = answer
        .choices
        .first()
        .is_some_and(|choice| choice.finish_reason == "length");
    let mut object = envelope(
        call,
        identity,
        if is_cut { "incomplete" } else { "completed" },
    );
    if is_cut {
        object["incomplete_details"] = json!({ "reason": "max_output_tokens" });
    }
    object["output"] = output.into();
    let (input, made) = (answer.input_tokens, answer.output_tokens());
    object["usage"] = json!({
        "input_tokens": input, "input_tokens_details": { "cached_tokens": 0 },
        "output_tokens": made,
        "output_tokens_details": { "reasoning_tokens": answer.reasoning_tokens() },
        "total_tokens": input + made,
        "x_details": [{ "input_tokens": input, "output_tokens": made,
            "total_tokens": input + made, "x_billing_type": "response_api" }],
    });
    object
}

fn envelope(call: &Call, identity: &Identity, status: &str) -> Value {
    json!({
        "id": format!("resp_{}", identity.request_id), "object": "response",
        "created_at": identity.created, "status": status, "output": [],
        "model": if status == "queued" { "" } else { call.model_id.as_str() },
        "parallel_tool_calls": false, "tool_choice": "auto", "tools": [],
    })
}

/// The items of an answer. All ids begin with `msg_`, those of thinking and calls included.
fn items(choice: &ChoiceAnswer) -> Vec<Value> {
    let mut items = Vec::new();
    if choice.reasoning.len() > 0 {
        items.push(json!({ "id": "msg_0", "type": "reasoning",
            "summary": [{ "type": "summary_text", "text": choice.reasoning.as_str() }] }));
    }
    if choice.text.len() > 0 || choice.calls.is_empty() {
        items.push(json!({ "id": format!("msg_{}", items.len()), "type": "message",
            "role": "assistant", "status": "completed",
            "content": [{ "type": "output_text", "text": choice.text.as_str(), "annotations": [] }] }));
    }
    for made in &choice.calls {
        items.push(
            json!({ "id": format!("msg_{}", items.len()), "type": "function_call",
            "name": made.name, "arguments": made.arguments.as_str(), "call_id": made.id,
            "status": "completed" }),
        );
    }
    items
}

/// How the frames of such an answer are written.
#[derive(Clone, Debug)]
pub(super) struct Form {
    call: Call,
    identity: Identity,
    /// Frames so far, and events of a response.
    number: u64,
    /// Items that began.
    begun: usize,
}

impl Form {
    pub(super) fn new(call: &Call, identity: &Identity) -> Self {
        Self {
            call: call.clone(),
            identity: identity.clone(),
            number: 0,
            begun: 0,
        }
    }

    pub(super) fn extras(&self) -> Extras {
        let options = self.call.parameters.get("stream_options");
        match &self.call.wrap {
            Wrap::Completion => Extras {
                usage: options.is_some_and(|options| options["include_usage"] == true),
                done: true,
                ..Extras::default()
            },
            Wrap::Response { .. } => Extras {
                begin: true,
                ..Extras::default()
            },
            Wrap::Application { .. } | Wrap::Chat => Extras::default(),
        }
    }

    /// Appends the next frames.
    pub(super) fn write(&mut self, out: &mut BytesMut, answer: &Answer, index: usize, step: &Step) {
        let choice = answer.choices.get(index);
        match &self.call.wrap {
            Wrap::Completion => self.write_completion(out, answer, choice, step),
            Wrap::Application { .. } => self.write_application(out, answer, choice, step),
            Wrap::Response { .. } => {
                if let Some(choice) = choice {
                    self.write_response(out, answer, choice, step);
                }
            }
            Wrap::Chat => {}
        }
    }

    fn write_completion(
        &self,
        out: &mut BytesMut,
        answer: &Answer,
        choice: Option<&ChoiceAnswer>,
        step: &Step,
    ) {
        let (call, identity) = (&self.call, &self.identity);
        let chunk = match (step, choice) {
            (Step::Text(range), Some(choice)) => {
                completion(call, identity, choice.text.slice(range.clone()), None, None)
            }
            (Step::End, Some(choice)) => {
                completion(call, identity, "", Some(choice.finish_reason), None)
            }
            (Step::Usage, _) => {
                let mut chunk =
                    completion(call, identity, "", None, Some(&completion_usage(answer)));
                chunk["choices"] = json!([]);
                chunk
            }
            (Step::Done, _) => return write_data_frame(out, b"[DONE]"),
            _ => return,
        };
        write_data_frame(out, chunk.to_string().as_bytes());
    }

    fn write_application(
        &mut self,
        out: &mut BytesMut,
        answer: &Answer,
        choice: Option<&ChoiceAnswer>,
        step: &Step,
    ) {
        let Some(choice) = choice else { return };
        let cumulative = self.call.is_cumulative();
        let (text, reason) = match step {
            Step::Text(range) if cumulative => (choice.text.slice(0..range.end), None),
            Step::Text(range) => (choice.text.slice(range.clone()), None),
            Step::End if cumulative => (choice.text.as_str(), Some("stop")),
            Step::End => ("", Some("stop")),
            _ => return,
        };
        let frame = application(&self.call, &self.identity, answer, text, reason);
        self.number += 1;
        write_native_frame(
            out,
            self.number,
            "result",
            200,
            frame.to_string().as_bytes(),
        );
    }

    fn event(&mut self, out: &mut BytesMut, name: &str, mut event: Value) {
        event["type"] = name.into();
        event["sequence_number"] = self.number.into();
        self.number += 1;
        write_native_frame(out, self.number, name, 200, event.to_string().as_bytes());
    }

    fn write_response(
        &mut self,
        out: &mut BytesMut,
        answer: &Answer,
        choice: &ChoiceAnswer,
        step: &Step,
    ) {
        let items = items(choice);
        match step {
            Step::Begin => {
                for (name, status) in [("created", "queued"), ("in_progress", "in_progress")] {
                    let response = envelope(&self.call, &self.identity, status);
                    let name = format!("response.{name}");
                    self.event(out, &name, json!({ "response": response }));
                }
            }
            Step::Reasoning(range) => {
                self.open(out, &items, 0);
                let delta = choice.reasoning.slice(range.clone());
                let event = json!({ "item_id": "msg_0", "output_index": 0, "delta": delta });
                self.event(out, "response.reasoning_text.delta", event);
            }
            Step::Text(range) => {
                let place = usize::from(choice.reasoning.len() > 0);
                self.open(out, &items, place);
                let delta = choice.text.slice(range.clone());
                let event = json!({ "content_index": 0, "item_id": format!("msg_{place}"),
                    "output_index": place, "delta": delta, "logprobs": [] });
                self.event(out, "response.output_text.delta", event);
            }
            Step::Arguments { call, range, .. } => {
                let place = items.len() - choice.calls.len() + call;
                self.open(out, &items, place);
                if let Some(made) = choice.calls.get(*call)
                    && !range.is_empty()
                {
                    let delta = made.arguments.slice(range.clone());
                    let event = json!({ "item_id": format!("msg_{place}"), "output_index": place,
                        "delta": delta });
                    self.event(out, "response.function_call_arguments.delta", event);
                }
            }
            Step::End => {
                self.open(out, &items, items.len());
                let response = response_object(&self.call, answer, &self.identity);
                let status = response["status"]
                    .as_str()
                    .unwrap_or("completed")
                    .to_owned();
                let name = format!("response.{status}");
                self.event(out, &name, json!({ "response": response }));
            }
            Step::Sound(_) | Step::Sources | Step::Usage | Step::Done => {}
        }
    }

    /// Ends the items before `place` and begins that one.
    fn open(&mut self, out: &mut BytesMut, items: &[Value], place: usize) {
        if self.begun > place {
            return;
        }
        while self.begun <= place {
            if let Some(before) = self.begun.checked_sub(1).and_then(|at| items.get(at)) {
                self.close(out, before, self.begun - 1);
            }
            let Some(item) = items.get(self.begun) else {
                self.begun += 1;
                return;
            };
            let mut item = item.clone();
            item["status"] = "in_progress".into();
            for (name, empty) in [
                ("content", json!([])),
                ("summary", json!([])),
                ("arguments", json!("")),
            ] {
                if !item[name].is_null() {
                    item[name] = empty;
                }
            }
            let index = self.begun;
            self.begun += 1;
            let is_message = item["type"] == "message";
            self.event(
                out,
                "response.output_item.added",
                json!({ "output_index": index, "item": item }),
            );
            if is_message {
                let part = json!({ "type": "output_text", "annotations": [], "text": "" });
                let event = json!({ "output_index": index, "content_index": 0,
                    "item_id": format!("msg_{index}"), "part": part });
                self.event(out, "response.content_part.added", event);
            }
        }
    }

    fn close(&mut self, out: &mut BytesMut, item: &Value, index: usize) {
        let id = format!("msg_{index}");
        match item["type"].as_str().unwrap_or_default() {
            "message" => {
                let part = item["content"][0].clone();
                let done = json!({ "content_index": 0, "item_id": id, "output_index": index,
                    "text": part["text"] });
                self.event(out, "response.output_text.done", done);
                let done = json!({ "content_index": 0, "item_id": id, "output_index": index,
                    "part": part });
                self.event(out, "response.content_part.done", done);
            }
            "reasoning" => {
                let done = json!({ "item_id": id, "output_index": index,
                    "text": item["summary"][0]["text"] });
                self.event(out, "response.reasoning_text.done", done);
            }
            _ => {
                let done = json!({ "item_id": id, "output_index": index,
                    "arguments": item["arguments"] });
                self.event(out, "response.function_call_arguments.done", done);
            }
        }
        let event = json!({ "output_index": index, "item": item });
        self.event(out, "response.output_item.done", event);
    }
}
