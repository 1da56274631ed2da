//! Vectors of all kinds of contents, ranks, and their limits.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "a test may stop at what it did not expect; JSON reads best where it is passed"
)]

mod support;

use serde_json::{Value, json};
use support::{COMPAT, answer, compat, post, simulator};

const CONTENTS: &str = "/api/v1/services/embeddings/multimodal-embedding/multimodal-embedding";
const TEXTS: &str = "/api/v1/services/embeddings/text-embedding/text-embedding";
const RERANK: &str = "/api/v1/services/rerank/text-rerank/text-rerank";
const FLAT: &str = "/compatible-api/v1/reranks";

fn contents(model: &str, contents: Value, parameters: Value) -> Value {
    json!({ "model": model, "input": { "contents": contents }, "parameters": parameters })
}

#[tokio::test]
async fn several_contents_have_a_vector_each_or_one_together() {
    let simulator = simulator().await;
    let two = json!([{ "text": "猫" }, { "image": "https://e/a.png" }]);
    let together = json!([{ "text": "猫", "image": "https://e/a.png" }]);
    for (model, given, parameters, kinds, dimensions) in [
        (
            "qwen3-vl-embedding",
            &two,
            json!({}),
            json!(["vl", "vl"]),
            2560,
        ),
        (
            "qwen3-vl-embedding",
            &two,
            json!({ "enable_fusion": true, "dimension": 256 }),
            json!(["fusion"]),
            256,
        ),
        (
            "qwen2.5-vl-embedding",
            &two,
            json!({}),
            json!(["fusion"]),
            1024,
        ),
        (
            "tongyi-embedding-vision-plus-2026-03-06",
            &together,
            json!({ "dimension": 64 }),
            json!(["fused"]),
            64,
        ),
        (
            "tongyi-embedding-vision-plus",
            &two,
            json!({}),
            json!(["text", "image"]),
            1152,
        ),
    ] {
        let body = contents(model, given.clone(), parameters);
        let (status, said) = answer(&simulator, post(CONTENTS, &body, &[])).await;
        assert_eq!(status, 200, "{said}");
        let entries = said["output"]["embeddings"].as_array().unwrap();
        let got: Vec<&Value> = entries.iter().map(|entry| &entry["type"]).collect();
        assert_eq!(json!(got), kinds, "{model}");
        assert_eq!(
            entries[0]["embedding"].as_array().unwrap().len(),
            dimensions
        );
    }
}

#[tokio::test]
async fn pictures_count_in_the_sum_of_all_only() {
    let simulator = simulator().await;
    let given =
        json!([{ "text": "猫" }, { "multi_images": ["https://e/1.png", "https://e/2.png"] }]);
    let body = contents(
        "tongyi-embedding-vision-plus-2026-03-06",
        given,
        json!({ "res_level": 0 }),
    );
    let (_, said) = answer(&simulator, post(CONTENTS, &body, &[])).await;
    assert_eq!(
        said["usage"],
        json!({ "input_tokens": 3, "output_tokens": 2, "total_tokens": 257,
            "input_tokens_details": { "image_tokens": 254, "text_tokens": 1 } })
    );
    assert_eq!(simulator.journal().pop().unwrap().input_tokens, 257);
    for parameters in [json!({ "res_level": 4 }), json!({ "dimension": 7 })] {
        let body = contents("qwen3-vl-embedding", json!(["x"]), parameters);
        assert_eq!(answer(&simulator, post(CONTENTS, &body, &[])).await.0, 400);
    }
    let sparse = json!({ "model": "text-embedding-v2", "input": { "texts": ["a"] },
        "parameters": { "output_type": "sparse" } });
    assert_eq!(answer(&simulator, post(TEXTS, &sparse, &[])).await.0, 400);
}

#[tokio::test]
async fn ranks_have_the_limits_of_their_model() {
    let simulator = simulator().await;
    let images: Vec<Value> = (0..41)
        .map(|n| json!({ "image": format!("https://e/{n}") }))
        .collect();
    let words = "word ".repeat(4_500);
    let long: Vec<&str> = vec![&words; 40];
    for (model, documents, message) in [
        (
            "qwen3-vl-rerank",
            json!(images),
            "should not be larger than 40",
        ),
        ("gte-rerank-v2", json!(images), "documents is invalid."),
        (
            "qwen3-rerank",
            json!(long),
            "Range of input length should be [1, 120000]",
        ),
        (
            "gte-rerank-v2",
            json!(long[..10]),
            "Range of input length should be [1, 30000]",
        ),
    ] {
        let body = json!({ "model": model, "input": { "query": "a", "documents": documents } });
        let (status, said) = answer(&simulator, post(RERANK, &body, &[])).await;
        assert_eq!(status, 400);
        assert!(
            said["message"].as_str().unwrap().contains(message),
            "{said}"
        );
    }
    // A long document is cut, not refused.
    let body = json!({ "model": "qwen3-rerank", "query": "a", "documents": long[..1] });
    let (_, said) = answer(&simulator, post(FLAT, &body, &[])).await;
    assert_eq!(said["usage"]["total_tokens"], 4_001, "{said}");
}

#[tokio::test]
async fn effort_says_how_much_is_thought() {
    let simulator = simulator().await;
    for (effort, thinks) in [("none", false), ("low", true), ("max", true)] {
        let body = compat("qwen3.8-max", json!({ "reasoning_effort": effort }));
        let (status, said) = answer(&simulator, post(COMPAT, &body, &[])).await;
        assert_eq!(status, 200, "{said}");
        let thought = &said["choices"][0]["message"]["reasoning_content"];
        assert_eq!(thought.is_string(), thinks, "{effort}: {said}");
    }
    let wrong = json!({ "reasoning_effort": "much" });
    let both = json!({ "reasoning_effort": "low", "thinking_budget": 100 });
    for members in [wrong, both] {
        let body = compat("qwen3.8-max", members);
        assert_eq!(answer(&simulator, post(COMPAT, &body, &[])).await.0, 400);
    }
}
