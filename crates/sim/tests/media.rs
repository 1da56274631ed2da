//! Pictures, videos and sounds: what they cost on each surface, and what is refused.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at what it did not expect"
)]

mod support;

use serde_json::{Value, json};
use support::{COMPAT, MULTIMODAL, NATIVE, answer, post, simulator, text};

/// A PNG of 640 x 480 pixels, as far as its header.
const PICTURE: &str = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAoAAAAHg";
const MESSAGES: &str = "/apps/anthropic/v1/messages";

fn seen(model: &str, part: &Value) -> Value {
    json!({ "model": model, "messages": [{ "role": "user", "content": [
        part, { "type": "text", "text": "这是什么？" }] }] })
}

fn natively(model: &str, part: &Value) -> Value {
    json!({ "model": model, "input": { "messages": [{ "role": "user", "content": [
        part, { "text": "这是什么？" }] }] }, "parameters": { "enable_thinking": false } })
}

fn picture(url: &str) -> Value {
    json!({ "type": "image_url", "image_url": { "url": url } })
}

#[tokio::test]
async fn a_picture_costs_what_its_size_says_on_every_surface() {
    let simulator = simulator().await;
    let body = seen("qwen3-vl-plus", &picture(PICTURE));
    let (status, said) = answer(&simulator, post(COMPAT, &body, &[])).await;
    assert_eq!(status, 200, "{said}");
    let usage = &said["usage"];
    let details = &usage["prompt_tokens_details"];
    assert_eq!(details["image_tokens"], 20 * 15 + 2);
    let of = |value: &Value| value.as_u64().unwrap();
    let text_tokens = of(&details["text_tokens"]);
    assert_eq!(of(&usage["prompt_tokens"]), 302 + text_tokens);
    assert_eq!(
        usage["completion_tokens_details"]["text_tokens"],
        usage["completion_tokens"]
    );
    let body = natively("qwen3-vl-plus", &json!({ "image": PICTURE }));
    let (_, said) = answer(&simulator, post(MULTIMODAL, &body, &[])).await;
    let usage = &said["usage"];
    assert_eq!(usage["image_tokens"], 302, "{said}");
    assert_eq!(
        usage["input_tokens_details"],
        json!({ "image_tokens": 302, "text_tokens": text_tokens })
    );
    assert_eq!(usage["prompt_tokens_details"], json!({}));
    assert_eq!(of(&usage["input_tokens"]), 302 + text_tokens);
    assert_eq!(
        usage["output_tokens_details"]["text_tokens"],
        usage["output_tokens"]
    );
    let entry = simulator.journal().pop().unwrap();
    assert_eq!(entry.input_tokens, 302 + text_tokens);
    let (_, data) = PICTURE.split_once(',').unwrap();
    let source = json!({ "type": "base64", "media_type": "image/png", "data": data });
    let body = json!({ "model": "qwen3-vl-plus", "max_tokens": 300, "messages": [{ "role": "user",
        "content": [{ "type": "image", "source": source }, { "type": "text", "text": "这是什么？" }] }] });
    let (_, said) = answer(&simulator, post(MESSAGES, &body, &[])).await;
    assert_eq!(
        of(&said["usage"]["input_tokens"]),
        302 + text_tokens,
        "{said}"
    );
}

#[tokio::test]
async fn pixels_can_be_limited_and_raised() {
    let simulator = simulator().await;
    let url = "https://example.com/a.png";
    let mut limited = picture(url);
    limited["max_pixels"] = 65_536.into();
    let mut tokens = Vec::new();
    for (part, high) in [
        (limited.clone(), false),
        (picture(url), false),
        (limited, true),
    ] {
        let mut body = seen("qwen3-vl-plus", &part);
        body["vl_high_resolution_images"] = high.into();
        let (_, said) = answer(&simulator, post(COMPAT, &body, &[])).await;
        let details = &said["usage"]["prompt_tokens_details"];
        tokens.push(details["image_tokens"].as_u64().unwrap());
    }
    assert!(tokens[0] <= 66 && tokens[1] == 32 * 24 + 2, "{tokens:?}");
    assert_eq!(tokens[1], tokens[2]);
}

