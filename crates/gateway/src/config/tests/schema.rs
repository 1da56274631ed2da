//! The schema says what the file's reader does.

use serde_json::json;

use super::*;
use crate::config::schema::{Setting, Shape, schema, settings};

fn each<'a>(setting: &'a Setting, path: &str, see: &mut dyn FnMut(&str, &'a Setting)) {
    let path = match &*setting.name {
        "" => path.to_owned(),
        name => crate::config::unknown::joined(path, name),
    };
    see(&path, setting);
    match &setting.shape {
        Shape::Table(settings) => {
            for setting in settings {
                each(setting, &path, see);
            }
        }
        Shape::List(item) | Shape::OneOrMany(item) | Shape::Map(item) => each(item, &path, see),
        Shape::Plain(_) => {}
    }
}

#[test]
fn it_is_a_json_schema_that_refuses_what_is_unknown_and_knows_no_null() {
    let schema = schema();
    assert_eq!(
        schema["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
    assert_eq!(schema["additionalProperties"], false);
    let limits = &schema["$defs"]["LimitsFile"];
    assert_eq!(limits["additionalProperties"], false);
    let body = &limits["properties"]["max_body_bytes"];
    let expected = json!({
        "type": "integer", "minimum": 1, "default": 67_108_864, "x-unit": "bytes",
        "description": body["description"],
    });
    assert_eq!(*body, expected);
    let reload = &schema["properties"]["reload"];
    assert_eq!(reload["enum"], json!(["watch", "signal", "off"]));
    assert_eq!(reload["default"], "watch");
    let text = schema.to_string();
    assert!(
        !text.contains("\"null\"") && !text.contains(":null") && !text.contains("components"),
        "{text}"
    );
    let references = text.split("#/$defs/").skip(1);
    for name in references.filter_map(|rest| rest.split('"').next()) {
        assert!(schema["$defs"][name].is_object(), "{name}");
    }
}

#[test]
fn every_setting_is_described() {
    each(&settings(), "", &mut |path, setting| {
        let is_item = setting.name.is_empty();
        assert!(is_item || !setting.description.is_empty(), "{path}");
    });
}

#[test]
fn secrets_are_marked() {
    let mut secrets = Vec::new();
    each(&settings(), "", &mut |path, setting| {
        if setting.is_secret {
            secrets.push(path.to_owned());
        }
    });
    let expected = [
        "accounts.api_keys",
        "admin.token",
        "data.database",
        "keys.key",
        "redis.url",
        "tls.key",
    ];
    assert_eq!(secrets, expected);
}

/// The defaults of a table's plain settings, as TOML.
fn defaults(settings: &[Setting]) -> String {
    let lines = settings.iter().filter_map(|setting| {
        let default = setting.default.as_ref()?;
        let is_plain = !default.is_array() && !default.is_object();
        is_plain.then(|| format!("{} = {default}\n", setting.name))
    });
    lines.collect()
}

#[test]
fn what_is_said_to_be_the_default_is_what_holds_when_nothing_is_said() {
    let Shape::Table(root) = settings().shape else {
        panic!("a table")
    };
    let table = |name: &str| {
        let found = root.iter().find(|setting| setting.name == name).unwrap();
        match &found.shape {
            Shape::Table(settings) => defaults(settings),
            Shape::List(item) => match &item.shape {
                Shape::Table(settings) => defaults(settings),
                _ => panic!("{name}"),
            },
            _ => panic!("{name}"),
        }
    };
    let text = |with: bool| {
        let of = |name: &str| if with { table(name) } else { String::new() };
        let sections = ["limits", "timeouts", "pacing", "repairs", "cache", "prices"];
        let sections: Vec<String> = sections
            .iter()
            .map(|name| format!("[{name}]\n{}", of(name)))
            .collect();
        let sections = sections.concat();
        format!(
            "{}{sections}[redis]\nurl = \"redis://127.0.0.1\"\n{}\
             [telemetry]\notlp = \"http://127.0.0.1:1\"\n{}\
             [[accounts]]\napi_keys = [\"env:UP\"]\n{}\
             [[keys]]\nname = \"web\"\nkey = \"env:WEB\"\n{}",
            if with { defaults(&root) } else { String::new() },
            of("redis"),
            of("telemetry"),
            of("accounts"),
            of("keys"),
        )
    };
    let stated = text(true);
    assert!(stated.lines().count() > 60, "{stated}");
    let debug = |text: &str| format!("{:#?}", parse(text).unwrap());
    assert_eq!(debug(&stated), debug(&text(false)));
}

#[test]
fn bounds_are_those_that_the_reader_keeps() {
    each(&settings(), "", &mut |path, setting| {
        let Some((table, name)) = path.split_once('.') else {
            return;
        };
        let is_one = setting.minimum == Some(json!(1));
        if !is_one || !["limits", "cache"].contains(&table) {
            return;
        }
        let text = format!("{}\n[{table}]\n{name} = 0", GOOD.replace("[limits]\n", ""));
        let text = text.replace("    max_body_bytes = 1000\n", "");
        assert!(parse(&text).is_err(), "{path}");
    });
}
