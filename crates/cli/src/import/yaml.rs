//! YAML as a tree whose nodes know their lines.
//!
//! Aliases share what they stand for, so that a small file cannot become a large tree.

use std::collections::HashMap;
use std::rc::Rc;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput, Tag};

use super::notes::Mistake;

/// Deeper than any configuration, and shallow enough for the stack.
const MAX_DEPTH: usize = 64;

/// A value and where it stands.
#[derive(Debug)]
pub(super) struct Node {
    /// The line in the file, from 1.
    pub(super) line: usize,
    value: Value,
}

#[derive(Debug)]
enum Value {
    Scalar { text: String, is_plain: bool },
    List(Vec<Rc<Node>>),
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    /// The key's line.
    pub(super) line: usize,
    pub(super) node: Rc<Node>,
}

impl Node {
    /// Reads the one document of a text; an empty text is an empty map.
    pub(super) fn parse(text: &str) -> Result<Rc<Self>, Mistake> {
        let mut parser = Parser::new_from_str(text);
        let mut root = None;
        let mut reader = Reader::default();
        while let Some((event, span)) = next(&mut parser)? {
            match event {
                Event::Nothing
                | Event::StreamStart
                | Event::StreamEnd
                | Event::DocumentStart(_)
                | Event::DocumentEnd => {}
                event if root.is_none() => {
                    root = Some(reader.node(event, span, &mut parser, 0)?);
                }
                _ => return Err(Mistake::new(span.start.line(), "a second document begins")),
            }
        }
        Ok(root.unwrap_or_else(|| {
            Rc::new(Self {
                line: 1,
                value: Value::Map(Vec::new()),
            })
        }))
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        let entry = self.entries().iter().find(|entry| entry.key == key)?;
        Some(&entry.node)
    }

    /// The entries of a map; none of anything else.
    pub(super) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The items of a list; `None` for anything else.
    pub(super) fn items(&self) -> Option<&[Rc<Self>]> {
        match &self.value {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    pub(super) fn is_map(&self) -> bool {
        matches!(self.value, Value::Map(_))
    }

    /// Whether it says nothing: null, or an empty text.
    pub(super) fn is_null(&self) -> bool {
        match &self.value {
            Value::Scalar { text, is_plain } => {
                let is_word = ["~", "null", "Null", "NULL"].contains(&text.as_str());
                text.trim().is_empty() || (*is_plain && is_word)
            }
            _ => false,
        }
    }

    /// The text of a scalar that is not null.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } if !self.is_null() => Some(text),
            _ => None,
        }
    }

    /// A truth value, as YAML 1.1 spells them, which Python's readers follow.
    pub(super) fn truth(&self) -> Option<bool> {
        match self.text()?.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => Some(true),
            "false" | "no" | "off" => Some(false),
            _ => None,
        }
    }

    /// A number that is not negative.
    pub(super) fn number(&self) -> Option<f64> {
        let number: f64 = self.text()?.replace('_', "").parse().ok()?;
        (number.is_finite() && number >= 0.0).then_some(number)
    }
}

fn next<'a>(parser: &mut Parser<'a, StrInput<'a>>) -> Result<Option<(Event<'a>, Span)>, Mistake> {
    parser
        .next_event()
        .transpose()
        .map_err(|error| Mistake::new(error.marker().line(), error.info()))
}

#[derive(Debug, Default)]
struct Reader {
    anchors: HashMap<usize, Rc<Node>>,
}

