//! What is told of requests, prices and the gateway's own state.

use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::place::{Place, TOKEN, request};
use crate::support::{read, read_json, send};

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
