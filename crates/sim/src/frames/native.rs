//! The native forms (http-native.md §3.2, §5).

use std::io::Write as _;
use std::ops::Range;

use bailian_wire::sse::write_native_frame;
use bytes::{Bytes, BytesMut};
use serde_json::{Map, Value, json};

use super::steps::{Extras, Step};
use super::usage::NativeUsage;
use super::{Identity, logprobs, put, wanted_logprobs};
use crate::answer::{Answer, ChoiceAnswer};
use crate::call::Call;

/// How the answers to one request are written.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a choice of its own that the request made"
)]
pub(super) struct Form {
    text_format: bool,
    multimodal: bool,
    thinks: bool,
    cumulative: bool,
    prepend_sources: bool,
    /// How many alternatives each log probability has.
    logprobs: Option<u64>,
    /// Translations name the model.
    model_name: Option<String>,
    /// The calls of the answer make choices say their index.
    indexed: bool,
    usage: NativeUsage,
    /// What the code interpreter did, and whether the frames are past it.
    tool_info: Option<Value>,
    tool_told: bool,
    request_id: String,
    // What the frames so far have told.
    number: u64,
    output: u64,
    reasoning: u64,
    json: Vec<u8>,
}

/// What stands in one choice.
struct Said {
    reasoning: Range<usize>,
    text: Range<usize>,
    /// The calls, all but the last one whole.
    calls: Range<usize>,
    arguments: Range<usize>,
    /// Whether the last call begins here.
    begins: bool,
}

impl Said {
    fn all(choice: &ChoiceAnswer) -> Self {
        Self {
            reasoning: 0..choice.reasoning.len(),
            text: 0..choice.text.len(),
            calls: 0..choice.calls.len(),
            arguments: 0..usize::MAX,
            begins: true,
        }
    }

    fn new_in(step: &Step) -> Self {
        let mut said = Self {
            reasoning: 0..0,
            text: 0..0,
            calls: 0..0,
            arguments: 0..0,
            begins: false,
        };
        match step {
            Step::Reasoning(range) => said.reasoning = range.clone(),
            Step::Text(range) => said.text = range.clone(),
            Step::Arguments {
                call,
                range,
                begins,
            } => {
                said.calls = *call..*call + 1;
                said.arguments = range.clone();
                said.begins = *begins;
            }
            _ => {}
        }
        said
    }

    /// Everything up to the step.
    fn until(choice: &ChoiceAnswer, step: &Step) -> Self {
        let mut said = Self::all(choice);
        match step {
            Step::Reasoning(range) => {
                (said.reasoning.end, said.text, said.calls) = (range.end, 0..0, 0..0);
            }
            Step::Text(range) => (said.text.end, said.calls) = (range.end, 0..0),
            Step::Arguments { call, range, .. } => {
                (said.calls.end, said.arguments.end) = (call + 1, range.end);
            }
            _ => {}
        }
        said
    }
}

pub(super) fn whole(call: &Call, answer: &Answer, identity: &Identity) -> Bytes {
    let mut form = Form::new(call, answer, identity);
    form.tool_told = true;
    form.output = answer.output_tokens();
    form.reasoning = answer.reasoning_tokens();
    let choices: Vec<(usize, Said, &str)> = answer
        .choices
        .iter()
        .enumerate()
        .map(|(index, choice)| (index, Said::all(choice), choice.finish_reason))
        .collect();
    form.write_object(answer, &choices, answer.search_info.as_ref());
    Bytes::from(form.json)
}

impl Form {
    pub(super) fn new(call: &Call, answer: &Answer, identity: &Identity) -> Self {
        let option = |name: &str| {
            let options = call.parameters.get("search_options");
            options.and_then(|options| options.get(name))
        };
        let strategy = option("search_strategy")
            .and_then(Value::as_str)
            .unwrap_or("turbo");
        let calls_tools = answer.choices.iter().any(|choice| !choice.calls.is_empty());
        let mut plugins = Map::new();
        if answer.searched {
            let search = json!({ "count": 1, "strategy": strategy });
            plugins.insert("search".to_owned(), search);
        }
        Self {
            text_format: call.wants_text_format(),
            multimodal: call.multimodal,
            thinks: call.thinks(),
            cumulative: call.is_cumulative(),
            prepend_sources: answer.search_info.is_some()
                && option("prepend_search_result") == Some(&Value::Bool(true)),
            logprobs: wanted_logprobs(call),
            model_name: call.translates().then(|| call.model_id.clone()),
            indexed: answer.choices.len() > 1 || calls_tools,
            usage: NativeUsage::new(call, answer, plugins),
            tool_info: answer.tool_info.clone(),
            tool_told: false,
            request_id: identity.request_id.clone(),
            number: 0,
            output: 0,
            reasoning: 0,
            json: Vec::new(),
        }
    }

    pub(super) fn extras(&self) -> Extras {
        Extras {
            sources: self.prepend_sources,
            ..Extras::default()
        }
    }

