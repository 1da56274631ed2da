//! Numbers that are a person's: telephones, identity cards, bank cards.

use std::borrow::Cow;

/// The most groups of digits that one number is written in.
const MOST_GROUPS: usize = 8;
/// The most digits of one number, with the prefix of a country.
const MOST_DIGITS: usize = 19;
/// Texts with fewer digits hold none of them.
const FEWEST_DIGITS: usize = 8;

/// Digits without anything between them.
struct Group {
    start: usize,
    end: usize,
    /// As ASCII; perhaps with the `X` that identity cards can end with.
    digits: String,
    /// Only a blank, a hyphen or a bracket is between it and the group before.
    follows: bool,
    /// A `+` stands before it.
    has_plus: bool,
    /// It is what follows a decimal point.
    is_fraction: bool,
}

/// Replaces every such number by what it is.
pub(super) fn redact(text: &str) -> Cow<'_, str> {
    let digits = text.chars().filter_map(digit).take(FEWEST_DIGITS).count();
    if digits < FEWEST_DIGITS {
        return Cow::Borrowed(text);
    }
    let groups = groups(text);
    let mut redacted = String::new();
    let mut done = 0;
    let mut at = 0;
    while let Some(first) = groups.get(at) {
        match number_at(&groups[at..]) {
            Some((kind, length)) => {
                let end = groups[at + length - 1].end;
                let start = first.start - usize::from(first.has_plus);
                redacted.push_str(text.get(done..start).unwrap_or_default());
                redacted.push_str(kind);
                done = end;
                at += length;
            }
            None => at += 1,
        }
    }
    if done == 0 {
        return Cow::Borrowed(text);
    }
    redacted.push_str(text.get(done..).unwrap_or_default());
    Cow::Owned(redacted)
}

/// The longest number that begins with the first group, and how many groups it has.
fn number_at(groups: &[Group]) -> Option<(&'static str, usize)> {
    let first = groups.first().filter(|first| !first.is_fraction)?;
    let joined = groups[1..].iter().take_while(|group| group.follows).count();
    let most = (joined + 1).min(MOST_GROUPS);
    let mut digits = String::new();
    let mut lengths = Vec::with_capacity(most);
    let mut found = None;
    for group in &groups[..most] {
        digits.push_str(&group.digits);
        if digits.len() > MOST_DIGITS {
            break;
        }
        lengths.push(group.digits.len());
        if let Some(kind) = kind(&digits, &lengths, first.has_plus) {
            found = Some((kind, lengths.len()));
        }
    }
    found
}

fn kind(digits: &str, lengths: &[usize], has_plus: bool) -> Option<&'static str> {
    if is_identity_card(digits.as_bytes()) {
        return Some("[id_card]");
    }
    let digits = digits.trim_end_matches('X');
    if is_telephone(digits, lengths, has_plus) {
        return Some("[phone]");
    }
    (is_grouped_as_card(lengths) && is_bank_card(digits.as_bytes())).then_some("[bank_card]")
}

fn groups(text: &str) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut chars = text.char_indices().peekable();
    // The two characters before.
    let (mut before, mut last) = ('\0', '\0');
    while let Some((start, char)) = chars.next() {
        let Some(first) = digit(char) else {
            (before, last) = (last, char);
            continue;
        };
        let mut digits = String::from(first);
        let mut end = start + char.len_utf8();
        while let Some((at, char, next)) = chars
            .peek()
            .and_then(|(at, char)| Some((*at, *char, digit(*char)?)))
        {
            digits.push(next);
            end = at + char.len_utf8();
            chars.next();
        }
        let rest = &text[end..];
        let mut following = rest.chars();
        if let Some(mark @ ('x' | 'X' | 'ｘ' | 'Ｘ')) = following.next()
            && !following
                .next()
                .is_some_and(|next| next.is_ascii_alphanumeric())
        {
            digits.push('X');
            end += mark.len_utf8();
            chars.next();
        }
        let between = groups.last().and_then(|group| text.get(group.end..start));
        let follows = between.is_some_and(|between| {
            let count = between.chars().count();
            (1..=2).contains(&count) && between.chars().all(is_separator)
        });
        groups.push(Group {
            start,
            end,
            digits,
            follows,
            has_plus: last == '+',
            is_fraction: last == '.' && before.is_ascii_digit(),
        });
        (before, last) = ('0', '0');
    }
    groups
}

/// A digit as ASCII; Chinese keyboards write wide ones, too.
fn digit(char: char) -> Option<char> {
    match char {
        '0'..='9' => Some(char),
        '０'..='９' => char::from_digit(u32::from(char) - u32::from('０'), 10),
        _ => None,
    }
}

