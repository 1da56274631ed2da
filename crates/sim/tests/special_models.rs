//! Models with answers of their own kind: speech and text recognition, speech, translation.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "a test may stop at what it did not expect; JSON reads best where it is passed"
)]

mod support;

use serde_json::{Value, json};
use support::{COMPAT, MULTIMODAL, NATIVE, answer, post, simulator, text};

const SSE: &str = "x-dashscope-sse: enable";

fn recording(members: Value) -> Value {
    let mut body = json!({ "model": "qwen3-asr-flash", "messages": [{ "role": "user", "content": [
        { "type": "input_audio", "input_audio": { "data": "https://e/a.mp3" } }] }] });
    body.as_object_mut()
        .unwrap()
        .extend(members.as_object().unwrap().clone());
    body
}

#[tokio::test]
async fn a_recording_is_transcribed_and_costs_its_seconds() {
    let simulator = simulator().await;
    let (status, said) = answer(&simulator, post(COMPAT, &recording(json!({})), &[])).await;
    assert_eq!(status, 200, "{said}");
    let message = &said["choices"][0]["message"];
    assert_eq!(message["content"], "欢迎使用阿里云。");
    let like = json!([{ "type": "audio_info", "language": "zh", "emotion": "neutral" }]);
    assert_eq!(message["annotations"], like);
    let usage = &said["usage"];
    assert_eq!(
        (&usage["seconds"], &usage["prompt_tokens"]),
        (&5.into(), &125.into())
    );
    assert_eq!(
        usage["prompt_tokens_details"],
        json!({ "audio_tokens": 125, "text_tokens": 0 })
    );
    let body = json!({ "model": "qwen3-asr-flash", "input": { "messages": [
        { "role": "system", "content": [{ "text": "" }] },
        { "role": "user", "content": [{ "audio": "https://e/a.mp3" }] }] },
        "parameters": { "asr_options": { "language": "en" } } });
    let (_, said) = answer(&simulator, post(MULTIMODAL, &body, &[])).await;
    let message = &said["output"]["choices"][0]["message"];
    assert_eq!(message["annotations"][0]["language"], "en", "{said}");
    let made = &said["usage"]["output_tokens_details"]["text_tokens"];
    assert_eq!(
        said["usage"],
        json!({ "input_tokens_details": { "text_tokens": 0 }, "seconds": 5,
            "output_tokens_details": { "text_tokens": made } })
    );
    let (_, said) = answer(
        &simulator,
        post(
            COMPAT,
            &recording(json!({ "messages": [{ "role": "user", "content": "hi" }] })),
            &[],
        ),
    )
    .await;
    assert_eq!(said["error"]["message"], "The audio is empty");
}

#[tokio::test]
async fn a_streamed_transcription_repeats_what_the_recording_is_like() {
    let simulator = simulator().await;
    let body = recording(json!({ "stream": true }));
    let (_, _, stream) = text(&simulator, post(COMPAT, &body, &[])).await;
    let chunks = support::frames(&stream);
    let (last, before) = chunks.split_last().unwrap();
    for chunk in before {
        let like = &chunk["choices"][0]["delta"]["annotations"][0]["type"];
        assert_eq!(*like, "audio_info", "{chunk}");
    }
    assert_eq!(
        last["choices"][0],
        json!({ "delta": { "role": null }, "finish_reason": "stop", "index": 0 })
    );
}

fn page(model: &str, content: Value, parameters: Value) -> Value {
    json!({ "model": model, "input": { "messages": [{ "role": "user", "content": content }] },
        "parameters": parameters })
}

