//! Tokens of a request body, in one pass over its bytes.

use std::borrow::Cow;

use super::estimate_text;

/// What the chat template adds to a message: its role and its marks.
const MESSAGE: u64 = 5;
/// A picture of usual size, a short recording and a short video. What they really cost depends on
/// pixels and seconds that only the service sees; the lane learns from what it reports.
const IMAGE: u64 = 1_200;
const AUDIO: u64 = 400;
const VIDEO: u64 = 4_000;
/// No model reads more.
const MOST_INPUT: u64 = 1_000_000;
/// What nests deeper is not looked into.
const DEEPEST: usize = 64;
/// A longer word without any blank is no text but data.
const LONGEST_WORD: usize = 1024;

/// What a request body is estimated to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestEstimate {
    /// Input tokens, all together.
    pub input_tokens: u64,
    /// Pictures, recordings and videos among the input.
    pub media: u64,
}

/// Estimates a request of any dialect: the texts of its messages or of its input, its tools, and a
/// flat figure for each picture, recording or video. Data and addresses are no text.
///
/// A body that is no JSON object is judged by its bytes.
///
/// ```
/// use bailian_wire::tokens::estimate_request;
///
/// let body = r#"{"model":"qwen-plus","messages":[{"role":"user","content":"你好，请介绍一下杭州"}]}"#;
/// let estimate = estimate_request(body.as_bytes());
/// assert!((10..=16).contains(&estimate.input_tokens));
/// ```
pub fn estimate_request(body: &[u8]) -> RequestEstimate {
    let Ok(text) = std::str::from_utf8(body) else {
        return estimate_bytes(body);
    };
    let mut scan = Scan {
        text,
        at: 0,
        estimate: RequestEstimate::default(),
    };
    match scan.value(Place::default()) {
        Some(()) if text.trim_start().starts_with('{') => {
            let tokens = &mut scan.estimate.input_tokens;
            *tokens = (*tokens).min(MOST_INPUT);
            scan.estimate
        }
        _ => estimate_bytes(body),
    }
}

/// A rough estimate that costs next to nothing: about four bytes of ASCII, or one and a half Chinese
/// characters, are a token. For where nobody limits tokens.
pub fn estimate_bytes(body: &[u8]) -> RequestEstimate {
    let mut count = ByteCount::default();
    count.add(body);
    RequestEstimate {
        input_tokens: count.tokens().min(MOST_INPUT),
        media: 0,
    }
}

/// Bytes of UTF-8 by their kind: what tokens are estimated from where nobody looks at words. Text may
/// come in pieces of any size.
///
/// ```
/// use bailian_wire::tokens::ByteCount;
///
/// let mut count = ByteCount::default();
/// count.add("让我想想。".as_bytes());
/// count.add(b" First, the units.");
/// assert!((6..=9).contains(&count.tokens()));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByteCount {
    ascii: u64,
    other: u64,
}

impl ByteCount {
    /// Counts a piece.
    pub fn add(&mut self, piece: &[u8]) {
        // Sums of so few bits fit into a byte, and such sums compilers make fast.
        let sums = piece
            .chunks(255)
            .map(|chunk| chunk.iter().map(|byte| byte >> 7).sum::<u8>());
        let other: u64 = sums.map(u64::from).sum();
        self.other += other;
        self.ascii += piece.len() as u64 - other;
    }

    /// The tokens of all pieces.
    pub fn tokens(self) -> u64 {
        self.ascii / 4 + self.other * 2 / 9
    }
}

/// Where in the body a value stands.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    depth: usize,
    kind: Kind,
}

/// What a member's name says of its value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    /// A name, a switch, or something unknown: no text for the model.
    #[default]
    Other,
    Text,
    Image,
    Audio,
    Video,
    /// Shown to the model as JSON.
    Tools,
}

impl Kind {
    /// By the member's name, and for a name that says nothing as its surroundings.
    fn of(name: &str, around: Self) -> Self {
        match name {
            "content" | "text" | "prompt" | "input" | "query" | "documents" | "texts"
            | "system" | "messages" | "instructions" | "history" | "user" | "bot"
            | "reasoning_content" | "contents" | "suffix" => Self::Text,
            "image" | "image_url" | "images" => Self::Image,
            "audio" | "input_audio" | "audio_url" => Self::Audio,
            "video" | "video_url" => Self::Video,
            "tools" | "functions" | "tool_calls" | "function_call" | "json_schema" => Self::Tools,
            "url" | "data" | "source" => around,
            _ => Self::Other,
        }
    }
}

struct Scan<'a> {
    text: &'a str,
    at: usize,
    estimate: RequestEstimate,
}

