//! `bailian import`: what other gateways were configured with becomes the gateway's configuration.
//!
//! `tests/import` has samples and, beside each, what becomes of it; `BLESS=1 cargo test -p
//! bailian-cli import` writes that anew.

use std::path::{Path, PathBuf};

use bailian_gateway::Config;
use bailian_gateway::config::KeySecret;

use crate::http::send;
use crate::process::{Server, bailian, run, text};

/// Samples: the command, its own arguments, the file.
const SAMPLES: [(&str, &[&str], &str); 5] = [
    ("litellm", &[], "litellm-small.yaml"),
    ("litellm", &[], "litellm-team.yaml"),
    ("litellm", &[], "litellm-oddities.yaml"),
    ("new-api", &[], "new-api-channels.json"),
    ("new-api", &["--one-api"], "one-api-rows.json"),
];

/// What the samples hold and no output may show.
const SECRETS: [&str; 12] = [
    "sk-literal-0123456789abcdef",
    "p@ss:word/1",
    "p%40ss",
    "db-secret-word",
    "sk-1234",
    "sk-aaaaaaaaaaaaaaaa",
    "sk-bbbbbbbbbbbbbbbb",
    "sk-self-hosted",
    "sk-custom-1",
    "sk-from-the-file",
    "sk-ali-bailian-0001",
    "sk-compatible-0001",
];

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import")
}

/// Whatever variable the file names, this is in it: it serves as key and as the address of Redis.
fn any(name: &str) -> Option<String> {
    // These have a meaning by themselves.
    let is_the_files = !name.starts_with("OTEL_");
    is_the_files.then(|| "redis://127.0.0.1:6379".to_owned())
}

fn import(folder: &Path, command: &str, arguments: &[&str]) -> std::process::Output {
    run(
        bailian(folder).args(["import", command]).args(arguments),
        "",
    )
}

#[test]
fn every_sample_becomes_the_configuration_beside_it() {
    for (command, arguments, sample) in SAMPLES {
        let folder = tempfile::tempdir().unwrap();
        std::fs::copy(samples().join(sample), folder.path().join(sample)).unwrap();
        let arguments: Vec<&str> = arguments.iter().copied().chain([sample]).collect();
        let output = import(folder.path(), command, &arguments);
        let errors = text(&output.stderr);
        assert!(output.status.success(), "{sample}: {errors}");
        let written = text(&output.stdout);
        let path = samples().join(sample).with_extension("toml");
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&path, &written).unwrap();
        }
        let expected = std::fs::read_to_string(&path).unwrap();
        assert_eq!(written, expected, "{sample}");

        let config = Config::parse(&written, sample, &any).unwrap();
        assert!(!config.accounts.is_empty() && !config.routes.is_empty());

        // What was left behind stands in the file and is said as well.
        let notes: Vec<&str> = written
            .lines()
            .filter_map(|line| line.strip_prefix("# - "))
            .collect();
        let said = errors.lines().filter(|line| line.starts_with("warning: "));
        assert_eq!(said.count(), notes.len(), "{errors}");
        for note in notes {
            let warning = format!("warning: {sample}: {note}");
            assert!(errors.lines().any(|line| line == warning), "{warning}");
        }

        for secret in SECRETS {
            assert!(!written.contains(secret), "{sample}: {secret}");
            assert!(!errors.contains(secret), "{sample}: {secret}");
        }
    }
}

#[cfg(unix)]
fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[cfg(unix)]
#[test]
fn keys_of_the_source_go_into_a_file_that_only_its_owner_reads() {
    let folder = tempfile::tempdir().unwrap();
    let sample = samples().join("new-api-channels.json");
    let arguments = [sample.to_str().unwrap(), "-o", "gateway.toml"];
    let output = import(folder.path(), "new-api", &arguments);
    assert!(output.status.success());
    assert!(output.stdout.is_empty());
    let keys = folder.path().join("keys.env");
    assert_eq!(mode(&keys), 0o600);
    let keys = std::fs::read_to_string(&keys).unwrap();
    assert!(
        keys.contains("CHANNEL_3_KEY_2=sk-aaaaaaaaaaaaaaaa0003\n"),
        "{keys}"
    );
    // A key that was switched off is not carried along.
    assert!(!keys.contains("0002"), "{keys}");
    let gateway = std::fs::read_to_string(folder.path().join("gateway.toml")).unwrap();
    assert!(gateway.contains("env:CHANNEL_3_KEY_2"), "{gateway}");
}

#[cfg(unix)]
#[test]
fn keys_stand_in_the_configuration_only_on_request() {
    let folder = tempfile::tempdir().unwrap();
    let sample = samples().join("one-api-rows.json");
    let sample = sample.to_str().unwrap();
    let arguments = ["--one-api", sample, "-o", "gateway.toml", "--with-secrets"];
    assert!(
        import(folder.path(), "new-api", &arguments)
            .status
            .success()
    );
    let gateway = folder.path().join("gateway.toml");
    assert_eq!(mode(&gateway), 0o600);
    let gateway = std::fs::read_to_string(gateway).unwrap();
    assert!(gateway.contains("\"sk-ali-bailian-0001\""), "{gateway}");
    assert!(!folder.path().join("keys.env").exists());
}

