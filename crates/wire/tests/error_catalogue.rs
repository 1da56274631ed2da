//! Every row of the error catalogue comes out of the classifier as that row, in each spelling of
//! its code and with each of its messages. The rows are read here from the file itself, so that a
//! mistake in the table's own reader shows.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot prepare itself fails"
)]

use std::time::Duration;

use bailian_wire::Dialect;
use bailian_wire::error::{
    Classification, ErrorClass, ErrorView, Failover, Signals, classify, encode_error,
    parse_error_body,
};
use serde_json::Value;

/// A row as the file has it.
struct Row {
    json: Value,
    place: usize,
}

fn rows() -> Vec<Row> {
    let file: Value = serde_json::from_str(include_str!("../data/errors.json")).unwrap();
    let entries = file["entries"].as_array().unwrap().clone();
    let rows = entries.into_iter().enumerate();
    rows.map(|(place, json)| Row { json, place }).collect()
}

impl Row {
    fn text(&self, member: &str) -> Option<&str> {
        self.json[member].as_str()
    }

    fn status(&self) -> Option<u16> {
        let status = self.json["http_status"].as_u64()?;
        Some(u16::try_from(status).unwrap())
    }

    /// The status that a caller hands on: an HTTP 200 says nothing.
    fn signal(&self) -> Option<u16> {
        self.status().filter(|status| *status != 200)
    }

    fn class(&self) -> ErrorClass {
        serde_json::from_value(self.json["class"].clone()).unwrap()
    }

    fn codes(&self) -> Vec<&str> {
        let also = self.json["also_seen_as"].as_array();
        let mut codes: Vec<&str> = [self.text("code"), self.text("compat_code")]
            .into_iter()
            .flatten()
            .chain(also.into_iter().flatten().filter_map(Value::as_str))
            .collect();
        codes.dedup();
        codes
    }

