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