impl Reader {
    /// The node that begins with `event`.
    fn node<'a>(
        &mut self,
        event: Event<'a>,
        span: Span,
        parser: &mut Parser<'a, StrInput<'a>>,
        depth: usize,
    ) -> Result<Rc<Node>, Mistake> {
        let line = span.start.line();
        if depth > MAX_DEPTH {
            let problem = format!("more than {MAX_DEPTH} levels stand within each other");
            return Err(Mistake::new(line, problem));
        }
        let (value, anchor) = match event {
            Event::Alias(anchor) => {
                let problem = "an alias stands for nothing, or for what it is a part of";
                let known = self.anchors.get(&anchor).cloned();
                return known.ok_or_else(|| Mistake::new(line, problem));
            }
            Event::Scalar(text, style, anchor, tag) => {
                let is_text = tag.as_deref().is_some_and(|tag| tag.suffix == "str");
                check_tag(tag.as_deref(), line)?;
                let value = Value::Scalar {
                    text: text.into_owned(),
                    is_plain: style == ScalarStyle::Plain && !is_text,
                };
                (value, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                check_tag(tag.as_deref(), line)?;
                let mut items = Vec::new();
                while let Some((event, span)) = next(parser)? {
                    if event == Event::SequenceEnd {
                        break;
                    }
                    items.push(self.node(event, span, parser, depth + 1)?);
                }
                (Value::List(items), anchor)
            }
            Event::MappingStart(anchor, tag) => {
                check_tag(tag.as_deref(), line)?;
                (Value::Map(self.map(parser, depth)?), anchor)
            }
            other => return Err(Mistake::new(line, format!("{other:?} is out of place"))),
        };
        let node = Rc::new(Node { line, value });
        if anchor != 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        Ok(node)
    }

    /// The entries of a map up to its end, with those that `<<` merges in.
    fn map<'a>(
        &mut self,
        parser: &mut Parser<'a, StrInput<'a>>,
        depth: usize,
    ) -> Result<Vec<Entry>, Mistake> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut merged: Vec<Entry> = Vec::new();
        while let Some((event, span)) = next(parser)? {
            if event == Event::MappingEnd {
                break;
            }
            let key = self.node(event, span, parser, depth + 1)?;
            let Value::Scalar { text, .. } = &key.value else {
                return Err(Mistake::new(key.line, "a key is no plain text"));
            };
            let Some((event, span)) = next(parser)? else {
                break;
            };
            let node = self.node(event, span, parser, depth + 1)?;
            if text == "<<" {
                match &node.value {
                    Value::List(items) => {
                        merged.extend(items.iter().flat_map(|item| item.entries()).cloned());
                    }
                    _ => merged.extend(node.entries().iter().cloned()),
                }
                continue;
            }
            if entries.iter().any(|entry| entry.key == *text) {
                return Err(Mistake::new(key.line, format!("`{text}` stands twice")));
            }
            entries.push(Entry {
                key: text.clone(),
                line: key.line,
                node,
            });
        }
        for entry in merged {
            if entries.iter().all(|own| own.key != entry.key) {
                entries.push(entry);
            }
        }
        Ok(entries)
    }
}

/// Tags of YAML itself say what is visible anyway; others mean something to one program only.
fn check_tag(tag: Option<&Tag>, line: usize) -> Result<(), Mistake> {
    match tag {
        Some(tag) if !tag.is_yaml_core_schema() => {
            Err(Mistake::new(line, format!("the tag {tag} is not known")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_know_their_lines_through_anchors_and_merges() {
        let text = "base: &base\n  rpm: 60\n  模型: 通义\nuse:\n  <<: *base\n  rpm: 1_000\n";
        let root = Node::parse(text).unwrap();
        let used = root.get("use").unwrap();
        assert_eq!(used.get("rpm").unwrap().number(), Some(1000.0));
        assert_eq!(used.get("模型").unwrap().text(), Some("通义"));
        assert_eq!(used.get("模型").unwrap().line, 3);
    }

    #[test]
    fn quoted_words_are_texts_and_plain_ones_may_be_nothing() {
        let root = Node::parse("a: ~\nb: \"~\"\nc: !!str null\nd: Yes\n").unwrap();
        assert!(root.get("a").unwrap().is_null());
        assert_eq!(root.get("b").unwrap().text(), Some("~"));
        assert_eq!(root.get("c").unwrap().text(), Some("null"));
        assert_eq!(root.get("d").unwrap().truth(), Some(true));
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_its_line() {
        let deep = format!("a: {}", "[".repeat(100));
        for (text, line) in [
            ("a: 1\nb: [1\nc: 2\n", 3),
            ("a: 1\na: 2\n", 2),
            ("a: 1\nb: *nothing\n", 2),
            ("a: !ENV x\n", 1),
            ("a: 1\n---\nb: 2\n", 3),
            (deep.as_str(), 1),
        ] {
            let mistake = Node::parse(text).unwrap_err();
            assert_eq!(mistake.line, Some(line), "{text}: {mistake:?}");
        }
    }

    #[test]
    fn aliases_of_aliases_stay_small() {
        let mut text = "a0: &a0 [x, x]\n".to_owned();
        for level in 1..60 {
            let before = level - 1;
            let line = format!("a{level}: &a{level} [*a{before}, *a{before}]\n");
            text.push_str(&line);
        }
        assert_eq!(Node::parse(&text).unwrap().entries().len(), 60);
    }
}
