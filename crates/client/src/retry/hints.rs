//! What the server says about trying again.

use std::time::{Duration, SystemTime};

use http::HeaderMap;

/// Longer wishes are noise: no throttle of the service lasts a day.
const LONGEST: f64 = 86_400.0;

/// Retry wishes in the head of a response.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ServerHints {
    /// `x-should-retry`, which overrides what the status suggests.
    pub(crate) should_retry: Option<bool>,
    /// `retry-after-ms`, else `retry-after`.
    pub(crate) after: Option<Duration>,
}

// === impl ServerHints ===

impl ServerHints {
    /// Reads the wishes; `now` is compared with dates.
    pub(crate) fn read(headers: &HeaderMap, now: SystemTime) -> Self {
        let text = |name: &str| {
            headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .map(str::trim)
        };
        let should_retry = match text("x-should-retry") {
            Some("true") => Some(true),
            Some("false") => Some(false),
            _ => None,
        };
        let exact = text("retry-after-ms").and_then(|value| duration(value, 1000.0));
        let after = exact.or_else(|| {
            let value = text("retry-after")?;
            duration(value, 1.0).or_else(|| {
                let date = httpdate::parse_http_date(value).ok()?;
                // A date in the past means "now".
                Some(date.duration_since(now).unwrap_or_default())
            })
        });
        Self {
            should_retry,
            after,
        }
    }
}

fn duration(text: &str, per_second: f64) -> Option<Duration> {
    let number: f64 = text.parse().ok()?;
    let seconds = number / per_second;
    (0.0..=LONGEST)
        .contains(&seconds)
        .then(|| Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&'static str, &str)]) -> ServerHints {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, value.parse().unwrap());
        }
        ServerHints::read(
            &headers,
            SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777),
        )
    }

    #[test]
    fn milliseconds_win_over_seconds_and_dates_are_understood() {
        let after = |pairs: &[_]| read(pairs).after;
        assert_eq!(after(&[("retry-after", "3")]), Some(Duration::from_secs(3)));
        assert_eq!(
            after(&[("retry-after", "3"), ("retry-after-ms", "250")]),
            Some(Duration::from_millis(250))
        );
        assert_eq!(
            after(&[("retry-after", "Sun, 06 Nov 1994 08:49:47 GMT")]),
            Some(Duration::from_secs(10))
        );
        assert_eq!(
            after(&[("retry-after", "Sun, 06 Nov 1994 08:49:27 GMT")]),
            Some(Duration::ZERO)
        );
    }

    #[test]
    fn nonsense_is_no_wish() {
        for value in ["soon", "-1", "NaN", "inf", "1e99", ""] {
            assert_eq!(
                read(&[("retry-after", value), ("retry-after-ms", value)]).after,
                None,
                "{value}"
            );
        }
        assert_eq!(read(&[("x-should-retry", "maybe")]).should_retry, None);
        assert_eq!(
            read(&[("x-should-retry", "false")]).should_retry,
            Some(false)
        );
    }
}
