//! What can go wrong on purpose.

use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One thing that goes wrong. Written `name` or `name=value`, as in the header `x-sim-fault`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// `status=503`: this HTTP status with the code and message that are documented for it.
    Status(u16),
    /// `code=Throttling.BurstRate`: the documented error of that native code.
    Code(String),
    /// `code-in-200=InternalError`: that error as the JSON body of an HTTP 200.
    CodeIn200(String),
    /// `html=502`: this HTTP status with a page of HTML, as a proxy in between would send.
    Html(u16),
    /// `delay-ms=500`: waits before the first byte.
    Delay(Duration),
    /// `reset`: closes the connection without an answer.
    Reset,
    /// `cut-after-bytes=100`: closes the connection after so many bytes of the body.
    CutAfterBytes(usize),
    /// `malformed=2`: the frame of that number, from 1, is no JSON.
    Malformed(usize),
    /// `error-frame=3`: an error event in place of the frame of that number; the error is that of
    /// `status` or `code` if one of them is there too, else a 500. A plain answer has no frames.
    ErrorFrame(usize),
    /// `truncate=3`: the stream ends well-formed before the frame of that number.
    Truncate(usize),
    /// `stall=3`: nothing comes any more from the frame of that number on.
    Stall(usize),
    /// `split=7`: the body comes in pieces of so many bytes, also inside characters.
    Split(usize),
    /// `no-blank-lines`: native frames without the blank line between them.
    NoBlankLines,
}

/// Text that is no fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a fault; write status=N, code=NAME, code-in-200=NAME, html=N, delay-ms=N, reset, \
     cut-after-bytes=N, malformed=N, error-frame=N, truncate=N, stall=N, split=N or no-blank-lines"
)]
pub struct UnknownFault(String);

impl FromStr for Fault {
    type Err = UnknownFault;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || UnknownFault(text.chars().take(80).collect());
        let (name, value) = text.trim().split_once('=').unwrap_or((text.trim(), ""));
        let number = || value.parse::<usize>().map_err(|_| unknown());
        let status = || {
            let status = value.parse().ok().filter(|s| (400..600).contains(s));
            status.ok_or_else(unknown)
        };
        Ok(match name {
            "status" => Self::Status(status()?),
            "code" if !value.is_empty() => Self::Code(value.to_owned()),
            "code-in-200" if !value.is_empty() => Self::CodeIn200(value.to_owned()),
            "html" => Self::Html(status()?),
            "delay-ms" => Self::Delay(Duration::from_millis(number()? as u64)),
            "reset" => Self::Reset,
            "cut-after-bytes" => Self::CutAfterBytes(number()?),
            "malformed" => Self::Malformed(number()?),
            "error-frame" => Self::ErrorFrame(number()?),
            "truncate" => Self::Truncate(number()?),
            "stall" => Self::Stall(number()?),
            "split" => Self::Split(number()?.max(1)),
            "no-blank-lines" => Self::NoBlankLines,
            _ => return Err(unknown()),
        })
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Status(status) => write!(f, "status={status}"),
            Self::Code(code) => write!(f, "code={code}"),
            Self::CodeIn200(code) => write!(f, "code-in-200={code}"),
            Self::Html(status) => write!(f, "html={status}"),
            Self::Delay(delay) => write!(f, "delay-ms={}", delay.as_millis()),
            Self::Reset => f.write_str("reset"),
            Self::CutAfterBytes(bytes) => write!(f, "cut-after-bytes={bytes}"),
            Self::Malformed(frame) => write!(f, "malformed={frame}"),
            Self::ErrorFrame(frame) => write!(f, "error-frame={frame}"),
            Self::Truncate(frame) => write!(f, "truncate={frame}"),
            Self::Stall(frame) => write!(f, "stall={frame}"),
            Self::Split(bytes) => write!(f, "split={bytes}"),
            Self::NoBlankLines => f.write_str("no-blank-lines"),
        }
    }
}

impl Serialize for Fault {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fault {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// When faults happen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct FaultRule {
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// For this model only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// For paths that begin so only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_prefix: Option<String>,
    /// For keys that begin so only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_prefix: Option<String>,
    /// For streams (`true`) or plain answers (`false`) only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<bool>,
    /// For the first so many requests that match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<u64>,
    /// For every so-manieth request that matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<u64>,
    /// With this probability, drawn from the seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
}

/// Reads the value of `x-sim-fault`: faults with commas between them.
///
/// # Errors
///
/// When a part is no fault.
pub fn parse_list(text: &str) -> Result<Vec<Fault>, UnknownFault> {
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(str::parse)
        .collect()
}

impl FaultRule {
    /// Whether the rule is about such a request at all.
    pub(crate) fn matches(&self, model: &str, path: &str, key: &str, stream: bool) -> bool {
        let begins = |prefix: &Option<String>, text: &str| {
            prefix
                .as_deref()
                .is_none_or(|prefix| text.starts_with(prefix))
        };
        self.model.as_deref().is_none_or(|name| name == model)
            && begins(&self.path_prefix, path)
            && begins(&self.key_prefix, key)
            && self.stream.is_none_or(|wanted| wanted == stream)
    }

    /// Whether it strikes the match of that number, from 1; `chance` is between 0 and 1.
    pub(crate) fn strikes(&self, number: u64, chance: f64) -> bool {
        self.first.is_none_or(|first| number <= first)
            && self
                .every
                .is_none_or(|every| number.is_multiple_of(every.max(1)))
            && self
                .probability
                .is_none_or(|probability| chance < probability)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_written_as_they_are_read() {
        let text = "status=503, code=Throttling.BurstRate, code-in-200=InternalError, \
                    html=502, delay-ms=50, reset, cut-after-bytes=10, malformed=2, error-frame=3, \
                    truncate=4, stall=5, split=1, no-blank-lines";
        let faults = parse_list(text).unwrap();
        let written: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert_eq!(written.join(", "), text);
    }

    #[test]
    fn what_is_no_fault_is_refused_with_the_list_of_those_that_are() {
        for text in ["explode", "status=200", "status=x", "code=", "stall"] {
            assert!(
                parse_list(text)
                    .unwrap_err()
                    .to_string()
                    .contains("cut-after-bytes")
            );
        }
    }

    #[test]
    fn a_rule_can_strike_some_requests_only() {
        let rule: FaultRule = serde_json::from_value(serde_json::json!({
            "faults": ["reset"], "every": 3, "first": 6,
        }))
        .unwrap();
        let struck: Vec<u64> = (1..10)
            .filter(|number| rule.strikes(*number, 0.0))
            .collect();
        assert_eq!(struck, [3, 6]);
    }
}
