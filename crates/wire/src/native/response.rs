//! Reads native answers and stream frames; both have the same shape.

use serde_json::Value;

use super::decode::read_native_part;
use crate::chat::{
    ChatResponse, Choice, Content, ContentPart, FinishReason, Logprobs, Message, Usage,
};

/// A native answer or stream frame, borrowed from its JSON (http-native.md §5).
///
/// The member is called `message` in frames too, never `delta`. With `result_format: text` there
/// is one choice, made of `output.text`.
#[derive(Clone, Copy, Debug)]
pub struct NativeFrame<'a> {
    frame: &'a Value,
}

/// One choice of a frame.
#[derive(Clone, Copy, Debug)]
pub struct NativeChoice<'a> {
    /// Its index; its place where the service leaves the index out.
    pub index: u64,
    message: &'a Value,
    /// There is no message: what stands for it is the whole output.
    bare: bool,
    finish_reason: Option<&'a str>,
    logprobs: Option<&'a Value>,
}

impl<'a> NativeFrame<'a> {
    /// Looks at a frame.
    pub fn new(frame: &'a Value) -> Self {
        Self { frame }
    }

    fn output(self) -> &'a Value {
        // Legacy answers call it `data`.
        self.frame
            .get("output")
            .or_else(|| self.frame.get("data"))
            .unwrap_or(&Value::Null)
    }

    /// The service's id of the request.
    pub fn request_id(self) -> Option<&'a str> {
        self.frame.get("request_id")?.as_str()
    }

    /// Token counts; a running total in streams.
    pub fn usage(self) -> Option<Usage> {
        Usage::from_member(self.frame.get("usage"))
    }

    /// What a web search found, if this frame says anything of it.
    pub fn search_info(self) -> Option<&'a Value> {
        let info = self.output().get("search_info")?;
        let says_something = info
            .as_object()?
            .values()
            .any(|member| member.as_array().is_none_or(|list| !list.is_empty()));
        says_something.then_some(info)
    }

    /// Members of `output` that have no reader here, such as `tool_info`, `session_id` or
    /// `model_name`.
    pub fn extra(self) -> impl Iterator<Item = (&'a String, &'a Value)> {
        const READ: [&str; 10] = [
            "audio",
            "choices",
            "finish_reason",
            "fininshed",
            "fininshed_reason",
            "finished",
            "finished_reason",
            "message",
            "search_info",
            "text",
        ];
        self.output()
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(name, value)| !READ.contains(&name.as_str()) && !value.is_null())
    }

    /// What qwen-deep-research found or cites in this step, if this frame says anything of it.
    pub fn deep_research(self) -> Option<&'a Value> {
        self.output()
            .pointer("/message/extra/deep_research")
            .filter(|found| found.as_object().is_some_and(|found| !found.is_empty()))
    }

    /// Base64 sound of a speech model.
    pub fn audio(self) -> Option<&'a str> {
        self.output()
            .pointer("/audio/data")?
            .as_str()
            .filter(|data| !data.is_empty())
    }

    /// Where the whole sound can be fetched.
    pub fn audio_url(self) -> Option<&'a str> {
        self.output()
            .pointer("/audio/url")?
            .as_str()
            .filter(|url| !url.is_empty())
    }

    /// Recognised speech has no finish reason: its last frame ends a sentence and reports usage
    /// (§7.2).
    fn end_of_speech(self) -> Option<&'static str> {
        let ended = self.output().pointer("/sentence/sentence_end") == Some(&Value::Bool(true));
        (ended && self.usage().is_some()).then_some("stop")
    }

    /// The choices of the frame.
    pub fn choices(self) -> Vec<NativeChoice<'a>> {
        let output = self.output();
        if let Some(choices) = output.get("choices").and_then(Value::as_array) {
            return choices
                .iter()
                .zip(0u64..)
                .map(|(choice, place)| NativeChoice {
                    index: choice.get("index").and_then(Value::as_u64).unwrap_or(place),
                    message: choice.get("message").unwrap_or(&Value::Null),
                    bare: false,
                    finish_reason: choice
                        .get("finish_reason")
                        .or_else(|| output.get("finish_reason"))
                        .and_then(Value::as_str),
                    logprobs: choice.get("logprobs"),
                })
                .collect();
        }
        if output.is_object() {
            // `result_format: text`, applications, speech: one choice without a message.
            // qwen-deep-research has a message without a choice, and misspells its end (§5.8).
            let ends = ["finish_reason", "fininshed_reason", "finished_reason"];
            let said = ends.iter().find_map(|name| output.get(*name)?.as_str());
            let message = output.get("message").filter(|message| message.is_object());
            return vec![NativeChoice {
                index: 0,
                message: message.unwrap_or(output),
                bare: message.is_none(),
                finish_reason: said.or_else(|| self.end_of_speech()),
                logprobs: None,
            }];
        }
        Vec::new()
    }
}

