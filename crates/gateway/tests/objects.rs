//! What the service keeps for one tenant is out of every other tenant's reach, though they share the
//! account that holds it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may stop at what it did not expect"
)]

mod support;

use std::path::Path;

use bailian_gateway::Config;
use bailian_sim::{RunningSimulator, SimConfig, Simulator};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use support::{Running, read, read_json, request, send, start, with_key};

const MINE: &str = "sk-bl-of-tenant-a-0001";
const COLLEAGUES: &str = "sk-bl-of-tenant-a-0002";
const OTHERS: &str = "sk-bl-of-tenant-b-0001";

/// A gateway of two tenants before a simulator; with a folder, what it knows is kept there.
fn open(simulator: &RunningSimulator, folder: Option<&Path>) -> Running {
    let data = folder.map(|folder| format!("[data]\nfolder = \"{}\"\n", folder.display()));
    let text = format!(
        "listen = \"127.0.0.1:0\"\nthreads = 1\n{}\
         [[accounts]]\napi_keys = [\"sk-up-0001\"]\nbase_url = \"{}\"\n\
         [[keys]]\nname = \"a1\"\nkey = \"{MINE}\"\ntenant = \"甲\"\n\
         [[keys]]\nname = \"a2\"\nkey = \"{COLLEAGUES}\"\ntenant = \"甲\"\n\
         [[keys]]\nname = \"b\"\nkey = \"{OTHERS}\"\ntenant = \"乙\"\n",
        data.unwrap_or_default(),
        simulator.base_url()
    );
    start(Config::parse(&text, "test", &|_: &str| None).unwrap())
}

fn call(key: &str, method: Method, path: &str, body: &Value) -> Request<Full<Bytes>> {
    let body = match body {
        Value::Null => Bytes::new(),
        body => Bytes::from(body.to_string()),
    };
    with_key(request(method, path, body), key)
}

impl Running {
    async fn ask(
        &self,
        key: &str,
        method: Method,
        path: &str,
        body: &Value,
    ) -> (StatusCode, Value) {
        let response = send(self.address, call(key, method, path, body)).await;
        let (status, _, value) = read_json(response).await;
        (status, value)
    }
}

/// The id that a response was made under.
async fn response_of(gateway: &Running, key: &str, stream: bool) -> String {
    let body = json!({ "model": "qwen-plus", "input": "我的秘密是四十二", "stream": stream });
    let request = call(key, Method::POST, "/v1/responses", &body);
    let (status, _, text) = read(send(gateway.address, request).await).await;
    assert_eq!(status, 200, "{text}");
    let value: Value = if stream {
        let last = text.lines().rfind(|line| line.starts_with("data:"));
        serde_json::from_str(last.unwrap().trim_start_matches("data:")).unwrap()
    } else {
        serde_json::from_str(&text).unwrap()
    };
    let response = value.get("response").unwrap_or(&value);
    response["id"].as_str().unwrap().to_owned()
}

/// What one may try with the id of a response.
fn tries_of_response(id: &str) -> Vec<(Method, String, Value)> {
    let go_on =
        json!({ "model": "qwen-plus", "input": "之前说了什么？", "previous_response_id": id });
    let mut streamed = go_on.clone();
    streamed["stream"] = true.into();
    vec![
        (Method::GET, format!("/v1/responses/{id}"), Value::Null),
        (
            Method::GET,
            format!("/compatible-mode/v1/responses/{id}"),
            Value::Null,
        ),
        (
            Method::GET,
            format!("/v1/responses/{id}/input_items?order=asc"),
            Value::Null,
        ),
        (Method::POST, "/v1/responses".to_owned(), go_on),
        (Method::POST, "/v1/responses".to_owned(), streamed),
        (Method::DELETE, format!("/v1/responses/{id}"), Value::Null),
    ]
}

#[tokio::test]
async fn a_response_is_read_continued_and_deleted_by_its_own_tenant_only() {
    let folder = tempfile::tempdir().unwrap();
    for data in [None, Some(folder.path())] {
        let simulator = Simulator::new(SimConfig::default()).spawn().await.unwrap();
        let gateway = open(&simulator, data);
        for stream in [false, true] {
            let id = response_of(&gateway, MINE, stream).await;
            let missing = "00000000-0000-7000-8000-000000000000";
            let before = simulator.journal().len();
            let of_nobody = tries_of_response(missing);
            for (tried, unknown) in tries_of_response(&id).into_iter().zip(of_nobody) {
                let (method, path, body) = &tried;
                let theirs = gateway.ask(OTHERS, method.clone(), path, body).await;
                let (method, path, body) = &unknown;
                let nobodys = gateway.ask(OTHERS, method.clone(), path, body).await;
                assert_eq!(theirs.0, 404, "{tried:?}: {}", theirs.1);
                let shown = |answer: &(StatusCode, Value), id: &str| {
                    answer.1["error"]["message"]
                        .as_str()
                        .unwrap()
                        .replace(id, "…")
                };
                assert_eq!(shown(&theirs, &id), shown(&nobodys, missing), "{tried:?}");
            }
            assert_eq!(
                simulator.journal().len(),
                before,
                "nothing was asked upstream"
            );

            // Another key of the same tenant may do all of it; the last deletes it.
            for (method, path, body) in tries_of_response(&id) {
                let request = call(COLLEAGUES, method.clone(), &path, &body);
                let (status, _, text) = read(send(gateway.address, request).await).await;
                assert_eq!(status, 200, "{method} {path}: {text}");
            }
            let path = format!("/v1/responses/{id}");
            let (status, _) = gateway.ask(MINE, Method::GET, &path, &Value::Null).await;
            assert_eq!(status, 404);
        }
    }
}

