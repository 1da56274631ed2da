//! Who may come near the admin API, and from where.

use bailian_gateway::{Config, Server, ServerError};
use http::{Method, StatusCode};
use serde_json::json;

use crate::place::{Place, TOKEN, request};
use crate::support::{OPENAI, read, read_json, send, with};

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
    let by_api_key = with(by_api_key, "x-api-key", TOKEN);
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
            request = with(request, name, value);
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
