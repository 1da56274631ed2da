//! Layers of the configuration, and what is said about mistakes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use bailian::Dialect;
use bailian::config::{ConfigLoader, Source, VARIABLES};
use tempfile::TempDir;

const KEY: &str = "sk-0123456789abcdef0123456789abcdef";

fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

/// A home directory with these files in `.dashscope`.
fn home(files: &[(&str, &str)]) -> TempDir {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join(".dashscope")).unwrap();
    for (name, text) in files {
        fs::write(home.path().join(".dashscope").join(name), text).unwrap();
    }
    home
}

fn loader(home: &Path, pairs: &[(&str, &str)]) -> ConfigLoader {
    ConfigLoader::new()
        .environment(environment(pairs))
        .home(home)
}

#[test]
fn each_layer_wins_over_the_ones_below() {
    let home = home(&[
        (
            "config.toml",
            "default_model = 'from-file'\nmax_retries = 4\nregion = 'us-east-1'\ntemperature = 0.5",
        ),
        ("api_key", "sk-fromkeyfile000000000000\n"),
    ]);
    let dotenv = home.path().join("settings.env");
    fs::write(
        &dotenv,
        "DASHSCOPE_MODEL=from-dotenv\nDASHSCOPE_TIMEOUT=7\nDASHSCOPE_MAX_RETRIES=3\n",
    )
    .unwrap();
    let config = loader(
        home.path(),
        &[("DASHSCOPE_TIMEOUT", "8"), ("DASHSCOPE_REGION", "")],
    )
    .dotenv_file(&dotenv)
    .max_tokens(9)
    .load()
    .unwrap();
    assert_eq!(config.max_tokens.map(std::num::NonZero::get), Some(9));
    assert_eq!(config.timeouts.first_byte.as_secs(), 8);
    assert_eq!(config.retry.max_retries, 3);
    assert_eq!(config.default_model.as_deref(), Some("from-dotenv"));
    assert_eq!(config.region.as_str(), "us-east-1");
    assert_eq!(config.temperature, Some(0.5));
    assert_eq!(
        config.api_key.as_ref().unwrap().expose(),
        "sk-fromkeyfile000000000000"
    );
    assert_eq!(config.protocol, Dialect::Native);

    assert_eq!(
        config.source("DASHSCOPE_MAX_TOKENS"),
        Source::Argument("max_tokens")
    );
    assert_eq!(
        config.source("DASHSCOPE_TIMEOUT"),
        Source::Environment("DASHSCOPE_TIMEOUT")
    );
    assert_eq!(
        config.source("DASHSCOPE_DEFAULT_MODEL"),
        Source::DotEnv("DASHSCOPE_MODEL", dotenv)
    );
    assert!(matches!(
        config.source("DASHSCOPE_REGION"),
        Source::ConfigFile("region", _)
    ));
    assert!(matches!(
        config.source("DASHSCOPE_API_KEY"),
        Source::KeyFile(_)
    ));
    assert_eq!(config.source("DASHSCOPE_TOP_P"), Source::Default);
}

#[test]
fn the_dotenv_file_is_read_only_when_asked_for() {
    let home = home(&[]);
    let dotenv = home.path().join(".env");
    fs::write(&dotenv, format!("DASHSCOPE_API_KEY={KEY}\n")).unwrap();
    assert!(loader(home.path(), &[]).load().is_err());
    assert!(loader(home.path(), &[]).dotenv_file(&dotenv).load().is_ok());
}

#[test]
fn older_names_are_read_and_the_newer_name_wins() {
    let home = home(&[]);
    let config = loader(
        home.path(),
        &[
            ("DASHSCOPE_API_KEY", KEY),
            ("DASHSCOPE_WORKSPACE_ID", "llm-old"),
            ("DASHSCOPE_API_REGION", "eu-central-1"),
            ("DASHSCOPE_HTTP_BASE_URL", "https://old.example.com"),
            ("DASHSCOPE_BASE_URL", "https://new.example.com"),
        ],
    )
    .load()
    .unwrap();
    assert_eq!(config.endpoint.host(), "new.example.com");
    assert_eq!(config.workspace.unwrap().as_str(), "llm-old");
    assert_eq!(config.region.as_str(), "eu-central-1");
}

#[test]
fn every_problem_is_reported_at_once_with_its_variable_and_a_fix() {
    let home = home(&[]);
    let wrong = [
        ("DASHSCOPE_API_KEY", "sk-your-api-key", "placeholder"),
        ("DASHSCOPE_BASE_URL", "ftp://host", "https://"),
        ("DASHSCOPE_WORKSPACE", "bad/ws", "workspace id"),
        ("DASHSCOPE_REGION", "singapore", "ap-southeast-1"),
        ("DASHSCOPE_PROTOCOL", "grpc", "native, openai, anthropic"),
        ("DASHSCOPE_DEFAULT_MODEL", "qwen plus", "qwen-plus"),
        ("DASHSCOPE_TIMEOUT", "30s", "number of seconds"),
        ("DASHSCOPE_MAX_RETRIES", "-1", "whole number"),
        ("DASHSCOPE_RETRY_DELAY", "soon", "seconds"),
        ("DASHSCOPE_REQUESTS_PER_MINUTE", "0", "above 0"),
        ("DASHSCOPE_REQUESTS_PER_DAY", "many", "above 0"),
        ("DASHSCOPE_ENABLE_STREAMING", "maybe", "true or false"),
        ("DASHSCOPE_MAX_TOKENS", "1.5", "whole number"),
        ("DASHSCOPE_TEMPERATURE", "2", "below 2"),
        ("DASHSCOPE_TOP_P", "NaN", "above 0"),
    ];
    assert_eq!(wrong.len(), VARIABLES.len());
    let pairs: Vec<_> = wrong
        .iter()
        .map(|(name, value, _)| (*name, *value))
        .collect();
    let error = loader(home.path(), &pairs).load().unwrap_err();
    assert_eq!(error.problems().len(), wrong.len(), "{error}");
    for (name, _, fix) in wrong {
        let line = error
            .problems()
            .iter()
            .map(ToString::to_string)
            .find(|line| line.contains(name));
        let line = line.unwrap_or_else(|| panic!("{name} is not named in {error}"));
        assert!(line.contains(fix), "{line}");
    }
}

