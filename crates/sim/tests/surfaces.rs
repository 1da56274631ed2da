//! Surfaces beside chat: each in its own form, all from the same answers.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "a test may stop at what it did not expect; JSON reads best where it is passed"
)]

mod support;

use bailian_sim::RunningSimulator;
use http::Method;
use serde_json::{Value, json};
use support::{COMPAT, answer, frames, post, request, simulator, text};

const MESSAGES: &str = "/apps/anthropic/v1/messages";
const RESPONSES: &str = "/compatible-mode/v1/responses";
const CONVERSATIONS: &str = "/compatible-mode/v1/conversations";

fn message(members: Value) -> Value {
    let mut body = json!({ "model": "qwen-plus", "max_tokens": 300,
        "messages": [{ "role": "user", "content": "你好" }] });
    body.as_object_mut()
        .unwrap()
        .extend(members.as_object().unwrap().clone());
    body
}

async fn get(simulator: &RunningSimulator, path: &str) -> (u16, Value) {
    answer(simulator, request(Method::GET, path, "", &[])).await
}

#[tokio::test]
async fn a_message_says_what_the_same_chat_says() {
    let simulator = simulator().await;
    let (_, chat) = answer(
        &simulator,
        post(
            COMPAT,
            &json!({ "model": "qwen-plus", "max_tokens": 300,
        "messages": [{ "role": "user", "content": "你好" }] }),
            &[],
        ),
    )
    .await;
    let (status, said) = answer(&simulator, post(MESSAGES, &message(json!({})), &[])).await;
    assert_eq!(status, 200, "{said}");
    assert_eq!(
        said["content"][0]["text"],
        chat["choices"][0]["message"]["content"]
    );
    assert_eq!(
        (&said["type"], &said["stop_reason"]),
        (&"message".into(), &"end_turn".into())
    );
    assert_eq!(
        said["usage"]["output_tokens"],
        chat["usage"]["completion_tokens"]
    );
}

#[tokio::test]
async fn events_of_a_message_are_framed_as_documented() {
    let simulator = simulator().await;
    let body =
        message(json!({ "stream": true, "thinking": { "type": "enabled", "budget_tokens": 40 } }));
    let (status, headers, stream) =
        text(&simulator, post(MESSAGES, &body, &["x-sim-answer: 你好"])).await;
    assert_eq!(status, 200, "{stream}");
    assert!(
        headers["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/event-stream")
    );
    let events = frames(&stream);
    for (line, event) in stream
        .lines()
        .filter_map(|line| line.strip_prefix("event: "))
        .zip(&events)
    {
        assert_eq!(line, event["type"]);
    }
    let started = &events[0]["message"];
    assert!(started.get("stop_reason").is_none(), "{started}");
    assert_eq!(started["usage"].as_object().unwrap().len(), 2);
    let kinds: Vec<&str> = events
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect();
    assert_eq!(
        kinds
            .iter()
            .filter(|kind| **kind == "content_block_start")
            .count(),
        2
    );
    assert!(kinds.contains(&"ping") && kinds.ends_with(&["message_delta", "message_stop"]));
    assert!(stream.contains("\"signature_delta\"") && !stream.contains("[DONE]"));
    assert_eq!(
        events[kinds.len() - 2]["usage"].as_object().unwrap().len(),
        4
    );
}

