//! `bailian chat` against the demo.

use std::path::Path;
use std::process::Command;

use crate::process::{Server, bailian, run, text};

struct Demo {
    _server: Server,
    gateway: String,
    key: String,
}

impl Demo {
    fn start(folder: &Path) -> Self {
        let arguments = ["demo", "--json", "--listen", "127.0.0.1:0"];
        let server = Server::start(bailian(folder).args(arguments));
        let said: serde_json::Value = serde_json::from_str(&server.line()).unwrap();
        let text = |name: &str| said[name].as_str().unwrap().to_owned();
        Self {
            gateway: text("gateway"),
            key: text("api_key"),
            _server: server,
        }
    }

    fn chat(&self, folder: &Path) -> Command {
        let mut command = bailian(folder);
        command
            .env("DASHSCOPE_BASE_URL", &self.gateway)
            .env("DASHSCOPE_API_KEY", &self.key);
        command.arg("chat");
        command
    }
}

#[test]
fn an_answer_is_the_same_streamed_whole_and_over_both_protocols() {
    let folder = tempfile::tempdir().unwrap();
    let demo = Demo::start(folder.path());
    let answers = [
        &["--stream"][..],
        &["--no-stream"],
        &["--stream", "--protocol", "openai"],
        &["--no-stream", "--protocol", "openai"],
    ]
    .map(|options| {
        let output = run(
            demo.chat(folder.path())
                .args(options)
                .args(["什么是", "湖？"]),
            "",
        );
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    });
    assert!(answers[0].trim().chars().count() > 3);
    assert!(
        answers.iter().all(|answer| *answer == answers[0]),
        "{answers:?}"
    );
}

#[test]
fn a_pipe_is_the_prompt_and_a_dash_stands_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let demo = Demo::start(folder.path());
    let prompt = "Explain what a river is, in one sentence.";
    let piped = run(&mut demo.chat(folder.path()), &format!("{prompt}\n"));
    assert!(piped.status.success(), "{}", text(&piped.stderr));
    let typed = run(demo.chat(folder.path()).arg(prompt), "not read");
    assert_eq!(text(&piped.stdout), text(&typed.stdout));
    let mixed = run(
        demo.chat(folder.path()).args(["Explain what", "-"]),
        "a river is, in one sentence.",
    );
    assert_eq!(text(&mixed.stdout), text(&typed.stdout));
}

#[test]
fn the_whole_answer_comes_as_one_json_object() {
    let folder = tempfile::tempdir().unwrap();
    let demo = Demo::start(folder.path());
    let output = run(
        demo.chat(folder.path()).args(["--json", "What is a lake?"]),
        "",
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(text(&output.stdout).lines().count(), 1);
    assert!(
        !answer["choices"][0]["message"]["content"]
            .as_str()
            .unwrap()
            .is_empty()
    );
    assert!(answer["usage"]["output_tokens"].as_u64().unwrap() > 0);
    assert!(answer["request_id"].is_string());
}

#[test]
fn usage_is_told_on_standard_error_unless_quiet() {
    let folder = tempfile::tempdir().unwrap();
    let demo = Demo::start(folder.path());
    let output = run(
        demo.chat(folder.path())
            .args(["--thinking", "What is a lake?"]),
        "",
    );
    let told = text(&output.stderr);
    assert!(
        told.contains("tokens in") && told.contains("thinking"),
        "{told}"
    );
    let quiet = run(demo.chat(folder.path()).args(["-q", "What is a lake?"]), "");
    assert_eq!(text(&quiet.stderr), "");
}

#[test]
fn a_refusal_of_the_service_is_told_with_code_and_request_id() {
    let folder = tempfile::tempdir().unwrap();
    let demo = Demo::start(folder.path());
    let output = run(
        demo.chat(folder.path())
            .args(["-m", "no-such-model", "hello"]),
        "",
    );
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    assert!(
        error.contains("ModelNotFound") && error.contains("request id"),
        "{error}"
    );
}

#[test]
fn a_parameter_that_the_model_cannot_take_is_refused_before_sending() {
    let folder = tempfile::tempdir().unwrap();
    let demo = Demo::start(folder.path());
    let output = run(
        demo.chat(folder.path())
            .args(["--temperature", "3", "hello"]),
        "",
    );
    assert_eq!(output.status.code(), Some(2));
    let error = text(&output.stderr);
    assert!(
        error.contains("temperature") && error.contains("--no-validate"),
        "{error}"
    );
    // Sent all the same, it is the service that refuses.
    let arguments = ["--no-validate", "--temperature", "3", "hello"];
    let output = run(demo.chat(folder.path()).args(arguments), "");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("InvalidParameter"));
}

#[test]
fn doctor_finds_the_demo_in_good_order() {
    let folder = tempfile::tempdir().unwrap();
    let demo = Demo::start(folder.path());
    let mut command = bailian(folder.path());
    command
        .env("DASHSCOPE_BASE_URL", &demo.gateway)
        .env("DASHSCOPE_API_KEY", &demo.key);
    let output = run(command.args(["doctor", "--live"]), "");
    let report = text(&output.stdout);
    assert!(output.status.success(), "{report}");
    assert!(report.contains("the key is good"), "{report}");
}
