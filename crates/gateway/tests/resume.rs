//! Streams that upstream breaks, at every byte: each goes on, or ends with one error.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may stop at what it did not expect"
)]

mod support;

use bailian_gateway::Config;
use bailian_sim::{SimConfig, Simulator};
use bailian_wire::chat::ChatResponse;
use bailian_wire::stream::{Accumulator, StreamDecoder, StreamError, StreamSurface};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::json;
use support::{
    KEY, NATIVE, OPENAI, Pair, UPSTREAM_KEY, post, read, send, start, two_accounts, with,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const ANTHROPIC: &str = "/v1/messages";

/// What the model says, with characters of one to four bytes; percent-encoded for the header.
const SAID: &str = "%E4%BD%A0%E5%A5%BD%F0%9F%98%80 caf%C3%A9 %22q%22";

/// A simulator that breaks the first of its streams after so many bytes.
fn breaking_at(bytes: usize) -> SimConfig {
    let mut config = SimConfig::default();
    config.faults = serde_json::from_value(json!([
        { "faults": [format!("cut-after-bytes={bytes}")], "stream": true, "first": 1 }
    ]))
    .unwrap();
    config
}

fn question(surface: StreamSurface, incremental: bool) -> Request<Full<Bytes>> {
    let messages = json!([{ "role": "user", "content": "你好" }]);
    let request = match surface {
        StreamSurface::Native => {
            let body = json!({ "model": "qwen-plus", "input": { "messages": messages },
                "parameters": { "result_format": "message", "incremental_output": incremental } });
            with(post(NATIVE, body.to_string()), "x-dashscope-sse", "enable")
        }
        StreamSurface::Anthropic => {
            let body = json!({ "model": "qwen-plus", "max_tokens": 500, "stream": true, "messages": messages });
            post(&format!("/anthropic{ANTHROPIC}"), body.to_string())
        }
        _ => {
            let body = json!({ "model": "qwen-plus", "stream": true, "messages": messages,
                "stream_options": { "include_usage": true } });
            post(OPENAI, body.to_string())
        }
    };
    with(request, "x-sim-answer", SAID)
}

fn decode(
    surface: StreamSurface,
    cumulative: bool,
    text: &str,
) -> Result<ChatResponse, StreamError> {
    let mut decoder = StreamDecoder::new(surface).cumulative(cumulative);
    decoder.feed(text.as_bytes());
    decoder.finish();
    let mut answer = Accumulator::new();
    while let Some(event) = decoder.next_event() {
        answer.push(event?);
    }
    Ok(answer.finish())
}

#[tokio::test]
async fn an_answer_goes_on_byte_for_byte_wherever_its_stream_is_cut() {
    // Each cut waits for its bytes to be written; several pairs wait at the same time.
    const PAIRS: usize = 24;
    let mut pairs = tokio::task::JoinSet::new();
    for first in 1..=PAIRS {
        pairs.spawn(async move {
            let pair = Pair::new().await;
            for (surface, incremental) in [
                (StreamSurface::OpenAiChat, true),
                (StreamSurface::Native, true),
                (StreamSurface::Native, false),
                (StreamSurface::Anthropic, true),
            ] {
                cut_everywhere(&pair, surface, incremental, first, PAIRS).await;
            }
        });
    }
    pairs.join_all().await;
}

/// Cuts the answer after `first` bytes, after `step` more, and so on to its end.
async fn cut_everywhere(
    pair: &Pair,
    surface: StreamSurface,
    incremental: bool,
    first: usize,
    step: usize,
) {
    pair.simulator.reset();
    pair.simulator.set_config(SimConfig::default());
    let (_, _, uncut) = read(pair.send(question(surface, incremental)).await).await;
    let expected = decode(surface, !incremental, &uncut).unwrap();
    let sent = pair
        .journal_until(|entry| entry.bytes_sent > 0)
        .await
        .bytes_sent;
    for cut in (first..usize::try_from(sent).unwrap()).step_by(step) {
        pair.simulator.reset();
        pair.simulator.set_config(breaking_at(cut));
        let (status, _, text) = read(pair.send(question(surface, incremental)).await).await;
        let place = format!("{surface:?} {incremental} cut at {cut} of {sent}");
        assert_eq!(status, 200, "{place}: {text}");
        assert!(text.ends_with("\n\n"), "{place}: {text}");
        let answer = decode(surface, !incremental, &text)
            .unwrap_or_else(|error| panic!("{place}: {error}: {text}"));
        assert_eq!(answer.text(), expected.text(), "{place}: {text}");
        assert_eq!(answer.finish_reason(), expected.finish_reason(), "{place}");
        for once in ["message_start\n", "message_stop\n", "[DONE]"] {
            assert!(text.matches(once).count() <= 1, "{place}: {text}");
        }
        let resumed = text.contains(": x-bailian-resumed\n");
        let asked_twice = pair.simulator.journal().len() == 2;
        assert_eq!(resumed, asked_twice, "{place}: {text}");
        let had_begun = text.starts_with("data:");
        if resumed && had_begun && surface == StreamSurface::OpenAiChat {
            let usage = answer.usage.as_ref().unwrap();
            let once = expected.usage.as_ref().unwrap();
            assert!(
                usage.input_tokens > once.input_tokens,
                "{place}: both inputs were billed"
            );
            let ids: std::collections::BTreeSet<&str> = text
                .match_indices("\"id\":\"")
                .map(|(at, _)| &text[at..at + 30])
                .collect();
            assert_eq!(ids.len(), 1, "{place}: {text}");
        }
    }
}

#[tokio::test]
async fn thinking_and_calls_end_with_one_error_instead() {
    let pair = Pair::new().await;
    let tools = json!([{ "type": "function", "function": { "name": "weather", "description": "天气",
        "parameters": { "type": "object", "properties": { "city": { "type": "string" } } } } }]);
    for body in [
        json!({ "model": "qwen-plus", "stream": true, "enable_thinking": true,
            "messages": [{ "role": "user", "content": "你好" }] }),
        json!({ "model": "qwen-plus", "stream": true, "tools": tools,
            "messages": [{ "role": "user", "content": "杭州天气？" }] }),
    ] {
        pair.simulator.reset();
        pair.simulator.set_config(breaking_at(900));
        let (_, _, text) = read(pair.send(post(OPENAI, body.to_string())).await).await;
        let last = text.trim_end().rsplit("\n\n").next().unwrap();
        assert!(last.starts_with("data: {\"error\":"), "{text}");
        assert_eq!(text.matches("\"error\":").count(), 1);
        assert_eq!(pair.simulator.journal().len(), 1);
    }
}

/// What a scripted server does after its last byte.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Close,
    Hold,
}

