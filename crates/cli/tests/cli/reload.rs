//! The configuration of a running gateway, changed by file and signal.

#![cfg(unix)]

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::http::send;
use crate::process::{Server, bailian};

const PATH: &str = "/compatible-mode/v1/chat/completions";
const QUESTION: &str =
    r#"{"model":"qwen-plus","messages":[{"role":"user","content":"西湖在哪里？"}]}"#;
const STREAM: &str =
    r#"{"model":"qwen-plus","stream":true,"messages":[{"role":"user","content":"西湖在哪里？"}]}"#;

fn simulator(folder: &Path) -> Server {
    Server::start(bailian(folder).args(["sim", "--listen", "127.0.0.1:0"]))
}

fn file(upstream: &str, reload: &str, key: &str) -> String {
    format!(
        "listen = \"127.0.0.1:0\"\nthreads = 1\nreload = \"{reload}\"\n\
         [[accounts]]\napi_keys = [\"sk-upstream\"]\nbase_url = \"{upstream}\"\n\
         [[accounts.limits]]\nmodel = \"*\"\nrequests = [\"100000/1s\"]\nramp = false\n\
         [[keys]]\nname = \"app\"\nkey = \"{key}\"\n"
    )
}

fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(&new, path).unwrap();
}

#[test]
fn sighup_loads_the_file_again_and_a_bad_one_is_refused_with_its_line_while_the_old_one_stays() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = simulator(folder.path()).kept();
    let path = folder.path().join("gateway.toml");
    let good = file(&upstream.1, "signal", "first-key-0001");
    replace(&path, &good);
    let gateway = Server::start(
        bailian(folder.path())
            .args(["serve", "--config", "gateway.toml"])
            .env("BAILIAN__LIMITS__MAX_BODY_BYTES", "1000"),
    );
    let url = gateway.url();
    let ask = |key: &str| send(&url, "POST", PATH, Some(key), QUESTION).status;
    assert_eq!(ask("first-key-0001"), 200);

    let bad = good.replace("first-key-0001", "second-key-001");
    replace(&path, &bad.replace("threads = 1", "treads = 1"));
    gateway.signal("HUP");
    gateway.says("SIGHUP: loading the configuration again");
    let refusal = gateway.says("the configuration stays as it is");
    for part in ["treads", "line=2", "did you mean `threads`?"] {
        assert!(refusal.contains(part), "{part}: {refusal}");
    }
    assert_eq!((ask("first-key-0001"), ask("second-key-001")), (200, 401));

    replace(&path, &bad);
    gateway.signal("HUP");
    gateway.says("the configuration was loaded again");
    assert_eq!((ask("first-key-0001"), ask("second-key-001")), (401, 200));
    // What a variable says holds on.
    let long = QUESTION.replace("西湖", &"西湖".repeat(300));
    let status = send(&url, "POST", PATH, Some("second-key-001"), &long).status;
    assert_eq!(status, 413);
}

#[test]
fn sighup_does_not_end_a_gateway_that_has_nothing_to_load_again() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = simulator(folder.path()).kept();
    let path = folder.path().join("gateway.toml");
    replace(&path, &file(&upstream.1, "off", "first-key-0001"));
    let with_file =
        Server::start(bailian(folder.path()).args(["serve", "--config", "gateway.toml"]));
    let without = Server::start(
        bailian(folder.path())
            .args(["serve", "--listen", "127.0.0.1:0"])
            .env("DASHSCOPE_API_KEY", "sk-upstream")
            .env("DASHSCOPE_BASE_URL", &upstream.1)
            .env("BAILIAN_API_KEY", "first-key-0001"),
    );
    for (gateway, why) in [
        (with_file, "`reload` is off"),
        (without, "there is no configuration file"),
    ] {
        let url = gateway.url();
        gateway.signal("HUP");
        let said = gateway.says("SIGHUP: nothing is loaded again");
        assert!(said.contains(why), "{said}");
        let answer = send(&url, "POST", PATH, Some("first-key-0001"), QUESTION);
        assert_eq!(answer.status, 200);
    }
}

#[test]
fn sighup_while_the_configuration_is_read_for_the_first_time_ends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.toml");
    let made = Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    let gateway = Server::start(bailian(folder.path()).args(["serve", "--config", "gateway.toml"]));
    // Opening it waits until the gateway reads.
    let mut pipe = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    gateway.signal("HUP");
    let text = file("http://127.0.0.1:9", "off", "first-key-0001");
    std::io::Write::write_all(&mut pipe, text.as_bytes()).unwrap();
    drop(pipe);
    let (mut url, mut is_told) = (None, false);
    while url.is_none() || !is_told {
        let line = gateway.error_line();
        is_told |= line.contains("SIGHUP: nothing is loaded again");
        url = url.or(line.strip_prefix("listening on ").map(str::to_owned));
    }
    let answer = send(&url.unwrap(), "GET", "/healthz", None, "");
    assert_eq!(answer.status, 200);
}

#[test]
fn a_hundred_signals_under_load_break_no_request() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = simulator(folder.path()).kept();
    let path = folder.path().join("gateway.toml");
    let text = file(&upstream.1, "signal", "first-key-0001");
    replace(&path, &text);
    let gateway = Server::start(bailian(folder.path()).args(["serve", "--config", "gateway.toml"]));
    let url = gateway.url();
    let (is_over, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for body in [QUESTION, STREAM] {
            let (url, is_over, served) = (&url, &is_over, &served);
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    let answer = send(url, "POST", PATH, Some("first-key-0001"), body);
                    assert_eq!(answer.status, 200);
                    let rest = answer.rest();
                    assert!(body == QUESTION || rest.contains("data: [DONE]"), "{rest}");
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for round in 0..100 {
            replace(
                &path,
                &format!("{text}[limits]\nmax_connections = {}\n", 100 + round),
            );
            gateway.signal("HUP");
            gateway.says("the configuration was loaded again");
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert!(served.load(Ordering::Relaxed) > 0);
}
