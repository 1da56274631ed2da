//! `bailian serve --take-over`, between real processes.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at what it did not expect"
)]

use std::io::{BufRead as _, BufReader};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Resource, Signal, getrlimit, kill_process, setrlimit};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const KEY: &str = "sk-bl-test-key-0001";
const STREAMS: usize = 1000;

/// A process that is stopped at the end of the test, whatever becomes of that.
struct Process {
    child: Child,
    address: String,
}

impl Process {
    /// Starts `bailian` and waits until it listens.
    fn start(folder: &Path, arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_bailian"))
            .args(arguments)
            .current_dir(folder)
            .env("RUST_LOG", "warn")
            .env("NOTIFY_SOCKET", folder.join("notify.sock"))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = Vec::new();
        let address = loop {
            let Some(line) = lines.next() else {
                panic!("{arguments:?} ended: {said:?}");
            };
            let line = line.unwrap();
            if let Some(address) = line.strip_prefix("listening on http://") {
                break address.to_owned();
            }
            said.push(line);
        };
        // Whatever else it says is read, so that it never waits for this test.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address }
    }

    fn terminate(&self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
    }

    async fn ended(&mut self) -> i32 {
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn request(stream: bool, more: &str) -> String {
    let body = format!(
        r#"{{"model":"qwen-plus","stream":{stream},"messages":[{{"role":"user","content":"你好"}}]}}"#
    );
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {KEY}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n{more}\r\n{body}",
        body.len()
    )
}

async fn send(address: &str, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

async fn rest(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

fn configuration(upstream: &str, folder: &TempDir) -> String {
    let text = format!(
        r#"
        listen = "127.0.0.1:0"
        threads = 2
        hand_over = "gateway.sock"
        [[accounts]]
        api_keys = ["sk-upstream-0001"]
        base_url = "http://{upstream}"
        forward_headers = ["x-sim-*"]
        [[keys]]
        name = "test"
        key = "{KEY}"
        "#
    );
    let path = folder.path().join("gateway.toml");
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[tokio::test]
async fn a_restart_with_a_thousand_open_streams_drops_none_and_refuses_nothing() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    let folder = tempfile::tempdir().unwrap();
    // In the place of systemd.
    let manager = UnixDatagram::bind(folder.path().join("notify.sock")).unwrap();
    manager
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let told = |process: &Process| {
        let mut message = [0; 64];
        let length = manager.recv(&mut message).unwrap();
        let expected = format!("READY=1\nMAINPID={}\n", process.child.id());
        assert_eq!(&message[..length], expected.as_bytes());
    };
    let simulator = Process::start(folder.path(), &["sim", "--listen", "127.0.0.1:0"]);
    let config = configuration(&simulator.address, &folder);
    let mut first = Process::start(folder.path(), &["serve", "--config", &config]);
    let address = first.address.clone();
    told(&first);

    let finished = Arc::new(AtomicUsize::new(0));
    let mut streams = JoinSet::new();
    let slow = request(true, "x-sim-tokens: 40\r\nx-sim-tps: 5\r\n");
    for _ in 0..STREAMS {
        let mut stream = send(&address, &slow).await;
        let finished = Arc::clone(&finished);
        streams.spawn(async move {
            let mut head = [0; 12];
            stream.read_exact(&mut head).await.unwrap();
            assert_eq!(&head, b"HTTP/1.1 200");
            let answer = rest(stream).await;
            finished.fetch_add(1, Ordering::Relaxed);
            answer
        });
    }
    let stop = Arc::new(AtomicBool::new(false));
    let mut load = JoinSet::new();
    for _ in 0..4 {
        let (stop, address) = (Arc::clone(&stop), address.clone());
        load.spawn(async move {
            let mut served = 0;
            while !stop.load(Ordering::Relaxed) {
                let answer = rest(send(&address, &request(false, "")).await).await;
                assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
                served += 1;
            }
            served
        });
    }

    let arguments = ["serve", "--config", &config, "--listen", &address];
    // Without being asked to, nobody takes the place of another.
    let refused = Command::new(env!("CARGO_BIN_EXE_bailian"))
        .args(arguments)
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let folder_path = folder.path().to_owned();
    let config_path = config.clone();
    let listen = address.clone();
    let mut second = tokio::task::spawn_blocking(move || {
        let arguments = [
            "serve",
            "--config",
            &config_path,
            "--listen",
            &listen,
            "--take-over",
        ];
        Process::start(&folder_path, &arguments)
    })
    .await
    .unwrap();
    assert_eq!(second.address, address);
    told(&second);
    assert_eq!(
        finished.load(Ordering::Relaxed),
        0,
        "the streams are too short"
    );

    // The first ends by itself, when its streams have ended.
    assert_eq!(first.ended().await, 0);
    while let Some(answer) = streams.join_next().await {
        let answer = answer.unwrap();
        assert!(answer.contains("data: [DONE]\n\n"), "{answer}");
        assert!(answer.ends_with("0\r\n\r\n"), "{answer}");
        assert!(!answer.contains("error"), "{answer}");
    }
    assert_eq!(finished.load(Ordering::Relaxed), STREAMS);
    stop.store(true, Ordering::Relaxed);
    while let Some(served) = load.join_next().await {
        assert!(served.unwrap() > 0);
    }
    second.terminate();
    assert_eq!(second.ended().await, 0);
    assert!(!folder.path().join("gateway.sock").exists());
}
