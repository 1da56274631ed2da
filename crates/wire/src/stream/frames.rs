//! Native frames and chat chunks: the same events by other names.

use serde_json::Value;

use super::StreamDecoder;
use super::delta::ChoiceFrame;
use crate::chat::ChatEvent;
use crate::native::NativeFrame;
use crate::openai::OpenAiFrame;

impl StreamDecoder {
    pub(super) fn read_native(&mut self, value: &Value) {
        let frame = NativeFrame::new(value);
        self.start(None, frame.request_id(), None, None);
        if let Some(info) = frame.search_info() {
            self.events.push_back(ChatEvent::SearchInfo(info.clone()));
        }
        for (name, value) in frame.extra() {
            self.extra(name, value);
        }
        if let Some(found) = frame.deep_research() {
            self.extra("deep_research", found);
        }
        let choices = frame.choices();
        let says_nothing = choices.is_empty() && frame.usage().is_none();
        for choice in choices {
            self.delta.read(
                ChoiceFrame {
                    index: choice.index,
                    text: &choice.text(),
                    reasoning: choice.reasoning(),
                    parts: choice.rich_parts().collect(),
                    tool_calls: choice.tool_calls(),
                    logprobs: choice.logprobs(),
                    finish_reason: choice.finish_reason(),
                },
                &mut self.events,
            );
        }
        if let Some(data) = frame.audio() {
            self.events.push_back(ChatEvent::AudioDelta {
                choice: 0,
                data: data.to_owned(),
            });
        }
        if let Some(url) = frame.audio_url() {
            self.events.push_back(ChatEvent::AudioUrl(url.to_owned()));
        }
        self.end_frame(frame.usage(), says_nothing, value);
    }

    pub(super) fn read_openai(&mut self, value: &Value) {
        let frame = OpenAiFrame::new(value);
        self.start(
            frame.id(),
            frame.request_id(),
            frame.model(),
            frame.created(),
        );
        let choices = frame.choices();
        let says_nothing = choices.is_empty() && frame.usage().is_none();
        for choice in choices {
            if let Some(data) = choice.audio() {
                let data = data.to_owned();
                self.events.push_back(ChatEvent::AudioDelta {
                    choice: choice.index,
                    data,
                });
            }
            self.delta.read(
                ChoiceFrame {
                    index: choice.index,
                    text: &choice.text(),
                    reasoning: choice.reasoning(),
                    parts: Vec::new(),
                    tool_calls: choice.tool_calls(),
                    logprobs: choice.logprobs(),
                    finish_reason: choice.finish_reason(),
                },
                &mut self.events,
            );
        }
        self.end_frame(frame.usage(), says_nothing, value);
    }

    fn end_frame(&mut self, usage: Option<crate::chat::Usage>, says_nothing: bool, value: &Value) {
        if let Some(usage) = usage {
            self.events.push_back(ChatEvent::Usage(usage));
        }
        if says_nothing {
            self.events.push_back(ChatEvent::Unknown(value.clone()));
        }
    }
}
