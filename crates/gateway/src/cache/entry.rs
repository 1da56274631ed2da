//! An answer that is kept.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use crate::usage::TokenCounts;

/// What an entry needs beside its body, its frames' ends and its header lines, in bytes: about what
/// the maps and the allocator take.
const OVERHEAD_BYTES: usize = 512;

/// What the form of entries outside this process begins with. Another form has another number.
const FORM: u8 = 1;

/// A complete answer, as its first client got it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// What clients are told of it.
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Where each frame of a stream ends in the body; `None` for a plain answer.
    pub(crate) ends: Option<Box<[u32]>>,
    /// What upstream reported when it was made.
    pub(crate) usage: Option<TokenCounts>,
    /// When it was complete, in milliseconds since the Unix epoch.
    pub(crate) made: u64,
}

/// What stands before the body, as JSON.
#[derive(Deserialize, Serialize)]
struct Head {
    headers: Vec<(String, String)>,
    ends: Option<Box<[u32]>>,
    usage: Option<TokenCounts>,
    made: u64,
}

impl Entry {
    /// How long ago it was made.
    pub(crate) fn age(&self, unix_millis: u64) -> Duration {
        Duration::from_millis(unix_millis.saturating_sub(self.made))
    }

    /// What it takes in memory.
    pub(crate) fn bytes(&self) -> usize {
        let lines = self.headers.iter();
        let headers: usize = lines
            .map(|(name, value)| name.as_str().len() + value.len() + 64)
            .sum();
        let ends = self.ends.as_ref().map_or(0, |ends| ends.len() * 4);
        self.body.len() + ends + headers + OVERHEAD_BYTES
    }

    /// A frame of a stream.
    pub(crate) fn frame(&self, index: usize) -> Option<Bytes> {
        let ends = self.ends.as_ref()?;
        let end = *ends.get(index)? as usize;
        let start = match index.checked_sub(1) {
            Some(before) => *ends.get(before)? as usize,
            None => 0,
        };
        (start <= end && end <= self.body.len()).then(|| self.body.slice(start..end))
    }

    /// The form that leaves this process.
    pub(crate) fn encode(&self) -> Option<Vec<u8>> {
        let headers = self.headers.iter().filter_map(|(name, value)| {
            let value = value.to_str().ok()?;
            Some((name.as_str().to_owned(), value.to_owned()))
        });
        let head = Head {
            headers: headers.collect(),
            ends: self.ends.clone(),
            usage: self.usage,
            made: self.made,
        };
        let head = serde_json::to_vec(&head).ok()?;
        let mut form = Vec::with_capacity(5 + head.len() + self.body.len());
        form.push(FORM);
        form.extend_from_slice(&u32::try_from(head.len()).ok()?.to_le_bytes());
        form.extend_from_slice(&head);
        form.extend_from_slice(&self.body);
        Some(form)
    }

    /// Reads that form; `None` for anything else.
    pub(crate) fn decode(form: &[u8]) -> Option<Self> {
        let (form, rest) = form.split_first_chunk::<5>()?;
        let [number, length @ ..] = *form;
        if number != FORM {
            return None;
        }
        let length = usize::try_from(u32::from_le_bytes(length)).ok()?;
        let (head, body) = rest.split_at_checked(length)?;
        let head: Head = serde_json::from_slice(head).ok()?;
        let mut headers = HeaderMap::with_capacity(head.headers.len());
        for (name, value) in head.headers {
            let name = HeaderName::try_from(name).ok()?;
            headers.append(name, HeaderValue::try_from(value).ok()?);
        }
        if let Some(ends) = &head.ends {
            let is_whole =
                ends.is_sorted() && ends.last().map(|end| *end as usize) == Some(body.len());
            if !is_whole {
                return None;
            }
        }
        Some(Self {
            headers,
            body: Bytes::from(BytesMut::from(body)),
            ends: head.ends,
            usage: head.usage,
            made: head.made,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry {
            headers: HeaderMap::from_iter([(
                http::header::CONTENT_TYPE,
                HeaderValue::from_static("text/event-stream;charset=UTF-8"),
            )]),
            body: Bytes::from("data: 你\n\ndata: [DONE]\n\n"),
            ends: Some(Box::new([11, 25])),
            usage: Some(TokenCounts {
                input_tokens: 3,
                output_tokens: 4,
                cached_tokens: 2,
                reasoning_tokens: 1,
            }),
            made: 1_700_000_000_000,
        }
    }

    #[test]
    fn an_entry_survives_the_way_out_and_back() {
        let plain = Entry {
            ends: None,
            usage: None,
            ..entry()
        };
        for entry in [entry(), plain] {
            let form = entry.encode().unwrap();
            assert_eq!(Entry::decode(&form), Some(entry));
        }
        let frames: Vec<_> = (0..3).map(|index| entry().frame(index)).collect();
        assert_eq!(frames[0].as_deref(), Some("data: 你\n\n".as_bytes()));
        assert_eq!(frames[1].as_deref(), Some(&b"data: [DONE]\n\n"[..]));
        assert_eq!(frames[2], None);
    }

    #[test]
    fn what_is_no_entry_is_not_taken_for_one() {
        let form = entry().encode().unwrap();
        for length in 0..form.len() {
            assert_eq!(Entry::decode(&form[..length]), None, "{length}");
        }
        for at in 0..5 {
            let mut spoilt = form.clone();
            spoilt[at] ^= 0x40;
            assert_eq!(Entry::decode(&spoilt), None, "{at}");
        }
    }
}
