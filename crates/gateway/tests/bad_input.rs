//! What strangers send: a clear refusal in the caller's dialect, and nothing breaks.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at what it did not expect"
)]

mod support;

use std::io::Write as _;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use support::{KEY, NATIVE, OPENAI, Pair, get, openai_body, post, read_json, with};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

#[tokio::test]
async fn missing_wrong_and_doubled_keys_are_refused_alike() {
    let pair = Pair::new().await;
    let mut missing = post(OPENAI, openai_body(false));
    missing.headers_mut().remove("authorization");
    let wrong = with(
        post(OPENAI, openai_body(false)),
        "authorization",
        "Bearer sk-wrong",
    );
    let basic = with(
        post(OPENAI, openai_body(false)),
        "authorization",
        "Basic c2s6MQ==",
    );
    let mut doubled = post(OPENAI, openai_body(false));
    doubled
        .headers_mut()
        .append("authorization", "Bearer sk-other".parse().unwrap());
    let mut messages = Vec::new();
    for request in [missing, wrong, basic, doubled] {
        let (status, headers, body) = read_json(pair.send(request).await).await;
        assert_eq!(
            (status.as_u16(), &body["error"]["code"]),
            (401, &"invalid_api_key".into())
        );
        assert_eq!(
            body["request_id"],
            headers["x-request-id"].to_str().unwrap()
        );
        messages.push(body["error"]["message"].to_string());
    }
    messages.dedup();
    assert_eq!(messages.len(), 1);
    let native = with(post(NATIVE, "{}"), "authorization", "Bearer sk-wrong");
    let (status, _, body) = read_json(pair.send(native).await).await;
    assert_eq!(
        (status.as_u16(), &body["code"]),
        (401, &"InvalidApiKey".into())
    );
    assert!(pair.simulator.journal().is_empty());
}

#[tokio::test]
async fn x_api_key_is_a_key_too() {
    let pair = Pair::new().await;
    let mut request = post(OPENAI, openai_body(false));
    request.headers_mut().remove("authorization");
    request
        .headers_mut()
        .insert("x-api-key", KEY.parse().unwrap());
    assert_eq!(pair.send(request).await.status(), 200);
}

#[tokio::test]
async fn bodies_that_are_no_chat_request_are_refused_with_a_reason() {
    let pair = Pair::new().await;
    for body in [
        "",
        "not json",
        "[]",
        "{}",
        r#"{"model":7}"#,
        r#"{"model":"m","stream":"yes"}"#,
        r#"{"model":"a","model":"b"}"#,
        "\u{0}\u{1}",
        r#"{"model":"qwen-plus""#,
    ] {
        for path in [OPENAI, NATIVE] {
            if path == NATIVE && body.contains("stream") {
                continue;
            }
            let (status, headers, json) = read_json(pair.send(post(path, body)).await).await;
            assert_eq!(status, 400, "{path} {body:?}: {json}");
            assert_eq!(headers["x-bailian-error-source"], "gateway");
            let message = if path == NATIVE {
                &json["message"]
            } else {
                &json["error"]["message"]
            };
            assert!(message.as_str().unwrap().len() > 10, "{json}");
        }
    }
    assert!(pair.simulator.journal().is_empty());
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_after_the_sender_has_finished() {
    let pair = Pair::new().await;
    let (status, _, body) = read_json(pair.send(post(OPENAI, vec![b' '; 3_000_000])).await).await;
    assert_eq!(status, 413);
    assert!(
        body["error"]["message"]
            .as_str()
            .unwrap()
            .contains("1000000 bytes"),
        "{body}"
    );
    let wrong_key = with(
        post(OPENAI, vec![b' '; 3_000_000]),
        "authorization",
        "Bearer sk-wrong",
    );
    assert_eq!(pair.send(wrong_key).await.status(), 401);
}

#[tokio::test]
async fn a_request_that_expects_to_be_told_to_go_on_is_refused_before_it_sends() {
    let pair = Pair::new().await;
    let mut stream = TcpStream::connect(pair.gateway.address).await.unwrap();
    let head = format!(
        "POST {OPENAI} HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {KEY}\r\n\
         content-length: 100000000\r\nexpect: 100-continue\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 413");
}

#[tokio::test]
async fn unknown_routes_and_methods_answer_in_the_dialect_of_their_path() {
    let pair = Pair::new().await;
    let (status, _, body) = read_json(pair.send(get("/v1/nowhere")).await).await;
    assert_eq!(
        (status.as_u16(), body["error"]["message"].is_string()),
        (404, true)
    );
    let (status, _, body) = read_json(pair.send(get("/api/v1/nowhere")).await).await;
    assert_eq!((status.as_u16(), body["code"].is_string()), (404, true));
    let (status, _, body) = read_json(pair.send(get("/anthropic/v1/messages")).await).await;
    assert_eq!((status.as_u16(), &body["type"]), (405, &"error".into()));
    let (status, headers, body) = read_json(pair.send(get(OPENAI)).await).await;
    assert_eq!(
        (status.as_u16(), &headers["allow"]),
        (405, &"POST".parse().unwrap())
    );
    assert!(body["error"]["message"].as_str().unwrap().contains("POST"));
    let (status, _, body) = read_json(pair.send(get(NATIVE)).await).await;
    assert_eq!((status.as_u16(), body["code"].is_string()), (405, true));
}

#[tokio::test]
async fn header_junk_is_refused_and_the_gateway_goes_on() {
    let pair = Pair::new().await;
    let mut large = post(OPENAI, openai_body(false));
    large
        .headers_mut()
        .insert("x-junk", "j".repeat(40_000).parse().unwrap());
    let (status, _, body) = read_json(pair.send(large).await).await;
    assert_eq!(status, 431, "{body}");
    for head in [
        "GARBAGE\r\n\r\n".to_owned(),
        "POST /v1/chat/completions HTTP/1.1\r\nbad header line\r\n\r\n".to_owned(),
        format!("POST {OPENAI} HTTP/1.1\r\nhost: g\r\nauthorization: Bearer \x01\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(600_000)),
    ] {
        let mut stream = TcpStream::connect(pair.gateway.address).await.unwrap();
        // The gateway may close before it has read everything.
        drop(stream.write_all(head.as_bytes()).await);
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer).await);
        let text = String::from_utf8_lossy(&answer);
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 4"), "{text}");
    }
    assert_eq!(
        pair.send(post(OPENAI, openai_body(false))).await.status(),
        200
    );
}

