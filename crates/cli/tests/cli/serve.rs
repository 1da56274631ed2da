//! `bailian serve`.

use crate::http::send;
use crate::process::{Server, bailian, run, text};

const PATH: &str = "/compatible-mode/v1/chat/completions";
const QUESTION: &str =
    r#"{"model":"qwen-plus","messages":[{"role":"user","content":"What is a lake?"}]}"#;
const LONG_STREAM: &str = r#"{"model":"qwen-plus","stream":true,"messages":[{"role":"user",
    "content":"Write about the West Lake through the four seasons, in two paragraphs."}]}"#;

fn simulator(folder: &std::path::Path) -> Server {
    Server::start(bailian(folder).args(["sim", "--listen", "127.0.0.1:0"]))
}

#[test]
fn serve_takes_account_and_key_from_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = simulator(folder.path());
    let gateway = Server::start(
        bailian(folder.path())
            .args(["serve", "--listen", "127.0.0.1:0"])
            .env("DASHSCOPE_API_KEY", "sk-upstream")
            .env("DASHSCOPE_BASE_URL", upstream.url())
            .env("BAILIAN_API_KEY", "a-key-of-ours"),
    );
    let url = gateway.url();
    assert_eq!(
        send(&url, "POST", PATH, Some("a-key-of-ours"), QUESTION).status,
        200
    );
    assert_eq!(
        send(&url, "POST", PATH, Some("sk-upstream"), QUESTION).status,
        401
    );
    assert_eq!(send(&url, "POST", PATH, None, QUESTION).status, 401);
    assert_eq!(send(&url, "GET", "/healthz", None, "").status, 200);
    assert_eq!(send(&url, "GET", "/readyz", None, "").status, 200);
}

#[test]
fn serve_makes_a_key_and_prints_it_when_none_is_set() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = simulator(folder.path());
    // The file in the working directory fills in what the environment leaves open.
    let dotenv = format!(
        "DASHSCOPE_API_KEY=sk-upstream\nDASHSCOPE_BASE_URL={}\n",
        upstream.url()
    );
    std::fs::write(folder.path().join(".env"), dotenv).unwrap();
    let gateway = Server::start(bailian(folder.path()).args(["serve", "--listen", "127.0.0.1:0"]));
    let line = gateway.line();
    let key = line.rsplit(' ').next().unwrap();
    assert!(key.starts_with("bl-") && key.len() > 30, "{line}");
    assert_eq!(
        send(&gateway.url(), "POST", PATH, Some(key), QUESTION).status,
        200
    );
}

#[test]
fn serve_takes_a_configuration_file() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = simulator(folder.path());
    let file = format!(
        "listen = \"127.0.0.1:0\"\nthreads = 1\n\
         [[accounts]]\napi_keys = [\"env:MY_UPSTREAM_KEY\"]\nbase_url = \"{}\"\n\
         [[keys]]\nname = \"app\"\nkey = \"a-key-of-ours\"\n",
        upstream.url()
    );
    std::fs::write(folder.path().join("gateway.toml"), file).unwrap();
    let gateway = Server::start(
        bailian(folder.path())
            .args(["serve", "--config", "gateway.toml"])
            .env("MY_UPSTREAM_KEY", "sk-upstream"),
    );
    let url = gateway.url();
    assert_eq!(
        send(&url, "POST", PATH, Some("a-key-of-ours"), QUESTION).status,
        200
    );
}

#[test]
fn a_stream_that_is_open_is_drained_before_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = simulator(folder.path());
    let url = upstream.url();
    let slow = r#"{"speed":{"ttft_ms":20,"tokens_per_second":60}}"#;
    assert_eq!(send(&url, "PUT", "/__sim/config", None, slow).status, 200);
    let mut gateway = Server::start(
        bailian(folder.path())
            .args(["serve", "--listen", "127.0.0.1:0"])
            .env("DASHSCOPE_API_KEY", "sk-upstream")
            .env("DASHSCOPE_BASE_URL", url)
            .env("BAILIAN_API_KEY", "a-key-of-ours"),
    );
    let mut answer = send(
        &gateway.url(),
        "POST",
        PATH,
        Some("a-key-of-ours"),
        LONG_STREAM,
    );
    assert_eq!(answer.status, 200);
    let first = answer.line();
    gateway.terminate();
    let rest = answer.rest();
    assert!(rest.contains("data: [DONE]"), "{first}{rest}");
    assert_eq!(gateway.ended().code(), Some(0));
}

#[test]
fn every_mistake_of_a_configuration_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = "listen = \"nowhere\"\n[[accounts]]\napi_keys = [\"env:MY_UPSTREAM_KEY\"]\n\
                [[keys]]\nname = \"app\"\nkey = \"short\"\n";
    std::fs::write(folder.path().join("gateway.toml"), file).unwrap();
    let output = run(
        bailian(folder.path()).args(["serve", "--config", "gateway.toml"]),
        "",
    );
    assert_eq!(output.status.code(), Some(2));
    let error = text(&output.stderr);
    for word in ["listen", "MY_UPSTREAM_KEY", "at least 8 characters"] {
        assert!(error.contains(word), "{word} is not in: {error}");
    }
    assert!(!error.contains("short"), "{error}");
}

#[test]
fn a_missing_configuration_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(
        bailian(folder.path()).args(["serve", "--config", "absent.toml"]),
        "",
    );
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("absent.toml"));
}

#[test]
fn an_address_that_is_taken_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = run(
        bailian(folder.path())
            .args(["serve", "--listen", &address])
            .env("DASHSCOPE_API_KEY", "sk-upstream"),
        "",
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains(&address));
}

#[test]
fn log_lines_are_json_on_request() {
    let folder = tempfile::tempdir().unwrap();
    let mut gateway = Server::start(
        bailian(folder.path())
            .args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json"])
            .env("DASHSCOPE_API_KEY", "sk-upstream"),
    );
    gateway.url();
    gateway.terminate();
    let lines = gateway.rest_of_stderr();
    assert!(!lines.is_empty());
    for line in lines {
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert!(line["level"].is_string());
    }
    assert_eq!(gateway.ended().code(), Some(0));
}
