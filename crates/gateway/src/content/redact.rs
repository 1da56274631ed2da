//! Takes out of a text what nobody is to read later: keys, addresses, numbers of persons.

mod numbers;

use std::borrow::Cow;
use std::fmt::Write as _;

use regex::Regex;
use serde_json::{Map, Value};

use crate::config::RedactPattern;

/// Keys by their form: this gateway's, model services', those of clouds, bearer tokens, JSON web
/// tokens. Boundaries are ASCII's, since Chinese stands beside a key without a blank.
const KEYS: &str = r"(?x)
    (?i:bearer)\s+[A-Za-z0-9._~+/=-]{8,}
    | (?-u:\b)(?:sk|pk|rk|bl|ghp|gho|xoxb|xoxp)[-_][A-Za-z0-9_-]{12,}
    | (?-u:\b)(?:AKIA[0-9A-Z]{16} | LTAI[A-Za-z0-9]{12,30})
    | (?-u:\b)eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?";

const EMAIL: &str = r"[A-Za-z0-9._%+-]{1,64}[@＠][A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})+";

/// What is taken out, and what stands in its place.
#[derive(Debug)]
pub(super) struct Redactor {
    own: Vec<RedactPattern>,
    keys: Regex,
    email: Regex,
}

impl Redactor {
    /// What is known everywhere, and the operator's own.
    pub(super) fn new(own: Vec<RedactPattern>) -> Result<Self, regex::Error> {
        Ok(Self {
            own,
            keys: Regex::new(KEYS)?,
            email: Regex::new(EMAIL)?,
        })
    }

    /// Redacts JSON value by value, so that it stays JSON, and all else as text.
    pub(super) fn document(&self, text: &str) -> String {
        match serde_json::from_str::<Value>(text) {
            Ok(mut value) => {
                self.value(&mut value);
                value.to_string()
            }
            Err(_) => self.text(text),
        }
    }