#[test]
fn a_key_in_any_wrong_place_is_never_shown() {
    let home = home(&[("config.toml", &format!("broken {KEY}")), ("api_key", "")]);
    let dotenv = home.path().join(".env");
    fs::write(&dotenv, format!("DASHSCOPE_API_KEY {KEY}\n'{KEY}\n")).unwrap();
    for variable in VARIABLES {
        for value in [KEY.to_owned(), format!("\"{KEY}\""), format!("{KEY} {KEY}")] {
            let resolution = loader(home.path(), &[(variable.name, &value)])
                .dotenv_file(&dotenv)
                .resolve();
            let text = format!(
                "{resolution:?} {:?} {:?}",
                resolution.config.report(),
                resolution
                    .problems
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>(),
            );
            assert!(!text.contains("0123456789ab"), "{}: {text}", variable.name);
        }
    }
}

#[test]
fn the_debug_form_masks_the_key() {
    let home = home(&[]);
    let config = loader(home.path(), &[("DASHSCOPE_API_KEY", KEY)])
        .load()
        .unwrap();
    let text = format!("{config:?}");
    assert!(
        text.contains("sk-…cdef") && !text.contains("0123456789"),
        "{text}"
    );
}

#[test]
fn a_missing_key_is_one_problem_and_a_bad_one_is_not_called_missing() {
    let home = home(&[]);
    let error = loader(home.path(), &[]).load().unwrap_err();
    assert!(error.to_string().contains("no API key is set"), "{error}");
    let error = loader(home.path(), &[("DASHSCOPE_API_KEY", "Bearer sk-1")])
        .load()
        .unwrap_err();
    assert_eq!(error.problems().len(), 1);
    assert!(error.to_string().contains("Bearer"), "{error}");
}

#[test]
fn keys_of_another_kind_are_accepted_by_other_servers_only() {
    let home = home(&[]);
    let official = loader(home.path(), &[("DASHSCOPE_API_KEY", "virtual-key-1")]);
    assert!(official.load().unwrap_err().to_string().contains("sk-"));
    assert!(official.base_url("http://127.0.0.1:8080").load().is_ok());
}

#[test]
fn a_named_key_file_must_exist_and_a_tilde_is_the_home() {
    let home = home(&[]);
    let variable = "DASHSCOPE_API_KEY_FILE_PATH";
    let error = loader(home.path(), &[(variable, "~/none")])
        .load()
        .unwrap_err();
    assert!(error.to_string().contains(variable), "{error}");
    assert_eq!(error.problems().len(), 1, "{error}");
    fs::write(home.path().join("my-key"), format!("{KEY}\n")).unwrap();
    assert!(
        loader(home.path(), &[(variable, "~/my-key")])
            .load()
            .is_ok()
    );
}

#[test]
fn unknown_keys_of_the_configuration_file_are_warned_about() {
    let home = home(&[("config.toml", "max_retrys = 3\n[profile]\nname = 'x'\n")]);
    let config = loader(home.path(), &[("DASHSCOPE_API_KEY", KEY)])
        .load()
        .unwrap();
    let warnings = config.warnings().join("\n");
    assert!(
        warnings.contains("max_retrys") && warnings.contains("profile"),
        "{warnings}"
    );
}

#[test]
fn what_is_probably_not_meant_is_warned_about() {
    let home = home(&[]);
    let warnings = |pairs: &[(&str, &str)]| {
        loader(home.path(), pairs)
            .load()
            .unwrap()
            .warnings()
            .join("\n")
    };
    let plan = ("DASHSCOPE_API_KEY", "sk-sp-0123456789abcdef");
    assert!(warnings(&[plan]).contains("plan"));
    assert!(
        warnings(&[
            plan,
            (
                "DASHSCOPE_BASE_URL",
                "https://coding.dashscope.aliyuncs.com/v1"
            )
        ])
        .contains("DASHSCOPE_PROTOCOL=openai")
    );
    let key = ("DASHSCOPE_API_KEY", KEY);
    assert!(warnings(&[key, ("DASHSCOPE_BASE_URL", "http://10.0.0.1")]).contains("unencrypted"));
    assert_eq!(
        warnings(&[key, ("DASHSCOPE_BASE_URL", "http://127.0.0.1:1")]),
        ""
    );
}
