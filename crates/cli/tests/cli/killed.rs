//! The ledger of a gateway that is killed again and again: no finished request is lost, none is
//! there twice, and what was in flight is known to be.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bailian_ledger::{Filter, Page, Reader, Record, Sqlite};

use crate::process::{Server, bailian};

const KEY: &str = "sk-bl-killed-0001";

/// How many requests are sent in all; `cargo xtask test` asks for the whole number.
fn requests() -> u64 {
    let wanted = std::env::var("BAILIAN_MIXED").ok();
    wanted.and_then(|n| n.parse().ok()).unwrap_or(600)
}

/// What clients know: requests that they saw the end of, with the tokens that they were told.
type Seen = Mutex<BTreeMap<String, (u64, u64)>>;

#[test]
fn a_gateway_that_is_killed_again_and_again_loses_no_finished_request_and_counts_none_twice() {
    let folder = tempfile::tempdir().unwrap();
    let simulator = Server::start(bailian(folder.path()).args(["sim", "--listen", "127.0.0.1:0"]));
    let config = folder.path().join("gateway.toml");
    let text = format!(
        "listen = \"127.0.0.1:0\"\nthreads = 2\n[data]\nfolder = \"{}\"\n[[accounts]]\napi_keys = [\"sk-up-0001\"]\n\
         base_url = \"{}\"\nforward_headers = [\"x-sim-*\"]\n[[accounts.limits]]\nmodel = \"*\"\n\
         requests = [\"100000/1s\"]\nramp = false\n[[keys]]\nname = \"app\"\nkey = \"{KEY}\"\n",
        folder.path().join("data").display(),
        simulator.url()
    );
    std::fs::write(&config, text).unwrap();
    let start = || {
        Server::start(
            bailian(folder.path())
                .arg("serve")
                .arg("--config")
                .arg(&config),
        )
    };
    let (sent, seen) = (AtomicU64::new(0), Seen::default());
    let mut kills = 0;
    while sent.load(Ordering::Relaxed) < requests() {
        let server = start();
        let address = server.url().trim_start_matches("http://").to_owned();
        let stopped = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    while !stopped.load(Ordering::Relaxed) {
                        let Ok(connection) = TcpStream::connect(&address) else {
                            break;
                        };
                        let number = sent.fetch_add(1, Ordering::Relaxed);
                        if let Some((id, tokens)) = ask(connection, number) {
                            seen.lock().unwrap().insert(id, tokens);
                        }
                    }
                });
            }
            // Not a wait for something, but the moment of the accident.
            std::thread::sleep(Duration::from_millis(150 + (kills * 137) % 400));
            // Dropped, it is killed: SIGKILL, in the middle of everything.
            drop(server);
            stopped.store(true, Ordering::Relaxed);
        });
        kills += 1;
    }
    // The last one finds what the others left, and ends as it should.
    let mut server = start();
    let _listening = server.url();
    server.terminate();
    assert!(server.ended().success());
    let seen = seen.into_inner().unwrap();
    let records = records(&folder.path().join("data"));
    let mut by_id = BTreeMap::new();
    for record in &records {
        let id = record.begin.id.to_string();
        assert!(by_id.insert(id, record).is_none(), "twice: {record:?}");
    }
    assert!(
        kills > 0 && seen.len() as u64 > requests() / 4,
        "{kills} kills, {} seen",
        seen.len()
    );
    for (id, (input, output)) in &seen {
        let record = by_id.get(id).unwrap_or_else(|| lost(id, &records));
        let end = &record.end;
        assert!(record.settled && !end.estimated, "{record:?}");
        assert_eq!(end.outcome.as_str(), "completed");
        assert_eq!(
            (end.tokens.input, end.tokens.output),
            (*input, *output),
            "{record:?}"
        );
        assert!(end.cost.is_some(), "{record:?}");
    }
    for record in &records {
        let outcome = record.end.outcome.as_str();
        if !record.settled {
            assert!(outcome == "unknown" && record.end.estimated, "{record:?}");
        }
    }
}

#[expect(clippy::panic, reason = "it ends the test")]
fn lost(id: &str, records: &[Record]) -> ! {
    panic!("{id} is not among {} records", records.len());
}

fn records(data: &Path) -> Vec<Record> {
    let mut reader = Reader::new(Sqlite::new(data.join("ledger.db")));
    let mut all = Vec::new();
    let mut page = Page::first(Page::MOST);
    loop {
        let records = reader.records(&Filter::default(), page).unwrap();
        let Some(last) = records.last() else {
            return all;
        };
        page = page.after(last.cursor());
        all.extend(records);
    }
}

/// Sends one request and reads its answer; the gateway's id and the reported tokens if it came whole.
fn ask(mut connection: TcpStream, number: u64) -> Option<(String, (u64, u64))> {
    let stream = number.is_multiple_of(2);
    let body = format!(
        "{{\"model\":\"qwen-plus\",\"stream\":{stream},\"stream_options\":{},\
         \"messages\":[{{\"role\":\"user\",\"content\":\"问题 {number}\"}}]}}",
        if stream {
            "{\"include_usage\":true}"
        } else {
            "null"
        }
    );
    connection
        .set_read_timeout(Some(Duration::from_secs(20)))
        .ok()?;
    write!(
        connection,
        "POST /v1/chat/completions HTTP/1.1\r\nhost: gateway.test\r\nauthorization: Bearer {KEY}\r\n\
         content-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .ok()?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).ok()?;
    let is_whole = if stream {
        answer.contains("data: [DONE]\n\n")
    } else {
        answer.trim_end().ends_with('}')
    };
    if !is_whole || !answer.starts_with("HTTP/1.1 200") {
        return None;
    }
    let id = answer
        .lines()
        .find_map(|line| line.strip_prefix("x-request-id: "))?;
    let count = |name: &str| {
        let at = answer.rfind(name)? + name.len();
        let digits: String = answer[at..]
            .chars()
            .take_while(char::is_ascii_digit)
            .collect();
        digits.parse::<u64>().ok()
    };
    let tokens = (
        count("\"prompt_tokens\":")?,
        count("\"completion_tokens\":")?,
    );
    Some((id.trim().to_owned(), tokens))
}
