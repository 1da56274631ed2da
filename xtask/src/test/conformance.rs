//! Real clients against the product, and against the real service.

use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

use super::clients::{self, Clients, PythonClient};
use super::counts::{self, Counts, Report};
use super::processes::{self, Process};
use crate::lines;

/// Names and values that tell the suites where to send what; `conformance/README.md` lists them.
type Settings = Vec<(&'static str, String)>;

/// Runs every client through the gateway and directly against the simulator.
pub(super) fn against_simulator(
    root: &Path,
    clients: &Clients,
    report: &mut Report,
) -> anyhow::Result<()> {
    let binary = processes::build(root)?;
    let folder = tempfile::tempdir().context("cannot make a folder for the processes")?;
    let servers = Servers::start(&binary, folder.path())?;
    for (target, settings) in [
        ("gateway", servers.gateway_settings()),
        ("simulator", servers.simulator_settings()),
    ] {
        run_all(clients, target, &settings, report);
    }
    super::record(report, "processes", || Ok(servers.stop()));
    Ok(())
}

/// Runs every client against the real service with the key of the environment.
pub(super) fn against_service(clients: &Clients, report: &mut Report) -> anyhow::Result<()> {
    let key = std::env::var("DASHSCOPE_API_KEY").context("DASHSCOPE_API_KEY is not set")?;
    let base_url = std::env::var("DASHSCOPE_BASE_URL")
        .unwrap_or_else(|_| "https://dashscope.aliyuncs.com".to_owned());
    let host = ["/api/v1", "/compatible-mode/v1"]
        .iter()
        .find_map(|path| base_url.trim_end_matches('/').strip_suffix(path))
        .unwrap_or(&base_url)
        .trim_end_matches('/')
        .to_owned();
    let settings = vec![
        ("CONFORMANCE_TARGET", "live".to_owned()),
        ("CONFORMANCE_URL", host),
        ("CONFORMANCE_API_KEY", key),
    ];
    run_all(clients, "live", &settings, report);
    Ok(())
}

fn run_all(clients: &Clients, target: &str, settings: &Settings, report: &mut Report) {
    for client in &clients.python {
        let name = format!("{} -> {target}", client.name);
        super::record(report, &name, || python(clients, client, target, settings));
    }
    for (name, package) in clients::NODE {
        let name = format!("{name} -> {target}");
        super::record(report, &name, || node(clients, package, settings));
    }
}

fn python(
    clients: &Clients,
    client: &PythonClient,
    target: &str,
    settings: &Settings,
) -> anyhow::Result<Counts> {
    let mut counts = Counts::default();
    let mut command = Command::new(&client.interpreter);
    command
        .current_dir(clients.folder.join("python"))
        .args(["-m", "pytest", "-q", "--color=no"]);
    if target == "live" {
        // What cannot be arranged at the real service is not counted as skipped: it does not apply.
        command.args(["-m", "not simulated"]);
    }
    let status = lines::run_observed(isolated(&mut command, settings), |line| {
        counts += counts::of_pytest(line);
    })?;
    counts.checked(status)
}

fn node(clients: &Clients, package: &str, settings: &Settings) -> anyhow::Result<Counts> {
    let mut counts = Counts::default();
    let mut command = Command::new("node");
    command.current_dir(clients.folder.join("node")).args([
        "--test",
        "--test-reporter=spec",
        // One journal counts what all files do, so they take turns.
        "--test-concurrency=1",
        "test/",
    ]);
    isolated(&mut command, settings).env("CONFORMANCE_NODE_PACKAGE", package);
    let status = lines::run_observed(&mut command, |line| {
        counts += counts::of_node(line);
    })?;
    counts.checked(status)
}

/// Keeps the developer's own client settings and proxies away from the clients under test.
fn isolated<'a>(command: &'a mut Command, settings: &Settings) -> &'a mut Command {
    for (name, _) in std::env::vars_os() {
        let own = name.to_string_lossy().to_ascii_uppercase();
        let clients = [
            "DASHSCOPE_",
            "OPENAI_",
            "ANTHROPIC_",
            "LANGCHAIN_",
            "LANGSMITH_",
            "LITELLM_",
        ];
        if clients.iter().any(|client| own.starts_with(client)) {
            command.env_remove(&name);
        }
    }
    command
        .env("NO_PROXY", "127.0.0.1,localhost")
        .envs(settings.iter().map(|(k, v)| (k, v)))
}

