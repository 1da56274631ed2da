//! Another configuration while requests run.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at what it did not expect"
)]

mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bailian_gateway::{Config, ConfigFile, Gateway, Server};
use bailian_sim::{RunningSimulator, SimConfig, Simulator};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use support::{
    KEY, OPENAI, Running, UPSTREAM_KEY, get, openai_body, post, read, read_json, run, send, with,
};

const ADMIN: &str = "admin-token-0001";

fn parse(text: &str) -> Config {
    Config::parse(text, "test", &|_: &str| None).unwrap()
}

/// A file with one account; `more` stands behind it, `limits` in the account.
fn text(base_url: &str, limits: &str, more: &str) -> String {
    format!(
        r#"
        listen = "127.0.0.1:0"
        threads = 1
        [admin]
        token = "{ADMIN}"
        [[accounts]]
        name = "a"
        api_keys = ["{UPSTREAM_KEY}"]
        base_url = "{base_url}"
        forward_headers = ["x-sim-*"]
        {limits}
        [[keys]]
        name = "test"
        key = "{KEY}"
        {more}
        "#
    )
}

async fn simulator() -> RunningSimulator {
    Simulator::new(SimConfig::default()).spawn().await.unwrap()
}

/// A gateway and the handle that reloads it.
fn start(config: Config) -> (Gateway, Running) {
    let server = Server::bind(config).unwrap();
    (server.gateway().clone(), run(server))
}

async fn ask(address: SocketAddr) -> u16 {
    let response = send(address, post(OPENAI, openai_body(false))).await;
    read(response).await.0.as_u16()
}

async fn ready(address: SocketAddr) -> Value {
    read_json(send(address, get("/readyz")).await).await.2
}

async fn lane(address: SocketAddr, name: &str) -> Value {
    let request = with(
        get("/admin/v1/lanes"),
        "authorization",
        "Bearer admin-token-0001",
    );
    let (_, _, lanes) = read_json(send(address, request).await).await;
    let lanes = lanes["data"].as_array().unwrap().clone();
    let found = lanes.into_iter().find(|lane| lane["lane"] == name);
    found.unwrap_or_else(|| panic!("no lane {name}"))
}

#[tokio::test]
async fn accounts_keys_routes_and_limits_are_new_for_requests_that_begin_after_the_reload() {
    let (first, second) = (simulator().await, simulator().await);
    let (gateway, running) = start(parse(&text(&first.base_url(), "", "")));
    assert_eq!(ask(running.address).await, 200);
    assert_eq!((first.journal().len(), second.journal().len()), (1, 0));

    let other = text(&second.base_url(), "", "[limits]\nmax_body_bytes = 300")
        .replace(KEY, "sk-bl-another-key-02");
    let reloaded = gateway.reload(parse(&other)).unwrap();
    assert!(reloaded.at_next_start.is_empty(), "{reloaded:?}");
    assert_eq!(ask(running.address).await, 401);
    let with_new_key = |body: String| {
        with(
            post(OPENAI, body),
            "authorization",
            "Bearer sk-bl-another-key-02",
        )
    };
    let response = send(running.address, with_new_key(openai_body(false))).await;
    assert_eq!(read(response).await.0, 200);
    assert_eq!((first.journal().len(), second.journal().len()), (1, 1));
    let message = json!({ "role": "user", "content": "长".repeat(200) });
    let long = json!({ "model": "qwen-plus", "messages": [message] });
    let response = send(running.address, with_new_key(long.to_string())).await;
    assert_eq!(read(response).await.0, 413);

    let routed = text(
        &second.base_url(),
        "",
        "[[routes]]\nmodel = \"fast\"\ntargets = [{ account = \"a\", model = \"qwen-turbo\" }]",
    );
    gateway.reload(parse(&routed)).unwrap();
    let body = json!({ "model": "fast", "messages": [{ "role": "user", "content": "你好" }] });
    let response = send(running.address, post(OPENAI, body.to_string())).await;
    assert_eq!(read(response).await.0, 200);
    let (_, _, models) = read_json(send(running.address, get("/v1/models")).await).await;
    assert!(models.to_string().contains("\"fast\""));
}

