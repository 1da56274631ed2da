//! Reads the text of each setting, with a fix for what it cannot read.

use std::num::NonZeroU32;
use std::time::Duration;

use bailian_wire::Dialect;

use super::layers::Raw;
use super::problem::ConfigProblem;
use super::secret::{is_like_a_key, shown};

/// A day: longer silences are mistakes in the unit.
const LONGEST_TIMEOUT: f64 = 86_400.0;
/// A minute: the first repetition of a request should not wait longer than a throttle window.
const LONGEST_RETRY_DELAY: f64 = 60.0;
const MOST_RETRIES: u32 = 100;
const LONGEST_MODEL_NAME: usize = 128;

fn problem(raw: &Raw, fix: impl Into<String>) -> ConfigProblem {
    ConfigProblem::new(
        Some(raw.source.clone()),
        format!("has the value {}", shown(raw.text.trim())),
        fix,
    )
}

pub(crate) fn timeout(raw: &Raw) -> Result<Duration, ConfigProblem> {
    seconds(raw, f64::MIN_POSITIVE, LONGEST_TIMEOUT)
        .ok_or_else(|| problem(raw, "write a number of seconds above 0, for example 300"))
}

pub(crate) fn retry_delay(raw: &Raw) -> Result<Duration, ConfigProblem> {
    seconds(raw, 0.0, LONGEST_RETRY_DELAY).ok_or_else(|| {
        problem(
            raw,
            "write a number of seconds from 0 to 60, for example 0.5",
        )
    })
}

pub(crate) fn max_retries(raw: &Raw) -> Result<u32, ConfigProblem> {
    let number = raw
        .text
        .trim()
        .parse()
        .ok()
        .filter(|number| *number <= MOST_RETRIES);
    number.ok_or_else(|| problem(raw, "write a whole number from 0 to 100"))
}

pub(crate) fn count(raw: &Raw) -> Result<NonZeroU32, ConfigProblem> {
    raw.text.trim().parse().map_err(|_| {
        problem(
            raw,
            "write a whole number above 0, or leave it empty for no limit of the client's own",
        )
    })
}

pub(crate) fn flag(raw: &Raw) -> Result<bool, ConfigProblem> {
    match raw.text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(problem(raw, "write true or false")),
    }
}

pub(crate) fn temperature(raw: &Raw) -> Result<f64, ConfigProblem> {
    number(raw)
        .filter(|value| (0.0..2.0).contains(value))
        .ok_or_else(|| problem(raw, "write a number from 0 to below 2"))
}

pub(crate) fn top_p(raw: &Raw) -> Result<f64, ConfigProblem> {
    number(raw)
        .filter(|value| *value > 0.0 && *value <= 1.0)
        .ok_or_else(|| problem(raw, "write a number above 0 and up to 1"))
}

pub(crate) fn model(raw: &Raw) -> Result<String, ConfigProblem> {
    let text = raw.text.trim();
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@+".contains(&byte);
    if !is_like_a_key(text) && text.len() <= LONGEST_MODEL_NAME && text.bytes().all(allowed) {
        Ok(text.to_owned())
    } else {
        Err(problem(raw, "write one model name, for example qwen-plus"))
    }
}

pub(crate) fn protocol(raw: &Raw) -> Result<Dialect, ConfigProblem> {
    raw.text
        .trim()
        .parse()
        .map_err(|_| problem(raw, "use one of native, openai, anthropic"))
}

fn number(raw: &Raw) -> Option<f64> {
    raw.text
        .trim()
        .parse()
        .ok()
        .filter(|value: &f64| value.is_finite())
}

fn seconds(raw: &Raw, least: f64, most: f64) -> Option<Duration> {
    let value = number(raw).filter(|value| *value >= least && *value <= most)?;
    Duration::try_from_secs_f64(value).ok()
}