#[tokio::test]
async fn a_conversation_is_its_own_tenants_and_there_is_no_list_of_them() {
    let simulator = Simulator::new(SimConfig::default()).spawn().await.unwrap();
    let gateway = open(&simulator, None);
    let secret = json!({ "items": [{ "role": "user", "content": "秘密" }] });
    let (status, made) = gateway
        .ask(MINE, Method::POST, "/v1/conversations", &secret)
        .await;
    assert_eq!(status, 200, "{made}");
    let id = made["id"].as_str().unwrap();
    let at = format!("/v1/conversations/{id}");
    let items = format!("{at}/items");
    let spoken = json!({ "model": "qwen-plus", "input": "？", "conversation": id });
    let in_object = json!({ "model": "qwen-plus", "input": "？", "conversation": { "id": id } });
    let tries = [
        (Method::GET, at.as_str(), Value::Null),
        (Method::POST, &at, json!({ "metadata": { "a": "b" } })),
        (Method::GET, &items, Value::Null),
        (Method::POST, &items, secret.clone()),
        (Method::POST, "/v1/responses", spoken),
        (Method::POST, "/v1/responses", in_object),
        (Method::DELETE, &at, Value::Null),
    ];
    let before = simulator.journal().len();
    for (method, path, body) in &tries {
        let (status, error) = gateway.ask(OTHERS, method.clone(), path, body).await;
        assert_eq!(status, 404, "{method} {path}: {error}");
        assert!(!error.to_string().contains("秘密"));
    }
    let (status, _) = gateway
        .ask(MINE, Method::GET, "/v1/conversations", &Value::Null)
        .await;
    assert_eq!(status, 405);
    assert_eq!(
        simulator.journal().len(),
        before,
        "nothing was asked upstream"
    );
    for (method, path, body) in &tries {
        let (status, answer) = gateway.ask(MINE, method.clone(), path, body).await;
        assert_eq!(status, 200, "{method} {path}: {answer}");
    }
}

#[tokio::test]
async fn a_session_of_an_application_goes_on_for_its_own_tenant_only() {
    let simulator = Simulator::new(SimConfig::default()).spawn().await.unwrap();
    let gateway = open(&simulator, None);
    let path = "/api/v1/apps/app-7/completion";
    let first = json!({ "input": { "prompt": "你好" }, "parameters": {}, "debug": {} });
    let (status, said) = gateway.ask(MINE, Method::POST, path, &first).await;
    assert_eq!(status, 200, "{said}");
    let session = &said["output"]["session_id"];
    let next = json!({ "input": { "prompt": "我说了什么？", "session_id": session },
        "parameters": {}, "debug": {} });
    let before = simulator.journal().len();
    let (status, error) = gateway.ask(OTHERS, Method::POST, path, &next).await;
    assert_eq!((status.as_u16(), simulator.journal().len()), (404, before));
    assert!(error["code"].is_string(), "{error}");
    let (status, answer) = gateway.ask(MINE, Method::POST, path, &next).await;
    assert_eq!(status, 200, "{answer}");
}

#[tokio::test]
async fn owners_are_known_to_other_replicas_at_once_and_after_a_restart() {
    let simulator = Simulator::new(SimConfig::default()).spawn().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let first = open(&simulator, Some(folder.path()));
    let second = open(&simulator, Some(folder.path()));
    let id = response_of(&first, MINE, true).await;
    let path = format!("/v1/responses/{id}");
    let get = |gateway, key| Running::ask(gateway, key, Method::GET, &path, &Value::Null);
    assert_eq!(get(&second, MINE).await.0, 200);
    assert_eq!(get(&second, OTHERS).await.0, 404);
    first.end().await;
    let third = open(&simulator, Some(folder.path()));
    assert_eq!(get(&third, OTHERS).await.0, 404);
    assert_eq!(get(&third, MINE).await.0, 200);
}
