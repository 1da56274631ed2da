//! Answers of applications (apps-files-misc.md §1.2, §1.3).

use bailian_wire::sse::write_native_frame;
use bytes::{Bytes, BytesMut};
use serde_json::{Map, Value, json};

use super::Identity;
use super::steps::{Extras, Step};
use crate::answer::{Answer, ChoiceAnswer};
use crate::call::{ApplicationAsk, Call, FlowMode};

pub(super) fn whole(
    call: &Call,
    ask: &ApplicationAsk,
    answer: &Answer,
    identity: &Identity,
) -> Bytes {
    let mut form = Form::new(call, ask, answer, identity);
    form.made = answer.output_tokens();
    let choice = answer.choices.first();
    let mut output = form.output("stop");
    output.insert(
        "text".to_owned(),
        choice.map_or("", |choice| choice.text.as_str()).into(),
    );
    if let (Some(choice), true) = (choice, ask.has_thoughts) {
        let thoughts = form.thoughts(choice, choice.reasoning.as_str());
        output.insert("thoughts".to_owned(), thoughts.into());
    }
    form.add_sources(&mut output);
    Bytes::from(form.object(&output).to_string())
}

/// A node of a workflow.
const LLM: (&str, &str, &str) = ("LLM_1", "大模型1", "LLM");
const END: (&str, &str, &str) = ("End_1", "结束", "End");

/// How the frames of an application are written.
#[derive(Clone, Debug)]
pub(super) struct Form {
    ask: ApplicationAsk,
    model: String,
    identity: Identity,
    input: u64,
    made: u64,
    /// Frames so far.
    number: u64,
}

impl Form {
    pub(super) fn new(
        call: &Call,
        ask: &ApplicationAsk,
        answer: &Answer,
        identity: &Identity,
    ) -> Self {
        Self {
            ask: ask.clone(),
            model: call.model_id.clone(),
            identity: identity.clone(),
            input: answer.input_tokens,
            made: 0,
            number: 0,
        }
    }

    #[expect(clippy::unused_self, reason = "as the other forms")]
    pub(super) fn extras(&self) -> Extras {
        Extras::default()
    }

    /// Appends the next frames.
    pub(super) fn write(&mut self, out: &mut BytesMut, answer: &Answer, index: usize, step: &Step) {
        let Some(choice) = answer.choices.get(index) else {
            return;
        };
        self.made += step.tokens();
        match self.ask.flow {
            None => self.write_agent(out, choice, step),
            Some(FlowMode::FullThoughts) => self.write_thoughts(out, choice, step),
            Some(mode) => self.write_nodes(out, choice, step, mode),
        }
    }

    fn write_agent(&mut self, out: &mut BytesMut, choice: &ChoiceAnswer, step: &Step) {
        let cumulative = !self.ask.incremental;
        let start = |range: &std::ops::Range<usize>| if cumulative { 0 } else { range.start };
        let (thinking, text) = match step {
            Step::Reasoning(range) => (choice.reasoning.slice(start(range)..range.end), ""),
            Step::Text(range) => ("", choice.text.slice(start(range)..range.end)),
            Step::End if cumulative => ("", choice.text.as_str()),
            Step::End => ("", ""),
            _ => return,
        };
        if matches!(step, Step::Reasoning(_)) && !self.ask.has_thoughts {
            return;
        }
        let is_end = *step == Step::End;
        let mut output = self.output(if is_end { "stop" } else { "null" });
        output.insert("text".to_owned(), text.into());
        if self.ask.has_thoughts {
            let thinking = match step {
                Step::Reasoning(_) => thinking,
                _ if cumulative => choice.reasoning.as_str(),
                _ => "",
            };
            let told = cumulative || self.number == 0 || !thinking.is_empty();
            let thoughts = if told {
                self.thoughts(choice, thinking)
            } else {
                Vec::new()
            };
            output.insert("thoughts".to_owned(), thoughts.into());
        }
        if is_end {
            self.add_sources(&mut output);
        }
        self.frame(out, &output);
    }

