//! What is measured: nothing in between, nginx, the gateway, the bare relay, anything else.

mod nginx;
mod peers;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use anyhow::{Context as _, bail, ensure};
use clap::Args;

use self::peers::Peer;
use crate::process::{Program, Server, free_address};
use crate::scenario::{Approach, CLIENT_KEY, UPSTREAM_KEY};

/// Which proxies take part and how they are started.
#[derive(Debug, Args)]
pub(crate) struct Selection {
    /// What to measure, in this order; `litellm` and `portkey` can be added.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "direct,nginx,gateway,relay"
    )]
    targets: Vec<String>,
    /// The gateway's binary; by default the workspace's own, built with the release profile.
    #[arg(long)]
    gateway: Option<PathBuf>,
    /// Arguments of the gateway, separated by spaces; `{port}` and `{upstream}` (an address and a
    /// port) are filled in. It has one relay thread, as it may use one core.
    #[arg(
        long,
        default_value = "serve --listen 127.0.0.1:{port}",
        allow_hyphen_values = true
    )]
    gateway_arguments: String,
    /// Takes the gateway's binary as it is.
    #[arg(long)]
    no_build: bool,
    /// One more proxy, as `NAME=COMMAND ARGUMENT …`, separated by spaces, with `{port}` and
    /// `{upstream}` filled in. May be given more than once.
    #[arg(long, value_name = "NAME=COMMAND")]
    other: Vec<Custom>,
}

#[derive(Clone, Debug)]
struct Custom {
    name: String,
    command: String,
}

impl FromStr for Custom {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, command) = text
            .split_once('=')
            .ok_or("write it as NAME=COMMAND ARGUMENT …")?;
        if name.is_empty() || command.trim().is_empty() {
            return Err("both the name and the command must be given".to_owned());
        }
        Ok(Self {
            name: name.to_owned(),
            command: command.to_owned(),
        })
    }
}

impl Selection {
    /// Checks that everything is there, builds the gateway if asked to.
    pub(crate) fn targets(&self) -> anyhow::Result<Vec<Target>> {
        let mut targets = Vec::new();
        for name in &self.targets {
            let kind = match name.as_str() {
                "direct" => Kind::Direct,
                "nginx" => Kind::Nginx(nginx::find()?),
                "gateway" => Kind::Command(self.gateway_command()?),
                "relay" => Kind::Command(relay_command()?),
                other => match Peer::from_name(other) {
                    Some(peer) => {
                        peer.check()?;
                        Kind::Peer(peer)
                    }
                    None => bail!(
                        "there is no target {other}: take direct, nginx, gateway, relay, litellm \
                         or portkey; anything else goes with --other NAME=COMMAND"
                    ),
                },
            };
            targets.push(Target {
                name: name.clone(),
                kind,
            });
        }
        for custom in &self.other {
            targets.push(Target {
                name: custom.name.clone(),
                kind: Kind::Command(words(&custom.command)),
            });
        }
        ensure!(!targets.is_empty(), "no target is given");
        Ok(targets)
    }

    fn gateway_command(&self) -> anyhow::Result<Vec<String>> {
        let binary = match &self.gateway {
            Some(path) => path
                .canonicalize()
                .with_context(|| format!("there is no gateway at {}", path.display()))?,
            None => workspace_gateway(!self.no_build)?,
        };
        let binary = binary
            .to_str()
            .context("the gateway's path is not UTF-8")?
            .to_owned();
        let arguments = words(&self.gateway_arguments);
        Ok([vec![binary], arguments].concat())
    }
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn own_path() -> anyhow::Result<String> {
    std::env::current_exe()?
        .into_os_string()
        .into_string()
        .map_err(|path| anyhow::anyhow!("the path {} is not UTF-8", path.display()))
}

/// This program again, for the parts that run as processes of their own.
pub(crate) fn own_program(arguments: &[&str]) -> anyhow::Result<Program> {
    let own = own_path()?;
    Ok(Program::new([&[own.as_str()], arguments].concat()))
}

fn relay_command() -> anyhow::Result<Vec<String>> {
    let own = own_path()?;
    let arguments = words("relay --listen 127.0.0.1:{port} --upstream {upstream}");
    Ok([vec![own], arguments].concat())
}

fn workspace_gateway(build: bool) -> anyhow::Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("the benchmark lies in a folder of the workspace")?;
    if build {
        eprintln!("building the gateway with the release profile");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let status = Command::new(cargo)
            .args(["build", "--release", "--package", "bailian-cli"])
            .current_dir(root)
            .status()
            .context("cannot start cargo")?;
        ensure!(
            status.success(),
            "the gateway does not build; leave it out with --targets direct,nginx,relay"
        );
    }
    // Profiles are neighbours: target/debug/bailian-bench and target/release/bailian.
    let own = std::env::current_exe()?;
    let binary = own
        .parent()
        .and_then(Path::parent)
        .context("this program lies in a profile's folder")?
        .join("release/bailian");
    ensure!(
        binary.is_file(),
        "there is no {}: run without --no-build, or name a binary with --gateway",
        binary.display()
    );
    Ok(binary)
}

