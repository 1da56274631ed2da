//! `bailian demo` and `bailian sim`.

use std::process::{Command, Stdio};

use serde_json::json;

use crate::http::send;
use crate::process::{Server, bailian};

const QUESTION: &str =
    r#"{"model":"qwen-plus","messages":[{"role":"user","content":"用一句话介绍杭州。"}]}"#;

#[test]
fn the_json_line_of_the_demo_has_all_that_a_script_needs() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["demo", "--json", "--listen", "127.0.0.1:0"];
    let demo = Server::start(bailian(folder.path()).args(arguments));
    let said: serde_json::Value = serde_json::from_str(&demo.line()).unwrap();
    let (gateway, key) = (
        said["gateway"].as_str().unwrap(),
        said["api_key"].as_str().unwrap(),
    );
    assert_eq!(demo.url(), gateway);
    let names: Vec<&String> = said.as_object().unwrap().keys().collect();
    assert_eq!(
        names,
        [
            "admin_token",
            "api_key",
            "dashboard",
            "gateway",
            "simulator"
        ]
    );

    let answer = send(gateway, "POST", "/v1/chat/completions", Some(key), QUESTION);
    assert_eq!(answer.status, 200);
    let answer = answer.json();
    assert!(
        !answer["choices"][0]["message"]["content"]
            .as_str()
            .unwrap()
            .is_empty()
    );

    let simulator = said["simulator"].as_str().unwrap();
    let journal = send(simulator, "GET", "/__sim/journal", None, "").rest();
    assert!(journal.contains("qwen-plus"), "{journal}");
}

#[test]
fn the_demo_refuses_a_key_that_is_not_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["demo", "--json", "--listen", "127.0.0.1:0"];
    let demo = Server::start(bailian(folder.path()).args(arguments));
    let answer = send(
        &demo.url(),
        "POST",
        "/v1/chat/completions",
        Some("sk-of-someone-else"),
        QUESTION,
    );
    assert_eq!(answer.status, 401);
    assert_eq!(answer.json()["error"]["code"], json!("invalid_api_key"));
}

#[test]
fn the_printed_curl_line_works_when_pasted() {
    let folder = tempfile::tempdir().unwrap();
    let demo = Server::start(bailian(folder.path()).args(["demo", "--listen", "127.0.0.1:0"]));
    let url = demo.url();
    let mut command = String::new();
    loop {
        let line = demo.line();
        if command.is_empty() && !line.trim_start().starts_with("curl ") {
            continue;
        }
        command.push_str(&line);
        command.push('\n');
        if !line.ends_with('\\') {
            break;
        }
    }
    assert!(command.contains(&url), "{command}");
    let output = Command::new("sh")
        .args(["-c", &command])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.starts_with("data: {"), "{command}\n{said}");
    assert!(said.trim_end().ends_with("data: [DONE]"), "{said}");
}

#[test]
fn the_demo_ends_on_sigterm() {
    let folder = tempfile::tempdir().unwrap();
    let mut demo = Server::start(bailian(folder.path()).args(["demo", "--listen", "127.0.0.1:0"]));
    demo.url();
    demo.terminate();
    assert_eq!(demo.ended().code(), Some(0));
}

#[test]
fn the_simulator_serves_on_the_services_own_paths() {
    let folder = tempfile::tempdir().unwrap();
    let mut simulator =
        Server::start(bailian(folder.path()).args(["sim", "--listen", "127.0.0.1:0"]));
    let url = simulator.url();
    let path = "/compatible-mode/v1/chat/completions";
    assert_eq!(
        send(&url, "POST", path, Some("sk-any"), QUESTION).status,
        200
    );
    assert_eq!(
        send(&url, "POST", path, Some("sk-limited-any"), QUESTION).status,
        429
    );
    assert_eq!(
        send(&url, "POST", path, Some("sk-expired-any"), QUESTION).status,
        401
    );
    simulator.terminate();
    assert_eq!(simulator.ended().code(), Some(0));
}
