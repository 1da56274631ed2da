//! A PostgreSQL server of one test, on a socket in a temporary folder.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bailian_ledger::{Connect as _, Postgres};

/// The user a server runs as when the tests run as root, whom PostgreSQL refuses.
const UNPRIVILEGED: &str = "nobody";

/// Stopped when dropped.
pub(crate) struct Server {
    process: Option<Child>,
    folder: tempfile::TempDir,
}

impl Server {
    pub(crate) fn start() -> Self {
        // A socket's path is short, which the usual folder for temporary files allows for.
        let folder = tempfile::tempdir().unwrap();
        if is_root() {
            let owner = Command::new("chown")
                .arg(UNPRIVILEGED)
                .arg(folder.path())
                .status()
                .unwrap();
            assert!(owner.success());
        }
        let made = program("initdb", folder.path())
            .args(["--auth=trust", "--username=bailian", "--encoding=UTF8"])
            .args(["--no-locale", "--no-sync", "-D"])
            .arg(folder.path().join("data"))
            .output()
            .expect("initdb must be installed");
        assert!(made.status.success(), "{made:?}");
        let mut server = Self {
            process: None,
            folder,
        };
        server.resume();
        server
    }

    /// Starts the server again after [`stop`](Self::stop).
    pub(crate) fn resume(&mut self) {
        let process = program("postgres", self.folder.path())
            .arg("-D")
            .arg(self.folder.path().join("data"))
            .arg("-k")
            .arg(self.folder.path())
            // The socket is enough, so that no port is taken.
            .args(["-c", "listen_addresses=", "-c", "max_connections=20"])
            // No machine loses its power here.
            .arg("-F")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("postgres must be installed");
        self.process = Some(process);
        let began = Instant::now();
        while self.store().connect().is_err() {
            assert!(
                began.elapsed() < Duration::from_mins(1),
                "it does not start"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends the server as if its machine were lost.
    pub(crate) fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // The first process of a server ends the others when it is told to quit; killed, it
            // would leave them behind.
            let told = Command::new("kill")
                .args(["-QUIT", &process.id().to_string()])
                .status();
            assert!(told.unwrap().success());
            process.wait().unwrap();
        }
    }

    pub(crate) fn address(&self) -> String {
        format!(
            "host={} user=bailian dbname=postgres",
            self.folder.path().display()
        )
    }

    /// Where it listens.
    #[allow(dead_code, reason = "for tests of other crates that share this file")]
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join(".s.PGSQL.5432")
    }

    pub(crate) fn store(&self) -> Postgres {
        Postgres::new(&self.address()).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout.trim_ascii() == b"0"
}

/// A program of PostgreSQL, as a user whom it accepts.
fn program(name: &str, folder: &Path) -> Command {
    let program = find(name);
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid", UNPRIVILEGED, "--clear-groups", "--"])
            .arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir(folder);
    command
}

/// Debian keeps the server's programs outside of `PATH`, by version.
fn find(name: &str) -> PathBuf {
    let in_path = std::env::var_os("PATH")
        .iter()
        .flat_map(std::env::split_paths)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
    in_path
        .or_else(|| {
            std::fs::read_dir("/usr/lib/postgresql")
                .ok()?
                .filter_map(|version| Some(version.ok()?.path().join("bin").join(name)))
                .filter(|path| path.is_file())
                .max()
        })
        .unwrap_or_else(|| name.into())
}