/// One way from the load to the upstream.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) name: String,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Direct,
    Nginx(PathBuf),
    Command(Vec<String>),
    Peer(Peer),
}

/// What a target is started in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) upstream: SocketAddr,
    pub(crate) core: usize,
    pub(crate) folder: &'a Path,
}

impl Target {
    pub(crate) fn is_proxy(&self) -> bool {
        !matches!(self.kind, Kind::Direct)
    }

    /// Version or path, for the report.
    pub(crate) fn description(&self) -> String {
        match &self.kind {
            Kind::Direct => "the load talks to the stub upstream".to_owned(),
            Kind::Nginx(binary) => nginx::version(binary),
            Kind::Peer(peer) => peer.description(),
            Kind::Command(command) => {
                let program = command.first().map_or("", String::as_str);
                let program = program.rsplit('/').next().unwrap_or_default();
                let arguments = command.get(1..).unwrap_or_default().join(" ");
                format!("{program} {arguments}")
            }
        }
    }

    /// How requests are put to it.
    pub(crate) fn approach(&self, place: Place<'_>) -> Approach {
        match &self.kind {
            Kind::Peer(peer) => peer.approach(place),
            _ => Approach::default(),
        }
    }

    /// Starts the proxy; `None` for direct calls.
    pub(crate) fn start(&self, place: Place<'_>) -> anyhow::Result<Option<Server>> {
        let address = free_address()?;
        let Some(program) = self.program(place, address, true)? else {
            return Ok(None);
        };
        Server::start(&self.name, &program, place.core, place.folder, address).map(Some)
    }

    /// The program behind `address`, and for nginx, whether a master process watches the worker.
    pub(crate) fn program(
        &self,
        place: Place<'_>,
        address: SocketAddr,
        master: bool,
    ) -> anyhow::Result<Option<Program>> {
        let mut program = match &self.kind {
            Kind::Direct => return Ok(None),
            Kind::Nginx(binary) => nginx::program(binary, place, address, master)?,
            Kind::Peer(peer) => peer.program(place, address)?,
            Kind::Command(command) => Program::new(command.iter().map(|word| {
                word.replace("{port}", &address.port().to_string())
                    .replace("{upstream}", &place.upstream.to_string())
            })),
        };
        program.environment = [
            ("DASHSCOPE_API_KEY", UPSTREAM_KEY.to_owned()),
            ("DASHSCOPE_BASE_URL", format!("http://{}", place.upstream)),
            ("BAILIAN_API_KEY", CLIENT_KEY.to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec();
        Ok(Some(program))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_custom_target_gets_its_port_and_upstream() {
        let custom: Custom = "mine=/opt/mine -p {port} -u http://{upstream}/"
            .parse()
            .unwrap();
        let target = Target {
            name: custom.name.clone(),
            kind: Kind::Command(words(&custom.command)),
        };
        let place = Place {
            upstream: "127.0.0.1:9".parse().unwrap(),
            core: 0,
            folder: Path::new("."),
        };
        let program = target
            .program(place, "127.0.0.1:7".parse().unwrap(), true)
            .unwrap()
            .unwrap();
        assert_eq!(
            program.arguments,
            ["/opt/mine", "-p", "7", "-u", "http://127.0.0.1:9/"]
        );
    }

    #[test]
    fn a_custom_target_without_command_is_refused() {
        assert!("mine".parse::<Custom>().is_err());
        assert!("mine= ".parse::<Custom>().is_err());
    }
}
