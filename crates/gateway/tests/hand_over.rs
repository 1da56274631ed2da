//! A restart in which the listeners pass from one gateway to the next.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at what it did not expect"
)]

mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bailian_gateway::{Config, Server, ServerError};
use bailian_sim::{RunningSimulator, SimConfig, Simulator};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use support::{OPENAI, Running, UPSTREAM_KEY, get, openai_body, post, read, send, with};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

fn config(
    simulator: &RunningSimulator,
    socket: &Path,
    listen: Option<SocketAddr>,
    threads: usize,
) -> Config {
    let mut config = support::config(&simulator.base_url(), UPSTREAM_KEY);
    config.hand_over = Some(socket.to_owned());
    config.threads = threads;
    if let Some(listen) = listen {
        config.listen = listen;
    }
    config
}

async fn simulator() -> RunningSimulator {
    Simulator::new(SimConfig::default()).spawn().await.unwrap()
}

/// Asking blocks; the gateway that is asked runs in the same process here.
async fn take_over(config: Config) -> Result<Server, ServerError> {
    tokio::task::spawn_blocking(|| Server::take_over(config))
        .await
        .unwrap()
}

/// Waits until a gateway listens at the socket.
async fn until_offered(socket: &Path) {
    let deadline = std::time::Instant::now() + Duration::from_secs(5);
    while tokio::net::UnixStream::connect(socket).await.is_err() {
        assert!(std::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn connect(address: SocketAddr) -> SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// Opens a stream of two seconds; the task reads the rest of it.
async fn open_stream(address: SocketAddr) -> JoinHandle<String> {
    let request = with(post(OPENAI, openai_body(true)), "x-sim-tokens", "40");
    let response = send(address, with(request, "x-sim-tps", "20")).await;
    assert_eq!(response.status(), 200);
    let mut body = response.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    tokio::spawn(async move {
        let rest = body.collect().await.unwrap().to_bytes();
        String::from_utf8([first, rest].concat()).unwrap()
    })
}

/// Short requests, one after the other: on a connection that is kept as long as the gateway lets
/// it, or each on its own.
fn load(
    address: SocketAddr,
    keeps: bool,
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut client = connect(address).await;
        while !stop.load(Ordering::Relaxed) {
            if !keeps || client.ready().await.is_err() {
                client = connect(address).await;
            }
            let request = post(OPENAI, openai_body(false));
            let response = client.send_request(request).await.unwrap();
            assert_eq!(read(response).await.0, 200);
            done.fetch_add(1, Ordering::Relaxed);
        }
    })
}

#[tokio::test]
async fn a_restart_by_hand_over_breaks_no_stream_and_refuses_no_request() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("gateway.sock");
    let simulator = simulator().await;
    let first = support::start(config(&simulator, &socket, None, 2));
    let address = first.address;
    let (stop, done) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let loads: Vec<_> = (0..6)
        .map(|number| {
            load(
                address,
                number % 2 == 0,
                Arc::clone(&stop),
                Arc::clone(&done),
            )
        })
        .collect();
    let mut streams = Vec::new();
    let mut running = first;
    // To more threads, and to fewer.
    for threads in [3, 1] {
        for _ in 0..100 {
            streams.push(open_stream(address).await);
        }
        until_offered(&socket).await;
        let config = config(&simulator, &socket, Some(address), threads);
        let server = take_over(config).await.unwrap();
        assert_eq!(server.local_addr(), address);
        let next = support::run(server);
        let before = done.load(Ordering::Relaxed);
        // It ends by itself when its streams have.
        running.task.await.unwrap();
        running = next;
        assert!(done.load(Ordering::Relaxed) > before);
    }
    for stream in streams {
        let text = stream.await.unwrap();
        assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
        assert!(!text.contains("resumed"));
    }
    stop.store(true, Ordering::Relaxed);
    for load in loads {
        load.await.unwrap();
    }
    running.stop.take().unwrap().send(()).unwrap();
    running.task.await.unwrap();
    assert!(TcpStream::connect(address).await.is_err());
    assert!(!socket.exists());
}

