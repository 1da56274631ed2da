//! Makes content of what has passed: a stream becomes the answer that it adds up to, all of it is
//! redacted, and then cut.

use bailian_ledger::Content;
use bailian_wire::catalog::{Catalog, Model};
use bailian_wire::stream::{Accumulator, StreamDecoder, StreamError, StreamSurface};
use bailian_wire::translate::Identity;
use bailian_wire::{Dialect, anthropic, native, openai, responses};
use serde_json::{Value, json};

use super::redact::Redactor;
use super::{Held, MARGIN, MOST_BYTES};
use crate::surface::Surface;

/// A request and its answer as they passed.
pub(super) struct Passed {
    /// All but the texts.
    pub(super) content: Content,
    pub(super) request: Vec<u8>,
    pub(super) answer: Vec<u8>,
    pub(super) form: Form,
    pub(super) surface: Surface,
    pub(super) model: Box<str>,
    /// Whether a native stream was to bring increments.
    pub(super) incremental: Option<bool>,
    pub(super) held: Held,
}

/// How an answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Whole,
    Stream,
    /// Compressed: no text.
    Packed,
}

impl std::fmt::Debug for Passed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Passed")
            .field("content", &self.content)
            .field("bytes", &self.held.bytes)
            .finish_non_exhaustive()
    }
}

impl Passed {
    pub(super) fn into_content(self, redactor: &Redactor) -> Content {
        let said = (self.form == Form::Stream).then(|| self.said());
        let mut content = self.content;
        let redactor = Some(redactor).filter(|_| content.redacted);
        content.request = text(&self.request, &mut content.request_cut, redactor);
        content.answer = match said {
            None if self.form == Form::Packed => None,
            None => text(&self.answer, &mut content.answer_cut, redactor),
            Some(said) => said.map(|mut said| {
                if let Some(redactor) = redactor {
                    redactor.value(&mut said);
                }
                let mut text = said.to_string();
                content.answer_cut |= cut(&mut text, MOST_BYTES);
                text
            }),
        };
        content
    }

    /// What a stream adds up to; `None` where it cannot be read. What one of its events says alone
    /// could not be redacted: numbers stand in several.
    fn said(&self) -> Option<Value> {
        let surface = match (&self.surface, self.surface.dialect()) {
            (Surface::Responses, _) => StreamSurface::Responses,
            (_, Dialect::Native) => StreamSurface::Native,
            (_, Dialect::Anthropic) => StreamSurface::Anthropic,
            (_, Dialect::OpenAi) => StreamSurface::OpenAiChat,
        };
        let by_default = || {
            let model = Catalog::embedded().model(&self.model);
            model.is_some_and(Model::native_frames_are_cumulative_by_default)
        };
        let is_cumulative =
            surface == StreamSurface::Native && self.incremental.map_or_else(by_default, |it| !it);
        let mut decoder = StreamDecoder::new(surface).cumulative(is_cumulative);
        decoder.feed(&self.answer);
        decoder.finish();
        let mut answer = Accumulator::new();
        let mut failure = None;
        while let Some(event) = decoder.next_event() {
            match event {
                Ok(event) => answer.push(event),
                Err(error) => failure = Some(error),
            }
        }
        let error = match failure {
            Some(StreamError::Api(error)) => Some(json!({
                "code": error.native_code().or(error.code()),
                "message": error.message(),
            })),
            _ => None,
        };
        let response = answer.finish();
        if response.choices.is_empty() && error.is_none() {
            return None;
        }
        let id = self.content.id.to_string();
        let seconds = self.content.kept_unix_ms / 1000;
        let identity = Identity::new(&*id, &*self.model, seconds);
        let (mut said, _) = match surface {
            StreamSurface::Native => native::encode_response(&response, &identity, false),
            StreamSurface::Anthropic => anthropic::encode_response(&response, &identity),
            StreamSurface::Responses => responses::encode_response(&response, &identity),
            _ => openai::encode_response(&response, &identity),
        };
        if let (Some(members), Some(error)) = (said.as_object_mut(), error) {
            members.insert("error".to_owned(), error);
        }
        Some(said)
    }
}

/// The text of bytes, redacted and cut; `None` where they are none.
fn text(bytes: &[u8], is_cut: &mut bool, redactor: Option<&Redactor>) -> Option<String> {
    let whole = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        // The cut may stand inside a character.
        Err(error) if *is_cut && error.error_len().is_none() => {
            std::str::from_utf8(bytes.get(..error.valid_up_to())?).ok()?
        }
        Err(_) => return None,
    };
    if whole.is_empty() {
        return None;
    }
    let mut text = match redactor {
        Some(redactor) => redactor.document(whole),
        None => whole.to_owned(),
    };
    if *is_cut {
        // The end may be the first half of what would have been taken out.
        let most = text.len().saturating_sub(MARGIN);
        cut(&mut text, most);
    }
    *is_cut |= cut(&mut text, MOST_BYTES);
    Some(text)
}