/// One simulator with a gateway in front of it, and gateways whose account is in trouble.
struct Servers {
    processes: Vec<Process>,
    gateway: String,
    simulator: String,
    api_key: String,
    troubled: Vec<(&'static str, String)>,
}

/// The virtual key of the gateways that the suites start beside the demo.
const TROUBLED_KEY: &str = "conformance-virtual-key";

/// Settings for the address of a gateway whose account is in trouble, and that account's key.
const TROUBLED: [(&str, &str, &str); 4] = [
    (
        "CONFORMANCE_LIMITED_URL",
        "gateway (limited)",
        "sk-limited-conformance",
    ),
    (
        "CONFORMANCE_ARREARS_URL",
        "gateway (arrears)",
        "sk-arrears-conformance",
    ),
    (
        "CONFORMANCE_DENIED_URL",
        "gateway (denied)",
        "sk-denied-conformance",
    ),
    (
        "CONFORMANCE_EXPIRED_URL",
        "gateway (expired)",
        "sk-expired-conformance",
    ),
];

impl Servers {
    fn start(binary: &Path, folder: &Path) -> anyhow::Result<Self> {
        let arguments = ["demo", "--json", "--listen", "127.0.0.1:0"];
        let demo = Process::start("demo", binary, &arguments, &[], folder)?;
        let said: serde_json::Value = demo.wait_for(|line| serde_json::from_str(line).ok())?;
        let text = |key: &str| {
            said[key]
                .as_str()
                .map(str::to_owned)
                .with_context(|| format!("demo gave no {key}"))
        };
        let (gateway, simulator, api_key) =
            (text("gateway")?, text("simulator")?, text("api_key")?);
        let mut processes = vec![demo];
        let mut troubled = Vec::new();
        for (setting, name, upstream_key) in TROUBLED {
            let environment = [
                ("DASHSCOPE_API_KEY", upstream_key),
                ("DASHSCOPE_BASE_URL", simulator.as_str()),
                ("BAILIAN_API_KEY", TROUBLED_KEY),
            ];
            let arguments = ["serve", "--listen", "127.0.0.1:0"];
            let process = Process::start(name, binary, &arguments, &environment, folder)?;
            let url = process.wait_for(|line| {
                let (_, url) = line.split_once("listening on ")?;
                Some(url.trim().to_owned())
            })?;
            troubled.push((setting, url));
            processes.push(process);
        }
        Ok(Self {
            processes,
            gateway,
            simulator,
            api_key,
            troubled,
        })
    }

    fn gateway_settings(&self) -> Settings {
        let mut settings = vec![
            ("CONFORMANCE_TARGET", "gateway".to_owned()),
            ("CONFORMANCE_URL", self.gateway.clone()),
            ("CONFORMANCE_API_KEY", self.api_key.clone()),
            ("CONFORMANCE_SIMULATOR_URL", self.simulator.clone()),
            ("CONFORMANCE_TROUBLED_KEY", TROUBLED_KEY.to_owned()),
        ];
        settings.extend(self.troubled.iter().cloned());
        settings
    }

    fn simulator_settings(&self) -> Settings {
        vec![
            ("CONFORMANCE_TARGET", "simulator".to_owned()),
            ("CONFORMANCE_URL", self.simulator.clone()),
            ("CONFORMANCE_API_KEY", "sk-conformance".to_owned()),
            ("CONFORMANCE_SIMULATOR_URL", self.simulator.clone()),
        ]
    }

    /// Stops the gateways before the simulator they depend on; each clean end is one passed check.
    fn stop(self) -> Counts {
        let mut counts = Counts::default();
        for process in self.processes.into_iter().rev() {
            match process.stop() {
                Ok(()) => counts.passed += 1,
                Err(error) => {
                    println!("{error:#}");
                    counts.failed += 1;
                }
            }
        }
        counts
    }
}
