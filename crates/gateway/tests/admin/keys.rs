//! What becomes of a key.

use std::time::Duration;

use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::place::{Place, request};
use crate::support::{OPENAI, send};

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
