//! What is unknown, and what has another form.

use super::*;

/// Every problem of a text, as `place: problem (line)`.
fn problems(text: &str) -> Vec<String> {
    match parse(text) {
        Err(ConfigError::Invalid(problems)) => problems.iter().map(ToString::to_string).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_unknown_setting_is_named_with_its_line_and_what_was_meant() {
    let text = "listen = \"127.0.0.1:0\"\n[limits]\nmax_body_byte = 1\nquota_api = true\nlisten = \"a\"\n\
                [[accounts]]\napi_keys = [\"env:UP\"]\n[[accounts.limits]]\nmodel = \"a\"\n\
                requets = [\"1/1s\"]\n[[keys]]\nname = \"web\"\nkey = \"env:WEB\"\n\
                zzz = 1\n";
    let expected = [
        "accounts[0].limits[0].requets: there is no such setting; did you mean `requests`? (line 10)",
        "keys[0].zzz: there is no such setting; there are key, key_sha256, name, priority, settings, \
         tenant, weight (line 14)",
        "limits.listen: there is no such setting; did you mean `admin.listen` or `listen`, in another \
         table? (line 5)",
        "limits.max_body_byte: there is no such setting; did you mean `max_body_bytes`? (line 3)",
        "limits.quota_api: there is no such setting; did you mean `accounts.quota_api`, in another \
         table? (line 4)",
    ];
    assert_eq!(problems(text), expected);
}

#[test]
fn values_of_another_form_are_named_together_and_never_shown() {
    let text = "threads = \"many-canary\"\n[limits]\nmax_body_bytes = -1\n[[accounts]]\n\
                api_keys = \"sk-canary-0001\"\n[[keys]]\nname = \"web\"\nkey = 7\n\
                [redis]\nprefix = \"a\"\n";
    let told = problems(text);
    for expected in [
        "threads: is text, not a whole number from 0 (line 1)",
        "limits.max_body_bytes: is not a whole number from 0 (line 3)",
        "accounts[0].api_keys: is text, not a list, such as [\"…\"] (line 5)",
        "keys[0].key: is a whole number, not text in quotes (line 8)",
        "redis: lacks `url` (line 9)",
    ] {
        assert!(
            told.iter().any(|it| it == expected),
            "{expected}: {told:#?}"
        );
    }
    assert_eq!(told.len(), 5, "{told:#?}");
    assert!(!told.concat().contains("canary"));
}

#[test]
fn text_that_is_no_toml_is_named_with_its_line_and_not_quoted() {
    let error = parse("threads = 1\nkey = sk-canary-0001\n").unwrap_err();
    let told = error.to_string();
    assert!(told.starts_with("gateway.toml: "), "{told}");
    assert!(
        told.ends_with("line 2") && !told.contains("canary"),
        "{told}"
    );
}
