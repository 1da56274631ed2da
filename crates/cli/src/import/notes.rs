//! What is said about an import: what was not carried over, and what made it impossible.

use std::fmt;

/// Something that was not carried over, or not as it was, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Note {
    line: Option<usize>,
    place: String,
    text: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        // A name in the source may hold anything, also what ends a comment.
        f.write_str(&one_line(&format!("{}: {}", self.place, self.text)))
    }
}

/// All notes of an import, in the order of the source.
#[derive(Debug, Default)]
pub(super) struct Notes(Vec<Note>);

impl Notes {
    /// Notes what became of the setting at `place`.
    pub(super) fn add(
        &mut self,
        line: impl Into<Option<usize>>,
        place: impl Into<String>,
        text: impl Into<String>,
    ) {
        let note = Note {
            line: line.into(),
            place: place.into(),
            text: text.into(),
        };
        if !self.0.contains(&note) {
            self.0.push(note);
        }
    }

    /// By lines; what has none comes last.
    pub(super) fn sorted(&self) -> Vec<&Note> {
        let mut notes: Vec<&Note> = self.0.iter().collect();
        notes.sort_by_key(|note| note.line.unwrap_or(usize::MAX));
        notes
    }
}

/// Why a source cannot be read at all.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    /// The line in the source, where one is known.
    pub(super) line: Option<usize>,
    problem: String,
}

impl Mistake {
    pub(super) fn new(line: impl Into<Option<usize>>, problem: impl Into<String>) -> Self {
        Self {
            line: line.into(),
            problem: problem.into(),
        }
    }

    /// The mistake of the setting at `place`.
    pub(super) fn at(line: usize, place: &str, problem: &str) -> Self {
        Self::new(line, format!("{place} {problem}"))
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        f.write_str(&one_line(&self.problem))
    }
}

/// The text with blanks in the place of line ends and other control characters.
pub(super) fn one_line(text: &str) -> String {
    let is_break = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    text.replace(is_break, " ")
}