    /// Redacts all texts and whole numbers in a value, also where they are names of members.
    pub(super) fn value(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.text(text),
            Value::Number(number) if !number.is_f64() => {
                let before = number.to_string();
                let after = self.text(&before);
                if after != before {
                    *value = Value::String(after);
                }
            }
            Value::Array(values) => values.iter_mut().for_each(|value| self.value(value)),
            Value::Object(members) => {
                let taken = std::mem::take(members);
                let redacted = taken.into_iter().map(|(name, mut value)| {
                    self.value(&mut value);
                    (self.text(&name), value)
                });
                *members = redacted.collect::<Map<_, _>>();
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// Redacts a text.
    pub(super) fn text(&self, text: &str) -> String {
        let mut text = spelled_out(text);
        for RedactPattern { name, pattern } in &self.own {
            replace(&mut text, pattern, name);
        }
        replace(&mut text, &self.keys, "key");
        replace(&mut text, &self.email, "email");
        numbers::redact(&text).into_owned()
    }
}

fn replace(text: &mut Cow<'_, str>, pattern: &Regex, name: &str) {
    let mut replacement = String::with_capacity(name.len() + 2);
    // Writing into a text does not fail.
    let _ = write!(replacement, "[{name}]");
    let replaced = pattern.replace_all(text, regex::NoExpand(&replacement));
    if let Cow::Owned(replaced) = replaced {
        *text = Cow::Owned(replaced);
    }
}

/// The text with characters in the place of JSON's escapes (`\u624b`): their digits would stand
/// beside those of a number. Escapes that keep JSON in form stay.
fn spelled_out(text: &str) -> Cow<'_, str> {
    const ESCAPE: &str = "\\u";
    let unit = |text: &str| {
        let digits = text.strip_prefix(ESCAPE)?.get(..4)?;
        let are_digits = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        u16::from_str_radix(digits, 16).ok().filter(|_| are_digits)
    };
    if !text.contains(ESCAPE) {
        return Cow::Borrowed(text);
    }
    let mut spelled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(ESCAPE) {
        spelled.push_str(&rest[..at]);
        rest = &rest[at..];
        // A character beyond the first 65536 takes two.
        let units = [unit(rest), rest.get(6..).and_then(unit)];
        let taken = match units {
            [Some(first), second] => {
                let pair = [first, second.unwrap_or_default()];
                let mut decoded = char::decode_utf16(pair);
                decoded
                    .next()
                    .and_then(Result::ok)
                    .map(|char| (char, char.len_utf16() * 6))
            }
            [None, _] => None,
        };
        let passes = |char: char| !char.is_control() && char != '"' && char != '\\';
        match taken.filter(|(char, _)| passes(*char)) {
            Some((char, length)) => {
                spelled.push(char);
                rest = &rest[length..];
            }
            None => {
                spelled.push_str(ESCAPE);
                rest = &rest[ESCAPE.len()..];
            }
        }
    }
    spelled.push_str(rest);
    Cow::Owned(spelled)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn redactor() -> Redactor {
        let own = RedactPattern {
            name: "case".into(),
            pattern: Regex::new(r"案号\d+").unwrap(),
        };
        Redactor::new(vec![own]).unwrap()
    }

    #[test]
    fn keys_and_addresses_are_taken_out_beside_chinese_without_blanks() {
        for (text, redacted) in [
            ("密钥sk-0123456789abcdef，勿传", "密钥[key]，勿传"),
            (
                "用bl-k7Qp2mXa-0123456789012345678901234567890123456789012abcdef登录",
                "用[key]登录",
            ),
            (
                "Authorization: Bearer abc.DEF-123_456",
                "Authorization: [key]",
            ),
            (
                "令牌eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-_1。",
                "令牌[key]。",
            ),
            ("LTAI5tQnKxYzAbCdEfGh1234的密码", "[key]的密码"),
            (
                "请发到zhang.san+a@mail.example.com.cn谢谢",
                "请发到[email]谢谢",
            ),
            (
                "task-force, desk-abcdefghijklm",
                "task-force, desk-abcdefghijklm",
            ),
            ("见案号20261127。", "见[case]。"),
        ] {
            assert_eq!(redactor().text(text), redacted);
        }
    }

    #[test]
    fn json_stays_json_and_loses_what_stands_in_any_of_its_values() {
        let body = json!({
            "messages": [{ "role": "user", "content": "我的手机是13800138000，\n邮箱a@b.cn" }],
            "user": 13_912_345_678_u64, "temperature": 0.139_123_456_78, "13700137000": true,
            "created": 1_795_000_000_u64,
        });
        // Every character beyond ASCII escaped, as many programs write it.
        let mut escaped = String::new();
        for unit in body.to_string().encode_utf16() {
            match u8::try_from(unit) {
                Ok(byte) if byte.is_ascii() => escaped.push(char::from(byte)),
                _ => write!(escaped, "\\u{unit:04x}").unwrap(),
            }
        }
        for text in [body.to_string(), escaped] {
            let redacted: Value = serde_json::from_str(&redactor().document(&text)).unwrap();
            assert_eq!(
                redacted,
                json!({
                    "messages": [{ "role": "user", "content": "我的手机是[phone]，\n邮箱[email]" }],
                    "user": "[phone]", "temperature": 0.139_123_456_78, "[phone]": true,
                    "created": 1_795_000_000_u64,
                })
            );
        }
    }

    #[test]
    fn what_breaks_off_is_redacted_whatever_its_escapes() {
        let cut = r#"{"content":"\u7535\u8bdd\u7535138001380000 \u753513800138000\u3002a\u0040b.cn \u0022 \ud83d\ude00 \ud83d"#;
        let redacted = redactor().document(cut);
        assert_eq!(
            redacted,
            r#"{"content":"电话电138001380000 电[phone]。[email] \u0022 😀 \ud83d"#
        );
    }
}
