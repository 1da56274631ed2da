//! Whatever a source says, what becomes of it is a configuration, or there is none.

use serde_json::Value;

use super::draft::{self, Draft};
use super::notes::Mistake;
use super::render::{self, Secrets};
use super::{litellm, new_api};

/// What may stand where something else is meant.
const ODD: [&str; 11] = [
    "~",
    "0",
    "-1",
    "3.5",
    "1e400",
    "\"\"",
    "[]",
    "{}",
    "[a, {b: c}]",
    "\"a\\nb = '\\\"\"",
    "百炼",
];

/// Whether there was a configuration, which has to be one however its secrets are written.
fn is_written(draft: Result<Draft, Mistake>, what: &str) -> bool {
    let Ok(draft) = draft else { return false };
    if draft.accounts.is_empty() {
        return false;
    }
    let text = render::toml(&draft, "", Secrets::Written);
    if let Err(problem) = draft::parses(&text) {
        panic!("{problem}\n{what}");
    }
    true
}

fn litellm(text: &str) -> bool {
    is_written(litellm::convert(text, &|_| None), text)
}

#[test]
fn a_litellm_file_with_a_line_less_or_an_odd_value_gives_a_configuration_or_an_error() {
    let samples = [
        include_str!("../../tests/import/litellm-team.yaml"),
        include_str!("../../tests/import/litellm-oddities.yaml"),
    ];
    let mut written = 0;
    for sample in samples {
        let lines: Vec<&str> = sample.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let with = |line: &str| {
                let (before, after) = (lines[..index].join("\n"), lines[index + 1..].join("\n"));
                format!("{before}\n{line}\n{after}\n")
            };
            written += usize::from(litellm(&with("")));
            if let Some((name, _)) = line.split_once(": ") {
                // Some of them at each place, each of them at some.
                for odd in ODD.iter().cycle().skip(index * 2).take(2) {
                    written += usize::from(litellm(&with(&format!("{name}: {odd}"))));
                }
            }
        }
    }
    assert!(written > 150, "{written}");
}

#[test]
fn channels_with_a_member_less_or_an_odd_value_give_a_configuration_or_an_error() {
    let sample: Value =
        serde_json::from_str(include_str!("../../tests/import/new-api-channels.json")).unwrap();
    let items = sample["data"]["items"].as_array().unwrap();
    let odd: Vec<Value> = [
        "null",
        "0",
        "-1",
        "1e300",
        "\"\"",
        "\"a\\nb\"",
        "[]",
        "{}",
        "\"{\\\"a\\\":1}\"",
        "true",
        "18446744073709551615",
    ]
    .iter()
    .map(|text| serde_json::from_str(text).unwrap())
    .collect();
    let mut written = 0;
    for (index, item) in items.iter().enumerate() {
        for (place, name) in item.as_object().unwrap().keys().enumerate() {
            let some = odd.iter().cycle().skip((index + place) * 2).take(2);
            for value in some.map(Some).chain([None]) {
                let mut items = items.clone();
                let members = items[index].as_object_mut().unwrap();
                match value {
                    Some(value) => members.insert(name.clone(), value.clone()),
                    None => members.remove(name),
                };
                let text = Value::from(items).to_string();
                let draft = new_api::convert(&text, place % 4 == 0);
                written += usize::from(is_written(draft, &text));
            }
        }
    }
    assert!(written > 150, "{written}");
}
