//! What is answered, and in which form.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at what it did not expect"
)]

mod support;

use serde_json::{Value, json};
use support::{COMPAT, NATIVE, answer, compat, frames, native, post, simulator, text};

const SSE: &str = "x-dashscope-sse: enable";

fn joined(frames: &[Value], path: &str) -> String {
    frames
        .iter()
        .filter_map(|frame| frame.pointer(path)?.as_str())
        .collect()
}

#[tokio::test]
async fn native_frames_have_the_five_lines_that_were_recorded() {
    let simulator = simulator().await;
    let body = native(
        "qwen-plus",
        json!({ "result_format": "message", "incremental_output": true }),
    );
    let (_, headers, stream) =
        text(&simulator, post(NATIVE, &body, &[SSE, "x-sim-answer: a b"])).await;
    assert_eq!(headers["content-type"], "text/event-stream;charset=UTF-8");
    assert_eq!(headers["x-dashscope-finished"], "false");
    let events: Vec<&str> = stream.split_terminator("\n\n").collect();
    for (event, number) in events.iter().zip(1..) {
        let lines: Vec<&str> = event.split('\n').collect();
        assert_eq!(lines.len(), 4, "{event}");
        assert_eq!(lines[0], format!("id:{number}"));
        assert_eq!((lines[1], lines[2]), ("event:result", ":HTTP_STATUS/200"));
        assert!(lines[3].starts_with("data:{"));
    }
    let frames = frames(&stream);
    let (last, before) = frames.split_last().unwrap();
    assert!(
        before
            .iter()
            .all(|frame| frame["output"]["choices"][0]["finish_reason"] == "null")
    );
    assert_eq!(last["output"]["choices"][0]["finish_reason"], "stop");
    let totals: Vec<u64> = frames
        .iter()
        .map(|f| f["usage"]["output_tokens"].as_u64().unwrap())
        .collect();
    assert!(totals.is_sorted() && !stream.contains("[DONE]"));
}

#[tokio::test]
async fn compatible_chunks_begin_with_the_role_and_end_with_done() {
    let simulator = simulator().await;
    let body = compat(
        "qwen-plus",
        json!({ "stream": true, "stream_options": { "include_usage": true } }),
    );
    let (_, headers, stream) = text(&simulator, post(COMPAT, &body, &[])).await;
    assert!(
        stream.ends_with("data: [DONE]\n\n")
            && !stream.contains("\nid:")
            && !stream.contains("event:")
    );
    let frames = frames(&stream);
    assert_eq!(
        frames[0]["choices"][0]["delta"],
        json!({ "content": "", "role": "assistant" })
    );
    let id = headers["x-request-id"].to_str().unwrap();
    assert!(
        frames
            .iter()
            .all(|frame| frame["id"] == format!("chatcmpl-{id}"))
    );
    let last = frames.last().unwrap();
    assert_eq!(last["choices"], json!([]));
    assert!(last["usage"]["completion_tokens"].as_u64().unwrap() > 0);
    let without = compat("qwen-plus", json!({ "stream": true }));
    let (_, _, stream) = text(&simulator, post(COMPAT, &without, &[])).await;
    assert!(
        support::frames(&stream)
            .iter()
            .all(|frame| frame["usage"].is_null())
    );
}

