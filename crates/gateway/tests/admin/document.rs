//! The document that describes the admin API.

use http::{Method, StatusCode};
use serde_json::json;

use crate::place::{Place, TOKEN, request};
use crate::support::{read, send};

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
        include_str!("../../src/admin.rs"),
        include_str!("../../src/admin/audit.rs"),
        include_str!("../../src/admin/content.rs"),
        include_str!("../../src/admin/export.rs"),
        include_str!("../../src/admin/keys.rs"),
        include_str!("../../src/admin/lanes.rs"),
        include_str!("../../src/admin/projects.rs"),
        include_str!("../../src/admin/quote.rs"),
        include_str!("../../src/admin/records.rs"),
        include_str!("../../src/admin/status.rs"),
        include_str!("../../src/admin/tenants.rs"),
        include_str!("../../src/admin/usage.rs"),
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