impl<'a> NativeChoice<'a> {
    /// The text; parts joined.
    pub fn text(self) -> String {
        if self.is_research_step() {
            return String::new();
        }
        match self
            .message
            .get("content")
            .or_else(|| self.message.get("text"))
        {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Array(parts)) => parts
                .iter()
                .filter_map(|part| part.get("text")?.as_str())
                .collect(),
            _ => String::new(),
        }
    }

    /// The parts that are not just text: pictures, or text with an `ocr_result` beside it.
    pub fn rich_parts(self) -> impl Iterator<Item = ContentPart> {
        self.parts()
            .iter()
            .filter(|part| !is_plain_text(part))
            .map(to_part)
    }

    fn parts(self) -> &'a [Value] {
        self.message
            .get("content")
            .and_then(Value::as_array)
            .map_or(&[], Vec::as_slice)
    }

    /// The thinking.
    pub fn reasoning(self) -> &'a str {
        let name = if self.is_research_step() {
            "content"
        } else {
            "reasoning_content"
        };
        self.message
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// Whether the message tells how a deep research goes on, not what it found: a kind of
    /// thinking.
    fn is_research_step(self) -> bool {
        self.message
            .get("phase")
            .and_then(Value::as_str)
            .is_some_and(|phase| phase != "answer")
    }

    /// The tool calls, or pieces of them.
    pub fn tool_calls(self) -> &'a [Value] {
        self.message
            .get("tool_calls")
            .and_then(Value::as_array)
            .map_or(&[], Vec::as_slice)
    }

    /// Why it ended; `None` while it goes on.
    pub fn finish_reason(self) -> Option<FinishReason> {
        FinishReason::from_wire(self.finish_reason)
    }

    /// Log probabilities.
    pub fn logprobs(self) -> Option<Logprobs> {
        Logprobs::from_member(self.logprobs)
    }

    fn to_message(self) -> Message {
        let content = if self.parts().iter().all(is_plain_text) {
            Content::Text(self.text())
        } else {
            Content::Parts(self.parts().iter().map(to_part).collect())
        };
        let mut message = Message::from_answer(self.message, content, &[]);
        let reasoning = self.reasoning();
        message.reasoning_content = (!reasoning.is_empty()).then(|| reasoning.to_owned());
        if self.bare {
            // The object is the whole `output`, whose members are the answer's, not the message's.
            message.extra.clear();
        }
        message
    }
}

fn is_plain_text(part: &Value) -> bool {
    part.as_object()
        .is_some_and(|part| part.len() == 1 && part.get("text").is_some_and(Value::is_string))
}

fn to_part(part: &Value) -> ContentPart {
    let mut part = ContentPart::Other(part.clone());
    read_native_part(&mut part);
    part
}

