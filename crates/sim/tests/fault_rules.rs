//! Faults by rule and their less common kinds.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at what it did not expect"
)]

mod support;

use bailian_sim::{RunningSimulator, SimConfig, Simulator, Verdict};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use support::{COMPAT, NATIVE, answer, compat, journal_until, native, post, send, simulator, text};

async fn with_faults(faults: Value) -> RunningSimulator {
    let config = SimConfig::default()
        .patched(&json!({ "faults": faults }))
        .unwrap();
    Simulator::new(config).spawn().await.unwrap()
}

fn plain() -> Value {
    compat("qwen-plus", json!({}))
}

#[tokio::test]
async fn an_error_can_hide_in_http_200_or_be_a_page_of_html() {
    let simulator = simulator().await;
    let hidden = post(
        NATIVE,
        &native("qwen-plus", json!({})),
        &["x-sim-fault: code-in-200=InternalError.Algo"],
    );
    let (status, body) = answer(&simulator, hidden).await;
    assert_eq!((status, &body["code"]), (200, &"InternalError.Algo".into()));
    let entry = journal_until(&simulator, |entry| entry.verdict == Verdict::Fault).await;
    assert_eq!(
        (entry.status, entry.code.as_deref()),
        (200, Some("InternalError.Algo"))
    );
    let page = post(COMPAT, &plain(), &["x-sim-fault: html=502"]);
    let (status, headers, page) = text(&simulator, page).await;
    assert_eq!(
        (status.as_u16(), &headers["content-type"]),
        (502, &"text/html".parse().unwrap())
    );
    assert!(page.starts_with("<html>"), "{page}");
}

#[tokio::test]
async fn moderation_can_stop_a_stream_that_has_begun_and_refuses_a_plain_answer() {
    let simulator = simulator().await;
    let fault = "x-sim-fault: error-frame=3, code=DataInspectionFailed";
    let body = native("qwen-plus", json!({ "incremental_output": true }));
    let (status, _, late) = text(
        &simulator,
        post(NATIVE, &body, &[fault, "x-dashscope-sse: enable"]),
    )
    .await;
    assert_eq!(status, 200);
    assert!(
        late.contains(
            "id:3\nevent:error\n:HTTP_STATUS/400\ndata:{\"code\":\"DataInspectionFailed\""
        ),
        "{late}"
    );
    let body = compat("qwen-plus", json!({ "stream": true }));
    let (_, _, late) = text(&simulator, post(COMPAT, &body, &[fault])).await;
    let last = late.trim_end().rsplit("\n\n").next().unwrap();
    let error: Value = serde_json::from_str(last.strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(error["error"]["code"], "data_inspection_failed");
    let (status, body) = answer(&simulator, post(COMPAT, &plain(), &[fault])).await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (400, &"data_inspection_failed".into())
    );
}

#[tokio::test]
async fn the_three_throttles_have_the_bodies_of_each_surface() {
    let simulator = simulator().await;
    for (code, native_text, compat_code, compat_text) in [
        (
            "Throttling.RateQuota",
            "Requests rate limit exceeded, please try again later.",
            "limit_requests",
            "You exceeded your current requests list. For details, see: https://help.aliyun.com/zh/model-studio/error-code#rate-limit",
        ),
        (
            "Throttling.AllocationQuota",
            "Allocated quota exceeded, please increase your quota limit.",
            "insufficient_quota",
            "You exceeded your current quota, please check your plan and billing details. For details, see: https://help.aliyun.com/zh/model-studio/error-code#token-limit",
        ),
        (
            "Throttling.BurstRate",
            "Request rate increased too quickly. To ensure system stability, please adjust your client logic to scale requests more smoothly over time.",
            "limit_burst_rate",
            "Request rate increased too quickly. To ensure system stability, please adjust your client logic to scale requests more smoothly over time.",
        ),
    ] {
        let fault = format!("x-sim-fault: code={code}");
        let (status, body) = answer(
            &simulator,
            post(NATIVE, &native("qwen-plus", json!({})), &[&fault]),
        )
        .await;
        assert_eq!(
            (status, &body["code"], &body["message"]),
            (429, &code.into(), &native_text.into())
        );
        let (status, body) = answer(&simulator, post(COMPAT, &plain(), &[&fault])).await;
        assert_eq!(
            (status, &body["error"]["code"], &body["error"]["type"]),
            (429, &compat_code.into(), &compat_code.into())
        );
        assert_eq!(body["error"]["message"], compat_text);
    }
}