#[tokio::test]
async fn a_page_is_read_as_its_task_says() {
    let simulator = simulator().await;
    let picture = json!([{ "image": "https://e/a.png" }]);
    let schema = json!({ "乘车日期": "", "发票": { "发票代码": "", "发票号码": "" } });
    let task = json!({ "ocr_options": { "task": "key_information_extraction",
        "task_config": { "result_schema": schema } } });
    let body = page("qwen-vl-ocr-latest", picture.clone(), task);
    let (status, said) = answer(&simulator, post(MULTIMODAL, &body, &[])).await;
    assert_eq!(status, 200, "{said}");
    let part = &said["output"]["choices"][0]["message"]["content"][0];
    let values = &part["ocr_result"]["kv_result"];
    assert!(values["发票"]["发票号码"].is_string(), "{part}");
    let fenced = part["text"].as_str().unwrap();
    assert!(fenced.starts_with("```json\n") && fenced.ends_with("\n```"));
    let (_, _, stream) = text(&simulator, post(MULTIMODAL, &body, &[SSE])).await;
    let frames = support::frames(&stream);
    let last = &frames.last().unwrap()["output"]["choices"][0]["message"]["content"][0];
    assert_eq!(last["ocr_result"], part["ocr_result"]);
    let task = json!({ "ocr_options": { "task": "advanced_recognition" } });
    let body = page("qwen-vl-ocr-latest", picture.clone(), task);
    let (_, said) = answer(&simulator, post(MULTIMODAL, &body, &[])).await;
    let found = &said["output"]["choices"][0]["message"]["content"][0]["ocr_result"];
    let word = &found["words_info"][0];
    assert_eq!(word["location"].as_array().unwrap().len(), 8, "{said}");
    assert_eq!(word["rotate_rect"].as_array().unwrap().len(), 5);
    let task = json!({ "ocr_options": { "task": "guess" } });
    let body = page("qwen-vl-ocr-latest", picture, task);
    let (status, said) = answer(&simulator, post(MULTIMODAL, &body, &[])).await;
    let message = said["message"].as_str().unwrap();
    assert_eq!(status, 400);
    assert!(message.starts_with("Input should be 'text_recognition'"));
}

