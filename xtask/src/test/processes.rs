//! The product's processes as a user would start them.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::lines;

/// How long a process may take to accept connections, and to end after SIGTERM.
const PATIENCE: Duration = Duration::from_secs(30);

/// Builds the binary with the profile the tests use and returns its path.
pub(super) fn build(root: &Path) -> anyhow::Result<PathBuf> {
    let mut binary = None;
    let output = lines::run_quiet(crate::cargo().current_dir(root).args([
        "build",
        "--locked",
        "--package",
        "bailian-cli",
        "--message-format=json-render-diagnostics",
    ]))?;
    for message in output.lines() {
        let message: serde_json::Value = serde_json::from_str(message)?;
        if message["target"]["name"] == "bailian"
            && let Some(path) = message["executable"].as_str()
        {
            binary = Some(PathBuf::from(path));
        }
    }
    binary.context("cargo did not say where the binary `bailian` is")
}

/// A running process. Dropped, it is killed.
#[derive(Debug)]
pub(super) struct Process {
    name: &'static str,
    child: Child,
    output: mpsc::Receiver<String>,
    log: Arc<Mutex<Vec<String>>>,
}

impl Process {
    /// Starts `bailian` in an empty environment apart from `PATH` and `environment`, in a folder
    /// without `.env`, so that nothing of the developer's own settings gets in.
    pub(super) fn start(
        name: &'static str,
        binary: &Path,
        arguments: &[&str],
        environment: &[(&str, &str)],
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let mut child = Command::new(binary)
            .args(arguments)
            .current_dir(folder)
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .env("HOME", folder)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        let (sender, output) = mpsc::channel();
        let log = Arc::new(Mutex::new(Vec::new()));
        if let Some(stdout) = child.stdout.take() {
            let (sender, log) = (sender.clone(), Arc::clone(&log));
            std::thread::spawn(move || collect(stdout, &sender, &log));
        }
        if let Some(stderr) = child.stderr.take() {
            let log = Arc::clone(&log);
            std::thread::spawn(move || collect(stderr, &sender, &log));
        }
        Ok(Self {
            name,
            child,
            output,
            log,
        })
    }

    /// Waits for a line that `wanted` turns into a value.
    pub(super) fn wait_for<T>(&self, wanted: impl Fn(&str) -> Option<T>) -> anyhow::Result<T> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.output.recv_timeout(left) else {
                anyhow::bail!("{} did not get ready; it said:\n{}", self.name, self.said());
            };
            if let Some(value) = wanted(&line) {
                return Ok(value);
            }
        }
    }

    /// Sends SIGTERM and expects a clean end: exit status 0 and no panic on the way.
    pub(super) fn stop(mut self) -> anyhow::Result<()> {
        lines::run_quiet(Command::new("kill").args(["-TERM", &self.child.id().to_string()]))?;
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            anyhow::ensure!(
                Instant::now() < deadline,
                "{} did not end after SIGTERM; it said:\n{}",
                self.name,
                self.said()
            );
            std::thread::sleep(Duration::from_millis(10));
        };
        let said = self.said();
        anyhow::ensure!(
            status.success(),
            "{} ended with {status}:\n{said}",
            self.name
        );
        anyhow::ensure!(
            !said.contains("panicked at"),
            "{} panicked:\n{said}",
            self.name
        );
        Ok(())
    }

    fn said(&self) -> String {
        self.log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when the process has ended already, which is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Reads to the end of a stream, so that the process never blocks on a full pipe.
fn collect(stream: impl std::io::Read, lines: &mpsc::Sender<String>, log: &Mutex<Vec<String>>) {
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        log.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(line.clone());
        // Nobody listens after the process is ready; the log keeps the line.
        drop(lines.send(line));
    }
}
