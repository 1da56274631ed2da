//! Tokens of a text by the shapes of its words.

/// Estimated tokens of a text in Qwen's vocabulary.
///
/// ```
/// use bailian_wire::tokens::estimate_text;
///
/// assert_eq!(estimate_text("Hello, world!"), 4);
/// assert_eq!(estimate_text(""), 0);
/// assert!((8..=16).contains(&estimate_text("杭州是浙江省的省会，也是著名的旅游城市。")));
/// ```
pub fn estimate_text(text: &str) -> u64 {
    let mut counter = TextCounter::default();
    counter.push_str(text);
    counter.finish()
}

/// Thousandths of a token.
type Milli = u64;

/// A lower-case or capitalised word of so many letters: frequent ones are one token.
const WORD: [Milli; 17] = [
    0, 1000, 1000, 1000, 1000, 1030, 1080, 1120, 1180, 1250, 1350, 1450, 1600, 1800, 2000, 2200,
    2450,
];
/// Each letter beyond those.
const LONG_WORD_LETTER: Milli = 190;
/// A letter of a word in capitals, and the least that such a word costs.
const CAPITAL: Milli = 430;
/// The next part of a camelCase name.
const CAMEL_PART: Milli = 900;
/// A digit is always a token of its own.
const DIGIT: Milli = 1000;
/// Blanks before a word belong to it; more of them are one token together.
const INDENT: Milli = 1000;
const LINE_BREAK: Milli = 1000;
/// After a sign the line break belongs to it nearly always.
const LINE_BREAK_AFTER_SIGN: Milli = 150;
/// The first sign of a run, and each that follows.
const SIGN: Milli = 960;
const NEXT_SIGN: Milli = 350;
/// What a sign saves that stands right before a word: `.name` and `_name` are often one token.
const JOINED: Milli = 450;
/// One Chinese character; words of two or more are often one token.
const HAN: Milli = 660;
const HAN_SIGN: Milli = 900;
const KANA: Milli = 760;
const HANGUL: Milli = 900;
const CYRILLIC: Milli = 430;
const GREEK: Milli = 800;
const ARABIC: Milli = 560;
const HEBREW: Milli = 800;
const THAI: Milli = 750;
const INDIC: Milli = 1100;
/// A letter such as é inside a word.
const ACCENTED: Milli = 700;
const EMOJI: Milli = 1900;
const OTHER: Milli = 1500;

/// What came last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Run {
    #[default]
    Nothing,
    Word,
    Blank,
    LineBreak,
    Sign,
    Other,
}

/// Counts a text that comes in pieces.
#[derive(Debug, Default)]
pub(super) struct TextCounter {
    milli: Milli,
    run: Run,
    /// Letters of the word, or length of the run.
    length: usize,
    capitals: usize,
    /// The last letter was a small one.
    small: bool,
}

impl TextCounter {
    pub(super) fn push_str(&mut self, text: &str) {
        for c in text.chars() {
            self.push(c);
        }
    }

    pub(super) fn push(&mut self, c: char) {
        match c {
            'a'..='z' => self.letter(true),
            'A'..='Z' => self.letter(false),
            '0'..='9' => self.single(DIGIT),
            ' ' | '\t' => self.continue_run(Run::Blank),
            '\n' | '\r' => self.line_break(),
            '\0'..='\x7f' => self.sign(),
            _ => self.wide(c),
        }
    }

    /// The sum so far, rounded.
    pub(super) fn finish(mut self) -> u64 {
        self.end_run();
        (self.milli + 500) / 1000
    }

    fn letter(&mut self, small: bool) {
        if self.run == Run::Word && self.small && !small {
            // The next part of a camelCase name.
            self.end_run();
            self.milli = self.milli.saturating_sub(1000 - CAMEL_PART);
        }
        if self.run == Run::Sign {
            self.milli = self.milli.saturating_sub(JOINED);
        }
        self.continue_run(Run::Word);
        self.capitals += usize::from(!small);
        self.small = small;
    }

    fn sign(&mut self) {
        let is_next = self.run == Run::Sign;
        self.continue_run(Run::Sign);
        self.milli += if is_next { NEXT_SIGN } else { SIGN };
    }

    fn line_break(&mut self) {
        match self.run {
            Run::LineBreak => {}
            Run::Sign => {
                self.milli += LINE_BREAK_AFTER_SIGN;
                self.start(Run::LineBreak);
            }
            _ => {
                self.end_run();
                self.milli += LINE_BREAK;
                self.start(Run::LineBreak);
            }
        }
    }

    fn wide(&mut self, c: char) {
        let cost = match c {
            '\u{4e00}'..='\u{9fff}' | '\u{3400}'..='\u{4dbf}' => HAN,
            '\u{3000}'..='\u{303f}' | '\u{ff00}'..='\u{ff65}' | '\u{2010}'..='\u{2027}' => HAN_SIGN,
            '\u{3040}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' => KANA,
            '\u{ac00}'..='\u{d7af}' | '\u{1100}'..='\u{11ff}' => HANGUL,
            '\u{0400}'..='\u{052f}' => CYRILLIC,
            '\u{0370}'..='\u{03ff}' => GREEK,
            '\u{0600}'..='\u{06ff}' => ARABIC,
            '\u{0590}'..='\u{05ff}' => HEBREW,
            '\u{0e00}'..='\u{0e7f}' => THAI,
            '\u{0900}'..='\u{0dff}' => INDIC,
            '\u{0080}'..='\u{024f}' | '\u{1e00}'..='\u{1eff}' => ACCENTED,
            '\u{1f000}'..='\u{1faff}' | '\u{2600}'..='\u{27bf}' => EMOJI,
            _ => OTHER,
        };
        self.single(cost);
    }

    fn single(&mut self, cost: Milli) {
        self.end_run();
        self.start(Run::Other);
        self.milli += cost;
    }

    fn start(&mut self, run: Run) {
        self.run = run;
        self.length = 0;
        self.capitals = 0;
        self.small = false;
    }

    fn continue_run(&mut self, run: Run) {
        if self.run != run {
            self.end_run();
            self.start(run);
        }
        self.length += 1;
    }

    /// Adds what a finished run costs as a whole.
    fn end_run(&mut self) {
        match self.run {
            Run::Word if self.capitals > 1 && self.capitals == self.length => {
                self.milli += (self.length as Milli * CAPITAL).max(1000);
            }
            Run::Word => {
                let last = WORD.len() - 1;
                let beyond = self.length.saturating_sub(last) as Milli;
                self.milli += WORD[self.length.min(last)] + beyond * LONG_WORD_LETTER;
            }
            Run::Blank if self.length > 1 => self.milli += INDENT,
            _ => {}
        }
    }
}
