mod cache;
mod explain;
mod overlay;
mod reference;
mod schema;
mod unknown;

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use bailian_wire::Dialect;

use super::*;

fn environment(variables: &[(&str, &str)]) -> HashMap<String, String> {
    variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(
        text,
        "gateway.toml",
        &environment(&[("UP", "sk-upstream"), ("WEB", "web-key-0001")]),
    )
}

const GOOD: &str = r#"
    listen = "127.0.0.1:0"
    threads = 2
    [timeouts]
    idle = "5m"
    [limits]
    max_body_bytes = 1000
    [[accounts]]
    api_keys = ["env:UP"]
    base_url = "http://127.0.0.1:9000/compatible-mode/v1/"
    forward_headers = ["x-sim-*"]
    [[keys]]
    name = "web"
    tenant = "team-web"
    key = "env:WEB"
    [[keys]]
    name = "batch"
    key_sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
"#;

#[test]
fn a_whole_file_is_read() {
    let config = parse(GOOD).unwrap();
    assert_eq!((config.threads, config.listen.port()), (2, 0));
    assert_eq!(config.timeouts.idle, Duration::from_mins(5));
    assert_eq!(config.limits.max_body_bytes, 1000);
    assert_eq!(
        config.accounts[0].native_root,
        "http://127.0.0.1:9000/api/v1"
    );
    assert_eq!(
        config.accounts[0].openai_root,
        "http://127.0.0.1:9000/compatible-mode/v1"
    );
    assert_eq!(&*config.keys[0].owner.tenant, "team-web");
    assert_eq!(&*config.keys[1].owner.tenant, "batch");
    let store = crate::keys::KeyStore::authenticate(&*config.key_store(), b"web-key-0001");
    assert_eq!(store.unwrap().name, "web");
}

#[test]
fn a_typing_error_stops_the_start_and_names_its_place() {
    let error = parse(&GOOD.replace("max_body_bytes", "max_body_byte"))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("limits") && error.contains("max_body_byte"),
        "{error}"
    );
    let error = parse("listen = 7").unwrap_err().to_string();
    assert!(
        error.contains("listen: is a whole number, not text") && error.contains("line 1"),
        "{error}"
    );
}

#[test]
fn all_problems_are_reported_together_and_none_shows_a_secret() {
    let text = r#"
        listen = "localhost"
        threads = 0
        [timeouts]
        idle = "soon"
        [[accounts]]
        api_keys = ["env:NOT_SET", "sk-with blank-secret"]
        region = "mars-1"
        [[keys]]
        name = "short"
        key = "secret7"
        [[keys]]
        name = "none"
    "#;
    let Err(ConfigError::Invalid(problems)) = parse(text) else {
        panic!("accepted")
    };
    let places: Vec<&str> = problems
        .iter()
        .map(|problem| problem.place.as_str())
        .collect();
    assert_eq!(
        places,
        [
            "listen",
            "threads",
            "timeouts.idle",
            "accounts[0].api_keys[0]",
            "accounts[0].api_keys[1]",
            "accounts[0].region",
            "keys[0].key",
            "keys[1]"
        ]
    );
    let shown = ConfigError::Invalid(problems).to_string();
    assert!(
        !shown.contains("secret7") && !shown.contains("blank-secret"),
        "{shown}"
    );
}

#[test]
fn patterns_of_what_is_taken_out_are_bounded_and_told_when_they_are_wrong() {
    let with = |name: &str, pattern: &str| {
        let text = format!(
            "[data]\nfolder = \"x\"\n[[data.redact]]\nname = \"{name}\"\npattern = '{pattern}'\n\
             [[accounts]]\napi_keys = [\"sk-upstream\"]\n[[keys]]\nname = \"k\"\nkey = \"12345678\"\n"
        );
        match parse(&text) {
            Ok(config) => Ok(config.data.unwrap().redact),
            Err(error) => Err(error.to_string()),
        }
    };
    let patterns = with("customer", "客户[0-9]{8}").unwrap();
    assert!(patterns[0].pattern.is_match("客户20261127"));
    for (name, pattern, problem) in [
        (
            "Kunde",
            "x",
            "data.redact[0].name: is not 1 to 32 small letters",
        ),
        ("a", "x*", "data.redact[0].pattern: matches nothing at all"),
        (
            "a",
            "(x",
            "data.redact[0].pattern: is no regular expression: unclosed",
        ),
        (
            "a",
            "(?:x{1000}){1000}",
            "data.redact[0].pattern: is too large",
        ),
    ] {
        let told = with(name, pattern).unwrap_err();
        assert!(told.contains(problem), "{told}");
    }
}

