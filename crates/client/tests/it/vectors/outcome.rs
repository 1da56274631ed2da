//! What a call came to, in a form that all clients' results can be brought into.

use std::collections::{BTreeMap, BTreeSet};

use bailian::{ChatResponse, Response};
use serde_json::Value;

#[derive(Debug, Default, PartialEq)]
pub(super) struct Outcome {
    request_id: Option<String>,
    answer_id: Option<String>,
    choices: BTreeMap<u64, Part>,
    /// Input, output, total, cached and thinking tokens.
    usage: [u64; 5],
    search_info: bool,
}

/// One answer.
#[derive(Debug, Default, PartialEq)]
struct Part {
    text: String,
    reasoning: String,
    finish_reason: String,
    /// Id, name and arguments of each call, by index.
    tool_calls: BTreeMap<u64, [String; 3]>,
    logprobs: usize,
}

impl Outcome {
    pub(super) fn ours(answer: &Response<ChatResponse>, vector: &Value) -> Self {
        let mut outcome = Self {
            request_id: answer.request_id().map(str::to_owned),
            answer_id: answer.id.clone(),
            search_info: answer.search_info.is_some(),
            ..Self::default()
        };
        if let Some(usage) = &answer.usage {
            outcome.usage = [
                usage.input_tokens,
                usage.output_tokens,
                usage.total_tokens,
                usage.cached_tokens.unwrap_or(0),
                usage.reasoning_tokens.unwrap_or(0),
            ];
        }
        for choice in &answer.choices {
            let part = outcome.choices.entry(choice.index).or_default();
            part.text = choice.message.text();
            part.reasoning = choice.message.reasoning_content.clone().unwrap_or_default();
            let reason = choice.finish_reason.as_ref();
            reason
                .map_or("", |reason| reason.as_str())
                .clone_into(&mut part.finish_reason);
            part.logprobs = choice
                .logprobs
                .as_ref()
                .map_or(0, |logprobs| logprobs.content.len());
            for (place, call) in (0..).zip(choice.message.tool_calls.iter().flatten()) {
                let fields = [
                    call.id.clone(),
                    call.function.name.clone(),
                    call.function.arguments.clone(),
                ];
                part.tool_calls.insert(call.index.unwrap_or(place), fields);
            }
        }
        outcome.keep_what_the_vector_says(vector);
        outcome
    }

    pub(super) fn expected(vector: &Value) -> Self {
        let mut result = vector["result_seen_by_client"].clone();
        if result.get("parsed").is_some() {
            let request_id = result["request_id"].clone();
            result = result["parsed"].take();
            result["_request_id"] = request_id;
        }
        let mut outcome = Self::default();
        let client = vector["client"].as_str().unwrap();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        outcome.answer_id = text(&result["id"]);
        outcome.request_id = text(&result["request_id"]).or_else(|| text(&result["_request_id"]));
        if client.contains("v2")
            && outcome
                .request_id
                .as_ref()
                .is_some_and(|id| id.starts_with("chatcmpl"))
        {
            // The official client gives the answer's id for the request's.
            outcome.answer_id = outcome.request_id.take();
        }
        if let Some(summaries) = result["chunk_summaries"].as_array() {
            let increments = vector["call"]["args"]["incremental_output"] == true;
            outcome.join(summaries.iter(), increments);
            let last = &result["last"];
            if let Some(choices) = last.pointer("/output/choices").and_then(Value::as_array)
                && !increments
            {
                outcome.read_choices(choices);
            }
            outcome.request_id = text(&last["request_id"]);
            outcome.read_usage(&last["usage"]);
            return outcome;
        }
        outcome.read_usage(&result["usage"]);
        outcome.search_info =
            result.get("search_info").is_some() || result.pointer("/output/search_info").is_some();
        if result.get("chunks").is_some() {
            outcome.read_folded(&result);
        } else if let Some(choices) = result["choices"]
            .as_array()
            .or(result["output"]["choices"].as_array())
        {
            outcome.read_choices(choices);
        } else {
            outcome
                .choices
                .insert(0, Part::of_choice(&result["output"]));
        }
        outcome.keep_what_the_vector_says(vector);
        outcome
    }

    /// Adds the places in which the results differ.
    pub(super) fn compare(&self, ours: &Self, places: &mut BTreeSet<String>) {
        let mut note = |same: bool, place: &str| {
            if !same {
                places.insert(format!("result {place}"));
            }
        };
        note(
            self.request_id.is_none() || self.request_id == ours.request_id,
            "request id",
        );
        note(
            self.answer_id.is_none() || self.answer_id == ours.answer_id,
            "answer id",
        );
        note(self.usage == ours.usage, "usage");
        note(self.search_info == ours.search_info, "search info");
        let indexes = |outcome: &Self| outcome.choices.keys().copied().collect::<Vec<_>>();
        note(indexes(self) == indexes(ours), "choices");
        for (index, theirs) in &self.choices {
            let Some(part) = ours.choices.get(index) else {
                continue;
            };
            note(theirs.text == part.text, "text");
            note(theirs.reasoning == part.reasoning, "reasoning");
            note(theirs.finish_reason == part.finish_reason, "finish reason");
            note(theirs.tool_calls == part.tool_calls, "tool calls");
            note(theirs.logprobs == part.logprobs, "logprobs");
        }
    }