#[tokio::test]
async fn limits_are_kept_by_account_and_model_and_count_the_output() {
    let settings = json!({
        "keys": [{ "key": "sk-a1", "account": "a" }, { "key": "sk-a2", "account": "a" }, { "key": "sk-b", "account": "b" }],
        "limits": [
            { "model": "qwen-plus", "requests_per_minute": 2 },
            { "account": "a", "model": "qwen-max", "tokens_per_minute": 100 },
        ],
    });
    let config = SimConfig::default().patched(&settings).unwrap();
    let simulator = Simulator::new(config).spawn().await.unwrap();
    let mut codes = Vec::new();
    for (key, model) in [
        ("sk-a1", "qwen-plus"),
        ("sk-a2", "qwen-plus"),
        ("sk-a1", "qwen-plus"),
        ("sk-b", "qwen-plus"),
        ("sk-a1", "qwen-max"),
        ("sk-a1", "qwen-max"),
        ("sk-b", "qwen-max"),
    ] {
        let key = format!("authorization: Bearer {key}");
        let headers = [key.as_str(), "x-sim-tokens: 200"];
        let (_, body) = answer(
            &simulator,
            post(COMPAT, &compat(model, json!({})), &headers),
        )
        .await;
        codes.push(body["error"]["code"].as_str().unwrap_or("ok").to_owned());
    }
    assert_eq!(
        codes,
        [
            "ok",
            "ok",
            "limit_requests",
            "ok",
            "ok",
            "insufficient_quota",
            "ok"
        ]
    );
    let refused = simulator.journal()[2].clone();
    assert_eq!((refused.verdict, refused.status), (Verdict::Rejected, 429));
    simulator.reset();
    let key = ["authorization: Bearer sk-a1"];
    assert_eq!(
        answer(&simulator, post(COMPAT, &plain(), &key)).await.0,
        200
    );
}

#[tokio::test]
async fn rules_can_be_about_a_path_a_whole_key_or_streams() {
    let simulator = with_faults(json!([
        { "faults": ["status=500"], "path_prefix": "/api/v1/" },
        { "faults": ["status=503"], "key_prefix": "sk-a-rather-long-key-1" },
        { "faults": ["status=504"], "stream": true },
    ]))
    .await;
    let native = native("qwen-plus", json!({}));
    assert_eq!(answer(&simulator, post(NATIVE, &native, &[])).await.0, 500);
    for (key, status) in [
        ("sk-a-rather-long-key-1x", 503),
        ("sk-a-rather-long-key-2", 200),
    ] {
        let key = format!("authorization: Bearer {key}");
        assert_eq!(
            answer(&simulator, post(COMPAT, &plain(), &[&key])).await.0,
            status
        );
    }
    let stream = compat("qwen-plus", json!({ "stream": true }));
    assert_eq!(answer(&simulator, post(COMPAT, &stream, &[])).await.0, 504);
}

#[tokio::test]
async fn chance_strikes_the_same_requests_in_every_run() {
    let simulator = with_faults(json!([{ "faults": ["status=500"], "probability": 0.3 }])).await;
    let mut runs = Vec::new();
    for _ in 0..2 {
        let mut statuses = Vec::new();
        for _ in 0..40 {
            statuses.push(answer(&simulator, post(COMPAT, &plain(), &[])).await.0);
        }
        simulator.reset();
        runs.push(statuses);
    }
    assert_eq!(runs[0], runs[1]);
    let struck = runs[0].iter().filter(|status| **status == 500).count();
    assert!((3..25).contains(&struck), "{struck} of 40");
}

#[tokio::test]
async fn a_body_in_pieces_of_single_bytes_breaks_inside_characters_and_is_whole() {
    let simulator = simulator().await;
    for stream in [true, false] {
        let body = compat("qwen-plus", json!({ "stream": stream }));
        let headers = ["x-sim-answer: 你好😀", "x-sim-fault: split=1"];
        let (_, _, split) = text(&simulator, post(COMPAT, &body, &headers)).await;
        assert!(split.contains("你好"));
        let entry = journal_until(&simulator, |entry| entry.verdict == Verdict::Ok).await;
        assert_eq!(entry.bytes_sent, split.len() as u64);
        simulator.reset();
    }
}

