//! Clients that send or read too slowly, or hold too many connections.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at what it did not expect"
)]

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use support::{KEY, OPENAI, Running, UPSTREAM_KEY, get, openai_body};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;

fn gateway(change: impl FnOnce(&mut bailian_gateway::Config)) -> Running {
    let mut config = support::config("http://127.0.0.1:9", UPSTREAM_KEY);
    change(&mut config);
    support::start(config)
}

/// What the gateway says until it closes.
async fn until_closed(stream: &mut TcpStream) -> String {
    let mut seen = Vec::new();
    let read = stream.read_to_end(&mut seen);
    drop(
        tokio::time::timeout(Duration::from_secs(10), read)
            .await
            .unwrap(),
    );
    String::from_utf8_lossy(&seen).into_owned()
}

fn head(length: usize) -> String {
    format!(
        "POST {OPENAI} HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {KEY}\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    )
}

#[tokio::test]
async fn a_header_that_does_not_end_closes_the_connection() {
    let gateway = gateway(|config| config.timeouts.client_header = Duration::from_millis(150));
    for begin in ["", "P", "POST / HTTP/1.1\r\nhost: g\r\nx-slow: "] {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        stream.write_all(begin.as_bytes()).await.unwrap();
        let answer = until_closed(&mut stream).await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 408"),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn a_body_that_does_not_end_is_refused() {
    let gateway = gateway(|config| config.timeouts.client_body = Duration::from_millis(150));
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream.write_all(head(1000).as_bytes()).await.unwrap();
    stream.write_all(b"{\"model\":").await.unwrap();
    let answer = until_closed(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("did not arrive within"), "{answer}");
}

/// An upstream that answers with a stream without end, and tells when its client has left.
async fn endless_upstream() -> (SocketAddr, oneshot::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (left, has_left) = oneshot::channel();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"}") {
            stream.read_buf(&mut request).await.unwrap();
        }
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let text = "x".repeat(30_000);
        let frame = format!(
            "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n"
        );
        while stream.write_all(frame.as_bytes()).await.is_ok() {}
        left.send(()).unwrap();
    });
    (address, has_left)
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off_and_upstream_with_it() {
    let (upstream, has_left) = endless_upstream().await;
    let mut config = support::config(&format!("http://{upstream}"), UPSTREAM_KEY);
    config.timeouts.client_write = Duration::from_millis(300);
    let gateway = support::start(config);
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(gateway.address).await.unwrap();
    let body = openai_body(true);
    stream.write_all(head(body.len()).as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), has_left)
        .await
        .unwrap()
        .unwrap();
    // It was the gateway that closed.
    let answer = until_closed(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_and_counted() {
    let gateway = gateway(|config| config.limits.max_connections = 2);
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nhost: g\r\n\r\n")
            .await
            .unwrap();
        stream.read_exact(&mut [0; 12]).await.unwrap();
        held.push(stream);
    }
    let mut third = TcpStream::connect(gateway.address).await.unwrap();
    assert_eq!(until_closed(&mut third).await, "");
    drop(held.pop());
    // The place is free as soon as the gateway has seen the end of the connection.
    let text = loop {
        let stream = TcpStream::connect(gateway.address).await.unwrap();
        let io = hyper_util::rt::TokioIo::new(stream);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        if let Ok(response) = sender.send_request(get("/metrics")).await {
            break support::read(response).await.2;
        }
    };
    let refused = text
        .lines()
        .find_map(|line| line.strip_prefix("bailian_client_connections_refused_total "));
    assert!(refused.unwrap().parse::<u64>().unwrap() >= 1, "{text}");
}