    /// The messages as the service would send them: variable parts filled in, alternatives apart.
    fn messages(&self) -> Vec<String> {
        let messages = self.json["messages"].as_array().unwrap();
        messages
            .iter()
            .filter_map(Value::as_str)
            .flat_map(|message| {
                message
                    .split(" / ")
                    .flat_map(|message| message.split("/'"))
                    .map(filled_in)
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    fn is_retried(&self) -> bool {
        let delay = &self.json["retry"]["delay"];
        match self.json["retry"]["retryable"].as_str() {
            Some("yes") => true,
            Some("conditional") => {
                delay["max_attempts"].is_u64() || delay["source"] == "polling interval"
            }
            _ => false,
        }
    }

    fn failover(&self) -> Failover {
        match self.text("failover").unwrap() {
            "none" => Failover::Nowhere,
            "other key" | "other key or workspace" => Failover::OtherKey,
            "other region or model" => Failover::OtherRegionOrModel,
            _ => Failover::OtherAccountOrRegion,
        }
    }

    /// What is different in `found`, if anything.
    fn difference(&self, found: &Classification) -> Option<String> {
        if found.class != self.class() {
            return Some(format!("{} is not {}", found.class, self.class()));
        }
        if found.subcase != self.text("subcase") {
            let expected = self.text("subcase");
            return Some(format!("case {:?} is not {expected:?}", found.subcase));
        }
        if found.failover != self.failover() {
            return Some(format!("goes to {:?}", found.failover));
        }
        let delay = &self.json["retry"]["delay"];
        match found.retry {
            Some(_) if !self.is_retried() => Some("is retried".to_owned()),
            None if self.is_retried() => Some("is not retried".to_owned()),
            Some(backoff)
                if backoff.initial != seconds(&delay["initial_s"])
                    || backoff.max != seconds(&delay["max_s"])
                    || Some(backoff.factor) != delay["factor"].as_f64()
                    || backoff.max_attempts.map(u64::from) != delay["max_attempts"].as_u64() =>
            {
                Some(format!("waits as {backoff:?}"))
            }
            _ => None,
        }
    }
}

fn seconds(value: &Value) -> Duration {
    Duration::from_secs_f64(value.as_f64().unwrap())
}

fn filled_in(message: &str) -> String {
    let mut message = message.to_owned();
    for (placeholder, example) in [
        ("xxx", "7"),
        ("yyy", "9"),
        ("{parameter}", "top_k"),
        ("<time>", "2026-11-30 08:00:00"),
        ("<inner message>", "the real one"),
        ("%s", "Cherry"),
        ("**********", "a1b2c3d4e5"),
    ] {
        message = message.replace(placeholder, example);
    }
    message
}

/// The rows that `message` may mean: several rows may share code, status and message.
fn meant<'a>(rows: &'a [Row], row: &'a Row, code: &str, message: &str) -> Vec<&'a Row> {
    let others = rows.iter().filter(|other| {
        other.place != row.place
            && other.status() == row.status()
            && other.codes().contains(&code)
            && other.messages().iter().any(|known| known == message)
    });
    std::iter::once(row).chain(others).collect()
}

/// Fails with everything that is wrong, not the first thing only.
fn assert_none(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn every_code_with_every_message_is_its_own_row() {
    let rows = rows();
    let mut problems = Vec::new();
    let mut checked = 0;
    for row in &rows {
        for code in row.codes() {
            for message in row.messages() {
                let found = classify(&Signals::new(row.signal(), Some(code), &message));
                let meant = meant(&rows, row, code, &message);
                checked += 1;
                if meant.iter().all(|row| row.difference(&found).is_some()) {
                    let why = row.difference(&found).unwrap();
                    problems.push(format!("{:?} {code} {message:?}: {why}", row.status()));
                }
            }
        }
    }
    assert!(checked > 300, "{checked}");
    assert_none(&problems);
}

#[test]
fn a_prefix_a_link_and_another_case_change_nothing() {
    let rows = rows();
    let mut problems = Vec::new();
    for row in rows.iter().filter(|row| row.status() == Some(400)) {
        for code in row.codes() {
            for message in row.messages() {
                let plain = classify(&Signals::new(Some(400), Some(code), &message));
                for dressed in [
                    format!("<400> InternalError.Algo.InvalidParameter: {message}"),
                    format!(
                        "{message} For details, see: https://help.example/error-code#parameter"
                    ),
                    message.to_ascii_uppercase(),
                ] {
                    let found = classify(&Signals::new(Some(400), Some(code), &dressed));
                    if found != plain {
                        problems.push(format!("{code} {dressed:?}: {found:?}"));
                    }
                }
            }
        }
    }
    assert_none(&problems);
}

#[test]
fn every_code_with_a_message_nobody_knows_is_its_default_row() {
    let rows = rows();
    let mut problems = Vec::new();
    for row in &rows {
        let is_default = |row: &Row| matches!(row.text("subcase"), None | Some("tpm" | "backend"));
        for code in row.codes() {
            let same: Vec<&Row> = rows
                .iter()
                .filter(|other| other.status() == row.status() && other.codes().contains(&code))
                .collect();
            if same.len() > 1 && !is_default(row)
                || same.iter().filter(|r| is_default(r)).count() > 1
            {
                continue;
            }
            for message in ["", "出错了", "nobody has seen this text before"] {
                let found = classify(&Signals::new(row.signal(), Some(code), message));
                if let Some(why) = row.difference(&found) {
                    problems.push(format!("{:?} {code}: {why}", row.status()));
                }
            }
        }
    }
    assert_none(&problems);
}

#[test]
fn rows_without_a_code_are_known_by_status_or_message() {
    let mut problems = Vec::new();
    for row in rows() {
        // The status of these two says something else on the other surfaces.
        if !row.codes().is_empty() || row.text("anthropic_type").is_some() {
            continue;
        }
        let mut messages = row.messages();
        if messages.is_empty() {
            messages.push(String::new());
        }
        for message in messages {
            let found = classify(&Signals::new(row.signal(), None, &message));
            if found.class != row.class() || found.retry.is_some() != row.is_retried() {
                problems.push(format!("{:?} {message:?}: {found:?}", row.status()));
            }
        }
    }
    assert_none(&problems);
}

#[test]
fn types_of_the_anthropic_surface_say_what_the_status_does_not() {
    for (status, kind, class) in [
        (403, "authentication_error", ErrorClass::Authentication),
        (403, "permission_error", ErrorClass::Permission),
        (404, "not_found_error", ErrorClass::NotFound),
        (429, "rate_limit_error", ErrorClass::RateLimitRequests),
        (429, "billing_error", ErrorClass::QuotaExhausted),
        (429, "overloaded_error", ErrorClass::Unavailable),
        (500, "api_error", ErrorClass::Server),
        (500, "timeout_error", ErrorClass::Timeout),
        (503, "overloaded_error", ErrorClass::Unavailable),
        (529, "overloaded_error", ErrorClass::Unavailable),
        (413, "request_too_large", ErrorClass::InvalidRequest),
        (400, "Arrearage", ErrorClass::QuotaExhausted),
    ] {
        for message in ["", "a text that nobody knows", "Too many requests."] {
            let mut signals = Signals::new(Some(status), None, message);
            signals.error_type = Some(kind);
            assert_eq!(
                classify(&signals).class,
                class,
                "{status} {kind} {message:?}"
            );
        }
    }
}

#[test]
fn what_is_written_in_any_dialect_is_read_as_the_same_kind_of_error() {
    let mut problems = Vec::new();
    for row in rows() {
        let (Some(code), Some(status)) = (row.text("code"), row.signal()) else {
            continue;
        };
        if row.text("protocol") != Some("http") {
            continue;
        }
        for message in row.messages() {
            let plain = classify(&Signals::new(Some(status), Some(code), &message));
            let mut view = ErrorView::new(status, code, &message);
            view.request_id = Some("r-1");
            for dialect in [Dialect::Native, Dialect::OpenAi, Dialect::Anthropic] {
                let (written, body) = encode_error(dialect, &view);
                let error = parse_error_body(written, body.to_string().as_bytes());
                assert_eq!(error.message(), message);
                assert_eq!(error.request_id(), Some("r-1"));
                let same = match dialect {
                    Dialect::Native | Dialect::OpenAi => error.classification() == &plain,
                    // No code goes over this surface; what must not change is what to do next.
                    Dialect::Anthropic => error.retry().is_some() == plain.retry.is_some(),
                };
                if !same {
                    let read = error.classification();
                    problems.push(format!("{dialect:?} {body}: {read:?} was {plain:?}"));
                }
            }
        }
    }
    assert_none(&problems);
}

#[test]
fn a_bill_is_never_retried_whatever_status_and_text_come_with_it() {
    for row in rows() {
        if row.class() != ErrorClass::QuotaExhausted || row.codes().is_empty() {
            continue;
        }
        for code in row.codes() {
            // These name a token throttle too; their text decides.
            if matches!(code, "insufficient_quota" | "Throttling.AllocationQuota") {
                continue;
            }
            for status in [None, Some(400), Some(402), Some(403), Some(429), Some(500)] {
                for message in ["", "Too many requests.", "Requests rate limit exceeded"] {
                    let found = classify(&Signals::new(status, Some(code), message));
                    assert_eq!(found.retry, None, "{status:?} {code} {message:?}");
                }
            }
        }
    }
}