#[test]
fn the_environment_alone_is_enough() {
    let config = Config::from_environment(
        &environment(&[
            ("DASHSCOPE_API_KEY", " sk-upstream \n"),
            ("DASHSCOPE_BASE_URL", "127.0.0.1:9000"),
            ("BAILIAN_API_KEY", "12345678"),
        ]),
        || panic!("a key is set"),
    );
    // A bare address without a scheme is taken for an encrypted one.
    assert!(
        config.unwrap().accounts[0]
            .openai_root
            .ends_with("127.0.0.1:9000/compatible-mode/v1")
    );

    let made = Config::from_environment(
        &environment(&[("DASHSCOPE_API_KEY", "sk-upstream")]),
        || "sk-bl-made-for-you".into(),
    )
    .unwrap();
    assert_eq!(
        made.accounts[0].native_root,
        "https://dashscope.aliyuncs.com/api/v1"
    );
    let store = made.key_store();
    assert!(crate::keys::KeyStore::authenticate(&*store, b"sk-bl-made-for-you").is_some());
}

#[test]
fn a_missing_key_or_a_short_one_is_named_with_a_way_out() {
    let error = Config::from_environment(&environment(&[("BAILIAN_API_KEY", "short")]), || {
        panic!("a key is set")
    })
    .unwrap_err()
    .to_string();
    assert!(error.contains("DASHSCOPE_API_KEY: is not set"), "{error}");
    assert!(
        error.contains("BAILIAN_API_KEY: a key has at least 8"),
        "{error}"
    );
}

#[test]
fn debug_output_of_a_configuration_shows_no_secret() {
    let shown = format!("{:?}", parse(GOOD).unwrap());
    assert!(
        !shown.contains("sk-upstream") && !shown.contains("web-key-0001"),
        "{shown}"
    );
}

/// The book's example that has such a line.
fn example_with(line: &str) -> &'static str {
    let book = include_str!("../../../../docs/gateway.md");
    let mut examples = book.split("```toml").skip(1);
    let example = examples.find(|example| example.contains(line)).unwrap();
    example.split("```").next().unwrap()
}

#[test]
fn the_books_routes_are_read_as_they_stand_there() {
    let keys = [("KEY_BEIJING", "sk-1"), ("KEY_SINGAPORE", "sk-2")];
    let text = format!(
        "{}\n[[keys]]\nname = \"web\"\nkey = \"web-key-0001\"",
        example_with("[[routes]]")
    );
    let config = Config::parse(&text, "book", &environment(&keys)).unwrap();
    assert_eq!(config.accounts.len(), 3);
    let route = &config.routes[0];
    assert_eq!((route.targets.len(), route.fallbacks.len()), (2, 1));
}

#[test]
fn the_books_limits_are_read_as_they_stand_there() {
    let example = example_with("[[accounts.limits]]");
    let text = GOOD.replacen("[[keys]]", &format!("{example}\n[[keys]]"), 1);
    let config = parse(&text).unwrap();
    let rule = &config.accounts[0].limits[0];
    assert_eq!(rule.models, ["qwen-plus"]);
    let limits: Vec<String> = rule.lane.limits.iter().map(ToString::to_string).collect();
    assert_eq!(
        limits,
        [
            "600 requests per 60 s",
            "20 requests per 1 s",
            "1000000 tokens per 60 s",
            "100 requests per 60 s",
            "50 running"
        ]
    );
    assert!(rule.lane.ramp.is_some() && rule.lane.limits.iter().all(|limit| !limit.exact));
}

#[test]
fn limits_that_cannot_be_kept_stop_the_start_with_their_places() {
    let limits = r#"
        [pacing]
        max_wait = "soon"
        [[accounts]]
        api_keys = ["env:UP"]
        [[accounts.limits]]
        model = "qwen-plus"
        requests = ["600"]
        tokens = ["0/60s"]
        running = 0
        [[keys]]
        name = "web"
        key = "env:WEB"
        priority = "urgent"
        weight = 0
    "#;
    let Err(ConfigError::Invalid(problems)) = parse(limits) else {
        panic!("it was read");
    };
    let places: Vec<&str> = problems.iter().map(|p| p.place.as_str()).collect();
    assert_eq!(
        places,
        [
            "pacing.max_wait",
            "accounts[0].limits[0].requests",
            "accounts[0].limits[0].tokens",
            "accounts[0].limits[0].running",
            "keys[0].weight",
            "keys[0].priority",
        ]
    );
}

const ROUTED: &str = r#"
    [[accounts]]
    name = "a"
    api_keys = ["env:UP"]
    [[accounts]]
    name = "local"
    kind = "openai"
    base_url = "http://127.0.0.1:8000/v1/"
    [[routes]]
    model = "fast"
    targets = [{ account = "a", model = "qwen-flash", weight = 3 }, { account = "local" }]
    fallbacks = [{ account = "a", model = "qwen-plus", dialect = "native" }]
    fall_back_on = ["rate_limit", "server"]
    [repairs]
    tool_calls = false
    unsupported = "drop"
    keep_alive = "2s"
    [[keys]]
    name = "web"
    key = "env:WEB"
"#;