#[tokio::test]
async fn older_vision_models_have_the_older_usage() {
    let simulator = simulator().await;
    let body = natively("qwen-vl-plus", &json!({ "image": PICTURE }));
    let (status, said) = answer(&simulator, post(MULTIMODAL, &body, &[])).await;
    assert_eq!(status, 200, "{said}");
    let names: Vec<&String> = said["usage"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["image_tokens", "input_tokens", "output_tokens"]);
}

#[tokio::test]
async fn videos_cost_their_frames_and_sounds_their_seconds() {
    let simulator = simulator().await;
    let frames: Vec<String> = (0..4).map(|n| format!("https://e/{n}.jpg")).collect();
    let listed = json!({ "type": "video", "video": frames });
    let file = json!({ "type": "video_url", "video_url": { "url": "https://e/a.mp4" }, "fps": 1 });
    let mut tokens = Vec::new();
    for part in [listed, file] {
        let body = seen("qwen3-vl-plus", &part);
        let (_, said) = answer(&simulator, post(COMPAT, &body, &[])).await;
        let details = &said["usage"]["prompt_tokens_details"];
        tokens.push(details["video_tokens"].as_u64().unwrap());
    }
    assert_eq!((tokens[0] - 2) * 5, (tokens[1] - 2) * 2, "{tokens:?}");
    let sound = json!({ "type": "input_audio", "input_audio": { "data": "https://e/a.mp3" } });
    let mut body = seen("qwen3.5-omni-plus", &sound);
    body["stream"] = true.into();
    body["stream_options"] = json!({ "include_usage": true });
    let (_, _, stream) = text(&simulator, post(COMPAT, &body, &[])).await;
    let usage = support::frames(&stream).pop().unwrap()["usage"].clone();
    assert_eq!(
        usage["prompt_tokens_details"]["audio_tokens"], 125,
        "{usage}"
    );
}

#[tokio::test]
async fn what_a_model_cannot_take_is_refused_in_the_words_of_the_service() {
    let simulator = simulator().await;
    let long = format!("data:image/png;base64,{}", "A".repeat(10_485_760));
    let sound = json!({ "type": "input_audio", "input_audio": { "data": "https://e/a.mp3" } });
    let small = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAAB";
    let file = json!({ "type": "file", "file": { "file_id": "x" } });
    let few = json!({ "type": "video", "video": ["https://e/1.jpg"] });
    for (model, part, words) in [
        (
            "qwen3-max",
            picture(PICTURE),
            "[Unexpected item type in content.]",
        ),
        (
            "qwen3-vl-plus",
            picture(&long),
            "per data-uri item : 10485760'",
        ),
        (
            "qwen3-vl-plus",
            picture("a.png"),
            "does not appear to be valid",
        ),
        (
            "qwen3-vl-plus",
            picture("oss://a.png"),
            "does not appear to be valid",
        ),
        (
            "qwen3-vl-plus",
            picture(small),
            "do not meet the model restrictions",
        ),
        (
            "qwen3-vl-plus",
            sound,
            "Invalid value: input_audio. Supported values",
        ),
        (
            "qwen3-vl-plus",
            file,
            "Invalid value: file. Supported values",
        ),
        ("qwen3-vl-plus", few, "the range of sequence images"),
    ] {
        let (status, said) = answer(&simulator, post(COMPAT, &seen(model, &part), &[])).await;
        let message = said["error"]["message"].as_str().unwrap();
        assert_eq!(status, 400, "{message}");
        assert!(message.contains(words), "{message}");
        assert!(message.starts_with("<400> InternalError.Algo.InvalidParameter: "));
        assert_eq!(said["error"]["code"], "invalid_parameter_error", "{said}");
    }
    let body = natively("qwen3-max", &json!({ "image": PICTURE }));
    let (_, said) = answer(&simulator, post(NATIVE, &body, &[])).await;
    assert_eq!(said["message"], "input content must be a string.");
    let body = natively("qwen3-vl-plus", &json!({ "image": PICTURE }));
    let (_, said) = answer(&simulator, post(NATIVE, &body, &[])).await;
    assert_eq!(said["message"], "url error, please check url！");
    let body = natively("qwen3-vl-plus", &json!({ "image": "oss://a.png" }));
    let resolve = "x-dashscope-ossresourceresolve: enable";
    let (status, _) = answer(&simulator, post(MULTIMODAL, &body, &[resolve])).await;
    assert_eq!(status, 200);
}
