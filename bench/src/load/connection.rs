//! One keep-alive connection.

use std::net::SocketAddr;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::http1::{self, Body};

pub(super) struct Connection {
    stream: TcpStream,
    buffer: Box<[u8]>,
    /// The start of a head that came in pieces.
    pending: Vec<u8>,
    body: Option<Body>,
}

impl Connection {
    pub(super) async fn open(to: SocketAddr, buffer_bytes: usize) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(to)
            .await
            .with_context(|| format!("cannot connect to {to}"))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: vec![0; buffer_bytes].into_boxed_slice(),
            pending: Vec::new(),
            body: None,
        })
    }

    pub(super) async fn send(&mut self, request: &[u8]) -> anyhow::Result<()> {
        self.body = None;
        self.stream.write_all(request).await.context("cannot send")
    }

    /// Reads once and hands the body's bytes to `sink`; true when the answer is complete.
    pub(super) async fn read(&mut self, mut sink: impl FnMut(&[u8])) -> anyhow::Result<bool> {
        let count = self.stream.read(&mut self.buffer).await?;
        if count == 0 {
            bail!("the target closed the connection inside an answer");
        }
        let input = &self.buffer[..count];
        if let Some(body) = &mut self.body {
            return body.feed(input, sink);
        }
        self.pending.extend_from_slice(input);
        let Some(mut head) = http1::parse_head(&self.pending)? else {
            return Ok(false);
        };
        if head.status != 200 {
            bail!(
                "the target answered {}: {}",
                head.status,
                String::from_utf8_lossy(&self.pending)
            );
        }
        let complete = head.body.feed(&self.pending[head.length..], &mut sink)?;
        self.pending.clear();
        self.body = Some(head.body);
        Ok(complete)
    }

    /// Whether the other side has neither closed the connection nor sent anything.
    pub(super) fn is_idle(&mut self) -> bool {
        self.stream
            .try_read(&mut self.buffer)
            .is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    }
}
