//! Child processes: pinned to a core, with their output kept for when they fail.

use std::ffi::OsString;
use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

/// How long a server may take until it accepts connections; under valgrind everything is slow.
const START_LIMIT: Duration = Duration::from_mins(1);

/// How long a server may take to end after it was asked to.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// The most of a failed child's output that is shown, in bytes.
const SHOWN_OUTPUT_BYTES: usize = 2000;

/// Takes the core and the program's arguments.
const PINNED: &str = r#"ulimit -Sn "$(ulimit -Hn)"
core="$1"
shift
exec setpriv --pdeathsig TERM taskset -c "$core" "$@""#;

/// A program with its arguments and the only environment it gets besides `PATH`.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) arguments: Vec<OsString>,
    pub(crate) environment: Vec<(String, String)>,
}

impl Program {
    pub(crate) fn new(arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        Self {
            arguments: arguments.into_iter().map(Into::into).collect(),
            environment: Vec::new(),
        }
    }

    /// A command that runs on one core with as many open files as allowed.
    ///
    /// A shell, `setpriv` and `taskset` set this up and then become the program, so the process id
    /// is the program's own. It is asked to end when this process dies, however that happens.
    pub(crate) fn pinned(&self, core: usize, folder: &Path) -> Command {
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg(PINNED)
            .arg("bailian-bench")
            .arg(core.to_string())
            .args(&self.arguments)
            // Neither the user's settings nor a project's `.env` take part in a measurement.
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", folder)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(folder);
        command
    }
}

/// A running server; it is stopped when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    name: String,
    child: Child,
    output: PathBuf,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts a program and waits until it accepts connections at `address`.
    pub(crate) fn start(
        name: &str,
        program: &Program,
        core: usize,
        folder: &Path,
        address: SocketAddr,
    ) -> anyhow::Result<Self> {
        let output = folder.join(format!("{name}-{}.log", address.port()));
        let file = File::create(&output)?;
        let child = program
            .pinned(core, folder)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .context("cannot start sh")?;
        let mut server = Self {
            name: name.to_owned(),
            child,
            output,
            address,
        };
        server.wait_until_ready()?;
        Ok(server)
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let start = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!(
                    "{} ended with {status} before it listened on {}:\n{}",
                    self.name,
                    self.address,
                    self.last_output()
                );
            }
            if start.elapsed() > START_LIMIT {
                bail!(
                    "{} does not listen on {} after {START_LIMIT:?}:\n{}",
                    self.name,
                    self.address,
                    self.last_output()
                );
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// The end of what the program has printed so far.
    pub(crate) fn last_output(&self) -> String {
        let text = std::fs::read(&self.output).unwrap_or_default();
        let start = text.len().saturating_sub(SHOWN_OUTPUT_BYTES);
        String::from_utf8_lossy(&text[start..]).into_owned()
    }

    /// Asks the program to end and waits; one that does not listen is killed.
    pub(crate) fn stop(&mut self) -> anyhow::Result<()> {
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        let asked = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status()
            .context("cannot run kill")?;
        let start = Instant::now();
        while asked.success() && start.elapsed() < STOP_LIMIT {
            if self.child.try_wait()?.is_some() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.child.kill()?;
        self.child.wait()?;
        bail!("{} did not end within {STOP_LIMIT:?} of SIGTERM", self.name)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("{error}");
        }
    }
}

/// An address on loopback that nobody listens on at the moment.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Finds a program like a shell does, and in the system folders that a user's `PATH` may lack.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
}
