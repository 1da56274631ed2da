//! A gateway whose disk is full for a while: requests are served, it says so, and nothing is lost.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use bailian_ledger::{Filter, Page, Reader, Sqlite};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::{Value, json};

use crate::http::send;
use crate::process::{Server, bailian};

const KEY: &str = "sk-bl-disk-0001";
const PATIENCE: Duration = Duration::from_mins(1);

/// Lets the files of a process grow, or not at all. Pipes and sockets are no files.
fn files_may_grow(server: &Server, may: bool) {
    let limit = Rlimit {
        current: if may { None } else { Some(0) },
        maximum: None,
    };
    let process = Pid::from_raw(server.id().cast_signed());
    prlimit(process, Resource::Fsize, limit).unwrap();
}

fn readiness(url: &str) -> Value {
    let answer = send(url, "GET", "/readyz", None, "");
    assert_eq!(answer.status, 200);
    answer.json()
}

fn until(url: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let began = Instant::now();
    loop {
        let ready = readiness(url);
        if holds(&ready) {
            return ready;
        }
        assert!(began.elapsed() < PATIENCE, "never: {what}: {ready}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The id that upstream gave to a request which was answered.
fn ask(url: &str, number: usize) -> String {
    let content = format!("问题 {number}");
    let body =
        json!({ "model": "qwen-plus", "messages": [{ "role": "user", "content": content }] });
    let path = "/v1/chat/completions";
    let answer = send(url, "POST", path, Some(KEY), &body.to_string());
    assert_eq!(answer.status, 200);
    answer.json()["id"].as_str().unwrap().to_owned()
}

fn metric(url: &str, name: &str) -> u64 {
    let text = send(url, "GET", "/metrics", None, "").rest();
    let mut lines = text.lines();
    let value = lines.find_map(|line| line.strip_prefix(&format!("{name} ")));
    value.unwrap().parse().unwrap()
}

#[test]
fn a_full_disk_stops_no_request_and_costs_no_record() {
    let folder = tempfile::tempdir().unwrap();
    let simulator = Server::start(bailian(folder.path()).args(["sim", "--listen", "127.0.0.1:0"]));
    let config = folder.path().join("gateway.toml");
    let data = folder.path().join("data");
    let text = format!(
        "listen = \"127.0.0.1:0\"\nthreads = 2\n[data]\nfolder = \"{}\"\n[[accounts]]\napi_keys = [\"sk-up-0001\"]\n\
         base_url = \"{}\"\n[[accounts.limits]]\nmodel = \"*\"\nrequests = [\"100000/1s\"]\nramp = false\n\
         [[keys]]\nname = \"app\"\nkey = \"{KEY}\"\n",
        data.display(),
        simulator.url()
    );
    std::fs::write(&config, text).unwrap();
    // The signal for too long a file is ignored, so that the write fails instead, as on a full disk.
    // No file may be so long from the start that the spool could reserve room, which would last.
    let mut command = Command::new("sh");
    command
        .args(["-c", "trap '' XFSZ; ulimit -S -f 2048; exec \"$0\" \"$@\""])
        .arg(env!("CARGO_BIN_EXE_bailian"))
        .args(["serve", "--config"])
        .arg(&config)
        .current_dir(folder.path())
        .env_clear()
        .env("HOME", folder.path());
    let mut server = Server::start(&mut command);
    let url = server.url();
    let mut sent = 0;
    let mut some = |count: usize| {
        let answered: Vec<_> = (sent..sent + count)
            .map(|number| ask(&url, number))
            .collect();
        sent += count;
        answered
    };
    let mut answered = some(20);
    until(&url, "all is well", |ready| ready["status"] == "ready");

    files_may_grow(&server, false);
    answered.extend(some(50));
    let ready = until(&url, "spool and store are full", |ready| {
        ready["ledger"]["spool_ok"] == false && ready["ledger"]["store_ok"] == false
    });
    assert_eq!(ready["status"], "degraded");
    let problems = ready["problems"].to_string();
    assert!(problems.contains("spool cannot be written"), "{problems}");
    assert_eq!(metric(&url, "bailian_ledger_spool_ok"), 0);
    assert_eq!(metric(&url, "bailian_ledger_store_ok"), 0);
    answered.extend(some(50));
    assert_eq!(metric(&url, "bailian_ledger_lost_total"), 0);

    files_may_grow(&server, true);
    answered.extend(some(20));
    until(&url, "all is well again", |ready| {
        ready["status"] == "ready" && ready["ledger"]["backlog_bytes"] == 0
    });
    server.terminate();
    assert!(server.ended().success());
    let log = server.rest_of_stderr();
    for words in [
        "the ledger's store fails",
        "the ledger's spool cannot be written",
        "the ledger's spool can be written again",
    ] {
        let times = log.iter().filter(|line| line.contains(words)).count();
        assert!(times > 0, "{words}: {log:#?}");
    }

    let mut reader = Reader::new(Sqlite::new(data.join("ledger.db")));
    let records = reader
        .records(&Filter::default(), Page::first(Page::MOST))
        .unwrap();
    assert_eq!(records.len(), answered.len());
    let ids: BTreeSet<_> = records.iter().map(|record| record.begin.id).collect();
    assert_eq!(ids.len(), records.len(), "no record is doubled");
    for record in &records {
        assert!(record.settled, "{record:?}");
        assert_eq!(record.end.outcome.as_str(), "completed", "{record:?}");
        assert!(record.end.tokens.output > 0, "{record:?}");
    }
}
