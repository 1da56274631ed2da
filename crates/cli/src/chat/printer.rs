//! Writes an answer as text while it comes.

use std::io::{self, Write};

use bailian_wire::chat::{ChatEvent, ChatResponse};

const DIM: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[0m";

/// Writes the first answer's text, and on a terminal its thinking before it, dimmed. Dropped in the
/// middle of an answer, it leaves the terminal as it was.
#[derive(Debug)]
pub(super) struct Printer<W: Write> {
    output: W,
    on_terminal: bool,
    state: State,
    ends_in_newline: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Nothing,
    Thinking,
    Text,
}

impl<W: Write> Printer<W> {
    pub(super) fn new(output: W, on_terminal: bool) -> Self {
        Self {
            output,
            on_terminal,
            state: State::Nothing,
            ends_in_newline: true,
        }
    }

    /// Writes what an event brings.
    pub(super) fn event(&mut self, event: &ChatEvent) -> io::Result<()> {
        match event {
            ChatEvent::TextDelta { choice: 0, text } => self.text(text)?,
            ChatEvent::ReasoningDelta { choice: 0, text } => self.thinking(text)?,
            _ => return Ok(()),
        }
        self.output.flush()
    }

    /// Writes an answer that is complete.
    pub(super) fn response(&mut self, response: &ChatResponse) -> io::Result<()> {
        self.thinking(response.reasoning())?;
        self.text(&response.text())
    }

    /// Ends the last line and what is dimmed.
    pub(super) fn end(&mut self) -> io::Result<()> {
        if self.state == State::Thinking {
            self.output.write_all(PLAIN.as_bytes())?;
        }
        if !self.ends_in_newline {
            self.output.write_all(b"\n")?;
        }
        self.state = State::Nothing;
        self.ends_in_newline = true;
        self.output.flush()
    }

    fn thinking(&mut self, text: &str) -> io::Result<()> {
        if text.is_empty() || !self.on_terminal {
            return Ok(());
        }
        if self.state != State::Thinking {
            self.state = State::Thinking;
            self.output.write_all(DIM.as_bytes())?;
        }
        self.write(text)
    }

    fn text(&mut self, text: &str) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        if self.state == State::Thinking {
            let gap = if self.ends_in_newline { "\n" } else { "\n\n" };
            self.output.write_all(PLAIN.as_bytes())?;
            self.output.write_all(gap.as_bytes())?;
        }
        self.state = State::Text;
        self.write(text)
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        self.ends_in_newline = text.ends_with('\n');
        if !self.on_terminal {
            return self.output.write_all(text.as_bytes());
        }
        // A model can be talked into escape sequences; they must not reach the terminal.
        let harmless = |c: &char| !c.is_control() || matches!(c, '\n' | '\t');
        let text: String = text.chars().filter(harmless).collect();
        self.output.write_all(text.as_bytes())
    }
}

impl<W: Write> Drop for Printer<W> {
    fn drop(&mut self) {
        // Nobody is left to be told that the terminal is gone.
        drop(self.end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(on_terminal: bool, parts: &[(bool, &str)]) -> String {
        let mut output = Vec::new();
        let mut printer = Printer::new(&mut output, on_terminal);
        for (is_thinking, text) in parts {
            let text = (*text).to_owned();
            let event = if *is_thinking {
                ChatEvent::ReasoningDelta { choice: 0, text }
            } else {
                ChatEvent::TextDelta { choice: 0, text }
            };
            printer.event(&event).unwrap();
        }
        drop(printer);
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn a_terminal_shows_thinking_dimmed_before_the_text() {
        let text = printed(
            true,
            &[(true, "hm"), (true, "m"), (false, "你"), (false, "好")],
        );
        assert_eq!(text, "\x1b[2mhmm\x1b[0m\n\n你好\n");
    }

    #[test]
    fn a_pipe_gets_the_text_alone() {
        assert_eq!(printed(false, &[(true, "hm"), (false, "a\n")]), "a\n");
    }

    #[test]
    fn thinking_that_is_cut_off_does_not_leave_the_terminal_dimmed() {
        assert_eq!(printed(true, &[(true, "hm")]), "\x1b[2mhm\x1b[0m\n");
    }

    #[test]
    fn escape_sequences_do_not_reach_the_terminal() {
        assert_eq!(
            printed(true, &[(false, "a\x1b]0;x\x07b\tc")]),
            "a]0;xb\tc\n"
        );
        assert_eq!(printed(false, &[(false, "\x1b[1m")]), "\x1b[1m\n");
    }
}
