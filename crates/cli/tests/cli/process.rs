//! Starting the binary and reading what it says.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// The binary with nothing of this machine's settings, in `folder`.
pub(crate) fn bailian(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bailian"));
    command.current_dir(folder).env_clear().env("HOME", folder);
    command
}

/// Runs to the end with `input` piped in.
pub(crate) fn run(command: &mut Command, input: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let written = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    // A program that refuses its command line does not read its input.
    assert!(written.is_ok() || !output.status.success());
    output
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A server that is running. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    stdout: mpsc::Receiver<String>,
    stderr: mpsc::Receiver<String>,
}

impl Server {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = lines(child.stdout.take().unwrap());
        let stderr = lines(child.stderr.take().unwrap());
        Self {
            child,
            stdout,
            stderr,
        }
    }

    /// The first line on standard output.
    pub(crate) fn line(&self) -> String {
        self.stdout.recv_timeout(PATIENCE).unwrap()
    }

    /// The URL of the line that says connections are accepted.
    pub(crate) fn url(&self) -> String {
        loop {
            let line = self.error_line();
            if let Some(url) = line.strip_prefix("listening on ") {
                return url.to_owned();
            }
        }
    }

    /// What is said on standard error from here to the end of the process.
    pub(crate) fn rest_of_stderr(&self) -> Vec<String> {
        self.stderr.iter().collect()
    }

    /// The process' number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// This and its URL.
    pub(crate) fn kept(self) -> (Self, String) {
        let url = self.url();
        (self, url)
    }

    /// The next line on standard error.
    pub(crate) fn error_line(&self) -> String {
        self.stderr.recv_timeout(PATIENCE).unwrap()
    }

    /// The next line on standard error with this in it.
    pub(crate) fn says(&self, part: &str) -> String {
        loop {
            let line = self.error_line();
            if line.contains(part) {
                return line;
            }
        }
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &id])
            .status();
        assert!(sent.unwrap().success());
    }

    /// Waits for the end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the server did not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn lines(stream: impl std::io::Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        while reader.read_line(&mut line).is_ok_and(|length| length > 0) {
            drop(sender.send(line.trim_end().to_owned()));
            line.clear();
        }
    });
    receiver
}
