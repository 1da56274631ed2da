//! Commands that need no server, and mistakes that are found before anything is sent.

use crate::process::{bailian, run, text};

#[test]
fn help_names_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(bailian(folder.path()).arg("--help"), "");
    assert!(output.status.success());
    let help = text(&output.stdout);
    for command in [
        "demo",
        "serve",
        "sim",
        "chat",
        "models",
        "config",
        "doctor",
        "import",
        "completions",
    ] {
        assert!(help.contains(&format!("  {command}")), "{help}");
    }
}

#[test]
fn a_wrong_command_line_exits_with_2() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(
        bailian(folder.path()).args(["serve", "--listen", "somewhere"]),
        "",
    );
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--listen"));
}

#[test]
fn models_are_listed_and_filtered() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(bailian(folder.path()).args(["models", "qwen-plus"]), "");
    assert!(output.status.success());
    let table = text(&output.stdout);
    assert!(table.starts_with("MODEL"));
    assert!(
        table.lines().skip(1).all(|line| line.contains("qwen-plus")),
        "{table}"
    );
    assert!(table.lines().any(|line| line.starts_with("qwen-plus ")));
}

#[test]
fn models_come_as_json_too() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["models", "--json", "--region", "cn-beijing", "qwen-max"];
    let output = run(bailian(folder.path()).args(arguments), "");
    let models: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert!(!models.is_empty());
    for model in models {
        assert!(model["id"].as_str().unwrap().contains("qwen-max"));
        assert!(
            model["regions"]
                .as_array()
                .unwrap()
                .contains(&"cn-beijing".into())
        );
    }
}

#[test]
fn completions_are_printed_for_each_shell() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let output = run(bailian(folder.path()).args(["completions", shell]), "");
        assert!(output.status.success());
        assert!(text(&output.stdout).contains("bailian"), "{shell}");
    }
}

#[test]
fn chat_without_a_key_says_what_to_set() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(bailian(folder.path()).args(["chat", "hello"]), "");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("DASHSCOPE_API_KEY"));
    assert!(output.stdout.is_empty());
}

#[test]
fn chat_with_an_empty_pipe_asks_for_a_prompt() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(bailian(folder.path()).arg("chat"), "  \n");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("prompt"));
}

#[test]
fn a_service_that_cannot_be_reached_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = bailian(folder.path());
    // Port 1 of this machine is reserved, and nobody listens there.
    command
        .env("DASHSCOPE_BASE_URL", "http://127.0.0.1:1")
        .env("DASHSCOPE_API_KEY", "sk-0123456789abcdef0123456789abcdef")
        .env("DASHSCOPE_MAX_RETRIES", "0");
    let output = run(command.args(["chat", "hello"]), "");
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    assert!(error.contains("127.0.0.1:1"), "{error}");
    assert!(!error.contains("0123456789abcdef"), "{error}");
}

#[test]
fn doctor_says_what_to_mend_and_never_shows_the_key() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join(".env"),
        "DASHSCOPE_API_KEY=sk-0123456789abcdef0123456789abcdef\nDASHSCOPE_TIMEOUT=soon\n",
    )
    .unwrap();
    let mut command = bailian(folder.path());
    let output = run(
        command
            .env("DASHSCOPE_BASE_URL", "http://127.0.0.1:1")
            .arg("doctor"),
        "",
    );
    assert_eq!(output.status.code(), Some(1));
    let report = text(&output.stdout);
    for word in [
        "DASHSCOPE_API_KEY",
        ".env",
        "DASHSCOPE_TIMEOUT",
        "fail",
        "127.0.0.1",
    ] {
        assert!(report.contains(word), "{word} is not in:\n{report}");
    }
    assert!(!report.contains("0123456789abcdef"), "{report}");
}
