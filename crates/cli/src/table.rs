//! Tables for people: columns under each other, whatever is written in them.

use unicode_width::UnicodeWidthStr as _;

/// On which side a column is even.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Left,
    Right,
}

/// The columns that a terminal gives to a text: two for a Chinese character.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// Puts rows under their heads; cells that a row lacks are empty.
pub(crate) fn aligned(heads: &[(String, Side)], rows: &[Vec<String>]) -> String {
    let head: Vec<String> = heads.iter().map(|(head, _)| head.clone()).collect();
    let sides: Vec<Side> = heads.iter().map(|(_, side)| *side).collect();
    lines(&sides, [&head].into_iter().chain(rows))
}

/// Puts values beside their names.
pub(crate) fn fields(rows: &[[String; 2]]) -> String {
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.to_vec()).collect();
    lines(&[Side::Left, Side::Left], rows.iter())
}

fn lines<'a>(sides: &[Side], rows: impl Iterator<Item = &'a Vec<String>> + Clone) -> String {
    let widths: Vec<usize> = sides
        .iter()
        .enumerate()
        .map(|(column, _)| {
            let cells = rows.clone().filter_map(|row| row.get(column));
            cells.map(|cell| width(cell)).max().unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for ((cell, width_of_column), side) in row.iter().zip(&widths).zip(sides) {
            let room = " ".repeat(width_of_column.saturating_sub(width(cell)));
            let (before, behind) = match side {
                Side::Left => ("", room.as_str()),
                Side::Right => (room.as_str(), ""),
            };
            line.extend([before, cell, behind, "  "]);
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A bar for a share of the whole, in eighths of a character; anything above nothing is seen.
pub(crate) fn bar(share: f64, longest: u32) -> String {
    const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    if share <= 0.0 || !share.is_finite() {
        return String::new();
    }
    let wanted = (share.min(1.0) * f64::from(longest * 8)).round();
    let eighths = (1..=longest * 8)
        .rev()
        .find(|eighths| f64::from(*eighths) <= wanted)
        .unwrap_or(1) as usize;
    format!("{}{}", "█".repeat(eighths / 8), PARTS[eighths % 8])
}

/// The digits of a whole number in groups of three.
pub(crate) fn grouped(digits: &str) -> String {
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_each_other_beside_chinese_names() {
        let heads = [
            ("NAME".to_owned(), Side::Left),
            ("N".to_owned(), Side::Right),
        ];
        let rows = [
            vec!["研发部".to_owned(), "12".to_owned()],
            vec!["ab".to_owned(), "3".to_owned()],
        ];
        let text = aligned(&heads, &rows);
        assert_eq!(text, "NAME     N\n研发部  12\nab       3\n");
        assert!(text.lines().all(|line| width(line) == 10));
    }

    #[test]
    fn digits_stand_in_groups_of_three() {
        for (digits, expected) in [
            ("7", "7"),
            ("123", "123"),
            ("1234", "1,234"),
            ("1234567", "1,234,567"),
            ("-123", "-123"),
        ] {
            assert_eq!(grouped(digits), expected);
        }
    }

    #[test]
    fn a_bar_is_as_long_as_its_share_and_the_smallest_is_seen() {
        assert_eq!(bar(1.0, 4), "████");
        assert_eq!(bar(0.5, 4), "██");
        assert_eq!(bar(0.53, 4), "██▏");
        assert_eq!(bar(0.000_01, 4), "▏");
        assert_eq!(bar(0.0, 4), "");
        assert_eq!(bar(f64::NAN, 4), "");
    }
}