/// A server that answers each request with these bytes and closes the connection.
async fn scripted(answer: Vec<u8>, piece: usize) -> String {
    scripted_then(answer, piece, Then::Close).await
}

async fn scripted_then(answer: Vec<u8>, piece: usize, then: Then) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let answer = answer.clone();
            tokio::spawn(async move {
                stream.set_nodelay(true).unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"}") {
                    if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                for piece in answer.chunks(piece) {
                    if stream.write_all(piece).await.is_err() {
                        return;
                    }
                    tokio::task::yield_now().await;
                }
                if then == Then::Hold {
                    std::future::pending::<()>().await;
                }
            });
        }
    });
    base
}

fn streamed(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n{body}")
        .into_bytes()
}

#[tokio::test]
async fn upstream_lost_before_the_first_byte_is_never_seen() {
    for broken in [
        b"".to_vec(),
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n".to_vec(),
        b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n".to_vec(),
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n5\r\ndata:\r\n".to_vec(),
    ] {
        let first = scripted(broken.clone(), 4096).await;
        let (second, gateway) = two_accounts(&first).await;
        for stream in [true, false] {
            let body = json!({ "model": "qwen-plus", "stream": stream, "messages": [{ "role": "user", "content": "hi" }] });
            let request = with(post(OPENAI, body.to_string()), "x-sim-answer", "fine");
            let (status, _, text) = read(send(gateway.address, request).await).await;
            let place = String::from_utf8_lossy(&broken).into_owned();
            assert_eq!(status, 200, "{place}: {text}");
            assert!(text.contains("fine") && !text.contains("\"error\""), "{place}: {text}");
        }
        assert!(!second.journal().is_empty());
    }
}

#[tokio::test]
async fn frames_are_written_whole_however_they_arrive() {
    use http_body_util::BodyExt as _;
    let stream = "data: {\"choices\":[{\"delta\":{\"content\":\"你好😀\"},\"index\":0}]}\n\n\
        data: {\"choices\":[{\"delta\":{},\"index\":0,\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    let upstream = scripted(streamed(stream), 1).await;
    let gateway = start(support::config(&upstream, UPSTREAM_KEY));
    let body = json!({ "model": "qwen-plus", "stream": true, "messages": [] });
    let mut answer = send(gateway.address, post(OPENAI, body.to_string()))
        .await
        .into_body();
    let mut all = String::new();
    while let Some(frame) = answer.frame().await {
        let data = frame.unwrap().into_data().unwrap();
        assert!(data.ends_with(b"\n\n"), "{data:?}");
        all.push_str(std::str::from_utf8(&data).unwrap());
    }
    assert_eq!(all, stream);
}

