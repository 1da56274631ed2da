//! Changes that are not made, and why.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::place::{Place, TOKEN, request};
use crate::support::{read_json, send};

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
