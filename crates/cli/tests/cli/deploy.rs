//! What `deploy/` holds fits together: the examples are configurations, and every secret that they
//! name is one that the service or the container is given.

use std::path::{Path, PathBuf};

use bailian_gateway::Config;

fn deploy(name: &str) -> String {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "../../deploy", name]
        .iter()
        .collect();
    std::fs::read_to_string(path).unwrap()
}

/// Secrets that an example names behind `prefix`, each made in `folder`.
fn make_secrets(example: &str, prefix: &str, folder: &Path) -> Vec<String> {
    let quoted = format!("\"{prefix}");
    let names: Vec<String> = example
        .split(&quoted)
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap().to_owned())
        .collect();
    for name in &names {
        std::fs::write(folder.join(name), format!("a-secret-for-{name}\n")).unwrap();
    }
    assert!(!names.is_empty());
    names
}

/// What is written before a comment, line by line.
fn settings(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
}

#[test]
fn the_example_for_systemd_is_a_configuration_whose_secrets_the_unit_loads() {
    let folder = tempfile::tempdir().unwrap();
    let example = deploy("gateway.example.toml");
    let names = make_secrets(&example, "credential:", folder.path());
    let folder = folder.path().to_str().unwrap();
    let systemd = |name: &str| (name == "CREDENTIALS_DIRECTORY").then(|| folder.to_owned());
    let config = Config::parse(&example, "gateway.example.toml", &systemd).unwrap();
    assert!(config.listen.ip().is_loopback());
    let unit = deploy("bailian.service");
    for name in names {
        let line = format!("LoadCredential={name}:/etc/bailian/keys/{name}");
        assert!(settings(&unit).any(|setting| setting == line), "{line}");
    }
}

#[test]
fn the_unit_lets_streams_end_and_takes_away_what_the_gateway_does_not_need() {
    let unit = deploy("bailian.service");
    for line in [
        "Type=notify",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "DynamicUser=yes",
        "NoNewPrivileges=yes",
        "CapabilityBoundingSet=",
        "ProtectSystem=strict",
        "ProtectHome=yes",
        "StateDirectory=bailian",
        "Restart=on-failure",
        "RestartPreventExitStatus=2",
    ] {
        assert!(settings(&unit).any(|setting| setting == line), "{line}");
    }
    let stop = settings(&unit).find_map(|line| line.strip_prefix("TimeoutStopSec="));
    let stop: u64 = stop.unwrap().strip_suffix('s').unwrap().parse().unwrap();
    let drain = bailian_gateway::config::Timeouts::default().drain;
    assert!(stop > drain.as_secs());
    assert!(settings(&unit).all(|line| !line.starts_with("Environment=")));
}

#[test]
fn the_example_for_compose_is_a_configuration_whose_secrets_the_container_gets() {
    let folder = tempfile::tempdir().unwrap();
    let example = deploy("gateway.compose.toml");
    let names = make_secrets(&example, "file:/run/secrets/", folder.path());
    let example = example.replace("/run/secrets", folder.path().to_str().unwrap());
    let config = Config::parse(&example, "gateway.compose.toml", &|_: &str| None).unwrap();
    assert!(config.redis.is_some());
    let compose = deploy("compose.yaml");
    for name in &names {
        let line = format!("{name}: {{ file: ./keys/{name} }}");
        assert!(settings(&compose).any(|setting| setting == line), "{line}");
    }
    let mounted = settings(&compose).find(|line| line.starts_with("secrets: ["));
    for name in names {
        assert!(mounted.unwrap().contains(&name));
    }
}

#[test]
fn images_are_named_without_a_registry_and_run_without_root() {
    let container = deploy("Containerfile");
    let compose = deploy("compose.yaml");
    let of_container = settings(&container).filter_map(|line| line.strip_prefix("FROM "));
    let of_compose = settings(&compose).filter_map(|line| line.strip_prefix("image: "));
    for image in of_container.chain(of_compose) {
        let image = image.split(' ').next().unwrap();
        let host = image.split_once('/').map(|(host, _)| host);
        assert!(
            host.is_none_or(|host| !host.contains(['.', ':'])),
            "{image}"
        );
    }
    assert!(settings(&container).any(|line| line == "USER 65532:65532"));
    assert!(settings(&compose).any(|line| line == "read_only: true"));
}
