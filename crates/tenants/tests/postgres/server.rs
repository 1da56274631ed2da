//! A PostgreSQL server of the tests, on a socket in a folder and on no port.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// Stopped when no test needs it any more.
pub(crate) struct Server {
    process: Child,
    folder: tempfile::TempDir,
}

static RUNNING: Mutex<Weak<Server>> = Mutex::new(Weak::new());

impl Server {
    /// The one that runs already, or a new one.
    pub(crate) fn shared() -> Arc<Self> {
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = running.upgrade() {
            return server;
        }
        let server = Arc::new(Self::start());
        *running = Arc::downgrade(&server);
        server
    }

    pub(crate) fn url(&self, database: &str) -> String {
        let socket = self.folder.path().display().to_string();
        let socket = socket.replace('/', "%2F");
        format!("postgres://postgres@{socket}/{database}?sslmode=disable")
    }

    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        if let Some((user, group)) = other_user() {
            std::os::unix::fs::chown(folder.path(), Some(user), Some(group)).unwrap();
        }
        let data = folder.path().join("data");
        let made = command("initdb", folder.path())
            .args(["--username=postgres", "--auth=trust", "--no-sync", "-D"])
            .arg(&data)
            .status()
            .unwrap();
        assert!(made.success(), "initdb failed");
        let process = command("postgres", folder.path())
            .arg("-D")
            .arg(&data)
            .args(["-c", "listen_addresses=", "-c", "fsync=off", "-k"])
            .arg(folder.path())
            .spawn()
            .unwrap();
        let mut server = Self { process, folder };
        server.wait();
        server
    }

    /// The socket is there before the server admits anybody.
    fn wait(&mut self) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let url = self.url("postgres");
        let began = Instant::now();
        while runtime
            .block_on(tokio_postgres::connect(&url, tokio_postgres::NoTls))
            .is_err()
        {
            let has_ended = self.process.try_wait().unwrap().is_some();
            assert!(!has_ended, "postgres has ended");
            assert!(began.elapsed() < Duration::from_mins(1), "no postgres");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let data = self.folder.path().join("data");
        let _ = command("pg_ctl", self.folder.path())
            .args(["-m", "immediate", "stop", "-D"])
            .arg(data)
            .status();
        let _ = self.process.wait();
    }
}

/// A program of the server, under a user that it agrees to run under.
fn command(program: &str, folder: &Path) -> Command {
    let mut command = Command::new(find(program));
    if let Some((user, group)) = other_user() {
        command.uid(user).gid(group);
    }
    command
        .current_dir(folder)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// Debian keeps the server's programs beside the path, by version.
fn find(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    if let Ok(versions) = std::fs::read_dir("/usr/lib/postgresql") {
        let versions = versions.filter_map(Result::ok);
        folders.extend(versions.map(|version| version.path().join("bin")));
    }
    let mut programs = folders.into_iter().map(|folder| folder.join(program));
    programs
        .find(|program| program.exists())
        .unwrap_or_else(|| unreachable!("no {program}: is PostgreSQL's server installed?"))
}

/// The server refuses to run as root; then its package's user is there.
fn other_user() -> Option<(u32, u32)> {
    let id = |arguments: &[&str]| -> Option<u32> {
        let output = Command::new("id").args(arguments).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    if id(&["-u"]) == Some(0) {
        Some((id(&["-u", "postgres"])?, id(&["-g", "postgres"])?))
    } else {
        None
    }
}