/// Shortens a text to at most so many bytes; whether it was longer.
fn cut(text: &mut String, most: usize) -> bool {
    let is_longer = text.len() > most;
    if is_longer {
        text.truncate(text.floor_char_boundary(most));
    }
    is_longer
}

#[cfg(test)]
impl Passed {
    /// A plain chat that says nothing but a text.
    pub(super) fn of_text(text: &str, held: Held) -> Self {
        let owner = bailian_ledger::ContentOwner::new("t", "p", "k");
        Self {
            content: Content::new(uuid::Uuid::nil(), 0, owner),
            request: text.into(),
            answer: text.into(),
            form: Form::Whole,
            surface: Surface::Chat(Dialect::OpenAi),
            model: "qwen-plus".into(),
            incremental: None,
            held,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redactor() -> Redactor {
        Redactor::new(Vec::new()).unwrap()
    }

    fn said(surface: Surface, incremental: Option<bool>, frames: &str) -> Value {
        let held = Held {
            counts: std::sync::Arc::default(),
            bytes: 0,
        };
        let mut passed = Passed::of_text(frames, held);
        passed.content.redacted = true;
        passed.form = Form::Stream;
        passed.surface = surface;
        passed.incremental = incremental;
        let content = passed.into_content(&redactor());
        content
            .answer
            .map_or(Value::Null, |text| serde_json::from_str(&text).unwrap())
    }

    #[test]
    fn a_number_in_two_events_of_a_stream_is_one_number() {
        let openai = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"电话138001\"}}]}\n\n\
            data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"38000。\"}}]}\n\n\
            data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
        let answer = said(Surface::Chat(Dialect::OpenAi), None, openai);
        assert_eq!(answer["choices"][0]["message"]["content"], "电话[phone]。");

        let native = |texts: [&str; 2]| {
            let frame = |text: &str, reason: &str| {
                format!(
                    "data:{{\"output\":{{\"choices\":[{{\"message\":{{\"role\":\"assistant\",\"content\":\"{text}\"}},\"finish_reason\":\"{reason}\"}}]}}}}\n\n"
                )
            };
            frame(texts[0], "null") + &frame(texts[1], "stop")
        };
        let surface = Surface::Chat(Dialect::Native);
        for (incremental, texts) in [
            (Some(true), ["电话138001", "38000。"]),
            (Some(false), ["电话138001", "电话13800138000。"]),
            (None, ["电话138001", "电话13800138000。"]),
        ] {
            let answer = said(surface.clone(), incremental, &native(texts));
            let content = &answer["output"]["choices"][0]["message"]["content"];
            assert_eq!(content, "电话[phone]。");
        }
    }

    #[test]
    fn a_stream_that_breaks_off_is_kept_as_far_as_it_came_and_one_that_is_none_is_not() {
        let surface = Surface::Chat(Dialect::OpenAi);
        let begun = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"你好\"}}]}\n\n";
        let answer = said(surface.clone(), None, begun);
        assert_eq!(answer["choices"][0]["message"]["content"], "你好");
        let error = "data: {\"error\":{\"code\":\"x\",\"message\":\"致电13800138000\"}}\n\n";
        let answer = said(surface.clone(), None, &format!("{begun}{error}"));
        assert_eq!(answer["choices"][0]["message"]["content"], "你好");
        assert_eq!(answer["error"]["message"], "致电[phone]");
        assert_eq!(said(surface, None, "data: 13800138\n\n"), Value::Null);
    }

    #[test]
    fn a_long_text_is_cut_between_characters_and_its_half_numbers_are_gone() {
        let mut bytes = "很".repeat(MOST_BYTES / 3).into_bytes();
        bytes.extend_from_slice("长".repeat(300).as_bytes());
        bytes.extend_from_slice("尾13800138".as_bytes());
        bytes.push(0xe4);
        let mut is_cut = true;
        let text = text(&bytes, &mut is_cut, Some(&redactor())).unwrap();
        assert!(is_cut && text.len() <= MOST_BYTES && text.len() > MOST_BYTES - 2 * MARGIN);
        assert!(!text.contains('1'));

        let mut is_cut = false;
        let long = "很".repeat(MOST_BYTES);
        let kept = super::text(long.as_bytes(), &mut is_cut, None).unwrap();
        assert!(is_cut && kept.len() <= MOST_BYTES);
        assert_eq!(super::text(&[0xff, 0xfe], &mut is_cut, None), None);
    }
}