/// The canonical form of a complete native answer. Members without a field stay in `raw`.
pub fn decode_response(answer: Value) -> ChatResponse {
    let frame = NativeFrame::new(&answer);
    let choices = frame
        .choices()
        .into_iter()
        .map(|choice| Choice {
            index: choice.index,
            message: choice.to_message(),
            finish_reason: choice.finish_reason(),
            logprobs: choice.logprobs(),
        })
        .collect();
    ChatResponse {
        request_id: frame.request_id().map(str::to_owned),
        choices,
        usage: frame.usage(),
        search_info: frame.search_info().cloned(),
        audio: frame.audio().map(str::to_owned),
        audio_url: frame.audio_url().map(str::to_owned),
        extra: frame
            .extra()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
        raw: answer,
        ..ChatResponse::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_recorded_forced_tool_call_is_read() {
        let response = decode_response(
            json!({"output":{"choices":[{"finish_reason":"stop","message":{"role":"assistant",
            "tool_calls":[{"function":{"name":"get_current_weather","arguments":"{\"location\": \"浙江省杭州市\"}"},
            "index":0,"id":"call_cec4c19d27624537b583af","type":"function"}],"content":""}}]},
            "usage":{"total_tokens":219,"output_tokens":8,"input_tokens":211},"request_id":"67300049"}),
        );
        let call = &response.tool_calls()[0];
        assert_eq!(call.arguments().unwrap()["location"], "浙江省杭州市");
        assert_eq!(response.finish_reason(), Some(&FinishReason::Stop));
        assert_eq!(response.usage.unwrap().total_tokens, 219);
    }

    #[test]
    fn members_without_a_field_are_kept() {
        let response = decode_response(json!({"output":{"text":"hi","finish_reason":"stop",
            "session_id":"s-1","thoughts":null,"search_info":{"search_results":[]}}}));
        assert_eq!(
            Value::Object(response.extra),
            json!({ "session_id": "s-1" })
        );
        assert_eq!(response.search_info, None);
    }

    #[test]
    fn the_steps_of_a_deep_research_are_thinking_and_its_answer_is_text() {
        let frame = |phase: &str, end: &str| {
            decode_response(
                json!({"output":{"message":{"phase":phase,"role":"assistant",
                "content":"本研究","extra":{"deep_research":{}},"status":"typing"},
                "fininshed":end!="null","fininshed_reason":end}}),
            )
        };
        let step = frame("ResearchPlanning", "null");
        assert_eq!((step.text().as_str(), step.reasoning()), ("", "本研究"));
        assert_eq!((step.finish_reason(), step.extra.len()), (None, 0));
        let answer = frame("answer", "stop");
        assert_eq!((answer.text().as_str(), answer.reasoning()), ("本研究", ""));
        assert_eq!(answer.finish_reason(), Some(&FinishReason::Stop));
    }

    #[test]
    fn pictures_and_annotations_in_an_answer_are_kept() {
        let response = decode_response(json!({"output":{"choices":[{"finish_reason":"stop",
            "message":{"role":"assistant","annotations":[{"language":"zh"}],
            "content":[{"text":"a"},{"image":"https://e/1.png"}]}}]}}));
        let message = response.message().unwrap();
        assert_eq!(
            message.content,
            Some(Content::Parts(vec![
                ContentPart::new_text("a"),
                ContentPart::image("https://e/1.png")
            ]))
        );
        assert_eq!(message.text(), "a");
        assert_eq!(message.extra["annotations"][0]["language"], "zh");
    }

    #[test]
    fn recognised_speech_ends_with_the_sentence_that_reports_usage() {
        let frame = |usage: Value| {
            decode_response(
                json!({"output":{"text":"欢迎","sentence":{"sentence_end":true}},
                "usage":usage}),
            )
        };
        assert_eq!(frame(Value::Null).finish_reason(), None);
        let last = frame(json!({ "duration": 2 }));
        assert_eq!(last.finish_reason(), Some(&FinishReason::Stop));
    }

    #[test]
    fn text_format_and_the_text_null_are_understood() {
        let response = decode_response(
            json!({"output":{"finish_reason":"null","text":"1+1等于2。"},"request_id":"r"}),
        );
        assert_eq!(response.text(), "1+1等于2。");
        assert_eq!(response.finish_reason(), None);
    }
}
