//! Endpoint resolution against the official client's, with every intended difference and its reason.

use std::collections::{BTreeMap, BTreeSet};

use bailian::Dialect;
use bailian::config::{Config, ConfigError, ConfigLoader};
use serde_json::Value;

const VECTORS: &str = include_str!("../vectors/base_urls.jsonl");

/// Vectors where this client answers otherwise on purpose.
const INTENDED: &[(&str, &[&str])] = &[
    (
        "one base URL serves all protocols; the official 1.x client needs a variable for each",
        &["01"],
    ),
    (
        "without a workspace, the shared host of the region is used, not a placeholder",
        &["02"],
    ),
    (
        "with a workspace, its own host is used in Beijing too, as the official v2 client does",
        &["04"],
    ),
    (
        "the version of the API is a part of the protocol, not a setting",
        &["05"],
    ),
    (
        "Virginia has a shared host of its own by the documentation; a key of Virginia is refused in Singapore",
        &["21", "33", "45"],
    ),
    (
        "Frankfurt and Tokyo have workspace hosts only: an error that says so, not another region",
        &["23", "25", "35", "37", "47", "49"],
    ),
    (
        "a prefix is completed by the protocol's root, so that one base URL serves all protocols",
        &["52"],
    ),
    (
        "an invalid workspace is refused: it could send the key to another host",
        &["58"],
    ),
    (
        "a missing key is reported when the client is built, not by the service",
        &["59"],
    ),
];

fn settings(vector: &Value) -> ConfigLoader {
    let mut environment: BTreeMap<String, String> = BTreeMap::new();
    if let Some(variables) = vector["env"].as_object() {
        for (name, value) in variables {
            environment.insert(name.clone(), value.as_str().unwrap().to_owned());
        }
    }
    let mut arguments: BTreeMap<String, String> = BTreeMap::new();
    if let Some(call) = vector["call"].as_str() {
        // dashscope.set_region('cn-beijing', 'llm-ws0001')
        let mut quoted = call.split('\'').skip(1).step_by(2);
        arguments.insert(
            "DASHSCOPE_REGION".to_owned(),
            quoted.next().unwrap().to_owned(),
        );
        arguments.insert(
            "DASHSCOPE_WORKSPACE".to_owned(),
            quoted.next().unwrap().to_owned(),
        );
    }
    let is_v2 = vector["client"].as_str().unwrap().contains("v2");
    if let Some(given) = vector["call"]["Client"].as_object() {
        for (name, value) in given {
            let name = format!("DASHSCOPE_{}", name.to_uppercase());
            arguments.insert(name, value.as_str().unwrap().to_owned());
        }
    }
    if !is_v2 {
        // The module API takes its key per call.
        environment.insert("DASHSCOPE_API_KEY".to_owned(), "sk-fake".to_owned());
    }
    // Arguments win over the environment, here as there.
    environment.extend(arguments);
    ConfigLoader::new()
        .environment(environment)
        .home_files(false)
}

fn resolve(vector: &Value) -> Result<Config, ConfigError> {
    settings(vector).load()
}

/// Whether our answer is the official one.
fn agrees(vector: &Value, ours: &Result<Config, ConfigError>) -> bool {
    let result = &vector["result"];
    let Ok(config) = ours else {
        return result.get("raised").is_some();
    };
    let root = |dialect| config.endpoint.root(dialect).unwrap();
    if let Some(native) = result["http"].as_str() {
        return native == root(Dialect::Native) && result["compatible"] == root(Dialect::OpenAi);
    }
    result["base_url"] == root(Dialect::Native)
        && result["protocol_base_url"] == root(config.protocol)
        && result["protocol"] == config.protocol.as_str()
        && result["region"] == config.region.as_str()
        && result["workspace"].as_str() == config.workspace.as_ref().map(bailian::Workspace::as_str)
        && result["timeout"].as_f64() == Some(config.timeouts.first_byte.as_secs_f64())
        && result["max_retries"].as_u64() == Some(u64::from(config.retry.max_retries))
}

#[test]
fn endpoints_are_those_of_the_official_client_but_for_the_intended_differences() {
    let mut differing = BTreeSet::new();
    let mut count = 0;
    for line in VECTORS.lines() {
        let vector: Value = serde_json::from_str(line).unwrap();
        count += 1;
        if !agrees(&vector, &resolve(&vector)) {
            let id = vector["id"]
                .as_str()
                .unwrap()
                .trim_start_matches("base_url.")
                .to_owned();
            differing.insert(id);
        }
    }
    assert_eq!(count, 60);
    let listed = INTENDED
        .iter()
        .flat_map(|(_, ids)| ids.iter().map(|id| (*id).to_owned()));
    assert_eq!(differing, listed.collect::<BTreeSet<_>>());
}

#[test]
fn refusals_say_what_to_do() {
    for (id, part) in [
        ("23", "DASHSCOPE_WORKSPACE"),
        ("56", "ap-southeast-1"),
        ("57", "native"),
        ("59", "DASHSCOPE_API_KEY"),
    ] {
        let line = VECTORS
            .lines()
            .find(|line| line.contains(&format!("base_url.{id}\"")))
            .unwrap();
        let vector: Value = serde_json::from_str(line).unwrap();
        let error = resolve(&vector).unwrap_err().to_string();
        assert!(error.contains(part), "{id}: {error}");
    }
}
