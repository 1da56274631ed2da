//! A scripted HTTP server on the loopback address that records what it is asked.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// One thing the server does in place of an answer.
#[derive(Debug, Clone)]
pub(crate) enum Part {
    Bytes(Vec<u8>),
    /// Closes the connection with a TCP reset.
    Reset,
    Close,
    /// Sends nothing more and waits until the client is gone.
    AwaitClientGone,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Reply(pub(crate) Vec<Part>);

#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) connection: usize,
}

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) base_url: String,
    state: Arc<State>,
    gone: watch::Receiver<usize>,
}

#[derive(Debug)]
struct State {
    replies: Mutex<VecDeque<Reply>>,
    recorded: Mutex<Vec<Recorded>>,
    connections: AtomicUsize,
    gone: watch::Sender<usize>,
}

impl Reply {
    pub(crate) fn new(status: u16, headers: &[(&str, &str)], body: &str) -> Self {
        let mut text = format!(
            "HTTP/1.1 {status} Status\r\ncontent-length: {}\r\n",
            body.len()
        );
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        text.push_str(body);
        Self(vec![Part::Bytes(text.into_bytes())])
    }

    pub(crate) fn json(body: &str) -> Self {
        Self::new(200, &[("content-type", "application/json")], body)
    }

    /// A chunked event stream; `ended` sends its last chunk.
    pub(crate) fn events(headers: &[(&str, &str)], frames: &[&str], ended: bool) -> Self {
        let mut text = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n".to_owned();
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        for frame in frames {
            bytes.extend_from_slice(format!("{:x}\r\n{frame}\r\n", frame.len()).as_bytes());
        }
        if ended {
            bytes.extend_from_slice(b"0\r\n\r\n");
        }
        Self(vec![Part::Bytes(bytes)])
    }

    pub(crate) fn then(mut self, part: Part) -> Self {
        self.0.push(part);
        self
    }
}

impl Server {
    pub(crate) async fn start(replies: impl IntoIterator<Item = Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        let (sender, gone) = watch::channel(0);
        let state = Arc::new(State {
            replies: Mutex::new(replies.into_iter().collect()),
            recorded: Mutex::default(),
            connections: AtomicUsize::new(0),
            gone: sender,
        });
        let accepting = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let connection = accepting.connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(Arc::clone(&accepting), stream, connection));
            }
        });
        Self {
            base_url,
            state,
            gone,
        }
    }

    pub(crate) fn recorded(&self) -> Vec<Recorded> {
        self.state.recorded.lock().clone()
    }

    /// Waits until `count` clients have gone away in the middle of an answer.
    pub(crate) async fn clients_gone(&mut self, count: usize) {
        let waiting = self.gone.wait_for(|gone| *gone >= count);
        tokio::time::timeout(Duration::from_secs(10), waiting)
            .await
            .expect("the client did not close its connection")
            .unwrap();
    }
}

impl Recorded {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

async fn serve(state: Arc<State>, mut stream: TcpStream, connection: usize) {
    let mut buffer = Vec::new();
    while let Some(request) = read_request(&mut stream, &mut buffer, connection).await {
        state.recorded.lock().push(request);
        let Some(reply) = state.replies.lock().pop_front() else {
            return;
        };
        for part in reply.0 {
            match part {
                Part::Bytes(bytes) => {
                    if stream.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
                Part::Reset => {
                    let _ = stream.set_zero_linger();
                    return;
                }
                Part::Close => return,
                Part::AwaitClientGone => {
                    let mut rest = [0; 256];
                    while matches!(stream.read(&mut rest).await, Ok(count) if count > 0) {}
                    state.gone.send_modify(|gone| *gone += 1);
                    return;
                }
            }
        }
    }
}

async fn read_request(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    connection: usize,
) -> Option<Recorded> {
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(buffer.drain(..end).collect()).unwrap();
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    let length = headers
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(0, |(_, value)| value.parse().unwrap());
    while buffer.len() < length {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    let body = buffer.drain(..length).collect();
    Some(Recorded {
        method,
        target,
        headers,
        body,
        connection,
    })
}