fn is_separator(char: char) -> bool {
    matches!(
        char,
        ' ' | '\u{a0}' | '\u{3000}' | '-' | '\u{2010}'
            ..='\u{2014}' | '－' | '(' | ')' | '（' | '）'
    )
}

/// A mobile number of China; one of a land line there with its area; one of anywhere that begins
/// with `+`; ten digits written in three groups as in North America.
fn is_telephone(digits: &str, lengths: &[usize], has_plus: bool) -> bool {
    let of_china = digits.strip_prefix("0086").or(digits.strip_prefix("86"));
    let is_mobile = |digits: &str| {
        let mut first = digits.bytes();
        digits.len() == 11
            && first.next() == Some(b'1')
            && first.next().is_some_and(|second| second >= b'3')
    };
    let is_land_line = |digits: &str| {
        (10..=12).contains(&digits.len()) && digits.starts_with('0') && !digits.starts_with("00")
    };
    is_mobile(digits)
        || of_china.is_some_and(is_mobile)
        || is_land_line(digits)
        || (has_plus && (8..=15).contains(&digits.len()))
        || lengths == [3, 3, 4]
}

/// A resident identity card of China (GB 11643): area, birthday, order, check character.
fn is_identity_card(digits: &[u8]) -> bool {
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    const CHECKS: &[u8; 11] = b"10X98765432";
    let Some((check, body)) = digits.split_last().filter(|_| digits.len() == 18) else {
        return false;
    };
    let number = |range: std::ops::Range<usize>| {
        let text = digits
            .get(range)
            .and_then(|it| std::str::from_utf8(it).ok());
        text.and_then(|text| text.parse::<u32>().ok())
    };
    let is_day = number(6..10).is_some_and(|year| (1800..=2199).contains(&year))
        && number(10..12).is_some_and(|month| (1..=12).contains(&month))
        && number(12..14).is_some_and(|day| (1..=31).contains(&day));
    let products = body.iter().zip(WEIGHTS);
    let sum: u32 = products
        .map(|(digit, weight)| u32::from(digit.wrapping_sub(b'0')) * weight)
        .sum();
    is_day && CHECKS.get(sum as usize % 11) == Some(check)
}

/// In one piece, in fours, or as American Express writes them.
fn is_grouped_as_card(lengths: &[usize]) -> bool {
    match lengths {
        [_] | [4, 6, 5] => true,
        [first @ .., last] => first.iter().all(|length| *length == 4) && *last <= 4,
        [] => false,
    }
}

/// 15 to 19 digits with Luhn's check digit. None begins with 0 or 1, as moments in small units do.
fn is_bank_card(digits: &[u8]) -> bool {
    if !(15..=19).contains(&digits.len()) || digits.first().is_none_or(|first| *first < b'2') {
        return false;
    }
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let digit = u32::from(digit.wrapping_sub(b'0'));
            match digit * 2 {
                _ if place % 2 == 0 => digit,
                double if double > 9 => double - 9,
                double => double,
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn telephones_are_taken_out_however_they_are_written() {
        for (text, redacted) in [
            ("手机13800138000", "手机[phone]"),
            ("手机：１３８００１３８０００。", "手机：[phone]。"),
            (
                "拨打+86 138-0013-8000或010-62345678",
                "拨打[phone]或[phone]",
            ),
            ("86 138 0013 8000", "[phone]"),
            ("（0755）8123 4567，微信同号", "（[phone]，微信同号"),
            ("13800138000 13912345678", "[phone] [phone]"),
            ("+44 20 7946 0958, (415) 555-2671", "[phone], ([phone]"),
        ] {
            assert_eq!(redact(text), redacted);
        }
    }

    #[test]
    fn identity_and_bank_cards_are_taken_out_by_their_check_digits() {
        for (text, redacted) in [
            ("身份证号11010519491231002X，", "身份证号[id_card]，"),
            ("证110105 19491231 002x号", "证[id_card]号"),
            ("卡号6222021234567890127。", "卡号6222021234567890127。"),
            ("卡号4111 1111 1111 1111尾号", "卡号[bank_card]尾号"),
            ("378282246310005", "[bank_card]"),
        ] {
            assert_eq!(redact(text), redacted);
        }
        let mut card = String::from("622202123456789012");
        let check = (0..10).find(|check| is_bank_card(format!("{card}{check}").as_bytes()));
        card.push_str(&check.unwrap().to_string());
        assert_eq!(redact(&format!("银行卡{card}")), "银行卡[bank_card]");
    }

    #[test]
    fn other_numbers_stay() {
        for text in [
            "订单20261127，共3件，1280.50元",
            "2026-11-27 13:45:10",
            "1795000000 1795000000123 1795000000123456 0.13812345678",
            "110105194912310021",
            "12800138000, 192.168.13.100, 1920x1080",
            "123456789012345678901234567890",
        ] {
            assert_eq!(redact(text), text);
        }
    }
}