#[tokio::test]
async fn an_open_stream_goes_on_with_what_it_began_with() {
    let (first, second) = (simulator().await, simulator().await);
    let (gateway, running) = start(parse(&text(&first.base_url(), "", "")));
    let request = with(post(OPENAI, openai_body(true)), "x-sim-tokens", "40");
    let request = with(request, "x-sim-tps", "100");
    let mut stream = send(running.address, request).await.into_body();
    let begun = stream.frame().await.unwrap().unwrap();
    assert!(begun.is_data());

    let other = text(&second.base_url(), "", "").replace(KEY, "sk-bl-another-key-02");
    gateway.reload(parse(&other)).unwrap();
    assert_eq!(ask(running.address).await, 401);
    let rest = stream.collect().await.unwrap().to_bytes();
    let rest = String::from_utf8(rest.to_vec()).unwrap();
    assert!(rest.ends_with("data: [DONE]\n\n"), "{rest}");
    assert!(second.journal().is_empty());
}

#[tokio::test]
async fn a_lane_takes_new_limits_and_keeps_what_it_counted() {
    let simulator = simulator().await;
    let limits = |amount: u64| {
        format!("[[accounts.limits]]\nmodel = \"qwen-plus\"\nrequests = [\"{amount}/60s\"]")
    };
    let (gateway, running) = start(parse(&text(&simulator.base_url(), &limits(500), "")));
    for _ in 0..3 {
        assert_eq!(ask(running.address).await, 200);
    }
    let of = |lane: &Value| {
        let limits = lane["limits"].as_array().unwrap();
        let limit = limits.iter().find(|it| it["source"] == "config").unwrap();
        (limit["amount"].clone(), limit["used"].clone())
    };
    let before = lane(running.address, "qwen-plus").await;
    assert_eq!(of(&before), (500.into(), 3.into()));

    // A second account does not give the lane of the first another name.
    let second = format!(
        "[[accounts]]\nname = \"b\"\napi_keys = [\"{UPSTREAM_KEY}\"]\nbase_url = \"{}\"\n\
         [[routes]]\nmodel = \"qwen-*\"\ntargets = [{{ account = \"a\" }}]",
        simulator.base_url()
    );
    gateway
        .reload(parse(&text(&simulator.base_url(), &limits(40), &second)))
        .unwrap();
    let after = lane(running.address, "qwen-plus").await;
    assert_eq!(of(&after), (40.into(), 3.into()));
    assert_eq!(after["account"], "a");
    assert_eq!(after["granted"]["normal"], 3);
}

#[tokio::test]
async fn what_needs_a_restart_stays_and_is_named_while_the_rest_is_applied() {
    let simulator = simulator().await;
    let (gateway, running) = start(parse(&text(&simulator.base_url(), "", "")));
    let changed = text(&simulator.base_url(), "", "[limits]\nmax_body_bytes = 20")
        .replace("127.0.0.1:0", "127.0.0.1:1")
        .replace("threads = 1", "threads = 2");
    let reloaded = gateway.reload(parse(&changed)).unwrap();
    assert_eq!(reloaded.at_next_start, ["listen", "threads"]);
    assert_eq!(ask(running.address).await, 413);

    let folder = tempfile::tempdir().unwrap();
    let kept = format!("[data]\nfolder = \"{}\"", folder.path().display());
    let refused = gateway.reload(parse(&text(&simulator.base_url(), "", &kept)));
    assert!(refused.is_err());
    assert_eq!(ask(running.address).await, 413);
}

