//! What the client of a stream has by now: enough to go on from there with another request.

use bailian_wire::chat::{ChatEvent, ChatResponse, Content};
use bailian_wire::stream::{Accumulator, StreamDecoder, StreamSurface};
use bailian_wire::tokens::{self, ByteCount};
use bailian_wire::translate::Identity;

use super::frames;
use super::scan::{Marks, Said, scan};

/// Follows the frames that go to the client.
#[derive(Debug)]
pub(super) enum Progress {
    /// Frames that pass as they are: only their text is kept, as it is spelled.
    Relayed(Box<Relayed>),
    /// Frames that are written anew are known event by event.
    Events(Box<Events>),
}

/// What passed. Nothing is parsed while all goes well.
#[derive(Debug)]
pub(super) struct Relayed {
    surface: StreamSurface,
    /// Each frame repeats everything so far.
    cumulative: bool,
    /// The text in its JSON spelling; of a stream of responses, all that it adds.
    text: Vec<u8>,
    /// The first frame, which says who the answer is.
    first: Vec<u8>,
    /// How many frames went out, where they are numbered.
    frames: u64,
    /// Something else than one text was said.
    has_other: bool,
    /// Its thinking.
    thinking: ByteCount,
    /// The arguments of its calls.
    calls: ByteCount,
}

#[derive(Debug)]
pub(super) struct Events {
    answer: Accumulator,
    frames: u64,
    /// One text was asked for, and nothing else.
    is_plain: bool,
}

/// How far an answer has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing went out.
    Nothing,
    /// Text, which may be empty, and nothing else.
    Text(String),
    /// Something that no other request can go on from: thinking, calls, several answers.
    Other,
}

impl Progress {
    /// Follows frames that pass as they are. `is_plain`: the caller asked for one text.
    pub(super) fn of_frames(surface: StreamSurface, cumulative: bool, is_plain: bool) -> Self {
        Self::Relayed(Box::new(Relayed {
            surface,
            cumulative,
            text: Vec::new(),
            first: Vec::new(),
            frames: 0,
            has_other: !is_plain,
            thinking: ByteCount::default(),
            calls: ByteCount::default(),
        }))
    }

    /// Follows frames that are written anew.
    pub(super) fn of_events(is_plain: bool) -> Self {
        Self::Events(Box::new(Events {
            answer: Accumulator::new(),
            frames: 0,
            is_plain,
        }))
    }

    /// Frames that go to the client as they are. What they say was found already, when they were
    /// looked at.
    pub(super) fn note_sent(&mut self, sent: &[u8]) {
        if let Self::Relayed(relayed) = self {
            relayed.note_sent(sent);
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
            Self::Relayed(relayed) => relayed.frames.max(u64::from(!relayed.first.is_empty())),
            Self::Events(events) => events.frames,
        }
    }

