//! `bailian config`.

use std::fs;

use crate::process::{bailian, run, text};

const GOOD: &str = "[[accounts]]\nname = \"a\"\napi_keys = [\"sk-canary-upstream-0001\"]\n\
                    base_url = \"http://127.0.0.1:9\"\n[[accounts.limits]]\nmodel = \"qwen-plus\"\n\
                    requests = [\"600/1m\"]\n[[routes]]\nmodel = \"fast\"\n\
                    targets = [{ model = \"qwen-turbo\" }]\n[[keys]]\nname = \"web\"\n\
                    key = \"sk-canary-virtual-0001\"\n";

#[test]
fn check_sums_up_what_a_file_says_and_shows_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("gateway.toml"), GOOD).unwrap();
    let output = run(
        bailian(folder.path()).args(["config", "check", "gateway.toml"]),
        "",
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
    let told = text(&output.stdout);
    for line in [
        "  a: 1 API key, http://127.0.0.1:9/compatible-mode/v1",
        "    qwen-plus: 600 requests per 60 s",
        "  fast: a/qwen-turbo",
        "  web of tenant web",
    ] {
        assert!(told.lines().any(|it| it == line), "{line} is not in {told}");
    }
    assert!(!told.contains("canary"), "{told}");
}

#[test]
fn check_names_every_problem_with_its_line_and_ends_with_2() {
    let folder = tempfile::tempdir().unwrap();
    let bad = format!("threads = 0\n{GOOD}weight = 0\n");
    fs::write(folder.path().join("gateway.toml"), bad).unwrap();
    let output = run(
        bailian(folder.path()).args(["config", "check", "gateway.toml"]),
        "",
    );
    assert_eq!(output.status.code(), Some(2));
    let told = text(&output.stderr);
    assert!(told.contains("2 problems"), "{told}");
    for line in [
        "gateway.toml:1: threads: ",
        "gateway.toml:15: keys[0].weight: ",
    ] {
        assert!(told.lines().any(|it| it.starts_with(line)), "{told}");
    }
    let unknown = format!("{GOOD}wieght = 2\n");
    fs::write(folder.path().join("gateway.toml"), unknown).unwrap();
    let output = run(
        bailian(folder.path()).args(["config", "check", "gateway.toml"]),
        "",
    );
    let told = text(&output.stderr);
    assert!(
        told.contains("gateway.toml:14: keys[0]") && told.contains("wieght"),
        "{told}"
    );
}

#[test]
fn check_takes_variables_for_a_part_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("gateway.toml"), GOOD).unwrap();
    let check = |name: &str, value: &str| {
        let mut command = bailian(folder.path());
        run(
            command
                .args(["config", "check", "gateway.toml"])
                .env(name, value),
            "",
        )
    };
    let output = check("BAILIAN__LIMITS__MAX_CONNECTIONS", "7");
    assert!(text(&output.stdout).contains("7 connections, 4 per address"));
    let output = check("BAILIAN__LIMITS__MAX_CONECTIONS", "sk-canary");
    assert_eq!(output.status.code(), Some(2));
    let told = text(&output.stderr);
    let line = "BAILIAN__LIMITS__MAX_CONECTIONS: there is no setting `limits.max_conections`; \
                did you mean `max_connections`?";
    assert!(told.lines().any(|it| it == line), "{told}");
    assert!(!told.contains("canary"), "{told}");
}

#[test]
fn explain_says_what_holds_and_why_and_shows_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("gateway.toml"), GOOD).unwrap();
    fs::write(
        folder.path().join(".env"),
        "BAILIAN__ADMIN__TOKEN=sk-canary-admin\n",
    )
    .unwrap();
    let explain = |arguments: &[&str]| {
        let mut command = bailian(folder.path());
        let command = command.args(["config", "explain", "--config", "gateway.toml"]);
        let command = command.env("BAILIAN__TIMEOUTS__IDLE", "2m");
        let output = run(command.args(arguments), "");
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let told = explain(&[]);
    for line in [
        "timeouts.idle = \"2m\"  (BAILIAN__TIMEOUTS__IDLE)",
        "timeouts.drain = \"2m\"  (default)",
        "admin.token = \"***\"  (BAILIAN__ADMIN__TOKEN)",
        "accounts[0].api_keys = [\"***\"]  (gateway.toml:3)",
        "keys[0].key = \"***\"  (gateway.toml:13)",
        "cache: not set  (default)",
        "  fast: a/qwen-turbo",
    ] {
        assert!(told.lines().any(|it| it == line), "{line} is not in {told}");
    }
    let one = explain(&["timeouts.idle"]);
    for line in [
        "timeouts.idle: duration",
        "  default: \"5m\"",
        "  takes effect when the file is loaded again",
        "  variable: BAILIAN__TIMEOUTS__IDLE",
        "timeouts.idle = \"2m\"  (BAILIAN__TIMEOUTS__IDLE)",
    ] {
        assert!(one.lines().any(|it| it == line), "{line} is not in {one}");
    }
    let json = explain(&["accounts[0]", "--json"]);
    let parsed: serde_json::Value = serde_json::from_str(&json).unwrap();
    let settings = parsed["settings"].as_array().unwrap();
    let url = settings
        .iter()
        .find(|it| it["path"] == "accounts[0].base_url");
    let url = url.unwrap();
    assert_eq!(url["value"], "http://127.0.0.1:9");
    assert_eq!(url["source"]["line"], 4);
    assert!(!format!("{told}{one}{json}").contains("canary"));
    let mut command = bailian(folder.path());
    let output = run(command.args(["config", "explain", "timeouts.idel"]), "");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("did you mean `idle`?"));
}

#[test]
fn schema_is_a_json_schema_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(bailian(folder.path()).args(["config", "schema"]), "");
    assert!(output.status.success());
    let schema: serde_json::Value = serde_json::from_str(&text(&output.stdout)).unwrap();
    assert_eq!(
        schema["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
    assert!(schema["properties"]["listen"]["description"].is_string());
}