    /// What an agent did before it answered.
    fn thoughts(&self, choice: &ChoiceAnswer, thinking: &str) -> Vec<Value> {
        if self.ask.flow.is_some() {
            return [LLM, END].map(|node| node_thought(node, choice)).into();
        }
        let mut thoughts = Vec::new();
        if self.ask.has_sources {
            let input = json!({ "query": "example" });
            thoughts.push(json!({
                "thought": "", "action_type": "agentRag", "action_name": "知识检索",
                "action": "rag", "action_input": input, "action_input_stream": input.to_string(),
                "arguments": input.to_string(), "response": "",
                "observation": json!([{ "title": "Example", "content": "An example." }]).to_string(),
            }));
        }
        if !thinking.is_empty() {
            thoughts.push(json!({ "thought": thinking, "action_type": "reasoning",
                "action_name": "思考过程", "action": "reasoning", "response": "" }));
        }
        thoughts
    }

    /// A workflow tells what its nodes did, or nothing until its end.
    fn write_thoughts(&mut self, out: &mut BytesMut, choice: &ChoiceAnswer, step: &Step) {
        let nodes = [LLM, END].map(|node| node_thought(node, choice));
        let (seen, reason) = match step {
            Step::Text(range) if range.start == 0 && self.ask.has_thoughts => (1, "null"),
            Step::End => (2, "stop"),
            _ => return,
        };
        let mut output = self.output(reason);
        if *step == Step::End {
            output.insert("text".to_owned(), choice.text.as_str().into());
        }
        if self.ask.has_thoughts {
            output.insert("thoughts".to_owned(), nodes[..seen].into());
        }
        self.frame(out, &output);
    }

    /// A workflow tells what its nodes say: the model as a whole each time, where it is told at
    /// all, the end in pieces.
    fn write_nodes(
        &mut self,
        out: &mut BytesMut,
        choice: &ChoiceAnswer,
        step: &Step,
        mode: FlowMode,
    ) {
        match step {
            Step::Text(range) => {
                if mode == FlowMode::MessageFormatPlus {
                    let so_far = json!({ "result": choice.text.slice(0..range.end) }).to_string();
                    let is_whole = range.end == choice.text.len();
                    self.node(out, LLM, &so_far, is_whole);
                }
                let piece = choice.text.slice(range.clone());
                self.node(out, END, piece, false);
            }
            Step::End => {
                self.node(out, END, "", true);
                let output = self.output("stop");
                self.frame(out, &output);
            }
            _ => {}
        }
    }

    fn node(
        &mut self,
        out: &mut BytesMut,
        (id, name, kind): (&str, &str, &str),
        content: &str,
        is_completed: bool,
    ) {
        let mut output = self.output("null");
        let status = if is_completed { "success" } else { "executing" };
        let message = json!({
            "node_id": id, "node_name": name, "node_type": kind, "node_status": status,
            "node_is_completed": is_completed, "node_msg_seq_id": 0,
            "message": { "role": "assistant", "content": content },
        });
        output.insert("workflow_message".to_owned(), message);
        self.frame(out, &output);
    }

    fn output(&self, reason: &str) -> Map<String, Value> {
        let mut output = Map::new();
        output.insert("session_id".to_owned(), self.ask.session_id.as_str().into());
        output.insert("finish_reason".to_owned(), reason.into());
        output
    }

    fn add_sources(&self, output: &mut Map<String, Value>) {
        if self.ask.has_sources {
            let sources = json!([{ "index_id": "1", "title": "Example", "doc_id": "file_1",
                "doc_name": "example.md", "text": "An example.", "images": [],
                "page_number": [1] }]);
            output.insert("doc_references".to_owned(), sources);
        }
    }

    fn object(&self, output: &Map<String, Value>) -> Value {
        // Workflows do not tell what they cost (§1.2).
        let usage = if self.ask.flow.is_some() {
            json!({})
        } else {
            json!({ "models": [{ "input_tokens": self.input, "output_tokens": self.made,
                "model_id": self.model }] })
        };
        json!({ "output": output, "usage": usage, "request_id": self.identity.request_id })
    }

    fn frame(&mut self, out: &mut BytesMut, output: &Map<String, Value>) {
        self.number += 1;
        let frame = self.object(output).to_string();
        write_native_frame(out, self.number, "result", 200, frame.as_bytes());
    }
}

/// What a node of a workflow did: JSON in a text.
fn node_thought((id, name, kind): (&str, &str, &str), choice: &ChoiceAnswer) -> Value {
    let mut response = json!({ "nodeName": name, "nodeType": kind, "nodeId": id,
        "nodeStatus": "success", "nodeExecTime": "10ms",
        "nodeResult": json!({ "result": choice.text.as_str() }).to_string() });
    if kind == LLM.2 && choice.reasoning.len() > 0 {
        response["reasoningContent"] = choice.reasoning.as_str().into();
    }
    json!({ "response": response.to_string() })
}
