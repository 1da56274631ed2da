//! The admin API: the life of a key over HTTP, and who may not come near it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a step that fails ends the test"
)]

mod support;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bailian_gateway::{Config, Server, ServerError};
use bailian_sim::{RunningSimulator, SimConfig, Simulator};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use support::{OPENAI, Running, read, read_json, send};

const TOKEN: &str = "operator-token-1";

/// A gateway that keeps its data in a folder, with the admin API on a listener of its own.
struct Place {
    _folder: tempfile::TempDir,
    _simulator: RunningSimulator,
    gateway: Running,
    admin: SocketAddr,
}

fn configuration(upstream: &str, folder: &std::path::Path, more: &str) -> Config {
    let text = format!(
        r#"
        listen = "127.0.0.1:0"
        threads = 1
        [timeouts]
        connect = "2s"
        drain = "100ms"
        [[accounts]]
        api_keys = ["sk-canary-upstream-0001"]
        base_url = "{upstream}"
        quota_api = false
        [data]
        folder = "{}"
        [[keys]]
        name = "fixed"
        tenant = "文件"
        key = "a-key-of-the-file"
        [admin]
        token = "{TOKEN}"
        {more}
        "#,
        folder.display()
    );
    Config::parse(&text, "test", &|_: &str| None).unwrap()
}

impl Place {
    async fn new(simulated: Value) -> Self {
        let simulated: SimConfig = serde_json::from_value(simulated).unwrap();
        let simulator = Simulator::new(simulated).spawn().await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let more = "listen = \"127.0.0.1:0\"\nhosts = [\"gateway.internal\"]";
        let config = configuration(&simulator.base_url(), folder.path(), more);
        let server = Server::bind(config).unwrap();
        let admin = server.admin_addr().unwrap();
        Self {
            _folder: folder,
            _simulator: simulator,
            admin,
            gateway: run(server),
        }
    }

    /// Asks the admin API as the operator.
    async fn ask(&self, method: Method, path: &str, body: Value) -> (StatusCode, HeaderMap, Value) {
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let request = request(method, &format!("/admin/v1{path}"), TOKEN, body);
        let (status, headers, text) = read(send(self.admin, request).await).await;
        let value = match text.as_str() {
            "" => Value::Null,
            text => serde_json::from_str(text).unwrap_or_else(|_| panic!("not JSON: {text}")),
        };
        (status, headers, value)
    }

    async fn get(&self, path: &str) -> Value {
        let (status, _, value) = self.ask(Method::GET, path, Value::Null).await;
        assert_eq!(status, StatusCode::OK, "{path}: {value}");
        value
    }

    async fn made(&self, path: &str, body: Value) -> Value {
        let (status, headers, value) = self.ask(Method::POST, path, body).await;
        assert_eq!(status, StatusCode::CREATED, "{path}: {value}");
        let tag = headers["etag"].to_str().unwrap();
        assert_eq!(tag, format!("\"{}\"", value["revision"]));
        value
    }

    /// Tenant, project and key, each with its settings.
    async fn key(&self, settings: Value) -> Value {
        let tenant = self.made("/tenants", json!({ "name": "研发部" })).await;
        let project = json!({ "name": "客服", "tenant": tenant["id"] });
        let project = self.made("/projects", project).await;
        let mut key = settings;
        key["project"] = project["id"].clone();
        self.made("/keys", key).await
    }

    /// The status of a chat call.
    async fn call(&self, key: &str) -> StatusCode {
        let body = json!({ "model": "qwen-plus", "max_tokens": 20,
            "messages": [{ "role": "user", "content": "你好" }] });
        let request = request(Method::POST, OPENAI, key, body.to_string());
        read(send(self.gateway.address, request).await).await.0
    }

