//! The default transport against a real socket.

use std::time::Duration;

use bailian::transport::{Sent, TransportErrorKind};
use bailian::{ChatRequest, Client, ClientBuilder, Error, ErrorKind, Message, RetryPolicy};
use futures_util::StreamExt as _;
use tokio::net::TcpListener;

use crate::fake::{ANSWER, FRAME, LAST_FRAME};
use crate::server::{Part, Reply, Server};

const EVENTS: [(&str, &str); 1] = [("content-type", "text/event-stream;charset=UTF-8")];

fn request() -> ChatRequest {
    ChatRequest::new("qwen-plus", [Message::user("hi")])
}

fn builder(base_url: &str) -> ClientBuilder {
    Client::builder()
        .environment(())
        .home_files(false)
        .api_key("sk-0123456789abcdef")
        .base_url(base_url)
        .retry(RetryPolicy::never())
}

fn client(base_url: &str) -> Client {
    builder(base_url).build().unwrap()
}

fn cause(error: &Error) -> (TransportErrorKind, Sent) {
    match error {
        Error::Connect(failed) | Error::Disconnected(failed) => {
            (failed.cause().kind(), failed.cause().sent())
        }
        other => panic!("not a transport error: {other}"),
    }
}

#[tokio::test]
async fn calls_one_after_the_other_use_one_connection_also_after_a_stream() {
    let whole = Reply::json(ANSWER);
    let stream = Reply::events(&EVENTS, &[FRAME, LAST_FRAME], true);
    let server = Server::start([whole.clone(), stream, whole]).await;
    let client = client(&server.base_url);
    client.chat().create(&request()).await.unwrap();
    let answer = client
        .chat()
        .stream(&request())
        .await
        .unwrap()
        .collect()
        .await
        .unwrap();
    assert_eq!(answer.text(), "hi");
    client.chat().create(&request()).await.unwrap();
    let connections: Vec<usize> = server
        .recorded()
        .iter()
        .map(|request| request.connection)
        .collect();
    assert_eq!(connections, [0, 0, 0]);
}

#[tokio::test]
async fn no_compression_is_asked_for_and_the_key_is_sent_as_bearer() {
    let server = Server::start([Reply::json(ANSWER)]).await;
    client(&server.base_url)
        .chat()
        .create(&request())
        .await
        .unwrap();
    let sent = &server.recorded()[0];
    assert_eq!(sent.header("accept-encoding"), Some("identity"));
    assert_eq!(
        sent.header("authorization"),
        Some("Bearer sk-0123456789abcdef")
    );
}

#[tokio::test]
async fn dropping_a_stream_closes_the_request_at_once() {
    let hold = Reply::events(&EVENTS, &[FRAME], false).then(Part::AwaitClientGone);
    let mut server = Server::start([hold]).await;
    let mut stream = client(&server.base_url)
        .chat()
        .stream(&request())
        .await
        .unwrap();
    stream.next().await.unwrap().unwrap();
    drop(stream);
    server.clients_gone(1).await;
}

#[tokio::test]
async fn dropping_a_call_that_waits_closes_the_request_at_once() {
    let mut server = Server::start([Reply::default().then(Part::AwaitClientGone)]).await;
    let client = client(&server.base_url);
    let call = tokio::spawn(async move { client.chat().create(&request()).await });
    while server.recorded().is_empty() {
        tokio::task::yield_now().await;
    }
    call.abort();
    server.clients_gone(1).await;
}

#[tokio::test]
async fn a_refused_connection_is_known_to_be_unsent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = client(&base_url)
        .chat()
        .create(&request())
        .await
        .unwrap_err();
    assert_eq!(cause(&error), (TransportErrorKind::Connect, Sent::No));
    assert_eq!(error.kind(), ErrorKind::Connect);
}

#[tokio::test]
async fn a_connection_lost_after_the_request_may_have_been_billed() {
    for part in [Part::Close, Part::Reset] {
        let server = Server::start([Reply::default().then(part.clone())]).await;
        let error = client(&server.base_url)
            .chat()
            .create(&request())
            .await
            .unwrap_err();
        let (kind, sent) = cause(&error);
        assert_eq!(sent, Sent::Maybe);
        let expected = match part {
            Part::Reset => TransportErrorKind::Reset,
            _ => TransportErrorKind::Closed,
        };
        assert_eq!(kind, expected);
        assert!(error.attempts()[0].possibly_billed);
    }
}