    /// Streams' results of some clients say nothing of log probabilities and searches.
    fn keep_what_the_vector_says(&mut self, vector: &Value) {
        if vector["result_seen_by_client"].get("chunks").is_some() {
            self.search_info = false;
            for part in self.choices.values_mut() {
                part.logprobs = 0;
            }
        }
    }

    fn read_usage(&mut self, usage: &Value) {
        let at = |names: &[&str]| {
            names
                .iter()
                .find_map(|name| usage.pointer(name)?.as_u64())
                .unwrap_or(0)
        };
        let [input, output] = [
            at(&["/input_tokens", "/prompt_tokens"]),
            at(&["/output_tokens", "/completion_tokens"]),
        ];
        let total = usage["total_tokens"].as_u64().unwrap_or(input + output);
        let cached = at(&["/prompt_tokens_details/cached_tokens"]);
        let thinking = at(&[
            "/output_tokens_details/reasoning_tokens",
            "/completion_tokens_details/reasoning_tokens",
        ]);
        self.usage = [input, output, total, cached, thinking];
    }

    fn read_choices(&mut self, choices: &[Value]) {
        for (place, choice) in (0..).zip(choices) {
            let index = choice["index"].as_u64().unwrap_or(place);
            self.choices.insert(index, Part::of_choice(choice));
        }
    }

    /// Streams of the v2 client and of openai: folded fields, and pieces of tool calls.
    fn read_folded(&mut self, result: &Value) {
        let mut part = Part::of_choice(result);
        for (place, call) in (0..).zip(result["tool_calls"].as_array().into_iter().flatten()) {
            part.add_call(place, call);
        }
        for chunk in result["raw_chunks"].as_array().into_iter().flatten() {
            let calls = chunk
                .pointer("/choices/0/delta/tool_calls")
                .and_then(Value::as_array);
            for (place, call) in (0..).zip(calls.into_iter().flatten()) {
                part.add_call(place, call);
            }
        }
        self.choices.insert(0, part);
    }

    /// Chunks of the module API: increments, or everything so far.
    fn join<'a>(&mut self, summaries: impl Iterator<Item = &'a Value>, increments: bool) {
        for summary in summaries {
            let index = summary
                .pointer("/index/0")
                .and_then(Value::as_u64)
                .unwrap_or(0);
            let part = self.choices.entry(index).or_default();
            let add = |whole: &mut String, piece: &Value| {
                let piece = piece.as_str().unwrap_or_default();
                if increments {
                    whole.push_str(piece);
                } else if !piece.is_empty() {
                    piece.clone_into(whole);
                }
            };
            add(&mut part.text, &summary["text"]);
            add(&mut part.reasoning, &summary["reasoning"]);
            let reason = summary["finish_reason"]
                .as_str()
                .filter(|reason| *reason != "null");
            reason
                .unwrap_or_default()
                .clone_into(&mut part.finish_reason);
            for (place, call) in (0..).zip(summary["tool_calls"].as_array().into_iter().flatten()) {
                if !increments {
                    part.tool_calls
                        .remove(&call["index"].as_u64().unwrap_or(place));
                }
                part.add_call(place, call);
            }
        }
    }
}

impl Part {
    fn of_choice(choice: &Value) -> Self {
        let message = choice.get("message").unwrap_or(choice);
        let text = |names: [&str; 2]| {
            let found = names.iter().find_map(|name| message.get(*name));
            match found {
                Some(Value::Array(parts)) => parts
                    .iter()
                    .filter_map(|part| part["text"].as_str())
                    .collect(),
                Some(value) => value.as_str().unwrap_or_default().to_owned(),
                None => String::new(),
            }
        };
        let mut part = Self {
            text: text(["content", "text"]),
            reasoning: text(["reasoning_content", "reasoning"]),
            finish_reason: choice["finish_reason"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            logprobs: choice["logprobs"]["content"].as_array().map_or(0, Vec::len),
            ..Self::default()
        };
        if choice.get("message").is_some() {
            for (place, call) in (0..).zip(message["tool_calls"].as_array().into_iter().flatten()) {
                part.add_call(place, call);
            }
        }
        part
    }

    fn add_call(&mut self, place: u64, call: &Value) {
        let index = call["index"].as_u64().unwrap_or(place);
        // The folded form of the openai vectors has no `function` level.
        let function = call.get("function").unwrap_or(call);
        let pieces = [&call["id"], &function["name"], &function["arguments"]];
        for (field, piece) in self
            .tool_calls
            .entry(index)
            .or_default()
            .iter_mut()
            .zip(pieces)
        {
            field.push_str(piece.as_str().unwrap_or_default());
        }
    }
}
