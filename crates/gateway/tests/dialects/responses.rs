//! Responses of a server that speaks chat only.

use bailian_wire::stream::StreamSurface;
use serde_json::{Value, json};

use crate::question::{Routed, decode_stream};
use crate::support::{get, post, read, read_json};

#[tokio::test]
async fn a_server_that_speaks_openai_only_serves_responses_too() {
    let routed = Routed::new("").await;
    let body = json!({ "model": "local", "input": "你好", "instructions": "简短" });
    let (status, _, answer) =
        read_json(routed.send(post("/v1/responses", body.to_string())).await).await;
    assert_eq!(
        (status.as_u16(), &answer["object"]),
        (200, &"response".into()),
        "{answer}"
    );
    assert_eq!(answer["output"][0]["content"][0]["type"], "output_text");
    let mut body = body;
    body["stream"] = true.into();
    let (_, _, text) = read(routed.send(post("/v1/responses", body.to_string())).await).await;
    assert!(text.starts_with("event: response.created\n"), "{text}");
    let streamed = decode_stream(StreamSurface::Responses, &text);
    assert_eq!(
        streamed.text(),
        answer["output"][0]["content"][0]["text"].as_str().unwrap()
    );
    let native = post(
        "/api/v1/services/embeddings/text-embedding/text-embedding",
        json!({ "model": "local" }).to_string(),
    );
    let (status, _, body) = read_json(routed.send(native).await).await;
    assert_eq!(
        (status.as_u16(), &body["code"]),
        (400, &"InvalidParameter".into())
    );
}

#[tokio::test]
async fn responses_over_chat_are_remembered_for_the_tenant_that_asked() {
    let routed = Routed::new("").await;
    let ask = |body: Value| routed.send(post("/v1/responses", body.to_string()));
    let first = json!({ "model": "local", "input": "我叫小明。" });
    let (_, _, first) = read_json(ask(first).await).await;
    let follow = |id: &Value, stream: bool| json!({ "model": "local", "input": "我叫什么？", "previous_response_id": id, "stream": stream });
    let (status, _, second) = read_json(ask(follow(&first["id"], false)).await).await;
    assert_eq!(status, 200, "{second}");
    // The model got the whole conversation.
    assert!(
        second["usage"]["input_tokens"].as_u64() > first["usage"]["input_tokens"].as_u64(),
        "{second}"
    );
    let (_, _, stream) = read(ask(follow(&second["id"], true)).await).await;
    let third = stream
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .filter_map(|data| serde_json::from_str::<Value>(data).ok())
        .find(|event| event["type"] == "response.completed")
        .unwrap();
    let id = third["response"]["id"].as_str().unwrap();
    let (_, _, kept) = read_json(routed.send(get(&format!("/v1/responses/{id}"))).await).await;
    assert_eq!(kept, third["response"]);
    let items = get(&format!("/v1/responses/{id}/input_items?order=asc"));
    let (_, _, items) = read_json(routed.send(items).await).await;
    assert_eq!(items["data"].as_array().unwrap().len(), 5, "{items}");
    assert_eq!(items["data"][0]["content"], "我叫小明。");
    let unknown = json!({ "model": "local", "input": "hi", "previous_response_id": "resp_1" });
    let (status, _, error) = read_json(ask(unknown).await).await;
    assert_eq!(status, 404);
    assert!(
        error["error"]["message"]
            .as_str()
            .unwrap()
            .contains("resp_1")
    );
    let unkept = json!({ "model": "local", "input": "hi", "store": false });
    let (_, _, unkept) = read_json(ask(unkept).await).await;
    let (status, _, _) = read_json(ask(follow(&unkept["id"], false)).await).await;
    assert_eq!(status, 404);
    let talk = json!({ "model": "local", "input": "hi", "conversation": "conv_1" });
    let (status, _, error) = read_json(ask(talk).await).await;
    assert_eq!(status, 404, "nobody made it: {error}");
}