#[test]
fn files_that_are_there_stay_as_they_are_without_force() {
    let folder = tempfile::tempdir().unwrap();
    let sample = samples().join("litellm-team.yaml");
    let arguments = [sample.to_str().unwrap(), "-o", "gateway.toml"];
    let keys = folder.path().join("keys.env");
    std::fs::write(&keys, "MINE=1\n").unwrap();
    let output = import(folder.path(), "litellm", &arguments);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("keys.env is there already"));
    assert_eq!(std::fs::read_to_string(&keys).unwrap(), "MINE=1\n");
    assert!(!folder.path().join("gateway.toml").exists());

    let arguments = [arguments.as_slice(), &["--force"]].concat();
    let output = import(folder.path(), "litellm", &arguments);
    assert!(output.status.success());
    assert!(!std::fs::read_to_string(&keys).unwrap().contains("MINE"));
    #[cfg(unix)]
    assert_eq!(mode(&keys), 0o600);
}

#[test]
fn a_source_that_cannot_be_read_is_refused_with_the_line() {
    let folder = tempfile::tempdir().unwrap();
    for (command, source, expected) in [
        ("litellm", "model_list:\n  - a: [1\n", "line 3: "),
        (
            "litellm",
            "model_list:\n  - a: 1\n    a: 2\n",
            "line 3: `a` stands twice",
        ),
        ("litellm", "- a\n", "line 1: the file is not a map"),
        ("litellm", "router_settings: {}\n", "there is no model_list"),
        (
            "litellm",
            "\nmodel_list: 3\n",
            "line 2: model_list is not a list",
        ),
        (
            "litellm",
            "model_list:\n  - litellm_params: {}\n",
            "line 2: model_list[0] has no model_name",
        ),
        (
            "litellm",
            "model_list:\n  - model_name: a\n    litellm_params:\n      model: openai/a\n      \
             api_base: http://a/v1\n      rpm: many\n",
            "line 6: model_list[0] (a).litellm_params.rpm is not a number",
        ),
        (
            "litellm",
            "model_list: []\nlitellm_settings:\n  - drop_params\n",
            "line 2: litellm_settings is not a map",
        ),
        (
            "litellm",
            "model_list: []\n",
            "has nothing that the gateway could reach",
        ),
        ("new-api", "[\n{\"id\": 1,}\n]", "line 2: "),
        (
            "new-api",
            "{\"data\": 1}",
            "line 1: the file is no list of channels",
        ),
        (
            "new-api",
            "[\n{\"type\": 17},\n7]",
            "line 3: channels[1] is no object",
        ),
        (
            "new-api",
            "[\n{\"id\": 9, \"name\": \"百炼\"}]",
            "line 2: channel 9 (百炼) has no type",
        ),
        (
            "new-api",
            "[\n{\"type\": 17, \"key\": \"sk-1\",\n\"model_mapping\": \"{\"}]",
            "line 2: channel at 1: model_mapping is not the text of a JSON object",
        ),
        (
            "new-api",
            "[{\"type\": \"x\"}]",
            "line 1: channel at 1: type is not a whole number",
        ),
    ] {
        let output = run(
            bailian(folder.path()).args(["import", command, "-"]),
            source,
        );
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{source}: {error}");
        assert!(output.stdout.is_empty());
        assert!(
            error.contains("error: standard input") && error.contains(expected),
            "{source}: {error}"
        );
    }
}

#[test]
fn a_name_in_the_source_cannot_add_a_setting() {
    let folder = tempfile::tempdir().unwrap();
    let channels = serde_json::json!([{
        "id": 1, "type": 17, "status": 1, "key": "sk-0123456789",
        "name": "百炼\"\n[[keys]]\nname = \"mine\"\nkey = \"a-key-of-mine\"\n#",
        "remark": "x\u{2028}\r\n[admin]\ntoken = \"a-token-of-mine\"",
        "group": "a\n[admin]",
        "models": "m\"\n[admin]\ntoken=\"a-token-of-mine\"",
    }]);
    let output = run(
        bailian(folder.path()).args(["import", "new-api", "-"]),
        &channels.to_string(),
    );
    assert!(output.status.success());
    let config = Config::parse(&text(&output.stdout), "imported", &any).unwrap();
    assert_eq!(config.keys.len(), 1);
    assert!(config.admin_token.is_none());
    assert!(matches!(&config.keys[0].secret, KeySecret::Plain(_)));
    assert_eq!(config.keys[0].owner.name, "app");
}

#[test]
fn an_imported_configuration_serves() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Server::start(bailian(folder.path()).args(["sim", "--listen", "127.0.0.1:0"]));
    let source = format!(
        "model_list:\n  - model_name: 通义\n    litellm_params:\n      model: dashscope/qwen-plus\n      \
         api_base: {}/compatible-mode/v1\n      api_key: sk-upstream-0123\n\
         general_settings:\n  master_key: sk-master-0123\n",
        upstream.url()
    );
    let arguments = ["import", "litellm", "-", "-o", "gateway.toml"];
    let output = run(bailian(folder.path()).args(arguments), &source);
    assert!(output.status.success(), "{}", text(&output.stderr));
    // The gateway itself reads `.env` of its folder.
    std::fs::rename(folder.path().join("keys.env"), folder.path().join(".env")).unwrap();
    let arguments = [
        "serve",
        "--config",
        "gateway.toml",
        "--listen",
        "127.0.0.1:0",
    ];
    let gateway = Server::start(bailian(folder.path()).args(arguments));
    let question = r#"{"model":"通义","messages":[{"role":"user","content":"西湖在哪里？"}]}"#;
    let path = "/v1/chat/completions";
    let answer = send(
        &gateway.url(),
        "POST",
        path,
        Some("sk-master-0123"),
        question,
    );
    assert_eq!(answer.status, 200);
}