    /// The text that the client has.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Relayed(relayed) => relayed.text().unwrap_or_default(),
            Self::Events(events) => events.answer.response().text(),
        }
    }

    pub(super) fn standing(&self) -> Standing {
        match self {
            Self::Relayed(relayed) => relayed.standing(),
            Self::Events(events) => events.standing(),
        }
    }

    /// What everything that was said comes to in tokens, estimated, but for the text before `seam`.
    pub(super) fn tokens(&self, seam: usize) -> u64 {
        let of_text = |text: &str| tokens::estimate_text(text.get(seam..).unwrap_or_default());
        match self {
            Self::Relayed(relayed) => relayed.tokens(of_text),
            Self::Events(events) => of_text(&self.text()).saturating_add(events.other_tokens()),
        }
    }

    /// Who the answer is, for the frames that are still to come.
    pub(super) fn identity(&self, otherwise: Identity) -> Identity {
        let first;
        let answer = match self {
            Self::Events(events) => events.answer.response(),
            Self::Relayed(relayed) => {
                first = relayed.first();
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

impl Relayed {
    /// Looks at frames once, for itself and for whoever passes them on.
    pub(super) fn scan(&mut self, whole: &[u8]) -> Marks {
        let cumulative = self.cumulative;
        let count = |count: &mut ByteCount, spelled: &[u8]| {
            if cumulative && !spelled.is_empty() {
                *count = ByteCount::default();
            }
            count.add(spelled);
        };
        scan(whole, |said| match said {
            // A response repeats its texts when they end.
            Said::Text(_) if self.surface == StreamSurface::Responses => {}
            Said::Text(spelled) if self.cumulative => {
                // The last frame may bring nothing but the reason.
                if !spelled.is_empty() {
                    self.text.clear();
                    self.text.extend_from_slice(spelled);
                }
            }
            Said::Text(spelled) => self.text.extend_from_slice(spelled),
            Said::Thinking(spelled) => {
                self.has_other |= !spelled.is_empty();
                count(&mut self.thinking, spelled);
            }
            Said::Delta(spelled) => {
                self.has_other = true;
                self.text.extend_from_slice(spelled);
            }
            Said::Other(spelled) => {
                self.has_other = true;
                count(&mut self.calls, spelled);
            }
        })
    }

    /// What was said, by the estimate `of_text` where its spelling can be read. A stream that broke
    /// inside a pair of escapes leaves half a character, and its bytes count.
    fn tokens(&self, of_text: impl FnOnce(&str) -> u64) -> u64 {
        let text = match self.text() {
            Some(text) => of_text(&text),
            None => {
                let mut spelled = ByteCount::default();
                spelled.add(&self.text);
                spelled.tokens()
            }
        };
        text.saturating_add(self.thinking.tokens() + self.calls.tokens())
    }

    /// Notes frames that go out.
    fn note_sent(&mut self, sent: &[u8]) {
        let mut data = frames::split(sent).filter(|frame| frames::data_of(frame).is_some());
        if self.first.is_empty()
            && let Some(frame) = data.next()
        {
            self.first.extend_from_slice(frame);
            self.frames += 1;
        }
        if self.surface == StreamSurface::Native {
            self.frames += data.count() as u64;
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
        let mut decoder = StreamDecoder::new(self.surface);
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
        match self.text() {
            Some(text) if !self.has_other => Standing::Text(text),
            _ => Standing::Other,
        }
    }
}

impl Events {
    /// Thinking and the arguments of calls.
    fn other_tokens(&self) -> u64 {
        let answer = self.answer.response();
        let mut other = ByteCount::default();
        other.add(answer.reasoning().as_bytes());
        for call in answer.tool_calls() {
            other.add(call.function.arguments.as_bytes());
        }
        other.tokens()
    }

    fn standing(&self) -> Standing {
        let answer = self.answer.response();
        if self.frames == 0 {
            return Standing::Nothing;
        }
        let is_plain = self.is_plain
            && answer.reasoning().is_empty()
            && answer.tool_calls().is_empty()
            && answer.audio.is_none()
            && answer.choices.len() <= 1;
        if !is_plain {
            return Standing::Other;
        }
        let Some(choice) = answer.choices.first() else {
            return Standing::Text(String::new());
        };
        match &choice.message.content {
            None => Standing::Text(String::new()),
            Some(Content::Text(text)) if choice.logprobs.is_none() => Standing::Text(text.clone()),
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
        let Progress::Relayed(relayed) = progress else {
            panic!("frames that pass were expected");
        };
        relayed.scan(chunk.as_bytes());
        relayed.note_sent(chunk.as_bytes());
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
    fn a_text_that_ends_inside_a_character_is_counted_all_the_same() {
        let mut progress = plain();
        send(
            &mut progress,
            &chunk(r#"{"content":"Hangzhou lies on the"}"#),
        );
        let whole = progress.tokens(0);
        send(&mut progress, &chunk(r#"{"content":" \ud83d"}"#));
        assert!(whole > 0 && progress.tokens(0) >= whole, "{whole}");
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
    fn frames_that_repeat_everything_say_the_text_once() {
        let mut progress = Progress::of_frames(StreamSurface::Native, true, true);
        for text in ["你", "你好", "你好。", ""] {
            send(
                &mut progress,
                &format!(
                    "id:1\nevent:result\ndata:{{\"output\":{{\"choices\":[{{\"message\":{{\"content\":\"{text}\"}}}}]}}}}\n\n"
                ),
            );
        }
        assert_eq!(progress.standing(), Standing::Text("你好。".to_owned()));
        assert_eq!(progress.frames(), 4);
    }
}
