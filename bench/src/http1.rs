//! The little of HTTP/1.1 that the load and the stub upstream speak.
//!
//! Written by hand because both share a core: what they spend limits what the proxy can be given.

use anyhow::{Context as _, bail};

/// What matters of a message's start line and header fields.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// Bytes of the head, including the empty line that ends it.
    pub(crate) length: usize,
    /// Status of a response, 0 for a request.
    pub(crate) status: u16,
    /// How the body ends.
    pub(crate) body: Body,
}

/// The rest of a body that is still to be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// This many more bytes.
    Length(usize),
    /// Chunked transfer coding.
    Chunked(ChunkedDecoder),
}

impl Body {
    /// Takes bytes off the wire, hands the body's own bytes to `sink`, says whether it is complete.
    pub(crate) fn feed(
        &mut self,
        input: &[u8],
        mut sink: impl FnMut(&[u8]),
    ) -> anyhow::Result<bool> {
        match self {
            Self::Length(left) => {
                if input.len() > *left {
                    bail!("{} bytes after the end of a body", input.len() - *left);
                }
                if !input.is_empty() {
                    sink(input);
                }
                *left -= input.len();
                Ok(*left == 0)
            }
            Self::Chunked(decoder) => decoder.feed(input, sink),
        }
    }
}

/// Reads a head from the front of `input`; `None` while it is incomplete.
pub(crate) fn parse_head(input: &[u8]) -> anyhow::Result<Option<Head>> {
    let Some(end) = memchr::memmem::find(input, b"\r\n\r\n") else {
        return Ok(None);
    };
    let text = str::from_utf8(&input[..end]).context("a head that is not text")?;
    let mut lines = text.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.strip_prefix("HTTP/1."))
        .and_then(|line| line.get(2..5))
        .map_or(Ok(0), str::parse)
        .context("a status line without status")?;
    let mut body = Body::Length(0);
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            bail!("a header line without colon");
        };
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            body = Body::Length(value.parse().context("content-length is not a number")?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            body = Body::Chunked(ChunkedDecoder::default());
        }
    }
    Ok(Some(Head {
        length: end + 4,
        status,
        body,
    }))
}

/// Incremental decoder of the chunked transfer coding.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ChunkedDecoder {
    Size { value: usize, extension: bool },
    Data { left: usize },
    DataEnd,
    Trailer { empty: bool },
    Done,
}

impl Default for ChunkedDecoder {
    fn default() -> Self {
        Self::Size {
            value: 0,
            extension: false,
        }
    }
}

impl ChunkedDecoder {
    fn feed(&mut self, mut input: &[u8], mut sink: impl FnMut(&[u8])) -> anyhow::Result<bool> {
        while let Some((&byte, rest)) = input.split_first() {
            if let Self::Data { left } = self {
                let (data, rest) = input.split_at((*left).min(input.len()));
                sink(data);
                *left -= data.len();
                if *left == 0 {
                    *self = Self::DataEnd;
                }
                input = rest;
                continue;
            }
            self.step(byte)?;
            input = rest;
        }
        Ok(*self == Self::Done)
    }

    /// Takes one byte that is not chunk data.
    fn step(&mut self, byte: u8) -> anyhow::Result<()> {
        match (&mut *self, byte) {
            (Self::Done, _) => bail!("bytes after the last chunk"),
            (Self::Size { value: 0, .. }, b'\n') => *self = Self::Trailer { empty: true },
            (Self::Size { value, .. }, b'\n') => *self = Self::Data { left: *value },
            (Self::Size { extension, .. }, b';') => *extension = true,
            (_, b'\r')
            | (
                Self::Size {
                    extension: true, ..
                },
                _,
            ) => {}
            (Self::Size { value, .. }, _) => {
                let digit = char::from(byte)
                    .to_digit(16)
                    .context("a chunk size that is not hexadecimal")?;
                *value = value
                    .checked_mul(16)
                    .and_then(|value| value.checked_add(digit as usize))
                    .context("a chunk size that is too large")?;
            }
            (Self::DataEnd, b'\n') => *self = Self::default(),
            (Self::Trailer { empty: true }, b'\n') => *self = Self::Done,
            (Self::Trailer { empty }, _) => *empty = byte == b'\n',
            (Self::DataEnd | Self::Data { .. }, _) => bail!("a chunk longer than its size"),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNKED: &[u8] =
        b"5\r\nhello\r\n1A;x=y\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\nt: v\r\n\r\n";

    #[test]
    fn a_chunked_body_is_the_same_however_it_is_split() {
        for split in 0..CHUNKED.len() {
            let mut body = Body::Chunked(ChunkedDecoder::default());
            let mut read: Vec<u8> = Vec::new();
            let (first, second) = CHUNKED.split_at(split);
            assert!(!body.feed(first, |data| read.extend(data)).unwrap());
            assert!(body.feed(second, |data| read.extend(data)).unwrap());
            assert_eq!(read, b"helloabcdefghijklmnopqrstuvwxyz");
        }
    }

    #[test]
    fn a_head_says_status_and_length_of_the_body() {
        let input = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\nA: b\r\n\r\nrest";
        let head = parse_head(input).unwrap().unwrap();
        assert_eq!((head.length, head.status), (input.len() - 4, 200));
        assert_eq!(head.body, Body::Length(12));
        assert_eq!(parse_head(&input[..30]).unwrap(), None);
    }

    #[test]
    fn a_request_without_length_has_no_body() {
        let head = parse_head(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .unwrap()
            .unwrap();
        assert_eq!((head.status, head.body), (0, Body::Length(0)));
    }

    #[test]
    fn bytes_after_a_body_are_refused() {
        assert!(Body::Length(3).feed(b"four", |_| {}).is_err());
    }
}
