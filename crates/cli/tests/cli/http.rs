//! Just enough HTTP for the tests.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// An answer read to its end, or as far as its head.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    body: BufReader<TcpStream>,
    is_chunked: bool,
}

/// Sends a request and reads the head of its answer.
pub(crate) fn send(url: &str, method: &str, path: &str, key: Option<&str>, body: &str) -> Answer {
    let address = url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_mins(1)))
        .unwrap();
    let key = key
        .map(|key| format!("authorization: Bearer {key}\r\n"))
        .unwrap_or_default();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\n{key}content-type: application/json\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut body = BufReader::new(stream);
    let mut line = String::new();
    body.read_line(&mut line).unwrap();
    let status = line.split(' ').nth(1).unwrap().parse().unwrap();
    let mut is_chunked = false;
    loop {
        line.clear();
        body.read_line(&mut line).unwrap();
        is_chunked |= line
            .to_ascii_lowercase()
            .starts_with("transfer-encoding: chunked");
        if line.trim().is_empty() {
            return Answer {
                status,
                body,
                is_chunked,
            };
        }
    }
}

impl Answer {
    /// The next line of a stream's body.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.body.read_line(&mut line).unwrap();
        line
    }

    /// All that is left of the body, sizes of chunks included where there are chunks.
    pub(crate) fn rest(mut self) -> String {
        let mut rest = String::new();
        self.body.read_to_string(&mut rest).unwrap();
        rest
    }

    /// The body of an answer that is JSON.
    pub(crate) fn json(self) -> serde_json::Value {
        assert!(
            !self.is_chunked,
            "this reader takes chunks apart for nobody"
        );
        serde_json::from_str(&self.rest()).unwrap()
    }
}