#[tokio::test]
async fn a_native_error_inside_a_compatible_stream_is_told_in_the_callers_words() {
    let first = "data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"想\"},\"index\":0}]}\n\n";
    let native = "id:2\nevent:error\n:HTTP_STATUS/429\ndata:{\"code\":\"Throttling.AllocationQuota\",\"message\":\"Allocated quota exceeded, please increase your quota limit.\",\"request_id\":\"r-1\"}\n\n";
    let upstream = scripted(streamed(&format!("{first}{native}")), 4096).await;
    let gateway = start(support::config(&upstream, UPSTREAM_KEY));
    let body = json!({ "model": "qwen-plus", "stream": true, "messages": [] });
    let (_, _, text) = read(send(gateway.address, post(OPENAI, body.to_string())).await).await;
    let last = text.trim_end().rsplit("\n\n").next().unwrap();
    let error: serde_json::Value =
        serde_json::from_str(last.strip_prefix("data: ").unwrap()).unwrap();
    assert!(text.starts_with(first), "{text}");
    assert_eq!(error["request_id"], "r-1");
    assert!(error["error"]["code"].is_string(), "{text}");
    assert_eq!(text.matches("event:").count(), 0, "{text}");
}

#[tokio::test]
async fn pieces_of_calls_reach_the_client_in_one_form() {
    let stream = "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"call_1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":null}}]}}]}\n\n\
        data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"\",\"type\":\"function\",\"function\":{\"name\":null,\"arguments\":\"{}\"}}]}}]}\n\n\
        data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\ndata: [DONE]\n\n";
    let upstream = scripted(streamed(stream), 4096).await;
    let gateway = start(support::config(&upstream, UPSTREAM_KEY));
    let body = json!({ "model": "qwen-plus", "stream": true, "messages": [] });
    let (_, _, text) = read(send(gateway.address, post(OPENAI, body.to_string())).await).await;
    assert!(
        !text.contains("\"id\":\"\"")
            && !text.contains("\"name\":null")
            && !text.contains("\"arguments\":null"),
        "{text}"
    );
    assert_eq!(text.matches("call_1").count(), 1, "{text}");
}

#[tokio::test]
async fn a_long_silence_is_bridged_with_signs_of_life() {
    let simulator = Simulator::new(SimConfig::default()).spawn().await.unwrap();
    let text = format!(
        "listen = \"127.0.0.1:0\"\nthreads = 1\n[repairs]\nkeep_alive = \"20ms\"\n[[accounts]]\napi_keys = [\"{UPSTREAM_KEY}\"]\nbase_url = \"{}\"\nforward_headers = [\"x-sim-*\"]\n[[keys]]\nname = \"t\"\nkey = \"{KEY}\"\n",
        simulator.base_url()
    );
    let gateway = start(Config::parse(&text, "test", &|_: &str| None).unwrap());
    for (surface, sign) in [
        (StreamSurface::OpenAiChat, ": keep-alive\n"),
        (StreamSurface::Anthropic, "event: ping\n"),
    ] {
        let request = with(question(surface, true), "x-sim-ttft-ms", "200");
        let (_, _, text) = read(send(gateway.address, request).await).await;
        assert!(text.contains(sign), "{text}");
        assert!(
            decode(surface, false, &text)
                .unwrap()
                .text()
                .contains("café"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn an_error_without_its_blank_line_leads_on_even_if_nothing_follows() {
    let error = "data: {\"error\":{\"code\":\"internal_error\",\"message\":\"Internal server error!\",\"type\":\"internal_error\"}}\n";
    let first = scripted_then(streamed(error), 4096, Then::Hold).await;
    let (_second, gateway) = two_accounts(&first).await;
    let body = json!({ "model": "qwen-plus", "stream": true, "messages": [{ "role": "user", "content": "hi" }] });
    let request = with(post(OPENAI, body.to_string()), "x-sim-answer", "fine");
    let answer = async { read(send(gateway.address, request).await).await };
    let answered = tokio::time::timeout(std::time::Duration::from_secs(5), answer).await;
    let (_, _, text) = answered.expect("the stream goes on");
    assert!(
        text.contains("fine") && !text.contains("\"error\""),
        "{text}"
    );
    // Nothing had been said, so the answer begins as every answer does.
    assert!(text.contains("\"role\":\"assistant\""), "{text}");
}
