//! Environment variables over the file.

use super::*;

const FILE: &str = r#"
threads = 1
[[accounts]]
name = "bei-jing"
api_keys = ["sk-upstream"]
[[accounts]]
name = "own"
kind = "openai"
base_url = "http://127.0.0.1:8000/v1"
[[routes]]
model = "fast"
targets = [{ account = "own" }]
[[keys]]
name = "web"
key = "web-key-0001"
"#;

fn with(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::parse(FILE, "gateway.toml", &environment(variables))
}

fn problems(variables: &[(&str, &str)]) -> Vec<String> {
    match with(variables) {
        Err(ConfigError::Invalid(problems)) => problems.iter().map(ToString::to_string).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_variable_is_stronger_than_the_file_and_its_case_does_not_matter() {
    let config = with(&[
        ("BAILIAN__THREADS", "3"),
        ("bailian__limits__Max_Body_Bytes", "1000"),
        ("BAILIAN__TIMEOUTS__IDLE", "7m"),
        ("BAILIAN__REPAIRS__RESUME", "false"),
        ("BAILIAN__LISTEN", "\"127.0.0.1:81\""),
        ("BAILIAN__RELOAD", ""),
    ])
    .unwrap();
    assert_eq!((config.threads, config.listen.port()), (3, 81));
    assert_eq!(config.limits.max_body_bytes, 1000);
    assert_eq!(config.timeouts.idle, Duration::from_mins(7));
    assert!(!config.repairs.resume);
}

#[test]
fn entries_of_lists_are_reached_by_number_or_name_and_added_at_the_end() {
    let config = with(&[
        ("BAILIAN__ACCOUNTS__BEI_JING__API_KEYS__1", "sk-second"),
        ("BAILIAN__ACCOUNTS__0__REGION", "ap-southeast-1"),
        (
            "BAILIAN__ACCOUNTS__OWN__FORWARD_HEADERS",
            "[\"x-a\", \"x-b\"]",
        ),
        ("BAILIAN__ROUTES__FAST__TARGETS__0__MODEL", "qwen3"),
        ("BAILIAN__KEYS__1__NAME", "批处理"),
        ("BAILIAN__KEYS__1__KEY", "1234567890"),
        (
            "BAILIAN__KEYS__2",
            "{ name = \"third\", key = \"third-key-1\" }",
        ),
    ])
    .unwrap();
    assert_eq!(config.accounts[0].api_keys.len(), 2);
    assert_eq!(config.accounts[0].region.as_deref(), Some("ap-southeast-1"));
    assert_eq!(config.accounts[1].forward_headers, ["x-a", "x-b"]);
    assert_eq!(config.routes[0].targets[0].model.as_deref(), Some("qwen3"));
    let names: Vec<&str> = config.keys.iter().map(|key| &*key.owner.name).collect();
    assert_eq!(names, ["web", "批处理", "third"]);
}

#[test]
fn whole_tables_can_be_made() {
    let folder = ("BAILIAN__DATA__FOLDER", "/tmp/data");
    let config = with(&[folder, ("BAILIAN__PRICES__RATES__USD", "7.2")]).unwrap();
    assert_eq!(config.data.unwrap().folder, Path::new("/tmp/data"));
    let config = with(&[("BAILIAN__CACHE", "{ ttl = \"2h\" }")]).unwrap();
    assert_eq!(config.cache.unwrap().ttl, Duration::from_hours(2));
    for certificate in [["TLS", "TLS"], ["TLS__0", "TLS__0"]] {
        let [one, other] = certificate;
        let config = with(&[
            (&format!("BAILIAN__{one}__CERTIFICATE"), "file:a.crt"),
            (&format!("BAILIAN__{other}__KEY"), "file:a.key"),
        ]);
        assert_eq!(config.unwrap().tls.len(), 1);
    }
}

#[test]
fn an_unknown_variable_is_named_with_what_was_meant() {
    let told = problems(&[
        ("BAILIAN__LISTNE", "127.0.0.1:1"),
        ("BAILIAN__LIMITS__MAX_BODY_BYTE", "1"),
        ("BAILIAN__ACCOUNTS__3__REGION", "us-east-1"),
        ("BAILIAN__ACCOUNTS__TOKYO__REGION", "us-east-1"),
        ("BAILIAN__THREADS__MORE", "1"),
        ("BAILIAN__", "1"),
    ]);
    for beginning in [
        "BAILIAN__LISTNE: there is no setting `listne`; did you mean `listen`?",
        "BAILIAN__LIMITS__MAX_BODY_BYTE: there is no setting `limits.max_body_byte`; did you mean",
        "BAILIAN__ACCOUNTS__3__REGION: `accounts` has 2 entries",
        "BAILIAN__ACCOUNTS__TOKYO__REGION: `accounts` has no entry called `tokyo`",
        "BAILIAN__THREADS__MORE: `threads` has no settings of its own",
        "BAILIAN__: there is no setting",
    ] {
        assert!(told.iter().any(|it| it.starts_with(beginning)), "{told:#?}");
    }
    assert_eq!(told.len(), 6);
    let twice = problems(&[("BAILIAN__THREADS", "1"), ("bailian__threads", "2")]);
    assert!(twice[0].contains("says already"), "{twice:?}");
}

#[test]
fn what_is_wrong_with_a_variables_value_is_said_of_the_variable_and_without_the_value() {
    let told = problems(&[
        ("BAILIAN__LIMITS__MAX_BODY_BYTES", "0"),
        ("BAILIAN__ADMIN__TOKEN", "canary7"),
        ("BAILIAN__ACCOUNTS__0__API_KEYS__0", "sk canary"),
    ]);
    for beginning in [
        "BAILIAN__LIMITS__MAX_BODY_BYTES: is 0",
        "BAILIAN__ADMIN__TOKEN: a key has at least 8",
        "BAILIAN__ACCOUNTS__0__API_KEYS__0: the key holds blanks",
    ] {
        assert!(told.iter().any(|it| it.starts_with(beginning)), "{told:#?}");
    }
    let told = [
        problems(&[("BAILIAN__THREADS", "sk-canary")]),
        problems(&[("BAILIAN__ACCOUNTS__0__API_KEYS", "sk-canary")]),
        problems(&[("BAILIAN__KEYS", "{ name = \"canary\", key = \"canary\" }")]),
    ];
    let told = told.concat();
    for beginning in [
        "BAILIAN__THREADS: is text, not a whole number",
        "BAILIAN__ACCOUNTS__0__API_KEYS: is text, not a list",
        "BAILIAN__KEYS: is a table, not a list",
    ] {
        assert!(told.iter().any(|it| it.starts_with(beginning)), "{told:#?}");
    }
    assert!(!told.concat().contains("canary"), "{told:#?}");
}

#[test]
fn variables_go_before_those_that_are_enough_without_a_file() {
    let variables = [
        ("DASHSCOPE_API_KEY", "sk-upstream"),
        ("DASHSCOPE_REGION", "us-east-1"),
        ("BAILIAN__ACCOUNTS__0__REGION", "ap-southeast-1"),
        ("BAILIAN__KEYS__0__KEY", "web-key-0001"),
        ("BAILIAN__LISTEN", "127.0.0.1:0"),
    ];
    let config = Config::from_environment(&environment(&variables), || panic!("a key is set"));
    let config = config.unwrap();
    assert_eq!(config.accounts[0].region.as_deref(), Some("ap-southeast-1"));
    assert_eq!(config.listen.port(), 0);
}

#[test]
fn what_is_wrong_with_variables_and_with_the_file_is_said_together() {
    let bad = FILE.replace("threads = 1", "threads = 0");
    let variables = environment(&[("BAILIAN__ADMIN__TOKN", "canary")]);
    let error = Config::parse(&bad, "gateway.toml", &variables).unwrap_err();
    let problems: Vec<_> = error.problems().into_iter().map(|it| it.place).collect();
    assert_eq!(problems, ["BAILIAN__ADMIN__TOKN", "threads"]);
}

#[test]
fn a_list_that_a_variable_replaces_is_that_variables() {
    let variables = [
        ("DASHSCOPE_API_KEY", "sk-upstream"),
        ("BAILIAN__ACCOUNTS__0__API_KEYS", "[\"sk canary\"]"),
    ];
    let error = Config::from_environment(&environment(&variables), || "made-key-0001".into());
    let error = error.unwrap_err().to_string();
    let expected = "BAILIAN__ACCOUNTS__0__API_KEYS (accounts[0].api_keys[0]): the key holds";
    assert!(error.contains(expected), "{error}");
}

#[test]
fn secrets_can_stand_in_systemds_credentials() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("web"), "a-key-from-systemd\n").unwrap();
    let text = FILE.replace("\"web-key-0001\"", "\"credential:web\"");
    let place = folder.path().to_str().unwrap();
    let variables = environment(&[("CREDENTIALS_DIRECTORY", place)]);
    let config = Config::parse(&text, "test", &variables).unwrap();
    let found = crate::keys::KeyStore::authenticate(&*config.key_store(), b"a-key-from-systemd");
    assert_eq!(found.unwrap().name, "web");
    let error = Config::parse(&text, "test", &environment(&[])).unwrap_err();
    assert!(
        error.to_string().contains("CREDENTIALS_DIRECTORY"),
        "{error}"
    );
    let outside = text.replace("credential:web", "credential:../web");
    let error = Config::parse(&outside, "test", &variables).unwrap_err();
    assert!(
        error.to_string().contains("does not name a credential"),
        "{error}"
    );
}
