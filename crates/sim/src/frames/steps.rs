//! The order in which an answer is said.

use std::ops::Range;

use crate::answer::{Answer, ChoiceAnswer};

/// Sound comes in frames of at least so many tokens.
const SOUND_TOKENS: usize = 10;

/// What one frame tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The sources of a search, before anything is said.
    Sources,
    /// Who speaks.
    Begin,
    /// These tokens of the thinking.
    Reasoning(Range<usize>),
    /// These tokens of the text.
    Text(Range<usize>),
    /// These tokens of the sound.
    Sound(Range<usize>),
    /// These tokens of the arguments of a call, and before them its name when it begins.
    Arguments {
        call: usize,
        range: Range<usize>,
        begins: bool,
    },
    /// Why it ends.
    End,
    /// What it cost.
    Usage,
    /// The mark of the end.
    Done,
}

impl Step {
    /// Output tokens that are new in it.
    pub(super) fn tokens(&self) -> u64 {
        match self {
            Self::Reasoning(range) | Self::Text(range) | Self::Sound(range) => range.len() as u64,
            // The name of a call costs a token.
            Self::Arguments { range, begins, .. } => range.len() as u64 + u64::from(*begins),
            _ => 0,
        }
    }
}

/// Which frames a form has beside those with content.
#[derive(Clone, Copy, Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each frame is there or not, whatever the others are"
)]
pub(super) struct Extras {
    pub(super) sources: bool,
    pub(super) begin: bool,
    /// Calls begin without arguments.
    pub(super) bare_calls: bool,
    /// The end comes twice.
    pub(super) doubled_end: bool,
    pub(super) usage: bool,
    pub(super) done: bool,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Sources,
    Begin,
    Reasoning(usize),
    Text(usize),
    Sound(usize),
    /// The call, the token, and whether its name was told.
    Arguments(usize, usize, bool),
    End,
    SecondEnd,
    NextChoice,
    Usage,
    Done,
    Over,
}

/// Walks through an answer.
#[derive(Clone, Debug)]
pub(super) struct Steps {
    place: Place,
    choice: usize,
    /// Tokens per frame.
    size: usize,
    extras: Extras,
}

impl Steps {
    pub(super) fn new(size: usize, extras: Extras) -> Self {
        Self {
            place: Place::Sources,
            choice: 0,
            size: size.max(1),
            extras,
        }
    }

    /// The next step and the number of the choice that it is about.
    pub(super) fn next(&mut self, answer: &Answer) -> Option<(usize, Step)> {
        loop {
            let step = match answer.choices.get(self.choice) {
                Some(choice) => self.step_of_choice(choice),
                None => self.step_after(),
            };
            match step {
                Some(step) => return Some((self.choice, step)),
                None if matches!(self.place, Place::Over) => return None,
                None => {}
            }
        }
    }

    fn step_of_choice(&mut self, choice: &ChoiceAnswer) -> Option<Step> {
        let size = self.size;
        let until = |at: usize, length: usize| at.saturating_add(size).min(length);
        let (next, step) = match self.place {
            Place::Sources => (Place::Begin, self.extras.sources.then_some(Step::Sources)),
            Place::Begin => (
                Place::Reasoning(0),
                self.extras.begin.then_some(Step::Begin),
            ),
            Place::Reasoning(at) if at < choice.reasoning.len() => {
                let end = until(at, choice.reasoning.len());
                (Place::Reasoning(end), Some(Step::Reasoning(at..end)))
            }
            Place::Reasoning(_) => (Place::Text(0), None),
            Place::Text(at) if at < choice.text.len() => {
                let end = until(at, choice.text.len());
                (Place::Text(end), Some(Step::Text(at..end)))
            }
            Place::Text(_) => (Place::Sound(0), None),
            Place::Sound(at) if at < choice.sound => {
                let end = at.saturating_add(size.max(SOUND_TOKENS)).min(choice.sound);
                (Place::Sound(end), Some(Step::Sound(at..end)))
            }
            Place::Sound(_) => (Place::Arguments(0, 0, false), None),
            Place::Arguments(call, at, begun) => match choice.calls.get(call) {
                None => (Place::End, None),
                Some(made) => {
                    let length = made.arguments.len();
                    let bare = self.extras.bare_calls && !begun && length > 0;
                    let end = if bare { 0 } else { until(at, length) };
                    let next = if end == length {
                        Place::Arguments(call + 1, 0, false)
                    } else {
                        Place::Arguments(call, end, true)
                    };
                    let step = Step::Arguments {
                        call,
                        range: at..end,
                        begins: !begun,
                    };
                    (next, Some(step))
                }
            },
            Place::End => (Place::SecondEnd, Some(Step::End)),
            Place::SecondEnd => (
                Place::NextChoice,
                self.extras.doubled_end.then_some(Step::End),
            ),
            Place::NextChoice | Place::Usage | Place::Done | Place::Over => {
                self.choice += 1;
                (Place::Begin, None)
            }
        };
        self.place = next;
        step
    }

    fn step_after(&mut self) -> Option<Step> {
        let (next, step) = match self.place {
            Place::Usage => (Place::Done, self.extras.usage.then_some(Step::Usage)),
            Place::Done => (Place::Over, self.extras.done.then_some(Step::Done)),
            Place::Over => (Place::Over, None),
            _ => (Place::Usage, None),
        };
        self.place = next;
        step
    }
}