#[tokio::test]
async fn after_a_hand_over_the_old_process_ends_in_bounded_time() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("gateway.sock");
    let simulator = simulator().await;
    let mut bounded = config(&simulator, &socket, None, 1);
    bounded.timeouts.hand_over = Duration::from_millis(50);
    bounded.timeouts.drain = Duration::from_millis(50);
    let mut terminated = config(&simulator, &socket, None, 1);
    terminated.timeouts.drain = Duration::from_millis(50);
    let mut next = support::start(bounded);
    terminated.listen = next.address;
    for (config, is_told) in [(terminated.clone(), false), (terminated, true)] {
        let request = with(post(OPENAI, openai_body(true)), "x-sim-fault", "stall=3");
        let endless = send(next.address, request).await;
        until_offered(&socket).await;
        let successor = support::run(take_over(config).await.unwrap());
        // The first is bound by its own settings, the second is told to stop.
        let mut old = std::mem::replace(&mut next, successor);
        if is_told {
            old.stop.take().unwrap().send(()).unwrap();
        }
        tokio::time::timeout(Duration::from_secs(10), old.task)
            .await
            .unwrap()
            .unwrap();
        assert!(endless.into_body().collect().await.is_err());
    }
}

#[tokio::test]
async fn the_admin_listener_is_there_before_and_after() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("gateway.sock");
    let simulator = simulator().await;
    let mut config = config(&simulator, &socket, None, 1);
    config.admin_listen = Some("127.0.0.1:0".parse().unwrap());
    config.admin_token = Some("an-operators-token".into());
    let first = Server::bind(config.clone()).unwrap();
    let admin = first.admin_addr().unwrap();
    config.admin_listen = Some(admin);
    config.listen = first.local_addr();
    let status = "/admin/v1/status";
    let first = support::run(first);
    // The name of its host is not one of the listener's.
    assert_eq!(read(send(admin, get(status)).await).await.0, 403);
    until_offered(&socket).await;
    let _second = support::run(take_over(config).await.unwrap());
    first.task.await.unwrap();
    assert_eq!(read(send(admin, get(status)).await).await.0, 403);
}

#[tokio::test]
async fn a_successor_that_fails_on_the_way_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("gateway.sock");
    let simulator = simulator().await;
    let gateway = support::start(config(&simulator, &socket, None, 1));
    until_offered(&socket).await;
    for _ in 0..3 {
        let again = config(&simulator, &socket, Some(gateway.address), 1);
        // It has the listeners, and goes before it serves.
        drop(take_over(again).await.unwrap());
        // What a stranger says is no reason to leave, either.
        let mut stranger = tokio::net::UnixStream::connect(&socket).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stranger, b"GET / HTTP/1.1\r\n\r\n\r\n")
            .await
            .unwrap();
        assert_eq!(send(gateway.address, get("/healthz")).await.status(), 200);
    }
    let mut elsewhere = gateway.address;
    elsewhere.set_port(1);
    let elsewhere = config(&simulator, &socket, Some(elsewhere), 1);
    assert!(matches!(
        take_over(elsewhere).await,
        Err(ServerError::ListensElsewhere { .. })
    ));
    assert_eq!(send(gateway.address, get("/healthz")).await.status(), 200);
}

#[tokio::test]
async fn a_gateway_that_runs_is_replaced_only_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("gateway.sock");
    let simulator = simulator().await;
    let gateway = support::start(config(&simulator, &socket, None, 1));
    until_offered(&socket).await;
    assert!(matches!(
        Server::bind(config(&simulator, &socket, None, 1)),
        Err(ServerError::AlreadyRuns { .. })
    ));
    assert_eq!(send(gateway.address, get("/healthz")).await.status(), 200);
}

#[tokio::test]
async fn without_a_predecessor_the_address_is_bound() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("gateway.sock");
    // What a process leaves behind that was killed.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let simulator = simulator().await;
    let config = config(&simulator, &socket, None, 1);
    let server = take_over(config).await.unwrap();
    let gateway: Running = support::run(server);
    until_offered(&socket).await;
    assert_eq!(send(gateway.address, get("/healthz")).await.status(), 200);
}
