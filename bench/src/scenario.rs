//! What a request asks of the stub upstream, carried in the user's message.
//!
//! The message is the one place that every proxy hands on unchanged; header fields and unknown
//! body fields may be dropped on the way.

use clap::Args;

/// How the stub upstream streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StreamPlan {
    /// Events with JSON; `[DONE]` comes on top.
    pub(crate) frames: usize,
    /// Milliseconds between two frames.
    pub(crate) gap_ms: u64,
    /// Whether the stream stays open and silent instead of ending.
    pub(crate) hold: bool,
}

/// Where a request goes unless a target wants another path.
pub(crate) const PATH: &str = "/compatible-mode/v1/chat/completions";

/// The virtual key of every request.
pub(crate) const CLIENT_KEY: &str = "bench-key-0123456789abcdef";

/// The key that a gateway uses upstream; the stub does not look at it.
pub(crate) const UPSTREAM_KEY: &str = "sk-bench-0123456789abcdef";

/// Size of a request's body, in bytes.
const REQUEST_BODY_BYTES: usize = 1024;

impl StreamPlan {
    fn describe(self) -> String {
        format!(
            "frames={} gap_ms={} hold={};",
            self.frames,
            self.gap_ms,
            u8::from(self.hold)
        )
    }

    /// Reads the plan from a request's body; `None` when no stream is asked for.
    pub(crate) fn from_body(body: &[u8]) -> Option<Self> {
        memchr::memmem::find(body, br#""stream":true"#)?;
        Some(Self {
            frames: usize::try_from(number_after(body, b"frames=")?).ok()?,
            gap_ms: number_after(body, b"gap_ms=")?,
            hold: number_after(body, b"hold=")? == 1,
        })
    }
}

fn number_after(body: &[u8], name: &[u8]) -> Option<u64> {
    let start = memchr::memmem::find(body, name)? + name.len();
    let digits = body[start..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit());
    Some(digits.fold(0, |value, digit| value * 10 + u64::from(digit - b'0')))
}

/// How a target is spoken to.
#[derive(Clone, Debug, Args)]
pub(crate) struct Approach {
    /// The path of the chat endpoint.
    #[arg(long, default_value = PATH)]
    pub(crate) path: String,
    /// A header line that the target needs, as `name: value`; may be given more than once.
    #[arg(long = "header")]
    pub(crate) headers: Vec<String>,
}

impl Default for Approach {
    fn default() -> Self {
        Self {
            path: PATH.to_owned(),
            headers: Vec::new(),
        }
    }
}

/// A whole request, head and body, as it goes over the wire.
pub(crate) fn request_bytes(host: &str, approach: &Approach, plan: Option<StreamPlan>) -> Vec<u8> {
    let Approach { path, headers } = approach;
    let headers = headers
        .iter()
        .fold(String::new(), |lines, line| lines + line + "\r\n");
    let (options, note) = match plan {
        Some(plan) => (
            r#""stream":true,"stream_options":{"include_usage":true},"#,
            plan.describe(),
        ),
        None => ("", String::new()),
    };
    let start = format!(
        r#"{{"model":"qwen-plus",{options}"temperature":0.7,"max_tokens":512,"messages":[{{"role":"system","content":"You are a helpful assistant."}},{{"role":"user","content":"{note}"#
    );
    let end = r#""}]}"#;
    let text = filler(REQUEST_BODY_BYTES.saturating_sub(start.len() + end.len()));
    let body = [start.as_str(), &text, end].concat();
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {CLIENT_KEY}\r\n{headers}\
         content-type: application/json\r\naccept: application/json, text/event-stream\r\n\
         user-agent: bailian-bench\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Plain prose of exactly this many bytes.
pub(crate) fn filler(bytes: usize) -> String {
    "the quick brown fox jumps over the lazy dog "
        .chars()
        .cycle()
        .take(bytes)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_upstream_reads_the_plan_that_the_load_wrote() {
        for hold in [false, true] {
            let plan = StreamPlan {
                frames: 100,
                gap_ms: 4,
                hold,
            };
            let request = request_bytes("localhost", &Approach::default(), Some(plan));
            assert_eq!(StreamPlan::from_body(&request), Some(plan));
        }
        assert_eq!(
            StreamPlan::from_body(&request_bytes("localhost", &Approach::default(), None)),
            None
        );
    }

    #[test]
    fn a_request_has_a_json_body_of_one_kibibyte() {
        let request = request_bytes("localhost", &Approach::default(), None);
        let head = crate::http1::parse_head(&request).unwrap().unwrap();
        let body = &request[head.length..];
        assert_eq!(body.len(), REQUEST_BODY_BYTES);
        serde_json::from_slice::<serde_json::Value>(body).unwrap();
    }
}