#[tokio::test]
async fn a_page_without_a_prompt_has_the_default_one() {
    let simulator = simulator().await;
    let mut tokens = Vec::new();
    for prompt in [None, Some("x")] {
        let mut content =
            vec![json!({ "type": "image_url", "image_url": { "url": "https://e/a.png" } })];
        content.extend(prompt.map(|text| json!({ "type": "text", "text": text })));
        let body = json!({ "model": "qwen-vl-ocr",
            "messages": [{ "role": "user", "content": content }],
            "ocr_options": { "task": "advanced_recognition" } });
        let (_, said) = answer(&simulator, post(COMPAT, &body, &[])).await;
        let details = &said["usage"]["prompt_tokens_details"];
        tokens.push(details["text_tokens"].as_u64().unwrap());
        // The compatible surface has no tasks.
        assert!(said["choices"][0]["message"]["content"].is_string());
    }
    assert!(tokens[0] > tokens[1] + 10, "{tokens:?}");
    let body = json!({ "model": "qwen-vl-ocr", "messages": [{ "role": "user", "content": [
        { "type": "image_url", "image_url": { "url": "https://e/a.png" } },
        { "type": "text", "text": "Answer as JSON" }] }] });
    let (_, said) = answer(&simulator, post(COMPAT, &body, &[])).await;
    let content = said["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(content.starts_with("```json\n"), "{content}");
}

#[tokio::test]
async fn spoken_answers_have_their_sound_after_their_text() {
    let simulator = simulator().await;
    let mut body = json!({ "model": "qwen3.5-omni-plus", "modalities": ["text", "audio"],
        "audio": { "voice": "Tina", "format": "wav" },
        "messages": [{ "role": "user", "content": "你好" }] });
    let (status, said) = answer(&simulator, post(COMPAT, &body, &[])).await;
    assert_eq!(
        (status, &said["error"]["message"]),
        (400, &"'audio' output only support with stream=true".into())
    );
    body["stream"] = true.into();
    body["stream_options"] = json!({ "include_usage": true });
    let (_, _, stream) = text(&simulator, post(COMPAT, &body, &["x-sim-answer: 你好啊"])).await;
    let chunks = support::frames(&stream);
    let kinds: Vec<&str> = chunks
        .iter()
        .filter_map(|chunk| chunk.pointer("/choices/0/delta"))
        .map(|delta| {
            let audio = delta.get("audio");
            audio.map_or("text", |audio| {
                assert!(audio["data"].as_str().unwrap().len() > 1000);
                assert!(audio["id"].as_str().unwrap().starts_with("audio_"));
                "audio"
            })
        })
        .collect();
    assert_eq!(kinds, ["text", "text", "text", "audio", "text"]);
    let usage = &chunks.last().unwrap()["usage"];
    assert_eq!(
        (
            &usage["completion_tokens"],
            &usage["completion_tokens_details"]
        ),
        (&10.into(), &json!({ "audio_tokens": 8, "text_tokens": 2 })),
        "{usage}"
    );
    assert!(usage["prompt_tokens_details"]["text_tokens"].is_u64());
    assert_eq!(simulator.journal().pop().unwrap().output_tokens, 10);
    // The newest omni model only writes, and not only in streams.
    let body = json!({ "model": "qwen3.8-omni-flash", "enable_thinking": false,
        "messages": [{ "role": "user", "content": "你好" }] });
    assert_eq!(answer(&simulator, post(COMPAT, &body, &[])).await.0, 200);
}

#[tokio::test]
async fn what_the_code_interpreter_did_adds_to_the_input() {
    let simulator = simulator().await;
    let body = json!({ "model": "qwen3-max-preview", "input": { "messages": [
        { "role": "user", "content": "123**21?" }] },
        "parameters": { "enable_thinking": true, "enable_code_interpreter": true,
            "incremental_output": true, "result_format": "message" } });
    let request = post(NATIVE, &body, &[SSE, "x-sim-answer: Done."]);
    let (_, _, stream) = text(&simulator, request).await;
    let frames = support::frames(&stream);
    let (first, last) = (&frames[0], frames.last().unwrap());
    assert!(first["output"].get("tool_info").is_none(), "{first}");
    assert!(first["usage"].get("plugins").is_none());
    assert_eq!(last["output"]["tool_info"][0]["type"], "code_interpreter");
    assert_eq!(last["usage"]["plugins"]["code_interpreter"]["count"], 1);
    let input = |frame: &Value| frame["usage"]["input_tokens"].as_u64().unwrap();
    assert_eq!(input(last), input(first) + 450);
    assert_eq!(simulator.journal().pop().unwrap().input_tokens, input(last));
}

#[tokio::test]
async fn translations_need_a_language_and_one_message() {
    let simulator = simulator().await;
    let options = json!({ "source_lang": "auto", "target_lang": "English" });
    let user = json!({ "role": "user", "content": "你好" });
    let system = json!({ "role": "system", "content": "x" });
    let long = json!([user, { "role": "assistant", "content": "a" }, user]);
    for (messages, options, words) in [
        (json!([user]), Value::Null, "translation_options"),
        (
            json!([user]),
            json!({ "source_lang": "auto" }),
            "target_lang",
        ),
        (
            json!([user]),
            json!({ "target_lang": "English" }),
            "source_lang",
        ),
        (json!([system, user]), options.clone(), "user"),
        (long, options.clone(), "one"),
        (
            json!([user]),
            json!({ "source_lang": "auto", "target_lang": "English", "terms": "x" }),
            "translation_options.terms",
        ),
    ] {
        let body = json!({ "model": "qwen-mt-plus", "messages": messages,
            "translation_options": options });
        let (status, said) = answer(&simulator, post(COMPAT, &body, &[])).await;
        let message = said["error"]["message"].as_str().unwrap_or_default();
        assert_eq!(status, 400, "{said}");
        assert!(message.contains(words), "{message}");
    }
    let body =
        json!({ "model": "qwen-mt-plus", "input": { "messages": [user] }, "parameters": {} });
    let (status, said) = answer(&simulator, post(NATIVE, &body, &[])).await;
    assert_eq!((status, &said["code"]), (400, &"InvalidParameter".into()));
}

#[tokio::test]
async fn two_translators_repeat_everything_and_end_twice() {
    let simulator = simulator().await;
    let options = json!({ "source_lang": "auto", "target_lang": "English" });
    for (model, cumulative) in [
        ("qwen-mt-plus", true),
        ("qwen-mt-turbo", true),
        ("qwen-mt-flash", false),
    ] {
        let body = json!({ "model": model, "stream": true, "translation_options": options,
            "messages": [{ "role": "user", "content": "你好" }] });
        let (_, _, stream) = text(&simulator, post(COMPAT, &body, &["x-sim-answer: a b c"])).await;
        let contents: Vec<Value> = support::frames(&stream)
            .iter()
            .map(|chunk| chunk["choices"][0]["delta"]["content"].clone())
            .collect();
        if cumulative {
            assert_eq!(
                contents,
                ["", "a", "a b", "a b c", "a b c", "a b c"],
                "{model}"
            );
        } else {
            assert_eq!(contents, ["", "a", " b", " c", ""], "{model}");
        }
    }
}