    /// Asks until the answer is as it should be: the ledger's store follows in its own time.
    async fn until(&self, path: &str, condition: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let value = self.get(path).await;
            if condition(&value) {
                return value;
            }
            assert!(Instant::now() < deadline, "{path}: {value}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn run(server: Server) -> Running {
    let address = server.local_addr();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let task = tokio::spawn(async move {
        server.run(async { drop(stopped.await) }).await.unwrap();
    });
    Running {
        address,
        stop: Some(stop),
        task,
    }
}

fn request(
    method: Method,
    path: &str,
    token: &str,
    body: impl Into<Bytes>,
) -> Request<Full<Bytes>> {
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", "127.0.0.1")
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .body(Full::new(body.into()))
        .unwrap()
}

#[tokio::test]
async fn a_key_lives_from_its_making_to_its_end() {
    let place = Place::new(json!({})).await;
    let settings = json!({ "name": "app", "limits": { "rpm": 100 }, "metadata": { "组": "一" },
        "budgets": [{ "period": "day", "money": { "amount": "10", "currency": "CNY" } }] });
    let made = place.key(settings).await;
    let id = made["id"].as_str().unwrap();
    let text = made["key"].as_str().unwrap().to_owned();
    assert!(text.starts_with("bl-"), "{made}");
    let shown = place.get(&format!("/keys/{id}")).await;
    assert_eq!(shown["name"], "app");
    assert_eq!(
        shown["tenant"].as_str().unwrap().split('_').next(),
        Some("t")
    );
    assert!(
        !shown.to_string().contains(&text),
        "the secret is shown once"
    );
    assert!(shown.get("key").is_none());

    assert_eq!(place.call(&text).await, StatusCode::OK);
    let standing = place.get(&format!("/keys/{id}/usage")).await;
    let of_key = &standing["levels"][0];
    assert_eq!(
        of_key["requests_per_minute"],
        json!({ "used": 1, "limit": 100 })
    );
    assert_eq!(of_key["budgets"][0]["unit"], "CNY");
    assert_ne!(of_key["budgets"][0]["used"], "0");
    assert_eq!(standing["levels"][2]["name"], "研发部");

    let path = format!("/usage?group_by=tenant,model&key={id}");
    let usage = place
        .until(&path, |usage| {
            usage["data"][0]["requests"] == 1 && usage["data"][0]["unsettled"] == 0
        })
        .await;
    let row = &usage["data"][0];
    assert_eq!(row["names"]["tenant"], "研发部");
    assert_eq!(row["group"]["model"], "qwen-plus");
    assert!(row["cost"]["CNY"].is_string(), "{row}");
    let by_name = place
        .get("/usage?tenant=%E7%A0%94%E5%8F%91%E9%83%A8&group_by=day")
        .await;
    assert_eq!(by_name["data"][0]["requests"], 1);
    let records = place.get("/records?key=app").await;
    assert_eq!(records["data"][0]["model"], "qwen-plus");
    assert_eq!(records["data"][0]["key_id"], id);

    // A new secret beside the old one, then one that ends both.
    let path = format!("/keys/{id}/rotate");
    let rotated = |overlap: &'static str, revision: Value| {
        let body = json!({ "overlap": overlap, "revision": revision });
        place.ask(Method::POST, &path, body)
    };
    let (status, _, second) = rotated("1h", made["revision"].clone()).await;
    assert_eq!(status, StatusCode::OK, "{second}");
    let second_text = second["key"].as_str().unwrap().to_owned();
    assert_eq!(place.call(&text).await, StatusCode::OK);
    assert_eq!(place.call(&second_text).await, StatusCode::OK);
    let (status, _, late) = rotated("0s", made["revision"].clone()).await;
    assert_eq!(status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(late["error"]["code"], "revision_conflict");
    assert_eq!(late["error"]["current_revision"], second["revision"]);
    let (_, _, third) = rotated("0s", second["revision"].clone()).await;
    let third_text = third["key"].as_str().unwrap().to_owned();
    assert_eq!(place.call(&text).await, StatusCode::UNAUTHORIZED);
    assert_eq!(place.call(&second_text).await, StatusCode::UNAUTHORIZED);
    assert_eq!(place.call(&third_text).await, StatusCode::OK);

    // Other settings are in force with the answer.
    let change = json!({ "models": ["qwen-max"], "limits": { "tpm": 1000 },
        "revision": third["revision"] });
    let (status, _, patched) = place
        .ask(Method::PATCH, &format!("/keys/{id}"), change)
        .await;
    assert_eq!(status, StatusCode::OK, "{patched}");
    assert_eq!(patched["limits"], json!({ "rpm": 100, "tpm": 1000 }));
    assert_eq!(place.call(&third_text).await, StatusCode::FORBIDDEN);

    let path = format!("/keys/{id}/revoke");
    let (status, _, revoked) = place.ask(Method::POST, &path, json!({})).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(revoked["status"], "revoked");
    assert_eq!(place.call(&third_text).await, StatusCode::UNAUTHORIZED);

    let delete = format!("/keys/{id}?revision={}", revoked["revision"]);
    let (status, _, _) = place.ask(Method::DELETE, &delete, Value::Null).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let (status, _, _) = place
        .ask(Method::GET, &format!("/keys/{id}"), Value::Null)
        .await;
    assert_eq!(status, StatusCode::NOT_FOUND);

    let audit = place.get("/audit").await;
    let told: Vec<&str> = audit["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["action"].as_str().unwrap())
        .collect();
    let expected = [
        "delete", "revoke", "update", "rotate", "rotate", "create", "create", "create",
    ];
    assert_eq!(told, expected);
    for entry in audit["data"].as_array().unwrap() {
        assert_eq!(entry["who"], "operator");
        assert_eq!(entry["from"], "127.0.0.1");
    }
    for secret in [&text, &second_text, &third_text] {
        assert!(!audit.to_string().contains(secret.as_str()));
    }
    let page = place.get("/audit?limit=3").await;
    assert_eq!(page["data"].as_array().unwrap().len(), 3);
    let rest = format!("/audit?before={}", page["next"].as_str().unwrap());
    assert_eq!(place.get(&rest).await["data"].as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn revoking_a_key_cuts_its_open_streams_within_a_second() {
    let slow = json!({ "speed": { "ttft_ms": 1, "tokens_per_second": 2 } });
    let place = Place::new(slow).await;
    let key = place.key(json!({ "name": "app" })).await;
    let body = json!({ "model": "qwen-plus", "stream": true,
        "messages": [{ "role": "user", "content": "写一首很长的诗" }] });
    let text = key["key"].as_str().unwrap();
    let request = request(Method::POST, OPENAI, text, body.to_string());
    let mut response = send(place.gateway.address, request).await;
    assert_eq!(response.status(), StatusCode::OK);
    drop(response.body_mut().frame().await.unwrap().unwrap());
    let path = format!("/keys/{}/revoke", key["id"].as_str().unwrap());
    let (status, _, _) = place
        .ask(Method::POST, &path, json!({ "cut_streams": true }))
        .await;
    assert_eq!(status, StatusCode::OK);
    let rest = async { while let Some(Ok(_)) = response.body_mut().frame().await {} };
    tokio::time::timeout(Duration::from_secs(1), rest)
        .await
        .unwrap();
}

#[tokio::test]
async fn only_the_operators_token_opens_anything_and_all_others_look_alike() {
    let place = Place::new(json!({})).await;
    let key = place.key(json!({ "name": "app" })).await;
    let text = key["key"].as_str().unwrap();
    let id = key["id"].as_str().unwrap();
    let mut answers = Vec::new();
    for token in ["", "wrong", "operator-token-2", text, "a-key-of-the-file"] {
        for (method, path) in [
            (Method::GET, "/admin/v1/tenants".to_owned()),
            (Method::GET, format!("/admin/v1/keys/{id}")),
            (Method::POST, format!("/admin/v1/keys/{id}/revoke")),
            (Method::GET, "/admin/v1/openapi.json".to_owned()),
            (Method::GET, "/admin/v1/nothing".to_owned()),
            (Method::PUT, "/admin/v1/tenants".to_owned()),
        ] {
            let (status, _, body) =
                read(send(place.admin, request(method, &path, token, "{}")).await).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{path} {token}");
            answers.push(body);
        }
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    let mut by_api_key = request(Method::GET, "/admin/v1/tenants", "x", "");
    by_api_key.headers_mut().remove("authorization");
    let by_api_key = support::with(by_api_key, "x-api-key", TOKEN);
    let (status, _, _) = read(send(place.admin, by_api_key).await).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    // The operator's token is no key.
    assert_eq!(place.call(TOKEN).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn with_a_listener_of_their_own_admin_paths_are_nowhere_else() {
    let place = Place::new(json!({})).await;
    let ask = |address, path: &'static str| async move {
        let answer = send(address, request(Method::GET, path, TOKEN, "")).await;
        read(answer).await.0
    };
    let public = place.gateway.address;
    assert_eq!(
        ask(public, "/admin/v1/tenants").await,
        StatusCode::NOT_FOUND
    );
    assert_eq!(ask(place.admin, "/admin/v1/tenants").await, StatusCode::OK);
    assert_eq!(ask(place.admin, "/v1/models").await, StatusCode::NOT_FOUND);
    assert_eq!(ask(place.admin, OPENAI).await, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_web_page_cannot_reach_the_admin_listener_by_a_name_of_its_own() {
    let place = Place::new(json!({})).await;
    let ask = |headers: &'static [(&'static str, &'static str)]| {
        let mut request = request(Method::GET, "/admin/v1/tenants", TOKEN, "");
        for (name, value) in headers {
            request = support::with(request, name, value);
        }
        send(place.admin, request)
    };
    for known in [
        &[("host", "127.0.0.1:9090")][..],
        &[("host", "localhost:9090")],
        &[("host", "gateway.internal")],
        &[("host", "localhost:9"), ("origin", "http://localhost:9")],
    ] {
        let (status, headers, _) = read(ask(known).await).await;
        assert_eq!(status, StatusCode::OK, "{known:?}");
        let cors = headers
            .keys()
            .any(|name| name.as_str().contains("access-control"));
        assert!(!cors, "{headers:?}");
        assert_eq!(headers["cache-control"], "no-store");
    }
    for refused in [
        &[("host", "evil.example")][..],
        &[("host", "127.0.0.1.evil.example")],
        &[("host", "")],
        &[("host", "localhost"), ("origin", "http://evil.example")],
        &[("host", "localhost"), ("origin", "null")],
    ] {
        let (status, _, body) = read_json(ask(refused).await).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{refused:?}");
        assert_eq!(body["error"]["code"], "host_refused");
    }
}

#[tokio::test]
async fn an_admin_address_that_other_machines_reach_needs_a_token() {
    let text = "[admin]\nlisten = \"0.0.0.0:0\"\n[[accounts]]\napi_keys = [\"sk-upstream-1\"]\n\
                [[keys]]\nname = \"a\"\nkey = \"a-key-of-the-file\"\n";
    let error = Config::parse(text, "test", &|_: &str| None).unwrap_err();
    assert!(error.to_string().contains("admin.token"), "{error}");
    let loopback = text.replace("0.0.0.0", "127.0.0.1");
    let mut config = Config::parse(&loopback, "test", &|_: &str| None).unwrap();
    config.admin_listen = Some("0.0.0.0:0".parse().unwrap());
    let error = Server::bind(config).unwrap_err();
    assert!(matches!(error, ServerError::OpenAdmin { .. }), "{error}");
}

#[tokio::test]
async fn names_with_anything_in_them_are_refused_or_kept_as_they_are() {
    let place = Place::new(json!({})).await;
    for name in ["a\0b", "a\r\nb", "", "  ", " a", &"长".repeat(101)] {
        let (status, _, body) = place
            .ask(Method::POST, "/tenants", json!({ "name": name }))
            .await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{name:?} {body}");
        assert_eq!(body["error"]["code"], "invalid");
        assert_eq!(body["error"]["problems"][0]["path"], "name");
    }
    let large = json!({ "name": "x".repeat(1_000_000) });
    let (status, _, body) = place.ask(Method::POST, "/tenants", large).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(body["error"]["code"], "too_large");
    for name in [
        "'; DROP TABLE tenant; --",
        "\" OR 1=1",
        "研发部 😀",
        "%_\\",
        "../../etc",
    ] {
        let made = place.made("/tenants", json!({ "name": name })).await;
        assert_eq!(made["name"], name);
        let query = url::form_urlencoded::byte_serialize(name.as_bytes()).collect::<String>();
        let found = place.get(&format!("/tenants?name={query}")).await;
        assert_eq!(found["data"].as_array().unwrap().len(), 1, "{found}");
        assert_eq!(found["data"][0]["id"], made["id"]);
    }
    let again = json!({ "name": "研发部 😀" });
    let (status, _, body) = place.ask(Method::POST, "/tenants", again).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(body["error"]["code"], "name_taken");
}

#[tokio::test]
async fn every_problem_of_an_input_is_told_with_its_place() {
    let place = Place::new(json!({})).await;
    let wrong = json!({ "name": "", "limits": { "rpm": 0 }, "weight": 0, "priority": "urgent",
        "expires_at": "soon", "ip_ranges": ["everywhere"] });
    let (status, _, body) = place.ask(Method::POST, "/tenants", wrong).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let problems = body["error"]["problems"].as_array().unwrap();
    let mut paths: Vec<&str> = problems
        .iter()
        .map(|problem| problem["path"].as_str().unwrap())
        .collect();
    paths.sort_unstable();
    let expected = [
        "expires_at",
        "ip_ranges[0]",
        "limits.rpm",
        "name",
        "priority",
        "weight",
    ];
    assert_eq!(paths, expected);

    let cases = [
        (
            "/tenants",
            json!({ "name": "a", "limits": { "rmp": 1 } }),
            "limits.rmp",
        ),
        ("/tenants", json!({ "name": "a", "rpm": 1 }), "rpm"),
        ("/tenants", json!([]), "body"),
        ("/projects", json!({ "name": "a" }), "tenant"),
        ("/projects", json!({ "name": "a", "tenant": "x" }), "tenant"),
        ("/keys", json!({ "name": "a" }), "project"),
        (
            "/keys",
            json!({ "name": "a", "project": "p_4fTz81QwXk", "key": 1 }),
            "key",
        ),
        (
            "/keys/k_4fTz81QwXk/rotate",
            json!({ "overlap": "long", "revision": 1 }),
            "overlap",
        ),
        (
            "/prices/quote",
            json!({ "model": "qwen-plus", "usage": { "tokens": 1 } }),
            "usage.tokens",
        ),
    ];
    for (path, body, place_of_problem) in cases {
        let (status, _, answer) = place.ask(Method::POST, path, body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path} {answer}");
        let found = answer["error"]["problems"][0]["path"].as_str().unwrap();
        assert_eq!(found, place_of_problem, "{answer}");
    }
    for (path, place_of_problem) in [
        ("/usage?from=yesterday", "from"),
        ("/usage?group_by=tenant,colour", "group_by"),
        ("/usage?form=2026-11-27", "form"),
        ("/records?limit=0", "limit"),
        ("/records?after=x", "after"),
        ("/export?format=xlsx", "format"),
        ("/audit?before=-1", "before"),
        ("/tenants?limit=100000", "limit"),
    ] {
        let (status, _, answer) = place.ask(Method::GET, path, Value::Null).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path} {answer}");
        let found = answer["error"]["problems"][0]["path"].as_str().unwrap();
        assert_eq!(found, place_of_problem, "{answer}");
    }
    for body in ["", "{", "\0", "{\"name\":\"a\"} x"] {
        let request = request(Method::POST, "/admin/v1/tenants", TOKEN, body);
        let (status, _, _) = read_json(send(place.admin, request).await).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body:?}");
    }
}

#[tokio::test]
async fn what_stands_in_the_configuration_is_shown_and_not_changed() {
    let place = Place::new(json!({})).await;
    let keys = place.get("/keys").await;
    let key = &keys["data"][0];
    assert_eq!(
        (&key["name"], &key["fixed"]),
        (&json!("fixed"), &json!(true))
    );
    let path = format!("/keys/{}/revoke", key["id"].as_str().unwrap());
    let (status, _, body) = place.ask(Method::POST, &path, json!({})).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(body["error"]["code"], "fixed");
    let new = json!({ "name": "b", "project": key["project"] });
    let (status, _, body) = place.ask(Method::POST, "/keys", new).await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (StatusCode::CONFLICT, &json!("fixed"))
    );
}

#[tokio::test]
async fn a_change_without_a_revision_or_with_an_old_one_is_not_made() {
    let place = Place::new(json!({})).await;
    let made = place.made("/tenants", json!({ "name": "a" })).await;
    let path = format!("/tenants/{}", made["id"].as_str().unwrap());
    let (status, _, body) = place
        .ask(Method::PATCH, &path, json!({ "name": "b" }))
        .await;
    assert_eq!(status, StatusCode::PRECONDITION_REQUIRED);
    assert_eq!(body["error"]["code"], "revision_required");
    let tagged = |tag: String| {
        let mut request = request(
            Method::PATCH,
            &format!("/admin/v1{path}"),
            TOKEN,
            json!({ "name": "b" }).to_string(),
        );
        request
            .headers_mut()
            .insert("if-match", tag.parse().unwrap());
        send(place.admin, request)
    };
    let tag = format!("\"{}\"", made["revision"]);
    let (status, _, body) = read_json(tagged(tag.clone()).await).await;
    assert_eq!((status, &body["name"]), (StatusCode::OK, &json!("b")));
    let (status, _, body) = read_json(tagged(tag).await).await;
    assert_eq!(status, StatusCode::PRECONDITION_FAILED, "{body}");
    let (status, _, _) = place.ask(Method::DELETE, &path, Value::Null).await;
    assert_eq!(status, StatusCode::PRECONDITION_REQUIRED);
}

#[tokio::test]
async fn records_leave_as_files_page_by_page_and_without_keys() {
    let place = Place::new(json!({})).await;
    let key = place.key(json!({ "name": "app" })).await;
    let text = key["key"].as_str().unwrap();
    for _ in 0..3 {
        assert_eq!(place.call(text).await, StatusCode::OK);
    }
    place
        .until("/usage", |usage| {
            usage["data"][0]["requests"] == 3 && usage["data"][0]["unsettled"] == 0
        })
        .await;
    let file = |format: &str| {
        let path = format!("/admin/v1/export?format={format}");
        send(place.admin, request(Method::GET, &path, TOKEN, ""))
    };
    let (status, headers, csv) = read(file("csv").await).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(headers["content-type"], "text/csv; charset=utf-8");
    assert_eq!(csv.lines().count(), 4, "{csv}");
    let (_, _, lines) = read(file("json").await).await;
    assert_eq!(lines.lines().count(), 3);
    assert!(!lines.contains(text) && !csv.contains(text));
    let parquet = file("parquet").await.into_body().collect().await.unwrap();
    assert!(parquet.to_bytes().starts_with(b"PAR1"));

    let first = place.get("/records?limit=2").await;
    let next = first["next"].as_str().unwrap();
    let second = place.get(&format!("/records?limit=2&after={next}")).await;
    assert_eq!(second["data"].as_array().unwrap().len(), 1);
    assert!(second.get("next").is_none());
}

#[tokio::test]
async fn status_metrics_and_readiness_tell_of_the_ledger_and_of_refusals() {
    let place = Place::new(json!({})).await;
    let key = json!({ "name": "app", "limits": { "rpm": 1 } });
    let key = place.key(key).await;
    let text = key["key"].as_str().unwrap();
    assert_eq!(place.call(text).await, StatusCode::OK);
    assert_eq!(place.call(text).await, StatusCode::TOO_MANY_REQUESTS);
    let status = place
        .until("/status", |status| status["ledger"]["store_ok"] == true)
        .await;
    assert_eq!(status["store"]["ok"], true);
    assert_eq!(status["store"]["revision"], status["store"]["followed"]);
    assert_eq!(status["lanes"]["lanes"], 1);
    let public = |path: &str| send(place.gateway.address, request(Method::GET, path, "x", ""));
    let (_, _, metrics) = read(public("/metrics").await).await;
    for line in [
        "bailian_requests_limited_total{limit=\"rpm\"} 1",
        "bailian_ledger_store_ok 1",
        "bailian_ledger_spool_ok 1",
        "bailian_ledger_lost_total 0",
        "bailian_ledger_open 0",
        "bailian_ledger_backlog_bytes ",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    let (_, _, ready) = read_json(public("/readyz").await).await;
    assert_eq!(ready["ledger"]["lost"], 0);
}

#[tokio::test]
async fn a_quote_has_the_lines_that_it_is_made_of() {
    let place = Place::new(json!({})).await;
    let body = json!({ "model": "qwen-plus", "region": "cn-beijing",
        "usage": { "input_tokens": 10_000, "implicit_cached_tokens": 4_000,
            "output_tokens": 1_000 }, "context": { "thinking": false } });
    let (status, _, cost) = place.ask(Method::POST, "/prices/quote", body).await;
    assert_eq!(status, StatusCode::OK, "{cost}");
    assert_eq!(cost["total"], "0.00744");
    assert_eq!(cost["lines"].as_array().unwrap().len(), 3);
    let body = json!({ "model": "no-such-model", "usage": { "input_tokens": 1 } });
    let (status, _, error) = place.ask(Method::POST, "/prices/quote", body).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(error["error"]["code"], "unpriced");
}

#[tokio::test]
async fn a_request_is_found_by_its_id_here_or_upstream() {
    let place = Place::new(json!({})).await;
    let key = place.key(json!({ "name": "app" })).await;
    for _ in 0..2 {
        let status = place.call(key["key"].as_str().unwrap()).await;
        assert_eq!(status, StatusCode::OK);
    }
    let records = place
        .until("/records?settled=true", |page| {
            page["data"].as_array().unwrap().len() == 2
        })
        .await;
    let wanted = &records["data"][1];
    let names = json!({ "tenant": "研发部", "project": "客服", "key": "app" });
    assert_eq!(wanted["names"], names);
    for name in ["id", "upstream_request_id"] {
        let path = format!("/records?{name}={}", wanted[name].as_str().unwrap());
        let found = place.get(&path).await;
        assert_eq!(found["data"].as_array().unwrap().len(), 1, "{path}");
        assert_eq!(&found["data"][0], wanted);
    }
    let path = "/records?id=01a21eb5-2414-776e-b1b4-4115d0a79f26";
    assert_eq!(place.get(path).await["data"], json!([]));
    let (status, _, error) = place
        .ask(Method::GET, "/records?id=seventeen", Value::Null)
        .await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(error["error"]["problems"][0]["path"], "id");
}

#[tokio::test]
async fn days_and_hours_begin_where_the_operator_says() {
    let place = Place::new(json!({})).await;
    let key = place.key(json!({ "name": "app" })).await;
    place.call(key["key"].as_str().unwrap()).await;
    let hour = async |offset: &str| {
        let path = format!("/usage?group_by=hour{offset}");
        let usage = place.until(&path, |usage| usage["data"][0].is_object());
        let usage = usage.await;
        let hour = usage["data"][0]["group"]["hour"].as_str().unwrap();
        hour[11..].parse::<i32>().unwrap()
    };
    let utc = hour("").await;
    // A plus that nobody escaped arrives as a blank.
    for offset in ["&offset=%2B08:00", "&offset=+08:00"] {
        assert_eq!((hour(offset).await - utc).rem_euclid(24), 8);
    }
    let (status, _, error) = place
        .ask(Method::GET, "/usage?offset=CST", Value::Null)
        .await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(error["error"]["problems"][0]["path"], "offset");
}

#[tokio::test]
async fn no_tenant_takes_the_name_of_one_in_the_configuration() {
    let place = Place::new(json!({})).await;
    let taken = json!({ "name": "文件" });
    let (status, _, error) = place.ask(Method::POST, "/tenants", taken.clone()).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(error["error"]["code"], "name_taken");
    let tenant = place.made("/tenants", json!({ "name": "研发部" })).await;
    let path = format!("/tenants/{}", tenant["id"].as_str().unwrap());
    let mut change = taken;
    change["revision"] = tenant["revision"].clone();
    let (status, _, error) = place.ask(Method::PATCH, &path, change).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(error["error"]["code"], "name_taken");
    assert_eq!(place.get(&path).await["name"], "研发部");
}

#[tokio::test]
async fn the_document_describes_every_path_and_every_described_path_is_there() {
    let place = Place::new(json!({})).await;
    let document = place.get("/openapi.json").await;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let paths = document["paths"].as_object().unwrap();
    let mut count = 0;
    for (path, item) in paths {
        let real = path.replace("{id}", "k_0000000000");
        let described = item.as_object().unwrap();
        for method in ["get", "post", "put", "patch", "delete"] {
            let asked = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let answer = send(place.admin, request(asked, &real, TOKEN, "")).await;
            let (status, _, text) = read(answer).await;
            let is_there = status != StatusCode::METHOD_NOT_ALLOWED
                && !text.contains("There is nothing at this path");
            assert_eq!(
                is_there,
                described.contains_key(method),
                "{method} {path}: {text}"
            );
            count += usize::from(is_there);
        }
    }
    // What a source file describes is registered, and nothing is registered otherwise.
    let sources = [
        include_str!("../src/admin.rs"),
        include_str!("../src/admin/audit.rs"),
        include_str!("../src/admin/content.rs"),
        include_str!("../src/admin/export.rs"),
        include_str!("../src/admin/keys.rs"),
        include_str!("../src/admin/lanes.rs"),
        include_str!("../src/admin/projects.rs"),
        include_str!("../src/admin/quote.rs"),
        include_str!("../src/admin/records.rs"),
        include_str!("../src/admin/status.rs"),
        include_str!("../src/admin/tenants.rs"),
        include_str!("../src/admin/usage.rs"),
    ];
    let described: usize = sources
        .iter()
        .map(|source| source.matches("#[utoipa::path(").count())
        .sum();
    assert_eq!(described, count);
    // Every reference leads somewhere.
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(
            document["components"]["schemas"].get(name).is_some(),
            "{name}"
        );
    }
}