#[tokio::test]
async fn a_stream_cut_by_the_network_is_an_error() {
    let cut = Reply::events(&EVENTS, &[FRAME], false).then(Part::Close);
    let server = Server::start([cut]).await;
    let stream = client(&server.base_url)
        .chat()
        .stream(&request())
        .await
        .unwrap();
    let error = stream.collect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Disconnected);
    assert_eq!(error.request_id(), Some("r-s"));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Server::start([Reply::json(ANSWER)]).await;
    let location = elsewhere.base_url.clone();
    let server = Server::start([Reply::new(307, &[("location", &location)], "")]).await;
    let error = client(&server.base_url)
        .chat()
        .create(&request())
        .await
        .unwrap_err();
    assert_eq!(error.status().map(|status| status.as_u16()), Some(307));
    assert!(elsewhere.recorded().is_empty());
}

#[tokio::test]
async fn a_tls_failure_is_named_and_not_repeated() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // Not a TLS record.
            let _ =
                tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 400 Bad\r\n\r\n").await;
        }
    });
    let client = builder(&base_url)
        .retry(RetryPolicy::default())
        .build()
        .unwrap();
    let error = client.chat().create(&request()).await.unwrap_err();
    assert_eq!(cause(&error), (TransportErrorKind::Tls, Sent::No));
    assert_eq!(error.attempts().len(), 1);
}

#[tokio::test]
async fn a_connection_that_is_not_made_in_time_is_known_to_be_unsent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    // The connection is accepted by the system, but nobody answers the TLS handshake.
    let base_url = format!("https://{}", listener.local_addr().unwrap());
    let timeouts = bailian::Timeouts::default().with_connect(Duration::from_millis(50));
    let client = builder(&base_url).timeouts(timeouts).build().unwrap();
    let error = client.chat().create(&request()).await.unwrap_err();
    let Error::Timeout(failed) = &error else {
        panic!("{error:?}")
    };
    assert_eq!(failed.cause().part, bailian::TimeoutPart::Connect);
    assert!(!error.attempts()[0].possibly_billed);
}

#[tokio::test]
async fn a_host_that_does_not_exist_is_unsent() {
    let client = builder("http://does-not-exist.invalid").build().unwrap();
    let error = client.chat().create(&request()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect);
}

#[tokio::test]
async fn no_error_contains_the_key() {
    let key = "sk-0123456789abcdef";
    let refusal =
        r#"{"code":"InvalidApiKey","message":"Invalid API-key provided.","request_id":"r"}"#;
    let server = Server::start([
        Reply::new(401, &[("content-type", "application/json")], refusal),
        Reply::default().then(Part::Close),
        Reply::new(200, &[], "no json"),
    ])
    .await;
    let client = client(&server.base_url);
    for _ in 0..3 {
        let error = client.chat().create(&request()).await.unwrap_err();
        let mut text = format!("{error} {error:?}");
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            text.push_str(&format!(" {cause} {cause:?}"));
            source = cause.source();
        }
        assert!(!text.contains(key), "{text}");
    }
    let built = client
        .chat()
        .build(&request(), false, &bailian::RequestOptions::new())
        .unwrap();
    assert!(!format!("{built:?} {client:?}").contains(key));
}

#[tokio::test]
async fn a_derived_client_shares_the_pool() {
    let server = Server::start([Reply::json(ANSWER), Reply::json(ANSWER)]).await;
    let client = client(&server.base_url);
    let derived = client.with_options(
        &bailian::RequestOptions::new()
            .api_key("sk-fedcba9876543210")
            .workspace("llm-2")
            .idle_timeout(Duration::from_secs(9)),
    );
    client.chat().create(&request()).await.unwrap();
    derived.chat().create(&request()).await.unwrap();
    let sent = server.recorded();
    assert_eq!(sent[0].connection, sent[1].connection);
    assert_eq!(sent[0].header("x-dashscope-workspace"), None);
    assert_eq!(sent[1].header("x-dashscope-workspace"), Some("llm-2"));
    assert_eq!(
        sent[1].header("authorization"),
        Some("Bearer sk-fedcba9876543210")
    );
}