#[tokio::test]
async fn the_same_request_has_the_same_answer_streamed_or_not_in_either_dialect() {
    let simulator = simulator().await;
    let messages = json!([{ "role": "user", "content": "用一句话介绍杭州😀" }]);
    let openai = json!({ "model": "qwen-plus", "messages": messages });
    let dashscope = json!({
        "model": "qwen-plus", "input": { "messages": messages },
        "parameters": { "result_format": "message", "incremental_output": true },
    });
    let (_, plain) = answer(&simulator, post(COMPAT, &openai, &[])).await;
    let said = plain["choices"][0]["message"]["content"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(said.contains("通义千问"), "{said}");
    let (_, native_plain) = answer(&simulator, post(NATIVE, &dashscope, &[])).await;
    assert_eq!(
        native_plain["output"]["choices"][0]["message"]["content"],
        said.as_str()
    );
    assert_eq!(
        native_plain["usage"]["output_tokens"],
        plain["usage"]["completion_tokens"]
    );
    let (_, _, stream) = text(&simulator, post(NATIVE, &dashscope, &[SSE])).await;
    let frames = frames(&stream);
    assert_eq!(joined(&frames, "/output/choices/0/message/content"), said);
    assert_eq!(frames.last().unwrap()["usage"], native_plain["usage"]);
    let mut cumulative = dashscope.clone();
    cumulative["parameters"]["incremental_output"] = json!(false);
    let (_, _, stream) = text(&simulator, post(NATIVE, &cumulative, &[SSE])).await;
    let frames = support::frames(&stream);
    assert_eq!(
        frames.last().unwrap()["output"]["choices"][0]["message"]["content"],
        said.as_str()
    );
    let lengths: Vec<usize> = frames
        .iter()
        .map(|frame| {
            frame["output"]["choices"][0]["message"]["content"]
                .as_str()
                .unwrap()
                .len()
        })
        .collect();
    assert!(lengths.is_sorted());
}

#[tokio::test]
async fn thinking_comes_first_and_is_counted() {
    let simulator = simulator().await;
    let body = native(
        "qwen-plus",
        json!({ "enable_thinking": true, "incremental_output": true, "result_format": "message" }),
    );
    let (_, _, stream) = text(&simulator, post(NATIVE, &body, &[SSE])).await;
    let frames = frames(&stream);
    let thinks =
        |frame: &Value| frame["output"]["choices"][0]["message"]["reasoning_content"] != "";
    let first_answer = frames.iter().position(|frame| !thinks(frame)).unwrap();
    assert!(first_answer > 0 && frames[first_answer..].iter().all(|frame| !thinks(frame)));
    let usage = &frames.last().unwrap()["usage"];
    assert_eq!(
        usage["output_tokens_details"]["reasoning_tokens"],
        first_answer
    );
}

#[tokio::test]
async fn tools_are_called_with_fitting_arguments_and_their_results_are_used() {
    let simulator = simulator().await;
    let tools = json!([{ "type": "function", "function": { "name": "get_weather", "description": "d",
        "parameters": { "type": "object", "required": ["city"], "properties": { "city": { "type": "string" } } } } }]);
    let body = compat("qwen-plus", json!({ "tools": tools, "stream": true }));
    let (_, _, stream) = text(&simulator, post(COMPAT, &body, &[])).await;
    let frames = frames(&stream);
    let arguments = joined(&frames, "/choices/0/delta/tool_calls/0/function/arguments");
    let parsed: Value = serde_json::from_str(&arguments).unwrap();
    assert!(parsed["city"].is_string());
    let ids: Vec<&str> = frames
        .iter()
        .filter_map(|frame| frame.pointer("/choices/0/delta/tool_calls/0/id")?.as_str())
        .collect();
    assert!(ids[0].starts_with("call_") && ids[1..].iter().all(|id| id.is_empty()));
    let second = compat(
        "qwen-plus",
        json!({ "tools": tools, "messages": [
        { "role": "user", "content": "Weather?" },
        { "role": "assistant", "content": "", "tool_calls": [{ "id": ids[0], "type": "function", "function": { "name": "get_weather", "arguments": arguments } }] },
        { "role": "tool", "tool_call_id": ids[0], "content": "晴，22 °C" },
    ] }),
    );
    let (_, body) = answer(&simulator, post(COMPAT, &second, &[])).await;
    assert!(
        body["choices"][0]["message"]["content"]
            .as_str()
            .unwrap()
            .contains("晴，22 °C"),
        "{body}"
    );
    assert_eq!(body["choices"][0]["finish_reason"], "stop");
}

#[tokio::test]
async fn a_forced_call_ends_with_stop_and_parallel_calls_are_several() {
    let simulator = simulator().await;
    let tool = |name: &str| json!({ "type": "function", "function": { "name": name, "description": "d" } });
    let tools = json!([tool("a"), tool("b")]);
    let choice = json!({ "type": "function", "function": { "name": "b" } });
    let forced = compat(
        "qwen-plus",
        json!({ "tools": tools, "tool_choice": choice }),
    );
    let (_, body) = answer(&simulator, post(COMPAT, &forced, &[])).await;
    assert_eq!(body["choices"][0]["finish_reason"], "stop");
    assert_eq!(
        body["choices"][0]["message"]["tool_calls"][0]["function"]["name"],
        "b"
    );
    let parallel = compat(
        "qwen-plus",
        json!({ "tools": tools, "parallel_tool_calls": true }),
    );
    let (_, body) = answer(&simulator, post(COMPAT, &parallel, &[])).await;
    assert_eq!(
        body["choices"][0]["message"]["tool_calls"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(body["choices"][0]["finish_reason"], "tool_calls");
}

#[tokio::test]
async fn lengths_stops_and_numbers_of_answers_are_kept() {
    let simulator = simulator().await;
    let (_, body) = answer(
        &simulator,
        post(
            COMPAT,
            &compat("qwen-plus", json!({ "max_tokens": 3 })),
            &[],
        ),
    )
    .await;
    assert_eq!(
        (
            &body["choices"][0]["finish_reason"],
            &body["usage"]["completion_tokens"]
        ),
        (&"length".into(), &3.into())
    );
    let (_, body) = answer(
        &simulator,
        post(
            COMPAT,
            &compat("qwen-plus", json!({ "stop": [" two"] })),
            &["x-sim-answer: one two three"],
        ),
    )
    .await;
    assert_eq!(body["choices"][0]["message"]["content"], "one");
    let (_, body) = answer(
        &simulator,
        post(COMPAT, &compat("qwen-plus", json!({ "n": 3 })), &[]),
    )
    .await;
    assert_eq!(body["choices"].as_array().unwrap().len(), 3);
    let (_, body) = answer(
        &simulator,
        post(
            COMPAT,
            &compat("qwen-plus", json!({})),
            &["x-sim-tokens: 25"],
        ),
    )
    .await;
    assert_eq!(body["usage"]["completion_tokens"], 25);
    let (_, body) = answer(
        &simulator,
        post(
            COMPAT,
            &compat(
                "qwen-plus",
                json!({ "logprobs": true, "top_logprobs": 2, "max_tokens": 4 }),
            ),
            &[],
        ),
    )
    .await;
    let logprobs = body["choices"][0]["logprobs"]["content"]
        .as_array()
        .unwrap();
    assert_eq!(
        (
            logprobs.len(),
            logprobs[0]["top_logprobs"].as_array().unwrap().len()
        ),
        (4, 2)
    );
}

#[tokio::test]
async fn json_of_a_schema_is_json_of_that_schema() {
    let simulator = simulator().await;
    let format = json!({ "type": "json_schema", "json_schema": { "name": "person", "schema": {
        "type": "object", "required": ["name", "age"],
        "properties": { "name": { "type": "string" }, "age": { "type": "integer", "minimum": 1, "maximum": 99 } },
    } } });
    let (_, body) = answer(
        &simulator,
        post(
            COMPAT,
            &compat("qwen-plus", json!({ "response_format": format })),
            &[],
        ),
    )
    .await;
    let said: Value =
        serde_json::from_str(body["choices"][0]["message"]["content"].as_str().unwrap()).unwrap();
    assert!(
        said["name"].is_string() && (1..=99).contains(&said["age"].as_i64().unwrap()),
        "{said}"
    );
}

#[tokio::test]
async fn search_prefix_text_format_and_translation_have_their_own_forms() {
    let simulator = simulator().await;
    let search = json!({ "enable_search": true, "search_options": { "enable_source": true }, "result_format": "message" });
    let (_, body) = answer(&simulator, post(NATIVE, &native("qwen-plus", search), &[])).await;
    assert_eq!(body["usage"]["plugins"]["search"]["count"], 1);
    assert!(body["output"]["search_info"]["search_results"][0]["url"].is_string());
    let (_, body) = answer(
        &simulator,
        post(NATIVE, &native("qwen-plus", json!({})), &[]),
    )
    .await;
    assert!(
        body["output"]["text"].is_string() && body["output"]["choices"].is_null(),
        "{body}"
    );
    let prefix = json!({ "messages": [{ "role": "user", "content": "背诗" }, { "role": "assistant", "content": "床前", "partial": true }] });
    let (_, body) = answer(&simulator, post(COMPAT, &compat("qwen-plus", prefix), &[])).await;
    assert!(
        !body["choices"][0]["message"]["content"]
            .as_str()
            .unwrap()
            .starts_with("床前")
    );
    let translation = compat(
        "qwen-mt-plus",
        json!({ "stream": true, "translation_options": { "source_lang": "auto", "target_lang": "English" } }),
    );
    let (_, _, stream) = text(&simulator, post(COMPAT, &translation, &[])).await;
    let ends: Vec<Value> = frames(&stream)
        .into_iter()
        .filter(|f| f["choices"][0]["finish_reason"] == "stop")
        .collect();
    assert_eq!(ends.len(), 2, "the end comes twice");
    assert_eq!(
        ends[0]["choices"][0]["delta"]["content"],
        ends[1]["choices"][0]["delta"]["content"]
    );
}

#[tokio::test]
async fn models_are_listed_on_both_surfaces() {
    let simulator = simulator().await;
    let get = |path: &str| support::request(http::Method::GET, path, "", &[]);
    let (_, list) = answer(&simulator, get("/compatible-mode/v1/models")).await;
    assert!(
        list["data"]
            .as_array()
            .unwrap()
            .iter()
            .any(|model| model["id"] == "qwen-plus")
    );
    let (_, page) = answer(&simulator, get("/api/v1/models?page_no=2&page_size=5")).await;
    assert_eq!(page["output"]["models"].as_array().unwrap().len(), 5);
    let (_, one) = answer(&simulator, get("/api/v1/models?model=qwen-plus")).await;
    assert_eq!(one["output"]["total"], 1);
}
