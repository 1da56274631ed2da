//! The service's checks, with the service's own words, in both dialects.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at what it did not expect"
)]

mod support;

use serde_json::{Value, json};
use support::{COMPAT, MULTIMODAL, NATIVE, answer, compat, native, post, request, simulator};

/// Sends a native request and returns status, code and message.
async fn refused_natively(body: Value, headers: &[&str]) -> (u16, String, String) {
    let simulator = simulator().await;
    let (status, body) = answer(&simulator, post(NATIVE, &body, headers)).await;
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    assert!(body["request_id"].is_string(), "{body}");
    (status, text("code"), text("message"))
}

#[tokio::test]
async fn parameters_are_refused_in_the_words_of_the_service() {
    let tool = |name: &str| json!([{ "type": "function", "function": { "name": name, "description": "d" } }]);
    for (model, parameters, message) in [
        (
            "qwen-plus",
            json!({ "temperature": 2.0 }),
            "Temperature should be in [0.0, 2.0)",
        ),
        (
            "qwen-plus",
            json!({ "seed": -1 }),
            "Range of seed should be [0, 9223372036854775807]",
        ),
        (
            "qwen-plus",
            json!({ "seed": "x" }),
            "'seed' must be Integer",
        ),
        (
            "qwen-plus",
            json!({ "top_k": -1 }),
            "Parameter top_k be greater than or equal to 0",
        ),
        (
            "qwen-plus",
            json!({ "enable_thinking": "yes" }),
            "'enable_thinking' must be Boolean",
        ),
        ("qwen-plus", json!({ "tools": {} }), "'tools' must be List"),
        (
            "qwen-plus",
            json!({ "response_format": "json" }),
            "Unknown format of response_format, response_format should be a dict, includes 'type'",
        ),
        (
            "qwen-plus",
            json!({ "response_format": { "type": "xml" } }),
            "Unknown format of response_format, response_format should be a dict, includes 'type'",
        ),
        (
            "qwen-plus",
            json!({ "tools": tool("f"), "n": 2 }),
            "Parameter n must be 1 when tools are given",
        ),
        (
            "qwen-plus",
            json!({ "tools": tool("no spaces") }),
            "\"no spaces\" does not match",
        ),
        (
            "qwen-plus",
            json!({ "temperature": "hot" }),
            "'temperature' must be Float",
        ),
        (
            "qwen-plus",
            json!({ "top_p": 0 }),
            "Range of top_p should be (0.0, 1.0]",
        ),
        (
            "qwen-plus",
            json!({ "n": 5 }),
            "Range of n should be [1, 4]",
        ),
        (
            "qwen-plus",
            json!({ "max_tokens": 0 }),
            "Range of max_tokens should be [1, 32768]",
        ),
        (
            "qwen-plus",
            json!({ "presence_penalty": 3 }),
            "Presence_penalty should be in [-2.0, 2.0]",
        ),
        (
            "qwen-plus",
            json!({ "repetition_penalty": 0 }),
            "Repetition_penalty should be greater than 0.0",
        ),
        (
            "qwen-plus",
            json!({ "top_logprobs": 6 }),
            "Range of top_logprobs should be [0, 5]",
        ),
        (
            "qwen-plus",
            json!({ "stop": ["a", 1] }),
            "The \"stop\" parameter must be of type",
        ),
        (
            "qwen-plus",
            json!({ "tools": tool("search") }),
            "Tool names are not allowed to be [search]",
        ),
        (
            "qwen-plus",
            json!({ "tools": tool("f"), "tool_choice": "required" }),
            "tool_choice is one of the strings that should be [\"none\", \"auto\"]",
        ),
        (
            "qwen-plus",
            json!({ "thinking_budget": 0 }),
            "The thinking_budget parameter must be a positive integer",
        ),
        (
            "qwen-plus",
            json!({ "enable_thinking": true, "result_format": "text" }),
            "The result_format parameter must be \"message\" when enable_thinking is true",
        ),
        (
            "qwen-plus",
            json!({ "enable_thinking": true, "response_format": { "type": "json_object" } }),
            "Json mode response is not supported when enable_thinking is true",
        ),
        (
            "qwq-plus",
            json!({ "enable_thinking": false }),
            "This model only support stream mode",
        ),
    ] {
        let (status, code, found) = refused_natively(native(model, parameters.clone()), &[]).await;
        assert_eq!(
            (status, code.as_str()),
            (400, "InvalidParameter"),
            "{parameters}"
        );
        assert!(found.starts_with(message), "{parameters}: {found}");
    }
}

#[tokio::test]
async fn a_model_without_thinking_has_a_code_of_its_own() {
    let body = native("qwen-max", json!({ "enable_thinking": true }));
    let (status, code, message) = refused_natively(body, &[]).await;
    assert_eq!(
        (status, code.as_str()),
        (400, "InvalidParameter.NotSupportEnableThinking")
    );
    assert_eq!(
        message,
        "The model qwen-max does not support enable_thinking."
    );
}