#[test]
fn routes_and_repairs_are_read() {
    let config = parse(ROUTED).unwrap();
    let route = &config.routes[0];
    assert_eq!((route.targets[0].weight, route.targets[1].weight), (3, 1));
    assert_eq!(route.fallbacks[0].dialect, Some(Dialect::Native));
    assert_eq!(route.fall_back_on.as_ref().map(Vec::len), Some(4));
    assert_eq!(config.accounts[1].openai_root, "http://127.0.0.1:8000/v1");
    assert!(config.accounts[1].api_keys.is_empty() && !config.accounts[1].quota_api);
    assert!(!config.repairs.tool_calls && config.repairs.resume);
    assert!(config.repairs.drop_unsupported);
    assert_eq!(config.repairs.keep_alive, Duration::from_secs(2));
}

#[test]
fn what_is_wrong_with_a_route_is_said_with_its_place() {
    for (good, bad, place) in [
        (
            "account = \"local\" }",
            "account = \"nowhere\" }",
            "routes[0].targets[1]",
        ),
        ("weight = 3", "weight = 0", "routes[0].targets[0]"),
        (
            "\"server\"]",
            "\"invalid_request\"]",
            "routes[0].fall_back_on",
        ),
        ("\"server\"]", "\"sever\"]", "routes[0].fall_back_on"),
        (
            "{ account = \"local\" }",
            "{ account = \"local\", dialect = \"native\" }",
            "routes[0].targets[1]",
        ),
        ("name = \"local\"", "name = \"a\"", "accounts[1]"),
        ("kind = \"openai\"", "kind = \"openia\"", "accounts[1].kind"),
        ("\"drop\"", "\"droop\"", "repairs.unsupported"),
        ("model = \"fast\"", "model = \"\"", "routes[0].model"),
    ] {
        let ConfigError::Invalid(problems) = parse(&ROUTED.replace(good, bad)).unwrap_err() else {
            panic!("{bad}");
        };
        assert!(
            problems.iter().any(|problem| problem.place == place),
            "{bad}: {problems:?}"
        );
    }
}

#[test]
fn the_books_listeners_are_read_as_they_stand_there() {
    let tls = example_with("[[tls]]");
    let config = parse(&format!("{GOOD}\n{tls}")).unwrap();
    let certificates: Vec<_> = config.tls.iter().map(|tls| &*tls.certificate).collect();
    let expected = ["gateway.crt", "internal.crt"].map(|name| Path::new("/etc/bailian").join(name));
    assert_eq!(certificates, expected);
    let hand_over = example_with("hand_over = ");
    let config = parse(&format!("{hand_over}\n{GOOD}"));
    if cfg!(unix) {
        let path = config.unwrap().hand_over.unwrap();
        assert_eq!(path, Path::new("/run/bailian/gateway.sock"));
    } else {
        assert!(config.is_err());
    }
}

#[test]
fn limits_of_connections_follow_each_other() {
    let with = |limits: &str| parse(&GOOD.replace("max_body_bytes = 1000", limits));
    let limits = with("max_connections = 7").unwrap().limits;
    assert_eq!(limits.max_connections_per_address, 4);
    let limits = with("max_connections_per_address = 9\nmin_body_bytes_per_second = 0");
    let limits = limits.unwrap().limits;
    assert_eq!(limits.max_connections_per_address, 9);
    assert_eq!(limits.min_body_bytes_per_second, 0);
    let ConfigError::Invalid(problems) = with("max_streams_per_connection = 0").unwrap_err() else {
        panic!("it was read");
    };
    assert_eq!(problems[0].place, "limits.max_streams_per_connection");
}

#[test]
fn what_is_wrong_with_tls_is_said_with_its_place_and_without_the_key() {
    let one = "[tls]\ncertificate = \"file:a.crt\"\nkey = \"file:a.key\"";
    assert_eq!(parse(&format!("{GOOD}\n{one}")).unwrap().tls.len(), 1);
    let inline = one.replace("file:a.key", "-----BEGIN PRIVATE KEY-----");
    let error = parse(&format!("{GOOD}\n{inline}")).unwrap_err().to_string();
    assert!(
        error.contains("tls.key") && !error.contains("BEGIN"),
        "{error}"
    );
    for (text, place) in [
        (one.replace("key =", "kye ="), "kye"),
        (one.replace("\"file:a.key\"", "7"), "tls"),
        ("tls = true".to_owned(), "tls"),
    ] {
        let text = if text.starts_with("tls") {
            format!("{text}\n{GOOD}")
        } else {
            format!("{GOOD}\n{text}")
        };
        let error = parse(&text).unwrap_err().to_string();
        assert!(error.contains(place), "{error}");
    }
}

#[test]
fn the_books_cache_is_read_as_it_stands_there() {
    let config = parse(&format!("{GOOD}\n{}", example_with("[cache]\nstore"))).unwrap();
    assert!(config.cache.is_some());
    let ten_minutes = RouteCache::For(Duration::from_mins(10));
    assert_eq!(config.routes[0].cache, Some(ten_minutes));
}
