//! Text completions (compat.md §3.2).

use bailian_wire::sse::write_data_frame;
use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};

use super::Identity;
use super::steps::{Extras, Step};
use crate::answer::Answer;
use crate::call::Call;

pub(super) fn whole(call: &Call, answer: &Answer, identity: &Identity) -> Bytes {
    let form = Form::new(call, identity);
    let choice = answer.choices.first();
    let text = choice.map_or("", |choice| choice.text.as_str());
    let reason = choice.map(|choice| choice.finish_reason);
    let body = form.object(text, reason, Some(&usage(answer)));
    Bytes::from(body.to_string())
}

fn usage(answer: &Answer) -> Value {
    let output = answer.output_tokens();
    json!({ "prompt_tokens": answer.input_tokens, "completion_tokens": output,
        "total_tokens": answer.input_tokens + output })
}

/// How the chunks of a completion are written.
#[derive(Clone, Debug)]
pub(super) struct Form {
    model: String,
    identity: Identity,
    include_usage: bool,
}

impl Form {
    pub(super) fn new(call: &Call, identity: &Identity) -> Self {
        let options = call.parameters.get("stream_options");
        Self {
            model: call.model_id.clone(),
            identity: identity.clone(),
            include_usage: options.is_some_and(|options| options["include_usage"] == true),
        }
    }

    pub(super) fn extras(&self) -> Extras {
        Extras {
            usage: self.include_usage,
            done: true,
            ..Extras::default()
        }
    }

    /// Appends the next chunk.
    pub(super) fn write(&self, out: &mut BytesMut, answer: &Answer, index: usize, step: &Step) {
        let chunk = match (step, answer.choices.get(index)) {
            (Step::Text(range), Some(choice)) => {
                self.object(choice.text.slice(range.clone()), None, None)
            }
            (Step::End, Some(choice)) => self.object("", Some(choice.finish_reason), None),
            (Step::Usage, _) => {
                let mut chunk = self.object("", None, Some(&usage(answer)));
                chunk["choices"] = json!([]);
                chunk
            }
            (Step::Done, _) => return write_data_frame(out, b"[DONE]"),
            _ => return,
        };
        write_data_frame(out, chunk.to_string().as_bytes());
    }

    fn object(&self, text: &str, reason: Option<&str>, usage: Option<&Value>) -> Value {
        json!({
            "id": format!("cmpl-{}", self.identity.request_id),
            "choices": [{ "finish_reason": reason, "index": 0, "logprobs": null, "text": text }],
            "created": self.identity.created, "model": self.model, "object": "text_completion",
            "usage": usage,
        })
    }
}
