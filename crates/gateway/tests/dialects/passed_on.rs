//! What is no chat: it is passed on as it is.

use bailian_wire::stream::StreamSurface;
use serde_json::json;

use crate::question::{chat, decode_stream};
use crate::support::{Pair, get, post, read, read_json, with};

#[tokio::test]
async fn figures_are_passed_on_under_every_name() {
    let pair = Pair::new().await;
    let embed = json!({ "model": "text-embedding-v4", "input": ["你好", "hello"] }).to_string();
    for path in ["/v1/embeddings", "/compatible-mode/v1/embeddings"] {
        let (status, _, body) = read_json(pair.send(post(path, embed.clone())).await).await;
        assert_eq!(
            (status.as_u16(), body["data"].as_array().map(Vec::len)),
            (200, Some(2)),
            "{body}"
        );
    }
    let native = json!({ "model": "text-embedding-v3", "input": { "texts": ["你好"] } });
    let path = "/api/v1/services/embeddings/text-embedding/text-embedding";
    let (status, _, body) = read_json(pair.send(post(path, native.to_string())).await).await;
    assert_eq!(
        (
            status.as_u16(),
            &body["output"]["embeddings"][0]["text_index"]
        ),
        (200, &0.into())
    );
    let flat = json!({ "model": "qwen3-rerank", "query": "文本排序", "documents": ["量子计算", "文本排序模型"] });
    for path in ["/v1/rerank", "/v1/reranks", "/compatible-api/v1/reranks"] {
        let (status, _, body) = read_json(pair.send(post(path, flat.to_string())).await).await;
        assert_eq!(
            (status.as_u16(), &body["results"][0]["index"]),
            (200, &1.into()),
            "{body}"
        );
    }
    let native =
        json!({ "model": "gte-rerank-v2", "input": { "query": "文本排序", "documents": ["a"] } });
    let path = "/api/v1/services/rerank/text-rerank/text-rerank";
    let (status, _, body) = read_json(pair.send(post(path, native.to_string())).await).await;
    assert_eq!(
        (status.as_u16(), body["output"]["results"].is_array()),
        (200, true)
    );
    let wrong = json!({ "model": "nothing", "query": "q", "documents": ["a"] });
    let (status, _, body) = read_json(pair.send(post("/v1/rerank", wrong.to_string())).await).await;
    assert_eq!(
        (status.as_u16(), body["code"].is_string()),
        (404, true),
        "{body}"
    );
}

#[tokio::test]
async fn a_path_that_a_caller_chooses_leads_nowhere_else() {
    let pair = Pair::new().await;
    let before = pair.simulator.journal().len();
    for path in [
        "/api/v1/services/../../compatible-mode/v1/models",
        "/api/v1/services/%2e%2e/x",
        "/v1/responses/..%2f..%2fmodels",
        "/api/v1/apps/a%2fb/completion",
    ] {
        let response = pair.send(post(path, chat("qwen-plus", json!({})))).await;
        assert!(response.status().is_client_error(), "{path}");
    }
    let task = with(
        post(
            "/api/v1/services/aigc/text2image/image-synthesis",
            chat("m", json!({})),
        ),
        "x-dashscope-async",
        "enable",
    );
    assert_eq!(pair.send(task).await.status(), 400);
    assert_eq!(pair.simulator.journal().len(), before);
}

#[tokio::test]
async fn responses_conversations_completions_and_applications_are_passed_on() {
    let pair = Pair::new().await;
    let body = json!({ "model": "qwen-plus", "input": "你好" });
    let (status, _, first) =
        read_json(pair.send(post("/v1/responses", body.to_string())).await).await;
    assert_eq!(
        (status.as_u16(), &first["object"]),
        (200, &"response".into()),
        "{first}"
    );
    let id = first["id"].as_str().unwrap();
    let (status, _, again) = read_json(pair.send(get(&format!("/v1/responses/{id}"))).await).await;
    assert_eq!((status.as_u16(), &again), (200, &first));
    let (status, _, _) = read(
        pair.send(get(&format!(
            "/compatible-mode/v1/responses/{id}/input_items"
        )))
        .await,
    )
    .await;
    assert_eq!(status, 200);
    let (status, _, error) = read_json(pair.send(get("/v1/responses/resp_none")).await).await;
    assert_eq!(
        (status.as_u16(), error["error"]["message"].is_string()),
        (404, true)
    );
    let streamed = json!({ "model": "qwen-plus", "input": "你好", "stream": true });
    let (_, _, text) = read(pair.send(post("/v1/responses", streamed.to_string())).await).await;
    let answer = decode_stream(StreamSurface::Responses, &text);
    assert_eq!(
        answer.text(),
        first["output"][0]["content"][0]["text"].as_str().unwrap()
    );
    let (status, _, made) = read_json(pair.send(post("/v1/conversations", "{}")).await).await;
    assert_eq!(
        (status.as_u16(), &made["object"]),
        (200, &"conversation".into()),
        "{made}"
    );
    let path = format!("/v1/conversations/{}/items", made["id"].as_str().unwrap());
    assert_eq!(pair.send(get(&path)).await.status(), 200);
    let code = json!({ "model": "qwen-coder-turbo", "prompt": "<|fim_prefix|>a<|fim_suffix|>" });
    let (status, _, made) =
        read_json(pair.send(post("/v1/completions", code.to_string())).await).await;
    assert_eq!(
        (status.as_u16(), &made["object"]),
        (200, &"text_completion".into()),
        "{made}"
    );
    let app = json!({ "input": { "prompt": "你好" }, "parameters": {}, "debug": {} });
    let path = "/api/v1/apps/app-7/completion";
    let (status, _, said) = read_json(pair.send(post(path, app.to_string())).await).await;
    assert_eq!(
        (status.as_u16(), said["output"]["text"].is_string()),
        (200, true),
        "{said}"
    );
    let streamed = with(post(path, app.to_string()), "x-dashscope-sse", "enable");
    let (_, _, text) = read(pair.send(streamed).await).await;
    assert!(
        text.contains("\"finish_reason\":\"stop\"") && !text.contains("event:error"),
        "{text}"
    );
    for request in [
        post("/v1/responses", body.to_string()),
        get("/v1/responses/x"),
        post("/v1/conversations", "{}"),
    ] {
        let unknown = with(request, "authorization", "Bearer sk-nobodys-key");
        assert_eq!(pair.send(unknown).await.status(), 401);
    }
}
