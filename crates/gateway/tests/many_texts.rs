//! More texts than a model embeds at once.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at what it did not expect"
)]

mod support;

use serde_json::json;
use support::{Pair, post, read, read_json};

#[tokio::test]
async fn more_texts_than_a_model_embeds_at_once_come_back_in_one_answer() {
    let pair = Pair::new().await;
    let texts: Vec<String> = (0..23)
        .map(|number| format!("第{number}段, text"))
        .collect();
    let body = json!({ "model": "text-embedding-v4", "input": texts, "dimensions": 64 });
    let (status, _, all) =
        read_json(pair.send(post("/v1/embeddings", body.to_string())).await).await;
    assert_eq!(status, 200, "{all}");
    let data = all["data"].as_array().unwrap();
    assert_eq!(pair.simulator.journal().len(), 3);
    for (place, text) in texts.iter().enumerate() {
        assert_eq!(data[place]["index"], place);
        let body = json!({ "model": "text-embedding-v4", "input": text, "dimensions": 64 });
        let (_, _, one) =
            read_json(pair.send(post("/v1/embeddings", body.to_string())).await).await;
        assert_eq!(one["data"][0]["embedding"], data[place]["embedding"]);
    }
    assert!(all["usage"]["total_tokens"].as_u64().unwrap() > 23);
    let wrong = json!({ "model": "text-embedding-v4", "input": texts, "dimensions": 63 });
    let (status, _, error) =
        read_json(pair.send(post("/v1/embeddings", wrong.to_string())).await).await;
    assert_eq!(
        (status.as_u16(), error["error"]["message"].is_string()),
        (400, true)
    );
}

#[tokio::test]
async fn more_native_texts_than_a_model_embeds_at_once_come_back_in_one_answer() {
    let pair = Pair::new().await;
    let texts: Vec<String> = (0..23)
        .map(|number| format!("第{number}段, text"))
        .collect();
    let ask = |texts: &[String], dimension: u64| {
        let body = json!({
            "model": "text-embedding-v4",
            "input": { "texts": texts },
            "parameters": { "dimension": dimension },
        });
        post(
            "/api/v1/services/embeddings/text-embedding/text-embedding",
            body.to_string(),
        )
    };
    let (status, _, all) = read_json(pair.send(ask(&texts, 64)).await).await;
    assert_eq!(status, 200, "{all}");
    let entries = all["output"]["embeddings"].as_array().unwrap();
    let journal = pair.simulator.journal();
    assert_eq!((entries.len(), journal.len()), (23, 3));
    let upstream: u64 = journal.iter().map(|entry| entry.input_tokens).sum();
    assert_eq!(all["usage"], json!({ "total_tokens": upstream }));
    assert!(all["request_id"].is_string(), "{all}");
    for (place, text) in texts.iter().enumerate() {
        assert_eq!(entries[place]["text_index"], place);
        let one = std::slice::from_ref(text);
        let (_, _, one) = read_json(pair.send(ask(one, 64)).await).await;
        assert_eq!(
            one["output"]["embeddings"][0]["embedding"],
            entries[place]["embedding"]
        );
    }
    let (status, _, error) = read_json(pair.send(ask(&texts, 63)).await).await;
    assert_eq!(
        (status.as_u16(), &error["code"]),
        (400, &"InvalidParameter".into()),
        "{error}"
    );
}

#[tokio::test]
async fn joined_vectors_are_written_as_upstream_wrote_them() {
    let pair = Pair::new().await;
    let texts: Vec<String> = (0..23)
        .map(|number| format!("第{number}段：西湖的第{number}个故事。"))
        .collect();
    let ask = |texts: &[String]| {
        let body = json!({ "model": "text-embedding-v4", "input": texts });
        post("/v1/embeddings", body.to_string())
    };
    let (_, _, whole) = read(pair.send(ask(&texts)).await).await;
    for text in &texts {
        let one = std::slice::from_ref(text);
        let (_, _, one) = read(pair.send(ask(one)).await).await;
        let (_, vector) = one.split_once("\"embedding\":[").unwrap();
        let (vector, _) = vector.split_once(']').unwrap();
        assert!(vector.len() > 1024 && whole.contains(vector), "{text}");
    }
}
