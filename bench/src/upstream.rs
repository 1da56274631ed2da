//! The stub upstream: the OpenAI-compatible chat path, answered from prepared bytes.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::LocalSet;
use tokio::time::Instant;

use crate::http1::{self, Body};
use crate::scenario::{StreamPlan, filler};

/// Size of the answer to a request without stream, in bytes.
const ANSWER_BODY_BYTES: usize = 1024;

/// Size of one streamed frame with its blank line, in bytes.
const FRAME_BYTES: usize = 300;

const USAGE: &str = r#"{"prompt_tokens":212,"completion_tokens":98,"total_tokens":310,"prompt_tokens_details":{"cached_tokens":0}}"#;

/// Listens until the process ends.
pub(crate) async fn serve(listen: SocketAddr) -> anyhow::Result<()> {
    let listener = bind(listen)?;
    let answers = Rc::new(Answers::new());
    LocalSet::new()
        .run_until(async {
            loop {
                let (stream, _) = listener.accept().await.context("cannot accept")?;
                stream.set_nodelay(true)?;
                let answers = Rc::clone(&answers);
                // A client that leaves ends its connection only.
                tokio::task::spawn_local(async move {
                    drop(serve_connection(stream, &answers).await);
                });
            }
        })
        .await
}

/// A listener whose queue takes a thousand connections at once.
pub(crate) fn bind(listen: SocketAddr) -> anyhow::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket
        .bind(listen)
        .with_context(|| format!("cannot listen on {listen}"))?;
    Ok(socket.listen(4096)?)
}

/// Bytes as they go over the wire, made once.
struct Answers {
    whole: Vec<u8>,
    stream_head: Vec<u8>,
    frame: Vec<u8>,
    finish: Vec<u8>,
    usage: Vec<u8>,
    done: Vec<u8>,
}

impl Answers {
    fn new() -> Self {
        let head = "HTTP/1.1 200 OK\r\nx-request-id: 5f2c7a94-1c0e-4a53-9d1f-0b6c3f1e7a20\r\n";
        let body = padded(
            ANSWER_BODY_BYTES,
            r#"{"id":"chatcmpl-5f2c7a94-1c0e-4a53-9d1f-0b6c3f1e7a20","object":"chat.completion","created":1765000000,"model":"qwen-plus","system_fingerprint":null,"choices":[{"index":0,"message":{"role":"assistant","content":""#,
            &format!(r#""}},"logprobs":null,"finish_reason":"stop"}}],"usage":{USAGE}}}"#),
        );
        let chunk = r#"data: {"id":"chatcmpl-5f2c7a94-1c0e-4a53-9d1f-0b6c3f1e7a20","object":"chat.completion.chunk","created":1765000000,"model":"qwen-plus","system_fingerprint":null,"choices":["#;
        let frame = padded(
            FRAME_BYTES,
            &format!(r#"{chunk}{{"index":0,"delta":{{"content":""#),
            "\"},\"logprobs\":null,\"finish_reason\":null}],\"usage\":null}\n\n",
        );
        let finish = format!(
            "{chunk}{{\"index\":0,\"delta\":{{\"content\":\"\"}},\"logprobs\":null,\"finish_reason\":\"stop\"}}],\"usage\":null}}\n\n"
        );
        let usage = format!("{chunk}],\"usage\":{USAGE}}}\n\n");
        Self {
            whole: format!(
                "{head}content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            )
            .into_bytes(),
            stream_head: format!(
                "{head}content-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
            )
            .into_bytes(),
            frame: chunked(&frame),
            finish: chunked(&finish),
            usage: chunked(&usage),
            done: [chunked("data: [DONE]\n\n"), b"0\r\n\r\n".to_vec()].concat(),
        }
    }

    /// The frame at this place of a stream: text, then the finish reason, then the usage.
    fn frame(&self, index: usize, plan: StreamPlan) -> &[u8] {
        if plan.hold {
            return &self.frame;
        }
        match plan.frames - index {
            1 => &self.usage,
            2 => &self.finish,
            _ => &self.frame,
        }
    }
}

fn padded(bytes: usize, start: &str, end: &str) -> String {
    let text = filler(bytes.saturating_sub(start.len() + end.len()));
    [start, &text, end].concat()
}

fn chunked(data: &str) -> Vec<u8> {
    format!("{:x}\r\n{data}\r\n", data.len()).into_bytes()
}

async fn serve_connection(mut stream: TcpStream, answers: &Answers) -> anyhow::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    let mut body = Vec::new();
    loop {
        if !read_request(&mut stream, &mut buffer, &mut body).await? {
            return Ok(());
        }
        match StreamPlan::from_body(&body) {
            None => stream.write_all(&answers.whole).await?,
            Some(plan) => write_stream(&mut stream, answers, plan).await?,
        }
    }
}

/// Reads one request's body; false when the client has closed between two requests.
async fn read_request(
    stream: &mut TcpStream,
    buffer: &mut [u8],
    body: &mut Vec<u8>,
) -> anyhow::Result<bool> {
    body.clear();
    let mut filled = 0;
    let head = loop {
        let count = stream.read(&mut buffer[filled..]).await?;
        filled += count;
        if count == 0 {
            if filled == 0 {
                return Ok(false);
            }
            bail!("a request that is cut off, or a head longer than the buffer");
        }
        if let Some(head) = http1::parse_head(&buffer[..filled])? {
            break head;
        }
    };
    let mut rest: Body = head.body;
    let mut complete = rest.feed(&buffer[head.length..filled], |data| body.extend(data))?;
    while !complete {
        let count = stream.read(buffer).await?;
        if count == 0 {
            bail!("a request body that is cut off");
        }
        complete = rest.feed(&buffer[..count], |data| body.extend(data))?;
    }
    Ok(true)
}

async fn write_stream(
    stream: &mut TcpStream,
    answers: &Answers,
    plan: StreamPlan,
) -> anyhow::Result<()> {
    stream.write_all(&answers.stream_head).await?;
    let start = Instant::now();
    let mut due = Duration::ZERO;
    for index in 0..plan.frames {
        if index > 0 && plan.gap_ms > 0 {
            due += Duration::from_millis(plan.gap_ms);
            tokio::time::sleep_until(start + due).await;
        }
        stream.write_all(answers.frame(index, plan)).await?;
    }
    if plan.hold {
        // Nothing more is sent; what ends this wait is the other side closing.
        stream.read_u8().await?;
        bail!("a request inside an open stream");
    }
    stream.write_all(&answers.done).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_have_the_promised_sizes_and_hold_json() {
        let answers = Answers::new();
        let head = http1::parse_head(&answers.whole).unwrap().unwrap();
        assert_eq!(head.body, Body::Length(ANSWER_BODY_BYTES));
        for bytes in [&answers.frame, &answers.finish, &answers.usage] {
            let text = str::from_utf8(bytes).unwrap();
            let data = text.split_once("data: ").unwrap().1;
            serde_json::from_str::<serde_json::Value>(data).unwrap();
        }
        // Chunk size line and its end come on top.
        assert_eq!(answers.frame.len(), FRAME_BYTES + 7);
    }
}
