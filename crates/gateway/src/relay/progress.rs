//! What the client of a stream has by now: enough to go on from there with another request.

use bailian_wire::chat::{ChatEvent, ChatResponse, Content};
use bailian_wire::stream::{Accumulator, StreamDecoder, StreamSurface};
use bailian_wire::translate::Identity;

use super::frames;

/// Follows the frames that go to the client.
#[derive(Debug)]
pub(super) struct Progress {
    decoder: StreamDecoder,
    answer: Accumulator,
    frames: u64,
}

/// How far an answer has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing went out.
    Nothing,
    /// Text, which may be empty, and nothing else.
    Text(String),
    /// It said why it ends; only what closes the stream is missing.
    Finished,
    /// Something that no other request can go on from: thinking, calls, several answers.
    Other,
}

impl Progress {
    pub(super) fn new(surface: StreamSurface, cumulative: bool) -> Self {
        Self {
            decoder: StreamDecoder::new(surface).cumulative(cumulative),
            answer: Accumulator::new(),
            frames: 0,
        }
    }

    /// Whole frames that the client is sent as they are.
    pub(super) fn feed(&mut self, whole: &[u8]) {
        self.frames += frames::split(whole)
            .filter(|frame| frames::data_of(frame).is_some())
            .count() as u64;
        self.decoder.feed(whole);
        while let Some(Ok(event)) = self.decoder.next_event() {
            self.answer.push(event);
        }
    }

    /// An event whose frames the client is sent.
    pub(super) fn push(&mut self, event: &ChatEvent) {
        self.frames += 1;
        self.answer.push(event.clone());
    }

    /// Frames that went out.
    pub(super) fn frames(&self) -> u64 {
        self.frames
    }

    pub(super) fn answer(&self) -> &ChatResponse {
        self.answer.response()
    }

    /// Whether every answer has said why it ends.
    pub(super) fn is_finished(&self) -> bool {
        self.standing() == Standing::Finished
    }

    pub(super) fn standing(&self) -> Standing {
        let answer = self.answer.response();
        if self.frames == 0 {
            return Standing::Nothing;
        }
        let is_plain = answer.reasoning().is_empty()
            && answer.tool_calls().is_empty()
            && answer.audio.is_none()
            && answer.choices.len() <= 1;
        let Some(choice) = answer.choices.first() else {
            return if is_plain {
                Standing::Text(String::new())
            } else {
                Standing::Other
            };
        };
        if answer
            .choices
            .iter()
            .all(|choice| choice.finish_reason.is_some())
        {
            return Standing::Finished;
        }
        match &choice.message.content {
            None if is_plain => Standing::Text(String::new()),
            Some(Content::Text(text)) if is_plain && choice.logprobs.is_none() => {
                Standing::Text(text.clone())
            }
            _ => Standing::Other,
        }
    }

    /// Who the answer is, for the frames that are still to come.
    pub(super) fn identity(&self, otherwise: Identity) -> Identity {
        let answer = self.answer.response();
        let mut identity = otherwise;
        if let Some(id) = answer.id.as_ref().or(answer.request_id.as_ref()) {
            identity.id.clone_from(id);
        }
        if let Some(model) = &answer.model {
            identity.model.clone_from(model);
        }
        identity.created = answer.created.unwrap_or(identity.created);
        identity
    }
}
