//! What the client of a stream has by now: enough to go on from there with another request.

use bailian_wire::chat::{ChatEvent, ChatResponse, Content};
use bailian_wire::stream::{Accumulator, StreamDecoder, StreamSurface};
use bailian_wire::translate::Identity;

use super::frames;
use super::scan::{Marks, Said, scan};

/// Follows the frames that go to the client.
#[derive(Debug)]
pub(super) enum Progress {
    /// Chunks of chat completions that pass as they are: only their text is kept, as it is spelled.
    Chunks(Box<Chunks>),
    /// Everything else is read event by event.
    Events(Box<Events>),
}

/// What passed of chat completions. Nothing is parsed while all goes well.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    /// The text in its JSON spelling.
    text: Vec<u8>,
    /// The first chunk, which says who the answer is.
    first: Vec<u8>,
    /// Something else than one text was said.
    has_other: bool,
    has_finished: bool,
}

#[derive(Debug)]
pub(super) struct Events {
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
    /// Follows frames that pass as they are. `is_plain`: the caller asked for one text.
    pub(super) fn of_frames(surface: StreamSurface, cumulative: bool, is_plain: bool) -> Self {
        if surface == StreamSurface::OpenAiChat {
            return Self::Chunks(Box::new(Chunks {
                has_other: !is_plain,
                ..Chunks::default()
            }));
        }
        Self::of_events(surface, cumulative)
    }

    /// Follows frames that are written anew.
    pub(super) fn of_events(surface: StreamSurface, cumulative: bool) -> Self {
        Self::Events(Box::new(Events {
            decoder: StreamDecoder::new(surface).cumulative(cumulative),
            answer: Accumulator::new(),
            frames: 0,
        }))
    }

    /// Frames that go to the client as they are. The text of chunks was found already, when they
    /// were looked at.
    pub(super) fn note_sent(&mut self, sent: &[u8]) {
        match self {
            Self::Chunks(chunks) => chunks.note_sent(sent),
            Self::Events(events) => events.feed(sent),
        }
    }

    /// An event whose frames the client is sent.
    pub(super) fn push(&mut self, event: &ChatEvent) {
        if let Self::Events(events) = self {
            events.frames += 1;
            events.answer.push(event.clone());
        }
    }

    /// Whether anything went out, and of native streams how many frames.
    pub(super) fn frames(&self) -> u64 {
        match self {
            Self::Chunks(chunks) => u64::from(!chunks.first.is_empty()),
            Self::Events(events) => events.frames,
        }
    }