#[tokio::test]
async fn keys_and_their_settings_in_the_file_change_beside_those_of_the_store() {
    let simulator = simulator().await;
    let folder = tempfile::tempdir().unwrap();
    let data = format!("[data]\nfolder = \"{}\"", folder.path().display());
    let (gateway, running) = start(parse(&text(&simulator.base_url(), "", &data)));
    assert_eq!(ask(running.address).await, 200);
    let disabled = format!("[keys.settings]\ndisabled = true\n{data}");
    gateway
        .reload(parse(&text(&simulator.base_url(), "", &disabled)))
        .unwrap();
    assert_eq!(ask(running.address).await, 401);
    let another = text(&simulator.base_url(), "", &data).replace(KEY, "sk-bl-another-key-02");
    gateway.reload(parse(&another)).unwrap();
    assert_eq!(ask(running.address).await, 401);
    gateway
        .reload(parse(&text(&simulator.base_url(), "", &data)))
        .unwrap();
    assert_eq!(ask(running.address).await, 200);
}

/// Writes a file as an editor does: as a whole, in the place of the other.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(&new, path).unwrap();
}

async fn until<F: Future<Output = bool>>(condition: impl Fn() -> F) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition().await {
        assert!(Instant::now() < deadline, "it did not come to pass");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_changed_file_is_taken_and_a_bad_one_is_refused_with_its_line() {
    let simulator = simulator().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.toml");
    let good = text(&simulator.base_url(), "", "");
    replace(&path, &good);
    let load = {
        let path = path.clone();
        move || Config::load(&path, &|_: &str| None)
    };
    let file = ConfigFile::new(&path, load.clone()).look_every(Duration::from_millis(10));
    let running = run(Server::bind(load().unwrap()).unwrap().follow(file));
    let address = running.address;
    let loaded = ready(address).await["config"].clone();
    assert_eq!(loaded["last_error"], Value::Null);

    replace(&path, &good.replace("threads = 1", "threads = 0"));
    until(async || !ready(address).await["config"]["last_error"].is_null()).await;
    let refused = ready(address).await["config"].clone();
    let error = refused["last_error"].as_str().unwrap();
    assert!(
        error.contains("threads") && error.contains("line 3"),
        "{error}"
    );
    assert_eq!(refused["loaded_at"], loaded["loaded_at"]);
    assert_eq!(ask(address).await, 200);

    replace(&path, &good.replace(KEY, "sk-bl-another-key-02"));
    until(async || ask(address).await == 401).await;
    until(async || ready(address).await["config"]["last_error"].is_null()).await;
    let (_, _, metrics) = read(send(address, get("/metrics")).await).await;
    for line in [
        "bailian_config_reloads_total{result=\"applied\"} 1",
        "bailian_config_reloads_total{result=\"refused\"} 1",
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_reloads_under_load_break_no_request() {
    let (first, second) = (simulator().await, simulator().await);
    let limits = "[[accounts.limits]]\nmodel = \"*\"\nrequests = [\"100000/1s\"]\nramp = false";
    let texts = [
        text(&first.base_url(), limits, ""),
        text(&second.base_url(), limits, "[timeouts]\nidle = \"1m\""),
    ];
    let (gateway, running) = start(parse(&texts[0]));
    let is_over = Arc::new(AtomicBool::new(false));
    let served = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..8)
        .map(|client| {
            let (is_over, served) = (Arc::clone(&is_over), Arc::clone(&served));
            let address = running.address;
            tokio::spawn(async move {
                while !is_over.load(Ordering::Relaxed) {
                    let streams = client % 2 == 0;
                    let response = send(address, post(OPENAI, openai_body(streams))).await;
                    let (status, _, text) = read(response).await;
                    assert_eq!(status, 200, "{text}");
                    assert!(!streams || text.ends_with("data: [DONE]\n\n"), "{text}");
                    served.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for round in 0..100_usize {
        let before = served.load(Ordering::Relaxed);
        let config = parse(&texts[(round + 1) % 2]);
        let gateway = gateway.clone();
        let reloading = tokio::task::spawn_blocking(move || gateway.reload(config));
        reloading.await.unwrap().unwrap();
        until(async || served.load(Ordering::Relaxed) > before).await;
    }
    is_over.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    assert!(!first.journal().is_empty() && !second.journal().is_empty());
}
