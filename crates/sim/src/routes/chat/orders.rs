//! What a request's `x-sim-…` headers order.

use http::HeaderMap;

use crate::answer::Script;
use crate::config::{SimConfig, Speed};
use crate::faults::{Fault, parse_list};

/// What is ordered.
pub(in crate::routes) struct Orders {
    pub(in crate::routes) script: Script,
    pub(in crate::routes) speed: Speed,
    pub(in crate::routes) faults: Option<Vec<Fault>>,
}

impl Orders {
    pub(in crate::routes) fn read(headers: &HeaderMap, config: &SimConfig) -> Result<Self, String> {
        let text = |name: &str| {
            headers
                .get(name)
                .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let mut speed = config.speed;
        if let Some(ttft) = number("x-sim-ttft-ms", text("x-sim-ttft-ms"))? {
            speed.ttft_ms = ttft;
        }
        if let Some(rate) = number("x-sim-tps", text("x-sim-tps"))? {
            speed.tokens_per_second = rate;
        }
        if let Some(tokens) = number("x-sim-chunk-tokens", text("x-sim-chunk-tokens"))? {
            speed.chunk_tokens = tokens;
        }
        let faults = text("x-sim-fault")
            .map(|list| parse_list(&list))
            .transpose();
        Ok(Self {
            script: Script {
                text: text("x-sim-answer").map(|text| percent_decoded(&text)),
                tokens: number("x-sim-tokens", text("x-sim-tokens"))?,
                ..Script::default()
            },
            speed,
            faults: faults.map_err(|error| error.to_string())?,
        })
    }
}

/// A header's number.
fn number<T: std::str::FromStr>(name: &str, text: Option<String>) -> Result<Option<T>, String> {
    let parsed = text.map(|text| text.trim().parse());
    parsed
        .transpose()
        .map_err(|_| format!("the header {name} is not a number"))
}

/// `%E4%BD%A0` and the like; a lone `%` stays.
fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes
            .get(at + 1..at + 3)
            .and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if bytes[at] == b'%' => {
                out.push(byte);
                at += 3;
            }
            _ => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
