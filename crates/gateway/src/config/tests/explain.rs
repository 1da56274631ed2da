//! What holds, and why.

use super::*;

const FILE: &str = "threads = 2\n[limits]\nmax_connections = 7\n[[accounts]]\nname = \"a\"\n\
                    api_keys = [\"sk-canary-0001\", \"env:UP\"]\n[[keys]]\nname = \"web\"\n\
                    key = \"canary-0002\"\n[redis]\nurl = \"redis://:canary-0003@127.0.0.1\"\n";

fn explain(variables: &[(&str, &str)]) -> Vec<Explained> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.toml");
    std::fs::write(&path, FILE).unwrap();
    let variables: Vec<_> = [("UP", "sk-canary-0004")]
        .iter()
        .chain(variables)
        .copied()
        .collect();
    Config::explain(Some(&path), &environment(&variables))
        .unwrap()
        .1
}

#[test]
fn every_setting_has_its_value_its_source_and_its_description() {
    let variables = [
        ("BAILIAN__LIMITS__MAX_BODY_BYTES", "1000"),
        ("BAILIAN__ADMIN__TOKEN", "canary-0005"),
    ];
    let found = explain(&variables);
    let of = |path: &str| {
        let it = found.iter().find(|it| it.path == path).expect(path);
        assert!(!it.info.description.is_empty(), "{path}");
        (
            it.value.clone().unwrap_or_default().to_string(),
            it.source.clone(),
        )
    };
    let variable = |name: &str| Source::Variable(name.to_owned());
    for (path, value, source) in [
        ("threads", "2", Source::File(1)),
        ("limits.max_connections", "7", Source::File(3)),
        ("limits.max_connections_per_address", "4", Source::Default),
        (
            "limits.max_body_bytes",
            "1000",
            variable("BAILIAN__LIMITS__MAX_BODY_BYTES"),
        ),
        ("timeouts.idle", "\"5m\"", Source::Default),
        (
            "accounts[0].api_keys",
            "[\"***\",\"env:UP\"]",
            Source::File(6),
        ),
        ("accounts[0].region", "\"cn-beijing\"", Source::Default),
        ("keys[0].key", "\"***\"", Source::File(9)),
        ("keys[0].tenant", "\"web\"", Source::Default),
        ("redis.url", "\"***\"", Source::File(11)),
        ("admin.token", "\"***\"", variable("BAILIAN__ADMIN__TOKEN")),
        ("cache", "null", Source::Default),
    ] {
        assert_eq!(of(path), (value.to_owned(), source), "{path}");
    }
    assert!(!format!("{found:?}").contains("canary"));
}

#[test]
fn without_a_file_the_variables_that_are_enough_are_named() {
    let variables = environment(&[
        ("DASHSCOPE_API_KEY", "sk-canary"),
        ("DASHSCOPE_REGION", "us-east-1"),
    ]);
    let (_, found) = Config::explain(None, &variables).unwrap();
    let of = |path: &str| found.iter().find(|it| it.path == path).unwrap();
    let variable = |name: &str| Source::Variable(name.to_owned());
    assert_eq!(
        of("accounts[0].region").source,
        variable("DASHSCOPE_REGION")
    );
    assert_eq!(
        of("accounts[0].api_keys").source,
        variable("DASHSCOPE_API_KEY")
    );
    assert_eq!(of("keys[0].key").source, Source::Made);
    assert!(!format!("{found:?}").contains("canary"));
}

#[test]
fn a_setting_is_found_by_its_path_and_a_wrong_one_is_told_what_was_meant() {
    for path in ["accounts.limits.requests", "accounts[3].limits[1].requests"] {
        let info = setting_info(path).unwrap();
        assert_eq!(info.path, "accounts.limits.requests");
        assert_eq!(info.variable, "BAILIAN__ACCOUNTS__0__LIMITS__0__REQUESTS");
        assert!(!info.at_next_start);
    }
    assert!(setting_info("data.folder").unwrap().at_next_start);
    assert!(setting_info("tls.key").unwrap().is_secret);
    let error = setting_info("accounts.regio").unwrap_err();
    assert!(error.contains("did you mean `region`?"), "{error}");
}
