//! On which line of the file a setting stands.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The line of a place in the text, from 1.
pub(super) fn line_at(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().iter().take(offset);
    1 + before.filter(|byte| **byte == b'\n').count()
}

/// Where the setting of a path such as `accounts[0].limits[1].model` begins.
pub(super) fn offset_of(document: &DeTable<'_>, path: &str) -> Option<usize> {
    let mut found = None;
    let mut table = document;
    let mut rest = path;
    loop {
        // Names of models may hold dots, so the longest name that there is counts.
        let fits = |name: &str| {
            let after = rest.strip_prefix(name)?;
            (after.is_empty() || after.starts_with(['.', '['])).then_some(after)
        };
        let next = table
            .iter()
            .filter_map(|(key, value)| Some((key, value, fits(key.get_ref())?)))
            .min_by_key(|(_, _, after)| after.len());
        let Some((key, mut value, mut after)) = next else {
            return found;
        };
        found = Some(key.span().start);
        while let Some((index, behind)) = split_index(after) {
            let DeValue::Array(items) = value.get_ref() else {
                return found;
            };
            let Some(item) = items.get(index) else {
                return found;
            };
            found = Some(Spanned::span(item).start);
            (value, after) = (item, behind);
        }
        let DeValue::Table(inner) = value.get_ref() else {
            return found;
        };
        let Some(name) = after.strip_prefix('.') else {
            return found;
        };
        (table, rest) = (inner, name);
    }
}

/// The index at the beginning of `[3].name`, and what is behind it.
pub(super) fn split_index(text: &str) -> Option<(usize, &str)> {
    let (index, rest) = text.strip_prefix('[')?.split_once(']')?;
    Some((index.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# one\nthreads = 0\n[limits]\nmax_body_bytes = 0\n\n[[keys]]\nname = \"a\"\n\n\
                        [[keys]]\nname = \"b\"\nweight = 0\n[prices.rates]\nUSD = \"x\"\n";

    fn line(path: &str) -> Option<usize> {
        let document = DeTable::parse(TEXT).unwrap();
        offset_of(document.get_ref(), path).map(|offset| line_at(TEXT, offset))
    }

    #[test]
    fn a_setting_is_found_on_its_line_and_a_missing_one_on_that_of_its_section() {
        assert_eq!(line("threads"), Some(2));
        assert_eq!(line("limits.max_body_bytes"), Some(4));
        assert_eq!(line("keys[1].weight"), Some(11));
        assert_eq!(line("keys[1]"), Some(9));
        assert_eq!(line("keys[0].priority"), Some(6));
        assert_eq!(line("prices.rates.USD"), Some(13));
        assert_eq!(line("accounts"), None);
    }
}