#[tokio::test]
async fn plain_answers_can_be_cut_halved_and_stalled() {
    let simulator = simulator().await;
    let (_, _, half) = text(
        &simulator,
        post(COMPAT, &plain(), &["x-sim-fault: malformed=1"]),
    )
    .await;
    assert!(serde_json::from_str::<Value>(&half).is_err() && half.starts_with('{'));
    let cut = post(COMPAT, &plain(), &["x-sim-fault: cut-after-bytes=10"]);
    let broken = send(&simulator, cut)
        .await
        .unwrap()
        .into_body()
        .collect()
        .await;
    assert!(broken.is_err());
    let stalled = post(COMPAT, &plain(), &["x-sim-fault: stall=1"]);
    let body = send(&simulator, stalled).await.unwrap().into_body();
    journal_until(&simulator, |entry| entry.verdict == Verdict::Open).await;
    drop(body);
    let entry = journal_until(&simulator, |entry| entry.verdict == Verdict::ClientLeft).await;
    assert_eq!(entry.bytes_sent, 0);
}

#[tokio::test]
async fn errors_of_compatible_streams_can_be_framed_and_those_of_plain_calls_are_not() {
    let config = SimConfig::default()
        .patched(&json!({ "sse_framed_errors": true, "retry_after": 7 }))
        .unwrap();
    let simulator = Simulator::new(config).spawn().await.unwrap();
    let bad = compat("qwen-plus", json!({ "stream": true, "temperature": 2 }));
    let (status, headers, framed) = text(&simulator, post(COMPAT, &bad, &[])).await;
    assert_eq!(status, 400);
    assert_eq!(headers["content-type"], "text/event-stream;charset=UTF-8");
    assert!(framed.starts_with("data: {\"error\":{") && framed.ends_with("}\n\n"));
    let bad = compat("qwen-plus", json!({ "temperature": 2 }));
    let (status, body) = answer(&simulator, post(COMPAT, &bad, &[])).await;
    assert_eq!((status, body["error"].is_object()), (400, true));
    let limited = post(COMPAT, &plain(), &["authorization: Bearer sk-limited-1"]);
    assert_eq!(text(&simulator, limited).await.1["retry-after"], "7");
}

#[tokio::test]
async fn absurd_orders_by_header_are_refused_or_bounded_and_never_fatal() {
    let simulator = simulator().await;
    for header in [
        "x-sim-tps: fast",
        "x-sim-ttft-ms: -1",
        "x-sim-tokens: many",
        "x-sim-fault: explode",
    ] {
        let (status, body) = answer(&simulator, post(COMPAT, &plain(), &[header])).await;
        assert_eq!(status, 400, "{header}");
        let message = body["error"]["message"].as_str().unwrap();
        assert!(
            message.contains("x-sim") || message.contains("fault"),
            "{message}"
        );
    }
    for header in [
        "x-sim-tps: 1e-300",
        "x-sim-tps: NaN",
        "x-sim-tps: inf",
        "x-sim-tps: -5",
    ] {
        let stream = compat("qwen-plus", json!({ "stream": true }));
        let response = send(&simulator, post(COMPAT, &stream, &[header]))
            .await
            .unwrap();
        let first = response.into_body().frame().await.unwrap();
        assert!(first.is_ok(), "{header}");
    }
    let late = ["x-sim-ttft-ms: 18446744073709551615", "x-sim-tps: 1e-9"];
    let stream = compat("qwen-plus", json!({ "stream": true }));
    let body = send(&simulator, post(COMPAT, &stream, &late))
        .await
        .unwrap()
        .into_body();
    drop(body);
    // A million tokens in cumulative frames are 3 TB: frames must not be made before they are due.
    let cumulative = native("qwen-plus", json!({ "incremental_output": false }));
    let headers = ["x-sim-tokens: 1000000", "x-dashscope-sse: enable"];
    let mut body = send(&simulator, post(NATIVE, &cumulative, &headers))
        .await
        .unwrap()
        .into_body();
    for _ in 0..50 {
        assert!(body.frame().await.unwrap().is_ok());
    }
}