#[tokio::test]
async fn calls_of_a_message_are_blocks_and_their_results_are_read() {
    let simulator = simulator().await;
    let tool = json!({ "name": "weather", "description": "天气", "input_schema": { "type": "object",
        "properties": { "city": { "type": "string" } }, "required": ["city"] } });
    let asked = message(json!({ "tools": [tool], "tool_choice": { "type": "any" } }));
    let (_, said) = answer(&simulator, post(MESSAGES, &asked, &[])).await;
    let call = said["content"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(
        (&call["type"], &said["stop_reason"]),
        (&"tool_use".into(), &"tool_use".into())
    );
    assert!(call["input"]["city"].is_string());
    let turns = json!([{ "role": "user", "content": "你好" }, { "role": "assistant", "content": [call] },
        { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": call["id"], "content": "晴" }] }]);
    let (status, said) = answer(
        &simulator,
        post(
            MESSAGES,
            &message(json!({ "messages": turns, "tools": [tool] })),
            &[],
        ),
    )
    .await;
    assert_eq!(
        (status, &said["stop_reason"]),
        (200, &"end_turn".into()),
        "{said}"
    );
}

#[tokio::test]
async fn messages_are_refused_in_their_own_words() {
    let simulator = simulator().await;
    let mut without = message(json!({}));
    without.as_object_mut().unwrap().remove("max_tokens");
    let (status, said) = answer(&simulator, post(MESSAGES, &without, &[])).await;
    assert_eq!(
        (status, &said["error"]["type"]),
        (400, &"invalid_request_error".into())
    );
    for header in [
        "authorization: Bearer sk-expired-1",
        "authorization: Bearer nobody",
    ] {
        let (status, said) =
            answer(&simulator, post(MESSAGES, &message(json!({})), &[header])).await;
        assert_eq!(
            (status, &said["error"]["type"]),
            (403, &"authentication_error".into()),
            "{header}"
        );
    }
    for path in [
        "/apps/anthropic/v1/models",
        "/apps/anthropic/v1/messages/count_tokens",
    ] {
        assert_eq!(get(&simulator, path).await.0, 404, "{path}");
    }
    let (_, _, stream) = text(
        &simulator,
        post(
            MESSAGES,
            &message(json!({ "stream": true })),
            &["x-sim-fault: error-frame=3"],
        ),
    )
    .await;
    assert!(
        stream.contains("event: error\ndata: {\"error\""),
        "{stream}"
    );
}

#[tokio::test]
async fn a_response_goes_on_from_the_one_before_and_can_be_fetched() {
    let simulator = simulator().await;
    let ask = |members: Value| {
        let mut body = json!({ "model": "qwen-plus", "input": "你好" });
        body.as_object_mut()
            .unwrap()
            .extend(members.as_object().unwrap().clone());
        body
    };
    let (status, first) = answer(
        &simulator,
        post(RESPONSES, &ask(json!({ "instructions": "简短" })), &[]),
    )
    .await;
    assert_eq!(
        (status, &first["status"]),
        (200, &"completed".into()),
        "{first}"
    );
    let id = first["id"].as_str().unwrap();
    let next = ask(json!({ "input": "然后呢？", "previous_response_id": id }));
    let (_, second) = answer(&simulator, post(RESPONSES, &next, &[])).await;
    let said = first["output"][0]["content"][0]["text"].as_str().unwrap();
    let (_, chat) = answer(&simulator, post(COMPAT, &json!({ "model": "qwen-plus", "messages": [
        { "role": "user", "content": "你好" }, { "role": "assistant", "content": said }, { "role": "user", "content": "然后呢？" }] }), &[])).await;
    assert_eq!(
        second["output"][0]["content"][0]["text"],
        chat["choices"][0]["message"]["content"]
    );
    let path = format!("{RESPONSES}/{id}");
    assert_eq!(get(&simulator, &path).await, (200, first.clone()));
    let (_, items) = get(&simulator, &format!("{path}/input_items")).await;
    assert!(
        items["data"][0]["created_at"].as_u64().unwrap() > 1_000_000_000_000,
        "{items}"
    );
    let (status, _) = answer(&simulator, request(Method::DELETE, &path, "", &[])).await;
    assert_eq!((status, get(&simulator, &path).await.0), (200, 404));
    let (_, native) = get(&simulator, &format!("{path}/input_items")).await;
    assert!(
        native["code"].is_string() && native.get("error").is_none(),
        "{native}"
    );
    let both = ask(json!({ "previous_response_id": "x", "conversation": "y" }));
    assert_eq!(answer(&simulator, post(RESPONSES, &both, &[])).await.0, 400);
    let unkept = answer(
        &simulator,
        post(RESPONSES, &ask(json!({ "store": false })), &[]),
    )
    .await
    .1;
    assert_eq!(
        get(
            &simulator,
            &format!("{RESPONSES}/{}", unkept["id"].as_str().unwrap())
        )
        .await
        .0,
        404
    );
}

#[tokio::test]
async fn a_response_streams_in_the_native_framing() {
    let simulator = simulator().await;
    let tool = json!({ "type": "function", "name": "weather", "description": "天气", "parameters": {
        "type": "object", "properties": { "city": { "type": "string" } }, "required": ["city"] } });
    for tools in [json!([]), json!([tool])] {
        let body =
            json!({ "model": "qwen-plus", "input": "杭州天气？", "stream": true, "tools": tools });
        let (_, _, stream) = text(&simulator, post(RESPONSES, &body, &[])).await;
        assert!(
            stream.starts_with("id:1\nevent:response.created\n:HTTP_STATUS/200\ndata:{"),
            "{stream}"
        );
        assert!(!stream.contains("[DONE]"));
        let events = frames(&stream);
        for (number, event) in events.iter().enumerate() {
            assert_eq!(event["sequence_number"], number);
        }
        let count = |kind: &str| events.iter().filter(|event| event["type"] == kind).count();
        assert_eq!(
            count("response.output_item.added"),
            count("response.output_item.done"),
            "{stream}"
        );
        let last = events.last().unwrap();
        assert_eq!(last["type"], "response.completed");
        let deltas: String = events
            .iter()
            .filter_map(|event| event["delta"].as_str())
            .collect();
        let item = &last["response"]["output"][0];
        let whole = item["content"][0]["text"]
            .as_str()
            .or(item["arguments"].as_str())
            .unwrap();
        assert_eq!(deltas, whole);
    }
    let cut = json!({ "model": "qwen-plus", "input": "写一首长诗", "stream": true, "max_output_tokens": 16 });
    let (_, _, stream) = text(&simulator, post(RESPONSES, &cut, &["x-sim-tokens: 50"])).await;
    assert!(stream.contains("event:response.incomplete"), "{stream}");
}

#[tokio::test]
async fn a_conversation_keeps_its_items() {
    let simulator = simulator().await;
    let (_, made) = answer(
        &simulator,
        post(CONVERSATIONS, &json!({ "metadata": { "a": "b" } }), &[]),
    )
    .await;
    let id = made["id"].as_str().unwrap();
    assert!(made["created_at"].as_u64().unwrap() > 1_000_000_000_000);
    let body = json!({ "model": "qwen-plus", "input": "你好", "conversation": id });
    assert_eq!(answer(&simulator, post(RESPONSES, &body, &[])).await.0, 200);
    let items = format!("{CONVERSATIONS}/{id}/items");
    let (_, list) = get(&simulator, &items).await;
    assert_eq!(list["data"].as_array().unwrap().len(), 2, "{list}");
    let (_, added) = answer(
        &simulator,
        post(
            &items,
            &json!({ "items": [{ "role": "user", "content": "?" }] }),
            &[],
        ),
    )
    .await;
    let item = added["data"][0]["id"].as_str().unwrap();
    assert_eq!(get(&simulator, &format!("{items}/{item}")).await.0, 200);
    let path = format!("{CONVERSATIONS}/{id}");
    assert_eq!(
        answer(&simulator, request(Method::DELETE, &path, "", &[]))
            .await
            .0,
        200
    );
    assert_eq!(get(&simulator, &path).await.0, 404);
}

#[tokio::test]
async fn a_completion_is_for_coders_only() {
    let simulator = simulator().await;
    let path = "/compatible-mode/v1/completions";
    let body =
        json!({ "model": "qwen-coder-turbo", "prompt": "<|fim_prefix|>def f():<|fim_suffix|>" });
    let (status, said) = answer(&simulator, post(path, &body, &[])).await;
    assert_eq!(
        (status, &said["object"]),
        (200, &"text_completion".into()),
        "{said}"
    );
    let mut streamed = body;
    streamed["stream"] = true.into();
    streamed["stream_options"] = json!({ "include_usage": true });
    let (_, _, stream) = text(&simulator, post(path, &streamed, &[])).await;
    let pieces: String = frames(&stream)
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["text"].as_str())
        .map(str::to_owned)
        .collect();
    assert_eq!(pieces, said["choices"][0]["text"].as_str().unwrap());
    assert!(stream.ends_with("data: [DONE]\n\n") && stream.contains("\"usage\":{"));
    let (status, _) = answer(
        &simulator,
        post(path, &json!({ "model": "qwen-plus", "prompt": "x" }), &[]),
    )
    .await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn an_application_remembers_its_session() {
    let simulator = simulator().await;
    let path = "/api/v1/apps/app-1/completion";
    let ask = |prompt: &str, session: Option<&str>, parameters: Value| json!({ "input": { "prompt": prompt, "session_id": session }, "parameters": parameters, "debug": {} });
    let (status, first) = answer(&simulator, post(path, &ask("你好", None, json!({})), &[])).await;
    assert_eq!(status, 200, "{first}");
    let session = first["output"]["session_id"].as_str().unwrap();
    let alone = answer(
        &simulator,
        post(path, &ask("然后呢？", None, json!({})), &[]),
    )
    .await
    .1;
    let after = answer(
        &simulator,
        post(path, &ask("然后呢？", Some(session), json!({})), &[]),
    )
    .await
    .1;
    let input = |said: &Value| said["usage"]["models"][0]["input_tokens"].as_u64().unwrap();
    assert!(input(&after) > input(&alone), "{after} {alone}");
    assert_eq!(after["output"]["session_id"], session);
    let sources = answer(
        &simulator,
        post(
            path,
            &ask(
                "?",
                None,
                json!({ "rag_options": { "pipeline_ids": ["p"] } }),
            ),
            &[],
        ),
    )
    .await
    .1;
    assert!(sources["output"]["doc_references"].is_array());
    let sse = ["x-dashscope-sse: enable", "x-sim-answer: a b c"];
    for (incremental, expected) in [(true, "a b c"), (false, "a b ca b c")] {
        let body = ask("?", None, json!({ "incremental_output": incremental }));
        let (_, _, stream) = text(&simulator, post(path, &body, &sse)).await;
        let texts: Vec<String> = frames(&stream)
            .iter()
            .map(|frame| frame["output"]["text"].as_str().unwrap().to_owned())
            .collect();
        assert!(texts.concat().ends_with(expected), "{texts:?}");
    }
    let denied = post(
        "/api/v1/apps/denied-1/completion",
        &ask("?", None, json!({})),
        &[],
    );
    let (status, said) = answer(&simulator, denied).await;
    assert_eq!((status, &said["code"]), (403, &"App.AccessDenied".into()));
}

#[tokio::test]
async fn vectors_and_ranks_have_the_documented_forms_and_limits() {
    let simulator = simulator().await;
    let compat = "/compatible-mode/v1/embeddings";
    let many: Vec<String> = (0..11).map(|n| n.to_string()).collect();
    let (status, said) = answer(
        &simulator,
        post(
            compat,
            &json!({ "model": "text-embedding-v4", "input": many }),
            &[],
        ),
    )
    .await;
    assert_eq!(status, 400);
    assert!(
        said["error"]["message"]
            .as_str()
            .unwrap()
            .contains("batch size is invalid, it should not be larger than 10"),
        "{said}"
    );
    let native = "/api/v1/services/embeddings/text-embedding/text-embedding";
    let both = json!({ "model": "text-embedding-v4", "input": { "texts": ["风急天高"] },
        "parameters": { "output_type": "dense&sparse", "dimension": 256 } });
    let (_, said) = answer(&simulator, post(native, &both, &[])).await;
    let entry = &said["output"]["embeddings"][0];
    assert_eq!(entry["embedding"].as_array().unwrap().len(), 256);
    assert!(
        entry["sparse_embedding"][0]["token"].is_string()
            && said["usage"].as_object().unwrap().len() == 1
    );
    let mixed = "/api/v1/services/embeddings/multimodal-embedding/multimodal-embedding";
    let contents = json!({ "model": "tongyi-embedding-vision-plus", "input": { "contents": [{ "text": "猫" }, { "image": "https://e/a.png" }] } });
    let (_, said) = answer(&simulator, post(mixed, &contents, &[])).await;
    assert_eq!(
        (
            &said["output"]["embeddings"][1]["type"],
            &said["output"]["embeddings"][1]["index"]
        ),
        (&"image".into(), &1.into()),
        "{said}"
    );
    let rerank = json!({ "model": "gte-rerank-v2", "input": { "query": "文本排序模型", "documents": ["量子计算", "文本排序模型广泛用于搜索"] },
        "parameters": { "return_documents": true, "top_n": 1 } });
    let (_, said) = answer(
        &simulator,
        post(
            "/api/v1/services/rerank/text-rerank/text-rerank",
            &rerank,
            &[],
        ),
    )
    .await;
    let results = said["output"]["results"].as_array().unwrap();
    assert_eq!((results.len(), &results[0]["index"]), (1, &1.into()));
    assert!(results[0]["document"]["text"].is_string());
    let (status, said) = answer(
        &simulator,
        post(
            "/compatible-api/v1/reranks",
            &json!({ "model": "gte-rerank-v2" }),
            &[],
        ),
    )
    .await;
    assert_eq!((status, said["code"].is_string()), (404, true), "{said}");
}

#[tokio::test]
async fn faults_strike_vectors_by_header_and_by_rule() {
    let simulator = simulator().await;
    let path = "/compatible-mode/v1/embeddings";
    let body = json!({ "model": "text-embedding-v4", "input": "a" });
    let (status, _) = answer(&simulator, post(path, &body, &["x-sim-fault: status=503"])).await;
    assert_eq!(status, 503);
    let mut config = bailian_sim::SimConfig::default();
    config.faults = serde_json::from_value(json!([{ "faults": ["code=Throttling.RateQuota"],
        "path_prefix": path, "first": 1 }]))
    .unwrap();
    simulator.set_config(config);
    assert_eq!(answer(&simulator, post(path, &body, &[])).await.0, 429);
    assert_eq!(answer(&simulator, post(path, &body, &[])).await.0, 200);
    let cut = post(path, &body, &["x-sim-fault: cut-after-bytes=20"]);
    let response = support::send(&simulator, cut).await.unwrap();
    let whole = http_body_util::BodyExt::collect(response.into_body()).await;
    assert!(whole.is_err());
}