    /// Appends the next frame.
    pub(super) fn write(&mut self, out: &mut BytesMut, answer: &Answer, index: usize, step: &Step) {
        let Some(choice) = answer.choices.get(index) else {
            return;
        };
        self.number += 1;
        self.output += step.tokens();
        if matches!(step, Step::Reasoning(_)) {
            self.reasoning += step.tokens();
        } else {
            self.tool_told = true;
        }
        let said = if self.cumulative && *step != Step::Sources {
            Said::until(choice, step)
        } else {
            Said::new_in(step)
        };
        let finish = if *step == Step::End {
            choice.finish_reason
        } else {
            "null"
        };
        // The sources come once; after a frame of their own the lists are there, and empty.
        let none = json!({ "search_results": [], "extra_tool_info": [] });
        let sources = match &answer.search_info {
            Some(_) if self.prepend_sources && self.number > 1 => Some(&none),
            sources => sources.as_ref().filter(|_| self.number == 1),
        };
        self.json.clear();
        self.write_object(answer, &[(index, said, finish)], sources);
        write_native_frame(out, self.number, "result", 200, &self.json);
    }

    fn write_object(
        &mut self,
        answer: &Answer,
        choices: &[(usize, Said, &str)],
        sources: Option<&Value>,
    ) {
        let mut out = std::mem::take(&mut self.json);
        out.extend_from_slice(b"{\"output\":{");
        if self.text_format {
            if let Some((index, said, finish)) = choices.first() {
                out.extend_from_slice(b"\"finish_reason\":");
                put(&mut out, finish);
                out.extend_from_slice(b",\"text\":");
                put(
                    &mut out,
                    answer.choices[*index].text.slice(said.text.clone()),
                );
            }
        } else {
            out.extend_from_slice(b"\"choices\":[");
            for (place, (index, said, finish)) in choices.iter().enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                self.write_choice(&mut out, answer, *index, said, finish);
            }
            out.push(b']');
        }
        if let Some(sources) = sources {
            out.extend_from_slice(b",\"search_info\":");
            put(&mut out, sources);
        }
        if let Some(info) = self.tool_info.as_ref().filter(|_| self.tool_told) {
            out.extend_from_slice(b",\"tool_info\":");
            put(&mut out, info);
        }
        if let Some(name) = &self.model_name {
            if let Some((_, _, finish)) = choices.first().filter(|_| !self.text_format) {
                out.extend_from_slice(b",\"finish_reason\":");
                put(&mut out, finish);
            }
            out.extend_from_slice(b",\"model_name\":");
            put(&mut out, name);
        }
        out.extend_from_slice(b"},\"usage\":");
        let told = self.tool_info.is_none() || self.tool_told;
        self.usage
            .write(&mut out, self.output, self.reasoning, told);
        out.extend_from_slice(b",\"request_id\":");
        put(&mut out, &self.request_id);
        out.push(b'}');
        self.json = out;
    }

    fn write_choice(
        &self,
        out: &mut Vec<u8>,
        answer: &Answer,
        index: usize,
        said: &Said,
        finish: &str,
    ) {
        let choice = &answer.choices[index];
        let text = choice.text.slice(said.text.clone());
        out.extend_from_slice(b"{\"message\":{");
        if let Some(annotations) = &answer.annotations {
            out.extend_from_slice(b"\"annotations\":");
            put(out, annotations);
            out.push(b',');
        }
        out.extend_from_slice(b"\"content\":");
        // What was found on a page comes with the end.
        let found = answer.page_result.as_ref().filter(|_| finish != "null");
        match (self.multimodal, found) {
            (true, Some(found)) => put(out, &json!([{ "ocr_result": found, "text": text }])),
            (true, None) if text.is_empty() => out.extend_from_slice(b"[]"),
            (true, None) => {
                out.extend_from_slice(b"[{\"text\":");
                put(out, text);
                out.extend_from_slice(b"}]");
            }
            (false, _) => put(out, text),
        }
        if self.thinks {
            out.extend_from_slice(b",\"reasoning_content\":");
            put(out, choice.reasoning.slice(said.reasoning.clone()));
        }
        if !said.calls.is_empty() {
            out.extend_from_slice(b",\"tool_calls\":[");
            for place in said.calls.clone() {
                if place > said.calls.start {
                    out.push(b',');
                }
                let last = place + 1 == said.calls.end;
                let (arguments, begins) = if last {
                    (said.arguments.clone(), said.begins)
                } else {
                    (0..usize::MAX, true)
                };
                write_call(out, choice, place, arguments, begins);
            }
            out.push(b']');
        }
        out.extend_from_slice(b",\"role\":\"assistant\"}");
        if self.indexed {
            let _infallible = write!(out, ",\"index\":{index}");
        }
        out.extend_from_slice(b",\"finish_reason\":");
        put(out, finish);
        if let Some(alternatives) = self.logprobs.filter(|_| !said.text.is_empty()) {
            out.extend_from_slice(b",\"logprobs\":");
            put(
                out,
                &logprobs(&choice.text, said.text.clone(), alternatives),
            );
        }
        out.push(b'}');
    }
}

/// A call, or a piece of one: those that go on have an empty id and no name (http-native.md §5.5).
fn write_call(
    out: &mut Vec<u8>,
    choice: &ChoiceAnswer,
    place: usize,
    arguments: Range<usize>,
    begins: bool,
) {
    let Some(call) = choice.calls.get(place) else {
        return;
    };
    let _infallible = write!(out, "{{\"index\":{place},\"id\":");
    put(out, if begins { call.id.as_str() } else { "" });
    out.extend_from_slice(b",\"type\":\"function\",\"function\":{");
    if begins {
        out.extend_from_slice(b"\"name\":");
        put(out, &call.name);
        out.push(b',');
    }
    out.extend_from_slice(b"\"arguments\":");
    put(out, call.arguments.slice(arguments));
    out.extend_from_slice(b"}}");
}