#[tokio::test]
async fn callers_cannot_choose_host_workspace_or_upstream_key() {
    let pair = Pair::new().await;
    let body = r#"{"model":"qwen-plus","messages":[{"role":"user","content":"hi"}],
        "api_base":"http://127.0.0.1:1/","base_url":"http://127.0.0.1:1/","api_key":"sk-x"}"#;
    let mut request = post(OPENAI, body);
    for name in ["x-custom-host", "x-base-url", "x-forwarded-host"] {
        request.headers_mut().insert(
            http::HeaderName::from_static(name),
            "127.0.0.1:1".parse().unwrap(),
        );
    }
    request
        .headers_mut()
        .insert("x-dashscope-workspace", "llm-other".parse().unwrap());
    assert_eq!(pair.send(request).await.status(), 200);
    assert_eq!(pair.simulator.journal().len(), 1);
}

/// Sends raw bytes on a connection of their own; what comes back until the gateway closes.
async fn raw(pair: &Pair, bytes: &str) -> String {
    let mut stream = TcpStream::connect(pair.gateway.address).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    drop(
        tokio::time::timeout(Duration::from_secs(5), read)
            .await
            .unwrap(),
    );
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn two_different_lengths_are_refused() {
    let pair = Pair::new().await;
    let body = openai_body(false);
    let (length, less) = (body.len(), body.len() - 1);
    for lengths in [
        format!("content-length: {length}\r\ncontent-length: {less}\r\n"),
        format!("content-length: {length}, {less}\r\n"),
        format!("content-length: +{length}\r\n"),
        "transfer-encoding: chunked, gzip\r\n".to_owned(),
    ] {
        let head = format!("POST {OPENAI} HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {KEY}\r\n");
        let answer = raw(&pair, &format!("{head}{lengths}\r\n{body}")).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{lengths}: {answer}");
    }
    assert!(pair.simulator.journal().is_empty());
}

/// RFC 9112, 6.3: the chunks count, and nothing that follows is taken for a request.
#[tokio::test]
async fn behind_a_request_with_both_kinds_of_length_nothing_can_hide() {
    let pair = Pair::new().await;
    let body = openai_body(false);
    let chunked = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let hidden =
        format!("GET /v1/models HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {KEY}\r\n\r\n");
    for lengths in [
        "content-length: 4\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 4\r\n",
        "Transfer-Encoding: chunked\r\ncontent-length: 99999\r\n",
    ] {
        let head = format!("POST {OPENAI} HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {KEY}\r\n");
        let answer = raw(&pair, &format!("{head}{lengths}\r\n{chunked}{hidden}")).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{lengths}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
    }
}

#[tokio::test]
async fn a_redirect_of_upstream_is_refused_and_not_followed() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = elsewhere.local_addr().unwrap();
    let gateway = support::start(support::config(
        &format!("http://{}", upstream.local_addr().unwrap()),
        support::UPSTREAM_KEY,
    ));
    for (status, stream) in [("301", false), ("302", true), ("307", false), ("308", true)] {
        let answer = async {
            let (mut stream, _) = upstream.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"}") {
                stream.read_buf(&mut request).await.unwrap();
            }
            let head = format!(
                "HTTP/1.1 {status} Moved\r\nlocation: http://{target}/v1/chat/completions\r\n\
                 content-length: 0\r\nconnection: close\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).await.unwrap();
        };
        let request = support::send(gateway.address, post(OPENAI, openai_body(stream)));
        let (response, ()) = tokio::join!(request, answer);
        let (code, headers, body) = read_json(response).await;
        assert_eq!(code, 502, "{body}");
        assert!(!headers.contains_key("location"));
        assert!(
            body["error"]["message"]
                .as_str()
                .unwrap()
                .contains("redirect")
        );
    }
    let nobody = tokio::time::timeout(Duration::from_millis(50), elsewhere.accept()).await;
    assert!(nobody.is_err());
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn a_packed_body_is_served_and_a_gzip_bomb_is_not() {
    let pair = Pair::new().await;
    let packed = post(OPENAI, gzip(openai_body(false).as_bytes()));
    let packed = with(packed, "content-encoding", "gzip");
    assert_eq!(pair.send(packed).await.status(), 200);
    let bomb = gzip(&vec![b' '; 50_000_000]);
    assert!(bomb.len() < 1_000_000);
    for path in [
        OPENAI,
        NATIVE,
        "/v1/embeddings",
        "/anthropic/v1/messages/count_tokens",
    ] {
        let request = with(post(path, bomb.clone()), "content-encoding", "gzip");
        let (status, _, body) = read_json(pair.send(request).await).await;
        assert_eq!(status, 413, "{path}: {body}");
    }
    let other = with(post(OPENAI, "x"), "content-encoding", "br");
    let (status, headers, body) = read_json(pair.send(other).await).await;
    assert_eq!(status, 415, "{body}");
    assert_eq!(headers["accept-encoding"], "gzip");
    assert_eq!(pair.simulator.journal().len(), 1);
}

#[tokio::test]
async fn json_of_any_depth_is_answered() {
    let pair = Pair::new().await;
    let translating = translating(&pair.simulator.base_url());
    let deep =
        |open: &str, close: &str| format!("{}1{}", open.repeat(10_000), close.repeat(10_000));
    for deep in [deep("[", "]"), deep("{\"a\":", "}")] {
        for body in [
            format!(r#"{{"model":"qwen-plus","max_tokens":9,"messages":{deep}}}"#),
            format!(
                r#"{{"model":"qwen-plus","max_tokens":9,"messages":[{{"role":"user","content":{deep}}}]}}"#
            ),
            format!(
                r#"{{"model":"qwen-plus","max_tokens":9,"messages":[{{"role":"user","content":"x"}}],"tools":{deep}}}"#
            ),
            format!(
                r#"{{"model":"qwen-plus","max_tokens":9,"messages":[{{"role":"user","content":"x"}}],"extra_body":{deep}}}"#
            ),
            format!(
                r#"{{"model":"qwen-plus","max_tokens":9,"messages":[{{"role":"user","content":"x"}}],"future":{deep}}}"#
            ),
            format!(r#"{{"model":"qwen-plus","input":{{"messages":{deep}}},"parameters":{deep}}}"#),
            format!(r#"{{"model":"text-embedding-v4","input":{deep}}}"#),
            deep.clone(),
        ] {
            for path in [
                OPENAI,
                NATIVE,
                "/anthropic/v1/messages",
                "/anthropic/v1/messages/count_tokens",
                "/v1/embeddings",
                "/v1/responses",
                "/v1/completions",
                "/v1/rerank",
            ] {
                for gateway in [pair.gateway.address, translating.address] {
                    let request = post(path, body.clone());
                    let status = support::send(gateway, request).await.status();
                    assert!(
                        status.is_success() || status.is_client_error(),
                        "{path} {status}"
                    );
                }
            }
        }
    }
    for gateway in [pair.gateway.address, translating.address] {
        let request = post(OPENAI, openai_body(false));
        assert_eq!(support::send(gateway, request).await.status(), 200);
    }
}

/// A gateway in front of an account that speaks OpenAI's protocol only, so that everything else is
/// translated.
fn translating(base_url: &str) -> support::Running {
    let text = format!(
        r#"
        listen = "127.0.0.1:0"
        threads = 1
        [[accounts]]
        name = "own"
        kind = "openai"
        base_url = "{base_url}/compatible-mode/v1"
        api_keys = ["{}"]
        [[routes]]
        model = "*"
        targets = [{{ account = "own" }}]
        [[keys]]
        name = "test"
        key = "{KEY}"
        "#,
        support::UPSTREAM_KEY
    );
    let config = bailian_gateway::Config::parse(&text, "test", &|_: &str| None).unwrap();
    support::start(config)
}