#[tokio::test]
async fn messages_are_refused_in_the_words_of_the_service() {
    for (input, message) in [
        (
            json!({}),
            "Either \"prompt\" or \"messages\" must exist and cannot both be none",
        ),
        (json!({ "messages": [] }), "[] is too short"),
        (
            json!({ "messages": [{ "role": "pope", "content": "x" }] }),
            "Role must be user or assistant and Content length must be greater than 0",
        ),
        (
            json!({ "messages": [{ "role": "user", "content": "" }] }),
            "Role must be user or assistant and Content length must be greater than 0",
        ),
        (
            json!({ "messages": [{ "role": "user", "content": 7 }] }),
            "input content must be a string.",
        ),
        (
            json!({ "messages": [{ "role": "tool", "content": "x", "tool_call_id": "c" }] }),
            "messages with role \"tool\" must be a response to a preceeding message with \"tool_calls\"",
        ),
    ] {
        let body = json!({ "model": "qwen-plus", "input": input });
        let (status, _, found) = refused_natively(body, &[]).await;
        assert_eq!((status, found.as_str()), (400, message));
    }
}

#[tokio::test]
async fn what_is_missing_or_of_the_wrong_kind_is_named() {
    for (body, code) in [
        (
            json!({ "input": { "prompt": "hi" } }),
            "BadRequest.EmptyModel",
        ),
        (json!({ "model": "qwen-plus" }), "BadRequest.EmptyInput"),
        (
            json!({ "model": "qwen-plus", "input": "hi" }),
            "BadRequest.IllegalInput",
        ),
        (
            json!({ "model": 7, "input": { "prompt": "hi" } }),
            "InvalidParameter",
        ),
        (
            json!({ "model": "qwen-plus", "input": { "messages": "hi" } }),
            "InvalidParameter",
        ),
        (
            json!({ "model": "qwen-plus", "input": { "messages": [7] } }),
            "InvalidParameter",
        ),
        (
            json!({ "model": "qwen-plus", "input": { "prompt": "hi" }, "parameters": [] }),
            "InvalidParameter",
        ),
    ] {
        let (status, found, _) = refused_natively(body.clone(), &[]).await;
        assert_eq!((status, found.as_str()), (400, code), "{body}");
    }
}

#[tokio::test]
async fn chat_has_no_asynchronous_calls() {
    let body = native("qwen-plus", json!({}));
    let (status, code, message) = refused_natively(body, &["x-dashscope-async: enable"]).await;
    assert_eq!((status, code.as_str()), (403, "AccessDenied"));
    assert_eq!(
        message,
        "Current user api does not support asynchronous calls."
    );
}

#[tokio::test]
async fn compatible_refusals_have_words_of_their_own() {
    let simulator = simulator().await;
    let user = json!([{ "role": "user", "content": "hi" }]);
    for (body, code, message) in [
        (
            json!({ "messages": user }),
            "invalid_request_error",
            "you must provide a model parameter.",
        ),
        (
            json!({ "model": "qwen-plus", "messages": [] }),
            "invalid_parameter_error",
            "[] is too short - 'messages'",
        ),
        (
            json!({ "model": "qwen-plus", "messages": [user[0], { "role": "developer", "content": "x" }] }),
            "invalid_parameter_error",
            "\"developer\" is not one of ['system', 'assistant', 'user', 'tool', 'function'] - 'messages.['1'].role'",
        ),
        (
            json!({ "model": "qwen-plus", "messages": [{ "role": "user" }] }),
            "invalid_parameter_error",
            "The content field is a required field.",
        ),
        (
            compat("qwen-plus", json!({ "seed": -1 })),
            "invalid_value",
            "-1 is lesser than the minimum of 0 - 'seed'",
        ),
        (
            compat("qwen-plus", json!({ "stream": "yes" })),
            "invalid_parameter_error",
            "'stream' must be Boolean",
        ),
        (
            compat("qwen3-32b", json!({ "enable_thinking": true })),
            "invalid_parameter_error",
            "parameter.enable_thinking must be set to false for non-streaming calls",
        ),
    ] {
        let (status, refused) = answer(&simulator, post(COMPAT, &body, &[])).await;
        let error = &refused["error"];
        assert_eq!(
            (status, &error["code"], &error["message"]),
            (400, &code.into(), &message.into()),
            "{body}"
        );
        assert!(refused["request_id"].is_string() && error["type"].is_string());
    }
}

#[tokio::test]
async fn json_mode_needs_the_word() {
    let simulator = simulator().await;
    let body = json!({
        "model": "qwen-plus", "messages": [{ "role": "user", "content": "hi" }],
        "response_format": { "type": "json_object" },
    });
    let (status, body) = answer(&simulator, post(COMPAT, &body, &[])).await;
    assert_eq!(status, 400);
    assert_eq!(
        body["error"]["message"],
        "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'."
    );
}