    /// The text that the client has.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Chunks(chunks) => chunks.text().unwrap_or_default(),
            Self::Events(events) => events.answer.response().text(),
        }
    }

    /// Whether every answer has said why it ends.
    pub(super) fn is_finished(&self) -> bool {
        match self {
            Self::Chunks(chunks) => chunks.has_finished,
            Self::Events(events) => events.standing() == Standing::Finished,
        }
    }

    pub(super) fn standing(&self) -> Standing {
        match self {
            Self::Chunks(chunks) => chunks.standing(),
            Self::Events(events) => events.standing(),
        }
    }

    /// Who the answer is, for the frames that are still to come.
    pub(super) fn identity(&self, otherwise: Identity) -> Identity {
        let first;
        let answer = match self {
            Self::Events(events) => events.answer.response(),
            Self::Chunks(chunks) => {
                first = chunks.first();
                &first
            }
        };
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

impl Chunks {
    /// Looks at frames once, for itself and for whoever passes them on.
    pub(super) fn scan(&mut self, whole: &[u8]) -> Marks {
        let marks = scan(whole, |said| match said {
            Said::Text(spelled) => self.text.extend_from_slice(spelled),
            Said::Thinking(spelled) => self.has_other |= !spelled.is_empty(),
        });
        self.has_other |= marks.calls;
        self.has_finished |= marks.finish;
        marks
    }

    /// Notes frames that go out.
    fn note_sent(&mut self, sent: &[u8]) {
        if self.first.is_empty()
            && let Some(frame) = frames::split(sent).find(|frame| frames::data_of(frame).is_some())
        {
            self.first.extend_from_slice(frame);
        }
    }

    fn text(&self) -> Option<String> {
        let mut spelled = Vec::with_capacity(self.text.len() + 2);
        spelled.push(b'"');
        spelled.extend_from_slice(&self.text);
        spelled.push(b'"');
        serde_json::from_slice(&spelled).ok()
    }

    fn first(&self) -> ChatResponse {
        let mut decoder = StreamDecoder::new(StreamSurface::OpenAiChat);
        decoder.feed(&self.first);
        let mut answer = Accumulator::new();
        while let Some(Ok(event)) = decoder.next_event() {
            answer.push(event);
        }
        answer.finish()
    }

    fn standing(&self) -> Standing {
        if self.first.is_empty() {
            return Standing::Nothing;
        }
        if self.has_finished {
            return Standing::Finished;
        }
        match self.text() {
            Some(text) if !self.has_other => Standing::Text(text),
            _ => Standing::Other,
        }
    }
}

impl Events {
    fn feed(&mut self, whole: &[u8]) {
        self.frames += frames::split(whole)
            .filter(|frame| frames::data_of(frame).is_some())
            .count() as u64;
        self.decoder.feed(whole);
        while let Some(Ok(event)) = self.decoder.next_event() {
            self.answer.push(event);
        }
    }

    fn standing(&self) -> Standing {
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
        let mut choices = answer.choices.iter();
        if choices.all(|choice| choice.finish_reason.is_some()) {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(delta: &str) -> String {
        format!(
            "data: {{\"id\":\"chatcmpl-7\",\"model\":\"m\",\"created\":5,\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":null}}]}}\n\n"
        )
    }

    fn plain() -> Progress {
        Progress::of_frames(StreamSurface::OpenAiChat, false, true)
    }

    fn send(progress: &mut Progress, chunk: &str) {
        let Progress::Chunks(chunks) = progress else {
            panic!("chunks were expected");
        };
        chunks.scan(chunk.as_bytes());
        chunks.note_sent(chunk.as_bytes());
    }

    #[test]
    fn the_text_is_known_however_it_is_spelled() {
        let mut progress = plain();
        assert_eq!(progress.standing(), Standing::Nothing);
        for delta in [
            r#"{"role":"assistant","content":""}"#,
            r#"{"content":"你\n\"content\":\"x\\"}"#,
            // Half a character in each chunk.
            r#"{"content":"\ud83d"}"#,
            r#"{"content":"\ude00!","reasoning_content":""}"#,
        ] {
            send(&mut progress, &chunk(delta));
        }
        let text = "你\n\"content\":\"x\\😀!";
        assert_eq!(progress.standing(), Standing::Text(text.to_owned()));
        let identity = progress.identity(Identity::default());
        assert_eq!((identity.id.as_str(), identity.created), ("chatcmpl-7", 5));
    }

    #[test]
    fn what_is_no_text_cannot_be_gone_on_from() {
        for delta in [
            r#"{"reasoning_content":"想"}"#,
            r#"{"tool_calls":[{"index":0}]}"#,
        ] {
            let mut progress = plain();
            send(&mut progress, &chunk(delta));
            assert_eq!(progress.standing(), Standing::Other, "{delta}");
        }
        let mut several = Progress::of_frames(StreamSurface::OpenAiChat, false, false);
        send(&mut several, &chunk(r#"{"content":"a"}"#));
        assert_eq!(several.standing(), Standing::Other);
    }

    #[test]
    fn a_reason_to_end_is_seen() {
        let mut progress = plain();
        let end = chunk(r#"{"content":"a"}"#)
            .replace("\"finish_reason\":null", "\"finish_reason\":\"length\"");
        send(&mut progress, &end);
        assert_eq!(progress.standing(), Standing::Finished);
    }
}