impl<'a> Scan<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blanks(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    /// One value; `None` where this is no JSON.
    fn value(&mut self, place: Place) -> Option<()> {
        self.blanks();
        if place.depth > DEEPEST {
            return self.skip().map(drop);
        }
        if place.kind == Kind::Tools {
            let tools = self.skip()?;
            self.estimate.input_tokens += estimate_text(&unescaped(tools));
            return Some(());
        }
        match self.peek()? {
            b'{' => self.object(place),
            b'[' => self.array(place),
            b'"' => {
                let string = self.string()?;
                self.count(string, place.kind);
                Some(())
            }
            _ => self.skip().map(drop),
        }
    }

    fn object(&mut self, place: Place) -> Option<()> {
        self.at += 1;
        loop {
            self.blanks();
            match self.peek()? {
                b'}' => {
                    self.at += 1;
                    return Some(());
                }
                b',' => self.at += 1,
                b'"' => {
                    let name = self.string()?;
                    self.blanks();
                    if self.peek()? != b':' {
                        return None;
                    }
                    self.at += 1;
                    if name == "role" {
                        self.estimate.input_tokens += MESSAGE;
                    }
                    self.value(Place {
                        depth: place.depth + 1,
                        kind: Kind::of(name, place.kind),
                    })?;
                }
                _ => return None,
            }
        }
    }

    fn array(&mut self, place: Place) -> Option<()> {
        self.at += 1;
        loop {
            self.blanks();
            match self.peek()? {
                b']' => {
                    self.at += 1;
                    return Some(());
                }
                b',' => self.at += 1,
                _ => self.value(Place {
                    depth: place.depth + 1,
                    kind: place.kind,
                })?,
            }
        }
    }

    /// A string's inside, with its escapes.
    fn string(&mut self) -> Option<&'a str> {
        let start = self.at + 1;
        let mut at = start;
        loop {
            let rest = self.text.as_bytes().get(at..)?;
            at += memchr::memchr2(b'"', b'\\', rest)?;
            if self.text.as_bytes().get(at) == Some(&b'"') {
                break;
            }
            at += 2;
        }
        self.at = at + 1;
        self.text.get(start..at)
    }

    /// Passes over a value and returns its text.
    fn skip(&mut self) -> Option<&'a str> {
        let start = self.at;
        let mut depth = 0usize;
        loop {
            match self.peek()? {
                b'"' => {
                    self.string()?;
                }
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' if depth > 0 => {
                    depth -= 1;
                    self.at += 1;
                }
                b',' | b'}' | b']' if depth == 0 => return self.text.get(start..self.at),
                _ => self.at += 1,
            }
            if depth == 0
                && matches!(
                    self.text.as_bytes().get(self.at.wrapping_sub(1)),
                    Some(b'"' | b'}' | b']')
                )
            {
                return self.text.get(start..self.at);
            }
        }
    }

    fn count(&mut self, string: &str, kind: Kind) {
        let flat = match kind {
            Kind::Image => IMAGE,
            Kind::Audio => AUDIO,
            Kind::Video => VIDEO,
            Kind::Text if is_data(string) => 0,
            Kind::Text => {
                self.estimate.input_tokens += estimate_text(&unescaped(string));
                return;
            }
            Kind::Other | Kind::Tools => return,
        };
        // Formats and levels of detail are short words, and no media.
        if is_data(string) || string.contains("://") {
            self.estimate.input_tokens += flat;
            self.estimate.media += 1;
        }
    }
}

/// Encoded bytes instead of words.
fn is_data(string: &str) -> bool {
    if string.starts_with("data:") {
        return true;
    }
    let head = string.as_bytes().get(..LONGEST_WORD);
    head.is_some_and(|head| {
        head.iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+/=-_".contains(byte))
    })
}

/// What a JSON string's inside stands for; escapes that are none stay as they are.
fn unescaped(inside: &str) -> Cow<'_, str> {
    if memchr::memchr(b'\\', inside.as_bytes()).is_none() {
        return Cow::Borrowed(inside);
    }
    let mut text = String::with_capacity(inside.len());
    let mut rest = inside;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        text.push_str(rest.get(..at).unwrap_or_default());
        let code = rest.as_bytes().get(at + 1).copied();
        let (c, length) = match code {
            Some(b'n') => ('\n', 2),
            Some(b't') => ('\t', 2),
            Some(b'r') => ('\r', 2),
            Some(b'u') => escaped_char(rest.get(at..).unwrap_or_default()),
            Some(byte) if byte.is_ascii() => (char::from(byte), 2),
            _ => ('\\', 1),
        };
        text.push(c);
        rest = rest.get(at + length..).unwrap_or_default();
    }
    text.push_str(rest);
    Cow::Owned(text)
}