#[tokio::test]
async fn keys_decide_before_anything_else_is_looked_at() {
    let simulator = simulator().await;
    for (key, status, native_code, compat_code) in [
        (
            "authorization: Bearer nonsense",
            401,
            "InvalidApiKey",
            "invalid_api_key",
        ),
        (
            "authorization: Bearer sk-expired-1",
            401,
            "InvalidApiKey",
            "invalid_api_key",
        ),
        (
            "authorization: Bearer sk-denied-1",
            403,
            "Model.AccessDenied",
            "model_access_denied",
        ),
        (
            "authorization: Bearer sk-arrears-1",
            400,
            "Arrearage",
            "Arrearage",
        ),
        (
            "authorization: Bearer sk-limited-1",
            429,
            "Throttling.RateQuota",
            "limit_requests",
        ),
    ] {
        let (found, body) = answer(
            &simulator,
            post(NATIVE, &native("qwen-plus", json!({})), &[key]),
        )
        .await;
        assert_eq!(
            (found, &body["code"]),
            (status, &native_code.into()),
            "{key}"
        );
        let (found, body) = answer(
            &simulator,
            post(COMPAT, &compat("qwen-plus", json!({})), &[key]),
        )
        .await;
        assert_eq!(
            (found, &body["error"]["code"]),
            (status, &compat_code.into()),
            "{key}"
        );
    }
    let missing = request(http::Method::POST, NATIVE, "{}", &["authorization: none"]);
    let (status, body) = answer(&simulator, missing).await;
    assert_eq!(
        (status, &body["message"]),
        (401, &"No API-key provided.".into())
    );
}

#[tokio::test]
async fn models_decide_the_path() {
    let simulator = simulator().await;
    let wrong_path = "url error, please check url！";
    let (status, body) = answer(
        &simulator,
        post(NATIVE, &native("qwen3.5-plus", json!({})), &[]),
    )
    .await;
    assert_eq!((status, &body["message"]), (400, &wrong_path.into()));
    let (status, body) = answer(
        &simulator,
        post(MULTIMODAL, &native("qwen-plus", json!({})), &[]),
    )
    .await;
    assert_eq!((status, &body["message"]), (400, &wrong_path.into()));
    let off = json!({ "enable_thinking": false });
    let (status, body) = answer(
        &simulator,
        post(MULTIMODAL, &native("qwen3.5-plus", off), &[]),
    )
    .await;
    assert_eq!(status, 200);
    assert!(
        body["output"]["choices"][0]["message"]["content"][0]["text"].is_string(),
        "{body}"
    );
    let (status, body) = answer(
        &simulator,
        post(COMPAT, &compat("no-such-model", json!({})), &[]),
    )
    .await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (404, &"model_not_found".into())
    );
    let (status, body) = answer(
        &simulator,
        post(NATIVE, &native("no such model", json!({})), &[]),
    )
    .await;
    assert_eq!(
        (status, &body["message"]),
        (400, &"Model not exist.".into())
    );
}

#[tokio::test]
async fn bodies_and_routes_that_make_no_sense_are_refused() {
    let simulator = simulator().await;
    for body in ["", "no json", "[]", "\"text\""] {
        let (status, answer) =
            answer(&simulator, request(http::Method::POST, COMPAT, body, &[])).await;
        assert_eq!(
            (status, &answer["error"]["message"]),
            (
                400,
                &"Required body invalid, please check the request body format.".into()
            )
        );
    }
    let (status, body) = answer(&simulator, post("/api/v1/nowhere", &json!({}), &[])).await;
    assert_eq!((status, &body["code"]), (404, &"NotFound".into()));
    let (status, body) = answer(&simulator, request(http::Method::GET, NATIVE, "", &[])).await;
    assert_eq!(
        (status, &body["message"]),
        (405, &"Request method 'GET' is not supported.".into())
    );
    let options = json!({ "stream_options": { "include_usage": true } });
    let (status, _) = answer(&simulator, post(COMPAT, &compat("qwen-plus", options), &[])).await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_413() {
    let simulator = simulator().await;
    simulator.set_config(
        simulator
            .config()
            .patched(&json!({ "max_body_bytes": 100 }))
            .unwrap(),
    );
    let (status, _) = answer(
        &simulator,
        post(
            COMPAT,
            &compat("qwen-plus", json!({ "x": "y".repeat(200) })),
            &[],
        ),
    )
    .await;
    assert_eq!(status, 413);
}

#[tokio::test]
async fn native_streams_carry_parameter_errors_inside_http_200() {
    let simulator = simulator().await;
    let bad = native("qwen-plus", json!({ "temperature": 2 }));
    let (status, headers, text) =
        support::text(&simulator, post(NATIVE, &bad, &["x-dashscope-sse: enable"])).await;
    assert_eq!(
        (status.as_u16(), headers["content-type"].to_str().unwrap()),
        (200, "text/event-stream;charset=UTF-8")
    );
    assert!(
        text.starts_with(
            "id:1\nevent:error\n:HTTP_STATUS/400\ndata:{\"code\":\"InvalidParameter\""
        ),
        "{text}"
    );
}