/// The character of `\\u4f60`, or of two of them for one outside the basic plane, and their length.
fn escaped_char(escape: &str) -> (char, usize) {
    let unit = |at: usize| {
        let digits = escape.get(at..)?.strip_prefix("\\u")?.get(..4)?;
        u32::from_str_radix(digits, 16).ok()
    };
    match (unit(0), unit(6)) {
        (Some(high @ 0xd800..=0xdbff), Some(low @ 0xdc00..=0xdfff)) => {
            let code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
            (char::from_u32(code).unwrap_or('\u{fffd}'), 12)
        }
        (Some(code), _) => (char::from_u32(code).unwrap_or('\u{fffd}'), 6),
        (None, _) => ('u', 2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tokens(body: &str) -> u64 {
        estimate_request(body.as_bytes()).input_tokens
    }

    #[test]
    fn the_same_text_costs_about_the_same_in_every_dialect_and_spelling() {
        let plain = r#"{"messages":[{"role":"user","content":"你好，请介绍杭州。"}],"model":"m"}"#;
        let native = r#"{"model":"m","input":{"messages":[{"role":"user","content":[{"text":"你好，请介绍杭州。"}]}]},"parameters":{"max_tokens":5}}"#;
        let parts = r#"{"messages":[{"content":[{"type":"text","text":"你好，请介绍杭州。"}],"role":"user"}]}"#;
        let escaped = r#"{"messages":[{"role":"user","content":"\u4f60\u597d\uff0c\u8bf7\u4ecb\u7ecd\u676d\u5dde\u3002"}]}"#;
        let embedding = r#"{"model":"e","input":["你好，请介绍杭州。"]}"#;
        for body in [native, parts, escaped] {
            assert_eq!(tokens(body), tokens(plain), "{body}");
        }
        assert_eq!(tokens(embedding) + MESSAGE, tokens(plain));
    }

    #[test]
    fn media_cost_a_flat_figure_however_long_their_data() {
        let image = |url: &str| {
            format!(
                r#"{{"messages":[{{"role":"user","content":[{{"type":"image_url","image_url":{{"url":"{url}","detail":"high"}}}},{{"type":"text","text":"What?"}}]}}]}}"#
            )
        };
        let data = format!("data:image/png;base64,{}", "iVBORw0KGgo".repeat(50_000));
        let here = estimate_request(image(&data).as_bytes());
        let there = estimate_request(image("https://example.com/a.png").as_bytes());
        assert_eq!(here, there);
        assert_eq!(here.media, 1);
        assert!((IMAGE..IMAGE + 20).contains(&here.input_tokens));
        let native = r#"{"input":{"messages":[{"role":"user","content":[{"image":"oss://b/c.png"},{"video":["https://a/1.jpg"]},{"audio":"https://a/b.wav"}]}]}}"#;
        assert_eq!(estimate_request(native.as_bytes()).media, 3);
        let sound = format!(
            r#"{{"messages":[{{"role":"user","content":[{{"type":"input_audio","input_audio":{{"data":"{}","format":"wav"}}}}]}}]}}"#,
            "UklGR".repeat(1000)
        );
        assert_eq!(estimate_request(sound.as_bytes()).media, 1);
    }

    #[test]
    fn tools_and_calls_count_as_the_json_that_the_model_sees() {
        let tools = r#"[{"type":"function","function":{"name":"get_weather","description":"Get the weather of a city","parameters":{"type":"object","properties":{"city":{"type":"string"}}}}}]"#;
        let body = format!(r#"{{"messages":[{{"role":"user","content":"hi"}}],"tools":{tools}}}"#);
        let with = tokens(&body);
        let without = tokens(r#"{"messages":[{"role":"user","content":"hi"}]}"#);
        assert_eq!(with - without, estimate_text(tools));
    }

    #[test]
    fn what_is_no_object_is_judged_by_its_bytes() {
        assert_eq!(tokens(""), 0);
        assert_eq!(tokens(&"a".repeat(4_000)), 1_000);
        assert_eq!(tokens(&"长".repeat(3_000)), 2_000);
        assert_eq!(estimate_request(&[0xff; 900]).input_tokens, 200);
    }

    #[test]
    fn deep_nesting_is_passed_over() {
        let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
        let body = format!(r#"{{"x":{deep},"messages":[{{"role":"user","content":"hello"}}]}}"#);
        assert_eq!(tokens(&body), MESSAGE + 1);
    }

    proptest! {
        #[test]
        fn any_bytes_are_estimated(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            estimate_request(&bytes);
        }

        #[test]
        fn any_text_in_a_body_costs_what_it_costs_alone(text in "\\PC{0,200}") {
            prop_assume!(!is_data(&text));
            let body = serde_json::json!({ "messages": [{ "role": "user", "content": text }] });
            prop_assert_eq!(tokens(&body.to_string()), MESSAGE + estimate_text(&text));
        }
    }
}
